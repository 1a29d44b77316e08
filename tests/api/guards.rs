//! Who may come in at each door, from where and how often.

use chrono::TimeDelta;
use rejoinder::Bot;
use rejoinder::config::Door;
use rejoinder::testing::{TestBot, TestSettings};
use reqwest::{RequestBuilder, Response};
use rstest::rstest;
use serde_json::{Value, json};

use crate::events::command::ran_on;
use crate::events::shop;
use crate::serve::Running;
use crate::support::{Gate, es, eventually, numbered};

const TOKEN: &str = "the-token-of-all-doors";

fn counting() -> Bot {
    Bot::new().data(Gate::opened()).intent("Count", numbered)
}

/// A bot behind a proxy on this machine, so that a test can come from anywhere.
async fn behind_a_proxy(change: impl FnOnce(&mut TestSettings)) -> TestBot {
    TestBot::start_with(counting(), |settings| {
        settings.server.proxies.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        settings.doors.general.auth.auth_bearer = Some(TOKEN.into());
        change(settings);
    })
    .await
}

/// A turn, as the proxy passes it on for this client.
fn turn_of(bot: &TestBot, client: &str) -> RequestBuilder {
    let turn = es(&uuid::Uuid::new_v4().to_string(), "Count", json!({}));
    let post = bot.http().post(bot.url("/fulfillment")).json(&turn);
    post.header("x-forwarded-for", client)
}

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

async fn code(response: Response) -> String {
    let body: Value = response.json().await.unwrap();
    body["error"]["code"].as_str().unwrap().to_owned()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}

#[tokio::test]
async fn addresses_that_are_not_listed_are_refused_and_the_list_is_read_again() {
    let list = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        list.path(),
        "# the platform\n203.0.113.0/24\n2001:db8::/32 # and its other one\n",
    )
    .unwrap();
    let path = list.path().to_owned();
    let bot = behind_a_proxy(|settings| settings.doors.general.allow_from_file = Some(path)).await;
    for (client, expected) in [
        ("203.0.113.7", 200),
        ("2001:db8:1::7", 200),
        ("::ffff:203.0.113.7", 200),
        ("203.0.112.7", 403),
        ("2001:db9::1", 403),
        ("203.0.113.7, 198.51.100.1", 403),
        ("198.51.100.1, 203.0.113.7", 200),
    ] {
        assert_eq!(
            status(turn_of(&bot, client).bearer_auth(TOKEN)).await,
            expected,
            "{client}"
        );
    }
    let refused = turn_of(&bot, "198.51.100.1").bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(code(refused).await, "not_allowed");
    let metrics = bot.http().get(bot.url("/metrics")).bearer_auth(TOKEN);
    assert_eq!(status(metrics.header("x-forwarded-for", "198.51.100.1")).await, 403);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(
            status(bot.http().get(bot.url(path)).header("x-forwarded-for", "198.51.100.1")).await,
            200
        );
    }

    std::fs::write(list.path(), "198.51.100.1\n").unwrap();
    eventually("the new list is in force", async || {
        status(turn_of(&bot, "198.51.100.1").bearer_auth(TOKEN)).await == 200
    })
    .await;
    assert_eq!(status(turn_of(&bot, "203.0.113.7").bearer_auth(TOKEN)).await, 403);
}

#[tokio::test]
async fn client_that_is_no_proxy_cannot_say_where_it_comes_from() {
    let list = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(list.path(), "127.0.0.0/8\n").unwrap();
    let path = list.path().to_owned();
    let bot = TestBot::start_with(counting(), |settings| {
        settings.doors.general.allow_from_file = Some(path);
        settings.server.proxies.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    })
    .await;
    for (name, value) in [
        ("x-forwarded-for", "6.6.6.6"),
        ("forwarded", "for=6.6.6.6"),
        ("forwarded", "nonsense"),
    ] {
        let turn = es(&uuid::Uuid::new_v4().to_string(), "Count", json!({}));
        let post = bot.http().post(bot.url("/fulfillment")).json(&turn).header(name, value);
        assert_eq!(status(post).await, 200, "{name}: {value}");
    }
    let bot = behind_a_proxy(|_| {}).await;
    let both = turn_of(&bot, "203.0.113.7").header("forwarded", "for=127.0.0.1");
    let refused = both.bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(
        (refused.status().as_u16(), code(refused).await.as_str()),
        (400, "bad_forwarding")
    );
}

