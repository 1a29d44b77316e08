//! Events that wait: one that failed, to be tried again, and those of its entity behind it.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{PgConnection, PgExecutor, PgPool};
use uuid::Uuid;

use crate::event::partition::{Partition, Partitions};
use crate::event::position::Position;
use crate::log::Logged;

/// An event whose time has come to be tried again.
#[derive(Clone, Debug)]
pub(crate) struct Due {
    /// Of the event.
    pub(crate) position: Position,
    /// What it is about.
    pub(crate) entity_id: String,
    /// How often it has failed; that its process ended counts where it was tried alone.
    pub(crate) attempts: i32,
    /// The rule that failed the last time.
    pub(crate) rule: Option<String>,
    /// Whether a process has ended since the last attempt began.
    pub(crate) is_suspect: bool,
    /// How many were under way then, this one included; none where it may not have been.
    pub(crate) tried_with: Option<i32>,
}

/// An event that has failed.
pub(crate) struct Failed<'a> {
    pub(crate) event: &'a Logged,
    pub(crate) attempts: i32,
    /// None: when its rule is mended.
    pub(crate) retry_at: Option<DateTime<Utc>>,
    pub(crate) error: String,
    pub(crate) rule: Option<&'a str>,
}

/// A rule that is held, and what waits for it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HeldRule {
    pub(crate) rule: String,
    pub(crate) events: i64,
    /// Of one of them.
    pub(crate) error: Option<String>,
}

/// The entities of a partition that are held up.
pub(crate) async fn entities(executor: impl PgExecutor<'_>, partition: Partition) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "select distinct entity_id from rejoinder.parked_events where partition = $1",
        partition.number()
    )
    .fetch_all(executor)
    .await
}

/// The rules that are held, of the events of a partition or of all.
pub(crate) async fn held_rules(
    executor: impl PgExecutor<'_>,
    partition: Option<Partition>,
) -> sqlx::Result<Vec<HeldRule>> {
    sqlx::query_as!(
        HeldRule,
        r#"select rule as "rule!", count(*) as "events!", max(error) as error from rejoinder.parked_events
           where rule is not null and retry_at = 'infinity' and ($1::smallint is null or partition = $1)
           group by rule order by rule"#,
        partition.map(Partition::number)
    )
    .fetch_all(executor)
    .await
}

/// Those that are due, at most `limit`: of each entity whose first one is, that and those behind it, in order. Those that
/// were tried least come first.
pub(crate) async fn due(
    executor: impl PgExecutor<'_>,
    partition: Partition,
    now: DateTime<Utc>,
    worker: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<Due>> {
    sqlx::query_as!(
        Due,
        r#"with first as (
               select p.entity_id, p.attempts, p.retry_at from rejoinder.parked_events p
               where p.partition = $1 and p.retry_at <= $2 and not exists (
                   select from rejoinder.parked_events before
                   where before.partition = p.partition and before.entity_id = p.entity_id and before.position < p.position
               )
               order by p.attempts, p.retry_at limit $4
           )
           select run.position as "position!", run.entity_id as "entity_id!", run.rule,
               run.attempts + coalesce(run.is_suspect and run.tried_with = 1, false)::integer as "attempts!",
               run.is_suspect as "is_suspect!", run.tried_with
           from first cross join lateral (
               select p.*, p.tried_by is not null and p.tried_by <> $3 as is_suspect from rejoinder.parked_events p
               where p.partition = $1 and p.entity_id = first.entity_id order by p.position limit $4
           ) run
           order by first.attempts, first.retry_at, run.entity_id, run.position limit $4"#,
        partition.number(),
        now,
        worker,
        limit
    )
    .fetch_all(executor)
    .await
}

