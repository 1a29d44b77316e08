//! The load: connections kept alive, one thread, each connection posting its next turn or event when it has the last
//! answer, or at a steady rate.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use rejoinder::Clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::contestant::cpu_s;
use super::slice::Slice;

/// Connections at a time, where nothing else is said.
pub(crate) const CONNECTIONS: usize = 64;

/// What events are signed with.
pub(crate) const SECRET: &[u8; 32] = b"a secret that everyone may know.";

/// A turn's own digits in a request.
const DIGITS: &[u8; 12] = b"############";

/// Where an event's signature stands.
const SIGNATURE: &[u8; 44] = b"////////////////////////////////////////////";

#[derive(clap::Args)]
pub(crate) struct Load {
    address: SocketAddr,
    ask: Ask,
    /// Tells these turns from those of other runs, 0 to 65535.
    run: u16,
    /// For how long.
    #[arg(long, default_value = "inf")]
    seconds: f64,
    /// How many at most.
    #[arg(long, default_value_t = u64::MAX)]
    turns: u64,
    /// On how many connections, 1 to 256.
    #[arg(long, default_value_t = CONNECTIONS)]
    connections: usize,
    /// How many a second; as many as are answered when it is not given.
    #[arg(long)]
    rate: Option<f64>,
}

/// What is asked.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Ask {
    /// The no-op intent.
    Noop,
    /// `Get Account Balance`.
    Balance,
    /// An event, signed.
    Event,
}

impl Ask {
    /// As the command line has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Noop => "noop",
            Self::Balance => "balance",
            Self::Event => "event",
        }
    }

    /// How the answer begins, so that a fallback text does not pass for an answer.
    fn answer(self) -> &'static [u8] {
        match self {
            Self::Noop => br#"{"fulfillmentText":"Done.""#,
            Self::Balance => br#"{"fulfillmentText":"Your checking account balance is $3"#,
            Self::Event => br#"{"event_id":"1Z"#,
        }
    }

    fn status(self) -> &'static [u8] {
        match self {
            Self::Noop | Self::Balance => b"HTTP/1.1 200 ",
            Self::Event => b"HTTP/1.1 202 ",
        }
    }

    /// A request, head and body, with [`DIGITS`] where each turn has its own.
    fn request(self) -> anyhow::Result<Vec<u8>> {
        Ok(match self {
            Self::Noop => turn("Noop"),
            Self::Balance => turn("Get Account Balance"),
            Self::Event => event(u64::try_from(Clock::system().now().timestamp())?),
        }
        .into_bytes())
    }
}

fn turn(intent: &str) -> String {
    let digits = String::from_utf8_lossy(DIGITS);
    let body = format!(
        r#"{{"responseId":"ea3d77e8-ae27-41a4-9e1d-{digits}","session":"projects/project-id/agent/sessions/4e2d1c58-9b0f-4b6e-8d53-{digits}","queryResult":{{"queryText":"What is my account balance?","intent":{{"name":"projects/project-id/agent/intents/6f1e9c04-7a36-4f1b-9a51-0c6d3f5b8e21","displayName":"{intent}"}},"parameters":{{"user_id":"12345","account_type":"checking"}},"intentDetectionConfidence":0.95,"languageCode":"en"}},"originalDetectIntentRequest":{{"payload":{{"timestamp":"2025-06-24T12:34:56Z"}}}}}}"#
    );
    post("/fulfillment", "", &body)
}

/// An event of about 300 bytes of payload about an entity of its own, signed at `now`, in seconds since 1970.
fn event(now: u64) -> String {
    let (digits, signature) = (String::from_utf8_lossy(DIGITS), String::from_utf8_lossy(SIGNATURE));
    let body = format!(
        r#"{{"event_id":"1Z{digits}","event_type":"parcel.moved","timestamp":"2025-06-24T12:34:56Z","entity_id":"1Z{digits}","schema_version":1,"payload":{{"status":"in transit","carrier":"Example Post","place":{{"depot":"Leipzig north, hall 4","country":"DE","latitude":51.4239,"longitude":12.2364}},"weight_g":1240,"pieces":1,"signature_required":false,"expected":"2025-06-27","note":"Handed over by the carrier of the first leg; the label was scanned twice and replaced once."}}}}"#
    );
    let headers =
        format!("webhook-id: 1Z{digits}\r\nwebhook-timestamp: {now}\r\nwebhook-signature: v1,{signature}\r\n");
    post("/events/generic", &headers, &body)
}

