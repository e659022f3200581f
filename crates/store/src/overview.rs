//! Targets as people ask about them: what they are, and in which state since when.

use chrono::{DateTime, Utc};
use common::TargetId;
use serde_json::Value;
use sqlx::PgConnection;

use crate::StoreError;

/// A target and its newest verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct Overview {
    /// Row id.
    pub target_id: TargetId,
    /// Stable identity.
    pub key: String,
    /// What people read.
    pub name: String,
    /// As written, less user and password.
    pub url: String,
    /// Request method.
    pub method: String,
    /// How often it is due.
    pub interval_ms: i32,
    /// How long one check may take.
    pub timeout_ms: i32,
    /// A slower success is degraded.
    pub degraded_ms: i32,
    /// Status codes that count as success.
    pub expect_status: Vec<String>,
    /// Labels, as an object.
    pub labels: Value,
    /// `env`, `file` or `api`.
    pub source: String,
    /// Counts the changes of its configuration, from 1.
    pub version: i64,
    /// When it was first configured.
    pub created_at: DateTime<Utc>,
    /// The newest verdict's outcome; `None` before the first of the last day.
    pub outcome: Option<String>,
    /// Its cause, if down.
    pub cause: Option<String>,
    /// Its status code, if an answer came.
    pub code: Option<i16>,
    /// Its time to the response head, microseconds.
    pub elapsed_us: Option<i32>,
    /// When it started.
    pub checked_at: Option<DateTime<Utc>>,
}

/// Targets that are probed, in order of keys, beginning after a key, at most `limit`.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn list(
    connection: &mut PgConnection,
    after: &str,
    key: Option<&str>,
    limit: i64,
) -> Result<Vec<Overview>, StoreError> {
    // Index: target_key_unique, and check_result_pkey backwards for each target. A
    // day back is enough: no interval is longer.
    Ok(sqlx::query_as!(
        Overview,
        r#"select t.target_id as "target_id: TargetId", t.key, t.name, t.url, t.method, t.interval_ms, t.timeout_ms,
                  t.degraded_ms, t.expect_status, t.labels, t.source::text as "source!", t.version, t.created_at,
                  newest.outcome as "outcome?", newest.cause as "cause?", newest.code as "code?",
                  newest.elapsed_us as "elapsed_us?", newest.started_at as "checked_at?"
           from target t
           left join lateral (
               select c.outcome::text as outcome, c.cause::text as cause, c.code, c.elapsed_us, c.started_at
               from check_result c
               where c.target_id = t.target_id and c.outcome <= 'down' and c.slot_at > now() - interval '25 hours'
               order by c.slot_at desc limit 1
           ) newest on true
           where t.deleted_at is null and t.key > $1 and ($2::text is null or t.key = $2)
           order by t.key
           limit $3"#,
        after,
        key,
        limit,
    )
    .fetch_all(connection)
    .await?)
}

/// Since when a target has been in the state of its newest verdict: the start of the
/// first verdict of the unbroken run, or the first one after `back_to` where the run
/// is older. `None` without such a verdict.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn since(
    connection: &mut PgConnection,
    target: TargetId,
    outcome: &str,
    back_to: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    // Index: check_result_pkey, backwards to the last different verdict, then one step on.
    Ok(sqlx::query_scalar!(
        r#"with different as (
               select slot_at from check_result
               where target_id = $1 and outcome <= 'down' and outcome <> $2::text::outcome and slot_at > $3
               order by slot_at desc limit 1
           )
           select started_at from check_result
           where target_id = $1 and outcome = $2::text::outcome and slot_at > coalesce((select slot_at from different), $3)
           order by slot_at limit 1"#,
        target.0,
        outcome,
        back_to,
    )
    .fetch_optional(connection)
    .await?
    .flatten())
}

/// Verdicts of one target over some minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdicts {
    /// Which target.
    pub target_id: TargetId,
    /// Up or degraded.
    pub good: i64,
    /// Down.
    pub bad: i64,
    /// Missed or unknown.
    pub unseen: i64,
}

/// Verdicts of every target in the minutes from `from` on.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn verdicts(connection: &mut PgConnection, from: DateTime<Utc>) -> Result<Vec<Verdicts>, StoreError> {
    // Index: rollup_minute_time.
    Ok(sqlx::query_as!(
        Verdicts,
        r#"select target_id as "target_id: TargetId", sum(up + degraded) as "good!",
                  sum(down_dns + down_refused + down_timeout + down_reset + down_tls
                      + down_protocol + down_body + down_redirect + down_status + down_assertion) as "bad!",
                  sum(missed + unknown) as "unseen!"
           from rollup_minute where bucket_at >= $1 group by target_id"#,
        from,
    )
    .fetch_all(connection)
    .await?)
}
