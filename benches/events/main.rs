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

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;

use self::shared::options::Options;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Measures how fast events are stored and applied.
#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
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

fn main() -> anyhow::Result<ExitCode> {
    let line = Line::parse();
    match line.part {
        Some(Part::Alone(alone)) => alone.serve()?,
        Some(Part::Load(load)) => load.run()?,
        None if line.options.bench => return judge(&line.options),
        None => println!("nothing is measured but by: cargo bench --bench events"),
    }
    Ok(ExitCode::SUCCESS)
}

fn judge(options: &Options) -> anyhow::Result<ExitCode> {
    let figures = measure::measure(options.quick, options.pg_bindir.as_deref())?;
    let verdicts = targets::judge(&figures);
    let table = targets::table(&figures, &verdicts);
    options.tell(&table, &targets::json(&figures, &verdicts), &verdicts)
}
