//! Which values of a turn are personal, by where they stand.

use serde_json::Value;

/// What a scalar is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Part of the platform's own frame: ids of contexts, names of intents, counts.
    Frame,
    /// Text that may hold something personal.
    Text,
    /// A person's name: each word of it is personal.
    Name,
    /// Personal as a whole.
    Secret,
    /// The id of a response.
    ResponseId,
}

/// In which part of a turn a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The frame of a request.
    Request,
    /// The frame of a reply.
    Reply,
    /// Parameters: what the user said, and what the bot keeps.
    Parameters,
    /// What the platform passes along about its user.
    Platform,
    /// A platform's own message.
    Rich,
}

#[derive(Clone, Copy)]
struct At<'a> {
    place: Place,
    parent: &'a str,
    key: &'a str,
    inherited: Option<Class>,
}

/// Calls `act` for each scalar below `value`.
pub(super) fn each_scalar(value: &mut Value, place: Place, act: &mut impl FnMut(Class, &mut Value)) {
    let root = At {
        place,
        parent: "",
        key: "",
        inherited: None,
    };
    walk(value, root, act);
}

fn walk(value: &mut Value, at: At<'_>, act: &mut impl FnMut(Class, &mut Value)) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, at, act)),
        Value::Object(object) => {
            // CX writes a form's parameter as {"displayName": its name, "value": …}.
            let named = match object.get("displayName") {
                Some(Value::String(name)) if object.contains_key("value") => Some(name.clone()),
                _ => None,
            };
            for (key, value) in object {
                let (key, place) = match &named {
                    Some(name) if key == "value" => (name.as_str(), Place::Parameters),
                    _ => (key.as_str(), at.below(key)),
                };
                let mut inner = At {
                    place,
                    parent: at.key,
                    key,
                    inherited: None,
                };
                inner.inherited = at.inherited.or_else(|| inner.personal(value));
                walk(value, inner, act);
            }
        }
        Value::Null | Value::Bool(_) => {}
        Value::Number(_) | Value::String(_) => act(at.class(), value),
    }
}

impl At<'_> {
    fn below(&self, key: &str) -> Place {
        let is_root = self.key.is_empty();
        match (self.place, key) {
            (Place::Request | Place::Reply, "parameters") => Place::Parameters,
            (Place::Request, "originalDetectIntentRequest") => Place::Platform,
            (Place::Request, "payload") if is_root => Place::Platform,
            (Place::Request | Place::Reply, "payload" | "webhookPayload") => Place::Rich,
            (place, _) => place,
        }
    }

    /// What all below this key is.
    fn personal(&self, value: &Value) -> Option<Class> {
        let words = key_words(self.key);
        let word = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
        let joined = words.concat();
        if matches!(self.key, "responseId" | "detectIntentResponseId") {
            return Some(Class::ResponseId);
        }
        if word(SECRET_WORDS) || SECRET_PARTS.iter().any(|part| joined.contains(part)) {
            return Some(Class::Secret);
        }
        let may_name_people =
            matches!(self.place, Place::Parameters | Place::Platform) && !NAMED_PARTS.contains(&self.parent);
        if may_name_people && (word(&["name", "person"]) || joined.ends_with("name")) && !word(THINGS) {
            return Some(Class::Name);
        }
        let is_scalar = !matches!(value, Value::Object(_) | Value::Array(_));
        let is_id = words.last().is_some_and(|word| word == "id");
        let of_user =
            word(USERS) || (is_id && key_words(self.parent).iter().any(|word| USERS.contains(&word.as_str())));
        let is_users = match self.place {
            Place::Platform => of_user,
            // Here "user" alone may be anything; by a number somebody is found.
            Place::Parameters => of_user && words.last().is_some_and(|word| NUMBERS.contains(&word.as_str())),
            Place::Request | Place::Reply | Place::Rich => false,
        };
        (is_scalar && is_users).then_some(Class::Secret)
    }

    fn class(&self) -> Class {
        let is_frame = matches!(self.place, Place::Request | Place::Reply) && FRAME.contains(&self.key);
        match self.inherited {
            Some(class) => class,
            None if is_frame => Class::Frame,
            None => Class::Text,
        }
    }
}

/// Keys of the platform's frame whose values are no text of a user.
const FRAME: &[&str] = &[
    "name",
    "displayName",
    "action",
    "tag",
    "event",
    "source",
    "version",
    "platform",
    "languageCode",
    "lifespanCount",
    "lifespan",
    "intentDetectionConfidence",
    "speechRecognitionConfidence",
    "confidence",
    "score",
    "magnitude",
];

/// Words of a key that say that its value is personal.
const SECRET_WORDS: &[&str] = &[
    "mail",
    "mobile",
    "tel",
    "cell",
    "fax",
    "msisdn",
    "street",
    "pin",
    "passwd",
    "pwd",
    "otp",
    "cvv",
    "cvc",
    "ssn",
    "iban",
    "dob",
    "birth",
    "birthday",
    "birthdate",
    "passport",
    "licence",
    "license",
    "caller",
    "credential",
    "credentials",
    "authorization",
    "cookie",
];

/// The same, also where they are run together with another word.
const SECRET_PARTS: &[&str] = &[
    "email",
    "phone",
    "address",
    "password",
    "passcode",
    "passphrase",
    "token",
    "secret",
    "callerid",
    "apikey",
    "cardnumber",
    "dateofbirth",
    "socialsecurity",
    "nationalid",
    "identitycard",
    "idcard",
    "taxid",
    "taxnumber",
];

/// Words of a key that say that a name is not a person's.
const THINGS: &[&str] = &[
    "product",
    "store",
    "item",
    "shop",
    "city",
    "country",
    "currency",
    "category",
    "brand",
    "file",
    "event",
    "intent",
    "page",
    "flow",
    "service",
    "department",
];

/// What a platform names itself, in what it passes along.
const NAMED_PARTS: &[&str] = &["capabilities", "arguments", "inputs", "intent", "event"];

/// Last words of a key whose value is the number that somebody is known by.
const NUMBERS: &[&str] = &["id", "userid", "uid", "psid", "no", "nr", "number", "num", "key", "ref"];

/// Words of a key that tell of a user.
const USERS: &[&str] = &[
    "user",
    "userid",
    "uid",
    "psid",
    "sender",
    "from",
    "recipient",
    "author",
    "contact",
    "member",
    "customer",
    "client",
    "patient",
    "employee",
    "profile",
    "chat",
    "conversation",
    "username",
];

/// `given-name.original` and `givenName` are both `given`, `name` (and `original`).
fn key_words(key: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for c in key.chars() {
        let starts = !c.is_alphanumeric() || (c.is_uppercase() && was_lower);
        if starts {
            words.push(String::new());
        }
        if let (true, Some(word)) = (c.is_alphanumeric(), words.last_mut()) {
            word.extend(c.to_lowercase());
        }
        was_lower = c.is_lowercase() || c.is_numeric();
    }
    words.retain(|word| !word.is_empty() && word != "original" && word != "resolved");
    words
}
