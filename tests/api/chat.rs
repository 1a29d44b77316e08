//! `rejoinder chat`: a conversation, driven through a pipe.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rejoinder::reply::message::QuickReplies;
use rejoinder::testing::TestBot;
use rejoinder::{Bot, Fail, FollowUp, Message, Params, Raw, Reply};
use rstest::rstest;
use serde::Deserialize;

use crate::events::command::{Ran, ran};
use crate::events::package;
use crate::serve::{Running, data_dir, rejoinder};
use crate::support::{Gate, numbered};

const PATIENCE: Duration = Duration::from_secs(20);

/// A chat that runs: what it prints is read line by line.
struct Chat {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
}

impl Chat {
    fn start(url: &str, arguments: &[&str]) -> Self {
        let mut command = rejoinder();
        command.args(["chat", "--url", url]).args(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || stdout.lines().for_each(|line| drop(sender.send(line.unwrap()))));
        let stdin = child.stdin.take();
        Self { child, stdin, lines }
    }

    fn type_in(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Waits for a line with this text.
    fn shows(&self, text: &str) -> String {
        let mut seen = Vec::new();
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
                panic!("found {seen:#?}, expected {text:?}")
            };
            if line.contains(text) {
                return line;
            }
            seen.push(line);
        }
    }

    /// Closes its input, and says how it ended and what else it has printed.
    fn end(mut self) -> (i32, String) {
        drop(self.stdin.take());
        let code = self.child.wait().unwrap().code().unwrap();
        (code, self.lines.iter().collect::<Vec<_>>().join("\n"))
    }
}

