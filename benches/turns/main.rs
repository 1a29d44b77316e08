//! Turns against what they could cost at best: one run, one machine, the same bytes, 64 connections kept alive.
//!
//! `cargo bench --bench turns` takes about five minutes; `-- --quick` one, for a look. `-- --json FILE` writes the
//! figures. The contestants, each in a process of its own:
//!
//! * (a) a bare actix-web handler that parses the body and returns a constant;
//! * (b) a bot whose only intent says a constant text, with all that a service does for a turn;
//! * (c) the demo bot's `Get Account Balance` from the cache;
//! * (d) the same with one primary-key query per turn, beside (pool), that query alone in a loop;
//! * (e) Node with express and dialogflow-fulfillment doing (b).
//!
//! They take turns of a few seconds each, several rounds; a ratio is the median of the rounds' ratios. The load comes
//! from one thread of one more process, on the same cores. Exits with 1 when a target is missed.

mod bare;
mod figures;
mod measure;
mod pool;
#[path = "../shared/mod.rs"]
mod shared;
mod targets;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;
use rejoinder::{Bot, Fail, NoSettings, Program, Reply};

use self::shared::options::Options;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Measures turns against what they could cost at best.
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
    Bare(bare::Bare),
    /// The query alone
    Pool(pool::Pool),
    /// The load
    Load(shared::load::Load),
}

fn main() -> anyhow::Result<ExitCode> {
    // Contestant (b) is a deployment like any other, command line included.
    if std::env::args().nth(1).as_deref() == Some("serve") {
        let program = Program {
            name: "turns",
            version: "0",
            about: "",
        };
        return Ok(rejoinder::run(program, |_: &NoSettings| {
            Bot::new().intent("Noop", noop)
        }));
    }
    let line = Line::parse();
    match line.part {
        Some(Part::Bare(bare)) => bare.serve()?,
        Some(Part::Pool(pool)) => pool.run()?,
        Some(Part::Load(load)) => load.run()?,
        None if line.options.bench => return judge(&line.options),
        None => println!("nothing is measured but by: cargo bench --bench turns"),
    }
    Ok(ExitCode::SUCCESS)
}

async fn noop() -> Result<Reply, Fail> {
    Ok(Reply::text("Done."))
}

fn judge(options: &Options) -> anyhow::Result<ExitCode> {
    let figures = measure::measure(options.quick, options.pg_bindir.as_deref())?;
    let verdicts = targets::judge(&figures);
    let table = targets::table(&figures, &verdicts);
    options.tell(&table, &targets::json(&figures, &verdicts), &verdicts)
}
