//! What effects do to conversations, in the transaction that applies their events.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;

use super::decision::{Decision, Governance};
use super::effect::{Applied, Done, FactSet, MessageDone};
use super::fact::{NewFact, NewFacts};
use super::goto::{self, NewGoto};
use super::outbox::{self, CALL, CHAT, CallBody, MessageBody, NewRow};
use super::user::Recipients;
use crate::config::NotificationSettings;
use crate::effect::{Effect, FactScope, Recipient};

/// Applies effects, in order, in a number of statements that does not grow with theirs. Applied again, they change
/// nothing that is newer and send nothing twice.
///
/// `is_late` says that they are applied for the first time, though later events may have been applied before: then a fact
/// that is made of what memory holds is set all the same, so that a counter or a list does not lose the event.
///
/// # Errors
/// When the database refuses; the transaction is then of no more use.
pub(crate) async fn apply(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    settings: &NotificationSettings,
    effects: &[Applied<'_>],
    is_late: bool,
) -> sqlx::Result<Vec<Done>> {
    let recipients = Recipients::find(connection, effects).await?;
    let told: HashSet<String> = effects
        .iter()
        .filter_map(|applied| match applied.effect {
            Effect::Notify { to, .. } => Some(recipients.users(to)),
            Effect::Remember { .. }
            | Effect::Goto { .. }
            | Effect::Call(_)
            | Effect::Emit { .. }
            | Effect::Run { .. } => None,
        })
        .flatten()
        .map(str::to_owned)
        .collect();
    let mut batch = Batch {
        now,
        is_late,
        governance: Governance::load(connection, now, settings, told).await?,
        recipients: &recipients,
        facts: NewFacts::default(),
        rows: Vec::new(),
        gotos: Vec::new(),
    };
    let mut done = Vec::with_capacity(effects.len());
    for applied in effects {
        done.push(batch.add(applied));
    }
    let written = batch.facts.write(connection, now).await?;
    goto::add(connection, now, &batch.gotos).await?;
    let added = outbox::add(connection, now, &batch.rows).await?;
    for done in &mut done {
        match done {
            Done::Messages(messages) => {
                for message in messages.iter_mut().filter(|message| !added.contains(&message.id)) {
                    (message.state, message.reason) = ("known", None);
                }
            }
            Done::Facts(facts) => {
                for fact in facts
                    .iter_mut()
                    .filter(|fact| !written.has(fact.scope, &fact.subject, &fact.name))
                {
                    fact.why_not = Some("a later event has set it");
                }
            }
            Done::Gotos(_) | Done::Call(_) | Done::Elsewhere => {}
        }
    }
    Ok(done)
}

/// What a batch of effects writes.
struct Batch<'a> {
    now: DateTime<Utc>,
    is_late: bool,
    governance: Governance,
    recipients: &'a Recipients,
    facts: NewFacts<'a>,
    rows: Vec<NewRow<'a>>,
    gotos: Vec<NewGoto<'a>>,
}

