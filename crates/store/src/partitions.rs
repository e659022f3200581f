//! Partitions, one a day, made before they are needed.

use chrono::{DateTime, Days, NaiveDate, Utc};
use sqlx::PgPool;

use crate::StoreError;

/// Partitions are made this many days ahead.
pub const DAYS_AHEAD: u64 = 7;

/// Makes the partitions of every partitioned table from the day before `now` to
/// [`DAYS_AHEAD`] days after it. What exists is left alone.
///
/// # Errors
/// [`StoreError::Unavailable`] also when a lock was not granted within a second.
pub async fn ensure_around(pool: &PgPool, now: DateTime<Utc>) -> Result<i32, StoreError> {
    let today = now.date_naive();
    ensure(pool, today - Days::new(1), today + Days::new(DAYS_AHEAD)).await
}

/// Makes the partitions of every partitioned table for these days, both included.
///
/// # Errors
/// As [`ensure_around`].
pub async fn ensure(pool: &PgPool, from: NaiveDate, to: NaiveDate) -> Result<i32, StoreError> {
    let mut made = 0;
    for table in ["check_result", "rollup_minute", "access_event"] {
        made +=
            sqlx::query_scalar!(r#"select make_partitions($1::text::regclass, $2, $3) as "made!""#, table, from, to)
                .fetch_one(pool)
                .await?;
    }
    Ok(made)
}
