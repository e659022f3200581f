//! What the probe thread and everything that talks to Postgres have in common.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::Shard;

use crate::clock::Clock;
use crate::recorder::Intake;
use crate::stats::Stats;

/// What the schedule shares with the rest of the worker.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The time slots are reckoned in.
    pub clock: Clock,
    /// Where results go.
    pub intake: Arc<Intake>,
    /// Numbers about ourselves.
    pub stats: Arc<Stats>,
    /// Oldest slot that is due and not handed to the intake, microseconds since
    /// the epoch; `i64::MAX` when there is none.
    pub oldest_open_us: Arc<AtomicI64>,
    /// The last round of leases the schedule has acted on; `u64::MAX` once it stops.
    pub adopted_round: Arc<AtomicU64>,
    /// When the schedule dropped each shard that leaves, microseconds since the epoch:
    /// its slots before this moment are ours, those from it on are not.
    pub dropped_us: Arc<Mutex<BTreeMap<Shard, i64>>>,
    /// Since when the list of targets is being changed, microseconds since the epoch: a
    /// slot of a new one may be due that the schedule has not heard of. `i64::MAX` otherwise.
    pub changing_us: Arc<AtomicI64>,
}

impl Shared {
    /// When the schedule dropped the shards that leave.
    pub fn dropped_us(&self) -> MutexGuard<'_, BTreeMap<Shard, i64>> {
        self.dropped_us.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every slot before this moment, microseconds since the epoch, has its row.
    /// `None` while the schedule has not acted on `round` of the leases: its slots
    /// are not in the plan yet.
    ///
    /// The plan is asked before the intake: a result goes into the intake before it
    /// leaves the plan, so a slot that is open is in one of them.
    pub fn complete_until_us(&self, round: u64) -> Option<i64> {
        if self.adopted_round.load(Ordering::Acquire) < round {
            return None;
        }
        let now_us = self.clock.now_us();
        let changing = self.changing_us.load(Ordering::Acquire);
        let in_plan = self.oldest_open_us.load(Ordering::Acquire).min(changing);
        let in_intake = self.intake.oldest_us().unwrap_or(i64::MAX);
        // No further: until the next slot is due there may be other targets, with other slots.
        Some(in_plan.min(in_intake).min(now_us))
    }
}
