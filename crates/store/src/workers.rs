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
    /// Probes under way.
    pub in_flight: i32,
    /// Results waiting in memory.
    pub queue_depth: i64,
    /// Digest of the target list.
    pub config_digest: i64,
}

/// Writes a report; the first one makes the row.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn report(connection: &mut PgConnection, report: &Report) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into worker (worker_id, started_at, seen_at, version, lag_us, missed, in_flight, queue_depth, config_digest)
         values ($1, $2, clock_timestamp(), $3, $4, $5, $6, $7, $8)
         on conflict (worker_id) do update set
             seen_at = excluded.seen_at, lag_us = excluded.lag_us, missed = excluded.missed,
             in_flight = excluded.in_flight, queue_depth = excluded.queue_depth,
             config_digest = excluded.config_digest",
        report.worker_id,
        report.started_at,
        env!("CARGO_PKG_VERSION"),
        report.lag_us,
        report.missed,
        report.in_flight,
        report.queue_depth,
        report.config_digest,
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
        "update worker set stopped_at = clock_timestamp(), in_flight = 0, queue_depth = 0 where worker_id = $1",
        worker_id
    )
    .execute(connection)
    .await?;
    Ok(())
}
