//! Facts, and whether and when somebody is told.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::{Map, Value, json};
use sqlx::AssertSqlSafe;

use super::{SESSION, Stage, ada, applied_in, applied_to, logged, notify, read_of_outbox};
use crate::conversation::decision::{Decision, Refusal};
use crate::conversation::fact::FactScope;
use crate::conversation::goto::GotoKind;
use crate::conversation::outbox::HttpCall;
use crate::conversation::recipient::Recipient;
use crate::conversation::{chat, fact};
use crate::event::event_type::EventType;
use crate::event::id::Id;
use crate::reactions::effects::call::Call;
use crate::reactions::effects::emit::Emit;
use crate::reactions::effects::goto::Goto;
use crate::reactions::effects::remember::Remember;
use crate::reactions::effects::run::Run;
use crate::reactions::effects::{Done, Effect};

fn status(value: Value) -> Effect {
    Effect::Remember(Remember {
        about: Recipient::Entity("10042".to_owned()),
        name: "status".to_owned(),
        value,
        is_made_of_memory: false,
    })
}

fn state(state: &str, reason: Option<&str>) -> (String, Option<String>) {
    (state.to_owned(), reason.map(str::to_owned))
}

async fn known(stage: &Stage) -> Option<String> {
    let facts = fact::about(stage.pool(), FactScope::Entity, "10042").await.unwrap();
    facts.get("status")
}

#[tokio::test]
async fn event_that_is_applied_again_sets_no_newer_fact_back() {
    let stage = Stage::set().await;
    stage
        .apply(5, &[status(json!("placed")), status(json!("shipped"))])
        .await;
    assert_eq!(known(&stage).await.as_deref(), Some("shipped"));
    stage.apply(7, &[status(json!("delivered"))]).await;
    stage.apply(5, &[status(json!("shipped"))]).await;
    assert_eq!(known(&stage).await.as_deref(), Some("delivered"));
    stage.apply(9, &[status(Value::Null)]).await;
    stage.apply(7, &[status(json!("delivered"))]).await;
    assert_eq!(known(&stage).await, None);
}

#[tokio::test]
async fn what_came_of_each_effect_is_kept_at_its_place_in_the_form_that_old_outcomes_have() {
    let stage = Stage::set().await.with_ada().await;
    let effects = [
        Effect::Run(Run {
            name: "confirm".to_owned(),
        }),
        Effect::Call(Call(HttpCall {
            method: "POST".to_owned(),
            url: "https://example.com/".to_owned(),
            headers: BTreeMap::new(),
            body: json!({}),
            secret_env: None,
            oauth: None,
            allow_private: false,
        })),
        notify(ada(), "chat", "shipped"),
        Effect::Emit(Emit {
            event_type: EventType::stored("order.seen".to_owned()),
            entity_id: Id::stored("10042".to_owned()),
            schema_version: 1,
            payload: json!({}),
        }),
        Effect::Goto(Goto {
            to: ada(),
            kind: GotoKind::Context,
            name: "parcel".to_owned(),
            parameters: Map::new(),
        }),
        status(json!("shipped")),
    ];
    let done = stage.apply(1, &effects).await;
    let (Done::Call(call), Done::Notify(notified)) = (&done[1], &done[2]) else {
        panic!("{done:?}")
    };
    let (call, message) = (call.call, notified.messages[0].id);
    assert_eq!(
        serde_json::to_string(&done).unwrap(),
        format!(
            r#"["elsewhere",{{"call":"{call}"}},{{"messages":[{{"id":"{message}","channel":"chat","user_id":"ada","session":"{SESSION}","state":"pending"}}]}},"elsewhere",{{"gotos":["{SESSION}"]}},{{"facts":[{{"scope":"entity","subject":"10042","name":"status"}}]}}]"#
        )
    );
    assert_eq!(
        serde_json::to_string(&effects).unwrap(),
        r#"[{"action":"run","name":"confirm"},{"action":"call","method":"POST","url":"https://example.com/","body":{},"allow_private":false},{"action":"notify","to":{"user":"ada"},"topic":"orders","channel":"chat","text":"shipped"},{"action":"emit","event_type":"order.seen","entity_id":"10042","schema_version":1,"payload":{}},{"action":"goto","to":{"user":"ada"},"kind":"context","name":"parcel","parameters":{}},{"action":"remember","about":{"entity":"10042"},"name":"status","value":"shipped"}]"#
    );
}

