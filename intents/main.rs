//! The demo bot: what this deployment can do.

mod account;
#[cfg(test)]
mod agents;
mod book_appointment;
mod day;
mod do_not_disturb;
mod exchange_rate;
mod fallback;
mod get_account_balance;
mod moment;
mod money;
mod notify_me;
mod order_status;
mod orders;
mod product_stock;
mod recent_transactions;
mod settings;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod tests;
mod verify_identity;

use mimalloc::MiMalloc;
use rejoinder::{Bot, ChatPage};

use crate::settings::Settings;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Where people try the bot out in a browser.
const CHAT: ChatPage = ChatPage {
    html: include_str!("chat/page.html"),
    script: include_str!("chat/script.js"),
    style: include_str!("chat/style.css"),
};

#[rustfmt::skip] // one line, one thing the bot can do
fn bot(settings: &Settings) -> Bot {
    Bot::new().data(settings.clone())
        .migrations(sqlx::migrate!("intents/migrations")).demo_data("customers", include_str!("demo.sql")).chat_page(CHAT)
        .intent("Get Account Balance", get_account_balance::handle)
            .example(r#"{"user_id":"12345","account_type":"checking"}"#)
            .prompt("user_id", account::WHOSE).prompt("account_type", account::WHICH)
        .intent("Recent Transactions", recent_transactions::handle)
            .prompt("user_id", account::WHOSE).prompt("account_type", account::WHICH)
        .intent("Recent Transactions - more", recent_transactions::more)
        .intent("Order Status", order_status::handle).prompt("order_number", order_status::WHICH)
        .intent("Order Status - arrival", order_status::arrival).prompt("order_number", order_status::WHICH)
        .tag("order-status", order_status::handle).prompt("order_number", order_status::WHICH)
        .intent("Product Stock", product_stock::handle).prompt("product", product_stock::WHAT)
        .intent("Exchange Rate", exchange_rate::handle).slow(exchange_rate::SLOW).prompt("amount", exchange_rate::AMOUNT)
            .prompt("from_currency", exchange_rate::FROM).prompt("to_currency", exchange_rate::TO)
        .intent("Book Appointment", book_appointment::handle).prompt("date_time", book_appointment::WHEN)
            .prompt("customer", book_appointment::WHO).prompt("date", book_appointment::DATE).prompt("time", book_appointment::TIME)
        .intent("Book Appointment - choice", book_appointment::handle).prompt("date_time", book_appointment::WHEN)
            .prompt("customer", book_appointment::WHO)
        .intent("Verify Identity", verify_identity::handle).prompt("user_id", account::WHOSE).prompt("pin", verify_identity::PIN)
        .intent("Notifications - on", notify_me::on).intent("Notifications - off", notify_me::off)
        .intent("Quiet Hours", do_not_disturb::handle).prompt("time_zone", do_not_disturb::ZONE)
            .prompt("from", do_not_disturb::FROM).prompt("until", do_not_disturb::UNTIL)
        .intent("Quiet Hours - off", do_not_disturb::handle).prompt("from", do_not_disturb::FROM)
        .reaction("confirm_order", orders::confirm)
        .intent("Default Welcome Intent", fallback::welcome).fallback(fallback::handle)
}

rejoinder::main!(bot);
