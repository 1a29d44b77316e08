//! Clients that are admitted by their certificates.

use std::time::Duration;

use chrono::TimeDelta;
use rcgen::date_time_ymd;
use rejoinder::testing::{TestBot, TestSettings};

use super::{Authority, Files, client_params, post, quiet_bot};
use crate::support::eventually;

const NAME: &str = "agent.dialogflow.example";
const TOKEN: &str = "a-token-of-some-length";

/// A service that admits the clients of these names, by these roots.
async fn admitting(files: &Files, names: &[&str], roots: &[&Authority]) -> TestBot {
    admitting_with(files, names, roots, |_| {}).await
}

async fn admitting_with(
    files: &Files,
    names: &[&str],
    roots: &[&Authority],
    change: impl FnOnce(&mut TestSettings),
) -> TestBot {
    files.write_roots(roots);
    TestBot::start_with(quiet_bot(), |settings| {
        files.set(settings);
        settings.server.tls.tls_client_ca_file = Some(files.path("roots"));
        settings.server.tls.tls_client_names = names.iter().map(|name| (*name).to_owned()).collect();
        change(settings);
    })
    .await
}

#[tokio::test]
async fn client_is_admitted_by_a_listed_name_whatever_kind_it_is_of() {
    let (files, clients) = (Files::new(), Authority::new("Clients"));
    let names = [NAME, "CN=Google LLC", "spiffe://cluster/agent"];
    let bot = admitting(&files, &names, &[&clients]).await;
    let mut by_uri = client_params("other.example", "Other");
    let uri = "spiffe://cluster/agent".try_into().unwrap();
    by_uri.subject_alt_names.push(rcgen::SanType::URI(uri));
    for (pair, status) in [
        (clients.client(NAME, "Whoever"), 200),
        (clients.client(&NAME.to_uppercase(), "Whoever"), 200),
        (clients.client("other.example", "Google LLC"), 200),
        (clients.issue(&by_uri), 200),
        (clients.client("other.example", "Other"), 401),
        // A name of one kind is none of another.
        (clients.client("other.example", NAME), 401),
        (clients.client("sub.agent.dialogflow.example", "google llc"), 401),
    ] {
        assert_eq!(post(&files.http_as(&pair), &bot).await.unwrap(), status);
    }
    // It is asked for and not demanded; but nobody is admitted without.
    assert_eq!(post(&files.http(), &bot).await.unwrap(), 401);
    let healthy = files.http().get(bot.url("/readyz")).send().await.unwrap();
    assert_eq!(healthy.status(), 200);
}

#[tokio::test]
async fn certificate_that_nothing_vouches_for_ends_the_handshake() {
    let (files, clients) = (Files::new(), Authority::new("Clients"));
    let bot = admitting(&files, &[NAME], &[&clients]).await;
    // Of the same name as the root.
    let others = Authority::new("Clients");
    assert!(post(&files.http_as(&others.client(NAME, "x")), &bot).await.is_err());
    let mut expired = client_params(NAME, "x");
    expired.not_after = date_time_ymd(2020, 1, 1);
    assert!(post(&files.http_as(&clients.issue(&expired)), &bot).await.is_err());
    // A server's is no client's.
    assert!(post(&files.http_as(&clients.server()), &bot).await.is_err());
    assert_eq!(
        post(&files.http_as(&clients.client(NAME, "x")), &bot).await.unwrap(),
        200
    );
}

#[tokio::test]
async fn other_methods_go_on_admitting() {
    let (files, clients) = (Files::new(), Authority::new("Clients"));
    let bot = admitting_with(&files, &[NAME], &[&clients], |settings| {
        settings.doors.general.auth.auth_bearer = Some(TOKEN.into());
    })
    .await;
    let unlisted = files.http_as(&clients.client("other.example", "x"));
    let listed = files.http_as(&clients.client(NAME, "x"));
    for (http, token, status) in [
        (&files.http(), TOKEN, 200),
        (&files.http(), "wrong", 401),
        (&unlisted, TOKEN, 200),
        (&unlisted, "wrong", 401),
        (&listed, "wrong", 200),
    ] {
        let turn = http
            .post(bot.url("/fulfillment"))
            .bearer_auth(token)
            .json(&super::turn());
        assert_eq!(turn.send().await.unwrap().status(), status, "{token}");
    }
}

#[tokio::test]
async fn client_that_has_another_issuer_from_now_on_is_known_by_its_name() {
    let (files, old, new) = (Files::new(), Authority::new("Old Issuer"), Authority::new("New Issuer"));
    let bot = admitting(&files, &["CN=Google LLC"], &[&old]).await;
    let client_by = |issuer: &Authority| files.http_as(&issuer.client("dialogflow.example", "Google LLC"));
    let (by_old, by_new) = (client_by(&old), client_by(&new));
    assert_eq!(post(&by_old, &bot).await.unwrap(), 200);
    assert!(post(&by_new, &bot).await.is_err(), "nothing vouches for it yet");

    files.write_roots(&[&old, &new]);
    eventually("both are admitted", async || {
        post(&by_new, &bot).await.is_ok_and(|status| status == 200)
    })
    .await;
    assert_eq!(post(&by_old, &bot).await.unwrap(), 200);
    // Another client of the new issuer.
    let stranger = files.http_as(&new.client("stranger.example", "Stranger"));
    assert_eq!(post(&stranger, &bot).await.unwrap(), 401);

    files.write_roots(&[&new]);
    eventually("the old one is not admitted on a connection that it has", async || {
        post(&by_old, &bot).await.is_ok_and(|status| status == 401)
    })
    .await;
    assert!(post(&client_by(&old), &bot).await.is_err());
    assert_eq!(post(&by_new, &bot).await.unwrap(), 200);

    std::fs::write(files.path("roots"), "no root").unwrap();
    // Two looks at the file.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(post(&client_by(&new), &bot).await.unwrap(), 200);
}

#[tokio::test]
async fn certificate_that_expires_on_an_open_connection_admits_no_longer() {
    let (files, clients) = (Files::new(), Authority::new("Clients"));
    let bot = admitting(&files, &[NAME], &[&clients]).await;
    let mut ending = client_params(NAME, "x");
    // The bot's clock stands in 2026.
    ending.not_after = date_time_ymd(2027, 1, 1);
    let http = files.http_as(&clients.issue(&ending));
    assert_eq!(post(&http, &bot).await.unwrap(), 200);
    bot.clock().advance(TimeDelta::days(365));
    assert_eq!(post(&http, &bot).await.unwrap(), 401);
}

#[tokio::test]
async fn stream_ends_when_nothing_vouches_for_its_reader_any_more() {
    let (files, clients) = (Files::new(), Authority::new("Clients"));
    let bot = admitting(&files, &[NAME], &[&clients]).await;
    let url = bot.url("/conversations/projects/p/agent/sessions/s/stream");
    assert_eq!(files.http().get(&url).send().await.unwrap().status(), 401);
    let http = files.http_as(&clients.client(NAME, "x"));
    let mut stream = http.get(&url).send().await.unwrap();
    assert_eq!(stream.status(), 200);
    files.write_roots(&[&Authority::new("Others")]);
    let ended = async { while stream.chunk().await.unwrap().is_some() {} };
    tokio::time::timeout(Duration::from_secs(12), ended).await.unwrap();
}