#[tokio::test]
async fn fact_about_followers_is_set_for_each_user() {
    let stage = Stage::set().await;
    stage
        .sql("insert into rejoinder.follows (entity_id, user_id, followed_at) values ('10042', 'ada', now()), ('10042', 'bob', now())")
        .await;
    let effect = Effect::Remember(Remember {
        about: Recipient::Followers("10042".to_owned()),
        name: "waits".to_owned(),
        value: json!(true),
        is_made_of_memory: false,
    });
    let done = stage.apply(1, &[effect]).await;
    let Done::Remember(done) = &done[0] else {
        panic!("{done:?}")
    };
    assert_eq!(done.facts.len(), 2);
    for user in ["ada", "bob"] {
        let facts = fact::about(stage.pool(), FactScope::User, user).await.unwrap();
        assert_eq!(facts.get("waits"), Some(true));
        assert_eq!(facts.fact("waits").unwrap().position, Some(1));
    }
}

#[tokio::test]
async fn only_those_are_told_who_want_to_and_where_they_can_read_it() {
    let stage = Stage::set().await.with_ada().await;
    stage
        .sql(
            "insert into rejoinder.follows (entity_id, user_id, followed_at)
                 select '10042', u, now() from unnest(array['ada', 'bob', 'cleo', 'projects/p/agent/sessions/eve']) u;
             insert into rejoinder.subscriptions (user_id, topic, opted_in, set_at) values
                 ('bob', 'orders', false, now()), ('cleo', 'orders', true, now()),
                 ('projects/p/agent/sessions/eve', 'orders', true, now())",
        )
        .await;
    let to = Recipient::Followers("10042".to_owned());
    let done = stage.apply(1, &[notify(to, "chat", "shipped")]).await;
    let Done::Notify(done) = &done[0] else {
        panic!("{done:?}")
    };
    let said: Vec<_> = done
        .messages
        .iter()
        .map(|message| (message.user_id.as_str(), message.session.as_deref(), message.decision))
        .collect();
    let eve = "projects/p/agent/sessions/eve";
    let suppressed = |reason| Some(Decision::Suppress { reason });
    assert_eq!(
        said,
        [
            ("ada", Some(SESSION), Some(Decision::Send)),
            ("bob", None, suppressed(Refusal::NotOptedIn)),
            ("cleo", None, suppressed(Refusal::NoConversation)),
            (eve, Some(eve), Some(Decision::Send)),
        ]
    );
}

#[tokio::test]
async fn event_that_is_applied_twice_tells_once() {
    let stage = Stage::set().await.with_ada().await;
    let effects = [notify(ada(), "chat", "shipped"), notify(ada(), "crm", "shipped")];
    stage.apply(1, &effects).await;
    let done = stage.apply(1, &effects).await;
    let Done::Notify(done) = &done[0] else {
        panic!("{done:?}")
    };
    assert_eq!(done.messages[0].decision, None);
    assert_eq!(stage.outbox().await, [state("pending", None), state("pending", None)]);
}

#[tokio::test]
async fn more_in_an_hour_than_the_user_wants_is_not_sent() {
    let stage = Stage::set().await.with_ada().await;
    for position in 1..=4 {
        stage.apply(position, &[notify(ada(), "chat", "news")]).await;
    }
    let three = [state("pending", None), state("pending", None), state("pending", None)];
    let rate = state("suppressed", Some("rate"));
    assert_eq!(stage.outbox().await, [&three[..], std::slice::from_ref(&rate)].concat());
    stage.clock.advance(TimeDelta::minutes(61));
    stage.apply(5, &[notify(ada(), "chat", "news")]).await;
    stage
        .sql("insert into rejoinder.preferences (user_id, per_hour) values ('ada', 1)")
        .await;
    stage.apply(6, &[notify(ada(), "chat", "news")]).await;
    assert_eq!(stage.outbox().await[4..], [state("pending", None), rate]);
}

#[tokio::test]
async fn message_in_quiet_hours_is_sent_when_they_end() {
    let stage = Stage::set().await.with_ada().await;
    // It is 14:00 there.
    stage
        .sql("insert into rejoinder.preferences (user_id, time_zone, quiet_from, quiet_until) values ('ada', 'Europe/Berlin', '13:00', '15:30')")
        .await;
    stage.apply(1, &[notify(ada(), "chat", "shipped")]).await;
    assert_eq!(stage.outbox().await, [state("held", Some("quiet hours"))]);
    stage.clock.advance(TimeDelta::minutes(89));
    assert_eq!(chat::send(stage.pool(), stage.clock.now()).await.unwrap().0, 0);
    stage.clock.advance(TimeDelta::minutes(1));
    assert_eq!(chat::send(stage.pool(), stage.clock.now()).await.unwrap().0, 1);
    assert_eq!(stage.outbox().await[0].0, "sent");
}

