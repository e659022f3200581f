//! Writing and reading checks against a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use common::target::micros_to_utc;
use common::{Cause, Check, Outcome, Phases, Slot, TargetId, TargetSpec, TargetUrl};
use proptest::prelude::*;
use sqlx::PgPool;
use store::batches::{self, Gap, GapReason, Written};
use store::status::{self, Filter, InStartOrder, Position};
use store::testing::TestDb;
use store::windows::{self, Scope};
use store::{StoreError, checks, partitions, targets};

/// Noon, so that a few hours around it are the same day.
const NOON_US: i64 = 1_795_262_400_000_000;

async fn database() -> TestDb {
    let db = TestDb::new().await;
    partitions::ensure_around(&db.pool, micros_to_utc(NOON_US)).await.unwrap();
    db
}

fn check(target: i32, second: i64, outcome: Outcome) -> Check {
    let slot = NOON_US + second * 1_000_000;
    let is_verdict = outcome.is_verdict();
    Check {
        target_id: TargetId(target),
        slot: Slot(slot),
        started_us: is_verdict.then_some(slot + 500),
        outcome,
        code: match outcome {
            Outcome::Up | Outcome::Degraded => Some(200),
            Outcome::Down(Cause::Status) => Some(500),
            _ => None,
        },
        elapsed_us: is_verdict.then_some(1_500),
        phases: Phases {
            dns_us: None,
            connect_us: is_verdict.then_some(300),
            first_byte_us: is_verdict.then_some(1_100),
        },
        detail: None,
    }
}

async fn write(pool: &PgPool, checks: &[Check]) -> Result<Written, StoreError> {
    batches::write_checks(&mut pool.acquire().await.unwrap(), "test", checks).await
}

/// Rows counted directly, and the sums of both roll-ups: they have to agree.
async fn counts(pool: &PgPool) -> [BTreeMap<String, i64>; 3] {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "select case when outcome = 'down' then 'down_' || cause else outcome::text end, count(*)
         from check_result group by 1
         union all
         select 'class_' || code / 100 || 'xx', count(*) from check_result where code is not null group by 1",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let mut all = [rows.into_iter().collect(), BTreeMap::new(), BTreeMap::new()];
    for (index, table) in ["rollup_second", "rollup_minute"].into_iter().enumerate() {
        let sums: Vec<(String, i64)> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "select name, sum(number::int8)::int8 from {table} r, jsonb_each_text(to_jsonb(r)) as column_of (name, number)
             where name in ('up', 'degraded', 'missed', 'unknown') or name like 'down_%' or name like 'class_%'
             group by name having sum(number::int8) <> 0"
        )))
        .fetch_all(pool)
        .await
        .unwrap();
        all[index + 1] = sums.into_iter().collect();
    }
    all
}

