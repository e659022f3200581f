//! Keeping hold of shards: renew once a second, take what nobody holds, hand over
//! what is more than our share.
//!
//! A worker that cannot reach Postgres keeps probing what it holds. A worker that
//! was paused for longer than a lease starts nothing until it has asked again.
//!
//! A hand-over happens at one moment: the schedule drops the shards, and that
//! moment goes into the lease. Slots before it stay with the old holder, however
//! long their probes take; the new one begins with those after it. Nobody waits.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::target::micros_to_utc;
use common::{SHARDS, Shard, Slot};
use store::leases::{self, LEASE, Taken};
use store::{PgPool, StoreError, workers};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::backfill::{self, Due, Span};
use crate::plan::Tenure;
use crate::shared::Shared;

/// Leases are renewed this often, which leaves four attempts before one runs out.
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// While shards change hands we look more often, so that none lies idle.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long after a change we go on looking often.
const ALERT: Duration = Duration::from_secs(10);

/// A round that takes longer counts as Postgres being away.
const ROUND_DEADLINE: Duration = Duration::from_secs(2);

/// What the schedule may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Counts the rounds, from 1.
    pub round: u64,
    /// Which shards to probe, and where to begin.
    pub tenure: Tenure,
    /// Start nothing after this moment without having heard again. `None` while
    /// Postgres is away: then a holder goes on.
    pub confirmed_until: Option<Instant>,
}

/// Keeps the leases of one worker.
#[derive(Debug)]
pub struct Leases {
    /// Connections.
    pub pool: PgPool,
    /// Who we are.
    pub worker_id: String,
    /// What we share with the schedule.
    pub shared: Shared,
    /// What there is to probe, in the order the schedule has it.
    pub targets: Vec<Due>,
}

/// Where we are, changed only by a round that went through.
#[derive(Debug, Clone, Default)]
struct State {
    /// Counts the rounds told to the schedule.
    round: u64,
    /// The shards we hold, each with its epoch; those that leave included.
    held: BTreeMap<Shard, i64>,
    /// Those the schedule was told to drop, and in which round.
    leaving: Vec<Shard>,
    leaving_round: u64,
    /// Where targets begin that the schedule may not know of yet.
    first: BTreeMap<usize, Slot>,
    /// Slots that the last holders of our shards may still be writing.
    unsettled: Vec<(Instant, Vec<Span>)>,
    /// Workers there were in the last round.
    running: i64,
}

impl State {
    fn shards(&self) -> Vec<Shard> {
        self.held.keys().copied().filter(|shard| !self.leaving.contains(shard)).collect()
    }
}

impl Leases {
    /// Renews, takes and hands over leases until `stop`, and tells the schedule;
    /// then hands over everything.
    pub async fn run(self, standing: watch::Sender<Standing>, stop: CancellationToken) {
        let mut state = State::default();
        let mut reachable = true;
        let mut alert_until = Instant::now() + ALERT;
        loop {
            let begun = Instant::now();
            let round = timeout(ROUND_DEADLINE, self.round(&state)).await;
            match round.unwrap_or_else(|_| Err(StoreError::deadline_passed())) {
                Ok(next) => {
                    reachable = true;
                    let (before, now) = (state.shards(), next.shards());
                    if before != now || state.running != next.running {
                        alert_until = Instant::now() + ALERT;
                    }
                    if before.len() != now.len() {
                        info!(shards = now.len(), before = before.len(), workers = next.running, "holding shards");
                    }
                    let tenure = Tenure { shards: now, leaving: next.leaving.clone(), first: next.first.clone() };
                    standing.send_replace(Standing { round: next.round, tenure, confirmed_until: Some(begun + LEASE) });
                    state = next;
                }
                Err(error) => {
                    if reachable {
                        warn!("cannot renew leases, probing on: {error}");
                    }
                    reachable = false;
                    standing.send_modify(|standing| standing.confirmed_until = None);
                }
            }
            // With a share to win or to give away there is something to look out for.
            let is_alert = Instant::now() < alert_until && (state.running > 1 || !state.leaving.is_empty());
            tokio::select! {
                () = sleep(if is_alert { LOOK_EVERY } else { RENEW_EVERY }) => {}
                () = stop.cancelled() => break,
            }
        }
        if timeout(Duration::from_secs(1), self.leave(&state)).await.is_err() {
            warn!("could not hand the shards over; their leases run out by themselves");
        }
    }