fn post(path: &str, headers: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

impl Load {
    /// Posts for as long as told, and prints the slice.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let slice = runtime.block_on(self.post())?;
        println!("{}", slice.to_json());
        Ok(())
    }

    async fn post(self) -> anyhow::Result<Slice> {
        let mut connections = Vec::new();
        for at in 0..self.connections {
            let first = (u64::from(self.run) << 32) | (at as u64) << 24;
            connections.push(Connection::open(self.address, self.ask, first).await?);
        }
        let share = self.turns.div_ceil(self.connections as u64);
        let every = self
            .rate
            .map(|rate| Duration::from_secs_f64(self.connections as f64 / rate));
        let started = Instant::now();
        let until = Duration::try_from_secs_f64(self.seconds)
            .ok()
            .map(|time| started + time);
        let cpu_before = cpu_s(std::process::id()).unwrap_or_default();
        let tasks: Vec<_> = connections
            .into_iter()
            .enumerate()
            .map(|(at, connection)| {
                // Spread evenly over the time of one.
                let pace = every.map(|every| (started + every.mul_f64(at as f64 / self.connections as f64), every));
                tokio::spawn(connection.post(share, until, pace))
            })
            .collect();
        let mut micros = Vec::new();
        for task in tasks {
            micros.append(&mut task.await??);
        }
        let seconds = started.elapsed().as_secs_f64();
        let load_cpu_s = cpu_s(std::process::id()).unwrap_or_default() - cpu_before;
        micros.sort_unstable();
        let quantile = |part: f64| micros.get((micros.len() as f64 * part) as usize).copied();
        let ms = |part| f64::from(quantile(part).unwrap_or_default()) / 1_000.0;
        Ok(Slice {
            turns: micros.len() as u64,
            seconds,
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            load_cpu_s,
            server_cpu_s: 0.0,
        })
    }
}

/// Posts one turn or event on a connection of its own: the answer's body.
///
/// # Errors
/// When the server cannot be reached, or its answer is not the one that `ask` gets.
pub(crate) fn once(address: SocketAddr, ask: Ask, run: u16) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection = Connection::open(address, ask, u64::from(run) << 32).await?;
        let posted = tokio::time::timeout(Duration::from_secs(5), connection.turn());
        let body = posted.await.context("no answer within 5 s")??;
        Ok(String::from_utf8_lossy(body).into_owned())
    })
}

pub(crate) struct Connection {
    stream: TcpStream,
    ask: Ask,
    request: Vec<u8>,
    /// Where the request has a turn's own digits.
    digits: Vec<usize>,
    signer: Option<Signer>,
    number: u64,
    answer: Vec<u8>,
}

/// Signs a request as Standard Webhooks; the places are of the request.
struct Signer {
    key: hmac::Key,
    id: usize,
    timestamp: usize,
    signature: usize,
    body: usize,
}

impl Signer {
    fn of(request: &[u8]) -> anyhow::Result<Self> {
        let after = |name: &[u8]| -> anyhow::Result<usize> {
            let at = request.windows(name.len()).position(|window| window == name);
            Ok(at.context("the request has no such header")? + name.len())
        };
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, SECRET),
            id: after(b"webhook-id: ")?,
            timestamp: after(b"webhook-timestamp: ")?,
            signature: after(b"webhook-signature: v1,")?,
            body: after(b"\r\n\r\n")?,
        })
    }

    fn sign(&self, request: &mut [u8]) {
        let line = |from: usize| {
            let rest = &request[from..];
            rest.split(|byte| *byte == b'\r').next().unwrap_or(rest)
        };
        let mut message = hmac::Context::with_key(&self.key);
        for part in [line(self.id), b".", line(self.timestamp), b".", &request[self.body..]] {
            message.update(part);
        }
        let signature = STANDARD.encode(message.sign());
        request[self.signature..self.signature + SIGNATURE.len()].copy_from_slice(signature.as_bytes());
    }
}