async fn assert_rollups_equal_rows(pool: &PgPool) {
    let [rows, seconds, minutes] = counts(pool).await;
    assert_eq!(rows, seconds, "rows and seconds");
    assert_eq!(rows, minutes, "rows and minutes");
    type Codes = Vec<(DateTime<Utc>, String, i64)>;
    let rows: Codes = sqlx::query_as(
        "select slot_at, code::text, count(*) from (select date_trunc('second', slot_at) as slot_at, code from check_result) r
         where code is not null group by 1, 2 order by 1, 2",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let seconds: Codes =
        sqlx::query_as("select bucket_at, key, value::int8 from rollup_second, jsonb_each_text(codes) order by 1, 2")
            .fetch_all(pool)
            .await
            .unwrap();
    assert_eq!(rows, seconds, "status codes of rows and seconds");
}

#[tokio::test]
async fn a_batch_is_rows_rollups_and_a_notification() {
    let db = database().await;
    let mut listener = sqlx::postgres::PgListener::connect(&db.url).await.unwrap();
    listener.listen(batches::CHANNEL).await.unwrap();
    let batch = [
        check(1, 0, Outcome::Up),
        check(2, 0, Outcome::Down(Cause::Status)),
        check(1, 70, Outcome::Down(Cause::Dns)),
        check(2, 70, Outcome::Missed),
        check(3, 70, Outcome::Unknown),
        check(4, 70, Outcome::Degraded),
    ];
    let written = write(&db.pool, &batch).await.unwrap();
    assert_eq!(written, Written { inserted: 6, replaced: 0, ignored: 0 });
    assert_rollups_equal_rows(&db.pool).await;

    let announced: i64 = listener.recv().await.unwrap().payload().parse().unwrap();
    let rows: i64 = sqlx::query_scalar("select count(*) from check_result where batch_id = $1")
        .bind(announced)
        .fetch_one(&db.pool)
        .await
        .unwrap();
    assert_eq!(rows, 6);
    let (buckets, sum, max): (Vec<i32>, i64, i32) = sqlx::query_as(
        "select latency_buckets, latency_sum_us, latency_max_us from rollup_minute where target_id = 1 and up = 1",
    )
    .fetch_one(&db.pool)
    .await
    .unwrap();
    // 1.5 ms lies in the second bucket: over 1 ms, up to 1.6 ms.
    assert_eq!((buckets[1], buckets.iter().sum::<i32>(), sum, max), (1, 1, 1_500, 1_500));
}

#[tokio::test]
async fn writing_a_batch_again_changes_nothing() {
    let db = database().await;
    let batch: Vec<_> = (0..50).map(|n| check(n % 5, i64::from(n), Outcome::Up)).collect();
    write(&db.pool, &batch).await.unwrap();
    let before = counts(&db.pool).await;
    let again = write(&db.pool, &batch).await.unwrap();
    assert_eq!(again, Written { inserted: 0, replaced: 0, ignored: 50 });
    assert_eq!(counts(&db.pool).await, before);
}

#[tokio::test]
async fn a_late_verdict_replaces_missed_and_unknown_but_no_verdict() {
    let db = database().await;
    write(&db.pool, &[check(1, 0, Outcome::Missed), check(1, 1, Outcome::Unknown), check(1, 2, Outcome::Up)])
        .await
        .unwrap();
    let late = [
        check(1, 0, Outcome::Down(Cause::Timeout)),
        check(1, 1, Outcome::Up),
        check(1, 2, Outcome::Down(Cause::Reset)),
        check(1, 3, Outcome::Degraded),
    ];
    let written = write(&db.pool, &late).await.unwrap();
    assert_eq!(written, Written { inserted: 1, replaced: 2, ignored: 1 });
    let outcomes: Vec<String> = sqlx::query_scalar("select outcome::text from check_result order by slot_at")
        .fetch_all(&db.pool)
        .await
        .unwrap();
    assert_eq!(outcomes, ["down", "up", "up", "degraded"]);
    assert_rollups_equal_rows(&db.pool).await;

    write(&db.pool, &[check(1, 0, Outcome::Missed)]).await.unwrap();
    assert_rollups_equal_rows(&db.pool).await;
}

#[tokio::test]
async fn two_writers_of_the_same_slots_leave_one_row_each_and_true_rollups() {
    let db = database().await;
    let batch: Vec<_> = (0..400).map(|n| check(n % 20, i64::from(n / 20), Outcome::Up)).collect();
    let mut reversed = batch.clone();
    reversed.reverse();
    let (one, two) = tokio::join!(write(&db.pool, &batch), write(&db.pool, &reversed));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.inserted + two.inserted, 400);
    assert_rollups_equal_rows(&db.pool).await;
}

#[tokio::test]
async fn a_slot_without_a_partition_is_refused_whole_and_named() {
    let db = database().await;
    let far = check(1, 40 * 86_400, Outcome::Up);
    let error = write(&db.pool, &[check(1, 0, Outcome::Up), far.clone()]).await.unwrap_err();
    assert!(matches!(error, StoreError::NoPartition(_)), "{error:?}");
    let day = far.slot.at().date_naive();
    partitions::ensure(&db.pool, day, day).await.unwrap();
    assert_eq!(write(&db.pool, &[check(1, 0, Outcome::Up), far]).await.unwrap().inserted, 2);
}

