//! Rejoinder: the fulfillment backend for chatbots.

pub mod auth;
pub mod clock;
pub mod config;
pub mod postgres;
