//! What a source has delivered, in whichever way it came.

use chrono::{DateTime, Utc};
use http::HeaderMap;

/// What is the source's own, and holds its events.
#[derive(Clone, Copy)]
pub(crate) struct Delivery<'a> {
    /// What it says of the body.
    pub(crate) headers: &'a HeaderMap,
    /// The body, without its encoding.
    pub(crate) body: &'a [u8],
    /// When it came, by the service's clock: that is when its events happened, where they do not say it.
    pub(crate) received: DateTime<Utc>,
}