/// Puts on record that these are about to be tried together, in a transaction of its own. An attempt that is on record and
/// whose worker is another one has ended with its process: it counts as one that failed where the event was alone, for a
/// process may end for reasons of its own, and with many at once under way it says nothing of any of them.
pub(crate) async fn begin(pool: &PgPool, partition: Partition, due: &[&Due], worker: Uuid) -> sqlx::Result<()> {
    let entities: Vec<String> = due.iter().map(|due| due.entity_id.clone()).collect();
    let positions: Vec<Position> = due.iter().map(|due| due.position).collect();
    // A crash of this process does not take it back, and one of the database need not count: so nobody waits for the disk.
    sqlx::query!(
        "with unawaited as materialized (select set_config('synchronous_commit', 'off', true))
         update rejoinder.parked_events p
         set attempts = p.attempts + coalesce(p.tried_by <> $4 and p.tried_with = 1, false)::integer,
             tried_by = $4, tried_with = cardinality($3::bigint[])
         from unnest($2::text[], $3::bigint[]) d (entity_id, position), unawaited
         where p.partition = $1 and p.entity_id = d.entity_id and p.position = d.position",
        partition.number(),
        &entities,
        &positions as &[Position],
        worker
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Parks events that have failed.
pub(crate) async fn fail(
    transaction: &mut PgConnection,
    partition: Partition,
    failed: &[Failed<'_>],
) -> sqlx::Result<()> {
    if failed.is_empty() {
        return Ok(());
    }
    let entities: Vec<&str> = failed
        .iter()
        .map(|failed| failed.event.envelope.entity_id.as_str())
        .collect();
    let positions: Vec<Position> = failed.iter().map(|failed| failed.event.position).collect();
    let received: Vec<DateTime<Utc>> = failed.iter().map(|failed| failed.event.received_at).collect();
    let attempts: Vec<i32> = failed.iter().map(|failed| failed.attempts).collect();
    let retries: Vec<Option<DateTime<Utc>>> = failed.iter().map(|failed| failed.retry_at).collect();
    let errors: Vec<&str> = failed.iter().map(|failed| failed.error.as_str()).collect();
    let rules: Vec<Option<&str>> = failed.iter().map(|failed| failed.rule).collect();
    sqlx::query!(
        "insert into rejoinder.parked_events (partition, entity_id, position, received_at, attempts, retry_at, error, rule)
         select $1, f.entity_id, f.position, f.received_at, f.attempts, coalesce(f.retry_at, 'infinity'), f.error, f.rule
         from unnest($2::text[], $3::bigint[], $4::timestamptz[], $5::integer[], $6::timestamptz[], $7::text[], $8::text[])
             f (entity_id, position, received_at, attempts, retry_at, error, rule)
         on conflict (partition, entity_id, position) do update
         set attempts = excluded.attempts, retry_at = excluded.retry_at, error = excluded.error, rule = excluded.rule,
             tried_by = null",
        partition.number(),
        &entities as &[&str],
        &positions as &[Position],
        &received,
        &attempts,
        &retries as &[Option<DateTime<Utc>>],
        &errors as &[&str],
        &rules as &[Option<&str>]
    )
    .execute(transaction)
    .await?;
    Ok(())
}

/// Parks events behind those of their entities that are parked already.
pub(crate) async fn wait(transaction: &mut PgConnection, partition: Partition, events: &[&Logged]) -> sqlx::Result<()> {
    add(transaction, partition, events, None).await
}

/// Parks events that another worker may have been trying when it ended: what of them is first of its entity is due. The
/// entities that are `parked` already have others before.
pub(crate) async fn doubt(
    transaction: &mut PgConnection,
    partition: Partition,
    events: &[Logged],
    parked: &HashSet<String>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let mut seen: HashSet<&str> = parked.iter().map(String::as_str).collect();
    let (first, behind): (Vec<&Logged>, Vec<&Logged>) =
        events.iter().partition(|event| seen.insert(&event.envelope.entity_id));
    add(transaction, partition, &first, Some(now)).await?;
    add(transaction, partition, &behind, None).await?;
    let positions: Vec<Position> = events.iter().map(|event| event.position).collect();
    sqlx::query!(
        "update rejoinder.parked_events set tried_by = $3, tried_with = null where partition = $1 and position = any($2)",
        partition.number(),
        &positions as &[Position],
        Uuid::nil()
    )
    .execute(transaction)
    .await?;
    Ok(())
}

/// Whatever of a partition this worker was trying has broken off: it is tried with care from now on.
pub(crate) async fn broke_off(transaction: &mut PgConnection, partition: Partition, worker: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "update rejoinder.parked_events set tried_by = $3 where tried_by = $2 and partition = $1",
        partition.number(),
        worker,
        Uuid::nil()
    )
    .execute(transaction)
    .await?;
    Ok(())
}

/// Takes back from the record what a worker has begun to try and has given up in order.
pub(crate) async fn give_up(pool: &PgPool, worker: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "update rejoinder.parked_events set tried_by = null where tried_by = $1",
        worker
    )
    .execute(pool)
    .await?;
    Ok(())
}

async fn add(
    transaction: &mut PgConnection,
    partition: Partition,
    events: &[&Logged],
    retry_at: Option<DateTime<Utc>>,
) -> sqlx::Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let entities: Vec<&str> = events.iter().map(|event| event.envelope.entity_id.as_str()).collect();
    let positions: Vec<Position> = events.iter().map(|event| event.position).collect();
    let times: Vec<DateTime<Utc>> = events.iter().map(|event| event.received_at).collect();
    sqlx::query!(
        "insert into rejoinder.parked_events (partition, entity_id, position, received_at, attempts, retry_at)
         select $1, e.entity_id, e.position, e.received_at, 0, coalesce($5, 'infinity'::timestamptz)
         from unnest($2::text[], $3::bigint[], $4::timestamptz[]) e (entity_id, position, received_at)
         on conflict do nothing",
        partition.number(),
        &entities as &[&str],
        &positions as &[Position],
        &times,
        retry_at
    )
    .execute(transaction)
    .await?;
    Ok(())
}

