//! A bot that answers every turn as the test says, and shows the turn it saw.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use rejoinder::testing::TestBot;
use rejoinder::{Answer, Bot, Data, Fail, Raw, Reply, Turn};
use serde_json::{Value, json};

use super::strict;

/// The names of the four ES and two CX session shapes.
pub(crate) const ES_SESSIONS: [&str; 4] = [
    "projects/my-shop-12ab/agent/sessions/0c5e-42:detectIntent",
    "projects/my-shop-12ab/agent/environments/draft/users/u-1/sessions/s-1",
    "projects/my-shop-12ab/locations/europe-west2/agent/sessions/s-1",
    "projects/my-shop-12ab/locations/us/agent/environments/prod/users/-/sessions/s-1",
];
pub(crate) const CX_SESSIONS: [&str; 2] = [
    "projects/my-shop-12ab/locations/global/agents/a-1/sessions/s-1",
    "projects/my-shop-12ab/locations/global/agents/a-1/environments/-/sessions/s-1",
];

/// The page that CX turns of the tests are on.
pub(crate) const PAGE: &str = "projects/my-shop-12ab/locations/global/agents/a-1/flows/f-1/pages/p-1";

/// The API that a turn is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    V2,
    V2beta1,
    V3,
}

impl Spoken {
    pub(crate) const ALL: [Self; 3] = [Self::V2, Self::V2beta1, Self::V3];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V2beta1 => "v2beta1",
            Self::V3 => "v3",
        }
    }

    /// A plain turn.
    pub(crate) fn turn(self) -> Value {
        match self {
            Self::V2 => es_turn(ES_SESSIONS[0]),
            Self::V2beta1 => {
                let mut turn = es_turn(ES_SESSIONS[1]);
                turn["alternativeQueryResults"] = json!([{"queryText": "hallo"}]);
                turn
            }
            Self::V3 => {
                let mut turn = cx_turn(CX_SESSIONS[0]);
                turn["messages"] = json!([{"text": {"text": ["hello"]}, "responseType": "HANDLER_PROMPT"}]);
                turn
            }
        }
    }
}

pub(crate) fn es_turn(session: &str) -> Value {
    json!({
        "session": session,
        "queryResult": {
            "queryText": "hello",
            "languageCode": "en",
            "parameters": {},
            "intent": {"name": "projects/p/agent/intents/1", "displayName": "Anything"},
        },
    })
}

pub(crate) fn cx_turn(session: &str) -> Value {
    json!({
        "text": "hello",
        "languageCode": "en",
        "fulfillmentInfo": {"tag": "anything"},
        "pageInfo": {"currentPage": PAGE},
        "sessionInfo": {"session": session, "parameters": {}},
    })
}

pub(crate) struct Stage {
    pub(crate) bot: TestBot,
    play: Play,
    asked: AtomicU32,
}

#[derive(Clone)]
struct Play(Arc<Mutex<Scene>>);

struct Scene {
    answer: Answer,
    seen: Option<(Arc<Turn>, Value)>,
}

async fn on_stage(turn: Arc<Turn>, Raw(raw): Raw, play: Data<Play>) -> Result<Answer, Fail> {
    let mut scene = play.0.lock().unwrap();
    scene.seen = Some((turn, raw));
    Ok(scene.answer.clone())
}

impl Stage {
    pub(crate) async fn start() -> Self {
        let play = Play(Arc::new(Mutex::new(Scene {
            answer: Reply::text("hello").into(),
            seen: None,
        })));
        let bot = Bot::new().data(play.clone()).fallback(on_stage).slot_filling();
        Self {
            bot: TestBot::start(bot).await,
            play,
            asked: AtomicU32::new(0),
        }
    }

    /// The reply as it is sent for a plain turn of `api`; checked against the rules of that API.
    pub(crate) async fn says(&self, api: Spoken, answer: impl Into<Answer>) -> Value {
        self.answers(api, &api.turn(), answer).await
    }

    /// The reply to `turn`.
    pub(crate) async fn answers(&self, api: Spoken, turn: &Value, answer: impl Into<Answer>) -> Value {
        self.play.0.lock().unwrap().answer = answer.into();
        // The same turn again would be given the same reply.
        let mut turn = turn.clone();
        let words = json!(self.asked.fetch_add(1, Ordering::Relaxed).to_string());
        match api {
            Spoken::V2 | Spoken::V2beta1 => turn["queryResult"]["queryText"] = words,
            Spoken::V3 => turn["text"] = words,
        }
        let request = self
            .bot
            .http()
            .post(self.bot.url("/fulfillment"))
            .header("content-type", "application/json");
        let response = request.body(turn.to_string()).send().await.unwrap();
        let status = response.status();
        let body = response.bytes().await.unwrap();
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        keep_for_the_oracle(api.name(), &body);
        // Nothing tells that v3beta1 does not speak here.
        if api == Spoken::V3 && turn.get("messages").is_none() {
            keep_for_the_oracle("v3beta1", &body);
        }
        let reply = serde_json::from_slice(&body).unwrap();
        let faults = strict::faults(api, &body, &reply);
        assert!(faults.is_empty(), "{faults:#?} in {reply}");
        reply
    }

    /// The turn that the handler gets from `body`, and its raw JSON.
    pub(crate) async fn sees(&self, body: impl ToString) -> (Arc<Turn>, Value) {
        self.play.0.lock().unwrap().seen = None;
        let (status, reply) = self.bot.post(body.to_string()).await;
        assert_eq!(status, 200, "{reply}");
        self.play.0.lock().unwrap().seen.take().unwrap()
    }
}

/// Writes the reply where `REJOINDER_ORACLE_DIR` says, one a line, for a judge that is not ours.
#[expect(
    clippy::disallowed_methods,
    reason = "told by the script that runs the tests, not a setting"
)]
fn keep_for_the_oracle(api: &str, body: &[u8]) {
    let Some(dir) = std::env::var_os("REJOINDER_ORACLE_DIR") else {
        return;
    };
    let path = PathBuf::from(dir).join(format!("{api}.jsonl"));
    let mut file = std::fs::File::options().append(true).create(true).open(path).unwrap();
    file.write_all(&[body, b"\n"].concat()).unwrap();
}
