//! What is measured.

use crate::shared::slice::Series;

/// Resident memory of a service, in MB (10⁶ bytes), early and late.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) name: &'static str,
    pub(crate) early_turns: u64,
    pub(crate) early_mb: f64,
    pub(crate) late_turns: u64,
    pub(crate) late_mb: f64,
}

/// All of one run.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) machine: String,
    pub(crate) bare: Series,
    pub(crate) noop: Series,
    pub(crate) cached: Series,
    pub(crate) queried: Series,
    pub(crate) pool: Series,
    /// None where the machine has no Node, or its packages cannot be had.
    pub(crate) node: Option<Series>,
    pub(crate) memory: Vec<Memory>,
    /// From the start of the process to the first answered turn, in milliseconds, one a start.
    pub(crate) starts_ms: Vec<f64>,
}

impl Figures {
    pub(crate) fn series(&self) -> impl Iterator<Item = &Series> {
        [&self.bare, &self.noop, &self.cached, &self.queried, &self.pool]
            .into_iter()
            .chain(&self.node)
    }
}
