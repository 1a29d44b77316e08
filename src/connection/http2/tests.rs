//! Claims about one HTTP/2 connection, on a clock that stands still.

use std::time::Duration;

use actix_http::ServiceConfig;
use actix_service::IntoServiceFactory as _;
use actix_web::App;
use actix_web::dev::{AppConfig, ServiceFactory as _};
use actix_web::web::{self, Bytes};
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::duplex;
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::Instant;

use crate::peer::Peer;
use crate::terms::Terms;

const KEEP_ALIVE: Duration = Duration::from_secs(620);

/// A client, its connection, and the side that serves it.
struct Connected {
    client: SendRequest<Bytes>,
    ended: JoinHandle<Result<(), h2::Error>>,
    serving: JoinHandle<()>,
    terms: Terms,
}

/// Answers with a thousand letters, with what was sent, or never.
async fn connected(window: u32) -> Connected {
    let app = App::new()
        .route("/", web::get().to(async || "x".repeat(1_000)))
        .route("/", web::post().to(async |body: Bytes| body))
        .route("/ignored", web::post().to(async || "not read"))
        .route(
            "/slow",
            web::get().to(async || {
                tokio::time::sleep(Duration::from_secs(30)).await;
                "slow"
            }),
        );
    let app = app.into_factory().new_service(AppConfig::default()).await.unwrap();
    let (client, server) = duplex(1024 * 1024);
    let terms = Terms::new(KEEP_ALIVE, 10);
    let served_by = terms.clone();
    let serving = spawn_local(async move {
        let peer = Peer::plain(([127, 0, 0, 1], 1).into());
        let patience = Instant::now() + super::super::exchange::HEAD_LIMIT;
        super::serve(server, &peer, patience, &app, &ServiceConfig::default(), &served_by).await;
    });
    let mut builder = h2::client::Builder::new();
    let (client, connection) = builder.initial_window_size(window).handshake(client).await.unwrap();
    Connected {
        client,
        ended: spawn_local(connection),
        serving,
        terms,
    }
}

impl Connected {
    async fn send(&mut self, method: &str, path: &str, has_body: bool) -> (ResponseFuture, SendStream<Bytes>) {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("https://localhost{path}"));
        let mut client = self.client.clone().ready().await.unwrap();
        client.send_request(request.body(()).unwrap(), !has_body).unwrap()
    }

    async fn get(&mut self, path: &str) -> Result<String, h2::Error> {
        let (answer, _) = self.send("GET", path, false).await;
        read(answer.await?.into_body()).await
    }
}

async fn read(mut body: RecvStream) -> Result<String, h2::Error> {
    let mut all = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        all.extend_from_slice(&chunk);
    }
    Ok(String::from_utf8(all).unwrap())
}

async fn on_one_thread(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn silent_connection_is_closed_in_order() {
    on_one_thread(async {
        let begun = Instant::now();
        let silent = connected(65_535).await;
        silent.serving.await.unwrap();
        assert_eq!(begun.elapsed().as_secs(), 5, "before the first request");

        let mut kept = connected(65_535).await;
        for _ in 0..2 {
            assert_eq!(kept.get("/").await.unwrap().len(), 1_000);
            tokio::time::sleep(Duration::from_secs(610)).await;
        }
        assert!(!kept.serving.is_finished());
        let begun = Instant::now();
        kept.serving.await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(15));
        kept.ended.await.unwrap().unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn answer_that_nobody_takes_ends_its_stream_and_no_other() {
    on_one_thread(async {
        let mut connected = connected(100).await;
        let (answer, _) = connected.send("GET", "/", false).await;
        let mut stuck = answer.await.unwrap().into_body();
        let begun = Instant::now();
        // Not released.
        assert_eq!(stuck.data().await.unwrap().unwrap().len(), 100);
        assert_eq!(connected.get("/").await.unwrap().len(), 1_000);
        let error = stuck.data().await.unwrap().unwrap_err();
        assert_eq!((error.reason(), begun.elapsed().as_secs()), (Some(Reason::CANCEL), 10));
        assert_eq!(connected.get("/").await.unwrap().len(), 1_000);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn body_is_read_when_it_is_wanted_and_no_further() {
    on_one_thread(async {
        let mut connected = connected(65_535).await;
        let (answer, mut sending) = connected.send("POST", "/", true).await;
        sending.send_data(Bytes::from_static(b"bo"), false).unwrap();
        sending.send_data(Bytes::from_static(b"dy"), true).unwrap();
        assert_eq!(read(answer.await.unwrap().into_body()).await.unwrap(), "body");

        let (answer, mut sending) = connected.send("POST", "/ignored", true).await;
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(read(answer.into_body()).await.unwrap(), "not read");
        let given_up = std::future::poll_fn(|cx| sending.poll_reset(cx)).await.unwrap();
        assert_eq!(given_up, Reason::NO_ERROR);
        assert_eq!(connected.get("/").await.unwrap().len(), 1_000);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn body_that_is_waited_with_is_asked_for() {
    on_one_thread(async {
        let mut connected = connected(65_535).await;
        let request = http::Request::post("https://localhost/").header("expect", "100-continue");
        let (mut answer, mut sending) = connected.client.send_request(request.body(()).unwrap(), false).unwrap();
        let asked = std::future::poll_fn(|cx| answer.poll_informational(cx)).await;
        assert_eq!(asked.unwrap().unwrap().status(), 100);
        sending.send_data(Bytes::from_static(b"body"), true).unwrap();
        assert_eq!(read(answer.await.unwrap().into_body()).await.unwrap(), "body");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn head_of_an_answer_is_sent_alone_where_that_is_asked() {
    on_one_thread(async {
        let mut connected = connected(65_535).await;
        let (answer, _) = connected.send("HEAD", "/", false).await;
        let answer = answer.await.unwrap();
        // The route takes GET only; its refusal has no body here either.
        assert!(answer.headers().contains_key("date"), "{answer:?}");
        assert!(answer.body().is_end_stream());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn service_that_stops_answers_what_is_under_way() {
    on_one_thread(async {
        let mut connected = connected(65_535).await;
        let (slow, _) = connected.send("GET", "/slow", false).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        connected.terms.leave();
        connected.terms.stopping.cancel();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(connected.client.clone().ready().await.is_err(), "another may follow");
        assert_eq!(read(slow.await.unwrap().into_body()).await.unwrap(), "slow");
        connected.serving.await.unwrap();
        connected.ended.await.unwrap().unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn client_that_is_gone_is_noticed_when_its_answers_are_due() {
    on_one_thread(async {
        let mut connected = connected(65_535).await;
        let (slow, _) = connected.send("GET", "/slow", false).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        connected.ended.abort();
        drop((slow, connected.client));
        let left = Instant::now();
        connected.serving.await.unwrap();
        assert_eq!(left.elapsed().as_secs(), 29);
    })
    .await;
}
