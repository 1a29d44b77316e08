//! `notify`: tells users something, in their conversations or by a channel.

use std::collections::{BTreeMap, HashSet};

use minijinja::Value as Names;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use sqlx::PgConnection;
use toml::Spanned;
use uuid::Uuid;

use super::kind::{Batch, Compiled, Kind, Made, Remark};
use super::text::{text, whom};
use super::to::{RecipientFile, To, ToKind};
use crate::conversation::AfterCommit;
use crate::conversation::decision::{Decision, Refusal};
use crate::conversation::governance::Governance;
use crate::conversation::outbox::{self, CHAT, MessageBody, NewRow};
use crate::conversation::recipient::{Reaches, Recipient, Recipients};
use crate::expression::EvalError;
use crate::nearest::did_you_mean;
use crate::reactions::checker::Checker;
use crate::reactions::content::Content;
use crate::reactions::sees::Sees;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NotifyFile {
    topic: Spanned<String>,
    text: Spanned<String>,
    channel: Option<Spanned<String>>,
    to: Option<RecipientFile>,
}

#[derive(Debug)]
pub(crate) struct NotifyAction {
    to: To,
    topic: String,
    channel: String,
    text: Content,
}

/// Tells somebody.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Notify {
    /// Whom.
    pub(crate) to: Recipient,
    /// What the user must have opted in to.
    pub(crate) topic: String,
    /// `chat`, or the name of a file in `events/channels`.
    pub(crate) channel: String,
    /// What the user reads.
    pub(crate) text: String,
}

/// The messages, one for each user and conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Notified {
    pub(crate) messages: Vec<Message>,
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Message {
    /// As in the outbox.
    #[serde(serialize_with = "outbox::text_of_id")]
    pub(crate) id: Uuid,
    /// chat, or the channel's name.
    pub(crate) channel: String,
    /// Whom it is for.
    pub(crate) user_id: String,
    /// The conversation it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<String>,
    /// Told as `state` (pending, held, suppressed), and the `reason` of the last two. `None`, told as known: it was decided
    /// when the event was applied before.
    #[serde(flatten, serialize_with = "state_and_reason")]
    pub(crate) decision: Option<Decision>,
}

impl Kind for Notify {
    type File = NotifyFile;
    type Action = NotifyAction;
    type Done = Notified;

    fn check(written: &NotifyFile, checker: &mut Checker<'_>, sees: &Sees<'_>) -> Option<NotifyAction> {
        let topic = checker.literal(
            &written.topic,
            is_topic,
            "a topic of letters, digits and . _ -, up to 64",
        );
        let channel = match &written.channel {
            None => Some(CHAT.to_owned()),
            Some(channel) => {
                let channels = checker.known.channels;
                let is_known = |name: &str| name == CHAT || channels.iter().any(|known| known == name);
                let names = channels.iter().map(String::as_str).chain([CHAT]);
                let meant = did_you_mean(channel.get_ref(), names);
                let expected = match channels {
                    [] => format!("chat, for events/channels has no file{meant}"),
                    names => format!("chat or a file of events/channels ({}){meant}", names.join(", ")),
                };
                checker.literal(channel, is_known, &expected)
            }
        };
        let to = To::check(written.to.as_ref(), ToKind::Followers, checker, sees);
        let text = checker.text(&written.text, sees);
        Some(NotifyAction {
            to: to?,
            topic: topic?,
            channel: channel?,
            text: text?,
        })
    }

    async fn write(
        all: &[Made<'_, Self>],
        batch: &Batch<'_>,
        connection: &mut PgConnection,
    ) -> sqlx::Result<Vec<Notified>> {
        let recipients = &batch.recipients;
        let users = all.iter().flat_map(|made| recipients.users(&made.effect.to));
        let users: HashSet<String> = users.map(str::to_owned).collect();
        let mut governance = Governance::load(connection, batch.now, batch.settings, users).await?;
        let (mut rows, mut done) = (Vec::new(), Vec::with_capacity(all.len()));
        for made in all {
            let Notify { to, topic, .. } = made.effect;
            let mut messages = Vec::new();
            for user in recipients.users(to) {
                let decision = governance.decide(user, topic, made.event.position, made.rule);
                for (session, decision) in made.effect.windows(recipients, user, decision) {
                    let (row, message) = message(made, user, session, decision);
                    rows.push(row);
                    messages.push(message);
                }
            }
            done.push(Notified { messages });
        }
        let added = outbox::add(connection, batch.now, &rows).await?;
        for message in done.iter_mut().flat_map(|done| &mut done.messages) {
            if !added.contains(&message.id) {
                message.decision = None;
            }
        }
        Ok(done)
    }

    fn line(effect: &Value) -> String {
        let (to, topic, channel) = (whom(effect, "to"), text(effect, "topic"), text(effect, "channel"));
        format!("notify {to} ({topic}, {channel}): {}", text(effect, "text"))
    }

    fn reaches(&self) -> Option<Reaches<'_>> {
        Some(Reaches::Conversations(&self.to))
    }

