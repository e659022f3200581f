//! Keeping hold of shards: renew once a second, take what nobody holds, hand over
//! what is more than our share.
//!
//! A worker that cannot reach Postgres keeps probing what it holds. A worker that
//! was paused for longer than a lease starts nothing until it has asked again.
//!
//! A hand-over happens at one moment: the schedule drops the shards, and that
//! moment goes into the lease. Slots before it stay with the old holder, however
//! long their probes take; the new one begins with those after it. Nobody waits. The
//! moment is that of the schedule, for each shard: other rounds, and a stop, may come
//! between it and the lease.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use common::target::micros_to_utc;
use common::{SHARDS, Shard, TargetId};
use store::leases::{self, LEASE, Taken};
use store::{PgConnection, PgPool, StoreError, workers};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::backfill::{self, Due, Span};
use crate::plan::{First, Tenure};
use crate::recorder::Keeper;
use crate::shared::Shared;
use crate::spool::Names;

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
    /// What there is to probe.
    pub targets: Roster,
    /// Who knows which workers of our machine are dead, before their leases run out.
    pub keeper: Option<Keeper>,
}

/// What there is to probe, which may change. Clones share it.
#[derive(Debug, Clone)]
pub struct Roster {
    targets: Arc<Mutex<Arc<[Due]>>>,
    names: Names,
}

impl Roster {
    /// A roster of these.
    pub fn new(targets: Vec<Due>) -> Self {
        let roster = Self { targets: Arc::default(), names: Names::default() };
        roster.set(targets);
        roster
    }

    /// Replaces all.
    pub fn set(&self, targets: Vec<Due>) {
        self.names.set(targets.iter().map(|due| (due.target_id, due.key)));
        *self.targets.lock().unwrap_or_else(PoisonError::into_inner) = targets.into();
    }

    /// Which row has which key.
    pub fn names(&self) -> Names {
        self.names.clone()
    }

    fn get(&self) -> Arc<[Due]> {
        Arc::clone(&self.targets.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A shard we hold, as we took it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) epoch: i64,
    released_at: Option<DateTime<Utc>>,
}

/// Where we are, changed only by a round that went through.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// Counts the rounds told to the schedule.
    round: u64,
    /// A round was begun from here. If it changed nothing, its answer was lost, and Postgres may know more.
    is_tried: Arc<AtomicBool>,
    /// The shards we hold; those that leave included.
    pub(crate) held: BTreeMap<Shard, Held>,
    /// Those the schedule was told to drop, and in which round.
    pub(crate) leaving: Vec<Shard>,
    leaving_round: u64,
    /// Where targets begin that the schedule may not know of yet.
    first: BTreeMap<TargetId, First>,
    /// Slots that the last holders of our shards may still be writing.
    unsettled: Vec<(Instant, Vec<Span>)>,
    /// Workers there were in the last round.
    pub(crate) running: i64,
}

impl State {
    fn shards(&self) -> Vec<Shard> {
        self.held.keys().copied().filter(|shard| !self.leaving.contains(shard)).collect()
    }

