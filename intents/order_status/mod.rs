//! “Where is my order?”, and “when does it arrive?”

use chrono::NaiveDate;
use rejoinder::{Context, Db, Fail, Kept, Lang, Memory, Params, Reply, Texts};
use serde::{Deserialize, Serialize};

use crate::day;

/// Asks for `order_number`.
pub(crate) const WHICH: Texts = &[
    ("en", "Which order is it? Please tell me the order number."),
    (
        "de",
        "Um welche Bestellung geht es? Bitte nennen Sie mir die Bestellnummer.",
    ),
];

/// What the user asks for.
#[derive(Debug, Deserialize)]
pub(crate) struct Query {
    order_number: String,
}

/// “It” is the order that the conversation is about, unless the user names one.
#[derive(Debug, Deserialize)]
pub(crate) struct ArrivalQuery {
    order_number: Option<String>,
}

/// The order that the conversation is about.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Remembered {
    order_number: String,
}

impl Kept for Remembered {
    const CONTEXT: &'static str = "order";
}

/// An order as it stands in the database, and as events have told since.
#[derive(Debug)]
struct Order {
    id: String,
    status: Status,
    tracking_number: Option<String>,
    arrives_on: Option<NaiveDate>,
}

#[derive(Clone, Copy, Debug, Deserialize, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
enum Status {
    Placed,
    Confirmed,
    Shipped,
    Delivered,
    Cancelled,
}

pub(crate) async fn handle(Params(query): Params<Query>, lang: Lang, db: Db, memory: Memory) -> Result<Reply, Fail> {
    let number = number(&query.order_number);
    match find(&db, &memory, number).await? {
        Some(order) => Ok(Reply::text(order.status(&lang)).keep(order.remembered())),
        None => Ok(unknown(number, &lang)),
    }
}

/// “And when does it arrive?”
pub(crate) async fn arrival(
    Params(query): Params<ArrivalQuery>,
    remembered: Option<Context<Remembered>>,
    lang: Lang,
    db: Db,
    memory: Memory,
) -> Result<Reply, Fail> {
    let asked = query
        .order_number
        .or(remembered.map(|Context(order)| order.order_number))
        .ok_or_else(|| Fail::missing("order_number"))?;
    let number = number(&asked);
    match find(&db, &memory, number).await? {
        Some(order) => Ok(Reply::text(order.arrival(&lang)).keep(order.remembered())),
        None => Ok(unknown(number, &lang)),
    }
}

/// The number without what people write before it.
fn number(said: &str) -> &str {
    said.trim().trim_start_matches('#').trim_start()
}

fn unknown(number: &str, lang: &Lang) -> Reply {
    Reply::text(lang.pick([
        (
            "en",
            format!("I cannot find order {number}. Could you check the order number?"),
        ),
        (
            "de",
            format!("Ich finde keine Bestellung {number}. Können Sie die Bestellnummer noch einmal prüfen?"),
        ),
    ]))
}

impl Order {
    fn remembered(&self) -> Remembered {
        Remembered {
            order_number: self.id.clone(),
        }
    }

    /// How far the order is.
    fn status(&self, lang: &Lang) -> String {
        let id = &self.id;
        let (english, german) = match (self.status, &self.tracking_number) {
            (Status::Placed, _) => (
                format!("We have received order {id} and will confirm it shortly."),
                format!("Bestellung {id} ist eingegangen und wird in Kürze bestätigt."),
            ),
            (Status::Confirmed, _) => (
                format!("Order {id} is confirmed and being prepared. It has not shipped yet."),
                format!("Bestellung {id} ist bestätigt und wird vorbereitet. Sie ist noch nicht unterwegs."),
            ),
            (Status::Shipped, Some(tracking)) => (
                format!("Order {id} has shipped. The tracking number is {tracking}."),
                format!("Bestellung {id} ist unterwegs. Die Sendungsnummer ist {tracking}."),
            ),
            (Status::Shipped, None) => (
                format!("Order {id} has shipped."),
                format!("Bestellung {id} ist unterwegs."),
            ),
            (Status::Delivered, _) => (
                format!("Order {id} has been delivered."),
                format!("Bestellung {id} wurde zugestellt."),
            ),
            (Status::Cancelled, _) => (
                format!("Order {id} has been cancelled."),
                format!("Bestellung {id} wurde storniert."),
            ),
        };
        lang.pick([("en", english), ("de", german)])
    }

