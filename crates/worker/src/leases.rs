//! Keeping hold of shards: renew once a second, take what nobody holds.
//!
//! A worker that cannot reach Postgres keeps probing what it holds. A worker that
//! was paused for longer than a lease starts nothing until it has asked again.

use std::collections::BTreeMap;
use std::time::Duration;

use common::Shard;
use common::target::micros_to_utc;
use store::leases::{self, LEASE, Taken};
use store::{PgPool, StoreError};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::backfill::{self, Due};
use crate::schedule::Shared;

/// Leases are renewed this often, which leaves four attempts before one runs out.
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// A renewal that takes longer counts as Postgres being away.
const RENEW_DEADLINE: Duration = Duration::from_secs(2);

/// The shards we hold, each with its epoch.
type Held = BTreeMap<Shard, i64>;

/// What the schedule may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Counts the rounds, from 1.
    pub round: u64,
    /// The shards to probe.
    pub shards: Vec<Shard>,
    /// Slots of shards that are new here are ours from this moment on, microseconds
    /// since the epoch; those before it are accounted for.
    pub since_us: i64,
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
    pub targets: Vec<Due>,
}

impl Leases {
    /// Renews and takes leases until `stop`, and tells the schedule.
    pub async fn run(self, standing: watch::Sender<Standing>, stop: CancellationToken) {
        let mut tick = interval(RENEW_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut held = Held::new();
        let mut reachable = true;
        let mut round = 0;
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = stop.cancelled() => return,
            }
            let renewal = timeout(RENEW_DEADLINE, self.renew(&held, round)).await;
            match renewal.unwrap_or_else(|_| Err(StoreError::deadline_passed())) {
                Ok((now_held, since_us, confirmed_until)) => {
                    reachable = true;
                    if held.len() != now_held.len() {
                        info!(shards = now_held.len(), before = held.len(), "holding shards");
                    }
                    held = now_held;
                    round += 1;
                    let shards = held.keys().copied().collect();
                    standing.send_replace(Standing { round, shards, since_us, confirmed_until: Some(confirmed_until) });
                }
                Err(error) => {
                    if reachable {
                        warn!("cannot renew leases, probing on: {error}");
                    }
                    reachable = false;
                    standing.send_modify(|standing| standing.confirmed_until = None);
                }
            }
        }
    }

    /// One round: what we hold now, from when on new shards are ours, and until when that is sure.
    async fn renew(&self, held: &Held, round: u64) -> Result<(Held, i64, Instant), StoreError> {
        let Shared { clock, intake, stats, .. } = &self.shared;
        let mut connection = store::pool::acquire(&self.pool).await?;
        let begun = Instant::now();
        let complete_until = self.shared.complete_until_us(round).map(micros_to_utc);
        // Only what we know we hold: a shard that was taken in a round that failed
        // runs out and is taken again, so that its past is accounted for.
        let known: Vec<Shard> = held.keys().copied().collect();
        let renewed = leases::renew(&mut connection, &self.worker_id, &known, complete_until).await?;
        let asked = Instant::now();
        let now = leases::database_time(&mut connection).await?;
        clock.correct(now.timestamp_micros(), asked, Instant::now());

        let taken = leases::take(&mut connection, &self.worker_id).await?;
        let since_us = clock.now_us();
        // A lease that ran out and that nobody else had is still open with us.
        let is_new = |lease: &&Taken| held.get(&lease.shard) != Some(&(lease.epoch - 1));
        let new: Vec<&Taken> = taken.iter().filter(is_new).collect();
        backfill::account(&mut connection, &self.targets, &new, since_us, intake, stats).await?;

        let mut now_held: Held = renewed.iter().filter_map(|shard| Some((*shard, *held.get(shard)?))).collect();
        now_held.extend(taken.iter().map(|lease| (lease.shard, lease.epoch)));
        Ok((now_held, since_us, begun + LEASE))
    }
}