    /// What the schedule may do after a round that was begun at `begun`.
    pub(crate) fn standing(&self, begun: Instant) -> Standing {
        let tenure = Tenure { shards: self.shards(), leaving: self.leaving.clone(), first: self.first.clone() };
        Standing { round: self.round, tenure, confirmed_until: Some(begun + LEASE) }
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
                    standing.send_replace(next.standing(begun));
                    state = next;
                }
                Err(error) => {
                    if reachable {
                        warn!("cannot renew leases, probing on: {error}");
                    }
                    reachable = false;
                    go_on(&standing);
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
    pub(crate) async fn round(&self, state: &State) -> Result<State, StoreError> {
        let Shared { clock, intake, stats, .. } = &self.shared;
        let mut connection = store::pool::acquire(&self.pool).await?;
        let is_retry = state.is_tried.swap(true, Ordering::Relaxed);
        let mut next = State { round: state.round + 1, is_tried: Arc::default(), ..state.clone() };
        let complete_until = self.complete_until_us(state).map(micros_to_utc);
        if self.shared.adopted_round.load(Ordering::Acquire) >= state.round {
            next.first.clear();
        }
        if !next.leaving.is_empty() && self.shared.adopted_round.load(Ordering::Acquire) >= next.leaving_round {
            let leaving = std::mem::take(&mut next.leaving);
            let (left, kept): (BTreeMap<_, _>, _) =
                next.held.into_iter().partition(|(shard, _)| leaving.contains(shard));
            next.held = kept;
            self.release(&mut connection, left, complete_until).await?;
        }

        // Only what we know we hold: a shard taken in a round that failed runs out
        // and is taken again, so that its past is accounted for.
        let known: Vec<Shard> = next.held.keys().copied().collect();
        let renewed = leases::renew(&mut connection, &self.worker_id, &known, complete_until).await?;
        let asked = Instant::now();
        let database_now = leases::database_time(&mut connection).await?;
        clock.correct(database_now.timestamp_micros(), asked, Instant::now());

        if let Some(keeper) = &self.keeper {
            let ended = keeper.ended();
            if !ended.is_empty() {
                for worker in workers::ended(&mut connection, &ended).await? {
                    info!(worker, "found dead: its shards are free at once");
                }
                keeper.done_with(&ended);
            }
        }
        next.running = workers::running(&mut connection).await?.max(1);
        let share = (i64::from(SHARDS) + next.running - 1) / next.running;
        let taken = leases::take(&mut connection, &self.worker_id, share - renewed.len() as i64).await?;
        let now_us = clock.now_us();
        // A lease that ran out and that nobody else had since is still open with us.
        let is_new = |lease: &&Taken| known_epoch(&next, lease) != Some(lease.epoch - 1);
        let new: Vec<&Taken> = taken.iter().filter(is_new).collect();
        let mut takeover = backfill::plan(&self.targets.get(), &new, now_us);
        backfill::skip_recorded(&mut connection, &mut takeover.first, now_us).await?;
        backfill::account(&mut connection, &takeover.now, intake, stats).await?;
        if let Some(suspect) = intake.suspected() {
            let ours: Vec<Due> =
                self.targets.get().iter().filter(|due| state.held.contains_key(&due.shard)).copied().collect();
            backfill::account(&mut connection, &backfill::spans(&ours, suspect), intake, stats).await?;
            intake.cleared(suspect);
        }
        next.first.extend(takeover.first);
        if !takeover.later.is_empty() {
            next.unsettled.push((Instant::now() + takeover.patience, takeover.later));
        }
        let (due, unsettled) = next.unsettled.into_iter().partition(|(at, _)| *at <= Instant::now());
        next.unsettled = unsettled;
        for (_, spans) in due {
            backfill::account(&mut connection, &spans, intake, stats).await?;
        }

        let held = |lease: &Taken| Held { epoch: lease.epoch, released_at: lease.released_at };
        let still = renewed.iter().filter_map(|shard| Some((*shard, *next.held.get(shard)?)));
        next.held = still.chain(taken.iter().map(|lease| (lease.shard, held(lease)))).collect();
        next.leaving.retain(|shard| next.held.contains_key(shard));
        stats.set_leases(next.held.len(), next.held.values().map(|held| held.epoch).max().unwrap_or(0), taken.len());
        let surplus = next.held.len().saturating_sub(usize::try_from(share).unwrap_or(usize::MAX));
        // Only what the schedule works on has a moment at which it can stop: a shard
        // given away before it began would leave its slots in between to nobody.
        // After a round whose answer was lost it may stand still for want of leases that are sure.
        let all_adopted =
            !is_retry && taken.is_empty() && self.shared.adopted_round.load(Ordering::Acquire) >= state.round;
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

    /// Hands shards over, each from the moment at which the schedule dropped it. One
    /// that it never worked on is left as it was found.
    async fn release(
        &self,
        connection: &mut PgConnection,
        held: BTreeMap<Shard, Held>,
        complete_until: Option<DateTime<Utc>>,
    ) -> Result<(), StoreError> {
        let mut alike: BTreeMap<_, Vec<Shard>> = BTreeMap::new();
        {
            let dropped_us = self.shared.dropped_us();
            for (shard, found) in held {
                let as_it_is = match dropped_us.get(&shard) {
                    Some(moment) => (Some(micros_to_utc(*moment)), complete_until),
                    None => (found.released_at, None),
                };
                alike.entry(as_it_is).or_default().push(shard);
            }
        }
        for ((released_at, complete_until), shards) in alike {
            leases::release(connection, &self.worker_id, &shards, released_at, complete_until).await?;
        }
        Ok(())
    }

    /// Hands over everything as soon as the schedule has dropped it.
    pub(crate) async fn leave(&self, state: &State) {
        while self.shared.adopted_round.load(Ordering::Acquire) != u64::MAX {
            sleep(Duration::from_millis(5)).await;
        }
        let complete_until = self.complete_until_us(state).map(micros_to_utc);
        let result = async {
            let mut connection = store::pool::acquire(&self.pool).await?;
            self.release(&mut connection, state.held.clone(), complete_until).await?;
            workers::stopped(&mut connection, &self.worker_id).await
        };
        if let Err(error) = result.await {
            warn!("could not hand the shards over: {error}; their leases run out by themselves");
        }
    }
}

/// Tells the schedule that Postgres is away: a holder goes on.
pub(crate) fn go_on(standing: &watch::Sender<Standing>) {
    standing.send_modify(|standing| standing.confirmed_until = None);
}

fn known_epoch(state: &State, lease: &Taken) -> Option<i64> {
    state.held.get(&lease.shard).map(|held| held.epoch)
}
