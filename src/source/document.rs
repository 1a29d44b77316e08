//! A provider's body as JSON: as it was sent, or made from a form.

use std::borrow::Cow;

use http::HeaderMap;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::items::NotEvents;
use super::request::{FORM, media_type};

/// The JSON of a body.
///
/// A form is an object of its fields, with an array for a field that is repeated; if it has a field `payload` that holds
/// an object (as Slack and GitHub send them), it is that object.
pub(super) fn document<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<Cow<'a, RawValue>, NotEvents> {
    if media_type(headers) != FORM {
        let json: &RawValue = serde_json::from_slice(body).map_err(|error| NotEvents::json(&error))?;
        return Ok(Cow::Borrowed(json));
    }
    let mut fields = Map::new();
    for (name, value) in form_urlencoded::parse(body) {
        if name == "payload"
            && value.trim_start().starts_with('{')
            && let Ok(json) = RawValue::from_string(value.to_string())
        {
            return Ok(Cow::Owned(json));
        }
        let value = Value::String(value.into_owned());
        match fields.get_mut(&*name) {
            None => {
                fields.insert(name.into_owned(), value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    let json = serde_json::value::to_raw_value(&fields).map_err(|error| NotEvents::json(&error))?;
    Ok(Cow::Owned(json))
}

/// What stands in the object's member, and so on; nothing when a member is missing.
pub(super) fn at<'a>(json: &'a RawValue, members: &[String]) -> Option<&'a RawValue> {
    let mut found = json;
    for name in members {
        found = member(found, name)?;
    }
    Some(found)
}

fn member<'a>(json: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    #[derive(Deserialize)]
    struct Members<'a>(#[serde(borrow)] std::collections::HashMap<Cow<'a, str>, &'a RawValue>);
    let Members(members) = serde_json::from_str(json.get()).ok()?;
    members.get(name).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_of_the_body_is_kept_as_it_was_written() {
        let json = RawValue::from_string(r#"{"data": {"object": {"price": 1.10, "b\u0061d": 2}}}"#.to_owned()).unwrap();
        let path = ["data", "object"].map(str::to_owned);
        assert_eq!(at(&json, &path).unwrap().get(), r#"{"price": 1.10, "b\u0061d": 2}"#);
        assert!(at(&json, &["data".to_owned(), "none".to_owned()]).is_none());
    }
}
