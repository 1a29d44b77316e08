//! The trail of what was done to events, by hand or at the end of their tries.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::{PgConnection, PgExecutor};

use crate::event::position::Position;

/// What is done to those who are refused.
pub(crate) const REFUSED: &str = "refused";

/// For how long refusals are kept: there may be one a minute of each kind.
const REFUSED_KEPT: TimeDelta = TimeDelta::days(30);

/// For how long all else is kept.
const KEPT: TimeDelta = TimeDelta::days(366);

/// A sweep deletes at most so many entries.
const MAX_DELETED: i64 = 10_000;

/// What is written.
pub(crate) struct Entry<'a> {
    /// Who; `rejoinder` is the service itself.
    pub(crate) actor: &'a str,
    /// What was done.
    pub(crate) action: &'a str,
    /// To which event, where it is about one.
    pub(crate) position: Option<Position>,
    /// The error, or the reason that was given.
    pub(crate) detail: &'a str,
}

/// An entry of the trail.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Audited {
    pub(crate) at: DateTime<Utc>,
    pub(crate) actor: String,
    pub(crate) action: String,
    pub(crate) position: Option<Position>,
    pub(crate) detail: String,
}

/// Adds an entry, in the transaction that does what it says.
pub(crate) async fn write(transaction: &mut PgConnection, entry: &Entry<'_>, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into rejoinder.event_audit (at, actor, action, position, detail) values ($1, $2, $3, $4, $5)",
        now,
        entry.actor,
        entry.action,
        entry.position.map(Position::number),
        entry.detail
    )
    .execute(transaction)
    .await?;
    Ok(())
}

/// Adds an entry for each of these events, in the transaction that does what it says.
pub(crate) async fn write_each(
    transaction: &mut PgConnection,
    positions: &[Position],
    actor: &str,
    action: &str,
    detail: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into rejoinder.event_audit (at, actor, action, position, detail) select $1, $2, $3, p, $4 from unnest($5::bigint[]) p",
        now,
        actor,
        action,
        detail,
        positions as &[Position]
    )
    .execute(transaction)
    .await?;
    Ok(())
}

/// Which entries are wanted; the default is all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) actor: Option<String>,
    pub(crate) action: Option<String>,
    pub(crate) since: Option<DateTime<Utc>>,
    /// Of one event.
    pub(crate) position: Option<Position>,
}

/// The newest entries, at most `limit`.
pub(crate) async fn list(executor: impl PgExecutor<'_>, filter: &Filter, limit: i64) -> sqlx::Result<Vec<Audited>> {
    let rows = sqlx::query!(
        "select at, actor, action, position, detail from rejoinder.event_audit
         where ($1::bigint is null or position = $1) and ($2::text is null or actor = $2)
             and ($3::text is null or action = $3) and ($4::timestamptz is null or at >= $4)
         order by id desc limit $5",
        filter.position.map(Position::number),
        filter.actor,
        filter.action,
        filter.since,
        limit
    )
    .fetch_all(executor)
    .await?;
    let entries = rows.into_iter().map(|row| Audited {
        at: row.at,
        actor: row.actor,
        action: row.action,
        position: row.position.map(Position::from),
        detail: row.detail,
    });
    Ok(entries.collect())
}

/// Deletes entries that are past their time.
pub(crate) async fn delete_old(executor: impl PgExecutor<'_>, now: DateTime<Utc>) -> sqlx::Result<()> {
    // Entries stand in order of time, so looking at the first ones of either sort is enough.
    sqlx::query!(
        "delete from rejoinder.event_audit a using (
             select id from (select id, at from rejoinder.event_audit order by id limit $3) first where at < $1
             union
             select id from (select id, at from rejoinder.event_audit where action = 'refused' order by id limit $3) first
             where at < $2
         ) old
         where a.id = old.id",
        now - KEPT,
        now - REFUSED_KEPT,
        MAX_DELETED
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Erases what is said of events whose errors tell what was in them.
pub(crate) async fn erase(connection: &mut PgConnection, positions: &[Position]) -> sqlx::Result<()> {
    sqlx::query!(
        "update rejoinder.event_audit set detail = 'erased' where action = 'dead' and position = any($1)",
        positions as &[Position]
    )
    .execute(connection)
    .await?;
    Ok(())
}
