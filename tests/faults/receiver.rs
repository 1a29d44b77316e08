//! The service that rules call: it writes down what it is sent, and can be made to stall.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A call: its id, and its body.
pub(crate) type Call = (String, Value);

/// Runs until the test's end.
pub(crate) struct Receiver {
    pub(crate) url: String,
    calls: Arc<Mutex<Vec<Call>>>,
    stalls: watch::Sender<bool>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let (stalls, stalled) = watch::channel(false);
        let written = Arc::clone(&calls);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (written, stalled) = (Arc::clone(&written), stalled.clone());
                // Who calls may be killed meanwhile.
                tokio::spawn(async move { answer(stream, &written, stalled).await.ok() });
            }
        });
        Self { url, calls, stalls }
    }

    /// Whether calls are received, and not answered.
    pub(crate) fn stall(&self, stalls: bool) {
        self.stalls.send_replace(stalls);
    }

    /// All that was received.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

async fn answer(
    mut stream: TcpStream,
    calls: &Mutex<Vec<Call>>,
    mut stalls: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read);
    let (mut id, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if read.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let line = line.trim_end().to_ascii_lowercase();
        match line.split_once(": ") {
            Some(("webhook-id", value)) => value.clone_into(&mut id),
            Some(("content-length", value)) => length = value.parse().unwrap(),
            Some(_) => {}
            None if line.is_empty() => break,
            None => {}
        }
    }
    let mut body = vec![0; length];
    read.read_exact(&mut body).await?;
    calls.lock().unwrap().push((id, serde_json::from_slice(&body).unwrap()));
    stalls.wait_for(|stalls| !stalls).await.unwrap();
    write
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .await
}
