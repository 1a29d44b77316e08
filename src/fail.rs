//! How a handler fails: what the user hears, and what we log.

use std::fmt;

use crate::lang::Lang;

/// Why there is no reply. Each kind says something to the user; none leaves the turn unanswered.
///
/// | kind | the user hears | log |
/// |---|---|---|
/// | [`Ask`](Fail::Ask) | the question for the parameter | debug |
/// | [`Say`](Fail::Say) | its text | debug |
/// | [`Upstream`](Fail::Upstream) | that something cannot be reached now | warn |
/// | [`TooSlow`](Fail::TooSlow) | the intent's slow text | warn |
/// | [`Bug`](Fail::Bug) | the sorry text | error |
///
/// ```
/// use rejoinder::Fail;
///
/// let parsed: Result<u32, _> = "three".parse();
/// let fail = parsed.map_err(|_| Fail::ask("copies", "How many copies?")).unwrap_err();
/// assert_eq!(fail.kind(), "ask");
/// ```
#[derive(Debug)]
pub enum Fail {
    /// A parameter is missing or of another kind: ask for it (again).
    Ask {
        /// Name of the parameter.
        parameter: String,
        /// What to ask; `None` asks in general words.
        prompt: Option<String>,
        /// What was found and what was expected, for the log.
        reason: String,
    },
    /// Nothing went wrong on our side: this text is the answer. A [`Tx`](crate::handler::Tx) is rolled back.
    Say(String),
    /// Something the handler needs does not answer: the database, an API.
    Upstream(anyhow::Error),
    /// The handler reached its own time limit.
    TooSlow,
    /// A mistake in the handler, or in the data it found.
    Bug(anyhow::Error),
    /// Not a failure: the turn has run before, and this is the reply that was committed then.
    #[doc(hidden)]
    Answered(bytes::Bytes),
}

impl Fail {
    /// Asks for a parameter with these words.
    pub fn ask(parameter: impl Into<String>, prompt: impl Into<String>) -> Self {
        Self::Ask {
            parameter: parameter.into(),
            prompt: Some(prompt.into()),
            reason: "asked by the handler".to_owned(),
        }
    }

    /// Asks for a parameter with the words of [`Bot::prompt`](crate::Bot::prompt).
    pub fn missing(parameter: impl Into<String>) -> Self {
        Self::Ask {
            parameter: parameter.into(),
            prompt: None,
            reason: "found nothing".to_owned(),
        }
    }

    /// Answers with this text.
    pub fn say(text: impl Into<String>) -> Self {
        Self::Say(text.into())
    }

    /// A mistake, told in one line.
    pub fn bug(reason: impl fmt::Display) -> Self {
        Self::Bug(anyhow::anyhow!("{reason}"))
    }

    /// The same failure for another who waited for the same thing.
    pub(crate) fn copy(&self) -> Self {
        match self {
            Self::Ask {
                parameter,
                prompt,
                reason,
            } => Self::Ask {
                parameter: parameter.clone(),
                prompt: prompt.clone(),
                reason: reason.clone(),
            },
            Self::Say(text) => Self::Say(text.clone()),
            Self::Upstream(error) => Self::Upstream(anyhow::anyhow!("{error:#}")),
            Self::TooSlow => Self::TooSlow,
            Self::Bug(error) => Self::Bug(anyhow::anyhow!("{error:#}")),
            Self::Answered(body) => Self::Answered(body.clone()),
        }
    }

