//! Rules that change while the service runs, and `rejoinder events check`.

use sqlx::ConnectOptions as _;

use super::command::run_in;
use super::directory::Directory;
use super::shop::{self, shipped, status_of};
use crate::serve::Running;
use crate::support::eventually;

fn rule(text: &str) -> String {
    format!("on = ['order.shipped']\n[[do]]\nremember = {{ name = 'status', value = '{text}' }}\n")
}

/// A rule that is cut short in this line of its file.
fn broken_in(line: usize) -> String {
    "\n".repeat(line - 3) + "on = ['order.shipped']\n[[do]]\nremember = { nam"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_rule_is_in_force_without_a_restart_and_a_broken_one_changes_nothing() {
    let directory = Directory::copied();
    let bot = shop::open_with(|settings| settings.events.events_work = false).await;
    directory.write("reactions/order_shipped.toml", &rule("one"));
    let running = Running::start_logged(&[
        ("EVENTS_DIR", directory.path().to_str().unwrap()),
        ("DATABASE_URL", bot.database().to_url_lossy().as_str()),
        ("LOG_FORMAT", "json"),
    ]);
    let status = async || {
        assert_eq!(bot.send("order.shipped", "10042", shipped("1Z")).await.0, 202);
        bot.events_applied().await;
        status_of(&bot, "10042").await
    };
    assert_eq!(status().await, "one -");
    directory.write("reactions/order_shipped.toml", &rule("two by now"));
    eventually("the new rule is in force", async || status().await == "two by now -").await;
    // Once the second is told of, nothing more comes of the first.
    for line in [3, 4] {
        directory.write("reactions/order_shipped.toml", &broken_in(line));
        directory.write("reactions/another.toml", &rule("three"));
        eventually("the broken rule is told of", async || {
            running.log_so_far().contains(&format!("order_shipped.toml:{line}:"))
        })
        .await;
        assert_eq!(status().await, "two by now -");
    }
    directory.write(
        "reactions/order_shipped.toml",
        "on = ['order.delivered']\n[[do]]\nremember = { name = 'status', value = 'x' }\n",
    );
    eventually("the mended files are in force", async || status().await == "three -").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_rule_is_logged_with_file_line_and_column() {
    let directory = Directory::copied();
    let events = directory.path().to_str().unwrap().to_owned();
    let running = Running::start_logged(&[("EVENTS_DIR", &events)]);
    directory.write(
        "reactions/order_shipped.toml",
        "on = ['order.shipped']\n[[do]]\nremember = { name = 'status', value = '{{ payload.traking }}' }\n",
    );
    eventually("the place is in the log", async || {
        running.log_so_far().contains("order_shipped.toml:3:")
    })
    .await;
}

#[tokio::test]
async fn rule_whose_name_could_be_taken_for_another_things_is_refused() {
    let directory = Directory::copied();
    let bot = shop::open().await;
    directory.write("reactions/a (time-out).toml", &rule("x"));
    let ran = run_in(&bot, directory.path(), &["events", "check"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.out.contains("found the name \"a (time-out)\", expected"),
        "{}",
        ran.out
    );
}

#[tokio::test]
async fn check_tells_every_error_with_its_place_and_exit_code() {
    let directory = Directory::copied();
    let bot = shop::open().await;
    let ran = run_in(&bot, directory.path(), &["events", "check"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("all files are right"));
    directory.write("reactions/order_shipped.toml", &rule("{{ payload.traking }}"));
    directory.write("sources/broken.toml", "format = 'envelope'\nbogus = 1\n");
    directory.write("schemas/order.odd/1.json", "{\"type\": \"objekt\"}");
    let ran = run_in(&bot, directory.path(), &["events", "check"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    for place in [
        "reactions/order_shipped.toml:3:",
        "sources/broken.toml:2:1",
        "schemas/order.odd/1.json:1:",
    ] {
        assert!(ran.out.contains(place), "{place} is not in\n{}", ran.out);
    }
    let json = run_in(&bot, directory.path(), &["events", "check", "--json"]).await;
    assert_eq!(json.code, 1);
    assert!(serde_json::from_str::<Vec<serde_json::Value>>(&json.out).unwrap().len() >= 3);
}

#[tokio::test]
async fn check_refuses_a_type_that_no_sender_could_name() {
    let directory = Directory::copied();
    directory.write("schemas/Order.Odd/1.json", "{\"type\": \"object\"}");
    directory.write(
        "reactions/odd.toml",
        "on = ['Order.Odd']\n[[do]]\nremember = { name = 'odd', value = 1 }\n",
    );
    let bot = shop::open().await;
    let ran = run_in(&bot, directory.path(), &["events", "check"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    for told in [
        "schemas/Order.Odd: found the type \"Order.Odd\", expected lower-case words",
        "reactions/odd.toml:1:7: found event type \"Order.Odd\"",
    ] {
        assert!(ran.out.contains(told), "{told} is not in\n{}", ran.out);
    }
}
