//! What a worker writes: rows, roll-ups, batch and doorbell in one transaction.
//!
//! Writing is idempotent, because a commit whose answer was lost is written again:
//! a row that is already there is left alone and not counted twice. A verdict that
//! comes late replaces a `missed` or `unknown` row of its slot, never another
//! verdict, and the roll-ups follow by the difference.

mod rollups;
mod rows;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::target::micros_to_utc;
use common::{Check, Outcome, TargetId};
use sqlx::{Acquire, PgConnection};

use crate::StoreError;
use rollups::Rollups;

/// The channel on which a committed batch is announced by its id.
pub const CHANNEL: &str = "lookout_batch";

/// What became of the checks of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// New rows.
    pub inserted: usize,
    /// Late verdicts that took the place of a `missed` or `unknown` row.
    pub replaced: usize,
    /// Slots that had their outcome already.
    pub ignored: usize,
}

/// A stretch of one target's slots without rows of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Which target.
    pub target_id: TargetId,
    /// First slot in it, microseconds since the epoch.
    pub from_us: i64,
    /// First moment after it, microseconds since the epoch.
    pub to_us: i64,
    /// Why nobody watched.
    pub reason: GapReason,
}

/// Why a stretch has no rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapReason {
    /// Nobody held the target's shard.
    NoWorker,
    /// Postgres was away for longer than results could be kept.
    Overflow,
}

impl GapReason {
    fn label(self) -> &'static str {
        match self {
            Self::NoWorker => "no_worker",
            Self::Overflow => "overflow",
        }
    }
}

/// Stores checks: rows, minute and second roll-ups, the batch row and the
/// notification commit together. An empty list does nothing.
///
/// # Errors
/// [`StoreError::NoPartition`] when a slot lies outside the partitions there are;
/// nothing is stored then, nor at any other error.
pub async fn write_checks(
    connection: &mut PgConnection,
    worker_id: &str,
    checks: &[Check],
) -> Result<Written, StoreError> {
    let batch = one_per_slot(checks);
    if batch.is_empty() {
        return Ok(Written::default());
    }
    match write_new(connection, worker_id, &batch).await {
        // Some rows are there: this was written before, or a verdict comes late.
        Err(StoreError::Database(error)) if is_known_row(&error) => write_some(connection, worker_id, &batch).await,
        written => written,
    }
}

/// Whether a row of checks was there already.
fn is_known_row(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|reported| {
        reported.is_unique_violation() && reported.table().is_some_and(|table| table.starts_with("check_result"))
    })
}

/// The usual case: nobody has written any of these.
async fn write_new(connection: &mut PgConnection, worker_id: &str, batch: &[&Check]) -> Result<Written, StoreError> {
    let mut transaction = connection.begin().await?;
    let batch_id = begin_batch(&mut transaction, worker_id, batch).await?;
    rows::insert(&mut transaction, batch_id, batch).await?;
    let mut rollups = Rollups::default();
    batch.iter().for_each(|check| rollups.add(check));
    rollups.save(&mut transaction).await?;
    announce(&mut transaction, batch_id).await?;
    transaction.commit().await?;
    Ok(Written { inserted: batch.len(), ..Written::default() })
}

/// Leaves alone what is there, but for what a late verdict replaces.
async fn write_some(connection: &mut PgConnection, worker_id: &str, batch: &[&Check]) -> Result<Written, StoreError> {
    let mut transaction = connection.begin().await?;
    let batch_id = begin_batch(&mut transaction, worker_id, batch).await?;
    let inserted = insert(&mut transaction, batch_id, batch).await?;
    let mut rollups = Rollups::default();
    let there = already_there(&mut transaction, batch_id, batch).await?;
    let mut late = Vec::new();
    for &check in batch {
        match there.get(&(check.target_id, check.slot.0)) {
            None => rollups.add(check),
            Some(old) if check.outcome.is_verdict() && !old.is_verdict() => {
                rollups.take_back(check, *old);
                rollups.add(check);
                late.push(check);
            }
            Some(_) => {}
        }
    }
    replace(&mut transaction, batch_id, &late).await?;
    rollups.save(&mut transaction).await?;
    announce(&mut transaction, batch_id).await?;
    transaction.commit().await?;
    Ok(Written { inserted, replaced: late.len(), ignored: batch.len() - inserted - late.len() })
}

