//! The way in of events: from what a source delivers to the log, or to quarantine.

pub(crate) mod door;
pub(crate) mod ingest;
pub(crate) mod overload;
pub(crate) mod quarantine;
pub(crate) mod receipt;
pub(crate) mod reception;
pub(crate) mod release;
pub(crate) mod reread;
