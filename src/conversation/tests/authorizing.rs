//! Messages and calls that bear a token of the receiver's issuer.

use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;
use wiremock::matchers::{header, header_exists, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{Stage, ada, eventually, notify};
use crate::breakers::Breakers;
use crate::client_credentials::ClientCredentials;
use crate::clock::Clock;
use crate::conversation::Sender;
use crate::conversation::outbox::HttpCall;
use crate::reactions::effects::Effect;
use crate::reactions::effects::call::Call;
use crate::rulebook::Rulebook;
use crate::source::Surroundings;

/// `PATH` is there wherever tests run, and serves as a secret as well as any.
const SECRET: &str = "PATH";

impl Stage {
    /// A sender that runs until the set is dropped; `channel` is the file of channel `crm`.
    fn sends(&self, running: &mut JoinSet<()>, channel: Option<&str>) {
        let dir = tempfile::tempdir().unwrap();
        if let Some(text) = channel {
            std::fs::create_dir(dir.path().join("channels")).unwrap();
            std::fs::write(dir.path().join("channels/crm.toml"), text).unwrap();
        }
        let surroundings = Surroundings::new(Clock::system()).unwrap();
        let rulebook = Rulebook::load(dir.path(), &[], &surroundings).unwrap();
        let channels = Arc::new(rulebook).channels();
        let sender = Sender::new(Arc::clone(&self.conversation), channels, Breakers::default()).unwrap();
        running.spawn(sender.run());
    }

    async fn became(&self) -> (String, i32) {
        sqlx::query_as("select state, attempts from rejoinder.outbox order by position limit 1")
            .fetch_one(self.pool())
            .await
            .unwrap()
    }
}

/// Gives the token `t1` first, and `t2` from then on.
async fn issuer() -> MockServer {
    let server = MockServer::start().await;
    for (name, priority) in [("t1", 1), ("t2", 2)] {
        let answer = json!({"access_token": name, "token_type": "Bearer", "expires_in": 3600});
        let mock = Mock::given(path("/token")).respond_with(ResponseTemplate::new(200).set_body_json(answer));
        let mock = if priority == 1 { mock.up_to_n_times(1) } else { mock };
        mock.with_priority(priority).mount(&server).await;
    }
    server
}

/// Takes the token `taken` only.
async fn receiver(taken: &str) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(header("authorization", format!("Bearer {taken}").as_str()))
        .and(header_exists("webhook-id"))
        .respond_with(ResponseTemplate::new(204))
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(401))
        .with_priority(9)
        .mount(&server)
        .await;
    server
}

fn call(url: &str, issuer: &MockServer, allow_private: bool) -> Effect {
    Effect::Call(Call(HttpCall {
        method: "POST".to_owned(),
        url: url.to_owned(),
        headers: [("authorization".to_owned(), "of the rule".to_owned())].into(),
        body: json!({"order": "10042"}),
        secret_env: None,
        oauth: Some(ClientCredentials::new(
            &format!("{}/token", issuer.uri()),
            "shop",
            SECRET,
        )),
        allow_private,
    }))
}

async fn received(server: &MockServer) -> usize {
    server.received_requests().await.unwrap().len()
}

#[tokio::test]
async fn call_bears_a_token_that_is_fetched_once() {
    let (stage, issuer, crm) = (Stage::set().await, issuer().await, receiver("t1").await);
    let one = call(&crm.uri(), &issuer, true);
    stage.apply(1, &[one.clone(), one.clone(), one]).await;
    let mut running = JoinSet::new();
    stage.sends(&mut running, None);
    let sent = "select count(*) from rejoinder.outbox where state = 'sent'";
    eventually("they are sent", async || stage.count(sent).await == 3).await;
    assert_eq!((received(&issuer).await, received(&crm).await), (1, 3));
}

#[tokio::test]
async fn call_whose_token_is_refused_is_sent_at_once_with_a_new_one() {
    let (stage, issuer, crm) = (Stage::set().await, issuer().await, receiver("t2").await);
    stage.apply(1, &[call(&crm.uri(), &issuer, true)]).await;
    let mut running = JoinSet::new();
    stage.sends(&mut running, None);
    eventually("it is sent", async || stage.became().await.0 == "sent").await;
    assert_eq!(stage.became().await, ("sent".to_owned(), 1));
    assert_eq!((received(&issuer).await, received(&crm).await), (2, 2));
    let requests = crm.received_requests().await.unwrap();
    assert_eq!(requests[0].headers["webhook-id"], requests[1].headers["webhook-id"]);
}

#[tokio::test]
async fn call_that_is_refused_with_any_token_is_tried_again_later() {
    let (stage, issuer, crm) = (Stage::set().await, issuer().await, receiver("none").await);
    stage.apply(1, &[call(&crm.uri(), &issuer, true)]).await;
    let mut running = JoinSet::new();
    stage.sends(&mut running, None);
    let waits = "select count(*) from rejoinder.outbox where attempts = 1 and due_at < '2026-09-21T12:00:59Z'
        and due_at > '2026-09-21T12:00:00Z'";
    eventually("it waits", async || stage.count(waits).await == 1).await;
    assert_eq!(received(&crm).await, 2);
}

#[tokio::test]
async fn token_is_had_from_no_private_address_where_none_may_be_called() {
    let (stage, issuer) = (Stage::set().await, issuer().await);
    // The call's own address is public, and is not reached.
    stage
        .apply(1, &[call("https://crm.example/orders", &issuer, false)])
        .await;
    let mut running = JoinSet::new();
    stage.sends(&mut running, None);
    let waits = "select count(*) from rejoinder.outbox where attempts = 1 and due_at < '2026-09-21T12:00:59Z'
        and due_at > '2026-09-21T12:00:00Z'";
    eventually("it waits", async || stage.count(waits).await == 1).await;
    assert_eq!(received(&issuer).await, 0);
}

#[tokio::test]
async fn channels_messages_bear_a_token_and_need_no_signature() {
    let stage = Stage::set().await.with_ada().await;
    let (issuer, crm) = (issuer().await, receiver("t1").await);
    stage.apply(1, &[notify(ada(), "crm", "shipped")]).await;
    let mut running = JoinSet::new();
    let file = format!(
        "url = '{}'\noauth = {{ token_url = '{}/token', client_id = 'shop', client_secret = '{SECRET}', scopes = ['a', 'b'] }}\n\
         allow_private = true\n",
        crm.uri(),
        issuer.uri()
    );
    stage.sends(&mut running, Some(&file));
    eventually("it is sent", async || stage.became().await.0 == "sent").await;
    let requests = crm.received_requests().await.unwrap();
    assert!(!requests[0].headers.contains_key("webhook-signature"));
    let asked = issuer.received_requests().await.unwrap();
    assert_eq!(asked[0].body, b"grant_type=client_credentials&scope=a+b");
}
