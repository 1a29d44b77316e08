//! The sample agents: whatever Dialogflow makes of their training phrases and forms is answered by a handler.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rejoinder::testing::TestBot;
use serde_json::{Map, Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::tests::start;

const SESSION: &str = "projects/p/agent/sessions/s";

/// A file of the agent.
fn read(file: &str) -> Option<Value> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("agents/es").join(file);
    let text = std::fs::read_to_string(file).ok()?;
    Some(serde_json::from_str(&text).unwrap())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// All intents; first those that need no context.
fn intents() -> Vec<Value> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("agents/es/intents");
    let names = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names = names.filter(|name| !name.contains("_usersays_"));
    let mut intents: Vec<Value> = names.map(|name| read(&format!("intents/{name}")).unwrap()).collect();
    intents.sort_by_key(|intent| (list(&intent["contexts"]).len(), intent["name"].to_string()));
    intents
}

/// The parts of each training phrase of an intent; where it has none, one phrase of no parts.
fn phrases(intent: &Value, lang: &str) -> Vec<Value> {
    let name = intent["name"].as_str().unwrap();
    match read(&format!("intents/{name}_usersays_{lang}.json")) {
        Some(phrases) => list(&phrases).iter().map(|phrase| phrase["data"].clone()).collect(),
        None => vec![json!([])],
    }
}

/// What Dialogflow makes of a word that is marked as of this entity.
fn resolved(entity: &str, word: &str, lang: &str) -> Value {
    let digits: String = word
        .chars()
        .skip_while(|c| !c.is_ascii_digit())
        .take_while(char::is_ascii_digit)
        .collect();
    match entity {
        "@sys.number-integer" => digits.parse::<u32>().unwrap().into(),
        "@sys.number-sequence" => digits.into(),
        "@sys.date" => "2030-01-07T12:00:00Z".into(),
        "@sys.time" => {
            let noon = if word.ends_with("pm") { 12 } else { 0 };
            format!("2030-01-01T{:02}:00:00Z", digits.parse::<u32>().unwrap() + noon).into()
        }
        "@sys.ordinal" => {
            let ordinals = ["first ersten", "second zweiten", "third dritten"];
            let at = ordinals.iter().position(|words| words.contains(word)).unwrap();
            (at + 1).into()
        }
        "@sys.currency-name" => currency(word).into(),
        "@sys.unit-currency" => json!({"amount": digits.parse::<u32>().unwrap(), "currency": currency(word)}),
        custom => {
            let name = custom.strip_prefix('@').unwrap();
            let entries = read(&format!("entities/{name}_entries_{lang}.json")).unwrap();
            let is_meant = |entry: &&Value| list(&entry["synonyms"]).iter().any(|synonym| synonym == word);
            let entry = list(&entries).iter().find(is_meant);
            entry.unwrap_or_else(|| panic!("{custom} has no {word:?} in {lang}"))["value"].clone()
        }
    }
}

fn currency(word: &str) -> &'static str {
    let codes = [("euro", "EUR"), ("dollar", "USD"), ("pound", "GBP"), ("pfund", "GBP")];
    let is_meant = |(name, _): &&(&str, &str)| word.to_lowercase().contains(name);
    codes.iter().find(is_meant).unwrap().1
}

/// The parameters as Dialogflow posts them once all that are required have been said: `""` for those that have not.
fn parameters(intent: &Value, phrase: &Value, lang: &str) -> Map<String, Value> {
    let marked = |phrase: &Value, name: &Value| -> Option<Value> {
        let part = list(phrase).iter().find(|part| part["alias"] == *name)?;
        Some(resolved(part["meta"].as_str()?, part["text"].as_str()?, lang))
    };
    let others = phrases(intent, lang);
    let one = |parameter: &Value| {
        let name = &parameter["name"];
        let asked_for = || match parameter["dataType"].as_str() {
            _ if parameter["required"] != true => "".into(),
            Some("@sys.any") => "Ada Lovelace".into(),
            _ => others.iter().find_map(|other| marked(other, name)).unwrap(),
        };
        (
            name.as_str().unwrap().to_owned(),
            marked(phrase, name).unwrap_or_else(asked_for),
        )
    };
    list(&intent["responses"][0]["parameters"]).iter().map(one).collect()
}

