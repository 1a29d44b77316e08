//! The running service, from the outside: real HTTP, a real PostgreSQL.

#![expect(
    clippy::unwrap_used,
    reason = "what goes wrong in a test's own steps fails that test"
)]

mod wire;
