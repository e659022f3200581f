//! How lookout itself does.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use store::{PgConnection, cursors, workers};
use utoipa::ToSchema;

use crate::answer::Moment;
use crate::error::ApiError;

/// How lookout itself does.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Health {
    workers_running: usize,
    /// Running workers whose own network or name server is gone: what fails there is unknown, not down.
    workers_offline: usize,
    /// Since when, the first of them; null while there is none.
    offline_since: Option<Moment>,
    /// The largest lateness of a start that a running worker reports, in milliseconds.
    worst_lag_ms: f64,
    /// Slots missed since the running workers started.
    missed: i64,
    /// Slots lost to their own faults since they started.
    unknown: i64,
    /// Results in memory that wait for Postgres.
    queue_depth: i64,
    /// Results on disk that wait for Postgres.
    spool_depth: i64,
    readers: Vec<Behind>,
}

/// Who follows what is stored.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = OverviewReader)]
pub(super) struct Behind {
    #[schema(example = "incidents")]
    name: String,
    /// Batches not followed yet, up to 100,000.
    batches_behind: i64,
}

impl Health {
    pub(super) fn none() -> Self {
        Self {
            workers_running: 0,
            workers_offline: 0,
            offline_since: None,
            worst_lag_ms: 0.0,
            missed: 0,
            unknown: 0,
            queue_depth: 0,
            spool_depth: 0,
            readers: Vec::new(),
        }
    }
}

pub(super) async fn health(connection: &mut PgConnection, now: DateTime<Utc>) -> Result<Health, ApiError> {
    let alive = TimeDelta::seconds(5);
    let seen = workers::list(connection).await?;
    let running: Vec<_> =
        seen.iter().filter(|worker| worker.stopped_at.is_none() && now - worker.seen_at <= alive).collect();
    let sum = |of: fn(&workers::Seen) -> i64| running.iter().map(|worker| of(worker)).sum();
    let offline: Vec<_> = running.iter().filter_map(|worker| worker.offline_since).collect();
    let readers = cursors::behind(connection).await?;
    Ok(Health {
        workers_running: running.len(),
        workers_offline: offline.len(),
        offline_since: offline.into_iter().min().map(Moment::from),
        worst_lag_ms: running.iter().map(|worker| worker.lag_us).max().unwrap_or(0) as f64 / 1000.0,
        missed: sum(|worker| worker.missed),
        unknown: sum(|worker| worker.unknown),
        queue_depth: sum(|worker| worker.queue_depth),
        spool_depth: sum(|worker| worker.spool_depth),
        readers: readers
            .into_iter()
            .map(|reader| Behind { name: reader.reader, batches_behind: reader.batches })
            .collect(),
    })
}
