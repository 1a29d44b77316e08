//! The log as the bench fills, empties and watches it.

use anyhow::ensure;
use sqlx::{Connection as _, Executor as _, PgConnection};

/// Entities that the events of a backlog are about: several events each, so that facts are changed as well as set.
const ENTITIES: i64 = 20_000;

/// A connection to the database of the log.
pub(crate) struct Backlog(PgConnection);

impl Backlog {
    pub(crate) async fn connect(url: &str) -> anyhow::Result<Self> {
        Ok(Self(PgConnection::connect(url).await?))
    }

    /// No events, nothing applied, nothing remembered.
    pub(crate) async fn empty(&mut self) -> anyhow::Result<()> {
        self.0
            .execute(
                "truncate rejoinder.event_log, rejoinder.event_outcomes, rejoinder.event_cursors, rejoinder.parked_events, rejoinder.facts;
                 select rejoinder.create_event_segment(date_trunc('week', now() at time zone 'UTC')::date);",
            )
            .await?;
        // Two statements: neither may be in a transaction with others.
        self.0.execute("vacuum (analyze) facts").await?;
        self.0.execute("checkpoint").await?;
        Ok(())
    }

    /// Appends so many events.
    pub(crate) async fn fill(&mut self, events: i64) -> anyhow::Result<()> {
        const AT_ONCE: i64 = 20_000;
        for first in (0..events).step_by(AT_ONCE as usize) {
            let appended: i64 = sqlx::query_scalar(
                r#"select count(*) from (
                       select array_agg((get_byte(sha256(entity::bytea), 0) % 32)::smallint) as partitions,
                           array_agg('generic'::text) as sources, array_agg('1Y' || n) as ids,
                           array_agg('parcel.moved'::text) as types, array_agg(entity) as entities,
                           array_agg(null::text) as users, array_agg(1) as versions, array_agg(now()) as times,
                           array_agg('{"status":"in transit","carrier":"Example Post","place":{"depot":"Leipzig north, hall '
                               || n % 9 || '","country":"DE","latitude":51.4239,"longitude":12.2364},"weight_g":1240,'
                               || '"pieces":1,"signature_required":false,"expected":"2025-06-27","note":"Handed over by '
                               || 'the carrier of the first leg; the label was scanned twice and replaced once."}')
                               as payloads
                       from generate_series($1, $1 + $2 - 1) n, lateral (select '1Y' || n % $3 as entity) e
                   ) new, rejoinder.append_events(partitions, sources, ids, types, entities, users, versions, times, payloads,
                       users, now(), now() - interval '8 days') where is_new"#,
            )
            .bind(first)
            .bind(AT_ONCE.min(events - first))
            .bind(ENTITIES)
            .fetch_one(&mut self.0)
            .await?;
            ensure!(appended > 0, "nothing was appended");
        }
        self.0.execute("analyze rejoinder.event_log").await?;
        self.0.execute("checkpoint").await?;
        Ok(())
    }

    /// How many events were applied, and the events per second between the first and the last transaction.
    pub(crate) async fn applied(&mut self) -> anyhow::Result<(i64, f64)> {
        let (events, rate): (i64, Option<f64>) = sqlx::query_as(
            "select count(*), (count(*) / nullif(extract(epoch from max(applied_at) - min(applied_at)), 0))::float8
             from rejoinder.event_outcomes",
        )
        .fetch_one(&mut self.0)
        .await?;
        Ok((events, rate.unwrap_or_default()))
    }

    /// Whether the entity's fact is there.
    pub(crate) async fn is_known(&mut self, entity: &str) -> anyhow::Result<bool> {
        let known =
            sqlx::query_scalar("select exists (select from rejoinder.facts where scope = 'entity' and subject = $1)");
        Ok(known.bind(entity).fetch_one(&mut self.0).await?)
    }

    /// Opens a transaction that has an id and a snapshot, for as long as the connection lives.
    pub(crate) async fn hold(&mut self) -> anyhow::Result<()> {
        self.0.execute("begin isolation level repeatable read").await?;
        self.0
            .execute("select pg_current_xact_id(), (select count(*) from rejoinder.event_workers)")
            .await?;
        Ok(())
    }
}
