//! That nothing of a forgotten user is left, and all of the others.

use serde_json::json;

use super::{Stage, ada, notify};
use crate::conversation::recipient::Recipient;
use crate::forget::{Forgotten, STEPS, forget};
use crate::progress::Progress;
use crate::reactions::effects::Effect;
use crate::reactions::effects::remember::Remember;

const SECRET: &str = "Lovelace Street 1";

/// How many rows of any table have the secret, or the user's id, in them.
async fn traces(stage: &Stage, sought: &str) -> Vec<String> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select table_name::text from information_schema.tables
         where table_schema = 'rejoinder' and table_name not like '\\_%' order by 1",
    )
    .fetch_all(stage.pool())
    .await
    .unwrap();
    let mut found = Vec::new();
    for table in tables {
        let sql = format!("select count(*) from rejoinder.{table} t where t::text like '%' || $1 || '%'");
        let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .bind(sought)
            .fetch_one(stage.pool())
            .await
            .unwrap();
        if count > 0 {
            found.push(table);
        }
    }
    found
}

#[tokio::test]
async fn nothing_of_a_forgotten_user_is_left() {
    let stage = Stage::set().await.with_ada().await;
    stage
        .sql(
            "select rejoinder.create_event_segment('2026-09-21');
             select rejoinder.append_events(array[12, 12, 3]::smallint[], array['s','s','s'], array['e1','e2','e3'],
                 array['t','t','t'], array['10042','10042','bob'], array['ada', null, 'bob'], array[1,1,1],
                 array_fill('2026-09-21T12:00:00Z'::timestamptz, array[3]),
                 array['{\"to\":\"Lovelace Street 1\"}', '{\"to\":\"Lovelace Street 1\"}', '{\"to\":\"Bob Road\"}'],
                 array[null, null, null]::text[], '2026-09-21T12:00:00Z', '2026-09-14T12:00:00Z');
             insert into rejoinder.event_outcomes values (1, '2026-09-21T12:00:00Z', now(), '[\"Lovelace Street 1\"]');
             insert into rejoinder.dead_letters values (2, 12, '10042', now(), 's', 'e2', 't', '{\"to\":\"Lovelace Street 1\"}', 5,
                 'no such street: Lovelace Street 1', now());
             insert into rejoinder.quarantined_events values (gen_random_uuid(), 's', 'e9', 't',
                 '{\"user_id\":\"ada\",\"payload\":{\"to\":\"Lovelace Street 1\"}}', '[]', now(), now());
             insert into rejoinder.event_joins (rule, key, partition, seen, state, deadline, changed_at) values
                 ('r', '10042', 12,
                 '{\"t\":{\"position\":1,\"payload\":{\"to\":\"Lovelace Street 1\"}},\"u\":{\"position\":3,\"payload\":{\"to\":\"Bob Road\"}}}',
                 'open', now(), now());
             insert into rejoinder.late_replies (key, body, expires_at, session) values
                 (decode(repeat('00', 32), 'hex'), 'to Lovelace Street 1', now(), 'projects/p/agent/sessions/ada');
             insert into rejoinder.turn_answers (key, body, expires_at, session) values
                 (decode(repeat('00', 32), 'hex'), 'to Lovelace Street 1', now(), 'projects/p/agent/sessions/ada');
             insert into rejoinder.chat_messages values (1, gen_random_uuid(), 'projects/p/agent/sessions/ada', 'orders',
                 'sent to Lovelace Street 1', 'e1', now());
             insert into rejoinder.preferences (user_id) values ('ada');
             insert into rejoinder.follows values ('10042', 'ada', now()), ('bob', 'bob', now())",
        )
        .await;
    let remember = |about| {
        Effect::Remember(Remember {
            about,
            name: "to".to_owned(),
            value: json!(SECRET),
            is_made_of_memory: false,
        })
    };
    // The second names no user: it leads to one by the message.
    stage
        .apply(
            1,
            &[remember(ada()), remember(Recipient::Session(super::SESSION.to_owned()))],
        )
        .await;
    stage
        .apply(
            2,
            &[
                remember(Recipient::Entity("10042".to_owned())),
                notify(ada(), "chat", SECRET),
            ],
        )
        .await;
    let mut unsaid = Progress::unsaid(STEPS, "steps");
    let erased = forget(&stage.database, "ada", "an operator", stage.clock.now(), &mut unsaid)
        .await
        .unwrap();
    assert_eq!(
        erased,
        Forgotten {
            facts: 3,
            follows: 1,
            subscriptions: 1,
            preferences: 1,
            conversations: 1,
            gotos: 0,
            messages: 1,
            chat_messages: 1,
            replies: 2,
            events: 2,
            outcomes: 1,
            dead_letters: 1,
            quarantined: 1,
            joins: 1,
        }
    );
    assert_eq!(traces(&stage, SECRET).await, [""; 0]);
    assert_eq!(traces(&stage, "Lovelace").await, [""; 0]);
    assert_eq!(traces(&stage, "sessions/ada").await, [""; 0]);
    assert_eq!(
        stage.outbox().await,
        [("suppressed".to_owned(), Some("forgotten".to_owned()))]
    );
    // Bob's is as it was.
    let bobs = traces(&stage, "Bob Road").await;
    assert_eq!(bobs, ["event_joins", "event_log", "event_log_20260921"]);
    let again = forget(&stage.database, "ada", "an operator", stage.clock.now(), &mut unsaid)
        .await
        .unwrap();
    assert_eq!(again, Forgotten::default());
    assert_eq!(
        stage
            .count("select count(*) from rejoinder.event_audit where action = 'forget'")
            .await,
        2
    );
}
