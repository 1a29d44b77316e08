//! Keeping the tables of events small: old segments are dropped, and what says nothing any more is deleted.

use std::ops::RangeInclusive;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use tracing::{info, warn};

use super::join;
use crate::clock::Clock;
use crate::conversation;
use crate::event::partition::Partitions;
use crate::intake::quarantine;
use crate::log::{self, audit, cursor};
use crate::postgres::Database;

/// How often.
const SWEEP: Duration = Duration::from_secs(60);

/// How long a segment is: an event is gone at most this long after its retention.
const WEEK: TimeDelta = TimeDelta::days(7);

/// A sweep deletes at most so many rows of the outbox.
const MAX_DELETED: i64 = 10_000;

/// Sweeps each minute until dropped.
pub(crate) async fn keep_small(database: Database, clock: Clock, keep: TimeDelta) {
    loop {
        tokio::time::sleep(SWEEP).await;
        if let Err(error) = database.within(sweep(database.events(), clock.now(), keep)).await {
            info!(error = %error, "old events not cleared away; trying again in a minute");
        }
    }
}

/// Sweeps once; several replicas may at the same time.
pub(crate) async fn sweep(pool: &PgPool, now: DateTime<Utc>, keep: TimeDelta) -> sqlx::Result<()> {
    cursor::prune(pool).await?;
    join::delete_old(pool, now).await?;
    quarantine::delete_expired(pool, now).await?;
    audit::delete_old(pool, now).await?;
    let mut connection = pool.acquire().await?;
    // Next week's in advance, so that no sender waits for it.
    sqlx::query!("select rejoinder.create_event_segment($1)", log::monday(now + WEEK))
        .execute(&mut *connection)
        .await?;
    let kept = drop_segments(&mut connection, now - keep).await?;
    conversation::delete_done(&mut *connection, now - keep - WEEK, &kept, MAX_DELETED).await?;
    Ok(())
}

/// Drops the weeks that ended before `until`, but none that holds an event which is still to be applied. Returns the
/// positions of those that are kept.
async fn drop_segments(connection: &mut PgConnection, until: DateTime<Utc>) -> sqlx::Result<Vec<RangeInclusive<i64>>> {
    let mut kept = Vec::new();
    // Also those that an interrupted sweep has left detached.
    let old = sqlx::query!(
        r#"select c.relname as "segment!", right(c.relname, 8) as "week!", left(c.relname, -9) as "parent!",
               i.inhrelid is not null as "attached!", coalesce(i.inhdetachpending, false) as "pending!"
           from pg_class c left join pg_inherits i on i.inhrelid = c.oid
           where c.relkind = 'r' and c.relname ~ '^event_(log|outcomes)_[0-9]{8}$'
               and c.relnamespace = 'rejoinder'::regnamespace
               and to_date(right(c.relname, 8), 'YYYYMMDD') + 7 <= $1
           order by c.relname"#,
        until.date_naive()
    )
    .fetch_all(&mut *connection)
    .await?;
    for segment in old {
        let (name, parent) = (&segment.segment, &segment.parent);
        if is_needed(connection, &segment.week).await? {
            warn!(
                segment = name,
                "events older than their retention are kept: some are parked, dead letters, or not applied yet"
            );
            kept.extend(positions(connection, &segment.week).await?);
            continue;
        }
        if segment.attached {
            // Concurrently: a reader that takes its time holds up nobody else.
            let how = if segment.pending { "finalize" } else { "concurrently" };
            let detach = format!("alter table rejoinder.{parent} detach partition rejoinder.{name} {how}");
            sqlx::query(AssertSqlSafe(detach)).execute(&mut *connection).await?;
        }
        sqlx::query(AssertSqlSafe(format!("drop table rejoinder.{name}")))
            .execute(&mut *connection)
            .await?;
        info!(segment = name, "events older than their retention are dropped");
    }
    Ok(kept)
}

