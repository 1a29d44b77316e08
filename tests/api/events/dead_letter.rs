//! Dead letters: what fails five times is kept, mended and applied, or discarded with a reason.

use chrono::TimeDelta;
use rejoinder::testing::TestBot;
use serde_json::{Value, json};

use super::command::{run, run_in};
use super::directory::Directory;
use super::shop::{self, count, status_of, times_confirmed};

/// Pays an order that does not exist: the second event of it cannot be applied.
async fn pay_nothing(bot: &TestBot, order: &str) {
    bot.send("inventory.reserved", order, json!({})).await;
    let payment = json!({"event_id": format!("pay-{order}"), "event_type": "payment.confirmed", "timestamp": bot.clock().now(),
        "entity_id": order, "schema_version": 1, "payload": {"amount": 99.5}});
    assert_eq!(bot.post_event("generic", &payment).await.0, 202);
    bot.events_applied().await;
}

/// Lets the time of all tries pass.
async fn give_up(bot: &TestBot) {
    for _ in 0..4 {
        bot.clock().advance(TimeDelta::seconds(9));
        bot.events_applied().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_that_fails_five_times_is_listed_mended_and_redriven() {
    let bot = shop::open().await;
    pay_nothing(&bot, "77001").await;
    for tries in 1..=4 {
        let parked: i32 = sqlx::query_scalar("select attempts from rejoinder.parked_events")
            .fetch_one(bot.pool())
            .await
            .unwrap();
        assert_eq!(parked, tries);
        bot.clock().advance(TimeDelta::seconds(9));
        bot.events_applied().await;
    }
    let ran = run(&bot, &["events", "dead"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    for told in [
        "pay-77001",
        "payment.confirmed",
        "there is no order 77001",
        "99.5",
        "tried 5 times",
    ] {
        assert!(ran.out.contains(told), "{told} is not in {}", ran.out);
    }
    let ran = run(&bot, &["events", "dead", "--json"]).await;
    let letters: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(letters[0]["payload"], json!({"amount": 99.5}));
    assert_eq!(letters[0]["attempts"], 5);
    assert_eq!(letters[0]["error"], "action confirm_order: there is no order 77001");

    sqlx::query("insert into orders (id, status) values ('77001', 'placed')")
        .execute(bot.pool())
        .await
        .unwrap();
    let ran = run(&bot, &["events", "redrive", "pay-77001"]).await;
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (0, "1 given back to the workers\n"),
        "{}",
        ran.err
    );
    bot.clock().advance(TimeDelta::minutes(1));
    bot.events_applied().await;
    assert_eq!(times_confirmed(&bot, "77001").await, 1);
    assert_eq!(status_of(&bot, "77001").await, "confirmed -");
    assert_eq!(
        count(&bot, "rejoinder.dead_letters").await + count(&bot, "rejoinder.parked_events").await,
        0
    );
    let audit = run(&bot, &["audit"]).await.out;
    for told in ["rejoinder", "dead", "there is no order 77001", "ada", "redrive"] {
        assert!(audit.contains(told), "{told} is not in {audit}");
    }
    let again = run(&bot, &["events", "redrive", "pay-77001"]).await;
    assert_eq!(again.code, 2);
    assert!(again.err.contains("\"pay-77001\" is no dead letter"), "{}", again.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redriven_event_is_counted_and_sets_nothing_back_which_is_told() {
    let directory = Directory::copied()
        .with(
            "reactions/a_counter.toml",
            "on = ['order.shipped']\n[[do]]\nremember = { name = 'count', value = '{{ (memory.count or 0) + 1 }}' }\n\
             [[do]]\nremember = { name = 'trace', value = '{{ (memory.trace or []) + [payload.tracking_number] }}' }\n",
        )
        .with(
            "reactions/poisoned.toml",
            "on = ['order.shipped']\nwhen = 'payload.tracking_number == \"bad\"'\n[[do]]\n\
             remember = { name = 'x', value = '{{ memory.mended + 1 }}' }\n",
        );
    let bot = shop::open_with(|settings| directory.set(settings)).await;
    let mut bad = bot.envelope("order.shipped", "10042", &json!({"tracking_number": "bad"}));
    bad["event_id"] = json!("the-bad-one");
    bot.send("order.shipped", "10042", json!({"tracking_number": "one"}))
        .await;
    assert_eq!(bot.post_event("generic", &bad).await.0, 202);
    bot.send("order.shipped", "10042", json!({"tracking_number": "two"}))
        .await;
    bot.events_applied().await;
    give_up(&bot).await;
    let fact = async |name: &str| -> Value {
        sqlx::query_scalar("select value from rejoinder.facts where subject = '10042' and name = $1")
            .bind(name)
            .fetch_one(bot.pool())
            .await
            .unwrap()
    };
    assert_eq!(
        (fact("count").await, fact("trace").await),
        (json!(2), json!(["one", "two"]))
    );
    sqlx::query("insert into rejoinder.facts values ('entity', '10042', 'mended', '0', null, now())")
        .execute(bot.pool())
        .await
        .unwrap();
    let ran = run(&bot, &["events", "redrive", "the-bad-one"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.out.contains("1 of them find facts that later events have set"),
        "{}",
        ran.out
    );
    bot.clock().advance(TimeDelta::minutes(1));
    bot.events_applied().await;
    assert_eq!(fact("count").await, json!(3));
    assert_eq!(fact("trace").await, json!(["one", "two", "bad"]));
    assert_eq!(fact("x").await, json!(1));
    assert_eq!(status_of(&bot, "10042").await, "shipped two");
    let explained = run(&bot, &["events", "explain", "the-bad-one"]).await.out;
    assert!(
        explained.contains("entity 10042: tracking_number not written, a later event has set it"),
        "{explained}"
    );
    assert!(!explained.contains("count not written"), "{explained}");

    // Again, it changes nothing.
    let (from, to) = (
        bot.clock().now() - TimeDelta::days(1),
        bot.clock().now() + TimeDelta::days(1),
    );
    let (from, to) = (from.to_rfc3339(), to.to_rfc3339());
    let replayed = run_in(
        &bot,
        directory.path(),
        &["events", "replay", "--from", &from, "--to", &to],
    )
    .await;
    assert_eq!(replayed.code, 0, "{replayed:?}");
    assert_eq!(status_of(&bot, "10042").await, "shipped two");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_dead_letters_are_full_an_event_stays_parked_until_there_is_room() {
    let bot = shop::open().await;
    sqlx::query(
        "insert into rejoinder.dead_letters (position, partition, entity_id, received_at, source, event_id, event_type, attempts,
             error, died_at)
         select -n, 0, 'old', now(), 'generic', 'old-' || n, 'order.shipped', 5, 'no', now()
         from generate_series(1, 10000) n",
    )
    .execute(bot.pool())
    .await
    .unwrap();
    pay_nothing(&bot, "77003").await;
    give_up(&bot).await;
    assert_eq!(count(&bot, "rejoinder.dead_letters").await, 10_000);
    assert_eq!(count(&bot, "rejoinder.parked_events").await, 1);
    let discarded = run(&bot, &["events", "discard", "--all", "--reason", "an old mistake"]).await;
    assert_eq!(
        (discarded.code, discarded.out.as_str()),
        (0, "10000 discarded\n"),
        "{}",
        discarded.err
    );
    bot.clock().advance(TimeDelta::seconds(17));
    bot.events_applied().await;
    assert_eq!(count(&bot, "rejoinder.parked_events").await, 0);
    let letters: Value = serde_json::from_str(&run(&bot, &["events", "dead", "--json"]).await.out).unwrap();
    assert_eq!(letters[0]["event_id"], "pay-77003");
    assert_eq!(letters[0]["attempts"], 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letter_is_discarded_only_with_a_reason_and_the_audit_keeps_it() {
    let bot = shop::open().await;
    pay_nothing(&bot, "77002").await;
    give_up(&bot).await;
    for arguments in [
        &["events", "discard", "pay-77002"][..],
        &["events", "discard", "pay-77002", "--reason", " "],
        &["events", "discard", "--reason", "no id"],
    ] {
        assert_eq!(run(&bot, arguments).await.code, 2, "{arguments:?}");
    }
    assert_eq!(count(&bot, "rejoinder.dead_letters").await, 1);
    let ran = run(&bot, &["events", "discard", "pay-77002", "--reason", "a test order"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "1 discarded\n"), "{}", ran.err);
    assert_eq!(run(&bot, &["events", "dead"]).await.out, "no dead letters\n");
    let audit: Value = serde_json::from_str(&run(&bot, &["audit", "--json"]).await.out).unwrap();
    assert_eq!(audit[0]["action"], "discard");
    assert_eq!(audit[0]["actor"], "ada");
    assert_eq!(audit[0]["detail"], "a test order");
    assert_eq!(audit[1]["action"], "dead");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failing_event_holds_up_its_entity_in_order_and_nothing_else() {
    let bot = shop::open().await;
    // Both of partition 12: asserted below.
    let neighbour = "10042";
    let order = (0..)
        .map(|n| format!("x{n}"))
        .find(|name| same_partition(name, neighbour))
        .unwrap();
    pay_nothing(&bot, &order).await;
    bot.send("order.shipped", &order, json!({"tracking_number": "first"}))
        .await;
    bot.send("order.shipped", &order, json!({"tracking_number": "second"}))
        .await;
    bot.send("order.shipped", neighbour, json!({"tracking_number": "other"}))
        .await;
    bot.events_applied().await;
    let partitions: i64 = sqlx::query_scalar("select count(distinct partition) from rejoinder.event_log")
        .fetch_one(bot.pool())
        .await
        .unwrap();
    assert_eq!(partitions, 1);
    assert_eq!(status_of(&bot, neighbour).await, "shipped other");
    assert_eq!(status_of(&bot, &order).await, "- -");
    assert_eq!(count(&bot, "rejoinder.parked_events").await, 3);
    give_up(&bot).await;
    assert_eq!(status_of(&bot, &order).await, "shipped second");
    assert_eq!(count(&bot, "rejoinder.parked_events").await, 0);
    let order_of_work: Vec<i64> = sqlx::query_scalar(
        "select o.position from rejoinder.event_outcomes o join rejoinder.event_log l using (position)
         where l.entity_id = $1 and l.event_type = 'order.shipped' order by o.ctid",
    )
    .bind(&order)
    .fetch_all(bot.pool())
    .await
    .unwrap();
    assert!(
        order_of_work.is_sorted() && order_of_work.len() == 2,
        "{order_of_work:?}"
    );
}

fn same_partition(one: &str, other: &str) -> bool {
    use sha2::{Digest as _, Sha256};
    let of = |entity: &str| Sha256::digest(entity)[0] % 32;
    of(one) == of(other)
}
