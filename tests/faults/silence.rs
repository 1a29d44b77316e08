//! Connections to the database that fall silent, and what stands before it that is not to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rejoinder::Clock;
use rejoinder::postgres::{ConnectSettings, Database, SILENCE};

use crate::claims;
use crate::proxy::Proxy;
use crate::sender::{Senders, Sent};
use crate::site::{SECRET, Site, eventually};

/// How long the database may be silent in this test.
const LIMIT: Duration = Duration::from_secs(2);

/// Within which all is applied again: the database itself holds for 15 s what a connection has locked that is silent in
/// the middle of a transaction, and as long again what another one has that was waiting for it.
const BOUND: Duration = Duration::from_secs(45);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_fall_silent_hold_events_up_for_a_while_and_not_for_ever() {
    let site = Site::start().await;
    let proxy = Proxy::to(&site.sockets()).await;
    let bot = site.bot(proxy.options(), |settings| settings.silence = LIMIT).await;
    let senders = Arc::new(Senders::by(bot.clock().clone(), SECRET));
    senders.aim([bot.url("")]);
    let entities: Vec<String> = (0..8).map(|entity| format!("entity {entity}")).collect();
    site.follow(&entities).await;
    let mut sending = tokio::task::JoinSet::new();
    for entity in &entities {
        let (senders, entity) = (Arc::clone(&senders), entity.clone());
        sending.spawn(async move { senders.step_on(&entity, 30).await });
    }
    // More often than a pool has connections, were one lost each time.
    for _ in 0..3 {
        let wanted = senders.acknowledged().len() + 50;
        eventually("events are acknowledged", async || {
            senders.acknowledged().len() >= wanted
        })
        .await;
        proxy.fall_silent();
        let began = Instant::now();
        let last = "marker/".to_owned() + &wanted.to_string();
        senders
            .deliver(&Sent::new(
                last.clone(),
                "step.taken",
                &last,
                &serde_json::json!({"n": 1}),
            ))
            .await;
        let applied = format!(
            "select count(*) from rejoinder.facts where scope = 'entity' and subject = '{last}' and name = 'last'"
        );
        while site.number(&applied).await == 0 {
            assert!(began.elapsed() < BOUND, "still not applied: {}", site.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        println!("applied again {:?} after the silence began", began.elapsed());
        eventually("turns have a connection", async || {
            sqlx::query("select 1").execute(bot.pool()).await.is_ok()
        })
        .await;
        let ready = bot.http().get(bot.url("/readyz")).send().await.unwrap().status();
        assert_eq!(ready, 200);
    }
    senders.end();
    sending.join_all().await;
    claims::hold(&site, &senders).await;
    bot.stop().await;
}

#[tokio::test]
async fn pooler_that_drops_the_settings_of_connections_is_refused() {
    let site = Site::start().await;
    let connect = async |proxy: Proxy| {
        Database::connect(ConnectSettings {
            primary: proxy.options(),
            replica: None,
            pool_size: 1,
            events_pool_size: 2,
            patience: SILENCE,
            silence: SILENCE,
            clock: Clock::system(),
        })
        .await
    };
    connect(Proxy::to(&site.sockets()).await).await.unwrap();
    let refused = connect(Proxy::pooling(&site.sockets()).await).await.unwrap_err();
    let text = format!("{refused:#}");
    assert!(text.contains("found a pooler") && text.contains("PgBouncer"), "{text}");
}
