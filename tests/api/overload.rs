//! More turns than the database has connections for: those that can still be answered in time go first.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rejoinder::testing::{TestBot, TestSettings};
use rejoinder::{Bot, Data, Db, Fail, Params, Reply};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{Gate, es, eventually, said};

const SLOW: &str = "Still looking. Ask me again.";

/// A third of a second for ES, 25 seconds for CX, and one connection: whoever has it says so before the next one can.
fn hurried_but_for_cx(settings: &mut TestSettings) {
    settings.turns.dialogflow.cx_limit_ms = 30_000;
    settings.turns.answer_margin_ms = 4_700;
    settings.pool_size = 1;
}

#[derive(Deserialize)]
struct Asked {
    n: u32,
}

/// In what order turns have had a connection, and how many have asked for one.
#[derive(Clone, Default)]
struct Order {
    asked: Arc<AtomicU32>,
    had: Arc<Mutex<Vec<u32>>>,
}

async fn holds(db: Db, gate: Data<Gate>) -> Result<Reply, Fail> {
    let connection = db.acquire().await?;
    gate.pass().await;
    drop(connection);
    Ok(Reply::text("held"))
}

async fn queries(Params(asked): Params<Asked>, db: Db, order: Data<Order>) -> Result<Reply, Fail> {
    order.asked.fetch_add(1, Ordering::SeqCst);
    let mut connection = db.acquire().await?;
    order.had.lock().unwrap().push(asked.n);
    sqlx::query("select 1").execute(&mut *connection).await?;
    Ok(Reply::text(format!("turn {}", asked.n)))
}

async fn here() -> Result<Reply, Fail> {
    Ok(Reply::text("here"))
}

/// A service whose connection is in use until the gate is opened.
struct Crowded {
    bot: Arc<TestBot>,
    gate: Gate,
    order: Order,
}

impl Crowded {
    async fn start(change: impl FnOnce(&mut TestSettings)) -> Self {
        let (gate, order) = (Gate::closed(), Order::default());
        let bot = Bot::new()
            .data(gate.clone())
            .data(order.clone())
            .intent("Hold", holds)
            .intent("Here", here)
            .intent("Query", queries)
            .slow(&[("en", SLOW)])
            .tag("query", queries);
        let bot = TestBot::start_with(bot, |settings| {
            hurried_but_for_cx(settings);
            change(settings);
        })
        .await;
        bot.turn(&es("hold", "Hold", json!({}))).await;
        Self {
            bot: Arc::new(bot),
            gate,
            order,
        }
    }

    /// An ES turn, whose user hears the slow text.
    async fn late(&self, n: u32) {
        assert_eq!(said(&self.bot.turn(&es("late", "Query", json!({"n": n}))).await), SLOW);
    }

    /// A CX turn, which can be answered in time; comes back once it waits for a connection.
    async fn in_time(&self, n: u32) -> tokio::task::JoinHandle<Value> {
        let asked = self.order.asked.load(Ordering::SeqCst);
        let turn = json!({
            "fulfillmentInfo": {"tag": "query"},
            "sessionInfo": {
                "session": "projects/p/locations/global/agents/a/sessions/s",
                "parameters": {"n": n},
            },
        });
        let bot = Arc::clone(&self.bot);
        let answer = tokio::spawn(async move { bot.turn(&turn).await });
        eventually("the turn asks for a connection", async || {
            self.order.asked.load(Ordering::SeqCst) > asked
        })
        .await;
        answer
    }

    /// The order in which so many turns have had a connection.
    async fn had(&self, turns: usize) -> Vec<u32> {
        self.gate.open();
        let had = || self.order.had.lock().unwrap().clone();
        eventually("all have had a connection", async || had().len() == turns).await;
        had()
    }
}

#[tokio::test]
async fn newest_turn_that_can_be_in_time_goes_first_and_late_ones_last() {
    let crowded = Crowded::start(|_| {}).await;
    for n in [1, 2] {
        crowded.late(n).await;
    }
    let mut answers = Vec::new();
    for n in [11, 12, 13, 14] {
        answers.push(crowded.in_time(n).await);
    }
    let had = crowded.had(6).await;
    assert_eq!(had[..4], [14, 13, 12, 11], "{had:?}");
    for (n, answer) in [11, 12, 13, 14].iter().zip(join_all(answers).await) {
        let reply = answer.unwrap();
        let text = &reply["fulfillmentResponse"]["messages"][0]["text"]["text"][0];
        assert_eq!(*text, format!("turn {n}"));
    }
}