#[tokio::test]
async fn a_gap_that_grew_is_one_row() {
    let db = database().await;
    let gap = |to_us| Gap { target_id: TargetId(1), from_us: NOON_US, to_us, reason: GapReason::Overflow };
    let mut connection = db.pool.acquire().await.unwrap();
    batches::write_gaps(&mut connection, &[gap(NOON_US + 5)]).await.unwrap();
    // A worker that lost a shard and took it again while Postgres was away tells of one gap twice.
    let unwatched = Gap { reason: GapReason::NoWorker, ..gap(NOON_US + 9) };
    batches::write_gaps(&mut connection, &[gap(NOON_US + 7), unwatched, gap(NOON_US + 3)]).await.unwrap();
    let ends: Vec<DateTime<Utc>> = sqlx::query_scalar("select to_at from gap").fetch_all(&db.pool).await.unwrap();
    assert_eq!(ends, [micros_to_utc(NOON_US + 9)]);
}

#[tokio::test]
async fn a_slot_in_two_gaps_or_with_a_late_verdict_is_counted_once() {
    let db = database().await;
    let mut connection = db.pool.acquire().await.unwrap();
    let spec = TargetSpec::new("a", TargetUrl::parse("http://example.org/").unwrap());
    let applied = targets::apply(&mut connection, "w", &[], &[spec], 1).await.unwrap();
    let target_id = applied.placed[0].target_id;
    let at = |seconds: i64| NOON_US + seconds * 1_000_000;
    let gap = |from, to| Gap { target_id, from_us: at(from), to_us: at(to), reason: GapReason::NoWorker };
    // Due every 10 s: 10 slots, those from 50 on twice.
    batches::write_gaps(&mut connection, &[gap(0, 80), gap(50, 100)]).await.unwrap();
    let scope = Scope { targets: Some(vec![target_id.0]), active: 1, rate: 0.1 };
    let count = async |connection: &mut sqlx::PgConnection, from: i64, to: i64| {
        windows::gap_slots(connection, &scope, &[micros_to_utc(at(from))], micros_to_utc(at(to))).await.unwrap()[0]
    };
    assert_eq!(count(&mut connection, -60, 200).await, 10);
    assert_eq!(count(&mut connection, 35, 61).await, 3, "40, 50 and 60");
    write(&db.pool, &[check(target_id.0, 50, Outcome::Up), check(target_id.0, 90, Outcome::Missed)]).await.unwrap();
    assert_eq!(count(&mut connection, -60, 200).await, 8, "two are rows now");
    assert_eq!(count(&mut connection, 35, 61).await, 2, "40 and 60");
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Up),
        Just(Outcome::Degraded),
        Just(Outcome::Down(Cause::Timeout)),
        Just(Outcome::Down(Cause::Status)),
        Just(Outcome::Missed),
        Just(Outcome::Unknown),
    ]
}

