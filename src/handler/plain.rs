//! Parameters in a plainer form: texts without blanks around them, the one value of a list, the amount of a sum of money.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::lenient::Step;

/// The parameters, their texts without the blanks around them.
pub(super) fn trimmed(parameters: &Map<String, Value>) -> Cow<'_, Map<String, Value>> {
    if !parameters.values().any(has_blanks) {
        return Cow::Borrowed(parameters);
    }
    let mut parameters = parameters.clone();
    parameters.values_mut().for_each(trim);
    Cow::Owned(parameters)
}

/// Puts the value at `path`, which its type does not take, into its plainer form; `false` where it has none.
pub(super) fn simplify(parameters: &mut Map<String, Value>, path: &[Step]) -> bool {
    let Some((Step::Field(field), inner)) = path.split_first() else {
        return false;
    };
    let value = inner
        .iter()
        .try_fold(parameters.get_mut(field), |value, step| match (value?, step) {
            (value, Step::Field(name)) => Some(value.get_mut(name)),
            (Value::Array(items), Step::Item(index)) => Some(items.get_mut(*index)),
            // What is no list was read as one of itself.
            (value, Step::Item(_)) => Some(Some(value)),
        });
    let Some(Some(value)) = value else {
        return false;
    };
    let plainer = match value {
        Value::Array(items) if items.len() < 2 => items.pop().unwrap_or_default(),
        // ES `@sys.unit-currency`. What has another unit is another figure without it, and stays.
        Value::Object(sum) if sum.len() == 2 && sum.contains_key("currency") => match sum.remove("amount") {
            Some(amount) => amount,
            None => return false,
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            return false;
        }
    };
    *value = plainer;
    true
}

fn has_blanks(value: &Value) -> bool {
    match value {
        Value::String(text) => has_blanks_around(text),
        Value::Array(items) => items.iter().any(has_blanks),
        Value::Object(fields) => fields.values().any(has_blanks),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn trim(value: &mut Value) {
    match value {
        Value::String(text) if has_blanks_around(text) => *text = text.trim().to_owned(),
        Value::Array(items) => items.iter_mut().for_each(trim),
        Value::Object(fields) => fields.values_mut().for_each(trim),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn has_blanks_around(text: &str) -> bool {
    text.len() != text.trim().len()
}
