//! What a source file says, as it is written.

use serde::Deserialize;
use toml::Spanned;

use super::signed::{Algorithm, Encoding, TimestampTable};

/// Whose events are let in longest while there are too many: those of high priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Priority {
    /// Refused first.
    Low,
    /// What a file has that says nothing else.
    #[default]
    Normal,
    /// Refused last.
    High,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceFile {
    #[serde(default)]
    pub(super) priority: Priority,
    /// The types that it may send, such as `stripe.*`; without it those that begin with `type_prefix`, or all that are no
    /// other source's.
    pub(super) types: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) format: FormatName,
    #[serde(default)]
    pub(super) secret: SecretTable,
    pub(super) scheme: Spanned<SchemeTable>,
    pub(super) handshake: Option<HandshakeTable>,
    pub(super) event: Option<EventTable>,
    #[serde(default)]
    pub(super) limits: LimitsTable,
}

/// How much it may send, and how long it waits; see [`Limits`](super::Limits).
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsTable {
    pub(super) body_bytes: Option<Spanned<u64>>,
    pub(super) batch_items: Option<Spanned<u64>>,
    pub(super) deadline_ms: Option<Spanned<u64>>,
    pub(super) tolerance_s: Option<Spanned<u64>>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum FormatName {
    /// Our own envelope.
    Envelope,
    CloudEvents,
    /// What the `event` table says.
    Mapped,
}

/// Where the secrets are.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SecretTable {
    /// The variable that holds them, one a line; with `_FILE` behind it, the variable that names a file of them.
    pub(super) env: Option<Spanned<String>>,
    /// With neither variable set, a secret is made at the first start and kept in the database.
    #[serde(default)]
    pub(super) generated: bool,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum SchemeTable {
    StandardWebhooks {},
    Stripe {},
    Github {},
    Shopify {},
    Slack {},
    Zoom {},
    Meta {},
    Square {
        url_env: String,
    },
    Twilio {
        url_env: String,
    },
    Paypal {},
    Hmac {
        header: String,
        #[serde(default)]
        prefix: String,
        #[serde(default)]
        encoding: Encoding,
        #[serde(default)]
        algorithm: Algorithm,
        /// Such as `{timestamp}.{body}`; any other name in braces is that of a header.
        signed: String,
        timestamp: Option<TimestampTable>,
    },
    Basic {},
    Bearer {},
    Jwt {
        issuer: Vec<String>,
        audience: Vec<String>,
        jwks_url: Option<String>,
    },
    Msgraph {},
}

impl SchemeTable {
    /// Whether a request with another value in this header (a lower-case name) would be refused, or whoever can send a
    /// request at all can send any.
    pub(super) fn signs(&self, header: &str) -> bool {
        match self {
            Self::StandardWebhooks {} => {
                matches!(
                    header,
                    "webhook-id" | "webhook-timestamp" | "svix-id" | "svix-timestamp"
                )
            }
            Self::Slack {} => header == "x-slack-request-timestamp",
            Self::Zoom {} => header == "x-zm-request-timestamp",
            Self::Paypal {} => matches!(header, "paypal-transmission-id" | "paypal-transmission-time"),
            Self::Hmac { signed, timestamp, .. } => {
                let is_timestamp = |place: &TimestampTable| place.header.eq_ignore_ascii_case(header);
                signed.to_ascii_lowercase().contains(&format!("{{{header}}}"))
                    || timestamp.as_ref().is_some_and(is_timestamp)
            }
            Self::Stripe {} | Self::Github {} | Self::Shopify {} | Self::Meta {} => false,
            Self::Square { .. } | Self::Twilio { .. } => false,
            Self::Basic {} | Self::Bearer {} | Self::Jwt { .. } | Self::Msgraph {} => true,
        }
    }
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum HandshakeTable {
    Slack {},
    Zoom {},
    Msgraph {},
    Cloudevents {
        /// Who is welcome without showing the secret, such as `eventgrid.azure.net`.
        #[serde(default)]
        origins: Vec<String>,
    },
    Meta {
        token_env: String,
    },
}

/// Where the fields of the envelope are: minijinja expressions, and two paths.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventTable {
    /// Path of the array that holds the events, each the `item` of the expressions.
    pub(super) each: Option<Spanned<String>>,
    /// What every type begins with, such as `stripe.`.
    pub(super) type_prefix: Option<Spanned<String>>,
    pub(super) event_id: Spanned<String>,
    pub(super) event_type: Spanned<String>,
    pub(super) timestamp: Option<Spanned<String>>,
    pub(super) entity_id: Spanned<String>,
    pub(super) user_id: Option<Spanned<String>>,
    pub(super) schema_version: Option<Spanned<String>>,
    /// Path of the payload, which is kept as it was written.
    pub(super) payload: Option<Spanned<String>>,
}