impl Connection {
    /// A connection whose turns have the numbers after `first`.
    pub(crate) async fn open(address: SocketAddr, ask: Ask, first: u64) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let request = ask.request()?;
        let windows = request.windows(DIGITS.len()).enumerate();
        let digits = windows
            .filter(|(_, window)| window == DIGITS)
            .map(|(at, _)| at)
            .collect();
        let signer = match ask {
            Ask::Noop | Ask::Balance => None,
            Ask::Event => Some(Signer::of(&request)?),
        };
        Ok(Self {
            stream,
            ask,
            request,
            digits,
            signer,
            number: first,
            answer: vec![0; 64 * 1024],
        })
    }

    /// The latencies in microseconds. With a pace the first is posted at its time, each of the others so much later.
    async fn post(
        mut self,
        turns: u64,
        until: Option<Instant>,
        mut pace: Option<(Instant, Duration)>,
    ) -> anyhow::Result<Vec<u32>> {
        let mut micros = Vec::new();
        for _ in 0..turns {
            if let Some((next, every)) = &mut pace {
                tokio::time::sleep_until((*next).into()).await;
                *next += *every;
            }
            let before = Instant::now();
            self.turn().await?;
            let after = Instant::now();
            micros.push(u32::try_from((after - before).as_micros()).unwrap_or(u32::MAX));
            if until.is_some_and(|until| after >= until) {
                break;
            }
        }
        Ok(micros)
    }

    /// Posts the next one: the answer's body.
    pub(crate) async fn turn(&mut self) -> anyhow::Result<&[u8]> {
        self.number += 1;
        let mut digits = *DIGITS;
        for (at, digit) in digits.iter_mut().rev().enumerate() {
            *digit = b"0123456789abcdef"[(self.number >> (4 * at) & 15) as usize];
        }
        for &at in &self.digits {
            self.request[at..at + DIGITS.len()].copy_from_slice(&digits);
        }
        if let Some(signer) = &self.signer {
            signer.sign(&mut self.request);
        }
        self.stream.write_all(&self.request).await?;
        let mut read = 0;
        let (head, length) = loop {
            let more = self.stream.read(&mut self.answer[read..]).await?;
            ensure!(more > 0, "the server closed a connection");
            read += more;
            if let Some(found) = head(&self.answer[..read], self.ask.status())? {
                break found;
            }
        };
        ensure!(
            head + length <= self.answer.len(),
            "found an answer of {length} bytes, expected less"
        );
        while read < head + length {
            let more = self.stream.read(&mut self.answer[read..]).await?;
            ensure!(more > 0, "the server closed a connection");
            read += more;
        }
        let body = &self.answer[head..head + length];
        if !body.starts_with(self.ask.answer()) {
            bail!(
                "found {:?}, expected {:?}…",
                String::from_utf8_lossy(body),
                String::from_utf8_lossy(self.ask.answer())
            );
        }
        Ok(body)
    }
}

/// Lengths of an answer's head and body, once the head is there.
fn head(answer: &[u8], status: &[u8]) -> anyhow::Result<Option<(usize, usize)>> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = || String::from_utf8_lossy(answer);
    ensure!(
        answer.starts_with(status),
        "found {:?}, expected {}",
        text(),
        String::from_utf8_lossy(status)
    );
    let length = answer[..end]
        .split(|byte| *byte == b'\n')
        .find_map(|line| {
            let (name, value) = line.split_at_checked(b"content-length:".len())?;
            name.eq_ignore_ascii_case(b"content-length:").then_some(value)
        })
        .and_then(|value| std::str::from_utf8(value).ok()?.trim().parse().ok());
    let length = length.with_context(|| format!("found {:?}, expected a Content-Length", text()))?;
    Ok(Some((end + 4, length)))
}
