//! `emit`: tells of another event, from the source `rejoinder`.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use minijinja::Value as Names;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::to_raw_value;
use sqlx::PgConnection;
use toml::Spanned;
use uuid::Uuid;

use super::kind::{Batch, Compiled, Kind, Made, NoEvent, NotEmitted, NotHere};
use super::text::text;
use crate::event::catalogue::Catalogue;
use crate::event::envelope::Envelope;
use crate::event::event_type::EventType;
use crate::event::id::Id;
use crate::event::payload::Payload;
use crate::expression::EvalError;
use crate::log;
use crate::reactions::checker::Checker;
use crate::reactions::content::{Content, ContentFile, object, paths_of, written_fields};
use crate::reactions::sees::Sees;

/// How often an event may lead to another one: rules that emit in a circle end here.
const MAX_HOPS: u32 = 16;

/// The source of events that reactions emit.
const EMITTED: &str = "rejoinder";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmitFile {
    #[serde(rename = "type")]
    event_type: Spanned<String>,
    entity: Option<Spanned<String>>,
    #[serde(default)]
    payload: BTreeMap<String, Spanned<ContentFile>>,
}

#[derive(Debug)]
pub(crate) struct EmitAction {
    event_type: EventType,
    entity: Content,
    schema_version: u32,
    payload: Vec<(String, Content)>,
    catalogue: Arc<Catalogue>,
}

/// Tells of another event.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Emit {
    /// Its type.
    pub(crate) event_type: EventType,
    /// What it is about.
    pub(crate) entity_id: Id,
    /// Version of its schema.
    pub(crate) schema_version: u32,
    /// Its payload.
    pub(crate) payload: Value,
}

impl Kind for Emit {
    type File = EmitFile;
    type Action = EmitAction;
    type Done = NotHere;

    fn check(written: &EmitFile, checker: &mut Checker<'_>, sees: &Sees<'_>) -> Option<EmitAction> {
        let name = written.event_type.get_ref();
        let entity = match &written.entity {
            Some(entity) => checker.text(entity, sees),
            None => checker.entity_id().map(Content::Expression),
        };
        let payload = checker.fields(&written.payload, sees);
        let catalogue = checker.known.catalogue;
        let (Some(schema_version), Ok(event_type)) = (catalogue.latest(name), EventType::parse(name.clone())) else {
            return checker.at(written.event_type.span().start, &catalogue.unknown_type(name));
        };
        let payload = payload?;
        let mut open = Vec::new();
        let sketch = Value::Object(written_fields(&payload, "", &mut open));
        if let Some(violation) = catalogue.violation_besides(&event_type, &sketch, &open) {
            let message = format!(
                "found what is never a valid {event_type} (version {schema_version}): {}: {}",
                violation.pointer, violation.message
            );
            return checker.at(written.event_type.span().start, &message);
        }
        Some(EmitAction {
            event_type,
            entity: entity?,
            schema_version,
            payload,
            catalogue: Arc::clone(catalogue),
        })
    }

    /// Nothing: [`append`] writes the events, after all else.
    async fn write(all: &[Made<'_, Self>], _: &Batch<'_>, _: &mut PgConnection) -> sqlx::Result<Vec<NotHere>> {
        Ok(vec![NotHere::Elsewhere; all.len()])
    }

    fn line(effect: &Value) -> String {
        let (event_type, entity_id) = (text(effect, "event_type"), text(effect, "entity_id"));
        format!("emit {event_type} {entity_id}: {}", effect["payload"])
    }

    /// Its id is made of what has led to it, so it is stored once however often that is applied.
    fn emitted(
        made: &Made<'_, Self>,
        catalogue: &Catalogue,
        now: DateTime<Utc>,
    ) -> Result<Option<Envelope>, NotEmitted> {
        let Emit {
            event_type,
            entity_id,
            schema_version,
            payload,
        } = made.effect;
        let event = &made.event.envelope;
        let no_event = |why: NoEvent| NotEmitted {
            event_type: event_type.clone(),
            why,
        };
        let seed = format!("{}/{}/{}", made.event.name(), made.rule, made.index);
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, seed.as_bytes());
        if event.hops >= MAX_HOPS {
            return Err(no_event(NoEvent::Circle));
        }
        let payload = to_raw_value(payload).map_err(|error| no_event(error.into()))?;
        let emitted = Envelope {
            source: EMITTED.into(),
            event_id: Id::parse("event_id", id.to_string()).map_err(|error| no_event(error.into()))?,
            event_type: event_type.clone(),
            timestamp: now,
            entity_id: entity_id.clone(),
            user_id: event.user_id.clone(),
            schema_version: *schema_version,
            payload: Payload::parse(payload).map_err(|error| no_event(error.into()))?,
            traceparent: event.traceparent.clone(),
            hops: event.hops + 1,
        };
        catalogue
            .check(event_type, *schema_version, &emitted.payload)
            .map_err(|violations| no_event(NoEvent::Schema(violations)))?;
        Ok(Some(emitted))
    }
}

impl Compiled for EmitAction {
    type Effect = Emit;

    fn eval(&self, names: &Names) -> Result<Emit, EvalError> {
        let event_type = &self.event_type;
        let payload = Value::Object(object("payload", &self.payload, names)?);
        if let Err(violations) = self.catalogue.check_value(event_type, self.schema_version, &payload) {
            let first = violations.into_iter().next();
            let first = first.map_or_else(String::new, |first| format!("{}: {}", first.pointer, first.message));
            return Err(EvalError(format!("not a valid {event_type}: {first}")));
        }
        Ok(Emit {
            event_type: event_type.clone(),
            entity_id: self.entity.eval_id(names).map_err(|error| error.about("entity"))?,
            schema_version: self.schema_version,
            payload,
        })
    }

    fn paths(&self) -> Vec<String> {
        self.entity.paths().into_iter().chain(paths_of(&self.payload)).collect()
    }

    fn emits(&self) -> Option<&str> {
        Some(self.event_type.as_str())
    }
}

/// Appends what was emitted to the log. To be called last: it locks the log until the commit.
pub(crate) async fn append(
    connection: &mut PgConnection,
    emitted: &[Envelope],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    if emitted.is_empty() {
        return Ok(());
    }
    let events: Vec<&Envelope> = emitted.iter().collect();
    // An event that is replayed emits what it has emitted before, however long ago.
    log::append(connection, &events, now, DateTime::UNIX_EPOCH).await?;
    Ok(())
}
