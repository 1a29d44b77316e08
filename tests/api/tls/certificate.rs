//! The service's certificate: who is answered by it, and how another one takes its place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rejoinder::testing::TestBot;
use reqwest::tls::Version;
use reqwest::{Client, ClientBuilder};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Authority, Files, Pair, post, turn};
use crate::events::command::{Ran, ran};
use crate::serve::{Running, data_dir, refused, rejoinder};
use crate::support::{es, eventually};

#[tokio::test]
async fn turn_is_answered_over_each_version_of_tls_and_of_http() {
    let files = Files::new();
    let bot = files.bot().await;
    assert!(bot.url("").starts_with("https://"));
    let http_1: fn(ClientBuilder) -> ClientBuilder = ClientBuilder::http1_only;
    for (speaking, version) in [
        (http_1, reqwest::Version::HTTP_11),
        (|any| any, reqwest::Version::HTTP_2),
    ] {
        for tls in [Version::TLS_1_2, Version::TLS_1_3] {
            let builder = files.builder().tls_version_min(tls).tls_version_max(tls);
            let http = speaking(builder).build().unwrap();
            let answer = http.post(bot.url("/fulfillment")).json(&turn()).send().await.unwrap();
            assert_eq!((answer.status().as_u16(), answer.version()), (200, version), "{tls:?}");
            assert!(answer.headers().contains_key("date"), "{:?}", answer.headers());
            for path in ["/fulfillment", "/nowhere", "/healthz"] {
                let answer = http.get(bot.url(path)).send().await.unwrap();
                let only = &answer.headers()["strict-transport-security"];
                assert_eq!(only, "max-age=31536000", "{path}");
            }
            // Larger than what may come before it is read.
            let large = es("large", "Count", json!({"note": "x".repeat(900_000)}));
            let answer = http.post(bot.url("/fulfillment")).json(&large).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            let metrics = http
                .get(bot.url("/metrics"))
                .send()
                .await
                .unwrap()
                .text()
                .await
                .unwrap();
            assert!(metrics.ends_with("# EOF\n"), "{metrics}");
            let line = "rejoinder_certificate_expiry_timestamp_seconds{use=\"server\"} 67090118400\n";
            let found = metrics.lines().find(|line| line.starts_with("rejoinder_certificate"));
            assert!(metrics.contains(line), "{found:?}");
        }
    }
}

/// Posts turns one after the other until it is told to stop; how many were answered, all with 200.
async fn posting(http: impl Fn() -> Client, bot: Arc<TestBot>, stop: Arc<AtomicBool>) -> usize {
    let mut answered = 0;
    while !stop.load(Ordering::SeqCst) {
        let status = post(&http(), &bot).await;
        assert_eq!(status.unwrap(), 200, "after {answered} turns");
        answered += 1;
    }
    answered
}

