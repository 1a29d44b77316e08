//! `remember`: sets a fact in memory.

use minijinja::Value as Names;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use toml::Spanned;

use super::kind::{Batch, Compiled, Kind, Made, Remark};
use super::text::{text, whom};
use super::to::{RecipientFile, To, ToKind};
use crate::conversation::fact::{FactScope, NewFact, NewFacts};
use crate::conversation::recipient::{Reaches, Recipient, Recipients};
use crate::expression::EvalError;
use crate::reactions::checker::Checker;
use crate::reactions::content::{Content, ContentFile, bounded};
use crate::reactions::sees::Sees;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RememberFile {
    name: Spanned<String>,
    value: Spanned<ContentFile>,
    about: Option<RecipientFile>,
}

#[derive(Debug)]
pub(crate) struct RememberAction {
    about: To,
    name: String,
    value: Content,
    is_made_of_memory: bool,
}

/// Sets a fact in memory.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Remember {
    /// What the fact is about.
    pub(crate) about: Recipient,
    /// Its name.
    pub(crate) name: String,
    /// What is known; null forgets the fact.
    pub(crate) value: Value,
    /// Whether the value is made of what memory held. Then it is set also when it is late, so that a counter or a list does
    /// not lose the event.
    #[serde(skip)]
    pub(crate) is_made_of_memory: bool,
}

/// The facts that were set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Remembered {
    pub(crate) facts: Vec<FactSet>,
}

/// A fact that was set, or forgotten, or stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FactSet {
    /// entity, user or session.
    pub(crate) scope: &'static str,
    /// What it is about.
    pub(crate) subject: String,
    /// Its name.
    pub(crate) name: String,
    /// Why it stays as it is; none where it was set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why_not: Option<&'static str>,
}

impl Kind for Remember {
    type File = RememberFile;
    type Action = RememberAction;
    type Done = Remembered;

    fn check(written: &RememberFile, checker: &mut Checker<'_>, sees: &Sees<'_>) -> Option<RememberAction> {
        let expected = "a name of letters, digits and _, up to 100, that begins with no digit";
        let name = checker.literal(&written.name, is_fact_name, expected);
        let about = To::check(written.about.as_ref(), ToKind::Entity, checker, sees);
        let value = checker.content(&written.value, sees);
        let value = value?;
        Some(RememberAction {
            about: about?,
            name: name?,
            is_made_of_memory: value.paths().iter().any(|path| path.starts_with("memory.")),
            value,
        })
    }

    async fn write(
        all: &[Made<'_, Self>],
        batch: &Batch<'_>,
        connection: &mut PgConnection,
    ) -> sqlx::Result<Vec<Remembered>> {
        let mut new = NewFacts::default();
        let mut done = Vec::with_capacity(all.len());
        for made in all {
            let Remember { name, value, .. } = made.effect;
            let mut facts = Vec::new();
            for (scope, subject) in made.effect.subjects(&batch.recipients) {
                let fact = NewFact {
                    position: made.event.position,
                    value,
                    is_forced: batch.is_late && made.effect.is_made_of_memory,
                };
                new.set(scope, subject.to_owned(), name, fact);
                facts.push(FactSet {
                    scope: scope.name(),
                    subject: subject.to_owned(),
                    name: name.clone(),
                    why_not: None,
                });
            }
            done.push(Remembered { facts });
        }
        let written = new.write(connection, batch.now).await?;
        for fact in done.iter_mut().flat_map(|done| &mut done.facts) {
            if !written.has(fact.scope, &fact.subject, &fact.name) {
                fact.why_not = Some("a later event has set it");
            }
        }
        Ok(done)
    }

    fn line(effect: &Value) -> String {
        let (about, name) = (whom(effect, "about"), text(effect, "name"));
        format!("remember {about}: {name} = {}", effect["value"])
    }

    fn reaches(&self) -> Option<Reaches<'_>> {
        Some(Reaches::Users(&self.about))
    }

    fn recall(&self, entity: &str, known: &mut Map<String, Value>) {
        if matches!(&self.about, Recipient::Entity(about) if about == entity) {
            known.insert(self.name.clone(), self.value.clone());
        }
    }

    fn remarks(_effect: &Value, done: &Value) -> Vec<Remark> {
        let facts = done["facts"].as_array().into_iter().flatten();
        let remarks = facts.filter_map(|fact| {
            let why_not = fact["why_not"].as_str()?;
            let (scope, subject, name) = (text(fact, "scope"), text(fact, "subject"), text(fact, "name"));
            Some(Remark {
                is_nobody: false,
                text: format!("{scope} {subject}: {name} not written, {why_not}"),
            })
        });
        remarks.collect()
    }
}

impl Compiled for RememberAction {
    type Effect = Remember;

    fn eval(&self, names: &Names) -> Result<Remember, EvalError> {
        Ok(Remember {
            about: self.about.recipient(names)?,
            name: self.name.clone(),
            value: bounded("value", self.value.eval(names).map_err(|error| error.about("value"))?)?,
            is_made_of_memory: self.is_made_of_memory,
        })
    }

    fn paths(&self) -> Vec<String> {
        self.about.paths().into_iter().chain(self.value.paths()).collect()
    }
}

impl Remember {
    fn subjects<'a>(&'a self, recipients: &'a Recipients) -> Vec<(FactScope, &'a str)> {
        match &self.about {
            Recipient::Entity(entity) => vec![(FactScope::Entity, entity)],
            Recipient::Session(session) => vec![(FactScope::Session, session)],
            Recipient::User(_) | Recipient::Followers(_) => {
                let users = recipients.users(&self.about);
                users.into_iter().map(|user| (FactScope::User, user)).collect()
            }
        }
    }
}

fn is_fact_name(name: &str) -> bool {
    name.len() <= 100
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
