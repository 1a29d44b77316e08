//! Sentences, and what agents take them for. The sample agents are read as they are; no intent of theirs is named.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Map, Value, json};

use super::*;

const SESSION: &str = "projects/p/agent/sessions/s";

/// A Saturday, in Berlin at 13:30.
fn now() -> DateTime<Utc> {
    "2026-11-28T12:30:00Z".parse().unwrap()
}

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("agents/es")
}

/// A conversation in which these contexts are active.
fn talk(contexts: Value) -> Talk {
    let contexts = contexts.as_object().cloned().unwrap().into_iter();
    let contexts: Vec<Value> = contexts
        .map(|(id, parameters)| {
            json!({"name": format!("{SESSION}/contexts/{id}"), "lifespanCount": 5, "parameters": parameters})
        })
        .collect();
    let mut talk = Talk::begin(SESSION);
    talk.keep(&json!({ "outputContexts": contexts })).unwrap();
    talk
}

/// An agent of a tea shop.
fn tea() -> Spoken {
    let dir = tempfile::tempdir().unwrap();
    for name in ["intents", "entities"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    let file = |name: &str, content: Value| fs::write(dir.path().join(name), content.to_string()).unwrap();
    let slot = |text: &str, alias: &str| json!({"text": text, "alias": alias});
    let word = |text: &str| json!({"text": text});
    let parameter = |name: &str, kind: &str, more: Value| {
        let mut parameter = json!({"name": name, "dataType": kind, "value": format!("${name}")});
        parameter
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().cloned().unwrap());
        parameter
    };
    let asks = |text: &str| json!({"required": true, "prompts": [{"lang": "en", "value": text}]});
    file(
        "agent.json",
        json!({"language": "en", "supportedLanguages": ["pt-br"], "defaultTimezone": "Europe/Berlin"}),
    );
    file("entities/tea.json", json!({"name": "tea"}));
    file(
        "entities/tea_entries_en.json",
        json!([{"value": "green", "synonyms": ["green tea", "Sencha"]}, {"value": "black", "synonyms": ["black tea", "tea"]}]),
    );
    file(
        "intents/Order.json",
        json!({"name": "Order", "webhookUsed": true, "responses": [{
            "action": "tea.order",
            "affectedContexts": [{"name": "ordered", "lifespan": 3}],
            "parameters": [
                parameter("tea", "@tea", asks("Which tea?")),
                parameter("cups", "@sys.number-integer", json!({"defaultValue": "1"})),
                parameter("when", "@sys.time", json!({})),
                parameter("name", "@sys.any", json!({"required": true, "defaultValue": "#guest.name",
                    "prompts": [{"lang": "en", "value": "For whom?"}]})),
                parameter("notes", "@sys.any", json!({"isList": true})),
            ],
        }]}),
    );
    file(
        "intents/Order_usersays_en.json",
        json!([
            {"data": [word("I would like "), slot("green tea", "tea")]},
            {"data": [word("bring me "), slot("2", "cups"), word(" cups of "), slot("tea", "tea")]},
            {"data": [word("an order in the name of "), slot("Ada Lovelace", "name")]},
        ]),
    );
    file(
        "intents/Once more.json",
        json!({"name": "Once more", "webhookUsed": true, "contexts": ["ordered"], "responses": [{}]}),
    );
    file(
        "intents/Once more_usersays_en.json",
        json!([{"data": [word("the same again")]}]),
    );
    file(
        "intents/Hours.json",
        json!({"name": "Hours", "events": [{"name": "HOURS"}], "responses": [{"messages": [
            {"lang": "en", "speech": ["We are open all day."]},
            {"lang": "pt-br", "speech": "Sempre."},
        ]}]}),
    );
    file(
        "intents/Hours_usersays_en.json",
        json!([{"data": [word("when are you open?")]}]),
    );
    file(
        "intents/Lost.json",
        json!({"name": "Lost", "webhookUsed": true, "fallbackIntent": true, "responses": [{"action": "input.unknown"}]}),
    );
    Spoken::read(dir.path(), "en-GB").unwrap()
}

