//! The secrets that are made for sources: one for all replicas, kept in the database.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::PgPool;
use tracing::{info, warn};

use crate::auth::secrets::text_of;
use crate::source::{self, MadeSecrets, Source, Sources};

/// Where they are kept.
pub(crate) struct SourceSecrets {
    pool: PgPool,
    /// Those that are known already.
    made: MadeSecrets,
    /// Where they were kept before, each in a file.
    data_dir: PathBuf,
}

impl SourceSecrets {
    pub(crate) fn new(pool: PgPool, made: MadeSecrets, data_dir: PathBuf) -> Self {
        Self { pool, made, data_dir }
    }

    /// Gives each source that waits for it its secret, which is made if there is none yet. What cannot be done is logged;
    /// such a source takes nothing until it is done again.
    pub(crate) async fn give(&self, sources: &Sources) {
        for source in sources.iter().filter(|source| source.awaits_secret()) {
            if let Err(error) = self.give_to(source).await {
                warn!(
                    source = &*source.name,
                    error = format!("{error:#}"),
                    "no secret could be made"
                );
            }
        }
    }

    async fn give_to(&self, source: &Source) -> anyhow::Result<()> {
        let secret = match self.of_before(source) {
            Some(kept) => take_over(&self.pool, &source.name, &kept).await?,
            None => find_or_make(&self.pool, &source.name).await?,
        };
        source.give_secret(&secret)?;
        self.made.remember(&source.name, secret);
        Ok(())
    }

    /// What a file of the data directory holds, where an earlier version has put the secret.
    fn of_before(&self, source: &Source) -> Option<SecretString> {
        let file = file_of(&self.data_dir, &source.name);
        if !file.exists() {
            return None;
        }
        let kept = text_of(&file).map(|text| SecretString::from(text.trim().to_owned()));
        let usable = kept.and_then(|secret| match source.give_secret(&secret) {
            Ok(()) => Ok(secret),
            Err(error) => Err(error.to_string()),
        });
        usable
            .inspect_err(|wrong| warn!(file = %file.display(), wrong, "secret of before is unusable and left alone"))
            .ok()
    }
}

fn file_of(data_dir: &Path, source: &str) -> PathBuf {
    data_dir.join("secrets").join(source)
}

/// The secrets of one source, of which the first is made if there is none yet. The service keeps one of its own so, under a
/// name that no source can have.
pub(crate) async fn find_or_make(pool: &PgPool, source: &str) -> anyhow::Result<SecretString> {
    let new = source::new_secret()?;
    let made = sqlx::query!(
        "insert into rejoinder.source_secrets (source, secret) values ($1, $2) on conflict (source) do nothing",
        source,
        new.expose_secret()
    )
    .execute(pool)
    .await?;
    if made.rows_affected() > 0 {
        info!(source, "a secret was made and is kept in the database");
    }
    kept(pool, source).await
}

/// Adds the secrets of a file to those that are kept: replicas may each have made one of their own.
async fn take_over(pool: &PgPool, source: &str, secret: &SecretString) -> anyhow::Result<SecretString> {
    let taken = sqlx::query!(
        r"insert into rejoinder.source_secrets as kept (source, secret) values ($1, $2)
          on conflict (source) do update set secret = kept.secret || E'\n' || excluded.secret
          where position(excluded.secret in kept.secret) = 0",
        source,
        secret.expose_secret()
    )
    .execute(pool)
    .await?;
    if taken.rows_affected() > 0 {
        info!(source, "the secret in DATA_DIR was taken over into the database");
    }
    kept(pool, source).await
}

async fn kept(pool: &PgPool, source: &str) -> anyhow::Result<SecretString> {
    let secret = sqlx::query_scalar!("select secret from rejoinder.source_secrets where source = $1", source)
        .fetch_one(pool)
        .await?;
    Ok(secret.into())
}
