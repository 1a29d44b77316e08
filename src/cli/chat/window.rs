//! What arrives unasked: the session's stream, opened again where it breaks off.

use std::time::Duration;

use anyhow::bail;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::running::{Came, NoAnswer, Running, Said, Stream};

/// After how long it is opened again: the service asks for it.
const RETRY: Duration = Duration::from_secs(2);

/// What there is to tell of it.
#[derive(Debug)]
pub(super) enum WindowNews {
    Said(Said),
    /// It has broken off, for this reason.
    Cut(String),
    Back,
}

/// The stream of a session.
pub(super) struct Window(mpsc::Receiver<WindowNews>);

impl Window {
    /// Opens it; what is said from now on is heard. A service that has no stream to give right now is asked again.
    ///
    /// # Errors
    /// When nobody answers; inside, the answer of a service that does not admit this caller.
    pub(super) async fn open(running: &Running, session: &str) -> anyhow::Result<Result<Self, Came>> {
        let opened = match running.hear(session, None).await {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(came)) if came.status < 500 => return Ok(Err(came)),
            Ok(Err(_)) => None,
            Err(NoAnswer::NothingListens(reason)) => bail!(running.nothing_listens(&reason)),
            Err(NoAnswer::Other(reason)) => bail!(reason),
        };
        let (sender, news) = mpsc::channel(16);
        tokio::spawn(hear(running.clone(), session.to_owned(), opened, sender));
        Ok(Ok(Self(news)))
    }

    /// The next that there is to tell.
    pub(super) async fn news(&mut self) -> WindowNews {
        match self.0.recv().await {
            Some(news) => news,
            None => std::future::pending().await,
        }
    }
}

/// Tells what is said until nobody listens; after a break, what was missed since the last message.
async fn hear(running: Running, session: String, mut stream: Option<Stream>, news: mpsc::Sender<WindowNews>) {
    let mut last: Option<String> = None;
    loop {
        let told = match &mut stream {
            Some(open) => match open.next().await {
                Ok(said) => {
                    last = Some(said.stream_id.clone());
                    WindowNews::Said(said)
                }
                Err(error) => {
                    stream = None;
                    WindowNews::Cut(format!("{error:#}"))
                }
            },
            None => {
                sleep(RETRY).await;
                let Ok(Ok(open)) = running.hear(&session, last.as_deref()).await else {
                    continue;
                };
                stream = Some(open);
                WindowNews::Back
            }
        };
        if news.send(told).await.is_err() {
            return;
        }
    }
}
