//! The database goes away, and comes back.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use rejoinder::config::ProgramSettings;
use rejoinder::postgres::embedded::Embedded;
use rejoinder::testing::TestBot;
use rejoinder::{Bot, Db, Fail, Reply};
use serde_json::json;

use crate::support::{es, eventually, said};

async fn asks_the_database(db: Db) -> Result<Reply, Fail> {
    let one: i32 = sqlx::query_scalar("select 1").fetch_one(&*db).await?;
    Ok(Reply::text(format!("the database says {one}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn database_that_goes_away_is_answered_for_in_time_and_recovered_from() {
    let home = tempfile::tempdir().unwrap();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut postgres = Embedded::start(home.path(), &ProgramSettings::from_environment()).unwrap();
    let options = postgres.options();
    let bot = Bot::new().intent("Ask", asks_the_database);
    let bot = TestBot::start_with(bot, |settings| settings.database = Some(options)).await;
    let ready = async || {
        bot.http()
            .get(bot.url("/readyz"))
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(
        said(&bot.turn(&es("r0", "Ask", json!({}))).await),
        "the database says 1"
    );
    assert_eq!(ready().await, 200);

    tokio::task::block_in_place(|| postgres.stop());
    let asked = Instant::now();
    let reply = bot.turn(&es("r1", "Ask", json!({}))).await;
    assert!(!said(&reply).is_empty());
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "answered after {:?}",
        asked.elapsed()
    );
    eventually("not ready", async || ready().await == 503).await;
    let reply = bot.turn(&es("r2", "Ask", json!({"n": 2}))).await;
    assert!(said(&reply).starts_with("I cannot reach the information"), "{reply}");

    drop(postgres);
    let _postgres = Embedded::start(home.path(), &ProgramSettings::from_environment()).unwrap();
    eventually("ready again", async || ready().await == 200).await;
    let mut n = 2;
    eventually("answered from the database again", async || {
        n += 1;
        said(&bot.turn(&es(&format!("r{n}"), "Ask", json!({"n": n}))).await) == "the database says 1"
    })
    .await;
}
