//! `rejoinder record`: a relay in front of a running service that keeps the turns it passes on.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::web::{self, Bytes, Data, PayloadConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use reqwest::{Client, Url};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use super::service_url::ServiceUrl;
use super::{out, program};
use crate::recorded::{self, RecordedTurn, Redactor};
use crate::running::{self, Came};

/// The largest body that is passed on, in bytes, either way.
const MAX_BODY: usize = 1024 * 1024;

/// What the file says of itself until its author says it better.
const ABOUT: &str = "recorded from a running service; look for personal data before you share it";

/// Headers that are between two ends of one connection (RFC 9110, 7.6.1), or that the client sets itself. An answer
/// that is compressed could not be recorded, so none is asked for.
const NOT_PASSED_ON: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
    "content-length",
    "expect",
    "accept-encoding",
];

/// Relay turns to a running service and write each, with its reply, to a file.
///
/// Point the platform, or a tunnel from it, at the relay. Each POST to /fulfillment is passed on byte for byte with its
/// headers, and the answer is given back. Headers are not written to the file.
///
/// Personal data is replaced by stand-ins, the same value by the same stand-in for the whole run: ids of sessions,
/// users and responses; e-mail addresses, phone and card numbers, IP addresses and tokens in any text; whatever stands
/// under a key named like a name, address, phone, PIN, password, token, secret, date of birth, passport or the id of a
/// user or customer; and each of these values again wherever else it stands. So a replay finds no customer of that
/// number: put a number of the demo data in its place. Other things that a user said are not found, and order numbers in
/// parameters stay: look through a file before you share it. Files are readable by their owner only.
///
/// A turn is not recorded when its request or answer is not JSON, or its answer says nothing of the turn (401, 403,
/// 404, 429, 5xx). Ctrl-C ends the relay.
#[derive(Args)]
#[group(skip)]
pub(super) struct Record {
    /// Directory for the files, made where it is missing; files in it are never overwritten
    dir: PathBuf,
    #[command(flatten)]
    service: ServiceUrl,
    /// Address and port of the relay; only a loopback address, as it lets in any caller
    #[arg(long, default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// How many turns to record before it ends; without it, it goes on until Ctrl-C
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

impl Record {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        if !self.listen.ip().is_loopback() {
            bail!(
                "--listen: found {}, expected a loopback address: the relay lets in any caller",
                self.listen
            );
        }
        let url = running::fulfillment(&self.service.url())?;
        fs::create_dir_all(&self.dir).with_context(|| format!("cannot make the directory {}", self.dir.display()))?;
        let listener =
            TcpListener::bind(self.listen).with_context(|| format!("--listen: cannot bind {}", self.listen))?;
        let relay = Data::new(Relay {
            http: self.service.client()?,
            url,
            tape: Arc::new(Mutex::new(Tape {
                dir: self.dir,
                next: 1,
                left: self.count,
                redactor: Redactor::default(),
            })),
            full: Notify::new(),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        runtime.block_on(until_full(listener, relay))?;
        Ok(ExitCode::SUCCESS)
    }
}

struct Relay {
    http: Client,
    url: Url,
    tape: Arc<Mutex<Tape>>,
    /// Told when the last turn asked for is recorded.
    full: Notify,
}

/// Where turns are kept.
struct Tape {
    dir: PathBuf,
    /// Number of the next file.
    next: u32,
    /// How many more are wanted; `None`: no end.
    left: Option<u64>,
    redactor: Redactor,
}

struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Bytes,
}

async fn until_full(listener: TcpListener, relay: Data<Relay>) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let address = listener.local_addr()?;
    let shared = relay.clone();
    let app = move || {
        App::new()
            .app_data(shared.clone())
            .app_data(PayloadConfig::new(MAX_BODY))
            .route("/fulfillment", web::post().to(pass_on))
    };
    let server = HttpServer::new(app)
        .workers(1)
        .disable_signals()
        .listen(listener)
        .context("cannot listen")?
        .run();
    let handle = server.handle();
    let serving = tokio::spawn(server);
    out::announce(format_args!(
        "Relaying http://{address}/fulfillment to {}; Ctrl-C ends",
        running::shown(&relay.url)
    ));
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = relay.full.notified() => {}
    }
    handle.stop(true).await;
    serving
        .await
        .context("the relay broke off")?
        .context("the relay broke off")
}