#[test]
fn whatever_comes_twice_or_late_rollups_equal_rows_and_verdicts_stay() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let db = runtime.block_on(database());
    // One database for all cases: each gets targets of its own.
    let next_target = std::cell::Cell::new(0);
    let strategy = prop::collection::vec(prop::collection::vec((0i32..3, 0i64..4, outcomes()), 1..10), 1..6);
    proptest!(ProptestConfig::with_cases(40), |(batches in strategy)| {
        let first = next_target.replace(next_target.get() + 3);
        runtime.block_on(async {
            let mut model: BTreeMap<(i32, i64), Outcome> = BTreeMap::new();
            for batch in &batches {
                let checks: Vec<_> = batch.iter().map(|(target, second, outcome)| check(first + target, *second, *outcome)).collect();
                // Within a batch a verdict wins over none, else the first stays; so it does over time.
                for check in &checks {
                    let known = model.entry((check.target_id.0, check.slot.0)).or_insert(check.outcome);
                    if check.outcome.is_verdict() && !known.is_verdict() {
                        *known = check.outcome;
                    }
                }
                write(&db.pool, &checks).await.unwrap();
            }
            let rows: Vec<(i32, DateTime<Utc>, String, Option<String>)> = sqlx::query_as(
                "select target_id, slot_at, outcome::text, cause::text from check_result where target_id >= $1",
            ).bind(first).fetch_all(&db.pool).await.unwrap();
            let stored: BTreeMap<_, _> = rows.into_iter().map(|(target, slot, outcome, cause)| {
                ((target, slot.timestamp_micros()), Outcome::from_labels(&outcome, cause.as_deref()).unwrap())
            }).collect();
            assert_eq!(stored, model);
            assert_rollups_equal_rows(&db.pool).await;
        });
    });
    runtime.block_on(db.close());
}

async fn read_all(pool: &PgPool, filter: &Filter) -> Vec<status::StatusRow> {
    let mut connection = pool.acquire().await.unwrap();
    let mut position = Position::start(filter);
    let mut order = InStartOrder::default();
    let mut rows = Vec::new();
    loop {
        let page = status::page(&mut connection, filter, position).await.unwrap();
        let Some(last) = page.last() else { break };
        position = Position { slot_at: last.slot_at, target_id: last.target_id };
        rows.extend(order.settle(page));
    }
    rows.extend(order.finish());
    rows
}

#[tokio::test]
async fn status_is_every_verdict_in_order_of_starts() {
    let db = database().await;
    let mut batch: Vec<_> = (0..300).map(|n| check(n % 3, i64::from(n / 3), Outcome::Up)).collect();
    // One that started late, after its neighbours.
    batch[0].started_us = Some(NOON_US + 2_600_000);
    batch.push(check(4, 0, Outcome::Missed));
    batch.push(check(4, 1, Outcome::Down(Cause::Refused)));
    write(&db.pool, &batch).await.unwrap();
    let rows = read_all(&db.pool, &Filter::default()).await;
    assert_eq!(rows.len(), 301);
    assert!(rows.is_sorted_by_key(|row| row.started_at));

    let since = micros_to_utc(NOON_US + 2_000_000);
    let until = micros_to_utc(NOON_US + 3_000_000);
    let some = read_all(&db.pool, &Filter { since: Some(since), until: Some(until), ..Filter::default() }).await;
    assert_eq!(some.len(), 4, "three on time and the late one: {some:?}");
    let down = read_all(&db.pool, &Filter { outcome: Some("down"), ..Filter::default() }).await;
    assert_eq!(down.len(), 1);
    let one = read_all(&db.pool, &Filter { targets: Some(vec![2]), ..Filter::default() }).await;
    assert_eq!(one.len(), 100);

    let mut connection = db.pool.acquire().await.unwrap();
    let newest = status::newest(&mut connection, &Filter::default(), 5).await.unwrap().unwrap();
    assert_eq!(status::page(&mut connection, &Filter::default(), newest).await.unwrap().len(), 5);
    assert_eq!(status::newest(&mut connection, &Filter::default(), 301).await.unwrap(), None);
}