/// The first and the last position of a week; `None` where it has no events.
async fn positions(connection: &mut PgConnection, week: &str) -> sqlx::Result<Option<RangeInclusive<i64>>> {
    let found = sqlx::query!(
        "with week as (
             select to_date($1, 'YYYYMMDD')::timestamp at time zone 'UTC' as first,
                 (to_date($1, 'YYYYMMDD') + 7)::timestamp at time zone 'UTC' as next
         )
         select min(f.position) as first, max(l.position) as last
         -- partition by partition, so that the index tells both without reading what is between
         from week cross join unnest($2::smallint[]) p (partition)
         cross join lateral (
             select e.position from rejoinder.event_log e
             where e.partition = p.partition and e.received_at >= week.first and e.received_at < week.next
             order by e.position limit 1
         ) f
         cross join lateral (
             select e.position from rejoinder.event_log e
             where e.partition = p.partition and e.received_at >= week.first and e.received_at < week.next
             order by e.position desc limit 1
         ) l",
        week,
        &Partitions::ALL.numbers()
    )
    .fetch_one(connection)
    .await?;
    Ok(found.first.zip(found.last).map(|(first, last)| first..=last))
}

async fn is_needed(connection: &mut PgConnection, week: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"with week as (
               select to_date($1, 'YYYYMMDD')::timestamp at time zone 'UTC' as first,
                   (to_date($1, 'YYYYMMDD') + 7)::timestamp at time zone 'UTC' as next
           )
           select exists (select from rejoinder.parked_events, week where received_at >= first and received_at < next)
               or exists (select from rejoinder.dead_letters, week where received_at >= first and received_at < next)
               or exists (
                   select from generate_series(0, 31) p (partition)
                   cross join lateral (
                       select coalesce((select c.position from rejoinder.event_cursors c where c.partition = p.partition
                                        order by c.seq desc limit 1), 0) as position
                   ) done
                   where exists (
                       select from rejoinder.event_log l, week where l.partition = p.partition and l.position > done.position
                           and l.received_at >= first and l.received_at < next
                   )
               ) as "is_needed!""#,
        week
    )
    .fetch_one(connection)
    .await
}

#[cfg(test)]
mod tests {
    use serde_json::value::to_raw_value;

    use super::*;
    use crate::event::envelope::Envelope;
    use crate::event::event_type::EventType;
    use crate::event::id::Id;
    use crate::event::payload::Payload;
    use crate::postgres::{ConnectSettings, SILENCE};
    use crate::testing::new_database;

    const KEEP: TimeDelta = TimeDelta::days(30);

    fn event(entity_id: &str) -> Envelope {
        Envelope {
            source: "generic".into(),
            event_id: Id::stored(entity_id.to_owned()),
            event_type: EventType::stored("order.shipped".to_owned()),
            timestamp: DateTime::UNIX_EPOCH,
            entity_id: Id::stored(entity_id.to_owned()),
            user_id: None,
            schema_version: 1,
            payload: Payload::stored(to_raw_value(&1).unwrap()),
            traceparent: None,
            hops: 0,
        }
    }

    /// A log with an event in each of three weeks from `first` on, all applied.
    async fn three_weeks(first: DateTime<Utc>) -> PgPool {
        let pool = PgPool::connect_with(new_database().await).await.unwrap();
        let mut connection = pool.acquire().await.unwrap();
        for week in 0..3 {
            let now = first + TimeDelta::weeks(week);
            log::Log::default().make_room(&pool, now).await.unwrap();
            let event = event(&week.to_string());
            log::append(&mut connection, &[&event], now, now).await.unwrap();
        }
        sqlx::query(
            "insert into rejoinder.event_cursors (partition, seq, position, worker)
             select p, 1, 1000, gen_random_uuid() from generate_series(0, 31) p",
        )
        .execute(&mut *connection)
        .await
        .unwrap();
        pool
    }

    async fn entities(pool: &PgPool) -> Vec<String> {
        sqlx::query_scalar("select entity_id from rejoinder.event_log order by position")
            .fetch_all(pool)
            .await
            .unwrap()
    }

    async fn segments(pool: &PgPool) -> i64 {
        sqlx::query_scalar("select count(*) from pg_class where relkind = 'r' and relname ~ '^event_(log|outcomes)_'")
            .fetch_one(pool)
            .await
            .unwrap()
    }

    fn monday() -> DateTime<Utc> {
        // Monday, 5 January 2026.
        DateTime::from_timestamp(1_767_571_200, 0).unwrap()
    }