#[tokio::test]
async fn client_that_comes_too_often_is_told_when_to_come_again() {
    let bot = behind_a_proxy(|settings| settings.doors.general.rate_per_client = Some("3/m".parse().unwrap())).await;
    for _ in 0..3 {
        assert_eq!(status(turn_of(&bot, "2001:db8:1:1::1").bearer_auth(TOKEN)).await, 200);
    }
    let refused = turn_of(&bot, "2001:db8:1:1:ffff::2")
        .bearer_auth(TOKEN)
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), 429, "a network of 64 bits is one client");
    assert_eq!(header(&refused, "retry-after"), "20");
    assert_eq!(header(&refused, "ratelimit-policy"), "\"default\";q=3;w=60");
    assert_eq!(header(&refused, "ratelimit"), "\"default\";r=0;t=20");
    assert_eq!(code(refused).await, "too_many_requests");
    assert_eq!(status(turn_of(&bot, "2001:db8:1:2::1").bearer_auth(TOKEN)).await, 200);
    bot.clock().advance(TimeDelta::seconds(21));
    assert_eq!(status(turn_of(&bot, "2001:db8:1:1::1").bearer_auth(TOKEN)).await, 200);
    assert_eq!(status(turn_of(&bot, "2001:db8:1:1::1").bearer_auth(TOKEN)).await, 429);
}

#[tokio::test]
async fn caller_that_comes_too_often_is_refused_from_wherever_it_comes_and_others_are_not() {
    let bot = behind_a_proxy(|settings| {
        settings.doors.general.auth.auth_basic = Some("ada:a-password-of-hers\nbob:a-password-of-his".into());
        settings.doors.general.rate_per_caller = Some("2/h".parse().unwrap());
    })
    .await;
    let of = |client: &str, user: &str, password: &str| turn_of(&bot, client).basic_auth(user, Some(password));
    assert_eq!(status(of("203.0.113.1", "ada", "a-password-of-hers")).await, 200);
    assert_eq!(status(of("203.0.113.2", "ada", "a-password-of-hers")).await, 200);
    assert_eq!(status(of("203.0.113.3", "ada", "a-password-of-hers")).await, 429);
    assert_eq!(status(of("203.0.113.3", "bob", "a-password-of-his")).await, 200);
}

#[tokio::test]
async fn who_guesses_is_locked_out_and_holds_up_nobody_whose_credentials_were_right() {
    let bot = behind_a_proxy(|settings| {
        settings.doors.general.auth.auth_bearer = Some(format!("{TOKEN}\nanother-right-token").into());
    })
    .await;
    const CLOUD: &str = "203.0.113.7";
    let guess = async |client: &str| status(turn_of(&bot, client).bearer_auth("a-wrong-token")).await;
    assert_eq!(guess(CLOUD).await, 401);
    assert_eq!(status(turn_of(&bot, CLOUD).bearer_auth(TOKEN)).await, 200);
    for _ in 1..31 {
        assert_eq!(guess(CLOUD).await, 401);
    }
    let refused = turn_of(&bot, CLOUD).bearer_auth("a-wrong-token").send().await.unwrap();
    assert_eq!(header(&refused, "retry-after"), "2");
    assert_eq!(
        (refused.status().as_u16(), code(refused).await.as_str()),
        (429, "too_many_requests")
    );
    assert_eq!(
        status(turn_of(&bot, CLOUD).bearer_auth("another-right-token")).await,
        429,
        "a guess that is right is not told from one that is wrong"
    );
    assert_eq!(
        status(turn_of(&bot, CLOUD).bearer_auth(TOKEN)).await,
        200,
        "was here before"
    );
    assert_eq!(guess("203.0.113.8").await, 401, "another client");
    bot.clock().advance(TimeDelta::seconds(3));
    assert_eq!(
        status(turn_of(&bot, CLOUD).bearer_auth("another-right-token")).await,
        200
    );
}

#[tokio::test]
async fn wrong_signatures_of_events_count_as_wrong_credentials() {
    let bot = shop::open_with(|settings| {
        settings.server.proxies.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        settings.doors.general.rate_of_failures = Some("5/m".parse().unwrap());
    })
    .await;
    let forged = || {
        let post = bot.http().post(bot.url("/events/generic")).json(&json!({}));
        let post = post
            .header("webhook-id", "1")
            .header("webhook-timestamp", bot.clock().now().timestamp());
        post.header("webhook-signature", "v1,AAAA")
            .header("x-forwarded-for", "203.0.113.7")
    };
    for _ in 0..6 {
        assert_eq!(status(forged()).await, 401);
    }
    assert_eq!(status(forged()).await, 429);
    assert_eq!(
        bot.send("order.shipped", "10042", shop::shipped("1Z")).await.0,
        202,
        "others are let in"
    );
}

