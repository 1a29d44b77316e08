//! What is measured.

use crate::apply::Applied;
use crate::shared::slice::Series;

/// All of one run.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) machine: String,
    pub(crate) service_64: Series,
    pub(crate) service_256: Series,
    pub(crate) alone_64: Series,
    pub(crate) alone_256: Series,
    pub(crate) pgbench: Series,
    /// One a round.
    pub(crate) plain: Vec<Applied>,
    pub(crate) held: Vec<Applied>,
    pub(crate) waiting: Vec<Applied>,
    /// How many events wait there.
    pub(crate) backlog: i64,
    /// From sending an event to its fact being readable, in milliseconds, in rising order.
    pub(crate) delays_ms: Vec<f64>,
    pub(crate) turns: Series,
    pub(crate) turns_beside_events: Series,
}
