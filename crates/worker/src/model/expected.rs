//! What Postgres has to hold, worked out from what was delivered.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use common::target::micros_to_utc;
use common::{Check, LATENCY_BOUNDS_MS, Outcome, TargetId};
use store::rollups;
use store::windows::{self, Scope};

use super::database::BEGIN_US;
use super::world::World;

/// Of each slot its first verdict, or without one the first that came.
#[derive(Debug, Default)]
pub(super) struct Expected(BTreeMap<(TargetId, i64), Check>);

impl Expected {
    pub(super) fn deliver(&mut self, checks: &[Check]) {
        for check in checks {
            let known = self.0.entry((check.target_id, check.slot.0)).or_insert_with(|| check.clone());
            if check.outcome.is_verdict() && !known.outcome.is_verdict() {
                *known = check.clone();
            }
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.0.len()
    }

    pub(super) fn verdicts(&self) -> usize {
        self.0.values().filter(|check| check.outcome.is_verdict()).count()
    }

    pub(super) fn missed(&self) -> Vec<&Check> {
        self.0.values().filter(|check| check.outcome == Outcome::Missed).collect()
    }

    /// Roll-ups in buckets of a length, by target or of all.
    fn rollup(&self, bucket_us: i64, by_target: bool) -> Rollup {
        let mut rollup = Rollup::new();
        for ((target, slot), check) in &self.0 {
            let target = if by_target { target.0 } else { 0 };
            let counts = rollup.entry((target, slot - slot.rem_euclid(bucket_us))).or_default();
            let mut add = |name: String, by: i64| *counts.entry(name).or_default() += by;
            add(
                check
                    .outcome
                    .cause()
                    .map_or(check.outcome.label().to_owned(), |cause| format!("down_{}", cause.label())),
                1,
            );
            let Some(code) = check.code else { continue };
            add(format!("class_{}xx", code / 100), 1);
            if !by_target {
                add(format!("code_{code}"), 1);
            }
            if let (Some(elapsed_us), true) = (check.elapsed_us, by_target) {
                let bound = LATENCY_BOUNDS_MS.iter().position(|bound| f64::from(elapsed_us) <= bound * 1000.0);
                add(format!("bucket_{}", bound.unwrap_or(LATENCY_BOUNDS_MS.len()) + 1), 1);
                add("latency_sum_us".to_owned(), i64::from(elapsed_us));
                let max = counts.entry("latency_max_us".to_owned()).or_default();
                *max = (*max).max(i64::from(elapsed_us));
            }
        }
        rollup
    }
}

/// By target and begin of the bucket: what is not zero.
type Rollup = BTreeMap<(i32, i64), BTreeMap<String, i64>>;

impl World {
    /// Rows are what was delivered, the first verdict of each slot.
    pub(super) async fn check_rows(&self) {
        type Row = (i32, DateTime<Utc>, Option<DateTime<Utc>>, String, Option<String>, Option<i16>, Option<i32>);
        let rows: Vec<Row> = sqlx::query_as(
            "select target_id, slot_at, started_at, outcome::text, cause::text, code, elapsed_us
             from check_result order by 1, 2",
        )
        .fetch_all(&self.pool)
        .await
        .unwrap();
        let expected = self.expected.0.values().map(|check| {
            (
                check.target_id.0,
                check.slot.at(),
                check.started_us.map(micros_to_utc),
                check.outcome.label().to_owned(),
                check.outcome.cause().map(|cause| cause.label().to_owned()),
                check.code.map(|code| code as i16),
                check.elapsed_us.map(|us| us as i32),
            )
        });
        assert_eq!(rows, expected.collect::<Vec<_>>());
    }

    /// Up to where the leases say that it is, every slot is a row or in a gap, and
    /// counted once. Gives back how many are in gaps.
    pub(super) async fn check_every_slot_is_counted_once(&self) -> usize {
        let gaps: Vec<(i32, DateTime<Utc>, DateTime<Utc>)> =
            sqlx::query_as("select target_id, from_at, to_at from gap").fetch_all(&self.pool).await.unwrap();
        let mut in_gaps = 0;
        for (target, until_us) in self.complete_until().await {
            let due = self.due.iter().find(|due| due.target_id == target).unwrap();
            let (mut slot, mut slots) = (due.grid.at_or_after(due.since_us), 0);
            let mut rows = 0;
            while slot.0 < until_us {
                let is_row = self.expected.0.contains_key(&(target, slot.0));
                let is_in_gap = gaps.iter().any(|(id, from, to)| *id == target.0 && (*from..*to).contains(&slot.at()));
                assert!(is_row || is_in_gap, "nobody accounts for slot {} of {target:?}", slot.at());
                slots += 1;
                rows += i64::from(is_row);
                slot = due.grid.next(slot);
            }
            let scope = Scope { targets: Some(vec![target.0]), active: 1, rate: 1.0 };
            let mut connection = self.pool.acquire().await.unwrap();
            let since = [micros_to_utc(due.since_us)];
            let without_row =
                windows::gap_slots(&mut connection, &scope, &since, micros_to_utc(until_us)).await.unwrap()[0];
            assert_eq!(rows + without_row, slots, "slots of {target:?}: {rows} rows, {without_row} in gaps {gaps:?}");
            in_gaps += without_row as usize;
        }
        in_gaps
    }

    /// Seconds and minutes are what the rows say; hours and days once they are computed.
    pub(super) async fn check_rollups(&self) {
        let (second, minute, hour) = (1_000_000, 60_000_000, 3_600_000_000);
        assert_eq!(self.stored("rollup_second").await, self.expected.rollup(second, false));
        assert_eq!(self.stored("rollup_minute").await, self.expected.rollup(minute, true));

        let expected = (self.expected.rollup(hour, true), self.expected.rollup(24 * hour, true));
        let after = micros_to_utc(BEGIN_US) + TimeDelta::days(2);
        // Batches are followed only when no older transaction is open, and others use the server too.
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        loop {
            let mut connection = self.pool.acquire().await.unwrap();
            while rollups::compute(&mut connection, after, after - TimeDelta::days(30)).await.unwrap() > 0 {}
            drop(connection);
            let stored = (self.stored("rollup_hour").await, self.stored("rollup_day").await);
            if stored == expected {
                return;
            }
            if std::time::Instant::now() > deadline {
                assert_eq!(stored, expected);
            }
        }
    }

    async fn stored(&self, table: &'static str) -> Rollup {
        let (target, buckets) = match table {
            "rollup_second" => ("0", "select 'code_' || key, value from jsonb_each_text(codes)"),
            _ => (
                "target_id",
                "select 'bucket_' || n, count::text from unnest(latency_buckets) with ordinality as b (count, n)",
            ),
        };
        let sql = format!(
            "select {target}, (extract(epoch from bucket_at) * 1000000)::int8, name, number::int8
             from {table} r, lateral (
                 select key, value from jsonb_each_text(to_jsonb(r))
                 where key not in ('bucket_at', 'target_id', 'location_id', 'latency_buckets', 'codes')
                 union all {buckets}
             ) as c (name, number)
             where number <> '0'"
        );
        let rows: Vec<(i32, i64, String, i64)> =
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(&self.pool).await.unwrap();
        let mut rollup = Rollup::new();
        for (target, at, name, number) in rows {
            rollup.entry((target, at)).or_default().insert(name, number);
        }
        rollup
    }
}
