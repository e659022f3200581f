//! What a worker writes: rows, roll-ups, batch and doorbell in one transaction.
//!
//! Writing is idempotent, because a commit whose answer was lost is written again:
//! a row that is already there is left alone and not counted twice. A verdict that
//! comes late replaces a `missed` or `unknown` row of its slot, never another
//! verdict, and the roll-ups follow by the difference.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use chrono::{DateTime, Utc};
use common::status::COUNTS;
use common::target::micros_to_utc;
use common::{Cause, Check, LATENCY_BUCKETS, Outcome, Tally, TargetId};
use serde_json::Value;
use sqlx::{Acquire, PgConnection};

use crate::StoreError;

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
    let (Some(first), Some(last)) =
        (batch.iter().map(|check| check.slot).min(), batch.iter().map(|check| check.slot).max())
    else {
        return Ok(Written::default());
    };
    let mut transaction = connection.begin().await?;
    let batch_id = sqlx::query_scalar!(
        r#"insert into batch (kind, worker_id, first_at, last_at, rows)
           values ('check', $1, $2, $3, $4) returning batch_id"#,
        worker_id,
        first.at(),
        last.at(),
        batch.len() as i32,
    )
    .fetch_one(&mut *transaction)
    .await?;

    let inserted = insert(&mut transaction, batch_id, &batch).await?;
    let mut rollups = Rollups::default();
    let mut replaced = 0;
    if inserted == batch.len() {
        batch.iter().for_each(|check| rollups.add(check));
    } else {
        let there = already_there(&mut transaction, batch_id, &batch).await?;
        let mut late = Vec::new();
        for check in &batch {
            match there.get(&(check.target_id, check.slot.0)) {
                None => rollups.add(check),
                Some(old) if check.outcome.is_verdict() && !old.is_verdict() => {
                    rollups.take_back(check, *old);
                    rollups.add(check);
                    late.push(check.clone());
                }
                Some(_) => {}
            }
        }
        replaced = late.len();
        replace(&mut transaction, batch_id, &late).await?;
    }
    rollups.save(&mut transaction).await?;
    sqlx::query!("select pg_notify($1, $2)", CHANNEL, batch_id.to_string()).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(Written { inserted, replaced, ignored: batch.len() - inserted - replaced })
}