impl<'a> Batch<'a> {
    fn add(&mut self, applied: &Applied<'a>) -> Done {
        let Applied { event, rule, index, .. } = *applied;
        let position = event.position;
        match applied.effect {
            Effect::Remember {
                about,
                name,
                value,
                is_made_of_memory,
            } => {
                let subjects = match about {
                    Recipient::Entity(entity) => vec![(FactScope::Entity, entity.as_str())],
                    Recipient::Session(session) => vec![(FactScope::Session, session.as_str())],
                    Recipient::User(_) | Recipient::Followers(_) => {
                        let users = self.recipients.users(about);
                        users.into_iter().map(|user| (FactScope::User, user)).collect()
                    }
                };
                let mut set = Vec::with_capacity(subjects.len());
                for (scope, subject) in subjects {
                    let fact = NewFact {
                        position,
                        value,
                        is_forced: self.is_late && *is_made_of_memory,
                    };
                    self.facts.set(scope, subject.to_owned(), name, fact);
                    set.push(FactSet {
                        scope: scope.name(),
                        subject: subject.to_owned(),
                        name: name.clone(),
                        why_not: None,
                    });
                }
                Done::Facts(set)
            }
            Effect::Notify {
                to,
                topic,
                channel,
                text,
            } => {
                let mut messages = Vec::new();
                for user in self.recipients.users(to) {
                    for (session, decision) in self.windows(applied, to, user, topic, channel) {
                        messages.push(self.message(applied, user, session, topic, channel, text, decision));
                    }
                }
                Done::Messages(messages)
            }
            Effect::Goto {
                to,
                kind,
                name,
                parameters,
            } => {
                let mut moved = Vec::new();
                for user in self.recipients.users(to) {
                    for session in self.recipients.sessions(to, user) {
                        self.gotos.push(NewGoto {
                            id: outbox::id(event, rule, index, session, "goto"),
                            session: session.to_owned(),
                            kind: *kind,
                            name,
                            parameters,
                            position,
                        });
                        moved.push(session.to_owned());
                    }
                }
                Done::Gotos(moved)
            }
            Effect::Call(call) => {
                let id = outbox::id(event, rule, index, "", CALL);
                let body = CallBody {
                    event_id: event.envelope.event_id.clone(),
                    event_type: event.envelope.event_type.clone(),
                    entity_id: event.envelope.entity_id.clone(),
                    call,
                };
                self.rows.push(NewRow {
                    id,
                    position,
                    rule,
                    channel: CALL,
                    user_id: None,
                    session: None,
                    topic: None,
                    body: json(&body),
                    traceparent: event.envelope.traceparent.as_deref(),
                    state: "pending",
                    reason: None,
                    due_at: self.now,
                });
                Done::Call(id)
            }
            Effect::Emit { .. } | Effect::Run { .. } => Done::Elsewhere,
        }
    }

    /// Where a user reads the message, and whether and when it is sent there.
    fn windows(
        &mut self,
        applied: &Applied<'a>,
        to: &'a Recipient,
        user: &'a str,
        topic: &str,
        channel: &str,
    ) -> Vec<(Option<&'a str>, Decision)> {
        let decision = self
            .governance
            .decide(user, topic, applied.event.position, applied.rule);
        if channel != CHAT {
            let session = match to {
                Recipient::Session(session) => Some(session.as_str()),
                Recipient::User(_) | Recipient::Followers(_) | Recipient::Entity(_) => None,
            };
            return vec![(session, decision)];
        }
        let sessions = self.recipients.sessions(to, user);
        if sessions.is_empty() {
            let decision = match decision {
                Decision::Suppress { .. } => decision,
                Decision::Send | Decision::Hold { .. } => Decision::Suppress {
                    reason: "no conversation",
                },
            };
            return vec![(None, decision)];
        }
        sessions.into_iter().map(|session| (Some(session), decision)).collect()
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "they are the message's parts, and it is made here only"
    )]
    fn message(
        &mut self,
        applied: &Applied<'a>,
        user: &str,
        session: Option<&str>,
        topic: &'a str,
        channel: &'a str,
        text: &str,
        decision: Decision,
    ) -> MessageDone {
        let event = &applied.event.envelope;
        let recipient = session.unwrap_or(user);
        let id = outbox::id(applied.event, applied.rule, applied.index, recipient, channel);
        let (state, reason, due_at) = match decision {
            Decision::Send => ("pending", None, self.now),
            Decision::Hold { until, reason } => ("held", Some(reason), until),
            Decision::Suppress { reason } => ("suppressed", Some(reason), self.now),
        };
        let body = MessageBody {
            text: text.to_owned(),
            event_id: event.event_id.clone(),
            event_type: event.event_type.clone(),
            entity_id: event.entity_id.clone(),
        };
        self.rows.push(NewRow {
            id,
            position: applied.event.position,
            rule: applied.rule,
            channel,
            user_id: Some(user.to_owned()),
            session: session.map(str::to_owned),
            topic: Some(topic),
            body: json(&body),
            traceparent: event.traceparent.as_deref(),
            state,
            reason,
            due_at,
        });
        MessageDone {
            id,
            channel: channel.to_owned(),
            user_id: user.to_owned(),
            session: session.map(str::to_owned),
            state,
            reason,
        }
    }
}

fn json(body: &impl Serialize) -> String {
    // Strings and JSON values only: there is nothing in it that cannot be written.
    serde_json::to_string(body).unwrap_or_else(|_| "{}".to_owned())
}
