//! Hour and day roll-ups, recomputed from minutes.
//!
//! An hour is computed once it is over, and again when a late batch touches it. How
//! far that is done is saved in the same transaction, so that a crash anywhere
//! repeats and skips nothing.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{Acquire, PgConnection};

use crate::StoreError;
use crate::cursors::{self, Position};

/// The name of our cursor.
const READER: &str = "rollups";

/// Recomputed in one transaction at most.
const MOST_AT_ONCE: TimeDelta = TimeDelta::hours(24);

/// Batches of the last minutes of an hour may still be on their way.
const SETTLING: TimeDelta = TimeDelta::minutes(2);

/// What the cursor keeps.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct State {
    /// Every hour before this is computed from all batches up to the cursor.
    done_until: DateTime<Utc>,
}

/// Computes the hours that are over and not computed, and those that late batches
/// touched, with their days. Returns how many hours; ask again until it is 0.
///
/// Minutes before `keep_from` are gone or going, so hours before it stay as they are.
///
/// # Errors
/// Whatever Postgres reports; nothing is changed then.
pub async fn compute(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    keep_from: DateTime<Utc>,
) -> Result<i64, StoreError> {
    let mut transaction = connection.begin().await?;
    let mut saved = cursors::lock(&mut transaction, READER).await?;
    // Index: batch_xid. Only batches that nothing older can still join.
    let new = sqlx::query!(
        r#"select min(first_at) filter (where kind = 'check') as first_at,
                  (array_agg(xid order by xid desc, batch_id desc))[1]::text::int8 as xid,
                  (array_agg(batch_id order by xid desc, batch_id desc))[1] as batch_id
           from batch
           where (xid, batch_id) > ($1::int8::text::xid8, $2) and xid < pg_snapshot_xmin(pg_current_snapshot())"#,
        saved.position.xid,
        saved.position.batch_id,
    )
    .fetch_one(&mut *transaction)
    .await?;
    let state: Option<State> = saved.state.take().and_then(|state| serde_json::from_value(state).ok());
    // A late batch takes the mark back: from there on everything is computed again.
    let Some(dirty_from) = state.map(|state| state.done_until).into_iter().chain(new.first_at).min() else {
        return Ok(0);
    };
    let begin = hour(dirty_from.max(keep_from + TimeDelta::hours(1)));
    let end = hour(now - SETTLING).min(begin + MOST_AT_ONCE).max(begin);
    if begin < end {
        recompute(&mut transaction, begin, end).await?;
    }
    if let (Some(xid), Some(batch_id)) = (new.xid, new.batch_id) {
        saved.position = Position { xid, batch_id };
    }
    saved.state = Some(serde_json::to_value(State { done_until: end }).unwrap_or_default());
    cursors::save(&mut transaction, READER, &saved).await?;
    transaction.commit().await?;
    Ok((end - begin).num_hours())
}

/// Every hour before this is rolled up; `None` before the first.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn done_until(connection: &mut PgConnection) -> Result<Option<DateTime<Utc>>, StoreError> {
    let state = sqlx::query_scalar!("select state from cursor where reader = $1", READER)
        .fetch_optional(connection)
        .await?
        .flatten();
    Ok(state.and_then(|state| serde_json::from_value::<State>(state).ok()).map(|state| state.done_until))
}

fn hour(at: DateTime<Utc>) -> DateTime<Utc> {
    at.duration_trunc(TimeDelta::hours(1)).unwrap_or(at)
}

fn day(at: DateTime<Utc>) -> DateTime<Utc> {
    at.duration_trunc(TimeDelta::days(1)).unwrap_or(at)
}

/// Hours of `[from, to)` anew from their minutes, and every day they touch from its hours.
async fn recompute(connection: &mut PgConnection, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<(), StoreError> {
    sqlx::query!("delete from rollup_hour where bucket_at >= $1 and bucket_at < $2", from, to)
        .execute(&mut *connection)
        .await?;
    sqlx::query!(
        "insert into rollup_hour (bucket_at, target_id, location_id, latency_sum_us, latency_max_us, latency_buckets,
              up, degraded, missed, unknown, down_dns, down_refused, down_timeout, down_reset, down_tls,
              down_protocol, down_body, down_redirect, down_status, down_assertion, class_1xx, class_2xx, class_3xx,
              class_4xx, class_5xx)
         select date_trunc('hour', bucket_at, 'UTC'), target_id, location_id,
              sum(latency_sum_us), max(latency_max_us), sum_buckets(latency_buckets),
              sum(up), sum(degraded), sum(missed), sum(unknown), sum(down_dns), sum(down_refused), sum(down_timeout),
              sum(down_reset), sum(down_tls), sum(down_protocol), sum(down_body), sum(down_redirect),
              sum(down_status), sum(down_assertion), sum(class_1xx), sum(class_2xx), sum(class_3xx), sum(class_4xx),
              sum(class_5xx)
         from rollup_minute
         where bucket_at >= $1 and bucket_at < $2
         group by 1, 2, 3",
        from,
        to,
    )
    .execute(&mut *connection)
    .await?;
    let (from, to) = (day(from), day(to - TimeDelta::microseconds(1)) + TimeDelta::days(1));
    sqlx::query!("delete from rollup_day where bucket_at >= $1 and bucket_at < $2", from, to)
        .execute(&mut *connection)
        .await?;
    sqlx::query!(
        "insert into rollup_day (bucket_at, target_id, location_id, latency_sum_us, latency_max_us, latency_buckets,
              up, degraded, missed, unknown, down_dns, down_refused, down_timeout, down_reset, down_tls,
              down_protocol, down_body, down_redirect, down_status, down_assertion, class_1xx, class_2xx, class_3xx,
              class_4xx, class_5xx)
         select date_trunc('day', bucket_at, 'UTC'), target_id, location_id,
              sum(latency_sum_us), max(latency_max_us), sum_buckets(latency_buckets),
              sum(up), sum(degraded), sum(missed), sum(unknown), sum(down_dns), sum(down_refused), sum(down_timeout),
              sum(down_reset), sum(down_tls), sum(down_protocol), sum(down_body), sum(down_redirect),
              sum(down_status), sum(down_assertion), sum(class_1xx), sum(class_2xx), sum(class_3xx), sum(class_4xx),
              sum(class_5xx)
         from rollup_hour
         where bucket_at >= $1 and bucket_at < $2
         group by 1, 2, 3",
        from,
        to,
    )
    .execute(connection)
    .await?;
    Ok(())
}
