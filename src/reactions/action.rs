//! One action of a rule, compiled: evaluated, it is an effect.

use std::sync::Arc;

use minijinja::Value as Names;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use serde_json::{Map, Value};

use super::content::{Content, fields_of};
use crate::effect::{Effect, GotoKind, HttpCall, Recipient};
use crate::event::catalogue::Catalogue;
use crate::event::envelope::MAX_ID;
use crate::expression::{EvalError, MAX_OUTPUT};
use crate::session::SessionName;

/// A compiled action.
#[derive(Debug)]
pub(super) enum Action {
    Remember {
        about: To,
        name: String,
        value: Content,
        is_made_of_memory: bool,
    },
    Notify {
        to: To,
        topic: String,
        channel: String,
        text: Content,
    },
    Goto {
        to: To,
        kind: GotoKind,
        name: String,
        parameters: Vec<(String, Content)>,
    },
    Call {
        method: String,
        url: Content,
        headers: Vec<(String, Content)>,
        body: Vec<(String, Content)>,
        secret_env: Option<String>,
        allow_private: bool,
    },
    Emit {
        event_type: String,
        entity: Content,
        schema_version: u32,
        payload: Vec<(String, Content)>,
        catalogue: Arc<Catalogue>,
    },
    Run {
        name: String,
    },
}

/// Whom or what an action is about.
#[derive(Debug)]
pub(super) struct To {
    pub(super) kind: ToKind,
    pub(super) id: Content,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ToKind {
    Entity,
    User,
    Session,
    Followers,
}

impl Action {
    /// As it is called in the file.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Remember { .. } => "remember",
            Self::Notify { .. } => "notify",
            Self::Goto { .. } => "goto",
            Self::Call { .. } => "call",
            Self::Emit { .. } => "emit",
            Self::Run { .. } => "run",
        }
    }

    /// The type that it emits.
    pub(super) fn emits(&self) -> Option<&str> {
        match self {
            Self::Emit { event_type, .. } => Some(event_type),
            Self::Remember { .. } | Self::Notify { .. } | Self::Goto { .. } | Self::Call { .. } | Self::Run { .. } => {
                None
            }
        }
    }

    /// The variable that holds the secret that it signs with.
    pub(super) fn call_secret(&self) -> Option<&str> {
        match self {
            Self::Call { secret_env, .. } => secret_env.as_deref(),
            Self::Remember { .. } | Self::Notify { .. } | Self::Goto { .. } | Self::Emit { .. } | Self::Run { .. } => {
                None
            }
        }
    }

    pub(super) fn effect(&self, names: &Names) -> Result<Effect, EvalError> {
        Ok(match self {
            Self::Remember {
                about,
                name,
                value,
                is_made_of_memory,
            } => Effect::Remember {
                about: about.recipient(names)?,
                name: name.clone(),
                value: bounded("value", value.eval(names).map_err(|error| error.about("value"))?)?,
                is_made_of_memory: *is_made_of_memory,
            },
            Self::Notify {
                to,
                topic,
                channel,
                text,
            } => Effect::Notify {
                to: to.recipient(names)?,
                topic: topic.clone(),
                channel: channel.clone(),
                text: said(text.eval_text(names).map_err(|error| error.about("text"))?)?,
            },
            Self::Goto {
                to,
                kind,
                name,
                parameters,
            } => Effect::Goto {
                to: to.recipient(names)?,
                kind: *kind,
                name: name.clone(),
                parameters: object("parameters", parameters, names)?,
            },
            Self::Call {
                method,
                url,
                headers,
                body,
                secret_env,
                allow_private,
            } => Effect::Call(HttpCall {
                method: method.clone(),
                url: address(&url.eval_text(names).map_err(|error| error.about("url"))?)?,
                headers: headers
                    .iter()
                    .map(|(name, value)| Ok((name.clone(), header(value.eval_text(names)?)?)))
                    .collect::<Result<_, EvalError>>()
                    .map_err(|error| error.about("headers"))?,
                body: Value::Object(object("body", body, names)?),
                secret_env: secret_env.clone(),
                allow_private: *allow_private,
            }),
            Self::Emit {
                event_type,
                entity,
                schema_version,
                payload,
                catalogue,
            } => {
                let payload = Value::Object(object("payload", payload, names)?);
                if let Err(violations) = catalogue.check_value(event_type, *schema_version, &payload) {
                    let first = violations.into_iter().next();
                    let first = first.map_or_else(String::new, |first| format!("{}: {}", first.pointer, first.message));
                    return Err(EvalError(format!("not a valid {event_type}: {first}")));
                }
                Effect::Emit {
                    event_type: event_type.clone(),
                    entity_id: id(entity, names).map_err(|error| error.about("entity"))?,
                    schema_version: *schema_version,
                    payload,
                }
            }
            Self::Run { name } => Effect::Run { name: name.clone() },
        })
    }

    /// All variables it reads.
    pub(super) fn paths(&self) -> Vec<String> {
        fn of_all(fields: &[(String, Content)]) -> impl Iterator<Item = String> {
            fields.iter().flat_map(|(_, content)| content.paths())
        }
        match self {
            Self::Remember { about, value, .. } => about.id.paths().into_iter().chain(value.paths()).collect(),
            Self::Notify { to, text, .. } => to.id.paths().into_iter().chain(text.paths()).collect(),
            Self::Goto { to, parameters, .. } => to.id.paths().into_iter().chain(of_all(parameters)).collect(),
            Self::Call { url, headers, body, .. } => {
                let url = url.paths().into_iter();
                url.chain(of_all(headers)).chain(of_all(body)).collect()
            }
            Self::Emit { entity, payload, .. } => entity.paths().into_iter().chain(of_all(payload)).collect(),
            Self::Run { .. } => Vec::new(),
        }
    }
}

