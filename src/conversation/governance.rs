//! Whether, and when, a user is told of something: opt-in, rate, quiet hours, digest.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::decision::{Decision, Delay, Refusal};
use super::preferences::{self, Preferences};
use crate::config::NotificationSettings;
use crate::event::position::Position;

/// A digest is gathered for no longer than this, in minutes: a week.
const MAX_DIGEST_MINUTES: u16 = 7 * 24 * 60;

/// What is known about the users that a batch wants to tell something.
#[derive(Debug)]
pub(crate) struct Governance {
    now: DateTime<Utc>,
    per_hour: i64,
    subscribed: HashSet<(String, String)>,
    preferences: HashMap<String, Preferences>,
    /// How much each user was told in the last hour.
    in_last_hour: HashMap<String, i64>,
    /// When the digest that is being gathered for a user is sent.
    digest_until: HashMap<String, DateTime<Utc>>,
    /// A message of one rule about one event counts once, in however many windows it is read.
    counted: HashMap<(String, Position, String), Decision>,
}

impl Governance {
    /// Asks what is known about these users; nothing when there are none.
    pub(crate) async fn load(
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
            in_last_hour: HashMap::new(),
            digest_until: HashMap::new(),
            counted: HashMap::new(),
        };
        if users.is_empty() {
            return Ok(governance);
        }
        let users: Vec<String> = users.into_iter().collect();
        let subscribed = sqlx::query!(
            "select user_id, topic from rejoinder.subscriptions where user_id = any($1) and opted_in",
            &users
        )
        .fetch_all(&mut *connection)
        .await?;
        governance.subscribed = subscribed.into_iter().map(|row| (row.user_id, row.topic)).collect();
        if governance.subscribed.is_empty() {
            return Ok(governance);
        }
        governance.preferences = preferences::of_users(&mut *connection, &users).await?;
        let (digests, told): (Vec<String>, Vec<String>) = users
            .into_iter()
            .filter(|user| governance.subscribed.iter().any(|(subscribed, _)| subscribed == user))
            .partition(|user| governance.has_digest(user));
        if !told.is_empty() {
            // `offset 0` keeps the planner to the index, whatever the statistics say: what was told in the last hour is
            // all that is read.
            let told = sqlx::query!(
                r#"select u.user_id as "user_id!", count(distinct (o.position, o.rule)) as "messages!"
                   from unnest($1::text[]) u (user_id)
                   cross join unnest(array['pending', 'held', 'sent']) s (state)
                   cross join lateral (
                       select o.position, o.rule from rejoinder.outbox o
                       where o.user_id = u.user_id and o.state = s.state and o.created_at > $2
                           and o.reason is distinct from 'digest'
                       offset 0
                   ) o
                   group by u.user_id"#,
                &told,
                now - TimeDelta::hours(1)
            )
            .fetch_all(&mut *connection)
            .await?;
            governance.in_last_hour = told.into_iter().map(|row| (row.user_id, row.messages)).collect();
        }
        if !digests.is_empty() {
            let gathered = sqlx::query!(
                r#"select u.user_id as "user_id!", d.due_at
                   from unnest($1::text[]) u (user_id)
                   cross join lateral (
                       select o.due_at from rejoinder.outbox o
                       where o.user_id = u.user_id and o.state = 'held' and o.reason = 'digest' and o.due_at > $2
                       order by o.due_at limit 1
                   ) d"#,
                &digests,
                now
            )
            .fetch_all(connection)
            .await?;
            governance.digest_until = gathered.into_iter().map(|row| (row.user_id, row.due_at)).collect();
        }
        Ok(governance)
    }

    fn has_digest(&self, user: &str) -> bool {
        self.preferences
            .get(user)
            .is_some_and(|said| said.digest_minutes.is_some())
    }

    /// Decides on the message of a rule about the event at `position`.
    pub(crate) fn decide(&mut self, user: &str, topic: &str, position: Position, rule: &str) -> Decision {
        if !self.subscribed.contains(&(user.to_owned(), topic.to_owned())) {
            return Decision::Suppress {
                reason: Refusal::NotOptedIn,
            };
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
        let quiet_until = |at| preferences.and_then(|said| said.quiet_until(at));
        if let Some(minutes) = preferences.and_then(|said| said.digest_minutes) {
            let until = *self.digest_until.entry(user.to_owned()).or_insert_with(|| {
                let until = self.now + TimeDelta::minutes(minutes.get().min(MAX_DIGEST_MINUTES).into());
                quiet_until(until).unwrap_or(until)
            });
            return Decision::Hold {
                until,
                reason: Delay::Digest,
            };
        }
        let per_hour = preferences
            .and_then(|said| said.per_hour)
            .map_or(self.per_hour, |number| number.get().into());
        let in_last_hour = self.in_last_hour.entry(user.to_owned()).or_default();
        if *in_last_hour >= per_hour {
            return Decision::Suppress { reason: Refusal::Rate };
        }
        *in_last_hour += 1;
        match quiet_until(self.now) {
            Some(until) => Decision::Hold {
                until,
                reason: Delay::QuietHours,
            },
            None => Decision::Send,
        }
    }
}
