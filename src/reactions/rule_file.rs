//! A rule's file as it is written.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::content::ContentFile;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleFile {
    pub(super) on: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) join: Option<Spanned<JoinFile>>,
    pub(super) when: Option<Spanned<String>>,
    #[serde(rename = "do", default)]
    pub(super) actions: Vec<ActionFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JoinFile {
    pub(super) all: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) any: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) key: Option<Spanned<String>>,
    pub(super) within: Spanned<String>,
    #[serde(default)]
    pub(super) on_timeout: Vec<ActionFile>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ActionFile {
    Remember(RememberFile),
    Notify(NotifyFile),
    Goto(Spanned<GotoFile>),
    Call(CallFile),
    Emit(EmitFile),
    Run(Spanned<String>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RememberFile {
    pub(super) name: Spanned<String>,
    pub(super) value: Spanned<ContentFile>,
    pub(super) about: Option<RecipientFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NotifyFile {
    pub(super) topic: Spanned<String>,
    pub(super) text: Spanned<String>,
    pub(super) channel: Option<Spanned<String>>,
    pub(super) to: Option<RecipientFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GotoFile {
    pub(super) context: Option<Spanned<String>>,
    pub(super) event: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) parameters: BTreeMap<String, Spanned<ContentFile>>,
    pub(super) to: Option<RecipientFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CallFile {
    pub(super) url: Spanned<String>,
    pub(super) method: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) headers: BTreeMap<Spanned<String>, Spanned<String>>,
    #[serde(default)]
    pub(super) body: BTreeMap<String, Spanned<ContentFile>>,
    pub(super) secret_env: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) allow_private: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EmitFile {
    #[serde(rename = "type")]
    pub(super) event_type: Spanned<String>,
    pub(super) entity: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) payload: BTreeMap<String, Spanned<ContentFile>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RecipientFile {
    Entity(Spanned<String>),
    User(Spanned<String>),
    Session(Spanned<String>),
    Followers(Spanned<String>),
}
