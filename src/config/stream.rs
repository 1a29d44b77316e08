//! Which web pages may listen to a conversation.

use crate::origins::Origins;

/// Which web pages may listen to a conversation.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Streams")]
pub struct StreamSettings {
    /// Origins of the web pages that may read streams, comma separated, each as http(s)://host or http(s)://host:port; default: the service's own only
    #[arg(
        long,
        env = "STREAM_ALLOWED_ORIGINS",
        default_value = "",
        hide_default_value = true,
        value_name = "ORIGINS"
    )]
    pub stream_allowed_origins: Origins,
}
