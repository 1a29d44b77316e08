//! What is said when nothing was understood, and as a welcome: what the bot can do.

use rejoinder::reply::message::QuickReplies;
use rejoinder::{Fail, Lang, Message, Reply};

/// Nothing else matched.
pub(crate) async fn handle(lang: Lang) -> Result<Reply, Fail> {
    let sorry = lang.pick([
        ("en", "Sorry, I did not get that."),
        ("de", "Das habe ich leider nicht verstanden."),
    ]);
    Ok(offer(sorry, &lang))
}

/// “Hello!”
pub(crate) async fn welcome(lang: Lang) -> Result<Reply, Fail> {
    let hello = lang.pick([("en", "Hello!"), ("de", "Guten Tag!")]);
    Ok(offer(hello, &lang))
}

fn offer(opening: &str, lang: &Lang) -> Reply {
    let can = lang.pick([
        (
            "en",
            "I can tell you your account balance and recent transactions, where an order is, what our stores have in \
             stock and exchange rates, and I can book appointments.",
        ),
        (
            "de",
            "Ich nenne Ihnen gern Kontostand und letzte Umsätze, den Stand einer Bestellung, den Bestand unserer \
             Filialen und Wechselkurse, und ich buche Termine.",
        ),
    ]);
    let (title, examples) = lang.pick([
        (
            "en",
            (
                "What would you like?",
                ["Account balance", "Order status", "Book appointment"],
            ),
        ),
        (
            "de",
            ("Was möchten Sie?", ["Kontostand", "Bestellstatus", "Termin buchen"]),
        ),
    ]);
    Reply::text(format!("{opening} {can}")).and(Message::QuickReplies(QuickReplies {
        title: title.to_owned(),
        quick_replies: examples.map(str::to_owned).to_vec(),
    }))
}