async fn begin_batch(connection: &mut PgConnection, worker_id: &str, batch: &[&Check]) -> Result<i64, StoreError> {
    let slots = || batch.iter().map(|check| check.slot.0);
    Ok(sqlx::query_scalar!(
        r#"insert into batch (kind, worker_id, first_at, last_at, rows)
           values ('check', $1, $2, $3, $4) returning batch_id"#,
        worker_id,
        micros_to_utc(slots().min().unwrap_or_default()),
        micros_to_utc(slots().max().unwrap_or_default()),
        batch.len() as i32,
    )
    .fetch_one(connection)
    .await?)
}

async fn announce(connection: &mut PgConnection, batch_id: i64) -> Result<(), StoreError> {
    sqlx::query!("select pg_notify($1, $2)", CHANNEL, batch_id.to_string()).execute(connection).await?;
    Ok(())
}

/// Stores gaps; one that is there already, or comes twice, grows to the later end.
///
/// # Errors
/// Whatever Postgres reports; nothing is stored then.
pub async fn write_gaps(connection: &mut PgConnection, gaps: &[Gap]) -> Result<(), StoreError> {
    let mut gaps = gaps.to_vec();
    // The longest first, and only that: one statement cannot write a row twice.
    gaps.sort_by_key(|gap| (gap.target_id, gap.from_us, Reverse(gap.to_us)));
    gaps.dedup_by_key(|gap| (gap.target_id, gap.from_us));
    let targets: Vec<i32> = gaps.iter().map(|gap| gap.target_id.0).collect();
    let from: Vec<DateTime<Utc>> = gaps.iter().map(|gap| micros_to_utc(gap.from_us)).collect();
    let to: Vec<DateTime<Utc>> = gaps.iter().map(|gap| micros_to_utc(gap.to_us)).collect();
    let reasons: Vec<String> = gaps.iter().map(|gap| gap.reason.label().to_owned()).collect();
    sqlx::query!(
        "insert into gap (target_id, from_at, to_at, reason)
         select target_id, from_at, to_at, reason::gap_reason
         from unnest($1::int4[], $2::timestamptz[], $3::timestamptz[], $4::text[]) as g (target_id, from_at, to_at, reason)
         order by target_id, from_at
         on conflict (target_id, from_at, location_id) do update set to_at = greatest(gap.to_at, excluded.to_at)",
        &targets,
        &from,
        &to,
        &reasons,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Sorted by key, so that two writers meet rows in one order and cannot deadlock;
/// of two checks for one slot the verdict stays.
fn one_per_slot(checks: &[Check]) -> Vec<&Check> {
    let mut batch: Vec<&Check> = checks.iter().collect();
    // A verdict before what is none; of equals the first stays first.
    batch.sort_by_key(|check| (check.target_id, check.slot, !check.outcome.is_verdict()));
    batch.dedup_by_key(|check| (check.target_id, check.slot));
    batch
}

/// The columns of checks, as the arrays that travel to Postgres.
struct Columns {
    slot_at: Vec<DateTime<Utc>>,
    started_at: Vec<Option<DateTime<Utc>>>,
    target_id: Vec<i32>,
    elapsed_us: Vec<Option<i32>>,
    dns_us: Vec<Option<i32>>,
    connect_us: Vec<Option<i32>>,
    first_byte_us: Vec<Option<i32>>,
    outcome: Vec<String>,
    cause: Vec<Option<String>>,
    code: Vec<Option<i16>>,
    detail: Vec<Option<String>>,
}

impl Columns {
    fn of(checks: &[&Check]) -> Self {
        let micros = |value: Option<u32>| value.map(|us| i32::try_from(us).unwrap_or(i32::MAX));
        Self {
            slot_at: checks.iter().map(|check| check.slot.at()).collect(),
            started_at: checks.iter().map(|check| check.started_us.map(micros_to_utc)).collect(),
            target_id: checks.iter().map(|check| check.target_id.0).collect(),
            elapsed_us: checks.iter().map(|check| micros(check.elapsed_us)).collect(),
            dns_us: checks.iter().map(|check| micros(check.phases.dns_us)).collect(),
            connect_us: checks.iter().map(|check| micros(check.phases.connect_us)).collect(),
            first_byte_us: checks.iter().map(|check| micros(check.phases.first_byte_us)).collect(),
            outcome: checks.iter().map(|check| check.outcome.label().to_owned()).collect(),
            cause: checks.iter().map(|check| check.outcome.cause().map(|cause| cause.label().to_owned())).collect(),
            code: checks.iter().map(|check| check.code.and_then(|code| i16::try_from(code).ok())).collect(),
            detail: checks.iter().map(|check| check.detail.as_deref().map(str::to_owned)).collect(),
        }
    }
}

async fn insert(connection: &mut PgConnection, batch_id: i64, checks: &[&Check]) -> Result<usize, StoreError> {
    let columns = Columns::of(checks);
    let done = sqlx::query!(
        "insert into check_result (slot_at, started_at, batch_id, target_id, elapsed_us, dns_us, connect_us, first_byte_us, outcome, cause, code, detail)
         select slot_at, started_at, $1, target_id, elapsed_us, dns_us, connect_us, first_byte_us, outcome::outcome, cause::cause, code, detail
         from unnest($2::timestamptz[], $3::timestamptz[], $4::int4[], $5::int4[], $6::int4[], $7::int4[], $8::int4[], $9::text[], $10::text[], $11::int2[], $12::text[])
              as c (slot_at, started_at, target_id, elapsed_us, dns_us, connect_us, first_byte_us, outcome, cause, code, detail)
         on conflict do nothing",
        batch_id,
        &columns.slot_at,
        &columns.started_at as &[Option<DateTime<Utc>>],
        &columns.target_id,
        &columns.elapsed_us as &[Option<i32>],
        &columns.dns_us as &[Option<i32>],
        &columns.connect_us as &[Option<i32>],
        &columns.first_byte_us as &[Option<i32>],
        &columns.outcome,
        &columns.cause as &[Option<String>],
        &columns.code as &[Option<i16>],
        &columns.detail as &[Option<String>],
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() as usize)
}

/// The outcomes of those slots that had a row before this batch, locked against other writers.
async fn already_there(
    connection: &mut PgConnection,
    batch_id: i64,
    checks: &[&Check],
) -> Result<BTreeMap<(TargetId, i64), Outcome>, StoreError> {
    let columns = Columns::of(checks);
    // Index: check_result_pkey.
    let rows = sqlx::query!(
        r#"select r.target_id as "target_id: TargetId", r.slot_at, r.outcome::text as "outcome!", r.cause::text as cause
           from unnest($1::int4[], $2::timestamptz[]) as k (target_id, slot_at)
           join check_result r on r.target_id = k.target_id and r.slot_at = k.slot_at and r.location_id = 0
           where r.batch_id <> $3
             and r.slot_at between $4 and $5
           order by r.target_id, r.slot_at
           for update of r"#,
        &columns.target_id,
        &columns.slot_at,
        batch_id,
        columns.slot_at.iter().min(),
        columns.slot_at.iter().max(),
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            let outcome = crate::outcome(&row.outcome, row.cause.as_deref())?;
            Ok(((row.target_id, row.slot_at.timestamp_micros()), outcome))
        })
        .collect()
}

async fn replace(connection: &mut PgConnection, batch_id: i64, checks: &[&Check]) -> Result<(), StoreError> {
    if checks.is_empty() {
        return Ok(());
    }
    let columns = Columns::of(checks);
    // Index: check_result_pkey. The rows are locked, so nobody can slip in between.
    sqlx::query!(
        "delete from check_result r
         using unnest($1::int4[], $2::timestamptz[]) as k (target_id, slot_at)
         where r.target_id = k.target_id and r.slot_at = k.slot_at and r.location_id = 0",
        &columns.target_id,
        &columns.slot_at,
    )
    .execute(&mut *connection)
    .await?;
    insert(connection, batch_id, checks).await?;
    Ok(())
}
