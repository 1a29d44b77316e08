//! The way in of events: from the request of a source that has been verified to the log, or to quarantine.

pub(crate) mod door;
pub(crate) mod ingest;
pub(crate) mod overload;
pub(crate) mod quarantine;
pub(crate) mod refusals;
pub(crate) mod release;
pub(crate) mod reread;
