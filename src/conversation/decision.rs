//! Whether, and when, a user is told of something: opt-in, rate, quiet hours, digest.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::preferences::{self, Preferences};
use crate::config::NotificationSettings;

/// The reason of a message that is held to be sent with others.
pub(super) const DIGEST: &str = "digest";

/// The reason of a message that is held until the user's quiet hours end.
pub(super) const QUIET: &str = "quiet hours";

/// A digest is gathered for no longer than this, in minutes: a week.
const MAX_DIGEST_MINUTES: u16 = 7 * 24 * 60;

/// Digests of longer ago are sent or never will be.
const DIGEST_DAYS: i64 = 8;

/// What is to happen with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is sent at once.
    Send,
    /// It is sent later.
    Hold { until: DateTime<Utc>, reason: &'static str },
    /// It is not sent.
    Suppress { reason: &'static str },
}

/// What is known about the users that a batch wants to tell something.
#[derive(Debug)]
pub(super) struct Governance {
    now: DateTime<Utc>,
    per_hour: i64,
    subscribed: HashSet<(String, String)>,
    preferences: HashMap<String, Preferences>,
    history: HashMap<String, History>,
    /// A message of one rule about one event counts once, in however many windows it is read.
    counted: HashMap<(String, i64, String), Decision>,
}

#[derive(Clone, Copy, Debug, Default)]
struct History {
    in_last_hour: i64,
    digest_until: Option<DateTime<Utc>>,
}

impl Governance {
    /// Asks what is known about these users; nothing when there are none.
    pub(super) async fn load(
        connection: &mut PgConnection,
        now: DateTime<Utc>,
        settings: &NotificationSettings,
        users: HashSet<String>,
    ) -> sqlx::Result<Self> {
        let mut governance = Self {
            now,
            per_hour: i64::from(settings.notifications_per_hour),
            subscribed: HashSet::new(),
            preferences: HashMap::new(),
            history: HashMap::new(),
            counted: HashMap::new(),
        };
        if users.is_empty() {
            return Ok(governance);
        }
        let users: Vec<String> = users.into_iter().collect();
        let subscribed = sqlx::query!(
            "select user_id, topic from subscriptions where user_id = any($1) and opted_in",
            &users
        )
        .fetch_all(&mut *connection)
        .await?;
        governance.subscribed = subscribed.into_iter().map(|row| (row.user_id, row.topic)).collect();
        if governance.subscribed.is_empty() {
            return Ok(governance);
        }
        governance.preferences = preferences::of_users(&mut *connection, &users).await?;
        let history = sqlx::query!(
            r#"select user_id as "user_id!",
                   count(distinct (position, rule)) filter (
                       where created_at > $2 and state in ('pending', 'held', 'sent') and reason is distinct from $4
                   ) as "in_last_hour!",
                   min(due_at) filter (where state = 'held' and reason = $4 and due_at > $3) as digest_until
               from outbox where user_id = any($1) and created_at > $5
               group by user_id"#,
            &users,
            now - TimeDelta::hours(1),
            now,
            DIGEST,
            now - TimeDelta::days(DIGEST_DAYS)
        )
        .fetch_all(connection)
        .await?;
        governance.history = history
            .into_iter()
            .map(|row| {
                let history = History {
                    in_last_hour: row.in_last_hour,
                    digest_until: row.digest_until,
                };
                (row.user_id, history)
            })
            .collect();
        Ok(governance)
    }

    /// Decides on the message of a rule about the event at `position`.
    pub(super) fn decide(&mut self, user: &str, topic: &str, position: i64, rule: &str) -> Decision {
        if !self.subscribed.contains(&(user.to_owned(), topic.to_owned())) {
            return Decision::Suppress { reason: "not opted in" };
        }
        let message = (user.to_owned(), position, rule.to_owned());
        if let Some(decision) = self.counted.get(&message) {
            return *decision;
        }
        let decision = self.weigh(user);
        self.counted.insert(message, decision);
        decision
    }

    fn weigh(&mut self, user: &str) -> Decision {
        let preferences = self.preferences.get(user);
        let history = self.history.entry(user.to_owned()).or_default();
        let quiet_until = |at| preferences.and_then(|said| said.quiet_until(at));
        if let Some(minutes) = preferences.and_then(|said| said.digest_minutes) {
            let until = *history.digest_until.get_or_insert_with(|| {
                let until = self.now + TimeDelta::minutes(minutes.get().min(MAX_DIGEST_MINUTES).into());
                quiet_until(until).unwrap_or(until)
            });
            return Decision::Hold { until, reason: DIGEST };
        }
        let per_hour = preferences
            .and_then(|said| said.per_hour)
            .map_or(self.per_hour, |number| number.get().into());
        if history.in_last_hour >= per_hour {
            return Decision::Suppress { reason: "rate" };
        }
        history.in_last_hour += 1;
        match quiet_until(self.now) {
            Some(until) => Decision::Hold { until, reason: QUIET },
            None => Decision::Send,
        }
    }
}
