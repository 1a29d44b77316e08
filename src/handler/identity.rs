//! What is known, in one run, of who the user is.

use std::sync::Arc;

use tokio::sync::OnceCell;

/// What a run has read of the user's identity, the same for all that reads it in one run; empty while nothing has.
pub(crate) type Identity = Arc<OnceCell<Option<String>>>;
