//! `rejoinder events replay`: old events through the rules of today.

use std::process::Stdio;

use chrono::TimeDelta;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rejoinder::testing::TestBot;
use serde_json::{Value, json};
use sqlx::ConnectOptions as _;

use super::command::{Ran, run, run_in};
use super::directory::Directory;
use super::shop::{self, count, messages, shipped, status_of};
use crate::serve::rejoinder;
use crate::support::eventually;

async fn replay(bot: &TestBot, directory: &Directory, further: &[&str]) -> Ran {
    let (from, to) = (
        bot.clock().now() - TimeDelta::days(1),
        bot.clock().now() + TimeDelta::days(1),
    );
    let (from, to) = (from.to_rfc3339(), to.to_rfc3339());
    let arguments = [&["events", "replay", "--from", &from, "--to", &to], further].concat();
    run_in(bot, directory.path(), &arguments).await
}

/// What a replay must not touch when it is dry.
async fn everything(bot: &TestBot) -> Vec<i64> {
    let mut rows = Vec::new();
    for table in [
        "event_log",
        "event_outcomes",
        "facts",
        "outbox",
        "chat_messages",
        "event_joins",
        "event_audit",
        "gotos",
    ] {
        rows.push(count(bot, &format!("rejoinder.{table}")).await);
    }
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_rule_applies_to_old_events_dry_first_and_sends_nothing_twice() {
    let directory = Directory::copied();
    let bot = shop::open_with(|settings| directory.set(settings)).await;
    assert_eq!(bot.send("order.shipped", "10042", shipped("1Z")).await.0, 202);
    bot.events_applied().await;
    assert_eq!(messages(&bot).await.len(), 1);
    directory.write(
        "reactions/express.toml",
        "on = ['order.shipped']\n[[do]]\nremember = { name = 'status', value = 'by express' }\n[[do]]\n\
         notify = { topic = 'orders', text = 'It was express' }\n",
    );
    // The service must not learn of the rule: only the command does.
    let before = everything(&bot).await;
    let ran = replay(&bot, &directory, &["--dry-run"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    for told in [
        "order.shipped 10042",
        "\n  now     express\n            remember entity 10042: status = \"by express\"\n            \
         notify followers 10042 (orders, chat): It was express\n",
        "1 events would be applied again, 1 differ",
    ] {
        assert!(ran.out.contains(told), "{told} is not in\n{}", ran.out);
    }
    assert_eq!(everything(&bot).await, before);
    assert_eq!(status_of(&bot, "10042").await, "shipped 1Z");

    let ran = replay(&bot, &directory, &["--json"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let replayed: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(replayed["events"], 1);
    // The command went by the machine's clock, which has gone on.
    bot.clock().advance(TimeDelta::minutes(1));
    bot.events_applied().await;
    assert_eq!(
        messages(&bot).await,
        ["Your order #10042 has shipped", "It was express"]
    );
    let again = replay(&bot, &directory, &[]).await;
    assert!(again.out.contains("1 events applied again, 0 differ"), "{again:?}");
    bot.clock().advance(TimeDelta::minutes(1));
    bot.events_applied().await;
    assert_eq!(messages(&bot).await.len(), 2);
    let audit = run(&bot, &["audit"]).await.out;
    assert!(audit.contains("replay") && audit.contains("ada"), "{audit}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newer_facts_stay_and_joins_do_not_act_again() {
    let directory = Directory::copied();
    let bot = shop::open_with(|settings| directory.set(settings)).await;
    for number in ["old", "new"] {
        bot.send("order.shipped", "10042", shipped(number)).await;
        bot.clock().advance(TimeDelta::minutes(1));
    }
    for (event_type, payload) in [
        ("payment.confirmed", json!({"amount": 3})),
        ("inventory.reserved", json!({})),
    ] {
        bot.send(event_type, "10041", payload).await;
    }
    bot.events_applied().await;
    let sent = messages(&bot).await;
    let dry = replay(&bot, &directory, &["--dry-run"]).await;
    assert!(dry.out.contains("would be applied again, 0 differ"), "{}", dry.out);
    let ran = replay(&bot, &directory, &[]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    bot.clock().advance(TimeDelta::minutes(1));
    bot.events_applied().await;
    assert_eq!(status_of(&bot, "10042").await, "shipped new");
    assert_eq!(shop::times_confirmed(&bot, "10041").await, 1);
    assert_eq!(messages(&bot).await, sent);
    assert_eq!(
        count(&bot, "rejoinder.event_log where event_type = 'order.confirmed'").await,
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_events_of_the_range_and_type_are_replayed() {
    let directory = Directory::copied();
    let bot = shop::open_with(|settings| directory.set(settings)).await;
    bot.send("order.shipped", "10042", shipped("1Z")).await;
    bot.send("payment.failed", "10042", json!({"reason": "no"})).await;
    bot.events_applied().await;
    let ran = replay(&bot, &directory, &["--type", "payment.failed", "--dry-run"]).await;
    assert!(ran.out.contains("1 events would be applied again, 0 differ"), "{ran:?}");
    let ran = run(
        &bot,
        &["events", "replay", "--from", "2020-01-01", "--to", "2020-02-01"],
    )
    .await;
    assert!(ran.out.contains("0 events applied again"), "{ran:?}");
    let ran = run(&bot, &["events", "replay", "--from", "yesterday", "--to", "2020-02-01"]).await;
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("expected a date such as"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_time_out_has_done_is_no_difference_of_the_event_that_waited() {
    let directory = Directory::copied();
    let bot = shop::open_with(|settings| directory.set(settings)).await;
    assert_eq!(bot.send("inventory.reserved", "10042", json!({})).await.0, 202);
    bot.events_applied().await;
    bot.clock().advance(TimeDelta::minutes(16));
    bot.events_applied().await;
    assert_eq!(messages(&bot).await, ["Your order #10042 is delayed"]);
    let ran = replay(&bot, &directory, &["--type", "inventory.reserved", "--dry-run"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.out.contains("1 events would be applied again, 0 differ"),
        "{}",
        ran.out
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interrupted_replay_says_where_it_stands_is_audited_and_goes_on_there() {
    const EVENTS: i64 = 250;
    let directory = Directory::copied();
    let bot = shop::open_with(|settings| directory.set(settings)).await;
    for n in 0..EVENTS {
        bot.send("order.shipped", "10042", shipped(&n.to_string())).await;
    }
    bot.events_applied().await;
    directory.write(
        "reactions/express.toml",
        "on = ['order.shipped']\n[[do]]\nremember = { name = 'express', value = 'yes' }\n",
    );
    let (from, to) = (
        bot.clock().now() - TimeDelta::days(1),
        bot.clock().now() + TimeDelta::days(1),
    );
    let (from, to) = (from.to_rfc3339(), to.to_rfc3339());
    let mut held = bot.pool().begin().await.unwrap();
    sqlx::query("lock table rejoinder.event_outcomes in share mode")
        .execute(&mut *held)
        .await
        .unwrap();
    let mut command = rejoinder();
    command
        .env("DATABASE_URL", bot.database().to_url_lossy().as_str())
        .env("USER", "ada")
        .env("EVENTS_DIR", directory.path())
        .args(["events", "replay", "--from", &from, "--to", &to])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let running = command.spawn().unwrap();
    eventually("the replay is at its first events", async || {
        count(
            &bot,
            "pg_stat_activity where wait_event_type = 'Lock' and query like 'insert into rejoinder.event_outcomes%'",
        )
        .await
            == 1
    })
    .await;
    kill(Pid::from_raw(i32::try_from(running.id()).unwrap()), Signal::SIGINT).unwrap();
    held.commit().await.unwrap();
    let output = tokio::task::spawn_blocking(move || running.wait_with_output().unwrap())
        .await
        .unwrap();
    let (out, err) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert_eq!(output.status.code(), Some(130), "{err}");
    // What was found on the way has been printed.
    assert_eq!(
        out.matches("remember entity 10042: express = \"yes\"").count(),
        100,
        "{out}"
    );
    assert!(out.ends_with("100 events applied again, 100 differ\n"), "{out}");
    let place = err.rsplit_once("--resume ").unwrap().1.split(' ').next().unwrap();
    let audit = run(&bot, &["audit"]).await.out;
    assert!(
        audit.contains(&format!("interrupted at {place}, 100 events done")),
        "{audit}"
    );

    let ran = replay(&bot, &directory, &["--resume", place, "--json"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let replayed: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(replayed["events"], EVENTS - 100);
    assert_eq!(replayed["differences"].as_array().unwrap().len(), 150);
    assert_eq!(replayed["resume"], Value::Null);
    let wrong = replay(&bot, &directory, &["--resume", "32/1"]).await;
    assert_eq!(wrong.code, 2);
    assert!(
        wrong.err.contains("expected the place that a replay has printed"),
        "{wrong:?}"
    );
}
