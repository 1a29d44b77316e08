//! Claims about one connection, on a clock that stands still.

use std::cell::Cell;
use std::time::Duration;

use actix_http::ServiceConfig;
use actix_service::IntoServiceFactory as _;
use actix_web::dev::{AppConfig, ServiceFactory as _};
use actix_web::web::{self, Bytes};
use actix_web::{App, HttpResponse};
use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::task::{JoinHandle, LocalSet, spawn_local, yield_now};
use tokio::time::Instant;

use crate::peer::Peer;
use crate::terms::Terms;

const KEEP_ALIVE: Duration = Duration::from_secs(620);

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

thread_local! {
    /// How many requests have been answered.
    static ANSWERED: Cell<usize> = const { Cell::new(0) };
}

/// Answers with a thousand letters, with what was sent, or without an end.
async fn connected(room: usize) -> (DuplexStream, JoinHandle<()>) {
    let app = App::new()
        .route(
            "/",
            web::get().to(async || {
                ANSWERED.set(ANSWERED.get() + 1);
                "x".repeat(1_000)
            }),
        )
        .route("/", web::post().to(async |body: Bytes| body))
        .route("/ignored", web::post().to(async || "not read"))
        .route(
            "/endless",
            web::get().to(async || {
                let endless = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
                let begun = futures_util::stream::iter([Ok(Bytes::from_static(b"begun"))]);
                HttpResponse::Ok().streaming(begun.chain(endless))
            }),
        );
    let app = app.into_factory().new_service(AppConfig::default()).await.unwrap();
    let (client, server) = duplex(room);
    let serving = spawn_local(async move {
        let config = ServiceConfig::default();
        let terms = Terms::new(KEEP_ALIVE, 10);
        let peer = Peer::plain(([127, 0, 0, 1], 1).into());
        let patience = Instant::now() + super::HEAD_LIMIT;
        super::serve(server, &peer, patience, &app, config, &terms).await;
    });
    (client, serving)
}

/// What comes until nothing more does, or the connection is closed.
async fn heard(client: &mut DuplexStream) -> String {
    let mut all = Vec::new();
    let mut some = [0; 16 * 1024];
    while let Ok(Ok(read @ 1..)) = tokio::time::timeout(Duration::from_millis(100), client.read(&mut some)).await {
        all.extend_from_slice(&some[..read]);
    }
    String::from_utf8(all).unwrap()
}

async fn on_one_thread(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn connection_is_kept_for_as_long_as_a_load_balancer_keeps_it() {
    on_one_thread(async {
        let (mut client, serving) = connected(64 * 1024).await;
        for _ in 0..2 {
            client.write_all(GET).await.unwrap();
            assert!(heard(&mut client).await.starts_with("HTTP/1.1 200 OK"));
            tokio::time::sleep(Duration::from_secs(610)).await;
        }
        assert!(!serving.is_finished());
        tokio::time::sleep(Duration::from_secs(15)).await;
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "closed");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn requests_sent_together_wait_until_the_answers_are_taken() {
    on_one_thread(async {
        ANSWERED.set(0);
        let (mut client, _serving) = connected(4 * 1024).await;
        client.write_all(&GET.repeat(100)).await.unwrap();
        for _ in 0..1_000 {
            yield_now().await;
        }
        assert!(ANSWERED.get() <= 5, "{} answers that nobody takes", ANSWERED.get());
        assert_eq!(heard(&mut client).await.matches("HTTP/1.1 200 OK").count(), 100);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn answer_that_nobody_takes_ends_the_connection() {
    on_one_thread(async {
        let (mut client, serving) = connected(100).await;
        let sent = Instant::now();
        client.write_all(GET).await.unwrap();
        serving.await.unwrap();
        assert_eq!(sent.elapsed().as_secs(), 10);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn requests_sent_together_do_not_hold_up_those_of_others() {
    on_one_thread(async {
        ANSWERED.set(0);
        let (mut many, _serving) = connected(1024 * 1024).await;
        many.write_all(&GET.repeat(1_000)).await.unwrap();
        let (mut one, _serving) = connected(1024 * 1024).await;
        one.write_all(GET).await.unwrap();
        one.read_exact(&mut [0; 15]).await.unwrap();
        assert!(ANSWERED.get() < 500, "{} were answered first", ANSWERED.get());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn head_that_does_not_arrive_is_answered_408_and_silence_is_not_answered() {
    on_one_thread(async {
        for kept in [false, true] {
            let (mut client, serving) = connected(64 * 1024).await;
            if kept {
                client.write_all(GET).await.unwrap();
                heard(&mut client).await;
            }
            client.write_all(b"GET / HTTP/1.1\r\nhost: loc").await.unwrap();
            tokio::time::sleep(Duration::from_secs(6)).await;
            let told = heard(&mut client).await;
            assert!(told.starts_with("HTTP/1.1 408") && told.contains("too_slow"), "{told}");
            drop(client);
            serving.await.unwrap();
        }
        let (mut client, _serving) = connected(64 * 1024).await;
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(heard(&mut client).await, "");
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "closed");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn body_that_is_waited_with_is_asked_for_when_it_is_wanted() {
    on_one_thread(async {
        let head =
            |path| format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n");
        let (mut client, _serving) = connected(64 * 1024).await;
        client.write_all(head("/").as_bytes()).await.unwrap();
        assert_eq!(heard(&mut client).await, "HTTP/1.1 100 Continue\r\n\r\n");
        client.write_all(b"body").await.unwrap();
        let told = heard(&mut client).await;
        assert!(told.starts_with("HTTP/1.1 200") && told.ends_with("body"), "{told}");

        client.write_all(head("/ignored").as_bytes()).await.unwrap();
        let told = heard(&mut client).await;
        assert!(
            told.starts_with("HTTP/1.1 200") && told.contains("connection: close"),
            "{told}"
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn client_that_leaves_an_endless_answer_is_noticed() {
    on_one_thread(async {
        let (mut client, serving) = connected(64 * 1024).await;
        client
            .write_all(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        assert!(heard(&mut client).await.contains("begun"));
        let left = Instant::now();
        drop(client);
        serving.await.unwrap();
        assert_eq!(left.elapsed(), Duration::ZERO);
    })
    .await;
}
