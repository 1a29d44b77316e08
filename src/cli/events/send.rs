//! `rejoinder events send`: tells a running service of an event, signed as a source signs.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::database::{CONNECTIONS, Reached};
use super::super::out;
use super::super::quiet::Quiet;
use super::super::service_url::ServiceUrl;
use crate::clock::Clock;
use crate::config::{DatabaseSettings, EventSettings};
use crate::event::catalogue::Catalogue;
use crate::event::file::FileError;
use crate::source::generated::SourceSecrets;
use crate::source::{Sources, Surroundings};

/// Send an event to a running service
///
/// It is signed with the source's secret; that of the source `generic` was made at the first start of the service and
/// lies in its database, which is found by the same settings. Prints the answer. The exit code is 0 when the event is stored, 1 when it is refused, and 2 when
/// nothing answers.
#[derive(Args)]
#[group(skip)]
pub(super) struct Send {
    /// Its type, such as order.shipped
    event_type: String,
    /// What it is about, such as an order number
    #[arg(long)]
    entity: String,
    /// Its payload, a JSON value
    #[arg(long, default_value = "{}", value_parser = payload)]
    payload: Box<RawValue>,
    /// Its id; made anew when it is not given
    #[arg(long)]
    id: Option<String>,
    /// Whom it concerns
    #[arg(long)]
    user: Option<String>,
    /// When it happened; now when it is not given
    #[arg(long, value_name = "RFC 3339")]
    at: Option<DateTime<Utc>>,
    /// Version of its schema; the newest when it is not given
    #[arg(long)]
    schema_version: Option<u32>,
    /// Which source sends it: one whose events have our own form
    #[arg(long, default_value = "generic")]
    source: String,
    #[command(flatten)]
    quiet: Quiet,
    #[command(flatten)]
    service: ServiceUrl,
    #[command(flatten)]
    events: EventSettings,
    #[command(flatten)]
    database: DatabaseSettings,
}

impl Send {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let clock = Clock::system();
        let http = self.service.client()?;
        let dir = &self.events.events_dir;
        let surroundings = Surroundings::new(clock.clone())?;
        let (sources, mut errors) = Sources::load(&dir.join("sources"), &surroundings, None);
        errors.retain(FileError::is_error);
        if !errors.is_empty() {
            return Err(anyhow!("{}", super::lines(&errors)));
        }
        let source = sources.get(&self.source).with_context(|| {
            format!(
                "--source: there is no {}",
                dir.join("sources").join(&self.source).display()
            )
        })?;
        if source.awaits_secret() {
            let database = Reached::find(&self.database, CONNECTIONS).await?;
            let data_dir = self.database.data_dir.clone();
            let secrets = SourceSecrets::new(database.pool().clone(), surroundings.made.clone(), data_dir);
            secrets.give(&sources).await;
        }
        let now = clock.now();
        let version = match self.schema_version {
            Some(version) => version,
            None => {
                let catalogue = Catalogue::load(&dir.join("schemas"));
                let catalogue = catalogue.map_err(|errors| anyhow!("{}", super::lines(&errors)))?;
                catalogue.latest(&self.event_type).unwrap_or(1)
            }
        };
        let mut envelope = json!({
            "event_id": self.id.unwrap_or_else(|| Uuid::new_v4().to_string()),
            "event_type": self.event_type,
            "timestamp": self.at.unwrap_or(now),
            "entity_id": self.entity,
            "schema_version": version,
            "payload": self.payload,
        });
        if let Some(user) = self.user {
            envelope["user_id"] = user.into();
        }
        let body = Bytes::from(envelope.to_string());
        let url = self.service.url();
        let mut request = http
            .post(format!("{}/events/{}", url.trim_end_matches('/'), self.source))
            .header("content-type", "application/json")
            .timeout(Duration::from_secs(10));
        let id = envelope["event_id"].as_str().unwrap_or_default();
        let signature = source.sign(id, now, &body);
        let signature = signature.with_context(|| {
            format!(
                "--source: {} has no secret that is known here, or does not sign as Standard Webhooks",
                self.source
            )
        })?;
        for (name, value) in signature {
            request = request.header(name, value);
        }
        let answer = request
            .body(body)
            .send()
            .await
            .with_context(|| format!("nothing answers at {url}"))?;
        let status = answer.status();
        let text = answer.text().await?;
        let said = format!("{status}\n{}", readable(&text));
        if status.is_success() {
            self.quiet.print(said)?;
            return Ok(ExitCode::SUCCESS);
        }
        out::print(said)?;
        Ok(ExitCode::FAILURE)
    }
}

fn readable(text: &str) -> String {
    let json = serde_json::from_str::<Value>(text).and_then(|json| serde_json::to_string_pretty(&json));
    json.unwrap_or_else(|_| text.to_owned())
}

fn payload(text: &str) -> Result<Box<RawValue>, String> {
    RawValue::from_string(text.to_owned()).map_err(|error| format!("expected JSON: {error}"))
}
