//! The settings: one small struct per concern; environment variables are read here only.

pub mod auth;
