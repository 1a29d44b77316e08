//! Where the events of a batch go by their fates: what has failed is parked or given up, what is applied waits no longer.

use super::{Batch, Fate, Kind, Lane, Logged};
use crate::attempts::Attempts;
use crate::log::dead;
use crate::log::parked::{self, Failed};

/// What a transaction has done to the events that wait.
#[derive(Default)]
pub(super) struct Parked {
    /// Entities that are held up now.
    held_up: Vec<String>,
    /// Entities that no longer are.
    released: Vec<String>,
    /// How many events were given up.
    pub(super) died: u64,
}

impl Batch<'_> {
    /// Parks, buries or releases events by their fates.
    pub(super) async fn park(&mut self, lane: &Lane) -> sqlx::Result<Parked> {
        let mut parked = Parked::default();
        match self.kind {
            Kind::New | Kind::Retry => {}
            Kind::Replay { .. } | Kind::TimeOut => return Ok(parked),
        }
        let (mut waiting, mut failed, mut done): (Vec<&Logged>, Vec<Failed<'_>>, Vec<&Logged>) = Default::default();
        for (event, fate) in self.events.iter().zip(&self.fates) {
            let failure = match fate {
                Fate::Waits => {
                    waiting.push(event);
                    continue;
                }
                Fate::Unheard | Fate::Applied(_) => {
                    done.push(event);
                    continue;
                }
                Fate::Failed(failure) => failure,
            };
            let is_held = self.is_held(failure);
            let before = self.attempts.get(&event.position).copied().unwrap_or(0);
            let attempts = before + i32::from(!is_held);
            let is_last = !is_held && Attempts::OF_AN_EVENT.are_over(attempts);
            let connection = self.step.connection()?;
            if is_last && self.applier.dead_letters.have_room(&mut *connection, self.now).await? {
                dead::bury(connection, event, attempts, &failure.to_string(), self.now).await?;
                parked.died += 1;
                done.push(event);
                continue;
            }
            failed.push(Failed {
                event,
                attempts,
                retry_at: (!is_held).then(|| self.now + Attempts::wait_after(attempts)),
                error: failure.to_string(),
                rule: failure.rule(),
            });
            parked.held_up.push(event.envelope.entity_id.to_string());
        }
        let connection = self.step.connection()?;
        parked::fail(connection, lane.partition, &failed).await?;
        if self.kind == Kind::New {
            parked::wait(connection, lane.partition, &waiting).await?;
            return Ok(parked);
        }
        parked.released = parked::done(connection, lane.partition, &done, self.now).await?;
        if !waiting.is_empty() {
            parked::end(connection, lane.partition, self.applier.worker).await?;
        }
        Ok(parked)
    }
}

impl Parked {
    /// Says to the lane which entities wait now.
    pub(super) fn learn(self, lane: &mut Lane) {
        for entity in &self.released {
            lane.parked.remove(entity);
        }
        lane.parked.extend(self.held_up);
    }
}
