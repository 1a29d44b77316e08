//! Plain HTTP: whom it is spoken to, and who is sent on to HTTPS.

use std::net::{IpAddr, UdpSocket};
use std::process::Stdio;

use rejoinder::Bot;
use rejoinder::testing::{TestBot, TestSettings};
use reqwest::Client;
use serde_json::Value;
use sqlx::ConnectOptions as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Files, quiet_bot, turn};
use crate::events::command::ran;
use crate::serve::{data_dir, refused, refused_command, rejoinder};
use crate::support::eventually;

const TOKEN: &str = "a-token-of-some-length";

/// An address of this machine that is not loopback; `None` where it has none.
fn address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Nothing is sent: that says by which address it would be.
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback()).then_some(address)
}

async fn everywhere(change: impl FnOnce(&mut TestSettings)) -> TestBot {
    TestBot::start_with(quiet_bot(), |settings| {
        settings.server.listen = "0.0.0.0:0".parse().unwrap();
        settings.doors.general.auth.auth_bearer = Some(TOKEN.into());
        change(settings);
    })
    .await
}

/// Status and code of what is said at `path` to who calls by `address`.
async fn said(bot: &TestBot, address: IpAddr, path: &str) -> (u16, Value) {
    let base = bot.url("").replace("0.0.0.0", &address.to_string());
    let http = Client::builder().build().unwrap();
    let request = match path {
        "/fulfillment" => http.post(base + path).json(&turn()),
        path => http.get(base + path),
    };
    let answer = request.bearer_auth(TOKEN).send().await.unwrap();
    assert!(!answer.headers().contains_key("strict-transport-security"));
    let status = answer.status().as_u16();
    let error: Value = answer.json().await.unwrap_or_default();
    (status, error["error"]["code"].clone())
}

#[tokio::test]
async fn plain_http_from_elsewhere_is_refused_but_for_probes() {
    let Some(address) = address() else { return };
    let bot = everywhere(|_| {}).await;
    for path in ["/fulfillment", "/metrics", "/", "/nowhere"] {
        assert_eq!(said(&bot, address, path).await, (403, "plain_http".into()), "{path}");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(said(&bot, address, path).await, (200, Value::Null), "{path}");
    }
    let loopback = [127, 0, 0, 1].into();
    assert_eq!(said(&bot, loopback, "/fulfillment").await.0, 200);
    let metrics = bot.url("/metrics").replace("0.0.0.0", "127.0.0.1");
    let metrics = bot.http().get(metrics).bearer_auth(TOKEN).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let counted = "rejoinder_requests_refused_total{status=\"403\",code=\"plain_http\"} 4\n";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn plain_http_from_a_trusted_proxy_is_answered() {
    let Some(address) = address() else { return };
    let bot = everywhere(|settings| settings.server.proxies.trusted_proxies = vec![address.into()]).await;
    for path in ["/fulfillment", "/metrics"] {
        assert_eq!(said(&bot, address, path).await.0, 200, "{path}");
    }
}

#[test]
fn plain_http_for_everybody_stops_the_start_and_says_what_to_set() {
    let home = data_dir();
    let said = refused(&[
        ("LISTEN", "0.0.0.0:0"),
        ("AUTH_BEARER", TOKEN),
        ("DATA_DIR", home.path().to_str().unwrap()),
    ]);
    let parts = ["LISTEN: found 0.0.0.0:0", "TLS_CERT_FILE", "TRUSTED_PROXIES"];
    assert!(parts.iter().all(|part| said.contains(part)), "{said}");
}

#[tokio::test]
async fn worker_speaks_plain_http_to_the_same() {
    let bot = TestBot::start(Bot::new()).await;
    let (home, url) = (data_dir(), bot.database().to_url_lossy());
    let settings = [
        ("OPERATE_LISTEN", "0.0.0.0:0"),
        ("AUTH_BEARER", TOKEN),
        ("DATABASE_URL", url.as_str()),
        ("DATA_DIR", home.path().to_str().unwrap()),
    ];
    let said = refused_command(&["work"], &settings);
    let parts = ["OPERATE_LISTEN: found 0.0.0.0:0", "TLS_CERT_FILE", "TRUSTED_PROXIES"];
    assert!(parts.iter().all(|part| said.contains(part)), "{said}");
}

#[tokio::test]
async fn worker_that_has_a_certificate_tells_how_it_is_by_https() {
    let (files, bot) = (Files::new(), TestBot::start(Bot::new()).await);
    let (home, url) = (data_dir(), bot.database().to_url_lossy());
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (certificate, key) = (files.path("certificate"), files.path("key"));
    let settings = [
        ("OPERATE_LISTEN", free.to_string()),
        ("TLS_CERT_FILE", certificate.to_str().unwrap().to_owned()),
        ("TLS_KEY_FILE", key.to_str().unwrap().to_owned()),
    ];
    let mut worker = rejoinder();
    worker
        .arg("work")
        .env("DATA_DIR", home.path())
        .env("DATABASE_URL", url.as_str());
    let mut worker = worker
        .envs(settings.clone())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the worker is ready", async || {
        let mut health = rejoinder();
        health.arg("health").envs(settings.clone());
        tokio::task::spawn_blocking(|| ran(health)).await.unwrap().code == 0
    })
    .await;
    let metrics = files
        .http()
        .get(format!("https://{free}/metrics"))
        .send()
        .await
        .unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(
        metrics.contains("rejoinder_certificate_expiry_timestamp_seconds{use=\"server\"}"),
        "{metrics}"
    );
    worker.kill().unwrap();
    worker.wait().unwrap();
}

/// What is said to a request as it stands.
async fn told(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut told = vec![0; 4096];
    let read = stream.read(&mut told).await.unwrap();
    String::from_utf8(told[..read].to_vec()).unwrap()
}

#[tokio::test]
async fn plain_http_is_sent_on_to_https_at_the_host_that_was_meant() {
    let files = Files::new();
    let bot = TestBot::start_with(quiet_bot(), |settings| {
        files.set(settings);
        settings.server.http_redirect_listen = Some("127.0.0.1:0".parse().unwrap());
    })
    .await;
    let address = bot.redirect_address().unwrap();
    let port = bot.url("").rsplit(':').next().unwrap().to_owned();
    let answer = told(
        address,
        "POST /fulfillment?a=b HTTP/1.1\r\nhost: Bot.example:80\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 308"), "{answer}");
    let location = format!("location: https://bot.example:{port}/fulfillment?a=b\r\n");
    assert!(answer.contains(&location), "{answer}");
    for wrong in ["evil.example/", "me@evil.example", "a b", "", "x:y"] {
        let answer = told(address, &format!("GET / HTTP/1.1\r\nhost: {wrong}\r\n\r\n")).await;
        assert!(
            answer.starts_with("HTTP/1.1 400") && !answer.contains("location"),
            "{wrong}: {answer}"
        );
    }
    let sent =
        Client::builder().tls_certs_only([reqwest::Certificate::from_pem(files.authority.pem.as_bytes()).unwrap()]);
    let sent = sent
        .build()
        .unwrap()
        .post(format!("http://localhost:{}/fulfillment", address.port()));
    // A client that follows posts the same turn.
    assert_eq!(sent.json(&turn()).send().await.unwrap().status(), 200);
}