fn turn(understood: Understood) -> Taken {
    let Understood::Turn(taken) = understood else {
        panic!("found {understood:?}, expected a turn");
    };
    taken
}

fn asked(understood: Understood) -> Open {
    let Understood::Asks(open) = understood else {
        panic!("found {understood:?}, expected a question");
    };
    open
}

#[rstest]
fn training_phrase_of_a_sample_agent_leads_to_its_intent_and_fills_what_it_has(#[values("en", "de")] language: &str) {
    let agent = Spoken::read(&sample(), language).unwrap();
    let mut tried = 0;
    for intent in &agent.intents {
        let contexts = intent.contexts.iter().map(|id| (id.clone(), json!({})));
        let talk = talk(contexts.collect::<Map<String, Value>>().into());
        let suffix = format!("{}_usersays_{language}.json", intent.name);
        let file = sample().join("intents").join(suffix);
        let Ok(phrases) = fs::read(file) else { continue };
        for phrase in serde_json::from_slice::<Vec<Value>>(&phrases).unwrap() {
            let pieces = phrase["data"].as_array().unwrap();
            let text: String = pieces.iter().filter_map(|piece| piece["text"].as_str()).collect();
            let (name, found) = match agent.understand(&text, &talk, None, now()) {
                Understood::Turn(taken) => (taken.intent, taken.parameters),
                Understood::Asks(open) => (open.name, open.found),
                other @ (Understood::Own(_) | Understood::Nothing) => panic!("{text}: {other:?}"),
            };
            assert_eq!(name, intent.name, "{text}");
            for alias in pieces.iter().filter_map(|piece| piece["alias"].as_str()) {
                assert!(
                    found.get(alias).is_some_and(|value| *value != ""),
                    "{text}: {alias} in {found:?}"
                );
            }
            tried += 1;
        }
    }
    assert!(tried > 60, "{tried} phrases");
}

#[rstest]
#[case::same("I would like green tea", "green", 1)]
#[case::another_entry("I would like Sencha", "green", 1)]
#[case::more_words("hello, I would like some green tea please", "green", 1)]
#[case::slips("I wuold like green tea", "green", 1)]
#[case::the_longest_entry("bring me 3 cups of black tea", "black", 3)]
#[case::number_by_name("bring me two cups of Sencha!", "green", 2)]
#[case::what_the_phrase_has_not("I would like 4 green tea", "green", 4)]
fn sentence_like_a_phrase_is_taken_for_its_intent(#[case] text: &str, #[case] tea: &str, #[case] cups: u64) {
    let taken = turn(self::tea().understand(text, &talk(json!({"guest": {"name": "Ada"}})), None, now()));
    assert_eq!((taken.intent.as_str(), taken.action.as_str()), ("Order", "tea.order"));
    assert_eq!(taken.sets, [("ordered".to_owned(), 3)]);
    let cups = if cups == 1 { json!("1") } else { json!(cups) };
    assert_eq!(
        Value::Object(taken.parameters),
        json!({"tea": tea, "cups": cups, "when": "", "name": "Ada", "notes": []})
    );
}

#[test]
fn what_is_like_no_phrase_is_the_fallbacks() {
    for text in ["where is the station", "tea", "?", "", "open"] {
        let taken = turn(tea().understand(text, &talk(json!({})), None, now()));
        assert!(
            taken.is_fallback && taken.action == "input.unknown" && taken.text == text,
            "{taken:?}"
        );
    }
}

#[test]
fn intent_with_an_input_context_waits_for_it() {
    let taken = turn(tea().understand("the same again", &talk(json!({})), None, now()));
    assert!(taken.is_fallback);
    let taken = turn(tea().understand("the same again", &talk(json!({"ordered": {}})), None, now()));
    assert_eq!(taken.intent, "Once more");
}

