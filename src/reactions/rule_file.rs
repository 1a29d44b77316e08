//! A rule's file as it is written.

use serde::Deserialize;
use toml::Spanned;

use super::effects::ActionFile;

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