#[tokio::test]
async fn slots_are_looked_for_an_interval_back_and_a_day_where_an_interval_changed() {
    let db = database().await;
    let mut connection = db.pool.acquire().await.unwrap();
    let since = micros_to_utc(NOON_US);
    let at = |seconds: i64| micros_to_utc(NOON_US + seconds * 1_000_000);
    let targets = "insert into target (key, name, url, interval_ms, timeout_ms, degraded_ms, expect_status, source,
                                       created_at, due_since)
                   select n::text, n::text, 'http://a/', 10000 * n, 1000, 500, '{200-299}', 'env', $1, $1
                   from generate_series(1, 3) n";
    sqlx::query(targets).bind(at(-200_000)).execute(&mut *connection).await.unwrap();
    assert_eq!(status::first_slot(&mut connection, since).await.unwrap(), at(-30));
    // Who knows what the interval of the first was before? A day before the moment nobody cares.
    let changed = "update target set due_since = $1 where key = '1'";
    for (changed_s, expected) in [(-86_401, -30), (-86_399, -86_400), (3_600, -86_400)] {
        sqlx::query(changed).bind(at(changed_s)).execute(&mut *connection).await.unwrap();
        assert_eq!(status::first_slot(&mut connection, since).await.unwrap(), at(expected), "{changed_s}");
    }
    sqlx::query("delete from target").execute(&mut *connection).await.unwrap();
    assert_eq!(status::first_slot(&mut connection, since).await.unwrap(), at(-86_400));
    assert_eq!(
        status::first_slot(&mut connection, chrono::DateTime::<chrono::Utc>::MIN_UTC).await.unwrap(),
        micros_to_utc(0)
    );
}

#[tokio::test]
async fn what_an_assertion_saw_is_kept_with_its_check_and_comes_with_a_late_one() {
    let db = database().await;
    let failed = |target, second, detail: &str| Check {
        detail: Some(detail.into()),
        ..check(target, second, Outcome::Down(Cause::Assertion))
    };
    write(&db.pool, &[failed(1, 0, "first"), check(1, 10, Outcome::Missed), check(1, 20, Outcome::Up)]).await.unwrap();
    // Again, with another word; and late, for the slot that was missed.
    let written =
        write(&db.pool, &[failed(1, 0, "again"), failed(1, 10, "late"), failed(1, 20, "never")]).await.unwrap();
    assert_eq!((written.inserted, written.replaced, written.ignored), (0, 1, 2));
    let expected = [Some("first"), Some("late"), None];

    let mut connection = db.pool.acquire().await.unwrap();
    let (from, until) = (micros_to_utc(NOON_US - 1), micros_to_utc(NOON_US + 60_000_000));
    let all = checks::window(&mut connection, None, (from, TargetId(0)), until, 10).await.unwrap();
    assert_eq!(all.iter().map(|row| row.detail.as_deref()).collect::<Vec<_>>(), expected);
    let scope = Scope { targets: Some(vec![1]), active: 1, rate: 0.1 };
    let own = checks::window(&mut connection, Some(&scope), (from, TargetId(0)), until, 10).await.unwrap();
    assert_eq!(own, all);
    let newest = checks::newest(&mut connection, TargetId(1), 10).await.unwrap();
    assert_eq!(newest.iter().rev().map(|row| row.check.detail.as_deref()).collect::<Vec<_>>(), expected);
    assert_rollups_equal_rows(&db.pool).await;
}

#[test]
fn the_worker_waits_for_the_newest_migration() {
    assert_eq!(store::SCHEMA_VERSION, schema::version());
}

