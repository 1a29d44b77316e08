//! Nothing is lost and nothing is done twice, whatever is killed and whatever fails: real processes on a real PostgreSQL.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod claims;
mod clock;
mod crash;
mod disk;
mod failover;
mod hang;
mod idle;
mod kills;
mod load;
mod locks;
mod long_transaction;
mod no_skip;
mod outage;
mod parked;
mod process;
mod proxy;
mod receiver;
mod segment;
mod sender;
mod sharing;
mod silence;
mod site;
mod standby;
mod steps;
mod turns;