#[test]
fn missing_parameter_is_asked_for_and_the_next_line_answers_it() {
    let agent = tea();
    let talk = talk(json!({}));
    let open = asked(agent.understand("bring me 2 cups of", &talk, None, now()));
    assert_eq!((open.parameter.as_str(), open.prompt.as_str()), ("tea", "Which tea?"));
    // What answers nothing and is like no intent has it asked again.
    let open = asked(agent.understand("well, let me see", &talk, Some(open), now()));
    assert_eq!(open.parameter, "tea");
    let open = asked(agent.understand("Sencha, please", &talk, Some(open), now()));
    assert_eq!((open.parameter.as_str(), open.prompt.as_str()), ("name", "For whom?"));
    let taken = turn(agent.understand("for Ada  Lovelace.", &talk, Some(open), now()));
    assert_eq!(
        Value::Object(taken.parameters),
        json!({"tea": "green", "cups": 2, "when": "", "name": "for Ada  Lovelace", "notes": []})
    );
}

#[test]
fn question_is_dropped_where_another_sentence_follows() {
    let agent = tea();
    let open = asked(agent.understand("bring me 2 cups of", &talk(json!({})), None, now()));
    let understood = agent.understand("when are you open", &talk(json!({})), Some(open), now());
    assert!(matches!(understood, Understood::Own(taken) if taken.own_text == "We are open all day."));
}

#[test]
fn words_as_they_were_said_fill_what_takes_any() {
    let open = asked(tea().understand("an order in the name of Grace Hopper", &talk(json!({})), None, now()));
    assert_eq!(
        (open.parameter.as_str(), &open.found["name"]),
        ("tea", &json!("Grace Hopper"))
    );
}

#[test]
fn event_leads_to_the_intent_that_has_it() {
    let agent = tea();
    assert!(matches!(
        agent.on_event("HOURS", &Map::new(), &talk(json!({}))),
        Some(Understood::Own(_))
    ));
    assert!(agent.on_event("hours", &Map::new(), &talk(json!({}))).is_none());
}

#[test]
fn turn_by_name_has_all_parameters_of_the_intent() {
    let parameters = json!({"cups": 5}).as_object().cloned().unwrap();
    let taken = tea().named("Order", parameters);
    assert_eq!(
        Value::Object(taken.parameters),
        json!({"tea": "", "cups": 5, "when": "", "name": "", "notes": []})
    );
    assert_eq!(tea().named("Other", Map::new()).action, "");
}

