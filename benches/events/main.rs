//! How fast events are stored and applied: one run, one machine, fsync on.
//!
//! `cargo bench --bench events` takes about five minutes; `-- --quick` one, for a look. `-- --json FILE` writes the
//! figures. What is measured:
//!
//! * Storing: signed events of about 300 bytes of payload, one a request, each with an id and an entity of its own,
//!   posted to the service on 64 and on 256 connections, against (a) a server that verifies the same requests and makes
//!   one INSERT of each, on a pool of the same size, and against (b) pgbench making single-row INSERTs into the same
//!   table on 64 connections.
//! * Applying: `rejoinder work` on a log that was filled before, with one rule that remembers something; plain, while
//!   another session holds a transaction open, and while a million events wait.
//! * Delay: from sending an event to its fact being there for others to read, at 20 events a second.
//! * Turns: a turn with one query, at a steady rate, with and without events beside it.
//!
//! Contestants take turns of a few seconds each, several rounds; a ratio is the median of the rounds' ratios. The load
//! comes from processes on the same cores. Exits with 1 when a target is missed.

mod alone;
mod apply;
mod backlog;
mod delay;
mod figures;
mod measure;
mod pgbench;
mod place;
#[path = "../shared/mod.rs"]
mod shared;
mod targets;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Measures how fast events are stored and applied.
#[derive(Parser)]
struct Line {
    /// Fewer and shorter rounds, about a minute: for a look, not for a verdict
    #[arg(long)]
    quick: bool,
    /// Writes the figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Directory of PostgreSQL's server programs
    #[arg(long, env = "PG_BINDIR")]
    pg_bindir: Option<PathBuf>,
    /// What cargo bench passes, and cargo test does not
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What a child process does.
#[derive(Subcommand)]
#[command(hide = true)]
enum Part {
    /// Contestant (a)
    Alone(alone::Alone),
    /// The load
    Load(shared::load::Load),
}

fn main() -> ExitCode {
    let line = Line::parse();
    let done = match line.part {
        Some(Part::Alone(alone)) => alone.serve(),
        Some(Part::Load(load)) => load.run(),
        None if !line.bench => {
            println!("nothing is measured but by: cargo bench --bench events");
            return ExitCode::SUCCESS;
        }
        None => return judge(&line),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn judge(line: &Line) -> ExitCode {
    let judged = measure::measure(line.quick, line.pg_bindir.as_deref()).and_then(|figures| {
        let verdicts = targets::judge(&figures);
        print!("{}", targets::table(&figures, &verdicts));
        if let Some(file) = &line.json {
            std::fs::write(file, targets::json(&figures, &verdicts).to_string())?;
        }
        Ok(verdicts.iter().all(|verdict| verdict.met))
    });
    match judged {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => fail(&error),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("events: {error:#}");
    ExitCode::FAILURE
}