    #[tokio::test]
    async fn weeks_that_ended_before_the_retention_are_dropped_and_no_others() {
        let pool = three_weeks(monday()).await;
        sweep(&pool, monday() + TimeDelta::weeks(1) + KEEP - TimeDelta::days(1), KEEP)
            .await
            .unwrap();
        assert_eq!(entities(&pool).await, ["0", "1", "2"]);
        let before = segments(&pool).await;
        sweep(&pool, monday() + TimeDelta::weeks(1) + KEEP, KEEP).await.unwrap();
        assert_eq!(entities(&pool).await, ["1", "2"]);
        assert_eq!(segments(&pool).await, before - 2);
        sweep(&pool, monday() + TimeDelta::weeks(20), KEEP).await.unwrap();
        assert!(entities(&pool).await.is_empty());
    }

    #[tokio::test]
    async fn week_with_a_parked_event_a_dead_letter_or_one_not_applied_is_kept() {
        for needed in [
            "insert into rejoinder.parked_events (partition, entity_id, position, received_at, attempts, retry_at)
             select partition, entity_id, position, received_at, 1, received_at from rejoinder.event_log where entity_id = '1'",
            "insert into rejoinder.dead_letters (position, partition, entity_id, received_at, source, event_id, event_type, attempts,
                 error, died_at)
             select position, partition, entity_id, received_at, source, event_id, event_type, 5, 'no', received_at
             from rejoinder.event_log where entity_id = '1'",
            "update rejoinder.event_cursors set position = 0
             where partition = (select partition from rejoinder.event_log where entity_id = '1')",
        ] {
            let pool = three_weeks(monday()).await;
            sqlx::query(needed).execute(&pool).await.unwrap();
            sweep(&pool, monday() + TimeDelta::weeks(20), KEEP).await.unwrap();
            assert_eq!(entities(&pool).await, ["1"], "{needed}");
        }
    }

    #[tokio::test]
    async fn quarantine_ends_after_a_week() {
        let pool = three_weeks(monday()).await;
        let odd = event("odd");
        quarantine::keep(&pool, &[(&odd, "[]".to_owned())], monday())
            .await
            .unwrap();
        let kept = async || quarantine::list(&pool, None, None, 10).await.unwrap().len();
        sweep(&pool, monday() + TimeDelta::days(6), KEEP).await.unwrap();
        assert_eq!(kept().await, 1);
        sweep(&pool, monday() + TimeDelta::days(7), KEEP).await.unwrap();
        assert_eq!(kept().await, 0);
    }

    #[tokio::test]
    async fn audit_trail_is_kept_for_a_year() {
        let pool = three_weeks(monday()).await;
        let entry = audit::Entry {
            actor: "ada",
            action: "forget",
            position: None,
            detail: "",
        };
        let mut connection = pool.acquire().await.unwrap();
        for days in [0, 1] {
            let at = monday() + TimeDelta::days(days);
            audit::write(&mut connection, &entry, at).await.unwrap();
        }
        let kept = async || audit::list(&pool, &audit::Filter::default(), 10).await.unwrap().len();
        sweep(&pool, monday() + TimeDelta::days(366), KEEP).await.unwrap();
        assert_eq!(kept().await, 2);
        sweep(&pool, monday() + TimeDelta::days(367), KEEP).await.unwrap();
        assert_eq!(kept().await, 1);
    }

    #[tokio::test]
    async fn refusals_are_kept_for_30_days() {
        let pool = three_weeks(monday()).await;
        let mut connection = pool.acquire().await.unwrap();
        for action in [audit::REFUSED, "forget"] {
            let entry = audit::Entry {
                actor: "ada",
                action,
                position: None,
                detail: "",
            };
            audit::write(&mut connection, &entry, monday()).await.unwrap();
        }
        let kept = async || audit::list(&pool, &audit::Filter::default(), 10).await.unwrap().len();
        sweep(&pool, monday() + TimeDelta::days(30), KEEP).await.unwrap();
        assert_eq!(kept().await, 2);
        sweep(&pool, monday() + TimeDelta::days(31), KEEP).await.unwrap();
        assert_eq!(kept().await, 1);
    }

    /// The outbox after a sweep at noon of 2026-09-21 (so that 2026-08-15 is past retention and a week), by position.
    async fn left(pool: &PgPool) -> Vec<i64> {
        let now = "2026-09-21T12:00:00Z".parse().unwrap();
        sweep(pool, now, KEEP).await.unwrap();
        let left = sqlx::query_scalar("select position from rejoinder.outbox order by position");
        left.fetch_all(pool).await.unwrap()
    }

    #[tokio::test]
    async fn what_was_sent_is_kept_until_no_replay_can_send_it_again() {
        let pool = PgPool::connect_with(new_database().await).await.unwrap();
        sqlx::raw_sql(
            "insert into rejoinder.outbox (id, position, rule, channel, body, state, due_at, created_at)
             select gen_random_uuid(), n.position, 'a rule', 'chat', '{}', n.state, n.created_at, n.created_at
             from (values (1, 'sent', timestamptz '2026-08-15T11:59:59Z'), (2, 'failed', '2026-08-15T11:59:59Z'),
                 (3, 'suppressed', '2026-08-15T11:59:59Z'), (4, 'pending', '2026-08-15T11:59:59Z'),
                 (5, 'held', '2026-08-15T11:59:59Z'), (6, 'sent', '2026-08-15T12:00:00Z')) n (position, state, created_at)",
        )
        .execute(&pool)
        .await
        .unwrap();
        assert_eq!(left(&pool).await, [4, 5, 6]);
    }

    #[tokio::test]
    async fn what_was_sent_of_an_old_week_that_is_kept_is_kept_with_it() {
        let pool = PgPool::connect_with(new_database().await).await.unwrap();
        // The second of three events is a dead letter.
        sqlx::raw_sql(
            "select rejoinder.create_event_segment('2026-07-06');
             insert into rejoinder.event_log (position, partition, source, event_id, event_type, entity_id, schema_version,
                 occurred_at, received_at)
             select n, 7, 'shop', 'evt-' || n, 'order.shipped', '10042', 1, '2026-07-07T00:00:00Z', '2026-07-07T00:00:00Z'
             from generate_series(10, 12) n;
             insert into rejoinder.dead_letters (position, partition, entity_id, received_at, source, event_id, event_type, attempts,
                 error, died_at)
             values (11, 7, '10042', '2026-07-07T00:00:00Z', 'shop', 'evt-11', 'order.shipped', 8, 'no answer',
                 '2026-07-07T00:00:01Z');
             insert into rejoinder.event_cursors (partition, seq, position, worker) values (7, 1, 12, gen_random_uuid());
             insert into rejoinder.outbox (id, position, rule, channel, body, state, due_at, created_at)
             select gen_random_uuid(), n, 'a rule', 'chat', '{}', 'sent', '2026-07-07T00:00:00Z', '2026-07-07T00:00:00Z'
             from generate_series(9, 13) n",
        )
        .execute(&pool)
        .await
        .unwrap();
        assert_eq!(left(&pool).await, [10, 11, 12]);
        sqlx::raw_sql("delete from rejoinder.dead_letters")
            .execute(&pool)
            .await
            .unwrap();
        assert_eq!(left(&pool).await, [0; 0]);
    }

    #[tokio::test]
    async fn process_whose_machine_is_sixty_days_ahead_drops_nothing() {
        let database = Database::connect(ConnectSettings {
            primary: new_database().await,
            replica: None,
            pool_size: 1,
            events_pool_size: 2,
            patience: SILENCE,
            silence: SILENCE,
            clock: Clock::off_by(TimeDelta::days(60)),
        })
        .await
        .unwrap();
        let pool = database.events();
        sqlx::raw_sql(
            "select rejoinder.create_event_segment(date_trunc('week', now() at time zone 'UTC')::date);
             insert into rejoinder.event_log (position, partition, source, event_id, event_type, entity_id, schema_version,
                 occurred_at, received_at) values (1, 7, 'shop', 'evt-1', 'order.shipped', '10042', 1, now(), now());
             insert into rejoinder.event_cursors (partition, seq, position, worker) values (7, 1, 1, gen_random_uuid());
             insert into rejoinder.outbox (id, position, rule, channel, body, state, due_at, created_at)
             values (gen_random_uuid(), 1, 'a rule', 'chat', '{}', 'sent', now(), now())",
        )
        .execute(pool)
        .await
        .unwrap();
        sweep(pool, database.clock().now(), KEEP).await.unwrap();
        let left: i64 = sqlx::query_scalar(
            "select (select count(*) from rejoinder.event_log) + (select count(*) from rejoinder.outbox)",
        )
        .fetch_one(pool)
        .await
        .unwrap();
        assert_eq!(left, 2);
    }
}
