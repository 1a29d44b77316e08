//! The demo bot.
fn main() {}