#[rstest]
#[case(Kind::Number, "en", "1,299.95", json!(1299.95))]
#[case(Kind::Number, "de", "1.299,95", json!(1299.95))]
#[case(Kind::Integer, "en", "#10043.", json!(10043))]
#[case(Kind::Integer, "de", "zwölf", json!(12))]
#[case(Kind::Integer, "en", "1.5", Value::Null)]
#[case(Kind::Integer, "en", "1,2", Value::Null)]
#[case(Kind::Sequence, "en", "0012", json!("0012"))]
#[case(Kind::Ordinal, "en", "2nd", json!(2))]
#[case(Kind::Ordinal, "en", "2", Value::Null)]
#[case(Kind::Ordinal, "de", "dritten", json!(3))]
#[case(Kind::Date, "en", "tomorrow", json!("2026-11-29T12:00:00+01:00"))]
#[case(Kind::Date, "en", "on Saturday", json!("2026-12-05T12:00:00+01:00"))]
#[case(Kind::Date, "en", "January 9", json!("2027-01-09T12:00:00+01:00"))]
#[case(Kind::Date, "en", "the 9th of July 2027", json!("2027-07-09T12:00:00+02:00"))]
#[case(Kind::Date, "de", "am 9. Januar", json!("2027-01-09T12:00:00+01:00"))]
#[case(Kind::Date, "de", "31.12.2026", json!("2026-12-31T12:00:00+01:00"))]
#[case(Kind::Date, "en", "2026-12-24", json!("2026-12-24T12:00:00+01:00"))]
#[case(Kind::Date, "en", "February 30", Value::Null)]
#[case(Kind::Time, "en", "at 2 pm", json!("2026-11-28T14:00:00+01:00"))]
#[case(Kind::Time, "en", "12am", json!("2026-11-28T00:00:00+01:00"))]
#[case(Kind::Time, "en", "10:30 pm", json!("2026-11-28T22:30:00+01:00"))]
#[case(Kind::Time, "de", "um 14 Uhr 30", json!("2026-11-28T14:30:00+01:00"))]
#[case(Kind::Time, "de", "22:00", json!("2026-11-28T22:00:00+01:00"))]
#[case(Kind::Time, "en", "13 pm", Value::Null)]
#[case(Kind::Time, "en", "10", Value::Null)]
#[case(Kind::DateTime, "en", "on Monday at 10 am", json!({"date_time": "2026-11-30T10:00:00+01:00"}))]
#[case(Kind::DateTime, "de", "um 9 Uhr morgen", json!({"date_time": "2026-11-29T09:00:00+01:00"}))]
#[case(Kind::DateTime, "en", "today", json!("2026-11-28T12:00:00+01:00"))]
#[case(Kind::Currency, "de", "Pfund", json!("GBP"))]
#[case(Kind::Currency, "en", "all", Value::Null)]
#[case(Kind::Money, "en", "$100", json!({"amount": 100, "currency": "USD"}))]
#[case(Kind::Money, "de", "99,50 €", json!({"amount": 99.5, "currency": "EUR"}))]
#[case(Kind::Email, "en", "Ada@Example.com", json!("ada@example.com"))]
#[case(Kind::Email, "en", "ada", Value::Null)]
fn words_are_resolved_as_dialogflow_writes_values(
    #[case] kind: Kind,
    #[case] language: &str,
    #[case] said: &str,
    #[case] expected: Value,
) {
    let reader = Reader {
        lang: Lang::new(language),
        now: now().with_timezone(&Tz::Europe__Berlin),
        is_answer: false,
    };
    let words = words::words(said);
    let read = kind.read(&words, &reader);
    match read {
        Some((length, value)) => assert_eq!((length, value), (words.len(), expected)),
        None => assert_eq!(Value::Null, expected),
    }
}

#[test]
fn answer_may_be_a_bare_figure() {
    let reader = Reader {
        lang: Lang::new("en"),
        now: now().with_timezone(&Tz::Europe__Berlin),
        is_answer: true,
    };
    let read = |kind: Kind, text| kind.read(&words::words(text), &reader).map(|(_, value)| value);
    assert_eq!(read(Kind::Time, "10"), Some(json!("2026-11-28T10:00:00+01:00")));
    assert_eq!(read(Kind::Ordinal, "2"), Some(json!(2)));
}

#[rstest]
#[case(&sample(), "fr", "agent.json: found no language \"fr\", expected one of en, de")]
#[case(&sample().with_file_name("cx"), "en", "agent.json: found an agent of Dialogflow CX, expected one of ES")]
fn agent_that_cannot_be_talked_to_is_told(#[case] dir: &Path, #[case] language: &str, #[case] said: &str) {
    let error = Spoken::read(dir, language).unwrap_err().to_string();
    assert!(error.contains(said), "{error}");
}

proptest! {
    #[test]
    fn any_sentence_is_taken_for_the_same_each_time_and_by_a_score_from_0_to_1(text in "\\PC{0,60}") {
        let agent = tea();
        let talk = talk(json!({"ordered": {}, "guest": {"name": "Ada"}}));
        let understand = || format!("{:?}", agent.understand(&text, &talk, None, now()));
        prop_assert_eq!(understand(), understand());
        let reader = agent.reader(now(), false);
        let sentence = Sentence::new(&text, &agent.weights, &reader);
        for intent in &agent.intents {
            let slots: Vec<_> = intent.parameters.iter().map(|one| (one.alias.as_str(), &one.kind)).collect();
            for phrase in &intent.phrases {
                let score = sentence.like(phrase, &slots, &agent.weights).score;
                prop_assert!((0.0..=1.0 + 1e-9).contains(&score), "{score}");
            }
        }
    }
}
