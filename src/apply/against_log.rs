//! Trying schemas and upcasters on events that are in the log.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use sqlx::PgPool;

use crate::event::catalogue::Catalogue;
use crate::event::file::FileError;

/// Of each type and version so many are tried, the newest.
const EACH: i64 = 100;

/// What came of the events of one type and version.
#[derive(Default)]
struct Tried {
    events: u32,
    failed: u32,
    /// The newest that fails, and why.
    first: Option<String>,
}

/// Brings the events since `since` up to the newest version of their types, and says of which types that fails. A rule
/// that listens to them would fail with it.
pub(crate) async fn check(
    pool: &PgPool,
    catalogue: &Catalogue,
    schemas: &Path,
    since: DateTime<Utc>,
) -> anyhow::Result<Vec<FileError>> {
    let mut rows = sqlx::query!(
        r#"with newest as (
               select n.partition, n.position from (
                   select partition, position,
                       row_number() over (partition by event_type, schema_version order by position desc) as place
                   from rejoinder.event_log where received_at >= $1
               ) n where n.place <= $2
           )
           select l.event_id, l.event_type, l.schema_version, l.payload::text as "payload!"
           from newest n join rejoinder.event_log l on l.partition = n.partition and l.position = n.position
           where l.received_at >= $1 and l.payload is not null order by l.position desc"#,
        since,
        EACH
    )
    .fetch(pool);
    let mut all: BTreeMap<(String, i32), Tried> = BTreeMap::new();
    while let Some(row) = rows.try_next().await? {
        let tried = all.entry((row.event_type.clone(), row.schema_version)).or_default();
        tried.events += 1;
        let payload = serde_json::from_str(&row.payload)?;
        let version = row.schema_version.cast_unsigned();
        if let Err(error) = catalogue.upcast(&row.event_type, version, payload) {
            tried.failed += 1;
            tried.first.get_or_insert_with(|| format!("{}: {error}", row.event_id));
        }
    }
    let failed = all.into_iter().filter_map(|((event_type, version), tried)| {
        let message = format!(
            "{} of {} events of version {version} in the log fail, the newest is {}",
            tried.failed, tried.events, tried.first?
        );
        Some(FileError::whole(&schemas.join(event_type), message))
    });
    Ok(failed.collect())
}
