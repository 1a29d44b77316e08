//! The sources of a Dialogflow CX agent: a file for each flow, page and group of routes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Agent, AgentKind, Call, json};
use crate::event::file::{self, FileError};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CxIntent {
    display_name: String,
    #[serde(default)]
    parameters: Vec<FormParameter>,
}

#[derive(Deserialize)]
struct FormParameter {
    id: String,
}

/// What is known of the place in a file that is being read.
#[derive(Clone, Default)]
struct Place {
    intent: String,
    event: String,
}

pub(super) fn read(dir: &Path) -> Result<Agent, FileError> {
    let mut intents = HashMap::new();
    for file in below(&dir.join("intents"))? {
        // The phrases stand one directory further down.
        if !file.parent().is_some_and(|parent| parent.ends_with("trainingPhrases")) {
            let intent: CxIntent = json(&file)?;
            let parameters = intent.parameters.into_iter().map(|parameter| parameter.id);
            intents.insert(intent.display_name, parameters.collect::<Vec<_>>());
        }
    }
    let mut calls = Vec::new();
    for part in ["flows", "agentTransitionRouteGroups"] {
        for file in below(&dir.join(part))? {
            let content: Map<String, Value> = json(&file)?;
            let from = calls.len();
            collect(&content, &Place::default(), &mut calls);
            for call in &mut calls[from..] {
                call.file.clone_from(&file);
                call.parameters = form(&content);
                call.parameters
                    .extend(intents.get(&call.intent).into_iter().flatten().cloned());
            }
        }
    }
    Ok(Agent {
        dir: dir.to_owned(),
        kind: AgentKind::Cx,
        calls,
        silent: Vec::new(),
        is_on: true,
    })
}

/// The JSON files in `dir` and below it.
fn below(dir: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut files = file::list(dir, "json")?;
    for entry in file::entries(dir)? {
        if entry.is_dir() {
            files.extend(below(&entry)?);
        }
    }
    Ok(files)
}

/// Every fulfillment with a webhook, in routes, event handlers, entries of pages and prompts of forms alike.
fn collect(object: &Map<String, Value>, place: &Place, calls: &mut Vec<Call>) {
    let text = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
    let place = Place {
        intent: text("intent").unwrap_or_else(|| place.intent.clone()),
        event: text("event").unwrap_or_else(|| place.event.clone()),
    };
    if text("webhook").is_some_and(|webhook| !webhook.is_empty()) {
        calls.push(Call {
            intent: place.intent.clone(),
            tag: text("tag").unwrap_or_default(),
            is_fallback: place.event.starts_with("sys.no-"),
            events: vec![place.event.clone()],
            ..Call::default()
        });
    }
    for value in object.values() {
        inside(value, &place, calls);
    }
}

fn inside(value: &Value, place: &Place, calls: &mut Vec<Call>) {
    match value {
        Value::Object(object) => collect(object, place, calls),
        Value::Array(values) => values.iter().for_each(|value| inside(value, place, calls)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The names of the parameters of a page's form.
fn form(page: &Map<String, Value>) -> Vec<String> {
    let parameters = page.get("form").and_then(|form| form["parameters"].as_array());
    let names = parameters
        .into_iter()
        .flatten()
        .filter_map(|parameter| parameter["displayName"].as_str());
    names.map(str::to_owned).collect()
}