/// Has a whole conversation.
async fn talk(url: &str, arguments: &[&str], typed: &[&str]) -> Ran {
    let mut chat = Chat::start(url, arguments);
    for line in typed {
        chat.type_in(line);
    }
    tokio::task::spawn_blocking(move || {
        drop(chat.stdin.take());
        let output = chat.child.wait_with_output().unwrap();
        Ran {
            code: output.status.code().unwrap(),
            out: chat.lines.iter().collect::<Vec<_>>().join("\n"),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    })
    .await
    .unwrap()
}

/// Whether these stand in the text in this order.
fn has_in_order(text: &str, parts: &[&str]) -> bool {
    let mut rest = text;
    parts.iter().all(|part| {
        let found = rest.split_once(part);
        rest = found.map_or("", |(_, rest)| rest);
        found.is_some()
    })
}

fn sample() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("agents/es")
        .display()
        .to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentences_are_understood_by_the_sample_agent_and_answered_by_the_demo_bot() {
    let home = data_dir();
    let events = package();
    // At a port where it can be started again.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = free.local_addr().unwrap().to_string();
    drop(free);
    let start = || Running::start(&home, &[("EVENTS_DIR", events.to_str().unwrap()), ("LISTEN", &listen)]);
    let running = start();
    let url = running.url.clone();
    let agent = sample();

    let english = talk(
        &url,
        &["--agent", &agent],
        &[
            "where is order 10043",
            "and when does it arrive",
            "/contexts",
            "what is my account balance?",
            "customer 12345",
            "sing me a song",
        ],
    )
    .await;
    let story = [
        "understands 16 intents",
        "(Order Status: order_number=10043)\nOrder 10043 has shipped.",
        "(context order, 5 turns: order_number=10043)",
        "(Order Status - arrival: order_number=10043)\n",
        "(context order, 5 turns: order_number=10043)",
        "(context order, 5 turns: order_number=10043)\n(Get Account Balance asks for user_id)\nWhat is your customer number?",
        "(Get Account Balance: user_id=12345)\nYour checking account balance is",
        "(Default Fallback Intent)\n",
    ];
    assert!(english.code == 0 && has_in_order(&english.out, &story), "{english:?}");

    let german = talk(
        &url,
        &["--agent", &agent, "--language", "de-AT"],
        &["Wo ist meine Bestellung?", "10043", "und wann kommt sie an?", "Tralala"],
    )
    .await;
    let story = [
        "(Order Status asks for order_number)\n",
        "(Order Status: order_number=10043)\n",
        "(Order Status - arrival: order_number=10043)\n",
        "(Default Fallback Intent)\n",
    ];
    assert!(german.code == 0 && has_in_order(&german.out, &story), "{german:?}");
    assert!(german.out.contains("Bestellung 10043"), "{german:?}");

    let mut waiting = Chat::start(&url, &["--agent", &agent, "--session", "1"]);
    waiting.shows("session projects/demo/agent/sessions/1;");
    let ship = |tracking_number: &str| {
        let payload = format!("{{\"tracking_number\": \"{tracking_number}\"}}");
        let mut send = rejoinder();
        send.env("DATA_DIR", home.path()).env("EVENTS_DIR", &events);
        send.args(["events", "send", "order.shipped", "--entity", "10042"]);
        send.args(["--payload", &payload, "--url", &url]);
        let sent = ran(send);
        assert_eq!(sent.code, 0, "{sent:?}");
    };
    ship("1Z999");
    const SHIPPED: &str = "(unasked, orders) Your order #10042 has shipped";
    assert_eq!(waiting.shows("(unasked"), SHIPPED);
    waiting.type_in("where is order 10042");
    waiting.shows("The tracking number is 1Z999");
    // The service is started again: what is said before the stream is back is not missed.
    drop(running);
    waiting.shows("(the stream is cut: ");
    let _running = start();
    ship("1Z998");
    waiting.shows(SHIPPED);
    waiting.type_in("/again");
    waiting.shows("The tracking number is 1Z998");
    assert_eq!(waiting.end().0, 0);
}

#[derive(Deserialize)]
struct Greeting {
    to: String,
    times: u32,
}

async fn greet(Params(greeting): Params<Greeting>) -> Result<Reply, Fail> {
    let quick = QuickReplies {
        title: "Again?".to_owned(),
        quick_replies: vec!["Yes".to_owned(), "No".to_owned()],
    };
    let reply = Reply::text(format!("Hello {} times, {}!", greeting.times, greeting.to));
    Ok(reply.and(Message::QuickReplies(quick)))
}

async fn pay() -> Result<FollowUp, Fail> {
    Ok(FollowUp::event("PAY").parameter("amount", 5))
}

/// What the agent's own text and language were.
async fn tell(Raw(raw): Raw) -> Result<Reply, Fail> {
    Ok(Reply::text(format!("in {}", raw["queryResult"]["languageCode"])))
}

fn bot(gate: &Gate) -> Bot {
    let bot = Bot::new()
        .data(gate.clone())
        .intent("Say Hello", greet)
        .intent("Pay", pay);
    let bot = bot.prompt("to", &[("en", "Whom shall I greet?")]).intent("Tell", tell);
    bot.intent("Slow", numbered).slow(&[("en", "I am still at it.")])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn intents_are_called_by_name_without_an_agent() {
    let bot = TestBot::start(bot(&Gate::opened())).await;
    let typed = [
        "hello",
        "/intent Say Hello to=\"Ada Lovelace\" times=3",
        "/intent Say Hello to=Ada times",
        "/intnet Say Hello",
        "/intent Pay",
        "/intent Tell",
        "/session",
        "/contexts",
        "/help",
        "",
        "/quit",
        "/intent never read",
    ];
    let session = "projects/p/agent/sessions/s";
    let talked = talk(&bot.url(""), &["--session", session, "--language", "de"], &typed).await;
    let story = [
        "(session projects/p/agent/sessions/s; there is no agents/es, so no sentence is understood",
        "error: found a sentence and no agent, expected /intent NAME key=value",
        "(Say Hello: times=3 to=\"Ada Lovelace\")\nHello 3 times, Ada Lovelace!\nAgain? [Yes] [No]",
        "error: /intent: found \"times\" behind a parameter, expected key=value",
        "error: found /intnet, expected one of /intent, /again, /contexts, /session, /help, /quit (did you mean /intent?)",
        "(Pay)\n(goes on with the event PAY: amount=5)",
        "(Tell)\nin \"de\"",
        session,
        "(no context is active)",
        "/again ",
    ];
    assert!(talked.code == 0 && has_in_order(&talked.out, &story), "{talked:?}");
    assert!(talked.err.is_empty() && !talked.out.contains("never"), "{talked:?}");
    // Nobody looks at a terminal.
    assert!(!talked.out.contains('\x1b'), "{talked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reply_that_was_late_is_there_when_the_user_asks_again() {
    let gate = Gate::closed();
    let bot = TestBot::start(bot(&gate)).await;
    let url = bot.url("");
    let ended = tokio::task::spawn_blocking(move || {
        let mut chat = Chat::start(&url, &[]);
        chat.type_in("/again");
        chat.shows("error: /again: found no line before it");
        chat.type_in("/intent Slow");
        chat.shows("I am still at it.");
        gate.open();
        std::thread::sleep(Duration::from_millis(200));
        chat.type_in("/again");
        chat.shows("run 1");
        chat.end()
    });
    assert_eq!(ended.await.unwrap().0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exit_code_tells_of_a_service_that_refuses_or_is_not_there() {
    let bot = TestBot::start_with(bot(&Gate::opened()), |settings| {
        settings.doors.general.auth.auth_bearer = Some("secret".into());
    })
    .await;
    let refused = talk(&bot.url(""), &[], &[]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert_eq!(
        refused.err,
        "rejoinder: the service answers 401: this caller is not admitted\n"
    );
    let bearer = ["--header", "Authorization: Bearer secret"];
    let admitted = talk(&bot.url(""), &bearer, &["/intent Tell"]).await;
    assert!(
        admitted.code == 0 && admitted.out.ends_with("in \"en\""),
        "{admitted:?}"
    );

    // It goes while they talk: that is told, and so is it when it is back.
    let url = bot.url("");
    let mut chat = Chat::start(&url, &bearer);
    chat.shows("session ");
    bot.stop().await;
    let ended = tokio::task::spawn_blocking(move || {
        chat.shows("(the stream is cut: ");
        chat.type_in("/intent Tell");
        chat.shows("error: nothing listens at http://127.0.0.1:");
        chat.end()
    });
    assert_eq!(ended.await.unwrap().0, 2);
    let nobody = talk(&url, &[], &[]).await;
    assert!(
        nobody.code == 2 && nobody.err.contains("nothing listens at"),
        "{nobody:?}"
    );
}

#[rstest]
#[case::session(&["--session", "projects/p/nonsense"], "expected projects/…/agent/sessions/… (ES")]
#[case::session_of_cx(&["--session", "projects/p/locations/l/agents/a/sessions/s"], "found a session of CX, expected one of ES")]
#[case::agent(&["--agent", "nowhere"], "nowhere: found no agent.json, expected the directory")]
#[case::header(&["--header", "nonsense"], "--header: found no colon, expected 'Name: value'")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_argument_is_told_before_anything_is_said(#[case] arguments: &[&str], #[case] said: &str) {
    let refused = talk("http://127.0.0.1:1", arguments, &[]).await;
    assert!(
        refused.code == 2 && refused.err.contains(said) && refused.out.is_empty(),
        "{refused:?}"
    );
}
