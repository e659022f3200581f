//! The whole fleet as a page shows it: read once, then kept current batch by batch.

use chrono::{DateTime, Utc};
use common::{Outcome, TargetId};
use serde_json::Value;
use sqlx::PgConnection;

use crate::StoreError;

/// A target that is probed.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Row id.
    pub target_id: TargetId,
    /// Stable identity.
    pub key: String,
    /// What people read.
    pub name: String,
    /// As written, less user and password.
    pub url: String,
    /// Labels, as an object.
    pub labels: Value,
    /// How often it is due.
    pub interval_ms: i32,
    /// How long one check may take.
    pub timeout_ms: i32,
}

/// Every target that is probed, by key.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn targets(connection: &mut PgConnection) -> Result<Vec<Target>, StoreError> {
    // One pass over a small table.
    Ok(sqlx::query_as!(
        Target,
        r#"select target_id as "target_id: TargetId", key, name, url, labels, interval_ms, timeout_ms
           from target where deleted_at is null order by key"#
    )
    .fetch_all(connection)
    .await?)
}

/// Something that differs when the list of targets does.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn version(connection: &mut PgConnection) -> Result<(i64, Option<DateTime<Utc>>), StoreError> {
    // One pass over a small table.
    let row = sqlx::query!(
        r#"select count(*) as "count!", max(updated_at) as updated_at from target where deleted_at is null"#
    )
    .fetch_one(connection)
    .await?;
    Ok((row.count, row.updated_at))
}

/// A verdict on a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Which target.
    pub target_id: TargetId,
    /// Its slot.
    pub slot_at: DateTime<Utc>,
    /// When it started.
    pub started_at: Option<DateTime<Utc>>,
    /// What came of it.
    pub outcome: Outcome,
    /// Status code, if an answer came.
    pub code: Option<i16>,
    /// To the response head, microseconds.
    pub elapsed_us: Option<i32>,
}

struct VerdictRow {
    target_id: TargetId,
    slot_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    outcome: String,
    cause: Option<String>,
    code: Option<i16>,
    elapsed_us: Option<i32>,
}

impl TryFrom<VerdictRow> for Verdict {
    type Error = StoreError;

    fn try_from(row: VerdictRow) -> Result<Self, StoreError> {
        Ok(Self {
            target_id: row.target_id,
            slot_at: row.slot_at,
            started_at: row.started_at,
            outcome: crate::outcome(&row.outcome, row.cause.as_deref())?,
            code: row.code,
            elapsed_us: row.elapsed_us,
        })
    }
}

/// The newest verdict of each of these targets in the day before `now`, where it has one.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn newest(
    connection: &mut PgConnection,
    targets: &[i32],
    now: DateTime<Utc>,
) -> Result<Vec<Verdict>, StoreError> {
    // Index: check_result_pkey backwards for each target. No interval is longer than a day.
    let rows = sqlx::query_as!(
        VerdictRow,
        r#"select c.target_id as "target_id: TargetId", c.slot_at, c.started_at, c.outcome as "outcome!", c.cause,
                  c.code, c.elapsed_us
           from unnest($1::int4[]) as asked (target_id)
           cross join lateral (
               select d.target_id, d.slot_at, d.started_at, d.outcome::text as outcome, d.cause::text as cause, d.code,
                      d.elapsed_us
               from check_result d
               where d.target_id = asked.target_id and d.outcome <= 'down'
                 and d.slot_at > $2::timestamptz - interval '25 hours' and d.slot_at <= $2
               order by d.slot_at desc limit 1
           ) c"#,
        targets,
        now,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(Verdict::try_from).collect()
}

/// The verdicts in these batches, in order of their slots.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn verdicts(connection: &mut PgConnection, batches: &[i64]) -> Result<Vec<Verdict>, StoreError> {
    let span = sqlx::query!(
        "select min(first_at) as first_at, max(last_at) as last_at from batch where batch_id = any($1)",
        batches
    )
    .fetch_one(&mut *connection)
    .await?;
    let (Some(first), Some(last)) = (span.first_at, span.last_at) else { return Ok(Vec::new()) };
    // Index: check_result_time, or check_result_batch where a late batch reaches far back.
    let rows = sqlx::query_as!(
        VerdictRow,
        r#"select target_id as "target_id: TargetId", slot_at, started_at, outcome::text as "outcome!",
                  cause::text as cause, code, elapsed_us
           from check_result
           where slot_at between $2 and $3 and batch_id = any($1) and outcome <= 'down'
           order by slot_at"#,
        batches,
        first,
        last,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(Verdict::try_from).collect()
}

/// Verdicts of one target since two moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Failed {
    /// Down, since the later moment.
    pub short_bad: i64,
    /// All verdicts since then.
    pub short_total: i64,
    /// Down, since the earlier moment.
    pub long_bad: i64,
    /// All verdicts since then.
    pub long_total: i64,
}

