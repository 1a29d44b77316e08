//! “Tell me when my order ships”, and “stop telling me”.

use rejoinder::{Fail, Lang, Memory, Params, Reply};
use serde::Deserialize;

/// What the user wants to hear of, or no longer.
#[derive(Debug, Deserialize)]
pub(crate) struct Query {
    topic: Option<Topic>,
}

/// What there is to hear of.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Topic {
    #[default]
    Orders,
    Payments,
}

impl Topic {
    /// As reactions name it.
    fn id(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Payments => "payments",
        }
    }

    fn name(self, lang: &Lang) -> &'static str {
        let (english, german) = match self {
            Self::Orders => ("your orders", "Ihren Bestellungen"),
            Self::Payments => ("your payments", "Ihren Zahlungen"),
        };
        lang.pick([("en", english), ("de", german)])
    }
}

pub(crate) async fn on(Params(query): Params<Query>, lang: Lang, memory: Memory) -> Result<Reply, Fail> {
    let topic = query.topic.unwrap_or_default();
    memory.opt_in(topic.id()).await?;
    let name = topic.name(&lang);
    Ok(Reply::text(lang.pick([
        (
            "en",
            format!("All right, I will tell you as soon as there is news of {name}."),
        ),
        ("de", format!("Gut, ich melde mich, sobald es Neues zu {name} gibt.")),
    ])))
}

pub(crate) async fn off(Params(query): Params<Query>, lang: Lang, memory: Memory) -> Result<Reply, Fail> {
    let topic = query.topic.unwrap_or_default();
    memory.opt_out(topic.id()).await?;
    let name = topic.name(&lang);
    Ok(Reply::text(lang.pick([
        ("en", format!("All right, I will not notify you of {name} any more.")),
        ("de", format!("Gut, ich melde mich zu {name} nicht mehr von selbst.")),
    ])))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::tests::{ask, start, text};

    #[tokio::test]
    async fn what_the_user_said_last_is_kept() {
        let bot = start(|_| {}).await;
        let opted_in = async || -> Vec<(String, bool)> {
            let rows = sqlx::query_as(
                "select topic, opted_in from rejoinder.subscriptions where user_id like '%/s' order by topic",
            );
            rows.fetch_all(bot.pool()).await.unwrap()
        };
        for (intent, wanted) in [("Notifications - on", true), ("Notifications - off", false)] {
            for _ in 0..2 {
                text(&bot.turn(&ask(intent, json!({"topic": ""}))).await);
                assert_eq!(opted_in().await, [("orders".to_owned(), wanted)]);
            }
        }
        text(&bot.turn(&ask("Notifications - on", json!({"topic": "payments"}))).await);
        assert_eq!(
            opted_in().await,
            [("orders".to_owned(), false), ("payments".to_owned(), true)]
        );
    }
}