#[rstest]
#[case::turns(Door::Turns)]
#[case::events(Door::Events)]
#[case::stream(Door::Stream)]
#[case::operate(Door::Operate)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn door_that_has_callers_of_its_own_admits_no_others(#[case] own: Door) {
    let bot = shop::open_with(|settings| {
        let doors = &mut settings.doors;
        doors.general.auth.auth_bearer = Some(TOKEN.into());
        let mut of_its_own = doors.general.clone();
        of_its_own.auth.auth_bearer = Some("the-token-of-one-door".into());
        doors.own.insert(own, of_its_own);
    })
    .await;
    let turn = es("r1", "Order Status", json!({"order_number": "10042"}));
    let stream = bot.url("/conversations/projects/p/agent/sessions/s/stream");
    for (door, request) in [
        (Door::Turns, bot.http().post(bot.url("/fulfillment")).json(&turn)),
        (Door::Events, bot.http().get(bot.url("/events/catalogue"))),
        (Door::Stream, bot.http().get(stream)),
        (Door::Operate, bot.http().get(bot.url("/metrics"))),
    ] {
        let (right, wrong) = match door == own {
            true => ("the-token-of-one-door", TOKEN),
            false => (TOKEN, "the-token-of-one-door"),
        };
        let again = |token: &str| request.try_clone().unwrap().bearer_auth(token);
        assert_eq!(status(again(wrong)).await, 401, "{door:?}");
        assert_eq!(status(again(right)).await, 200, "{door:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doors_settings_stand_in_the_environment_with_its_name_in_front() {
    let running = Running::start_logged(&[
        ("AUTH_BEARER", TOKEN),
        ("OPERATE_AUTH_BASIC", "prometheus:a-password-to-scrape"),
        ("TURNS_RATE_PER_CLIENT", "2/h"),
        ("EVENTS_ALLOW_FROM_FILE", ""),
    ]);
    let http = reqwest::Client::builder().build().unwrap();
    let metrics = || http.get(format!("{}/metrics", running.url));
    assert_eq!(status(metrics().bearer_auth(TOKEN)).await, 401);
    assert_eq!(
        status(metrics().basic_auth("prometheus", Some("a-password-to-scrape"))).await,
        200
    );
    let turn = es("r1", "Nothing", json!({}));
    let post = || {
        http.post(format!("{}/fulfillment", running.url))
            .json(&turn)
            .bearer_auth(TOKEN)
    };
    assert_eq!([status(post()).await, status(post()).await], [200; 2]);
    assert_eq!(status(post()).await, 429);
    let log = running.log_so_far();
    assert!(
        log.contains("OPERATE_AUTH_BASIC") && !log.contains("is no setting"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flood_of_refusals_is_a_line_a_second_and_one_entry_on_the_audit_trail() {
    const CALLS: usize = 2_000;
    let bot = TestBot::start_with(counting(), |settings| {
        settings.doors.general.auth.auth_bearer = Some(TOKEN.into());
    })
    .await;
    for _ in 0..CALLS {
        assert_eq!(status(turn_of(&bot, "203.0.113.7").bearer_auth("wrong")).await, 401);
    }
    let metrics = bot
        .http()
        .get(bot.url("/metrics"))
        .bearer_auth(TOKEN)
        .send()
        .await
        .unwrap();
    let counted = format!("rejoinder_requests_refused_total{{status=\"401\",code=\"unauthorized\"}} {CALLS}\n");
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains(&counted), "{metrics}");
    let database = bot.database();
    bot.stop().await;
    let told = ran_on(&database, &["audit", "--what", "refused", "--json"]).await;
    let told: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(told.as_array().unwrap().len(), 1, "{told}");
    assert_eq!(told[0]["actor"], "caller at turns");
    let expected = format!("unauthorized, {CALLS} times; the last: 127.0.0.1: bearer: not one of the live secrets");
    assert_eq!(told[0]["detail"], expected);
    let others = ran_on(&database, &["audit", "--who", "source shop", "--json"]).await;
    assert_eq!(others.out.trim(), "[]");
}
