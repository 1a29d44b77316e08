//! The actions of a rule: from the file to what can be evaluated.

use std::sync::Arc;

use reqwest::Url;
use serde_json::Value;
use toml::Spanned;

use super::Compiler;
use super::sees::Sees;
use crate::address::problem as address_problem;
use crate::effect::GotoKind;
use crate::event::event_type::is_type;
use crate::nearest::did_you_mean;
use crate::reactions::action::{Action, To, ToKind};
use crate::reactions::content::{Content, written_fields};
use crate::reactions::rule_file::{ActionFile, CallFile, EmitFile, GotoFile, NotifyFile, RecipientFile, RememberFile};
use crate::session::ContextId;

impl Compiler<'_> {
    pub(super) fn actions(&mut self, written: &[ActionFile], sees: &Sees<'_>) -> Vec<Action> {
        let actions = written.iter().filter_map(|action| self.action(action, sees));
        actions.collect()
    }

    fn action(&mut self, written: &ActionFile, sees: &Sees<'_>) -> Option<Action> {
        match written {
            ActionFile::Remember(remember) => self.remember(remember, sees),
            ActionFile::Notify(notify) => self.notify(notify, sees),
            ActionFile::Goto(goto) => self.goto(goto, sees),
            ActionFile::Call(call) => self.call(call, sees),
            ActionFile::Emit(emit) => self.emit(emit, sees),
            ActionFile::Run(run) => self.run(run),
        }
    }

    fn remember(&mut self, written: &RememberFile, sees: &Sees<'_>) -> Option<Action> {
        let expected = "a name of letters, digits and _, up to 100, that begins with no digit";
        let name = self.literal(&written.name, is_fact_name, expected);
        let about = self.to(written.about.as_ref(), ToKind::Entity, sees);
        let value = self.content(&written.value, sees);
        let value = value?;
        Some(Action::Remember {
            about: about?,
            name: name?,
            is_made_of_memory: value.paths().iter().any(|path| path.starts_with("memory.")),
            value,
        })
    }

    fn notify(&mut self, written: &NotifyFile, sees: &Sees<'_>) -> Option<Action> {
        let topic = self.literal(
            &written.topic,
            is_topic,
            "a topic of letters, digits and . _ -, up to 64",
        );
        let channel = match &written.channel {
            None => Some("chat".to_owned()),
            Some(channel) => {
                let channels = self.known.channels;
                let is_known = |name: &str| name == "chat" || channels.iter().any(|known| known == name);
                let names = channels.iter().map(String::as_str).chain(["chat"]);
                let meant = did_you_mean(channel.get_ref(), names);
                let expected = match channels {
                    [] => format!("chat, for events/channels has no file{meant}"),
                    names => format!("chat or a file of events/channels ({}){meant}", names.join(", ")),
                };
                self.literal(channel, is_known, &expected)
            }
        };
        let to = self.to(written.to.as_ref(), ToKind::Followers, sees);
        let text = self.text(&written.text, sees);
        Some(Action::Notify {
            to: to?,
            topic: topic?,
            channel: channel?,
            text: text?,
        })
    }

    fn goto(&mut self, written: &Spanned<GotoFile>, sees: &Sees<'_>) -> Option<Action> {
        let place = written.span().start;
        let written = written.get_ref();
        let (kind, name) = match (&written.context, &written.event) {
            (Some(context), None) => match ContextId::parse(context.get_ref()) {
                Ok(id) => (GotoKind::Context, Some(id.as_str().to_owned())),
                Err(error) => (GotoKind::Context, self.at(context.span().start, &error.to_string())),
            },
            (None, Some(event)) => {
                let expected = "an event's name of letters, digits and . _ -, up to 150";
                (GotoKind::Event, self.literal(event, is_event_name, expected))
            }
            _ => return self.at(place, "expected one of context and event in goto"),
        };
        let to = self.to(written.to.as_ref(), ToKind::Followers, sees);
        let parameters = self.fields(&written.parameters, sees);
        Some(Action::Goto {
            to: to?,
            kind,
            name: name?,
            parameters: parameters?,
        })
    }

    fn call(&mut self, written: &CallFile, sees: &Sees<'_>) -> Option<Action> {
        let method = match &written.method {
            None => Some("POST".to_owned()),
            Some(method) => self.literal(method, is_method, "POST, PUT, PATCH or DELETE"),
        };
        let origin = origin(written.url.get_ref());
        if let Some(problem) = origin
            .as_ref()
            .and_then(|url| address_problem(url, written.allow_private))
        {
            let message = format!("{problem}; expected a public one, or allow_private = true");
            self.at::<()>(written.url.span().start, &message);
        }
        if origin.is_none() {
            let message = format!(
                "found {:?}, expected a URL whose scheme (http or https) and host are written out",
                written.url.get_ref()
            );
            self.at::<()>(written.url.span().start, &message);
        }
        let url = self.compiled(Content::url(written.url.get_ref()), &written.url, sees);
        let mut headers = Vec::new();
        for (name, value) in &written.headers {
            let name = self.literal(name, is_header, "the name of a header");
            let value = self.text(value, sees);
            headers.extend(name.zip(value));
        }
        let secret_env = match &written.secret_env {
            None => None,
            Some(name) => Some(self.literal(name, is_variable, "the name of an environment variable")?),
        };
        let body = self.fields(&written.body, sees);
        Some(Action::Call {
            method: method?,
            url: url?,
            headers,
            body: body?,
            secret_env,
            allow_private: written.allow_private,
        })
    }

    fn emit(&mut self, written: &EmitFile, sees: &Sees<'_>) -> Option<Action> {
        let event_type = written.event_type.get_ref();
        let entity = match &written.entity {
            Some(entity) => self.text(entity, sees),
            None => self.entity_id().map(Content::Expression),
        };
        let payload = self.fields(&written.payload, sees);
        let latest = self.known.catalogue.latest(event_type);
        let Some(schema_version) = latest.filter(|_| is_type(event_type)) else {
            let message = self.known.catalogue.unknown_type(event_type);
            return self.at(written.event_type.span().start, &message);
        };
        let payload = payload?;
        let mut open = Vec::new();
        let sketch = Value::Object(written_fields(&payload, "", &mut open));
        if let Some(violation) = self.known.catalogue.violation_besides(event_type, &sketch, &open) {
            let message = format!(
                "found what is never a valid {event_type} (version {schema_version}): {}: {}",
                violation.pointer, violation.message
            );
            return self.at(written.event_type.span().start, &message);
        }
        Some(Action::Emit {
            event_type: event_type.clone(),
            entity: entity?,
            schema_version,
            payload,
            catalogue: Arc::clone(self.known.catalogue),
        })
    }

    fn run(&mut self, written: &Spanned<String>) -> Option<Action> {
        let names = self.known.run_names;
        let meant = did_you_mean(written.get_ref(), names.iter().copied());
        let expected = match names {
            [] => "an action of the bot, which has none".to_owned(),
            names => format!("an action of the bot ({}){meant}", names.join(", ")),
        };
        let name = self.literal(written, |name| names.contains(&name), &expected)?;
        Some(Action::Run { name })
    }

    fn to(&mut self, written: Option<&RecipientFile>, default: ToKind, sees: &Sees<'_>) -> Option<To> {
        let (kind, id) = match written {
            None => {
                let id = Content::Expression(self.entity_id()?);
                return Some(To { kind: default, id });
            }
            Some(RecipientFile::Entity(entity)) if default == ToKind::Followers => {
                let message = "found entity, which cannot be told anything, expected user, session or followers";
                return self.at(entity.span().start, message);
            }
            Some(RecipientFile::Entity(entity)) => (ToKind::Entity, entity),
            Some(RecipientFile::User(user)) => (ToKind::User, user),
            Some(RecipientFile::Session(session)) => (ToKind::Session, session),
            Some(RecipientFile::Followers(followers)) => (ToKind::Followers, followers),
        };
        self.text(id, sees).map(|id| To { kind, id })
    }
}

fn is_fact_name(name: &str) -> bool {
    name.len() <= 100
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_topic(name: &str) -> bool {
    (1..=64).contains(&name.len()) && is_word(name)
}

fn is_event_name(name: &str) -> bool {
    (1..=150).contains(&name.len()) && is_word(name)
}

fn is_word(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

fn is_method(name: &str) -> bool {
    matches!(name, "POST" | "PUT" | "PATCH" | "DELETE")
}

fn is_header(name: &str) -> bool {
    reqwest::header::HeaderName::from_bytes(name.as_bytes()).is_ok()
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Scheme and host of a URL whose host no event can choose: expressions may stand after the first `/` of its path.
fn origin(url: &str) -> Option<Url> {
    let (scheme, rest) = url.split_once("://")?;
    let authority_end = rest.find('/').unwrap_or(rest.len());
    let origin = format!("{scheme}://{}", &rest[..authority_end]);
    if !matches!(scheme, "http" | "https") || origin.contains('{') {
        return None;
    }
    Url::parse(&origin).ok()
}