    /// When the order arrives, or did.
    fn arrival(&self, lang: &Lang) -> String {
        let id = &self.id;
        let day = self.arrives_on.map(|day| day::long(day, lang));
        let short_day = self.arrives_on.map(|day| day::short(day, lang)).unwrap_or_default();
        let (english, german) = match (self.status, day) {
            (Status::Cancelled, _) => (
                format!("Order {id} has been cancelled, so it will not arrive."),
                format!("Bestellung {id} wurde storniert, sie kommt also nicht an."),
            ),
            (Status::Delivered, Some(day)) => (
                format!("Order {id} was delivered on {day}."),
                format!("Bestellung {id} wurde am {short_day} zugestellt."),
            ),
            (Status::Delivered, None) => (
                format!("Order {id} has already been delivered."),
                format!("Bestellung {id} wurde bereits zugestellt."),
            ),
            (Status::Placed | Status::Confirmed | Status::Shipped, Some(day)) => (
                format!("The delivery date of order {id} is {day}."),
                format!("Der Liefertermin von Bestellung {id} ist {day}."),
            ),
            (Status::Shipped, None) => (
                format!("Order {id} is on its way, but the carrier has not given a delivery date yet."),
                format!("Bestellung {id} ist unterwegs, der Zusteller hat aber noch keinen Liefertermin genannt."),
            ),
            (Status::Placed | Status::Confirmed, None) => (
                format!("Order {id} has no delivery date yet. It gets one when it ships."),
                format!("Bestellung {id} hat noch keinen Liefertermin. Er steht fest, sobald sie versandt ist."),
            ),
        };
        lang.pick([("en", english), ("de", german)])
    }
}

/// The order as it is now; the user is told of what becomes of it, where they want to be.
async fn find(db: &Db, memory: &Memory, number: &str) -> Result<Option<Order>, Fail> {
    let Some(mut order) = stored(db, number).await? else {
        return Ok(None);
    };
    let told = memory.about(&order.id).await?;
    order.status = told.get("status").unwrap_or(order.status);
    order.tracking_number = told.get("tracking_number").or(order.tracking_number);
    memory.follow(&order.id);
    Ok(Some(order))
}

async fn stored(db: &Db, number: &str) -> Result<Option<Order>, Fail> {
    let order = sqlx::query_as!(
        Order,
        r#"select id, status as "status: Status", tracking_number, arrives_on from orders where id = $1"#,
        number
    )
    .fetch_optional(db.read())
    .await?;
    Ok(order)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::tests::{ask, start, text};

    #[tokio::test]
    async fn status_is_told_as_events_have_told_it_since() {
        let bot = start(|_| {}).await;
        sqlx::query(
            "insert into rejoinder.facts (scope, subject, name, value, position, set_at) values
                 ('entity', '10042', 'status', '\"shipped\"', 7, now()),
                 ('entity', '10042', 'tracking_number', '\"1Z42\"', 7, now()),
                 ('entity', '10041', 'status', '\"lost\"', 8, now())",
        )
        .execute(bot.pool())
        .await
        .unwrap();
        let ask = async |number| text(&bot.turn(&ask("Order Status", json!({"order_number": number}))).await);
        assert_eq!(
            ask("10042").await,
            "Order 10042 has shipped. The tracking number is 1Z42."
        );
        // A status that nobody knows changes nothing.
        assert_eq!(
            ask("10041").await,
            "We have received order 10041 and will confirm it shortly."
        );
        // Behind the answer.
        for _ in 0..500 {
            let follows =
                "select entity_id from rejoinder.follows where user_id = 'projects/p/agent/sessions/s' order by 1";
            let followed: Vec<String> = sqlx::query_scalar(follows).fetch_all(bot.pool()).await.unwrap();
            if followed == ["10041", "10042"] {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("the orders are not followed");
    }

    #[tokio::test]
    async fn arrival_is_told_as_the_database_has_it_now() {
        let bot = start(|_| {}).await;
        let mut turn = ask("Order Status - arrival", json!({}));
        turn["queryResult"]["outputContexts"] = json!([{
            "name": "projects/p/agent/sessions/s/contexts/order",
            "lifespanCount": 4,
            "parameters": {"order_number": "10042"},
        }]);
        assert_eq!(
            text(&bot.turn(&turn).await),
            "Order 10042 has no delivery date yet. It gets one when it ships."
        );
        sqlx::query("update orders set status = 'shipped', arrives_on = '2026-09-24' where id = '10042'")
            .execute(bot.pool())
            .await
            .unwrap();
        assert_eq!(
            text(&bot.turn(&turn).await),
            "The delivery date of order 10042 is Thursday, September 24, 2026."
        );
    }
}