    fn committed(done: &Notified, after: &mut AfterCommit) {
        for message in &done.messages {
            match message.decision {
                Some(Decision::Send) => after.fills_outbox = true,
                Some(decision @ (Decision::Hold { .. } | Decision::Suppress { .. })) => {
                    after.decided.push((message.channel.clone(), decision.state()));
                }
                None => {}
            }
        }
    }

    /// How many messages it became, and what was decided on them.
    fn remarks(effect: &Value, done: &Value) -> Vec<Remark> {
        let topic = text(effect, "topic");
        let mut decided: BTreeMap<String, u32> = BTreeMap::new();
        for message in done["messages"].as_array().into_iter().flatten() {
            let state = text(message, "state");
            let decision = match message["reason"].as_str() {
                Some(reason) => format!("{state} ({reason})"),
                None => state.to_owned(),
            };
            *decided.entry(decision).or_default() += 1;
        }
        let is_nobody = decided.is_empty();
        let text = match effect["to"]["followers"].as_str() {
            Some(entity) if is_nobody => format!("notify {topic} reached nobody: nobody follows {entity}"),
            None if is_nobody => format!("notify {topic} reached nobody"),
            Some(_) | None => {
                let decided: Vec<String> = decided
                    .iter()
                    .map(|(decision, messages)| format!("{messages} {decision}"))
                    .collect();
                format!("notify {topic}: {}", decided.join(", "))
            }
        };
        vec![Remark { is_nobody, text }]
    }
}

impl Compiled for NotifyAction {
    type Effect = Notify;

    fn eval(&self, names: &Names) -> Result<Notify, EvalError> {
        Ok(Notify {
            to: self.to.recipient(names)?,
            topic: self.topic.clone(),
            channel: self.channel.clone(),
            text: said(self.text.eval_text(names).map_err(|error| error.about("text"))?)?,
        })
    }

    fn paths(&self) -> Vec<String> {
        self.to.paths().into_iter().chain(self.text.paths()).collect()
    }
}

impl Notify {
    /// Where a user reads the message, and whether and when it is sent there.
    fn windows<'a>(
        &'a self,
        recipients: &'a Recipients,
        user: &'a str,
        decision: Decision,
    ) -> Vec<(Option<&'a str>, Decision)> {
        if self.channel != CHAT {
            let session = match &self.to {
                Recipient::Session(session) => Some(session.as_str()),
                Recipient::User(_) | Recipient::Followers(_) | Recipient::Entity(_) => None,
            };
            return vec![(session, decision)];
        }
        let sessions = recipients.sessions(&self.to, user);
        if sessions.is_empty() {
            let decision = match decision {
                Decision::Suppress { .. } => decision,
                Decision::Send | Decision::Hold { .. } => Decision::Suppress {
                    reason: Refusal::NoConversation,
                },
            };
            return vec![(None, decision)];
        }
        sessions.into_iter().map(|session| (Some(session), decision)).collect()
    }
}

fn message<'a>(
    made: &Made<'a, Notify>,
    user: &str,
    session: Option<&str>,
    decision: Decision,
) -> (NewRow<'a>, Message) {
    let (event, notify) = (&made.event.envelope, made.effect);
    let recipient = session.unwrap_or(user);
    let id = outbox::id(made.event, made.rule, made.index, recipient, &notify.channel);
    let body = MessageBody {
        text: notify.text.clone(),
        event_id: event.event_id.to_string(),
        event_type: event.event_type.to_string(),
        entity_id: event.entity_id.to_string(),
    };
    let row = NewRow {
        id,
        position: made.event.position,
        rule: made.rule,
        channel: &notify.channel,
        user_id: Some(user.to_owned()),
        session: session.map(str::to_owned),
        topic: Some(&notify.topic),
        body: outbox::json(&body),
        traceparent: event.traceparent.as_deref(),
        decision,
    };
    let message = Message {
        id,
        channel: notify.channel.clone(),
        user_id: user.to_owned(),
        session: session.map(str::to_owned),
        decision: Some(decision),
    };
    (row, message)
}

fn state_and_reason<S: Serializer>(decision: &Option<Decision>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut fields = serializer.serialize_map(None)?;
    fields.serialize_entry("state", decision.map_or("known", |decision| decision.state().as_str()))?;
    if let Some(reason) = decision.and_then(Decision::reason) {
        fields.serialize_entry("reason", reason)?;
    }
    fields.end()
}

fn said(text: String) -> Result<String, EvalError> {
    if text.trim().is_empty() {
        return Err(EvalError("text: found nothing, expected something to say".to_owned()));
    }
    Ok(text)
}

fn is_topic(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}
