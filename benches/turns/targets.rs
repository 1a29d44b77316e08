//! What is wanted of the figures, and the table that tells.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::figures::Figures;
use crate::shared::slice::{Slice, median};
use crate::shared::verdict::{self, Verdict, at_least, under};

/// Growth of resident memory that still counts as flat.
const FLAT: f64 = 1.1;

/// All verdicts; none of what could not be measured here.
pub(crate) fn judge(figures: &Figures) -> Vec<Verdict> {
    let Figures {
        bare,
        noop,
        cached,
        queried,
        pool,
        ..
    } = figures;
    let mut verdicts = vec![
        at_least("turns/s, b over a", noop.over(bare, Slice::rate), 0.85),
        at_least("turns/s, c over a", cached.over(bare, Slice::rate), 0.75),
        at_least("turns/s, d over pool", queried.over(pool, Slice::rate), 0.7),
    ];
    if let Some(node) = &figures.node {
        verdicts.push(at_least("turns/s, b over e", noop.over(node, Slice::rate), 12.0));
    }
    verdicts.push(under("p99, b over a", noop.over(bare, |slice| slice.p99_ms), "", 2.0));
    for memory in &figures.memory {
        let (name, turns) = (memory.name, memory.late_turns);
        verdicts.push(under(
            format!("resident, {name}, {turns} turns"),
            memory.late_mb,
            " MB",
            60.0,
        ));
        verdicts.push(under(
            format!("resident, {name}, over that at {}", memory.early_turns),
            memory.late_mb / memory.early_mb,
            "",
            FLAT,
        ));
    }
    verdicts.push(under(
        "start to first turn",
        median(figures.starts_ms.clone()),
        " ms",
        1_000.0,
    ));
    verdicts
}

/// Figures and verdicts for people.
pub(crate) fn table(figures: &Figures, verdicts: &[Verdict]) -> String {
    let mut text = format!(
        "\n{}\nmedians of {} rounds\n\n        turns/s   p50 ms   p99 ms   server µs/turn   load µs/turn\n",
        figures.machine,
        figures.bare.slices.len()
    );
    for series in figures.series() {
        let of = |figure: fn(&Slice) -> f64| series.median(figure);
        let _ = writeln!(
            text,
            "  {:<4}{:>9.0}{:>9.2}{:>9.2}{:>17.1}{:>15.1}",
            series.name,
            of(Slice::rate),
            of(|slice| slice.p50_ms),
            of(|slice| slice.p99_ms),
            of(server_micros),
            of(load_micros),
        );
    }
    text.push_str(&verdict::table(verdicts));
    if figures.node.is_none() {
        text.push_str("  b over e: not measured, no Node\n");
    }
    text
}

/// Figures and verdicts for scripts.
pub(crate) fn json(figures: &Figures, verdicts: &[Verdict]) -> Value {
    let series: serde_json::Map<String, Value> = figures
        .series()
        .map(|series| {
            let slices = series.slices.iter().map(|slice| slice.to_json()).collect();
            (series.name.to_owned(), Value::Array(slices))
        })
        .collect();
    json!({"machine": figures.machine, "rounds": series, "starts_ms": figures.starts_ms, "verdicts": verdict::json(verdicts)})
}

fn server_micros(slice: &Slice) -> f64 {
    slice.server_cpu_s * 1e6 / slice.turns as f64
}

fn load_micros(slice: &Slice) -> f64 {
    slice.load_cpu_s * 1e6 / slice.turns as f64
}