impl To {
    fn recipient(&self, names: &Names) -> Result<Recipient, EvalError> {
        let id = id(&self.id, names).map_err(|error| error.about("the recipient"))?;
        Ok(match self.kind {
            ToKind::Entity => Recipient::Entity(id),
            ToKind::User => Recipient::User(id),
            ToKind::Session => match SessionName::parse(&id) {
                Ok(session) => Recipient::Session(session.as_str().to_owned()),
                Err(_) => {
                    let message = "found a session that has not the full name of one, expected projects/…/sessions/…";
                    return Err(EvalError(message.to_owned()));
                }
            },
            ToKind::Followers => Recipient::Followers(id),
        })
    }
}

impl EvalError {
    /// With the key that it is about.
    fn about(self, key: &str) -> Self {
        Self(format!("{key}: {}", self.0))
    }
}

/// Text that can be the id of an entity, a user or a join.
pub(super) fn id(content: &Content, names: &Names) -> Result<String, EvalError> {
    let id = content.eval_text(names)?;
    if id.is_empty() || id.len() > MAX_ID || id.chars().any(char::is_control) {
        let message = format!(
            "found an id of {} bytes, expected 1 to {MAX_ID} with no control characters",
            id.len()
        );
        return Err(EvalError(message));
    }
    Ok(id)
}

fn said(text: String) -> Result<String, EvalError> {
    if text.trim().is_empty() {
        return Err(EvalError("text: found nothing, expected something to say".to_owned()));
    }
    Ok(text)
}

fn object(key: &str, fields: &[(String, Content)], names: &Names) -> Result<Map<String, Value>, EvalError> {
    let fields = fields_of(fields, names).map_err(|error| error.about(key))?;
    let bounded = bounded(key, Value::Object(fields))?;
    Ok(if let Value::Object(fields) = bounded {
        fields
    } else {
        Map::new()
    })
}

fn bounded(key: &str, value: Value) -> Result<Value, EvalError> {
    match crate::expression::size(&value) {
        ..=MAX_OUTPUT => Ok(value),
        too_long => Err(EvalError(format!(
            "{key}: found {too_long} bytes, expected at most {MAX_OUTPUT}"
        ))),
    }
}

fn address(url: &str) -> Result<String, EvalError> {
    let Some(parsed) = Url::parse(url)
        .ok()
        .filter(|parsed| matches!(parsed.scheme(), "http" | "https"))
    else {
        let message = "url: found no valid one, expected http:// or https://";
        return Err(EvalError(message.to_owned()));
    };
    if segments(path(url)) != segments(parsed.path()) {
        let message = "url: found a path that leads to another one, such as by `..`, expected one that is called as it is written";
        return Err(EvalError(message.to_owned()));
    }
    Ok(parsed.into())
}

/// The path of a URL as it is written, before anybody has resolved it.
fn path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = &rest[..rest.find(['?', '#']).unwrap_or(rest.len())];
    rest.find('/').map_or("/", |start| &rest[start..])
}

fn segments(path: &str) -> Vec<Vec<u8>> {
    path.split('/')
        .map(|segment| percent_decode_str(segment).collect())
        .collect()
}

fn header(value: String) -> Result<String, EvalError> {
    match reqwest::header::HeaderValue::from_str(&value) {
        Ok(_) => Ok(value),
        Err(_) => Err(EvalError("found what no header may hold".to_owned())),
    }
}
