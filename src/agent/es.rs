//! The sources of a Dialogflow ES agent: a file for each intent, and its training phrases beside it.

use std::path::Path;

use serde::Deserialize;

use super::{Agent, AgentKind, Call, json};
use crate::event::file::{self, FileError};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EsIntent {
    name: String,
    #[serde(default)]
    webhook_used: bool,
    #[serde(default)]
    fallback_intent: bool,
    #[serde(default)]
    responses: Vec<EsResponse>,
    #[serde(default)]
    events: Vec<Named>,
}

#[derive(Deserialize)]
struct EsResponse {
    #[serde(default)]
    action: String,
    #[serde(default)]
    parameters: Vec<Named>,
}

/// What is no more than a name.
#[derive(Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
}

pub(super) fn read(dir: &Path, is_on: bool) -> Result<Agent, FileError> {
    let (mut calls, mut silent) = (Vec::new(), Vec::new());
    for file in file::list(&dir.join("intents"), "json")? {
        if file::file_name(&file).contains("_usersays_") {
            continue;
        }
        let intent: EsIntent = json(&file)?;
        if !intent.webhook_used {
            silent.push((intent.name, file));
            continue;
        }
        let mut call = Call {
            file,
            intent: intent.name,
            events: names(intent.events),
            is_fallback: intent.fallback_intent,
            ..Call::default()
        };
        for response in intent.responses {
            call.action = response.action;
            call.parameters.extend(names(response.parameters));
        }
        calls.push(call);
    }
    Ok(Agent {
        dir: dir.to_owned(),
        kind: AgentKind::Es,
        calls,
        silent,
        is_on,
    })
}

fn names(named: Vec<Named>) -> Vec<String> {
    named.into_iter().map(|named| named.name).collect()
}
