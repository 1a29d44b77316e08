//! Figures beside what is wanted of them.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// One figure beside what is wanted.
pub(crate) struct Verdict {
    what: String,
    measured: f64,
    unit: &'static str,
    target: String,
    pub(crate) met: bool,
}

/// Verdicts for people.
pub(crate) fn table(verdicts: &[Verdict]) -> String {
    let mut text = format!("\n  {:<40}{:>14}{:>12}\n", "", "measured", "wanted");
    for verdict in verdicts {
        let measured = format!("{:.2}{}", verdict.measured, verdict.unit);
        let met = if verdict.met { "ok" } else { "MISSED" };
        let _ = writeln!(
            text,
            "  {:<40}{measured:>14}{:>12}  {met}",
            verdict.what, verdict.target
        );
    }
    text
}

/// Verdicts for scripts.
pub(crate) fn json(verdicts: &[Verdict]) -> Value {
    verdicts
        .iter()
        .map(|verdict| {
            json!({
                "what": verdict.what, "measured": verdict.measured, "unit": verdict.unit.trim(),
                "wanted": verdict.target, "met": verdict.met,
            })
        })
        .collect()
}

pub(crate) fn at_least(what: impl Into<String>, measured: f64, least: f64) -> Verdict {
    Verdict {
        what: what.into(),
        measured,
        unit: "",
        target: format!("≥ {least}"),
        met: measured >= least,
    }
}

pub(crate) fn under(what: impl Into<String>, measured: f64, unit: &'static str, bound: f64) -> Verdict {
    Verdict {
        what: what.into(),
        measured,
        unit,
        target: format!("< {bound}{unit}"),
        met: measured < bound,
    }
}
