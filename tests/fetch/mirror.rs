//! A mirror of the releases on loopback, which can fail in the ways that mirrors do.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::archive::{Archive, VERSION};

/// How it gives out the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Whole,
    /// With the checksum of something else.
    WithAnotherChecksum,
    /// Half of it, and the connection ends.
    CutShort,
    /// Half of it, and then nothing.
    Stuck,
}

/// Who may fetch, where not everybody may.
pub(crate) const CREDENTIALS: &str = "ada:hunter2";

pub(crate) struct Mirror {
    /// With a slash at its end, as people write it, too.
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

struct State {
    way: Way,
    wants_credentials: bool,
    asked: Vec<String>,
}

impl Mirror {
    pub(crate) fn start(archive: &'static Archive, way: Way) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/pg/", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State {
            way,
            wants_credentials: false,
            asked: Vec::new(),
        }));
        let of_thread = state.clone();
        // Until the tests' process ends.
        thread::spawn(move || {
            for connection in listener.incoming() {
                let state = of_thread.clone();
                // Who is killed reads no answer.
                thread::spawn(move || answer(&connection.unwrap(), archive, &state).ok());
            }
        });
        Self { url, state }
    }

    pub(crate) fn becomes(&self, way: Way) {
        self.state.lock().unwrap().way = way;
    }

    /// Answers those with [`CREDENTIALS`] only.
    pub(crate) fn wants_credentials(&self) {
        self.state.lock().unwrap().wants_credentials = true;
    }

    /// How often it was asked for the archive, and for anything.
    pub(crate) fn asked(&self) -> (usize, usize) {
        let asked = &self.state.lock().unwrap().asked;
        let archives = asked.iter().filter(|path| path.ends_with(".tar.gz")).count();
        (archives, asked.len())
    }
}

fn answer(mut connection: &TcpStream, archive: &Archive, state: &Mutex<State>) -> std::io::Result<()> {
    let lines = BufReader::new(connection).lines();
    let head: Vec<String> = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .collect();
    let path = head
        .first()
        .and_then(|line| line.split(' ').nth(1))
        .unwrap_or_default()
        .to_owned();
    let (way, is_admitted) = {
        let mut state = state.lock().unwrap();
        state.asked.push(path.clone());
        let basic = format!("authorization: Basic {}", STANDARD.encode(CREDENTIALS));
        let shown = head.iter().any(|line| line.eq_ignore_ascii_case(&basic));
        (state.way, shown || !state.wants_credentials)
    };
    let file = format!("/pg/{VERSION}/{}", Archive::name());
    let sha256 = match way {
        Way::WithAnotherChecksum => "0".repeat(64),
        Way::Whole | Way::CutShort | Way::Stuck => archive.sha256(),
    };
    let (status, body) = if !is_admitted {
        ("401 Unauthorized", Vec::new())
    } else if path == file {
        ("200 OK", archive.bytes.clone())
    } else if path == format!("{file}.sha256") {
        ("200 OK", format!("{sha256}  {}\n", Archive::name()).into_bytes())
    } else {
        ("404 Not Found", Vec::new())
    };
    let length = body.len();
    write!(
        connection,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    let is_archive = path == file;
    let is_cut = is_archive && matches!(way, Way::CutShort | Way::Stuck);
    connection.write_all(if is_cut { &body[..length / 2] } else { &body })?;
    if is_archive && matches!(way, Way::Stuck) {
        // Longer than anybody waits.
        thread::sleep(Duration::from_secs(600));
    }
    connection.shutdown(Shutdown::Both)
}
