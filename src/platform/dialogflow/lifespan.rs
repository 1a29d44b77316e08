//! Lifespans in CX, which has none of its own: what is kept carries for how many more turns.

use serde_json::{Map, Value, json};

use super::kept::KEPT;
use crate::turn::{Lifespan, beginning};

/// Takes the lifespans out of what is kept in `parameters`, and with them what has reached its end. A turn counts once,
/// however many fulfillments it has.
pub(super) fn count_down(parameters: &mut Map<String, Value>, response_id: &str) -> Vec<Lifespan> {
    let mut lifespans = Vec::new();
    for (name, value) in parameters.iter_mut() {
        let Some(fields) = value.as_object_mut() else { continue };
        let Some(count) = fields.get(KEPT).and_then(|count| count["lifespan"].as_f64()) else {
            continue;
        };
        let of = fields.remove(KEPT);
        let is_this_turn = of.is_some_and(|of| of["turn"] == beginning(response_id));
        let left = match (count as u32, is_this_turn) {
            (count, true) => Some(count),
            (count, false) => count.checked_sub(1),
        };
        lifespans.push(Lifespan {
            parameter: name.clone(),
            left,
        });
    }
    for ended in lifespans.iter().filter(|lifespan| lifespan.left.is_none()) {
        parameters.remove(&ended.parameter);
    }
    lifespans
}

/// What is kept, with the number of turns after this one for which it is.
pub(super) fn write(kept: &Map<String, Value>, lifespan: u32, response_id: &str) -> Value {
    let count = match beginning(response_id) {
        "" => json!({"lifespan": lifespan}),
        turn => json!({"lifespan": lifespan, "turn": turn}),
    };
    let mut kept = kept.clone();
    kept.insert(KEPT.to_owned(), count);
    Value::Object(kept)
}
