//! `goto`: moves a conversation at its next turn.

use std::collections::BTreeMap;

use minijinja::Value as Names;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use toml::Spanned;

use super::kind::{Batch, Compiled, Kind, Made};
use super::text::{text, whom};
use super::to::{RecipientFile, To, ToKind};
use crate::conversation::AfterCommit;
use crate::conversation::goto::{self, GotoKind, NewGoto};
use crate::conversation::outbox;
use crate::conversation::recipient::{Reaches, Recipient};
use crate::expression::EvalError;
use crate::reactions::checker::Checker;
use crate::reactions::content::{Content, ContentFile, object, paths_of};
use crate::reactions::sees::Sees;
use crate::session::ContextId;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GotoFile {
    context: Option<Spanned<String>>,
    event: Option<Spanned<String>>,
    #[serde(default)]
    parameters: BTreeMap<String, Spanned<ContentFile>>,
    to: Option<RecipientFile>,
}

#[derive(Debug)]
pub(crate) struct GotoAction {
    to: To,
    kind: GotoKind,
    name: String,
    parameters: Vec<(String, Content)>,
}

/// Moves a conversation at its next turn.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Goto {
    /// Whose.
    pub(crate) to: Recipient,
    /// How.
    pub(crate) kind: GotoKind,
    /// Of the context or the event.
    pub(crate) name: String,
    /// What it carries.
    pub(crate) parameters: Map<String, Value>,
}

/// The conversations that are moved at their next turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Moved {
    pub(crate) gotos: Vec<String>,
}

impl Kind for Goto {
    type File = Spanned<GotoFile>;
    type Action = GotoAction;
    type Done = Moved;

    fn check(written: &Spanned<GotoFile>, checker: &mut Checker<'_>, sees: &Sees<'_>) -> Option<GotoAction> {
        let place = written.span().start;
        let written = written.get_ref();
        let (kind, name) = match (&written.context, &written.event) {
            (Some(context), None) => match ContextId::parse(context.get_ref()) {
                Ok(id) => (GotoKind::Context, Some(id.as_str().to_owned())),
                Err(error) => (GotoKind::Context, checker.at(context.span().start, &error.to_string())),
            },
            (None, Some(event)) => {
                let expected = "an event's name of letters, digits and . _ -, up to 150";
                (GotoKind::Event, checker.literal(event, is_event_name, expected))
            }
            _ => return checker.at(place, "expected one of context and event in goto"),
        };
        let to = To::check(written.to.as_ref(), ToKind::Followers, checker, sees);
        let parameters = checker.fields(&written.parameters, sees);
        Some(GotoAction {
            to: to?,
            kind,
            name: name?,
            parameters: parameters?,
        })
    }

    async fn write(
        all: &[Made<'_, Self>],
        batch: &Batch<'_>,
        connection: &mut PgConnection,
    ) -> sqlx::Result<Vec<Moved>> {
        let recipients = &batch.recipients;
        let (mut rows, mut done) = (Vec::new(), Vec::with_capacity(all.len()));
        for made in all {
            let goto = made.effect;
            let users = recipients.users(&goto.to).into_iter();
            let sessions: Vec<&str> = users.flat_map(|user| recipients.sessions(&goto.to, user)).collect();
            rows.extend(sessions.iter().map(|session| NewGoto {
                id: outbox::id(made.event, made.rule, made.index, session, "goto"),
                session: (*session).to_owned(),
                kind: goto.kind,
                name: &goto.name,
                parameters: &goto.parameters,
                position: made.event.position,
            }));
            done.push(Moved {
                gotos: sessions.into_iter().map(str::to_owned).collect(),
            });
        }
        goto::add(connection, batch.now, &rows).await?;
        Ok(done)
    }

    fn line(effect: &Value) -> String {
        let (kind, name, to) = (text(effect, "kind"), text(effect, "name"), whom(effect, "to"));
        format!("goto {kind} {name} for {to}: {}", effect["parameters"])
    }

    fn reaches(&self) -> Option<Reaches<'_>> {
        Some(Reaches::Conversations(&self.to))
    }

    fn committed(done: &Moved, after: &mut AfterCommit) {
        after.moved.extend(done.gotos.iter().cloned());
    }
}

impl Compiled for GotoAction {
    type Effect = Goto;

    fn eval(&self, names: &Names) -> Result<Goto, EvalError> {
        Ok(Goto {
            to: self.to.recipient(names)?,
            kind: self.kind,
            name: self.name.clone(),
            parameters: object("parameters", &self.parameters, names)?,
        })
    }

    fn paths(&self) -> Vec<String> {
        self.to.paths().into_iter().chain(paths_of(&self.parameters)).collect()
    }
}

fn is_event_name(name: &str) -> bool {
    (1..=150).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}