    /// One round with Postgres, and where we are after it.
    async fn round(&self, state: &State) -> Result<State, StoreError> {
        let Shared { clock, intake, stats, .. } = &self.shared;
        let mut connection = store::pool::acquire(&self.pool).await?;
        let mut next = State { round: state.round + 1, ..state.clone() };
        let complete_until = self.complete_until_us(state).map(micros_to_utc);
        if self.shared.adopted_round.load(Ordering::Acquire) >= state.round {
            next.first.clear();
        }
        if !next.leaving.is_empty() && self.shared.adopted_round.load(Ordering::Acquire) >= next.leaving_round {
            let released_at = micros_to_utc(self.shared.adopted_us.load(Ordering::Acquire));
            let leaving = std::mem::take(&mut next.leaving);
            leases::release(&mut connection, &self.worker_id, &leaving, released_at, complete_until).await?;
            next.held.retain(|shard, _| !leaving.contains(shard));
        }

        // Only what we know we hold: a shard taken in a round that failed runs out
        // and is taken again, so that its past is accounted for.
        let known: Vec<Shard> = next.held.keys().copied().collect();
        let renewed = leases::renew(&mut connection, &self.worker_id, &known, complete_until).await?;
        let asked = Instant::now();
        let database_now = leases::database_time(&mut connection).await?;
        clock.correct(database_now.timestamp_micros(), asked, Instant::now());

        next.running = workers::running(&mut connection).await?.max(1);
        let share = (i64::from(SHARDS) + next.running - 1) / next.running;
        let taken = leases::take(&mut connection, &self.worker_id, share - renewed.len() as i64).await?;
        let now_us = clock.now_us();
        // A lease that ran out and that nobody else had since is still open with us.
        let is_new = |lease: &&Taken| known_epoch(&next, lease) != Some(lease.epoch - 1);
        let new: Vec<&Taken> = taken.iter().filter(is_new).collect();
        let takeover = backfill::plan(&self.targets, &new, now_us);
        backfill::account(&mut connection, &self.targets, &takeover.now, intake, stats).await?;
        next.first.extend(takeover.first);
        if !takeover.later.is_empty() {
            next.unsettled.push((Instant::now() + takeover.patience, takeover.later));
        }
        let (due, unsettled) = next.unsettled.into_iter().partition(|(at, _)| *at <= Instant::now());
        next.unsettled = unsettled;
        for (_, spans) in due {
            backfill::account(&mut connection, &self.targets, &spans, intake, stats).await?;
        }

        let epochs = renewed.iter().filter_map(|shard| Some((*shard, *next.held.get(shard)?)));
        next.held = epochs.chain(taken.iter().map(|lease| (lease.shard, lease.epoch))).collect();
        next.leaving.retain(|shard| next.held.contains_key(shard));
        stats.set_leases(next.held.len(), next.held.values().copied().max().unwrap_or(0), taken.len());
        let surplus = next.held.len().saturating_sub(usize::try_from(share).unwrap_or(usize::MAX));
        // Only what the schedule works on has a moment at which it can stop: a shard
        // given away before it began would leave its slots in between to nobody.
        let all_adopted = taken.is_empty() && self.shared.adopted_round.load(Ordering::Acquire) >= state.round;
        if next.leaving.is_empty() && surplus > 0 && all_adopted {
            next.leaving = next.held.keys().rev().take(surplus).copied().collect();
            next.leaving_round = next.round;
        }
        Ok(next)
    }

    /// Before this every slot of our shards has its row, as far as it was ever ours.
    fn complete_until_us(&self, state: &State) -> Option<i64> {
        let unsettled = state.unsettled.iter().flat_map(|(_, spans)| spans).map(|span| span.from_us()).min();
        let ours = self.shared.complete_until_us(state.round)?;
        Some(ours.min(unsettled.unwrap_or(i64::MAX)))
    }

    /// Hands over everything as soon as the schedule has dropped it.
    async fn leave(&self, state: &State) {
        while self.shared.adopted_round.load(Ordering::Acquire) != u64::MAX {
            sleep(Duration::from_millis(5)).await;
        }
        let released_at = micros_to_utc(self.shared.adopted_us.load(Ordering::Acquire));
        let complete_until = self.complete_until_us(state).map(micros_to_utc);
        let held: Vec<Shard> = state.held.keys().copied().collect();
        let result = async {
            let mut connection = store::pool::acquire(&self.pool).await?;
            leases::release(&mut connection, &self.worker_id, &held, released_at, complete_until).await?;
            workers::stopped(&mut connection, &self.worker_id).await
        };
        if let Err(error) = result.await {
            warn!("could not hand the shards over: {error}; their leases run out by themselves");
        }
    }
}

fn known_epoch(state: &State, lease: &Taken) -> Option<i64> {
    state.held.get(&lease.shard).copied()
}