async fn pass_on(request: HttpRequest, body: Bytes, relay: Data<Relay>) -> HttpResponse {
    let answer = match relay.ask(request.headers(), body.clone()).await {
        Ok(answer) => answer,
        Err(error) => {
            program::complain(format_args!("not passed on: {error:#}"));
            let error = json!({"code": "no_answer", "message": format!("{error:#}")});
            return HttpResponse::BadGateway().json(json!({ "error": error }));
        }
    };
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut response = HttpResponse::build(status);
    for (name, value) in &answer.headers {
        if !NOT_PASSED_ON.contains(&name.as_str()) {
            response.append_header((name.as_str(), value.as_bytes()));
        }
    }
    let given = answer.body.clone();
    let tape = Arc::clone(&relay.tape);
    let kept = web::block(move || tape.lock().unwrap_or_else(PoisonError::into_inner).keep(body, &answer)).await;
    match kept.map_err(|error| anyhow!(error)).flatten() {
        Ok(Kept { line, is_last }) => {
            if let Some(line) = line {
                out::announce(line);
            }
            if is_last {
                relay.full.notify_one();
            }
        }
        Err(error) => program::complain(format_args!("not recorded: {error:#}")),
    }
    response.body(given)
}

impl Relay {
    async fn ask(&self, headers: &HeaderMap, body: Bytes) -> anyhow::Result<Answer> {
        let named = headers.get_all("connection").filter_map(|value| value.to_str().ok());
        let named: Vec<_> = named
            .flat_map(|names| names.split(','))
            .map(|name| name.trim().to_ascii_lowercase())
            .collect();
        let mut request = self.http.post(self.url.clone());
        for (name, value) in headers {
            let is_hop = NOT_PASSED_ON.contains(&name.as_str()) || named.iter().any(|hop| hop == name.as_str());
            if !is_hop {
                request = request.header(name.as_str(), value.as_bytes());
            }
        }
        let mut response = request
            .body(body)
            .send()
            .await
            .map_err(reqwest::Error::without_url)
            .with_context(|| format!("no answer from {}", running::shown(&self.url)))?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
            if body.len() + chunk.len() > MAX_BODY {
                bail!("the answer is larger than {MAX_BODY} bytes");
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: body.into(),
        })
    }
}

/// What became of a turn.
struct Kept {
    /// To be printed; `None` after the last.
    line: Option<String>,
    is_last: bool,
}

impl Tape {
    fn keep(&mut self, request: Bytes, answer: &Answer) -> anyhow::Result<Kept> {
        if self.left == Some(0) {
            return Ok(Kept {
                line: None,
                is_last: false,
            });
        }
        if recorded::says_nothing_of_the_turn(answer.status) {
            bail!("the service answered {}", answer.status);
        }
        let mut asked: Value = serde_json::from_slice(&request).context("the request is not JSON")?;
        let mut body: Value = serde_json::from_slice(&answer.body).context("the answer is not JSON")?;
        let intent = recorded::intent(&request);
        self.redactor.redact(&mut asked, &mut body);
        let came = Came {
            status: answer.status,
            body,
        };
        let turn = RecordedTurn::new(self.dir.clone(), ABOUT.to_owned(), &asked, came)?;
        let file = self.write(&slug(&intent), &turn.text()?)?;
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        Ok(Kept {
            line: Some(format!("recorded {} ({intent})", file.display())),
            is_last: self.left == Some(0),
        })
    }

    /// Writes to the first number that no file of the directory has.
    fn write(&mut self, slug: &str, text: &str) -> anyhow::Result<PathBuf> {
        loop {
            let number = format!("{:02}_", self.next);
            self.next += 1;
            let taken = fs::read_dir(&self.dir)?
                .filter_map(Result::ok)
                .any(|entry| entry.file_name().to_string_lossy().starts_with(&number));
            if taken {
                continue;
            }
            let path = self.dir.join(format!("{number}{slug}.json"));
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
            match made {
                Ok(mut file) => {
                    file.write_all(text.as_bytes())
                        .with_context(|| format!("cannot write {}", path.display()))?;
                    return Ok(path);
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("cannot write {}", path.display())),
            }
        }
    }
}

/// An intent's name as part of a file's name.
fn slug(intent: &str) -> String {
    let words = intent.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<_> = words
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    let slug: String = words.join("_").chars().take(60).collect();
    if slug.is_empty() { "turn".to_owned() } else { slug }
}
