//! What is kept in a conversation: in ES a context, in CX a session parameter that holds an object.

use serde_json::{Map, Value};

use crate::reply::KeptContext;
use crate::turn::{ActiveContext, Api, Turn};

/// The key under which a context of ES holds once more what we keep in it. Dialogflow ES writes the parameters of each
/// turn into every active context, an unfilled one as `""`, so what stands there under the name of a parameter is soon
/// another's. No parameter of an agent may have this name.
pub(super) const KEPT: &str = "rejoinder";

/// What was kept in the context of this id.
pub(crate) fn kept<'a>(turn: &'a Turn, id: &str) -> Option<&'a Map<String, Value>> {
    match turn.api {
        Api::EsV2 | Api::EsV2beta1 => {
            let context = turn.context(id).filter(|context| context.lifespan != Some(0))?;
            let ours = context.parameters.get(KEPT).and_then(Value::as_object);
            Some(ours.unwrap_or(&context.parameters))
        }
        Api::CxV3 => {
            let name = parameter(id);
            let mut parameters = turn.parameters.iter();
            let (_, value) = parameters.find(|(key, _)| key.eq_ignore_ascii_case(&name))?;
            value.as_object()
        }
    }
}

/// Writes a context into the turn, as if the platform had sent it.
pub(crate) fn keep(turn: &mut Turn, context: &KeptContext) {
    let (id, parameters) = (context.id.as_str(), context.parameters.clone());
    match turn.api {
        Api::EsV2 | Api::EsV2beta1 => {
            turn.contexts.retain(|active| active.id != id);
            turn.contexts.push(ActiveContext {
                id: id.to_owned(),
                lifespan: Some(context.lifespan),
                parameters,
            });
        }
        Api::CxV3 => {
            let name = parameter(id);
            turn.parameters.retain(|key, _| !key.eq_ignore_ascii_case(&name));
            turn.parameters.insert(name, Value::Object(parameters));
        }
    }
}

/// The CX session parameter that stands for the context of this id. Names of CX parameters take no `%`, and their case
/// does not count.
pub(super) fn parameter(id: &str) -> String {
    id.replace('%', "_")
}
