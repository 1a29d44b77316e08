//! The wire: what Dialogflow sends is read, and what goes back is never refused.

mod bad_input;
mod contexts;
mod defects;
mod limits;
mod messages;
mod parameters;
mod properties;
mod replies;
mod requests;
mod stage;
mod strict;
