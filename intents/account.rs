//! Whose account a turn is about, and which of them.

use rejoinder::{Fail, Lang, Memory, Texts};
use serde::{Deserialize, Serialize};

use crate::settings::Settings;

/// Asks for `user_id`.
pub(crate) const WHOSE: Texts = &[
    ("en", "What is your customer number?"),
    ("de", "Wie lautet Ihre Kundennummer?"),
];

/// Asks for `account_type`.
pub(crate) const WHICH: Texts = &[
    ("en", "Which account do you mean: checking, savings or credit?"),
    ("de", "Welches Konto meinen Sie: Girokonto, Sparkonto oder Kreditkonto?"),
];

/// Which account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    #[default]
    Checking,
    Savings,
    Credit,
}

impl Kind {
    /// As the tables have it.
    pub(crate) fn column(self) -> &'static str {
        match self {
            Self::Checking => "checking",
            Self::Savings => "savings",
            Self::Credit => "credit",
        }
    }

    /// As the user knows it: `checking account`, in German `Girokonto`.
    pub(crate) fn name(self, lang: &Lang) -> &'static str {
        let (english, german) = match self {
            Self::Checking => ("checking account", "Girokonto"),
            Self::Savings => ("savings account", "Sparkonto"),
            Self::Credit => ("credit account", "Kreditkonto"),
        };
        lang.pick([("en", english), ("de", german)])
    }
}

/// The customer whose account it is: the one asked about, else the one who is verified.
///
/// # Errors
/// What the user hears when there is neither, or when the settings require the customer to be verified.
pub(crate) async fn customer(
    asked: Option<String>,
    memory: &Memory,
    settings: &Settings,
    lang: &Lang,
) -> Result<String, Fail> {
    if !settings.require_verified {
        return match asked {
            Some(asked) => Ok(asked),
            None => memory.verified().await?.ok_or_else(|| Fail::missing("user_id")),
        };
    }
    match (asked, memory.verified().await?) {
        (None, Some(verified)) => Ok(verified),
        (Some(asked), Some(verified)) if asked == verified => Ok(verified),
        (_, _) => Err(Fail::say(lang.pick([
            (
                "en",
                "Please verify your identity first. I need your customer number and your PIN.",
            ),
            (
                "de",
                "Bitte bestätigen Sie zuerst Ihre Identität. Ich brauche Ihre Kundennummer und Ihre PIN.",
            ),
        ]))),
    }
}

/// What the user hears when the customer has no such account.
pub(crate) fn none(kind: Kind, customer: &str, lang: &Lang) -> String {
    let name = kind.name(lang);
    lang.pick([
        ("en", format!("I cannot find a {name} for customer number {customer}.")),
        ("de", format!("Ich finde zur Kundennummer {customer} kein {name}.")),
    ])
}