/// How many turns of the intent were answered by a reply of its handler, which asks nothing back.
async fn replies(bot: &TestBot, intent: &str) -> u64 {
    let scrape = bot.http().get(bot.url("/metrics")).send().await.unwrap();
    let metrics = scrape.text().await.unwrap();
    let counter = format!("rejoinder_turn_duration_seconds_count{{intent=\"{intent}\",outcome=\"reply\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&counter));
    line.map_or(0, |count| count.parse().unwrap())
}

/// The demo bot, and where it has its exchange rates from.
async fn bot() -> (TestBot, MockServer) {
    let rates = MockServer::start().await;
    let latest = json!({"date": "2026-09-21", "rates": {"USD": 1.0312, "EUR": 0.9697}});
    Mock::given(method("GET"))
        .and(path("/latest"))
        .respond_with(ResponseTemplate::new(200).set_body_json(latest))
        .mount(&rates)
        .await;
    let bot = start(|settings| settings.rates_api_url = rates.uri().parse().unwrap()).await;
    (bot, rates)
}

/// The tags of the CX agent's fulfillments.
fn tags() -> BTreeSet<String> {
    let mut tags = BTreeSet::new();
    let mut dirs = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("agents/cx/flows")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let text = std::fs::read_to_string(path).unwrap();
            let found = text.split("\"tag\": \"").skip(1);
            tags.extend(found.map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }
    tags
}

/// The parameters as CX has them in the session.
fn in_cx(intent: &Value, parameters: Map<String, Value>) -> Map<String, Value> {
    let entity = |name: &str| {
        let known = list(&intent["responses"][0]["parameters"]);
        known.iter().find(|known| known["name"] == *name).unwrap()["dataType"]
            .as_str()
            .unwrap()
    };
    let said = parameters.into_iter().filter(|(_, value)| value != "");
    said.map(|(name, value)| {
        let value = match (entity(&name), value.as_str()) {
            ("@sys.date", Some(_)) => json!({"year": 2030.0, "month": 1.0, "day": 7.0}),
            ("@sys.time", Some(time)) => json!({"hours": time[11..13].parse::<f64>().unwrap(), "minutes": 0.0}),
            _ => value,
        };
        (name, value)
    })
    .collect()
}

#[tokio::test]
async fn forms_of_the_cx_agent_are_answered_by_the_handlers_of_their_tags() {
    let (bot, _rates) = bot().await;
    let mut left = tags();
    assert!(left.len() >= 15, "{left:?}");
    let mut session: Map<String, Value> = Map::new();
    let mut intents = intents();
    // By name: `… - more` comes while what it needs is kept.
    intents.sort_by_key(|intent| intent["name"].as_str().unwrap().to_owned());
    for intent in intents.iter().filter(|intent| intent["fallbackIntent"] != true) {
        let name = intent["name"].as_str().unwrap();
        let tag = if name == "Order Status" { "order-status" } else { name };
        if !left.remove(tag) {
            continue;
        }
        let phrase = phrases(intent, "en").swap_remove(0);
        session.extend(in_cx(intent, parameters(intent, &phrase, "en")));
        let turn = json!({
            "detectIntentResponseId": tag,
            "fulfillmentInfo": {"tag": tag},
            "sessionInfo": {"session": "projects/p/locations/global/agents/a/sessions/s", "parameters": session},
            "languageCode": "en",
        });
        let before = replies(&bot, tag).await;
        let reply = bot.turn(&turn).await;
        assert_eq!(replies(&bot, tag).await, before + 1, "{tag}: {turn}: {reply}");
        for (parameter, value) in reply["sessionInfo"]["parameters"].as_object().into_iter().flatten() {
            if value.is_null() {
                session.remove(parameter);
            } else {
                session.insert(parameter.clone(), value.clone());
            }
        }
    }
    assert!(left.is_empty(), "no intent leads to {left:?}");
    // What is done is not asked for again, nor taken for what is asked next.
    let done = ["pin", "choice", "date", "time", "cancel"];
    assert!(
        done.iter().all(|parameter| !session.contains_key(*parameter)),
        "{session:?}"
    );
}

#[tokio::test]
async fn what_dialogflow_makes_of_each_training_phrase_is_answered_by_its_handler() {
    let (bot, _rates) = bot().await;
    let mut contexts: BTreeMap<String, Value> = BTreeMap::new();
    let mut played = 0;
    for intent in intents() {
        let name = intent["name"].as_str().unwrap();
        for needed in list(&intent["contexts"]) {
            let id = needed.as_str().unwrap();
            assert!(
                contexts.contains_key(id),
                "{name} needs the context {id}, which no handler keeps"
            );
        }
        for (lang, phrase) in ["en", "de"]
            .into_iter()
            .flat_map(|lang| phrases(&intent, lang).into_iter().map(move |phrase| (lang, phrase)))
        {
            let words: String = list(&phrase)
                .iter()
                .map(|part| part["text"].as_str().unwrap())
                .collect();
            let parameters = parameters(&intent, &phrase, lang);
            for context in contexts.values_mut() {
                for (parameter, value) in &parameters {
                    context["parameters"][parameter] = value.clone();
                }
            }
            let turn = json!({
                "session": SESSION,
                "queryResult": {
                    "queryText": words,
                    "languageCode": lang,
                    "intent": {"displayName": name, "isFallback": intent["fallbackIntent"]},
                    "parameters": parameters,
                    "allRequiredParamsPresent": true,
                    "outputContexts": contexts.values().collect::<Vec<_>>(),
                },
            });
            let label = if intent["fallbackIntent"] == true {
                "(fallback)"
            } else {
                name
            };
            let before = replies(&bot, label).await;
            let reply = bot.turn(&turn).await;
            assert_eq!(replies(&bot, label).await, before + 1, "{name}: {words}: {reply}");
            for context in list(&reply["outputContexts"]) {
                let id = context["name"].as_str().unwrap().rsplit('/').next().unwrap();
                if context["lifespanCount"] != 0 {
                    contexts.insert(id.to_owned(), context.clone());
                }
            }
            played += 1;
        }
    }
    assert!(played > 150, "only {played} phrases were played");
}
