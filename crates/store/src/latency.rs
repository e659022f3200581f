//! How long a target took to answer, from the buckets that roll-ups keep.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use common::TargetId;
use common::status::LATENCY_BUCKETS;
use sqlx::postgres::types::PgInterval;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::StoreError;
use crate::windows::{Segment, Source};

/// Answered checks by how long they took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Latency {
    /// As [`common::status::LATENCY_BOUNDS_MS`] cuts them.
    pub buckets: [i64; LATENCY_BUCKETS],
    /// The longest, microseconds.
    pub max_us: i32,
}

impl Latency {
    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        for (sum, count) in self.buckets.iter_mut().zip(other.buckets) {
            *sum += count;
        }
        self.max_us = self.max_us.max(other.max_us);
    }
}

/// Adds what `segment` holds to `into`, by steps counted from 1970. Rows and seconds, which
/// keep no buckets, are read from minutes.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn read(
    connection: &mut PgConnection,
    target: TargetId,
    segment: Segment,
    step: TimeDelta,
    into: &mut BTreeMap<DateTime<Utc>, Latency>,
) -> Result<(), StoreError> {
    let table = match segment.source {
        Source::Rows | Source::Second | Source::Minute => "rollup_minute",
        Source::Hour => "rollup_hour",
        Source::Day => "rollup_day",
    };
    let step = PgInterval { months: 0, days: 0, microseconds: step.num_microseconds().unwrap_or(i64::MAX) };
    // Index: the primary key. Not a checked query, because the table varies; its name is one
    // of the three above.
    let sql = format!(
        "select date_bin($1, bucket_at, $2) as at, sum_buckets(latency_buckets) as buckets, max(latency_max_us) as max_us
         from {table} where target_id = $3 and bucket_at >= $4 and bucket_at < $5 group by 1"
    );
    let rows: Vec<(DateTime<Utc>, Vec<i32>, i32)> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(step)
        .bind(DateTime::UNIX_EPOCH)
        .bind(target.0)
        .bind(segment.from)
        .bind(segment.to)
        .fetch_all(connection)
        .await?;
    for (at, counts, max_us) in rows {
        let mut buckets = [0; LATENCY_BUCKETS];
        for (bucket, count) in buckets.iter_mut().zip(counts) {
            *bucket = i64::from(count);
        }
        into.entry(at).or_default().add(&Latency { buckets, max_us });
    }
    Ok(())
}