/// Stores gaps; one that is there already grows to the later end.
///
/// # Errors
/// Whatever Postgres reports; nothing is stored then.
pub async fn write_gaps(connection: &mut PgConnection, gaps: &[Gap]) -> Result<(), StoreError> {
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
fn one_per_slot(checks: &[Check]) -> Vec<Check> {
    let mut by_slot: BTreeMap<(TargetId, i64), Check> = BTreeMap::new();
    for check in checks {
        match by_slot.entry((check.target_id, check.slot.0)) {
            Entry::Vacant(place) => {
                place.insert(check.clone());
            }
            Entry::Occupied(mut place) => {
                if check.outcome.is_verdict() && !place.get().outcome.is_verdict() {
                    place.insert(check.clone());
                }
            }
        }
    }
    by_slot.into_values().collect()
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
    fn of(checks: &[Check]) -> Self {
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

async fn insert(connection: &mut PgConnection, batch_id: i64, checks: &[Check]) -> Result<usize, StoreError> {
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
    checks: &[Check],
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

async fn replace(connection: &mut PgConnection, batch_id: i64, checks: &[Check]) -> Result<(), StoreError> {
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

/// What a batch adds to the roll-ups, in key order.
#[derive(Default)]
struct Rollups {
    seconds: BTreeMap<i64, Tally>,
    /// Of each second, checks by status code.
    codes: BTreeMap<i64, BTreeMap<u16, i32>>,
    minutes: BTreeMap<(TargetId, i64), Tally>,
}

const SECOND_US: i64 = 1_000_000;
const MINUTE_US: i64 = 60 * SECOND_US;

impl Rollups {
    fn of(&mut self, check: &Check) -> [&mut Tally; 2] {
        let slot = check.slot.0;
        [
            self.seconds.entry(slot - slot.rem_euclid(SECOND_US)).or_default(),
            self.minutes.entry((check.target_id, slot - slot.rem_euclid(MINUTE_US))).or_default(),
        ]
    }

    fn add(&mut self, check: &Check) {
        self.of(check).into_iter().for_each(|tally| tally.add(check));
        if let Some(code) = check.code {
            let second = check.slot.0 - check.slot.0.rem_euclid(SECOND_US);
            *self.codes.entry(second).or_default().entry(code).or_default() += 1;
        }
    }

    fn take_back(&mut self, check: &Check, old: Outcome) {
        self.of(check).into_iter().for_each(|tally| tally.take_back(old));
    }

    fn codes_of(&self, second: i64) -> Value {
        let codes = self.codes.get(&second).into_iter().flatten();
        Value::Object(codes.map(|(code, count)| (code.to_string(), Value::from(*count))).collect())
    }

    async fn save(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        if self.seconds.is_empty() {
            return Ok(());
        }
        // Counts and buckets travel as one flat array each, `width` numbers a row.
        let bucket_at: Vec<DateTime<Utc>> = self.seconds.keys().map(|at| micros_to_utc(*at)).collect();
        let counts: Vec<i32> = self.seconds.values().flat_map(Tally::counts).collect();
        let codes: Vec<Value> = self.seconds.keys().map(|second| self.codes_of(*second)).collect();
        debug_assert_eq!(counts.len(), bucket_at.len() * COUNTS);
        sqlx::query!(
            "insert into rollup_second as r (bucket_at, codes,
            up, degraded, missed, unknown, down_dns, down_refused, down_timeout, down_reset, down_tls,
            down_protocol, down_body, down_redirect, down_status, down_assertion, class_1xx, class_2xx, class_3xx,
            class_4xx, class_5xx)
            select b.bucket_at, b.codes,
            ($2::int4[])[b.o + 1], ($2::int4[])[b.o + 2], ($2::int4[])[b.o + 3], ($2::int4[])[b.o + 4], ($2::int4[])[b.o + 5], ($2::int4[])[b.o + 6], ($2::int4[])[b.o + 7], ($2::int4[])[b.o + 8],
            ($2::int4[])[b.o + 9], ($2::int4[])[b.o + 10], ($2::int4[])[b.o + 11], ($2::int4[])[b.o + 12], ($2::int4[])[b.o + 13], ($2::int4[])[b.o + 14], ($2::int4[])[b.o + 15],
            ($2::int4[])[b.o + 16], ($2::int4[])[b.o + 17], ($2::int4[])[b.o + 18], ($2::int4[])[b.o + 19]
            from (select bucket_at, codes, (19 * (place - 1))::int4 as o
                  from unnest($1::timestamptz[], $3::jsonb[]) with ordinality as u (bucket_at, codes, place)) as b
            on conflict (bucket_at, location_id) do update set
            codes = add_codes(r.codes, excluded.codes),
            up = r.up + excluded.up, degraded = r.degraded + excluded.degraded, missed = r.missed + excluded.missed,
            unknown = r.unknown + excluded.unknown, down_dns = r.down_dns + excluded.down_dns,
            down_refused = r.down_refused + excluded.down_refused,
            down_timeout = r.down_timeout + excluded.down_timeout, down_reset = r.down_reset + excluded.down_reset,
            down_tls = r.down_tls + excluded.down_tls, down_protocol = r.down_protocol + excluded.down_protocol,
            down_body = r.down_body + excluded.down_body, down_redirect = r.down_redirect + excluded.down_redirect,
            down_status = r.down_status + excluded.down_status,
            down_assertion = r.down_assertion + excluded.down_assertion,
            class_1xx = r.class_1xx + excluded.class_1xx, class_2xx = r.class_2xx + excluded.class_2xx,
            class_3xx = r.class_3xx + excluded.class_3xx, class_4xx = r.class_4xx + excluded.class_4xx,
            class_5xx = r.class_5xx + excluded.class_5xx",
            &bucket_at,
            &counts,
            &codes,
        )
        .execute(&mut *connection)
        .await?;

        let targets: Vec<i32> = self.minutes.keys().map(|(target, _)| target.0).collect();
        let bucket_at: Vec<DateTime<Utc>> = self.minutes.keys().map(|(_, at)| micros_to_utc(*at)).collect();
        let counts: Vec<i32> = self.minutes.values().flat_map(Tally::counts).collect();
        let latency_sum: Vec<i64> = self.minutes.values().map(|tally| tally.latency_sum_us).collect();
        let latency_max: Vec<i32> = self.minutes.values().map(|tally| tally.latency_max_us).collect();
        let buckets: Vec<i32> = self.minutes.values().flat_map(|tally| tally.buckets).collect();
        debug_assert_eq!(buckets.len(), targets.len() * LATENCY_BUCKETS);
        sqlx::query!(
            "insert into rollup_minute as r (bucket_at, target_id, latency_sum_us, latency_max_us, latency_buckets,
            up, degraded, missed, unknown, down_dns, down_refused, down_timeout, down_reset, down_tls,
            down_protocol, down_body, down_redirect, down_status, down_assertion, class_1xx, class_2xx, class_3xx,
            class_4xx, class_5xx)
            select b.bucket_at, b.target_id, b.latency_sum_us, b.latency_max_us, ($6::int4[])[b.l + 1 : b.l + 24],
            ($5::int4[])[b.o + 1], ($5::int4[])[b.o + 2], ($5::int4[])[b.o + 3], ($5::int4[])[b.o + 4], ($5::int4[])[b.o + 5], ($5::int4[])[b.o + 6], ($5::int4[])[b.o + 7], ($5::int4[])[b.o + 8],
            ($5::int4[])[b.o + 9], ($5::int4[])[b.o + 10], ($5::int4[])[b.o + 11], ($5::int4[])[b.o + 12], ($5::int4[])[b.o + 13], ($5::int4[])[b.o + 14], ($5::int4[])[b.o + 15],
            ($5::int4[])[b.o + 16], ($5::int4[])[b.o + 17], ($5::int4[])[b.o + 18], ($5::int4[])[b.o + 19]
            from (select u.*, (19 * (place - 1))::int4 as o, (24 * (place - 1))::int4 as l
                  from unnest($1::timestamptz[], $2::int4[], $3::int8[], $4::int4[])
                       with ordinality as u (bucket_at, target_id, latency_sum_us, latency_max_us, place)) as b
            on conflict (target_id, bucket_at, location_id) do update set
            latency_sum_us = r.latency_sum_us + excluded.latency_sum_us,
            latency_max_us = greatest(r.latency_max_us, excluded.latency_max_us),
            latency_buckets = add_buckets(r.latency_buckets, excluded.latency_buckets),
            up = r.up + excluded.up, degraded = r.degraded + excluded.degraded, missed = r.missed + excluded.missed,
            unknown = r.unknown + excluded.unknown, down_dns = r.down_dns + excluded.down_dns,
            down_refused = r.down_refused + excluded.down_refused,
            down_timeout = r.down_timeout + excluded.down_timeout, down_reset = r.down_reset + excluded.down_reset,
            down_tls = r.down_tls + excluded.down_tls, down_protocol = r.down_protocol + excluded.down_protocol,
            down_body = r.down_body + excluded.down_body, down_redirect = r.down_redirect + excluded.down_redirect,
            down_status = r.down_status + excluded.down_status,
            down_assertion = r.down_assertion + excluded.down_assertion,
            class_1xx = r.class_1xx + excluded.class_1xx, class_2xx = r.class_2xx + excluded.class_2xx,
            class_3xx = r.class_3xx + excluded.class_3xx, class_4xx = r.class_4xx + excluded.class_4xx,
            class_5xx = r.class_5xx + excluded.class_5xx",
            &bucket_at,
            &targets,
            &latency_sum,
            &latency_max,
            &counts,
            &buckets,
        )
        .execute(connection)
        .await?;
        Ok(())
    }
}

// The statements above spell these numbers out.
const _: () = assert!(COUNTS == 19 && LATENCY_BUCKETS == 24 && Cause::ALL.len() == 10);