#[tokio::test]
async fn late_turn_that_is_asked_for_again_goes_before_the_others() {
    let crowded = Crowded::start(|_| {}).await;
    for n in [1, 2, 3, 4, 5, 6] {
        crowded.late(n).await;
    }
    // The same question again: it waits for the run that there is.
    crowded.late(3).await;
    assert_eq!(crowded.order.asked.load(Ordering::SeqCst), 6);
    let had = crowded.had(6).await;
    assert_eq!(had[0], 3, "{had:?}");
}

#[tokio::test]
async fn new_turn_has_the_place_of_a_late_one_that_waits_for_a_connection() {
    let crowded = Crowded::start(|settings| settings.turns.turns_in_flight = 3).await;
    for n in [1, 2] {
        crowded.late(n).await;
    }
    // All places are taken: by the one that holds the connection, and by those that wait for it.
    assert_eq!(said(&crowded.bot.turn(&es("r", "Here", json!({"n": 1}))).await), "here");
    let had = crowded.had(1).await;
    assert_eq!(had, [2]);
    // Whoever was sent away is asked again, and runs anew.
    eventually("its run has ended", async || {
        said(&crowded.bot.turn(&es("again", "Query", json!({"n": 1}))).await) == "turn 1"
    })
    .await;
}

/// What the database has done for turns.
#[derive(Clone, Default)]
struct Done(Arc<AtomicU32>);

const QUERY_S: f64 = 0.1;

async fn works(db: Db, done: Data<Done>) -> Result<Reply, Fail> {
    sqlx::query("select pg_sleep($1)").bind(QUERY_S).execute(&*db).await?;
    done.0.fetch_add(1, Ordering::SeqCst);
    Ok(Reply::text("done"))
}

/// What came of turns that arrived evenly, whether those before them were answered or not.
#[derive(Debug)]
struct Load {
    turns: u32,
    /// Answered with the handler's reply, in time.
    in_time: u32,
    /// What the database had done when the last of those was answered.
    done: u32,
    longest: Duration,
}

async fn load(per_second: u32, seconds: u32, change: impl FnOnce(&mut TestSettings)) -> Load {
    let done = Done::default();
    let bot = Bot::new().data(done.clone()).intent("Work", works);
    let bot = Arc::new(TestBot::start_with(bot, change).await);
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_second);
    let mut asked = Vec::new();
    for n in 0..per_second * seconds {
        ticks.tick().await;
        let (bot, done) = (Arc::clone(&bot), done.clone());
        asked.push(tokio::spawn(async move {
            let started = Instant::now();
            let mut turn = es("r", "Work", json!({}));
            turn["session"] = json!(format!("projects/p/agent/sessions/{n}"));
            let reply = bot.turn(&turn).await;
            let is_reply = said(&reply) == "done";
            (is_reply, done.0.load(Ordering::SeqCst), started.elapsed())
        }));
    }
    let mut load = Load {
        turns: per_second * seconds,
        in_time: 0,
        done: 0,
        longest: Duration::ZERO,
    };
    for answer in join_all(asked).await {
        let (is_reply, done, took) = answer.unwrap();
        if is_reply {
            load.in_time += 1;
            load.done = load.done.max(done);
        }
        load.longest = load.longest.max(took);
    }
    load
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_overload_nearly_all_that_the_database_does_is_for_answers_in_time() {
    // A budget of a second, and twenty or thirty queries that can be done in it.
    let load = load(100, 4, |settings| {
        settings.turns.answer_margin_ms = 4_000;
        settings.pool_size = 3;
    })
    .await;
    assert!(
        load.done >= 20 && load.in_time * 2 < load.turns,
        "no overload: {load:?}"
    );
    assert!(load.in_time * 100 >= load.done * 80, "{load:?}");
}

/// `cargo overload`: a minute of figures.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute, and is for looking at"]
async fn figures_under_overload() {
    for per_second in [25, 50, 100, 200, 400] {
        let load = load(per_second, 12, |settings| {
            settings.pool_size = 6;
            settings.turns.turns_in_flight = 256;
        })
        .await;
        println!("{per_second}/s of at most 50 to 60: {load:?}");
    }
}
