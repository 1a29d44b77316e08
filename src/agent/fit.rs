//! Whether agents and the bot fit each other: every call of the webhook has a handler, every handler a call.

use super::{Agent, AgentKind, Call};
use crate::bot::{By, Intent};
use crate::event::file::FileError;
use crate::nearest::{did_you_mean, nearest};

/// What does not fit. A handler needs a call in one of the agents only.
pub(crate) fn misfits(agents: &[Agent], handlers: &[Intent]) -> Vec<FileError> {
    let mut found = Vec::new();
    for agent in agents {
        if !agent.is_on && !agent.calls.is_empty() {
            let calls = agent.calls.len();
            found.push(FileError::whole(
                &agent.dir.join("agent.json"),
                format_args!(
                    "found a webhook that is off (webhook.available), expected one that is on: {calls} intents call it"
                ),
            ));
        }
        for call in &agent.calls {
            match handlers.iter().find(|handler| call.leads_to(handler)) {
                Some(handler) => found.extend(misnamed(call, handler)),
                None => found.push(unanswered(call, handlers)),
            }
        }
    }
    found.extend(handlers.iter().filter_map(|handler| uncalled(handler, agents)));
    found
}

fn unanswered(call: &Call, handlers: &[Intent]) -> FileError {
    let name = call.name();
    let known = handlers.iter().map(|handler| handler.name.as_str());
    FileError::whole(
        &call.file,
        format_args!(
            "found a call of the webhook for {name:?}, expected a name that has a handler{}",
            did_you_mean(name, known)
        ),
    )
}

/// A parameter of the agent's that is nearly one for which the handler asks, and that the agent does not have: the handler
/// would ask for it for ever.
fn misnamed(call: &Call, handler: &Intent) -> Vec<FileError> {
    let has = |name: &str| call.parameters.iter().any(|parameter| parameter == name);
    let asked: Vec<&str> = handler.asks_for().collect();
    let others = || {
        call.parameters
            .iter()
            .map(String::as_str)
            .filter(|name| !asked.contains(name))
    };
    let mut found: Vec<FileError> = asked
        .iter()
        .filter(|name| !has(name))
        .filter_map(|name| {
            let other = nearest(name, others())?;
            Some(FileError::whole(
                &call.file,
                format_args!(
                    "found the parameter {other:?} of {:?}, expected {name:?}, for which its handler asks",
                    call.name()
                ),
            ))
        })
        .collect();
    found.sort_by(|one, other| one.message.cmp(&other.message));
    found
}

fn uncalled(handler: &Intent, agents: &[Agent]) -> Option<FileError> {
    let may_call = |agent: &&Agent| match handler.by {
        By::Intent | By::Event => true,
        By::Tag => agent.kind == AgentKind::Cx,
        By::Action => agent.kind == AgentKind::Es,
        By::Fallback => false,
    };
    let callers: Vec<&Agent> = agents.iter().filter(may_call).collect();
    let first = callers.first()?;
    let is_called = |agent: &&Agent| agent.calls.iter().any(|call| call.leads_to(handler));
    if callers.iter().any(is_called) {
        return None;
    }
    let (by, name) = (handler.by.name(), &handler.name);
    let mut silent = callers.iter().flat_map(|agent| &agent.silent);
    if let Some((_, file)) = silent.find(|(intent, _)| handler.by == By::Intent && intent == name) {
        return Some(FileError::whole(
            file,
            "found an intent that does not call the webhook (webhookUsed), expected one that does: it has a handler",
        ));
    }
    let names = callers.iter().flat_map(|agent| agent.calls.iter().map(Call::name));
    Some(FileError::whole(
        &first.dir,
        format_args!(
            "found nothing that calls the handler of the {by} {name:?}, expected a call{}",
            did_you_mean(name, names)
        ),
    ))
}
