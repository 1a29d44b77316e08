//! Who does something by hand.

use clap::Args;
use nix::unistd::{User, getuid};

/// Who does something by hand, for the audit trail.
#[derive(Args)]
#[group(skip)]
pub(super) struct Actor {
    /// Who does it, for the audit trail; the account that runs this when it is not given
    #[arg(long = "as", value_name = "NAME", env = "USER", default_value_t = account(), hide_default_value = true)]
    pub(super) name: String,
}

/// The account that runs this, where `USER` does not say it, as in containers and in cron.
fn account() -> String {
    let uid = getuid();
    match User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        Ok(None) | Err(_) => format!("uid {uid}"),
    }
}