#[tokio::test]
async fn messages_of_a_digest_are_sent_as_one() {
    let stage = Stage::set().await.with_ada().await;
    stage
        .sql("insert into rejoinder.preferences (user_id, digest_minutes) values ('ada', 30)")
        .await;
    // More than the rate allows: they are one message.
    for position in 1..=5 {
        stage
            .apply(position, &[notify(ada(), "chat", &format!("news {position}"))])
            .await;
        stage.clock.advance(TimeDelta::minutes(5));
    }
    assert_eq!(chat::send(stage.pool(), stage.clock.now()).await.unwrap().0, 0);
    stage.clock.advance(TimeDelta::minutes(5));
    assert_eq!(chat::send(stage.pool(), stage.clock.now()).await.unwrap().0, 1);
    let said = chat::after(stage.pool(), SESSION, 0, 10).await.unwrap();
    assert_eq!(said[0].text, "news 1\nnews 2\nnews 3\nnews 4\nnews 5");
    assert!(stage.outbox().await.iter().all(|(state, _)| state == "sent"));
    stage.apply(6, &[notify(ada(), "chat", "news 6")]).await;
    assert_eq!(stage.outbox().await[5], state("held", Some("digest")));
}

#[tokio::test]
async fn cost_of_a_notification_does_not_grow_with_what_was_decided_before() {
    for (preference, wanted) in [
        ("per_hour", state("pending", None)),
        ("digest_minutes", state("held", Some("digest"))),
    ] {
        let stage = Stage::set().await.with_ada().await;
        stage
            .sql(
                "insert into rejoinder.outbox (id, position, rule, channel, user_id, body, state, reason, due_at, created_at)
                     select gen_random_uuid(), n, 'r', 'chat', 'ada', '{}',
                         (array['sent', 'suppressed', 'suppressed'])[1 + n % 3], 'rate', t, t
                     from generate_series(1, 30000) n,
                         -- all of eight days, and what was suppressed in the last hour
                         lateral (select timestamptz '2026-09-21T12:00:00Z' - case n % 3
                             when 2 then interval '10 minutes' else n * interval '20 seconds' + interval '1 hour' end) s (t);
                 insert into rejoinder.outbox (id, position, rule, channel, user_id, body, state, reason, due_at, created_at)
                     select gen_random_uuid(), 40000 + n, 'r', 'chat', 'ada', '{}', 'held', 'digest',
                         '2026-09-21T12:20:00Z', '2026-09-21T10:50:00Z'
                     from generate_series(1, 1000) n",
            )
            .await;
        let prefer = format!("insert into rejoinder.preferences (user_id, {preference}) values ('ada', 30)");
        sqlx::query(AssertSqlSafe(prefer)).execute(stage.pool()).await.unwrap();
        let event = logged(50_000, stage.clock.now());
        let mut transaction = stage.pool().begin().await.unwrap();
        applied_in(
            &mut transaction,
            stage.clock.now(),
            &event,
            &[notify(ada(), "chat", "shipped")],
        )
        .await;
        let read = read_of_outbox(&mut transaction).await;
        transaction.commit().await.unwrap();
        assert!(read <= 10, "{read} rows were read for one message ({preference})");
        assert_eq!(stage.outbox().await.last(), Some(&wanted));
    }
}

#[tokio::test]
async fn event_at_a_position_that_another_had_is_told_apart() {
    let stage = Stage::set().await.with_ada().await;
    let effects = [notify(ada(), "chat", "shipped")];
    let mut event = logged(7, stage.clock.now());
    applied_to(stage.pool(), stage.clock.now(), &event, &effects).await;
    event.envelope.event_id = Id::stored("another".to_owned());
    let done = applied_to(stage.pool(), stage.clock.now(), &event, &effects).await;
    let Done::Notify(done) = &done[0] else {
        panic!("{done:?}")
    };
    assert_eq!(done.messages[0].decision, Some(Decision::Send));
    assert_eq!(stage.outbox().await.len(), 2);
}

#[tokio::test]
async fn event_that_was_applied_when_positions_were_names_is_known_by_its_position() {
    let stage = Stage::set().await.with_ada().await;
    let mut event = logged(7, stage.clock.now());
    event.is_named_by_position = true;
    applied_to(
        stage.pool(),
        stage.clock.now(),
        &event,
        &[notify(ada(), "chat", "shipped")],
    )
    .await;
    let id: String = sqlx::query_scalar("select id::text from rejoinder.outbox")
        .fetch_one(stage.pool())
        .await
        .unwrap();
    // Of position 7, the rule `a rule` and its action 0, as ids were made first.
    assert_eq!(id, "1eb6f179-bed7-516d-8d85-fc20fb960167");
}