#[tokio::test]
async fn a_window_of_some_targets_is_theirs_whether_few_or_many_and_however_old_their_checks() {
    let db = database().await;
    // 1,500 fast targets that are new, of 3,000; before them, long stretches of the others alone.
    sqlx::query(
        "insert into target (key, name, url, interval_ms, timeout_ms, degraded_ms, expect_status, source)
         select 't' || n, 't', 'http://h/', 1000, 500, 500, '{200-299}', 'file' from generate_series(1, 3000) n",
    )
    .execute(&db.pool)
    .await
    .unwrap();
    sqlx::query(
        "insert into check_result (slot_at, started_at, batch_id, target_id, elapsed_us, outcome, code)
         select at + n * interval '1 us', at, 1, n, 1, 'up'::outcome, 200
         from generate_series($1 - interval '2 hours', $1, interval '5 minutes') at, generate_series(1501, 3000) n
         union all
         select at + n * interval '1 us', at, 1, n, 1, 'up'::outcome, 200
         from generate_series($1 - interval '2 minutes', $1, interval '1 minute') at, generate_series(1, 1500) n",
    )
    .bind(micros_to_utc(NOON_US))
    .execute(&db.pool)
    .await
    .unwrap();
    let mut connection = db.pool.acquire().await.unwrap();
    let until = micros_to_utc(NOON_US) + TimeDelta::seconds(1);
    let window = (until - TimeDelta::hours(3), TargetId(i32::MAX));
    let everything = checks::window(&mut connection, None, window, until, 1_000_000).await.unwrap();
    assert_eq!(everything.len(), 25 * 1500 + 3 * 1500);
    let few: Vec<i32> = vec![7, 9, 1501, 4000];
    let many: Vec<i32> = (1..=1500).collect();
    let most: Vec<i32> = (1000..=3000).collect();
    for (targets, rate) in [(&few, 3.0), (&many, 1500.0), (&most, 2000.0), (&most, 0.0), (&few, 1e-9)] {
        let scope = Scope { targets: Some(targets.clone()), active: 1, rate };
        let theirs: Vec<_> = everything.iter().filter(|row| targets.contains(&row.target_id.0)).collect();
        let (mut read, mut after) = (Vec::new(), window);
        loop {
            let page = checks::window(&mut connection, Some(&scope), after, until, 499).await.unwrap();
            let Some(last) = page.last() else { break };
            assert!(page.len() <= 499);
            after = (last.slot_at, last.target_id);
            read.extend(page);
        }
        assert!(read.iter().eq(theirs.iter().copied()), "{} of {} at {rate}/s", read.len(), theirs.len());
    }
}

#[tokio::test]
async fn the_newest_slots_of_a_target_come_with_their_phases() {
    let db = database().await;
    let batch = [check(1, 0, Outcome::Up), check(2, 5, Outcome::Up), check(1, 10, Outcome::Missed)];
    write(&db.pool, &batch).await.unwrap();
    let newest = checks::newest(&mut db.pool.acquire().await.unwrap(), TargetId(1), 50).await.unwrap();
    let phases: Vec<_> = newest.iter().map(|slot| (slot.dns_us, slot.connect_us, slot.first_byte_us)).collect();
    assert_eq!(phases, [(None, None, None), (None, Some(300), Some(1_100))]);
    assert_eq!(newest[0].check.outcome, Outcome::Missed);
    let one = checks::newest(&mut db.pool.acquire().await.unwrap(), TargetId(1), 1).await.unwrap();
    assert_eq!(one, newest[..1]);
}

#[tokio::test]
async fn slots_in_gaps_are_counted_for_each_window_they_reach_into() {
    let db = database().await;
    sqlx::query(
        "insert into target (key, name, url, interval_ms, timeout_ms, degraded_ms, expect_status, source)
         values ('a', 'a', 'http://h/', 1000, 500, 500, '{200-299}', 'file')",
    )
    .execute(&db.pool)
    .await
    .unwrap();
    let mut connection = db.pool.acquire().await.unwrap();
    let second = |second: i64| NOON_US + second * 1_000_000;
    // Slots at 0 to 10, and at 100 to 104.
    let gap = |from, to| Gap {
        target_id: TargetId(1),
        from_us: second(from),
        to_us: second(to) + 1,
        reason: GapReason::NoWorker,
    };
    batches::write_gaps(&mut connection, &[gap(0, 10), gap(100, 104)]).await.unwrap();
    let from: Vec<_> = [-60, 4, 50, 103, 200].map(|from| micros_to_utc(second(from))).to_vec();
    for (targets, expected) in [(None, [15, 11, 4, 1, 0]), (Some(vec![1]), [15, 11, 4, 1, 0]), (Some(vec![2]), [0; 5])]
    {
        let scope = Scope { targets, active: 1, rate: 1.0 };
        // The last slot of all lies beyond the windows.
        let slots = windows::gap_slots(&mut connection, &scope, &from, micros_to_utc(second(104))).await.unwrap();
        assert_eq!(slots, expected);
    }
}