/// The certificate that is shown to who connects now.
async fn shown(files: &Files, bot: &TestBot) -> Vec<u8> {
    let stream = files.connect(bot, "http/1.1").await;
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificate_that_changes_fails_no_turn_and_ends_no_connection() {
    let files = Files::new();
    let bot = Arc::new(files.bot().await);
    let stop = Arc::new(AtomicBool::new(false));
    let (kept, old) = (files.http(), files.builder().http1_only().build().unwrap());
    let root = files.authority.pem.clone();
    let new = move || {
        let root = reqwest::Certificate::from_pem(root.as_bytes()).unwrap();
        Client::builder()
            .retry(reqwest::retry::never())
            .tls_certs_only([root])
            .build()
            .unwrap()
    };
    let posting = [
        tokio::spawn(posting(move || kept.clone(), Arc::clone(&bot), Arc::clone(&stop))),
        tokio::spawn(posting(move || old.clone(), Arc::clone(&bot), Arc::clone(&stop))),
        tokio::spawn(posting(new, Arc::clone(&bot), Arc::clone(&stop))),
    ];
    let mut kept = files.connect(&bot, "http/1.1").await;
    for _ in 0..3 {
        let before = shown(&files, &bot).await;
        files.write(&files.authority.server());
        eventually("another certificate is shown", async || {
            shown(&files, &bot).await != before
        })
        .await;
        let ask = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
        kept.write_all(ask).await.unwrap();
        let mut told = [0; 15];
        kept.read_exact(&mut told).await.unwrap();
        assert_eq!(&told, b"HTTP/1.1 200 OK");
        // The rest of it.
        let mut rest = [0; 4096];
        while !rest.windows(6).any(|six| six == b"alive\n") {
            assert!(kept.read(&mut rest).await.unwrap() > 0);
        }
    }
    stop.store(true, Ordering::SeqCst);
    for posting in posting {
        let answered = posting.await.unwrap();
        assert!(answered > 10, "{answered}");
    }
}

#[tokio::test]
async fn pair_that_is_wrong_leaves_the_old_one_in_force_and_is_told_once() {
    let files = Files::new();
    let (certificate, key) = (files.path("certificate"), files.path("key"));
    let paths = [certificate.to_str().unwrap(), key.to_str().unwrap()];
    let mut running = Running::start_logged(&[("TLS_CERT_FILE", paths[0]), ("TLS_KEY_FILE", paths[1])]);
    assert!(running.url.starts_with("https://"), "{}", running.url);
    let (http, url) = (files.http(), running.url.clone());
    let is_alive = async || http.get(format!("{url}/healthz")).send().await.is_ok();
    let other = files.authority.server();
    std::fs::write(&key, &other.key).unwrap();
    eventually("it is told", async || {
        running.log_so_far().contains("keeping the old ones")
    })
    .await;
    assert!(is_alive().await && files.http().get(format!("{url}/healthz")).send().await.is_ok());
    files.write(&other);
    eventually("it is taken over", async || {
        running.log_so_far().contains("have changed and are in force")
    })
    .await;
    assert!(is_alive().await);
    let logs = running.logs();
    assert_eq!(logs.matches("keeping the old ones").count(), 1, "{logs}");
    assert!(logs.contains("is not the key of the first certificate"), "{logs}");
}

#[tokio::test]
async fn local_commands_know_the_service_by_its_certificate_whoever_has_issued_it() {
    let files = Files::new();
    let (certificate, key) = (files.path("certificate"), files.path("key"));
    let settings = [
        ("TLS_CERT_FILE", certificate.to_str().unwrap()),
        ("TLS_KEY_FILE", key.to_str().unwrap()),
    ];
    let running = Running::start_logged(&settings);
    let asked = |certificate: String| {
        let mut health = rejoinder();
        health
            .arg("health")
            .env("LISTEN", running.url.trim_start_matches("https://"))
            .env("TLS_CERT_FILE", certificate);
        tokio::task::spawn_blocking(|| ran(health))
    };
    let Ran { code, err, .. } = asked(certificate.to_str().unwrap().to_owned()).await.unwrap();
    assert_eq!((code, err.as_str()), (0, ""));
    // Another one of the same issuer is somebody else's.
    let other = files.path("other");
    std::fs::write(&other, files.authority.server().certificate).unwrap();
    let Ran { code, err, .. } = asked(other.to_str().unwrap().to_owned()).await.unwrap();
    assert_eq!(code, 1);
    assert!(err.contains("nothing answers at https://"), "{err}");
}

#[tokio::test]
async fn certificate_that_expires_soon_is_warned_of() {
    let files = Files::new();
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    files.write(&files.authority.issue(&params));
    let (certificate, key) = (files.path("certificate"), files.path("key"));
    let settings = [
        ("TLS_CERT_FILE", certificate.to_str().unwrap()),
        ("TLS_KEY_FILE", key.to_str().unwrap()),
    ];
    let mut running = Running::start_logged(&settings);
    let logs = running.logs();
    assert!(logs.contains("the certificate has expired"), "{logs}");
}

type Settings<'a> = &'a [(&'a str, &'a str)];

#[test]
fn wrong_files_stop_the_start_with_the_setting_and_the_file() {
    let files = Files::new();
    let (certificate, key) = (files.path("certificate"), files.path("key"));
    let Pair { key: other, .. } = files.authority.server();
    let broken = files.path("broken");
    std::fs::write(
        &broken,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let (unlike, nothing) = (files.path("unlike"), files.path("nothing"));
    std::fs::write(&unlike, other).unwrap();
    let home = data_dir();
    let paths = [&certificate, &key, &broken, &unlike, &nothing].map(|path| path.to_str().unwrap());
    let [certificate, key, broken, unlike, nothing] = paths;
    let home = home.path().to_str().unwrap();
    let cases: [(Settings, &[&str]); 8] = [
        (&[("TLS_CERT_FILE", certificate)], &["TLS_KEY_FILE: not set"]),
        (&[("TLS_KEY_FILE", key)], &["TLS_CERT_FILE: not set"]),
        (
            &[("TLS_CERT_FILE", nothing), ("TLS_KEY_FILE", key)],
            &["TLS_CERT_FILE", nothing, "cannot read the file"],
        ),
        (
            &[("TLS_CERT_FILE", broken), ("TLS_KEY_FILE", key)],
            &["TLS_CERT_FILE", broken, "no certificate that can be read"],
        ),
        (
            &[("TLS_CERT_FILE", certificate), ("TLS_KEY_FILE", certificate)],
            &["TLS_KEY_FILE", "no unencrypted private key"],
        ),
        (
            &[("TLS_CERT_FILE", certificate), ("TLS_KEY_FILE", unlike)],
            &[
                "TLS_KEY_FILE",
                unlike,
                "is not the key of the first certificate in",
                certificate,
            ],
        ),
        (
            &[
                ("TLS_CERT_FILE", certificate),
                ("TLS_KEY_FILE", key),
                ("TLS_CLIENT_CA_FILE", certificate),
            ],
            &["TLS_CLIENT_NAMES: not set"],
        ),
        (
            &[("HTTP_REDIRECT_LISTEN", "127.0.0.1:0")],
            &["HTTP_REDIRECT_LISTEN: found 127.0.0.1:0", "TLS_CERT_FILE"],
        ),
    ];
    for (settings, expected) in cases {
        let said = refused(&[settings, &[("DATA_DIR", home)]].concat());
        assert!(expected.iter().all(|part| said.contains(part)), "{settings:?}: {said}");
    }
}

#[tokio::test]
async fn client_that_trusts_another_authority_is_not_spoken_to() {
    let files = Files::new();
    let bot = files.bot().await;
    let root = reqwest::Certificate::from_pem(Authority::new("Others").pem.as_bytes()).unwrap();
    let http = Client::builder()
        .tls_certs_only([root])
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    assert!(post(&http, &bot).await.is_err());
    assert_eq!(post(&files.http(), &bot).await.unwrap(), 200);
}
