//! Plays recorded turns against a service that runs.

use std::time::Instant;

use anyhow::bail;

use super::{Outcome, Played, RecordedTurn, Report};
use crate::running::{NoAnswer, Running};

/// Posts `turns` one after the other and says how each came out.
///
/// # Errors
/// When nothing listens at the service's address.
pub(crate) async fn play(service: &Running, turns: &[RecordedTurn]) -> anyhow::Result<Report> {
    let mut played = Vec::with_capacity(turns.len());
    for turn in turns {
        let started = Instant::now();
        let answer = service.post(turn.body()).await;
        let milliseconds = started.elapsed().as_secs_f64() * 1_000.0;
        let (outcome, came) = match answer {
            Ok(came) => {
                let mismatch = turn.mismatch(&came);
                (mismatch.map_or(Outcome::Ok, Outcome::Differs), Some(came))
            }
            Err(NoAnswer::NothingListens(reason)) if played.is_empty() => {
                bail!(service.nothing_listens(&reason));
            }
            Err(NoAnswer::NothingListens(reason) | NoAnswer::Other(reason)) => (Outcome::Error(reason), None),
        };
        played.push(Played {
            turn: turn.clone(),
            outcome,
            came,
            milliseconds,
        });
    }
    Ok(Report { played })
}
