//! Keeping the tables of events small: old segments are dropped, and what says nothing any more is deleted.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use tracing::{info, warn};

use super::{cursor, join, log, quarantine};
use crate::clock::Clock;

/// How often.
const SWEEP: Duration = Duration::from_secs(60);

/// Sweeps each minute until dropped.
pub(crate) async fn keep_small(pool: PgPool, clock: Clock, keep: TimeDelta) {
    loop {
        tokio::time::sleep(SWEEP).await;
        if let Err(error) = sweep(&pool, clock.now(), keep).await {
            info!(error = %error, "old events not cleared away; trying again in a minute");
        }
    }
}

/// Sweeps once; several replicas may at the same time.
pub(crate) async fn sweep(pool: &PgPool, now: DateTime<Utc>, keep: TimeDelta) -> sqlx::Result<()> {
    cursor::prune(pool).await?;
    join::delete_old(pool, now).await?;
    quarantine::delete_expired(pool, now).await?;
    let mut connection = pool.acquire().await?;
    // Next week's in advance, so that no sender waits for it.
    sqlx::query!("select create_event_segment($1)", log::monday(now + TimeDelta::days(7)))
        .execute(&mut *connection)
        .await?;
    drop_segments(&mut connection, now - keep).await
}

/// Drops the weeks that ended before `until`, but none that holds an event which is still to be applied.
async fn drop_segments(connection: &mut PgConnection, until: DateTime<Utc>) -> sqlx::Result<()> {
    // Also those that an interrupted sweep has left detached.
    let old = sqlx::query!(
        r#"select c.relname as "segment!", right(c.relname, 8) as "week!", left(c.relname, -9) as "parent!",
               i.inhrelid is not null as "attached!", coalesce(i.inhdetachpending, false) as "pending!"
           from pg_class c left join pg_inherits i on i.inhrelid = c.oid
           where c.relkind = 'r' and c.relname ~ '^event_(log|outcomes)_[0-9]{8}$'
               and c.relnamespace = (select relnamespace from pg_class where oid = 'event_log'::regclass)
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
            continue;
        }
        if segment.attached {
            // Concurrently: a reader that takes its time holds up nobody else.
            let how = if segment.pending { "finalize" } else { "concurrently" };
            let detach = format!("alter table {parent} detach partition {name} {how}");
            sqlx::query(AssertSqlSafe(detach)).execute(&mut *connection).await?;
        }
        sqlx::query(AssertSqlSafe(format!("drop table {name}")))
            .execute(&mut *connection)
            .await?;
        info!(segment = name, "events older than their retention are dropped");
    }
    Ok(())
}

async fn is_needed(connection: &mut PgConnection, week: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"with week as (
               select to_date($1, 'YYYYMMDD')::timestamp at time zone 'UTC' as first,
                   (to_date($1, 'YYYYMMDD') + 7)::timestamp at time zone 'UTC' as next
           )
           select exists (select from parked_events, week where received_at >= first and received_at < next)
               or exists (select from dead_letters, week where received_at >= first and received_at < next)
               or exists (
                   select from generate_series(0, 31) p (partition)
                   cross join lateral (
                       select coalesce((select c.position from event_cursors c where c.partition = p.partition
                                        order by c.seq desc limit 1), 0) as position
                   ) done
                   where exists (
                       select from event_log l, week where l.partition = p.partition and l.position > done.position
                           and l.received_at >= first and l.received_at < next
                   )
               ) as "is_needed!""#,
        week
    )
    .fetch_one(connection)
    .await
}
