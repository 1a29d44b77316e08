//! The load: 64 connections kept alive, one thread, each connection posting its next turn when it has the last answer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::contestant::cpu_s;
use crate::figures::Slice;

/// Connections at a time.
pub(crate) const CONNECTIONS: usize = 64;

/// A turn's own digits in a request.
const DIGITS: &[u8; 12] = b"############";

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
}

/// What is asked.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Ask {
    /// The no-op intent.
    Noop,
    /// `Get Account Balance`.
    Balance,
}

impl Ask {
    fn intent(self) -> &'static str {
        match self {
            Self::Noop => "Noop",
            Self::Balance => "Get Account Balance",
        }
    }

    /// How the answer begins, so that a fallback text does not pass for an answer.
    fn answer(self) -> &'static [u8] {
        match self {
            Self::Noop => br#"{"fulfillmentText":"Done.""#,
            Self::Balance => br#"{"fulfillmentText":"Your checking account balance is $3"#,
        }
    }

    /// A request, head and body, with [`DIGITS`] where each turn has its own.
    fn request(self) -> Vec<u8> {
        let digits = String::from_utf8_lossy(DIGITS);
        let intent = self.intent();
        let body = format!(
            r#"{{"responseId":"ea3d77e8-ae27-41a4-9e1d-{digits}","session":"projects/project-id/agent/sessions/4e2d1c58-9b0f-4b6e-8d53-{digits}","queryResult":{{"queryText":"What is my account balance?","intent":{{"name":"projects/project-id/agent/intents/6f1e9c04-7a36-4f1b-9a51-0c6d3f5b8e21","displayName":"{intent}"}},"parameters":{{"user_id":"12345","account_type":"checking"}},"intentDetectionConfidence":0.95,"languageCode":"en"}},"originalDetectIntentRequest":{{"payload":{{"timestamp":"2025-06-24T12:34:56Z"}}}}}}"#
        );
        format!(
            "POST /fulfillment HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }
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
        for at in 0..CONNECTIONS {
            let first = (u64::from(self.run) << 32) | (at as u64) << 26;
            connections.push(Connection::open(self.address, self.ask, first).await?);
        }
        let share = self.turns.div_ceil(CONNECTIONS as u64);
        let started = Instant::now();
        let until = Duration::try_from_secs_f64(self.seconds)
            .ok()
            .map(|time| started + time);
        let cpu_before = cpu_s(std::process::id()).unwrap_or_default();
        let tasks: Vec<_> = connections
            .into_iter()
            .map(|connection| tokio::spawn(connection.post(share, until)))
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

/// Posts one turn on a connection of its own: the answer's body.
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

struct Connection {
    stream: TcpStream,
    ask: Ask,
    request: Vec<u8>,
    /// Where the request has a turn's own digits.
    digits: Vec<usize>,
    number: u64,
    answer: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr, ask: Ask, first: u64) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let request = ask.request();
        let windows = request.windows(DIGITS.len()).enumerate();
        let digits = windows
            .filter(|(_, window)| window == DIGITS)
            .map(|(at, _)| at)
            .collect();
        Ok(Self {
            stream,
            ask,
            request,
            digits,
            number: first,
            answer: vec![0; 64 * 1024],
        })
    }

    /// The latencies in microseconds.
    async fn post(mut self, turns: u64, until: Option<Instant>) -> anyhow::Result<Vec<u32>> {
        let mut micros = Vec::new();
        let mut before = Instant::now();
        for _ in 0..turns {
            self.turn().await?;
            let after = Instant::now();
            micros.push(u32::try_from((after - before).as_micros()).unwrap_or(u32::MAX));
            if until.is_some_and(|until| after >= until) {
                break;
            }
            before = after;
        }
        Ok(micros)
    }

    async fn turn(&mut self) -> anyhow::Result<&[u8]> {
        self.number += 1;
        let mut digits = *DIGITS;
        for (at, digit) in digits.iter_mut().rev().enumerate() {
            *digit = b"0123456789abcdef"[(self.number >> (4 * at) & 15) as usize];
        }
        for &at in &self.digits {
            self.request[at..at + DIGITS.len()].copy_from_slice(&digits);
        }
        self.stream.write_all(&self.request).await?;
        let mut read = 0;
        let (head, length) = loop {
            let more = self.stream.read(&mut self.answer[read..]).await?;
            ensure!(more > 0, "the server closed a connection");
            read += more;
            if let Some(found) = head(&self.answer[..read])? {
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
fn head(answer: &[u8]) -> anyhow::Result<Option<(usize, usize)>> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = || String::from_utf8_lossy(answer);
    ensure!(answer.starts_with(b"HTTP/1.1 200 "), "found {:?}, expected 200", text());
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
