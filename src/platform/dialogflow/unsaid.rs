//! What an API has no word for: told in the log once for each intent, as each of its turns would say the same.

use std::sync::LazyLock;

use moka::sync::Cache;
use tracing::warn;

use crate::reply::{Merge, Reply};
use crate::turn::{Api, Turn};

/// How many of these lines are remembered, so that they are not written again.
const REMEMBERED: u64 = 1_000;

/// Tells of the parts of `reply`, its messages aside, that the turn's API has no word for.
pub(super) fn parts(turn: &Turn, reply: &Reply) {
    let Reply {
        messages: _,
        payload: _,
        contexts: _,
        broken: _,
        source,
        entities,
        ends,
        hand_off,
        session_parameters,
        slots,
        form,
        target,
        merge,
        response_type,
    } = reply;
    let only_cx = [
        // To delete a parameter where there are none leaves nothing out.
        (
            session_parameters.values().any(|value| !value.is_null()),
            "session parameters",
        ),
        (!form.is_empty(), "parameters of a form"),
        (target.is_some(), "the page or flow to go to"),
        (*merge == Merge::Replace, "replacing what the agent has queued"),
        (response_type.is_some(), "the type of the response"),
    ];
    let not_v2 = [
        (*ends, "the end of the conversation"),
        (hand_off.is_some(), "the hand-off to a person"),
    ];
    let metadata = hand_off.as_ref().is_some_and(|metadata| !metadata.is_empty());
    let not_v2beta1 = [(metadata, "the metadata of the hand-off")];
    let not_cx = [
        (source.is_some(), "the source"),
        (!entities.is_empty(), "session entities"),
        (!slots.is_empty(), "slots"),
        (
            response_type.is_some() && !turn.takes_response_type,
            "the type of the response",
        ),
    ];
    let parts: &[&[(bool, &'static str)]] = match turn.api {
        Api::EsV2 => &[&only_cx, &not_v2],
        Api::EsV2beta1 => &[&only_cx, &not_v2beta1],
        Api::CxV3 => &[&not_cx],
    };
    for (_, part) in parts.iter().copied().flatten().filter(|(is_there, _)| *is_there) {
        tell(turn, part);
    }
}

/// Tells of one part.
pub(super) fn tell(turn: &Turn, part: &'static str) {
    static TOLD: LazyLock<Cache<(Api, String, &'static str), ()>> = LazyLock::new(|| Cache::new(REMEMBERED));
    if TOLD
        .entry((turn.api, turn.name().to_owned(), part))
        .or_insert(())
        .is_fresh()
    {
        warn!(
            api = turn.api.name(),
            intent.name = turn.name(),
            part,
            "left out of the reply: the API has no word for it"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use rstest::rstest;
    use serde_json::{Value, json};

    use crate::platform::{EsApi, decode, encode};
    use crate::reply::{Answer, FollowUp, FormReply, FormState, Message, Reply, ResponseType, SessionEntity, Target};

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is logged when `answer` goes out twice to the intent `name`.
    fn logged(name: &str, api: &str, answer: impl Into<Answer>) -> String {
        let mut body = match api {
            "v3" => json!({
                "sessionInfo": {"session": "projects/p/locations/l/agents/a/sessions/s"},
                "intentInfo": {"displayName": name},
            }),
            _ => json!({"session": "projects/p/agent/sessions/s", "queryResult": {"intent": {"displayName": name}}}),
        };
        if api == "v2beta1" {
            body["alternativeQueryResults"] = Value::from("");
        }
        let turn = decode(body.to_string().as_bytes(), EsApi::Auto).unwrap();
        let answer = answer.into();
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            encode(&turn, &answer);
            encode(&turn, &answer);
        });
        String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
    }

    fn whole() -> Reply {
        let target = "projects/p/locations/l/agents/a/flows/f/pages/p";
        Reply::text("hello")
            .and(Message::KnowledgeInfoCard)
            .and(Message::ToolCall(Default::default()))
            .source("shop")
            .session_entity(SessionEntity {
                name: "store".into(),
                replaces: true,
                entries: vec![("Graz".into(), vec![])],
            })
            .end()
            .hand_off([("queue".to_owned(), json!("gold"))].into_iter().collect())
            .set("size", "L")
            .form(FormReply {
                name: "size".into(),
                state: FormState::Invalid,
                required: None,
                value: None,
            })
            .go_to(Target::Page(target.into()))
            .replace_queued()
            .response_type(ResponseType::EntryPrompt)
    }

    #[rstest]
    #[case("v2", &["session parameters", "parameters of a form", "the page or flow to go to", "replacing what the agent has queued",
        "the type of the response", "the end of the conversation", "the hand-off to a person", "knowledgeInfoCard", "toolCall"])]
    #[case("v2beta1", &["session parameters", "parameters of a form", "the page or flow to go to", "replacing what the agent has queued",
        "the type of the response", "the metadata of the hand-off", "knowledgeInfoCard", "toolCall"])]
    #[case("v3", &["the source", "session entities", "the type of the response", "toolCall"])]
    fn what_an_api_has_no_word_for_is_told_once(#[case] api: &str, #[case] parts: &[&str]) {
        let logged = logged("told once", api, whole());
        let told: Vec<&str> = logged
            .lines()
            .filter(|line| line.contains("has no word for it"))
            .collect();
        assert_eq!(told.len(), parts.len(), "{logged}");
        for part in parts {
            let lines = told.iter().filter(|line| line.contains(&format!("part=\"{part}\"")));
            assert_eq!(lines.count(), 1, "{part} in {logged}");
        }
    }

    #[test]
    fn nothing_is_told_where_nothing_is_left_out() {
        let everywhere = || Reply::text("hello").set("pin", Value::Null);
        for api in ["v2", "v2beta1", "v3"] {
            assert_eq!(logged("nothing left out", api, everywhere()), "");
        }
        assert_eq!(logged("follow up", "v2", FollowUp::event("BOOK")), "");
        assert!(logged("follow up", "v3", FollowUp::event("BOOK")).contains("FollowUp::or_go_to"));
    }
}
