//! What a load has measured in a stretch of time, and how it is summed up over the rounds.

use serde_json::{Value, json};

/// What one process did in one stretch of time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Slice {
    pub(crate) turns: u64,
    pub(crate) seconds: f64,
    /// Latencies of a turn, as the load saw them, in milliseconds.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Processor time that the load took, in seconds.
    pub(crate) load_cpu_s: f64,
    /// Processor time that the contestant took, in seconds.
    pub(crate) server_cpu_s: f64,
}

impl Slice {
    pub(crate) fn rate(&self) -> f64 {
        self.turns as f64 / self.seconds
    }

    /// As a child process prints it for its parent.
    pub(crate) fn to_json(self) -> Value {
        json!({
            "turns": self.turns, "seconds": self.seconds, "p50_ms": self.p50_ms, "p99_ms": self.p99_ms,
            "load_cpu_s": self.load_cpu_s, "server_cpu_s": self.server_cpu_s,
        })
    }

    pub(crate) fn from_json(json: &Value) -> Self {
        let figure = |name| json.get(name).and_then(Value::as_f64).unwrap_or_default();
        Self {
            turns: figure("turns") as u64,
            seconds: figure("seconds"),
            p50_ms: figure("p50_ms"),
            p99_ms: figure("p99_ms"),
            load_cpu_s: figure("load_cpu_s"),
            server_cpu_s: figure("server_cpu_s"),
        }
    }
}

/// The slices of one contestant, one a round.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) name: &'static str,
    pub(crate) slices: Vec<Slice>,
}

impl Series {
    pub(crate) fn new(name: &'static str) -> Self {
        let slices = Vec::new();
        Self { name, slices }
    }

    /// Median over the rounds of what `figure` says of each.
    pub(crate) fn median(&self, figure: impl Fn(&Slice) -> f64) -> f64 {
        median(self.slices.iter().map(figure).collect())
    }

    /// Median over the rounds of this one's `figure` over `other`'s in the same round.
    pub(crate) fn over(&self, other: &Self, figure: impl Fn(&Slice) -> f64) -> f64 {
        let rounds = self.slices.iter().zip(&other.slices);
        median(rounds.map(|(one, other)| figure(one) / figure(other)).collect())
    }
}

/// The middle one, or the mean of the two; NaN of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}