/// Ends the attempt of those events of a partition that are still on record as being tried: others came before them.
pub(crate) async fn end(transaction: &mut PgConnection, partition: Partition, worker: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "update rejoinder.parked_events set tried_by = null where partition = $1 and tried_by = $2",
        partition.number(),
        worker
    )
    .execute(transaction)
    .await?;
    Ok(())
}

/// Ends the wait of events that are applied or dead: the next of each entity is due at once, unless it has failed, too.
/// Returns the entities that have none left.
pub(crate) async fn done(
    transaction: &mut PgConnection,
    partition: Partition,
    done: &[&Logged],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<String>> {
    if done.is_empty() {
        return Ok(Vec::new());
    }
    let entities: Vec<&str> = done.iter().map(|event| event.envelope.entity_id.as_str()).collect();
    let positions: Vec<Position> = done.iter().map(|event| event.position).collect();
    sqlx::query!(
        "delete from rejoinder.parked_events p using unnest($2::text[], $3::bigint[]) d (entity_id, position)
         where p.partition = $1 and p.entity_id = d.entity_id and p.position = d.position",
        partition.number(),
        &entities as &[&str],
        &positions as &[Position]
    )
    .execute(&mut *transaction)
    .await?;
    let held_up: HashSet<String> = next_is_due(&mut *transaction, partition, &entities, now)
        .await?
        .into_iter()
        .collect();
    let entities: HashSet<&str> = entities.into_iter().collect();
    let released = entities.into_iter().filter(|entity| !held_up.contains(*entity));
    Ok(released.map(str::to_owned).collect())
}

/// Makes the first event of each of these entities due, if it has waited behind another; those that have one.
async fn next_is_due(
    transaction: &mut PgConnection,
    partition: Partition,
    entities: &[&str],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"with next as (
               select e.entity_id, first.position from (select distinct unnest($2::text[]) as entity_id) e
               cross join lateral (
                   select p.position from rejoinder.parked_events p where p.partition = $1 and p.entity_id = e.entity_id
                   order by p.position limit 1
               ) first
           ),
           due as (
               update rejoinder.parked_events p set retry_at = $3 from next
               where p.partition = $1 and p.entity_id = next.entity_id and p.position = next.position
                   and p.retry_at = 'infinity' and p.rule is null
           )
           select entity_id as "entity_id!" from next"#,
        partition.number(),
        entities as &[&str],
        now
    )
    .fetch_all(transaction)
    .await
}