    /// The name of the kind, for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ask { .. } => "ask",
            Self::Say(_) => "say",
            Self::Upstream(_) => "upstream",
            Self::TooSlow => "too_slow",
            Self::Bug(_) => "bug",
            Self::Answered(_) => "answered",
        }
    }

    /// Whether our side failed, so that an intent may answer with an error status instead of a text.
    pub fn is_ours(&self) -> bool {
        match self {
            Self::Ask { .. } | Self::Say(_) | Self::Answered(_) => false,
            Self::Upstream(_) | Self::TooSlow | Self::Bug(_) => true,
        }
    }

    /// What the user hears, where the failure has words of its own; the general ones otherwise.
    pub(crate) fn spoken(&self, lang: &Lang) -> String {
        match self {
            Self::Ask {
                prompt: Some(prompt), ..
            } => prompt.clone(),
            Self::Ask {
                parameter,
                prompt: None,
                ..
            } => {
                let name = parameter.replace(['_', '-', '.'], " ");
                lang.pick([
                    ("en", format!("What is the {name}?")),
                    ("de", format!("Bitte nennen Sie: {name}.")),
                ])
            }
            Self::Say(text) => text.clone(),
            Self::Upstream(_) => lang.pick([
                (
                    "en",
                    "I cannot reach the information for that right now. Please try again in a moment.".to_owned(),
                ),
                (
                    "de",
                    "Ich erreiche die nötigen Daten gerade nicht. Bitte versuchen Sie es gleich noch einmal."
                        .to_owned(),
                ),
            ]),
            Self::TooSlow => slow_text(lang),
            Self::Bug(_) | Self::Answered(_) => sorry_text(lang),
        }
    }

    pub(crate) fn log(&self) {
        match self {
            Self::Ask { parameter, reason, .. } => tracing::debug!(parameter, reason, "parameter asked for"),
            Self::Say(_) => tracing::debug!("answered with a text instead of a reply"),
            Self::Answered(_) => tracing::debug!("turn had run before; its committed reply was given"),
            Self::Upstream(error) => tracing::warn!(error = format!("{error:#}"), "turn failed: upstream"),
            Self::TooSlow => tracing::warn!("turn failed: the handler reached its time limit"),
            Self::Bug(error) => tracing::error!(error = format!("{error:#}"), "turn failed: bug"),
        }
    }
}

/// What the user hears while a handler goes on, unless its intent has words of its own.
pub(crate) fn slow_text(lang: &Lang) -> String {
    lang.pick([
        ("en", "This is taking a moment. Please ask me again shortly.".to_owned()),
        (
            "de",
            "Das dauert einen Moment. Bitte fragen Sie gleich noch einmal.".to_owned(),
        ),
    ])
}

/// What the user hears when there is nothing better to say.
pub(crate) fn sorry_text(lang: &Lang) -> String {
    lang.pick([
        (
            "en",
            "Sorry, something went wrong on our side. Please try again.".to_owned(),
        ),
        (
            "de",
            "Entschuldigung, bei uns ist etwas schiefgegangen. Bitte versuchen Sie es noch einmal.".to_owned(),
        ),
    ])
}

/// What the user hears when they have cancelled, and the agent says nothing itself.
pub(crate) fn cancelled_text(lang: &Lang) -> String {
    lang.pick([
        ("en", "All right, I have stopped.".to_owned()),
        ("de", "In Ordnung, ich habe abgebrochen.".to_owned()),
    ])
}

/// What the user hears when too many turns are being answered.
pub(crate) fn busy_text(lang: &Lang) -> String {
    lang.pick([
        (
            "en",
            "I am very busy right now. Please ask me again in a minute.".to_owned(),
        ),
        (
            "de",
            "Gerade ist sehr viel los. Bitte fragen Sie in einer Minute noch einmal.".to_owned(),
        ),
    ])
}

impl From<sqlx::Error> for Fail {
    /// What the statement itself got wrong is a bug; all else is a database that does not answer.
    fn from(error: sqlx::Error) -> Self {
        let wrong_statement = if let sqlx::Error::Database(database) = &error {
            // Classes 08, 53, 57 and 58: connection, resources, operator intervention, system.
            !database
                .code()
                .is_some_and(|code| ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class)))
        } else {
            matches!(
                error,
                sqlx::Error::RowNotFound
                    | sqlx::Error::TypeNotFound { .. }
                    | sqlx::Error::ColumnNotFound(_)
                    | sqlx::Error::ColumnDecode { .. }
                    | sqlx::Error::ColumnIndexOutOfBounds { .. }
                    | sqlx::Error::Encode(_)
                    | sqlx::Error::Decode(_)
            )
        };
        let error = anyhow::Error::new(error).context("database");
        if wrong_statement {
            Self::Bug(error)
        } else {
            Self::Upstream(error)
        }
    }
}

impl From<anyhow::Error> for Fail {
    fn from(error: anyhow::Error) -> Self {
        Self::Bug(error)
    }
}
