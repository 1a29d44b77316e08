//! “When are you open on Monday?”

use rejoinder::{Db, Fail, Memory, Params, Reply, Texts};
use serde::Deserialize;

/// Asks for `day`.
pub const WHICH: Texts = &[("en", "Which day do you mean?")];

/// What the user asks for.
#[derive(Deserialize)]
pub struct Query {
    /// `monday`, …
    day: String,
}

pub async fn handle(Params(query): Params<Query>, db: Db, memory: Memory) -> Result<Reply, Fail> {
    let day = query.day.to_lowercase();
    let hours = sqlx::query!(
        r#"select to_char(opens, 'HH24:MI') as "opens!", to_char(closes, 'HH24:MI') as "closes!"
           from opening_hours where day = $1"#,
        day
    )
    .fetch_optional(&*db)
    .await?;
    let mut text = match hours {
        Some(hours) => format!("On {day} we are open from {} to {}.", hours.opens, hours.closes),
        None => format!("On {day} we are closed."),
    };
    // What events/reactions/note_written.toml remembers of the day.
    if let Some(note) = memory.about(&day).await?.get::<String>("note") {
        text = format!("{text} {note}");
    }
    Ok(Reply::text(text))
}

#[cfg(test)]
mod tests {
    use rejoinder::NoSettings;
    use rejoinder::testing::TestBot;
    use serde_json::json;

    /// The whole service, on a database and a port of its own.
    async fn open() -> TestBot {
        let bot = crate::bot(&NoSettings::default());
        TestBot::start_with(bot, |settings| settings.events.events_dir = "events".into()).await
    }

    #[tokio::test]
    async fn turns_are_answered_as_recorded() {
        open().await.replay("src/opening_hours").await;
    }

    #[tokio::test]
    async fn note_about_a_day_is_told_from_then_on() {
        let bot = open().await;
        let note = json!({"note": "Ring the bell."});
        assert_eq!(bot.send("note.written", "saturday", note).await.0, 202);
        bot.events_applied().await;
        let reply = bot
            .turn(&json!({
                "session": "projects/p/agent/sessions/s",
                "queryResult": {"intent": {"displayName": "Opening Hours"}, "parameters": {"day": "Saturday"}},
            }))
            .await;
        assert_eq!(reply["fulfillmentText"], "On saturday we are open from 10:00 to 14:00. Ring the bell.");
    }
}
