//! Counts what stands in the tables and waits for something, for those who operate.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use tracing::info;

use crate::clock::Clock;
use crate::event::partition::Partitions;
use crate::event::standing::{Counted, Standing};
use crate::postgres::Database;

/// How often.
const SURVEY: Duration = Duration::from_secs(5);

/// It counts no further.
const MOST: i64 = 10_000;

/// Counts every few seconds until dropped.
pub(crate) async fn survey(database: Database, clock: Clock, standing: Standing) {
    loop {
        match database.within(count(database.events(), clock.now())).await {
            Ok(counted) => standing.set(&counted),
            Err(error) => info!(error = %error, "what waits is not counted; trying again"),
        }
        tokio::time::sleep(SURVEY).await;
    }
}

/// Counts once.
async fn count(executor: impl PgExecutor<'_>, now: DateTime<Utc>) -> sqlx::Result<Counted> {
    let row = sqlx::query!(
        r#"select
               coalesce(extract(epoch from $1 - least(
                   (select min(first.received_at) from unnest($2::smallint[]) p (partition)
                    cross join lateral (
                        select coalesce((select c.position from rejoinder.event_cursors c where c.partition = p.partition
                                         order by c.seq desc limit 1), 0) as position
                    ) done
                    cross join lateral (
                        select l.received_at from rejoinder.event_log l
                        where l.partition = p.partition and l.position > done.position order by l.position limit 1
                    ) first),
                   (select min(e.received_at) from (select received_at from rejoinder.parked_events limit $3) e)
               )), 0)::float8 as "oldest_unapplied_s!",
               (select count(*) from (select from rejoinder.parked_events limit $3) e) as "parked!",
               (select count(*) from (select from rejoinder.dead_letters limit $3) e) as "dead!",
               (select count(*) from (select from rejoinder.quarantined_events limit $3) e) as "quarantined_events!",
               (select count(*) from (select from rejoinder.quarantined_requests limit $3) e) as "quarantined_requests!",
               chat.pending as "chat_pending!", chat.held as "chat_held!",
               requests.pending as "requests_pending!", requests.held as "requests_held!",
               coalesce(extract(epoch from $1 - least(chat.due_at, requests.due_at)), 0)::float8 as "oldest_due_s!"
           from (
               select count(*) filter (where o.state = 'pending') as pending, count(*) filter (where o.state = 'held') as held,
                   min(o.due_at) as due_at
               -- By the index of all that is due.
               from (select state, due_at from rejoinder.outbox
                     where channel = 'chat' and state in ('pending', 'held') order by due_at limit $3) o
           ) chat cross join (
               select count(*) filter (where o.state = 'pending') as pending, count(*) filter (where o.state = 'held') as held,
                   min(o.due_at) as due_at
               from (select state, due_at from rejoinder.outbox
                     where channel <> 'chat' and state in ('pending', 'held') order by due_at limit $3) o
           ) requests"#,
        now,
        &Partitions::ALL.numbers(),
        MOST
    )
    .fetch_one(executor)
    .await?;
    Ok(Counted {
        oldest_unapplied_s: row.oldest_unapplied_s.max(0.0),
        parked: row.parked,
        dead: row.dead,
        quarantined_events: row.quarantined_events,
        quarantined_requests: row.quarantined_requests,
        chat: (row.chat_pending, row.chat_held),
        requests: (row.requests_pending, row.requests_held),
        // What is held is due later.
        oldest_due_s: row.oldest_due_s.max(0.0),
    })
}
