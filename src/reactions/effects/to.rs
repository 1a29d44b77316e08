//! Whom or what an action is about.

use minijinja::Value as Names;
use serde::Deserialize;
use toml::Spanned;

use crate::conversation::recipient::Recipient;
use crate::expression::EvalError;
use crate::platform::SESSION_SHAPE;
use crate::reactions::checker::Checker;
use crate::reactions::content::Content;
use crate::reactions::sees::Sees;
use crate::session::SessionName;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RecipientFile {
    Entity(Spanned<String>),
    User(Spanned<String>),
    Session(Spanned<String>),
    Followers(Spanned<String>),
}

/// Whom or what an action is about.
#[derive(Debug)]
pub(super) struct To {
    kind: ToKind,
    id: Content,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ToKind {
    Entity,
    User,
    Session,
    Followers,
}

impl To {
    /// Where nothing is written, it is the event's entity, as `default` says.
    pub(super) fn check(
        written: Option<&RecipientFile>,
        default: ToKind,
        checker: &mut Checker<'_>,
        sees: &Sees<'_>,
    ) -> Option<Self> {
        let (kind, id) = match written {
            None => {
                let id = Content::Expression(checker.entity_id()?);
                return Some(Self { kind: default, id });
            }
            Some(RecipientFile::Entity(entity)) if default == ToKind::Followers => {
                let message = "found entity, which cannot be told anything, expected user, session or followers";
                return checker.at(entity.span().start, message);
            }
            Some(RecipientFile::Entity(entity)) => (ToKind::Entity, entity),
            Some(RecipientFile::User(user)) => (ToKind::User, user),
            Some(RecipientFile::Session(session)) => (ToKind::Session, session),
            Some(RecipientFile::Followers(followers)) => (ToKind::Followers, followers),
        };
        checker.text(id, sees).map(|id| Self { kind, id })
    }

    pub(super) fn recipient(&self, names: &Names) -> Result<Recipient, EvalError> {
        let id = self.id.eval_id(names).map_err(|error| error.about("the recipient"))?;
        Ok(match self.kind {
            ToKind::Entity => Recipient::Entity(id.into()),
            ToKind::User => Recipient::User(id.into()),
            ToKind::Session => match SessionName::parse(&id) {
                Ok(session) => Recipient::Session(session.as_str().to_owned()),
                Err(_) => {
                    let message =
                        format!("found a session that has not the full name of one, expected {SESSION_SHAPE}");
                    return Err(EvalError(message));
                }
            },
            ToKind::Followers => Recipient::Followers(id.into()),
        })
    }

    pub(super) fn paths(&self) -> Vec<String> {
        self.id.paths()
    }
}
