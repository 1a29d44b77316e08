//! The parameters of a turn, as a typed struct.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::lenient::{Mismatch, read};
use super::{FromTurn, Read, Scope, plain};
use crate::fail::Fail;

/// How many values of one turn may be read in a plainer form than they came in.
const MAX_SIMPLIFIED: usize = 16;

/// The turn's parameters, read into `T`.
///
/// An unfilled parameter (`""` in ES, null in CX) is absent: an `Option` is `None`, and a required one asks the user
/// for it. `7`, `7.0` and `"7"` all read as an integer, and as the string `7`; blanks around a text are dropped. One
/// value reads as a list of one, a list of one as its value, and `{"amount": 100, "currency": "EUR"}`
/// (`@sys.unit-currency`) as its amount, where `T` does not take them as they are.
///
/// ```
/// use rejoinder::{Fail, Params, Reply};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Query {
///     order_number: String,
///     copies: Option<u32>,
/// }
///
/// async fn print(Params(query): Params<Query>) -> Result<Reply, Fail> {
///     let copies = query.copies.unwrap_or(1);
///     Ok(Reply::text(format!("{copies} of {}.", query.order_number)))
/// }
/// # rejoinder::Bot::new().intent("Print", print).check().unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Params<T>(pub T);

impl<T: DeserializeOwned + Send> FromTurn for Params<T> {
    const READS: &'static [Read] = &[];

    async fn from_turn(scope: &Scope) -> Result<Self, Fail> {
        typed(&scope.turn.parameters).map(Self)
    }
}

/// Reads an object of parameters, or asks for the one that is missing or wrong.
fn typed<T: DeserializeOwned>(parameters: &Map<String, Value>) -> Result<T, Fail> {
    let mut parameters = plain::trimmed(parameters);
    let mut simplified = 0;
    loop {
        let mismatch = match read(&parameters) {
            Ok(typed) => return Ok(typed),
            Err(mismatch) => mismatch,
        };
        if simplified == MAX_SIMPLIFIED || !plain::simplify(parameters.to_mut(), &mismatch.path) {
            return Err(asked(mismatch));
        }
        simplified += 1;
    }
}

fn asked(Mismatch { path, reason }: Mismatch) -> Fail {
    match path.first() {
        Some(parameter) => Fail::Ask {
            parameter: parameter.to_string(),
            prompt: None,
            reason,
        },
        None => Fail::bug(format_args!("parameters cannot be read: {reason}")),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Query {
        order_id: i64,
        store: Option<String>,
        #[serde(default)]
        sizes: Vec<u8>,
    }

    fn query(parameters: Value) -> Result<Query, Fail> {
        typed(parameters.as_object().unwrap())
    }

    #[test]
    fn whole_number_is_read_however_it_is_written() {
        for seven in [json!(7), json!(7.0), json!("7"), json!(" 7 "), json!("7.0")] {
            assert_eq!(query(json!({"order_id": seven})).unwrap().order_id, 7);
        }
    }

    #[test]
    fn unfilled_is_absent_and_one_is_a_list_of_one() {
        let read = query(json!({"order_id": 7, "store": "", "sizes": 3.0})).unwrap();
        assert_eq!(
            read,
            Query {
                order_id: 7,
                store: None,
                sizes: vec![3]
            }
        );
        assert_eq!(
            query(json!({"order_id": 7, "store": 12, "sizes": ["1", 2]}))
                .unwrap()
                .store
                .unwrap(),
            "12"
        );
    }

    #[test]
    fn text_that_no_database_takes_is_asked_for_again() {
        let Err(Fail::Ask { parameter, reason, .. }) = query(json!({"order_id": 7, "store": "a\0b"})) else {
            panic!("it must ask")
        };
        assert_eq!(parameter, "store");
        assert_eq!(
            reason,
            "parameter store: found a text that holds U+0000, expected one without"
        );
    }

    #[test]
    fn missing_one_is_asked_for_by_name() {
        for unfilled in [json!({}), json!({"order_id": ""}), json!({"order_id": null})] {
            let Err(Fail::Ask { parameter, .. }) = query(unfilled) else {
                panic!("it must ask")
            };
            assert_eq!(parameter, "order_id");
        }
    }

    #[test]
    fn wrong_kind_names_the_parameter_what_came_and_what_was_expected() {
        let Err(Fail::Ask { parameter, reason, .. }) = query(json!({"order_id": "seven"})) else {
            panic!("it must ask")
        };
        assert_eq!(parameter, "order_id");
        assert_eq!(reason, "parameter order_id: found a text, expected i64");
        let Err(Fail::Ask { parameter, reason, .. }) = query(json!({"order_id": 1, "sizes": [1, 300]})) else {
            panic!("it must ask")
        };
        assert_eq!(parameter, "sizes");
        assert_eq!(reason, "parameter sizes[1]: found a whole number, expected u8");
    }
}
