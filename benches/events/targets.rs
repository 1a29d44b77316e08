//! What is wanted of the figures, and the table that tells.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::apply::Applied;
use crate::figures::Figures;
use crate::shared::slice::{Series, Slice, median};
use crate::shared::verdict::{self, Verdict, at_least, under};

/// Growth of memory that still counts as flat.
const FLAT: f64 = 1.2;

/// All verdicts; none of what could not be measured here.
pub(crate) fn judge(figures: &Figures) -> Vec<Verdict> {
    let Figures {
        service_64,
        service_256,
        alone_64,
        alone_256,
        pgbench,
        plain,
        held,
        waiting,
        delays_ms,
        ..
    } = figures;
    let mut verdicts = vec![
        at_least("stored/s, 64, over a", service_64.over(alone_64, Slice::rate), 5.0),
        at_least("stored/s, 256, over a", service_256.over(alone_256, Slice::rate), 5.0),
        at_least("stored/s, 64, over b", service_64.over(pgbench, Slice::rate), 3.0),
        at_least("stored/s, 256, over b", service_256.over(pgbench, Slice::rate), 3.0),
        under("p99, 64", service_64.median(|slice| slice.p99_ms), " ms", 50.0),
        under("p99, 256", service_256.median(|slice| slice.p99_ms), " ms", 50.0),
    ];
    for (name, applied) in applied(figures) {
        verdicts.push(at_least(format!("applied/s, {name}"), rate(applied), 8_000.0));
    }
    verdicts.push(at_least("applied/s, held over plain", rate(held) / rate(plain), 0.8));
    verdicts.push(at_least(
        "applied/s, many wait over plain",
        rate(waiting) / rate(plain),
        0.8,
    ));
    if let (Some(before), Some(after)) = (peak_mb(plain), peak_mb(waiting)) {
        verdicts.push(under("worker's memory, many wait over plain", after / before, "", FLAT));
    }
    verdicts.push(under("sent to remembered, p50", quantile(delays_ms, 0.5), " ms", 15.0));
    verdicts
}

/// Figures and verdicts for people.
pub(crate) fn table(figures: &Figures, verdicts: &[Verdict]) -> String {
    let mut text = format!(
        "\n{}, fsync on\nmedians of {} rounds\n\n  {:<16}{:>10}{:>9}{:>9}{:>18}{:>16}\n",
        figures.machine,
        figures.pgbench.slices.len(),
        "stored",
        "events/s",
        "p50 ms",
        "p99 ms",
        "server µs/event",
        "load µs/event"
    );
    for series in stored(figures) {
        line(&mut text, series);
    }
    let _ = writeln!(
        text,
        "\n  {:<16}{:>10}{:>24}",
        "applied", "events/s", "worker at most, MB"
    );
    for (name, applied) in applied(figures) {
        let _ = writeln!(
            text,
            "  {name:<16}{:>10.0}{:>24.0}",
            rate(applied),
            peak_mb(applied).unwrap_or(f64::NAN)
        );
    }
    let _ = writeln!(
        text,
        "  sent to remembered at 20 events/s: p50 {:.1} ms, p99 {:.1} ms\n",
        quantile(&figures.delays_ms, 0.5),
        quantile(&figures.delays_ms, 0.99)
    );
    let _ = writeln!(
        text,
        "  {:<16}{:>10}{:>9}{:>9}",
        "200 turns/s", "turns/s", "p50 ms", "p99 ms"
    );
    for series in [&figures.turns, &figures.turns_beside_events] {
        line(&mut text, series);
    }
    let slower = figures.turns_beside_events.over(&figures.turns, |slice| slice.p99_ms);
    let _ = writeln!(text, "  p99 beside 1000 events/s over that without: {slower:.2}");
    text.push_str(&verdict::table(verdicts));
    text
}

/// Figures and verdicts for scripts.
pub(crate) fn json(figures: &Figures, verdicts: &[Verdict]) -> Value {
    let turns = [&figures.turns, &figures.turns_beside_events];
    let rounds: serde_json::Map<String, Value> = stored(figures)
        .into_iter()
        .chain(turns)
        .map(|series| {
            let slices = series.slices.iter().map(|slice| slice.to_json()).collect();
            (series.name.to_owned(), Value::Array(slices))
        })
        .collect();
    let applied: serde_json::Map<String, Value> = applied(figures)
        .into_iter()
        .map(|(name, applied)| {
            let rounds = applied
                .iter()
                .map(|one| json!({"rate": one.rate, "peak_mb": one.peak_mb}));
            (name.to_owned(), rounds.collect())
        })
        .collect();
    json!({
        "machine": figures.machine, "rounds": rounds, "applied": applied, "backlog": figures.backlog,
        "delays_ms": figures.delays_ms, "verdicts": verdict::json(verdicts),
    })
}

fn stored(figures: &Figures) -> [&Series; 5] {
    [
        &figures.service_64,
        &figures.service_256,
        &figures.alone_64,
        &figures.alone_256,
        &figures.pgbench,
    ]
}

fn applied(figures: &Figures) -> [(&'static str, &[Applied]); 3] {
    [
        ("plain", figures.plain.as_slice()),
        ("transaction held", &figures.held),
        ("many wait", &figures.waiting),
    ]
}

fn line(text: &mut String, series: &Series) {
    let of = |figure: fn(&Slice) -> f64| series.median(figure);
    let _ = writeln!(
        text,
        "  {:<16}{:>10.0}{:>9.2}{:>9.2}{:>18.1}{:>16.1}",
        series.name,
        of(Slice::rate),
        of(|slice| slice.p50_ms),
        of(|slice| slice.p99_ms),
        of(|slice| slice.server_cpu_s * 1e6 / slice.turns as f64),
        of(|slice| slice.load_cpu_s * 1e6 / slice.turns as f64),
    );
}

fn rate(applied: &[Applied]) -> f64 {
    median(applied.iter().map(|one| one.rate).collect())
}

fn peak_mb(applied: &[Applied]) -> Option<f64> {
    let peaks: Option<Vec<f64>> = applied.iter().map(|one| one.peak_mb).collect();
    peaks.map(median)
}

fn quantile(rising: &[f64], part: f64) -> f64 {
    let at = (rising.len() as f64 * part) as usize;
    rising.get(at).copied().unwrap_or(f64::NAN)
}
