//! Keeping house: partitions made ahead and dropped, hours and days rolled up.
//!
//! The worker that holds the first shard does it, so it is one at a time by the
//! same leases as everything else. Every step is safe to repeat and to be killed in,
//! which also covers the moment in which two believe it is theirs.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use common::Shard;
use store::{PgPool, StoreError, partitions, rollups};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::leases::Standing;

/// Rounds begin this often.
const EVERY: Duration = Duration::from_secs(60);

/// Whoever holds this shard keeps house.
const KEEPER: Shard = Shard(0);

/// Second roll-ups are for live graphs; minutes serve everything older.
const KEEP_SECONDS: TimeDelta = TimeDelta::days(2);

/// How long what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Checks one by one, and posted events.
    pub checks: TimeDelta,
    /// Minute roll-ups.
    pub minutes: TimeDelta,
    /// Hour roll-ups; days are kept for ever.
    pub hours: TimeDelta,
}

impl Default for Retention {
    fn default() -> Self {
        Self { checks: TimeDelta::days(30), minutes: TimeDelta::days(30), hours: TimeDelta::days(400) }
    }
}

/// Keeps house once a minute, while it is ours to do, until `stop`.
pub async fn run(
    pool: PgPool,
    retention: Retention,
    standing: watch::Receiver<Standing>,
    now: impl Fn() -> DateTime<Utc>,
    stop: CancellationToken,
) {
    loop {
        let is_ours = standing.borrow().tenure.shards.contains(&KEEPER);
        let pause = if is_ours {
            let round = round(&pool, retention, now());
            tokio::select! {
                result = round => if let Err(error) = result {
                    warn!("keeping house: {error}; trying again in a minute");
                },
                // Half a round is a good round: the rest is done next time.
                () = stop.cancelled() => return,
            }
            EVERY
        } else {
            // Soon after the start, and soon after the last keeper is gone.
            Duration::from_secs(5)
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// One round.
///
/// # Errors
/// Whatever Postgres reports; what was done by then stays done.
pub async fn round(pool: &PgPool, retention: Retention, now: DateTime<Utc>) -> Result<(), StoreError> {
    let made = partitions::ensure_around(pool, now).await?;
    if made > 0 {
        info!(partitions = made, "made partitions ahead");
    }
    loop {
        let mut connection = store::pool::acquire(pool).await?;
        let hours = rollups::compute(&mut connection, now, now - retention.minutes).await?;
        if hours == 0 {
            break;
        }
        debug!(hours, "rolled up");
    }
    for (table, keep) in
        [("check_result", retention.checks), ("access_event", retention.checks), ("rollup_minute", retention.minutes)]
    {
        let dropped = partitions::drop_before(pool, table, (now - keep).date_naive()).await?;
        if dropped > 0 {
            info!(partitions = dropped, table, "dropped what is over its time");
        }
    }
    while partitions::delete_before(pool, now - KEEP_SECONDS, now - retention.checks, now - retention.hours).await? > 0
    {
    }
    Ok(())
}
