//! Who does something by hand.

use clap::Args;

/// Who does something by hand, for the audit trail.
#[derive(Args)]
#[group(skip)]
pub(super) struct Actor {
    /// Who does it, for the audit trail
    #[arg(long = "as", value_name = "NAME", env = "USER", default_value = "unknown")]
    pub(super) name: String,
}
