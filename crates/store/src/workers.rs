//! What workers say about themselves.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::StoreError;

/// One worker's report, written every second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Unique for each process.
    pub worker_id: String,
    /// When the process started.
    pub started_at: DateTime<Utc>,
    /// Largest lateness of a start since the last report, microseconds.
    pub lag_us: i64,
    /// Slots missed since the process started.
    pub missed: i64,
    /// Slots lost to its own faults since the process started.
    pub unknown: i64,
    /// Probes under way.
    pub in_flight: i32,
    /// Results waiting in memory.
    pub queue_depth: i64,
    /// Results waiting on disk.
    pub spool_depth: i64,
    /// Whether results can go to disk.
    pub spool_usable: bool,
    /// Since when its own network or name server is gone; `None` while they are there.
    pub offline_since: Option<DateTime<Utc>>,
    /// Digest of the target list.
    pub config_digest: i64,
    /// Why a newer configuration is not in use.
    pub config_error: Option<String>,
}

impl Report {
    /// What a worker says before it has done anything; `config_digest` is that of its target list.
    pub fn first(worker_id: &str, started_at: DateTime<Utc>, config_digest: i64) -> Self {
        Self {
            worker_id: worker_id.to_owned(),
            started_at,
            lag_us: 0,
            missed: 0,
            unknown: 0,
            in_flight: 0,
            queue_depth: 0,
            spool_depth: 0,
            spool_usable: true,
            offline_since: None,
            config_digest,
            config_error: None,
        }
    }
}

/// Writes a report; the first one makes the row.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn report(connection: &mut PgConnection, report: &Report) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into worker (worker_id, started_at, seen_at, version, lag_us, missed, unknown, in_flight, queue_depth,
              config_digest, config_error, spool_depth, spool_usable, offline_since)
         values ($1, $2, clock_timestamp(), $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         on conflict (worker_id) do update set
             seen_at = excluded.seen_at, lag_us = excluded.lag_us, missed = excluded.missed,
             unknown = excluded.unknown, in_flight = excluded.in_flight, queue_depth = excluded.queue_depth,
             config_digest = excluded.config_digest, config_error = excluded.config_error,
             spool_depth = excluded.spool_depth, spool_usable = excluded.spool_usable,
             offline_since = excluded.offline_since,
             -- Whoever reports is not dead, whatever was made of its lock.
             stopped_at = case when worker.crashed then null else worker.stopped_at end, crashed = false",
        report.worker_id,
        report.started_at,
        env!("CARGO_PKG_VERSION"),
        report.lag_us,
        report.missed,
        report.unknown,
        report.in_flight,
        report.queue_depth,
        report.config_digest,
        report.config_error,
        report.spool_depth,
        report.spool_usable,
        report.offline_since,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// How many workers run: those that reported within a lease and have not stopped.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn running(connection: &mut PgConnection) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"select count(*) as "count!" from worker
           where stopped_at is null and seen_at > clock_timestamp() - $1::interval"#,
        crate::leases::lease_interval(),
    )
    .fetch_one(connection)
    .await?)
}

/// Notes a clean stop.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn stopped(connection: &mut PgConnection, worker_id: &str) -> Result<(), StoreError> {
    sqlx::query!(
        "update worker
         set stopped_at = clock_timestamp(), crashed = false, in_flight = 0, queue_depth = 0, spool_depth = 0
         where worker_id = $1",
        worker_id
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Notes that the processes of these have ended. Those that did not stop cleanly have crashed: their leases end
/// now instead of running out. Gives back who they are.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn ended(connection: &mut PgConnection, workers: &[String]) -> Result<Vec<String>, StoreError> {
    Ok(sqlx::query_scalar!(
        "with free as (
             update shard_lease set holder = null, expires_at = '-infinity', released_at = null where holder = any($1)
         )
         update worker
         set stopped_at = clock_timestamp(), crashed = true, in_flight = 0, queue_depth = 0, spool_depth = 0
         where worker_id = any($1) and stopped_at is null
         returning worker_id",
        workers,
    )
    .fetch_all(connection)
    .await?)
}

/// A worker as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Unique for each process.
    pub worker_id: String,
    /// When the process started.
    pub started_at: DateTime<Utc>,
    /// When it last reported.
    pub seen_at: DateTime<Utc>,
    /// When it stopped, or was found dead; `None` while it runs, and when it just vanished.
    pub stopped_at: Option<DateTime<Utc>>,
    /// It was found dead.
    pub crashed: bool,
    /// Its version.
    pub version: String,
    /// Largest lateness of a start in the second before its report, microseconds.
    pub lag_us: i64,
    /// Slots missed since it started.
    pub missed: i64,
    /// Slots lost to its own faults since it started.
    pub unknown: i64,
    /// Probes under way.
    pub in_flight: i32,
    /// Results waiting for Postgres in its memory.
    pub queue_depth: i64,
    /// Results waiting for Postgres on its disk.
    pub spool_depth: i64,
    /// Whether results can go to its disk.
    pub spool_usable: bool,
    /// Since when its own network or name server is gone; `None` while they are there.
    pub offline_since: Option<DateTime<Utc>>,
    /// Digest of its target list.
    pub config_digest: i64,
    /// Why a newer configuration is not in use.
    pub config_error: Option<String>,
    /// Shards it holds a lease on.
    pub shards: i64,
}

/// Workers that reported within the last ten minutes, the newest first.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn list(connection: &mut PgConnection) -> Result<Vec<Seen>, StoreError> {
    Ok(sqlx::query_as!(
        Seen,
        r#"select w.worker_id, w.started_at, w.seen_at, w.stopped_at, w.crashed, w.version, w.lag_us, w.missed, w.unknown,
                  w.in_flight, w.queue_depth, w.spool_depth, w.spool_usable, w.offline_since, w.config_digest,
                  w.config_error,
                  (select count(*) from shard_lease l
                   where l.holder = w.worker_id and l.expires_at > clock_timestamp()) as "shards!"
           from worker w
           where w.seen_at > clock_timestamp() - interval '10 minutes'
           order by w.started_at desc"#,
    )
    .fetch_all(connection)
    .await?)
}

/// The newest moment of a check that is stored, within the last day.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn newest_check(connection: &mut PgConnection) -> Result<Option<DateTime<Utc>>, StoreError> {
    // Index: check_result_time, backwards.
    Ok(sqlx::query_scalar!(
        "select slot_at from check_result where slot_at > clock_timestamp() - interval '1 day'
           and slot_at < clock_timestamp() + interval '1 day' order by slot_at desc limit 1"
    )
    .fetch_optional(connection)
    .await?)
}
