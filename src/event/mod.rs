//! What an event is: its envelope and its type, the schemas that types have, and the files that say so.

pub(crate) mod bad_envelope;
pub(crate) mod catalogue;
pub(crate) mod envelope;
pub(crate) mod event_type;
pub(crate) mod file;
pub(crate) mod id;
pub(crate) mod layout;
pub(crate) mod metrics;
pub(crate) mod partition;
pub(crate) mod pattern;
pub(crate) mod payload;
pub(crate) mod position;
pub(crate) mod standing;
pub(crate) mod vitals;
