//! Keeping hold of shards: renew once a second, take what nobody holds.
//!
//! A worker that cannot reach Postgres keeps probing what it holds. A worker that
//! was paused for longer than a lease starts nothing until it has asked again.

use std::collections::BTreeSet;
use std::time::Duration;

use common::Shard;
use common::target::micros_to_utc;
use store::leases::{self, LEASE};
use store::{PgPool, StoreError};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::Clock;

/// Leases are renewed this often, which leaves four attempts before one runs out.
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// A renewal that takes longer counts as Postgres being away.
const RENEW_DEADLINE: Duration = Duration::from_secs(2);

/// What the schedule may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The shards to probe.
    pub shards: Vec<Shard>,
    /// Start nothing after this moment without having heard again. `None` while
    /// Postgres is away: then a holder goes on.
    pub confirmed_until: Option<Instant>,
}

/// Renews and takes leases until `stop`. `complete_until` gives the moment,
/// microseconds since the epoch, before which every slot has its row.
pub async fn run(
    pool: PgPool,
    worker_id: &str,
    clock: &Clock,
    complete_until: impl Fn() -> Option<i64>,
    standing: watch::Sender<Standing>,
    stop: CancellationToken,
) {
    let mut tick = interval(RENEW_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reachable = true;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => return,
        }
        let renewal = renew(&pool, worker_id, clock, complete_until());
        match timeout(RENEW_DEADLINE, renewal).await.unwrap_or_else(|_| Err(StoreError::deadline_passed())) {
            Ok(renewed) => {
                reachable = true;
                let before = standing.borrow().shards.len();
                if before != renewed.shards.len() {
                    info!(shards = renewed.shards.len(), before, "holding shards");
                }
                standing.send_replace(renewed);
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

async fn renew(
    pool: &PgPool,
    worker_id: &str,
    clock: &Clock,
    complete_until: Option<i64>,
) -> Result<Standing, StoreError> {
    let mut connection = store::pool::acquire(pool).await?;
    let begun = Instant::now();
    let renewed = leases::renew(&mut connection, worker_id, complete_until.map(micros_to_utc)).await?;
    let asked = Instant::now();
    let now = leases::database_time(&mut connection).await?;
    clock.correct(now.timestamp_micros(), asked, Instant::now());
    let taken = leases::take(&mut connection, worker_id).await?;
    let shards: BTreeSet<Shard> = renewed.into_iter().chain(taken.into_iter().map(|taken| taken.shard)).collect();
    Ok(Standing { shards: shards.into_iter().collect(), confirmed_until: Some(begun + LEASE) })
}
