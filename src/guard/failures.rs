//! Wrong credentials: how often a client may come with them, and who is not held up by it.

use std::net::IpAddr;
use std::time::Duration;

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use moka::sync::Cache;
use sha2::{Digest as _, Sha256};

use super::client::Client;
use super::limit::{Limit, TooOften};
use crate::clock::Clock;
use crate::config::Rate;

/// For how long credentials that were right are known.
const KNOWN_FOR: Duration = Duration::from_secs(3_600);

/// How many of them.
const MOST_KNOWN: u64 = 10_000;

/// How many clients are locked out at once; of more, those that came last.
const MOST_LOCKED: u64 = 50_000;

/// What is counted against a client.
///
/// Many callers may come from one address: Google's agents do. So what one of them guesses holds up who has not been
/// here before, and not those whose credentials have been found right while it guessed.
pub(super) struct Failures {
    rate: Rate,
    clock: Clock,
    limit: Limit<Client>,
    /// Until when, by the clock's ticks.
    locked: Cache<Client, Duration>,
    /// Hashes of credentials that were right.
    known: Cache<[u8; 32], ()>,
}

impl Failures {
    pub(super) fn new(rate: Rate, clock: Clock) -> Self {
        Self {
            rate,
            limit: Limit::new(rate, clock.clone()),
            locked: Cache::builder()
                .max_capacity(MOST_LOCKED)
                .time_to_live(rate.period())
                .build(),
            known: Cache::builder()
                .max_capacity(MOST_KNOWN)
                .time_to_live(KNOWN_FOR)
                .build(),
            clock,
        }
    }

    /// Whether a request's credentials are looked at.
    ///
    /// # Errors
    /// When its client has come too often with wrong ones, and these are not known to be right.
    pub(super) fn look(&self, client: IpAddr, headers: &HeaderMap) -> Result<(), TooOften> {
        let until = self.locked.get(&Client::of(client));
        let Some(wait) = until.and_then(|until| until.checked_sub(self.clock.ticks())) else {
            return Ok(());
        };
        if wait.is_zero() || hash(headers).is_some_and(|hash| self.known.contains_key(&hash)) {
            return Ok(());
        }
        Err(TooOften { rate: self.rate, wait })
    }

    /// The client's credentials were right.
    pub(super) fn learn(&self, client: IpAddr, headers: &HeaderMap) {
        // While nobody guesses there is nothing that a caller need be kept from.
        if self.limit.knows(&Client::of(client))
            && let Some(hash) = hash(headers)
        {
            self.known.insert(hash, ());
        }
    }

    /// The client's credentials were wrong. Programs of this machine are not told apart, so they are not counted.
    pub(super) fn note(&self, client: IpAddr) {
        if client.is_loopback() {
            return;
        }
        let client = Client::of(client);
        if let Err(TooOften { wait, .. }) = self.limit.take(client) {
            self.locked.insert(client, self.clock.ticks() + wait);
        }
    }
}

fn hash(headers: &HeaderMap) -> Option<[u8; 32]> {
    let credentials = headers.get(AUTHORIZATION)?;
    Some(Sha256::digest(credentials.as_bytes()).into())
}