/// Ends the wait of an event that is gone.
pub(crate) async fn drop(pool: &PgPool, partition: Partition, gone: &Due, now: DateTime<Utc>) -> sqlx::Result<()> {
    let mut transaction = pool.begin().await?;
    sqlx::query!(
        "delete from rejoinder.parked_events where partition = $1 and entity_id = $2 and position = $3",
        partition.number(),
        gone.entity_id,
        gone.position.number()
    )
    .execute(&mut *transaction)
    .await?;
    next_is_due(&mut transaction, partition, &[gone.entity_id.as_str()], now).await?;
    transaction.commit().await
}

/// Makes due what has failed in these partitions, as if it had never been tried: the rules are others now.
pub(crate) async fn try_anew(
    executor: impl PgExecutor<'_>,
    partitions: Partitions,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let due = sqlx::query!(
        "update rejoinder.parked_events set retry_at = $2, attempts = 0
         where partition = any($1) and (rule is not null or (attempts > 0 and retry_at < 'infinity'))",
        &partitions.numbers(),
        now
    )
    .execute(executor)
    .await?;
    Ok(due.rows_affected())
}

/// Makes due what waits for a rule that was held, and returns where. What somebody is at work on is left to them.
pub(crate) async fn release(executor: impl PgExecutor<'_>, rule: &str, now: DateTime<Utc>) -> sqlx::Result<Partitions> {
    let due = sqlx::query_scalar!(
        "update rejoinder.parked_events p set retry_at = $2
         from (select partition, entity_id, position from rejoinder.parked_events where rule = $1 and retry_at = 'infinity'
               for update skip locked) held
         where p.partition = held.partition and p.entity_id = held.entity_id and p.position = held.position
         returning p.partition",
        rule,
        now
    )
    .fetch_all(executor)
    .await?;
    Ok(due.into_iter().filter_map(Partition::numbered).collect())
}

/// Makes one of the events due that wait for a rule, in these partitions.
pub(crate) async fn probe(
    executor: impl PgExecutor<'_>,
    partitions: Partitions,
    rule: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update rejoinder.parked_events p set retry_at = $3
         from (select partition, entity_id, position from rejoinder.parked_events
               where partition = any($1) and rule = $2 and retry_at = 'infinity' order by random() limit 1) one
         where p.partition = one.partition and p.entity_id = one.entity_id and p.position = one.position",
        &partitions.numbers(),
        rule,
        now
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// An event that is to be tried anew, as if it never had been.
pub(super) struct Waiting {
    pub(super) partition: i16,
    pub(super) entity_id: String,
    pub(super) position: Position,
    pub(super) received_at: DateTime<Utc>,
}

/// Parks events that are due at once.
pub(super) async fn give_back(
    connection: &mut PgConnection,
    events: &[Waiting],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let partitions: Vec<i16> = events.iter().map(|event| event.partition).collect();
    let entities: Vec<String> = events.iter().map(|event| event.entity_id.clone()).collect();
    let positions: Vec<Position> = events.iter().map(|event| event.position).collect();
    let received: Vec<DateTime<Utc>> = events.iter().map(|event| event.received_at).collect();
    sqlx::query!(
        "insert into rejoinder.parked_events (partition, entity_id, position, received_at, attempts, retry_at)
         select n.*, 0, $5 from unnest($1::smallint[], $2::text[], $3::bigint[], $4::timestamptz[]) n",
        &partitions,
        &entities,
        &positions as &[Position],
        &received,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Erases what errors of these events tell of what was in them.
pub(crate) async fn erase(connection: &mut PgConnection, positions: &[Position]) -> sqlx::Result<()> {
    sqlx::query!(
        "update rejoinder.parked_events set error = 'erased' where position = any($1) and error is not null",
        positions as &[Position]
    )
    .execute(connection)
    .await?;
    Ok(())
}
