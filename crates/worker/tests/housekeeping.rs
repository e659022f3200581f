//! Keeping house on a database with a past.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use common::{Cause, Check, Outcome, Slot, TargetId};
use sqlx::PgPool;
use store::testing::TestDb;
use store::{batches, partitions};
use worker::housekeeping::{Retention, round};

fn noon() -> DateTime<Utc> {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn check(target: i32, at: DateTime<Utc>, outcome: Outcome) -> Check {
    let answered = matches!(outcome, Outcome::Up | Outcome::Degraded);
    Check {
        started_us: outcome.is_verdict().then_some(at.timestamp_micros()),
        outcome,
        code: answered.then_some(200),
        elapsed_us: answered.then_some(20_000),
        ..Check::missed(TargetId(target), Slot(at.timestamp_micros()))
    }
}

async fn write(pool: &PgPool, checks: &[Check]) {
    for check in checks {
        let day = check.slot.at().date_naive();
        partitions::ensure(pool, day, day).await.unwrap();
    }
    batches::write_checks(&mut pool.acquire().await.unwrap(), "test", checks).await.unwrap();
}

/// Counts and latency per bucket and target of a roll-up, or the same from the rows themselves.
async fn sums(pool: &PgPool, from: &'static str) -> Vec<(DateTime<Utc>, i32, i64, i64, i64, i64)> {
    sqlx::query_as(from).fetch_all(pool).await.unwrap()
}

const HOURS: &str = "select bucket_at, target_id, up::int8, missed::int8, down_timeout::int8, latency_sum_us from rollup_hour order by 1, 2";
const HOURS_BY_ROWS: &str = "select date_trunc('hour', slot_at), target_id, count(*) filter (where outcome = 'up'),
    count(*) filter (where outcome = 'missed'), count(*) filter (where cause = 'timeout'),
    coalesce(sum(elapsed_us) filter (where code is not null), 0)::int8
    from check_result where slot_at < '2026-11-21T12:00:00Z' group by 1, 2 order by 1, 2";
const DAYS: &str = "select bucket_at, target_id, up::int8, missed::int8, down_timeout::int8, latency_sum_us from rollup_day order by 1, 2";
const DAYS_BY_ROWS: &str = "select date_trunc('day', slot_at), target_id, count(*) filter (where outcome = 'up'),
    count(*) filter (where outcome = 'missed'), count(*) filter (where cause = 'timeout'),
    coalesce(sum(elapsed_us) filter (where code is not null), 0)::int8
    from check_result where slot_at < '2026-11-21T12:00:00Z' group by 1, 2 order by 1, 2";

/// Keeps house until hours and days say what the rows say. Batches are followed only
/// when no older transaction is open, and other tests on the same server have some.
async fn rolled_up(pool: &PgPool, now: DateTime<Utc>) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        round(pool, Retention::default(), now).await.unwrap();
        let hours = sums(pool, HOURS).await;
        let by_rows = (sums(pool, HOURS_BY_ROWS).await, sums(pool, DAYS_BY_ROWS).await);
        let rolled_up = (hours, sums(pool, DAYS).await);
        if rolled_up == by_rows {
            return;
        }
        if Instant::now() > deadline {
            assert_eq!(rolled_up, by_rows);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn hours_and_days_equal_the_rows_also_after_late_ones() {
    let db = TestDb::new().await;
    let now = noon() + TimeDelta::minutes(30);
    let outcomes = [Outcome::Up, Outcome::Missed, Outcome::Down(Cause::Timeout), Outcome::Up];
    let checks: Vec<_> = (0..600)
        .map(|n| check(1 + n % 3, now - TimeDelta::minutes(7 * i64::from(n)), outcomes[n as usize % 4]))
        .collect();
    write(&db.pool, &checks).await;
    rolled_up(&db.pool, now).await;

    // Verdicts that come a day late, for slots that were missed.
    let late: Vec<_> = checks
        .iter()
        .filter(|check| check.outcome == Outcome::Missed)
        .take(20)
        .map(|missed| check(missed.target_id.0, missed.slot.at(), Outcome::Up))
        .collect();
    write(&db.pool, &late).await;
    rolled_up(&db.pool, now).await;

    // With nothing new nothing changes, and the hour under way waits.
    let before = sums(&db.pool, HOURS).await;
    round(&db.pool, Retention::default(), now).await.unwrap();
    assert_eq!(sums(&db.pool, HOURS).await, before);
    assert!(before.iter().all(|(hour, ..)| *hour < noon()));
}

async fn partitions_of(pool: &PgPool, parent: &'static str) -> Vec<NaiveDate> {
    let names: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c where relkind = 'r' and relname ~ ('^' || $1 || '_[0-9]{8}$') order by 1",
    )
    .bind(parent)
    .fetch_all(pool)
    .await
    .unwrap();
    names.iter().map(|name| NaiveDate::parse_from_str(&name[name.len() - 8..], "%Y%m%d").unwrap()).collect()
}

#[tokio::test]
async fn partitions_are_made_a_week_ahead_and_dropped_when_their_time_is_over() {
    let db = TestDb::new().await;
    let today = noon().date_naive();
    let oldest = today - TimeDelta::days(40);
    partitions::ensure(&db.pool, oldest, oldest + TimeDelta::days(2)).await.unwrap();
    // One that a crash left detached, and one that a crash left half detached cannot be
    // made on purpose; a detached one is what either becomes.
    sqlx::query("alter table check_result detach partition check_result_20261013").execute(&db.pool).await.unwrap();

    let retention = Retention { checks: TimeDelta::days(38), ..Retention::default() };
    round(&db.pool, retention, noon()).await.unwrap();
    let expected: Vec<_> =
        [today - TimeDelta::days(38)].into_iter().chain((-1..=7).map(|days| today + TimeDelta::days(days))).collect();
    assert_eq!(partitions_of(&db.pool, "check_result").await, expected);
    assert_eq!(partitions_of(&db.pool, "rollup_minute").await, expected[1..], "minutes are kept 30 days");
}

#[tokio::test]
async fn a_reader_that_holds_a_table_makes_housekeeping_give_up_and_try_again() {
    let db = TestDb::new().await;
    let old = noon().date_naive() - TimeDelta::days(40);
    partitions::ensure(&db.pool, old, old).await.unwrap();
    let mut reader = db.pool.begin().await.unwrap();
    sqlx::query("lock table check_result in access exclusive mode").execute(&mut *reader).await.unwrap();
    let error = round(&db.pool, Retention::default(), noon()).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    reader.rollback().await.unwrap();
    round(&db.pool, Retention::default(), noon()).await.unwrap();
    assert!(!partitions_of(&db.pool, "check_result").await.contains(&old));
}

#[tokio::test]
async fn seconds_batches_and_workers_go_when_nobody_asks_for_them() {
    let db = TestDb::new().await;
    write(&db.pool, &[check(1, noon() - TimeDelta::days(3), Outcome::Up), check(1, noon(), Outcome::Up)]).await;
    sqlx::query(
        "insert into worker (worker_id, started_at, seen_at, version, config_digest)
         values ('old', now() - interval '3 days', now() - interval '2 days', '0', 1), ('new', now(), now(), '0', 1)",
    )
    .execute(&db.pool)
    .await
    .unwrap();
    sqlx::query(
        "insert into gap (target_id, from_at, to_at, reason)
         values (1, '2020-01-01', '2020-01-02', 'no_worker'), (1, '2026-11-01', '2026-11-02', 'no_worker')",
    )
    .execute(&db.pool)
    .await
    .unwrap();
    sqlx::query("update batch set created_at = '2026-01-01'").execute(&db.pool).await.unwrap();
    round(&db.pool, Retention::default(), noon()).await.unwrap();
    let left: (i64, i64, i64, i64) = sqlx::query_as(
        "select (select count(*) from rollup_second), (select count(*) from batch), (select count(*) from worker),
                (select count(*) from gap)",
    )
    .fetch_one(&db.pool)
    .await
    .unwrap();
    assert_eq!(left, (1, 0, 1, 1));
}
