//! The bot: what it can do.

mod opening_hours;

use rejoinder::{Bot, NoSettings};

#[rustfmt::skip] // one line, one thing the bot can do
fn bot(_: &NoSettings) -> Bot {
    Bot::new().migrations(sqlx::migrate!())
        .intent("Opening Hours", opening_hours::handle)
            .example(r#"{"day":"monday"}"#)
            .prompt("day", opening_hours::WHICH)
}

rejoinder::main!(bot);