/// Verdicts of each of these targets (of all where that is `None`) in the minutes from `long` on and from
/// `short` on, up to `until`. Targets without one are left out.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn failed(
    connection: &mut PgConnection,
    targets: Option<&[i32]>,
    long: DateTime<Utc>,
    short: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<(TargetId, Failed)>, StoreError> {
    // Index: rollup_minute_pkey for some targets, rollup_minute_time for all.
    let rows = sqlx::query!(
        r#"select target_id as "target_id: TargetId",
                  coalesce(sum(bad) filter (where bucket_at >= $2), 0)::int8 as "short_bad!",
                  coalesce(sum(good + bad) filter (where bucket_at >= $2), 0)::int8 as "short_total!",
                  sum(bad)::int8 as "long_bad!", sum(good + bad)::int8 as "long_total!"
           from (select target_id, bucket_at, up + degraded as good,
                        down_dns + down_refused + down_timeout + down_reset + down_tls
                        + down_protocol + down_body + down_redirect + down_status + down_assertion as bad
                 from rollup_minute where bucket_at >= $1 and bucket_at <= $3
                   and ($4::int4[] is null or target_id = any($4))) minute
           group by target_id"#,
        long,
        short,
        until,
        targets,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let failed = Failed {
                short_bad: row.short_bad,
                short_total: row.short_total,
                long_bad: row.long_bad,
                long_total: row.long_total,
            };
            (row.target_id, failed)
        })
        .collect())
}

/// Since when each of these targets has been in the state given with it, as
/// [`crate::overview::since`] for one. Targets without such a verdict are left out.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn since(
    connection: &mut PgConnection,
    targets: &[i32],
    outcomes: &[String],
    back_to: DateTime<Utc>,
) -> Result<Vec<(TargetId, Option<DateTime<Utc>>)>, StoreError> {
    // Index: check_result_pkey, backwards to the last different verdict, then one step on.
    let rows = sqlx::query!(
        r#"select asked.target_id as "target_id!: TargetId", first.started_at as "started_at?"
           from unnest($1::int4[], $2::text[]) as asked (target_id, outcome)
           left join lateral (
               select d.slot_at from check_result d
               where d.target_id = asked.target_id and d.outcome <= 'down' and d.outcome <> asked.outcome::outcome
                 and d.slot_at > $3
               order by d.slot_at desc limit 1
           ) different on true
           cross join lateral (
               select c.started_at from check_result c
               where c.target_id = asked.target_id and c.outcome = asked.outcome::outcome
                 and c.slot_at > coalesce(different.slot_at, $3)
               order by c.slot_at limit 1
           ) first"#,
        targets,
        outcomes,
        back_to,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.target_id, row.started_at)).collect())
}

/// Targets that have been due together since one moment, all as often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Since when; the moment asked for where it is earlier.
    pub since: DateTime<Utc>,
    /// How often.
    pub interval_ms: i32,
    /// How many targets.
    pub targets: i64,
}

/// How often targets have been due since `from`.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn due(connection: &mut PgConnection, from: DateTime<Utc>) -> Result<Vec<Due>, StoreError> {
    // One pass over a small table.
    Ok(sqlx::query_as!(
        Due,
        r#"select date_trunc('second', greatest(due_since, $1)) as "since!", interval_ms, count(*) as "targets!"
           from target where deleted_at is null group by 1, 2 order by 1, 2"#,
        from,
    )
    .fetch_all(connection)
    .await?)
}

/// How many incidents are open.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn open_incidents(connection: &mut PgConnection) -> Result<i64, StoreError> {
    // Index: incident_open.
    Ok(sqlx::query_scalar!(r#"select count(*) as "count!" from incident where ended_at is null"#)
        .fetch_one(connection)
        .await?)
}

/// The open incidents of targets that are probed, one each.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn open_of_targets(connection: &mut PgConnection) -> Result<Vec<(TargetId, i64)>, StoreError> {
    // Index: incident_open.
    let rows = sqlx::query!(
        r#"select e.target_id as "target_id!: TargetId", max(i.incident_id) as "incident_id!"
           from incident i join endpoint e using (endpoint_id)
           where i.ended_at is null and e.target_id is not null
           group by e.target_id"#
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.target_id, row.incident_id)).collect())
}
