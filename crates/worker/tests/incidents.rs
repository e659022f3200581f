//! Checks and posted events become incidents, whatever happens to the folder.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use common::{Cause, Check, Outcome, Phases, Slot, TargetId};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use store::PgPool;
use store::cursors;
use store::events::{self, Access, Change};
use store::incidents::{self, Wanted};
use store::services::{self, Declared};
use store::testing::TestDb;
use worker::incidents::Folder;

/// 2026-11-21T12:00:00Z
const NOON_US: i64 = 1_795_262_400_000_000;

fn check(target: i32, second: i64, outcome: Outcome) -> Check {
    let slot_us = NOON_US + second * 1_000_000;
    Check {
        target_id: TargetId(target),
        slot: Slot(slot_us),
        started_us: Some(slot_us + 250),
        outcome,
        code: None,
        elapsed_us: None,
        phases: Phases::default(),
        detail: None,
    }
}

const DOWN: Outcome = Outcome::Down(Cause::Status);

async fn write(pool: &PgPool, checks: &[Check]) {
    let mut connection = pool.acquire().await.unwrap();
    store::batches::write_checks(&mut connection, "test", checks).await.unwrap();
}

async fn post(pool: &PgPool, accesses: &[Access], changes: &[Change]) {
    let mut connection = pool.acquire().await.unwrap();
    assert!(events::write(&mut connection, "test", accesses, changes, None).await.unwrap());
}

fn change(service_id: i32, commit: &str, ordinal: i32) -> Change {
    let at = common::target::micros_to_utc(NOON_US);
    Change { service_id, commit: commit.to_owned(), author: None, at, ordinal }
}

/// A database with two targets of one service and an endpoint that is only posted
/// to; 1, 2 and 3 are their endpoints, 1 the service. Windows are ten seconds.
async fn database() -> TestDb {
    let db = TestDb::new().await;
    let noon = common::target::micros_to_utc(NOON_US);
    store::partitions::ensure_around(&db.pool, noon).await.unwrap();
    store::partitions::ensure_around(&db.pool, chrono::Utc::now()).await.unwrap();
    sqlx::query(
        "insert into target (key, name, url, interval_ms, timeout_ms, degraded_ms, expect_status, source)
         values ('a', 'a', 'http://a', 1000, 500, 500, '{200-299}', 'env'),
                ('b', 'b', 'http://b', 1000, 500, 500, '{200-299}', 'env')",
    )
    .execute(&db.pool)
    .await
    .unwrap();
    let mut connection = db.pool.acquire().await.unwrap();
    let list: Vec<Declared> = ["a", "b", "/posted"].into_iter().map(declared).collect();
    assert_eq!(services::declare(&mut connection, &list).await.unwrap(), 3);
    // Declared long ago: those of the last minute are read again and again.
    for sql in [
        "update endpoint e set target_id = t.target_id from target t where t.key = e.resource",
        "update endpoint set updated_at = updated_at - interval '1 hour'",
    ] {
        sqlx::query(sql).execute(&db.pool).await.unwrap();
    }
    let found: Vec<Option<i32>> = services::find_endpoints(
        &mut connection,
        &["GET".into(), "GET".into(), "GET".into()],
        &["/posted".into(), "a".into(), "b".into()],
    )
    .await
    .unwrap();
    assert_eq!(found, [Some(1), Some(2), Some(3)]);
    db
}

fn declared(resource: &str) -> Declared {
    Declared {
        service: "shop".to_owned(),
        owner_email: None,
        verb: "GET".to_owned(),
        resource: resource.to_owned(),
        objective_nano: 900_000_000,
        window_ns: 10_000_000_000,
    }
}

/// Endpoint, seconds after noon, and both changes of each incident, in order of beginning.
async fn found(pool: &PgPool) -> Vec<(String, f64, Option<f64>, Option<String>, Option<String>)> {
    let mut connection = pool.acquire().await.unwrap();
    let mut list = incidents::list(&mut connection, Wanted::ALL, 10_000).await.unwrap();
    list.sort_by(|a, b| (a.started_ns, &a.resource).cmp(&(b.started_ns, &b.resource)));
    let seconds = |ns: i64| (ns - NOON_US * 1_000) as f64 / 1e9;
    list.into_iter()
        .map(|one| {
            (
                one.resource,
                seconds(one.started_ns),
                one.ended_ns.map(seconds),
                one.breaking.map(|change| change.commit),
                one.fixing.map(|change| change.commit),
            )
        })
        .collect()
}

/// Folds until nothing is left. A batch is not settled while any older transaction
/// of the server is under way, and other tests share it.
async fn fold_all(folder: &mut Folder) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        while folder.round().await.unwrap() {}
        let mut connection = folder.pool().acquire().await.unwrap();
        let behind = cursors::behind(&mut connection).await.unwrap();
        if behind.iter().all(|reader| reader.batches == 0) && !behind.is_empty() {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "not within 30 s: {behind:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn checks_break_an_objective_and_restore_it_and_the_changes_before_are_named() {
    let db = database().await;
    let mut folder = Folder::new(db.pool.clone());
    post(&db.pool, &[], &[change(1, "one", 0), change(1, "two", 1)]).await;
    write(&db.pool, &(0..20).map(|second| check(1, second, Outcome::Up)).collect::<Vec<_>>()).await;
    write(&db.pool, &[check(1, 20, DOWN)]).await;
    fold_all(&mut folder).await;
    assert_eq!(found(&db.pool).await, [], "nine of ten are enough");

    write(&db.pool, &[check(1, 21, DOWN)]).await;
    post(&db.pool, &[], &[change(1, "three", 0)]).await;
    fold_all(&mut folder).await;
    let open = ("a".to_owned(), 21.00025, None, Some("two".to_owned()), None);
    assert_eq!(found(&db.pool).await, [open]);

    // Neither missed nor unknown slots are events, and a degraded one is a success.
    write(&db.pool, &(22..26).map(|second| check(1, second, Outcome::Missed)).collect::<Vec<_>>()).await;
    write(&db.pool, &(26..41).map(|second| check(1, second, Outcome::Degraded)).collect::<Vec<_>>()).await;
    fold_all(&mut folder).await;
    let over = ("a".to_owned(), 21.00025, Some(31.00025), Some("two".to_owned()), Some("three".to_owned()));
    assert_eq!(found(&db.pool).await, [over]);
    assert!(!folder.round().await.unwrap(), "nothing is left to do");
}

#[tokio::test]
async fn a_late_verdict_counts_by_its_own_time() {
    let db = database().await;
    let mut folder = Folder::new(db.pool.clone());
    write(&db.pool, &[check(1, 0, Outcome::Up), check(1, 1, Outcome::Missed), check(1, 2, Outcome::Up)]).await;
    fold_all(&mut folder).await;
    assert_eq!(found(&db.pool).await, []);
    write(&db.pool, &[check(1, 1, DOWN)]).await;
    fold_all(&mut folder).await;
    let open = ("a".to_owned(), 2.00025, None, None, None);
    assert_eq!(found(&db.pool).await, [open], "two of three, stamped with the newest request");
}

#[tokio::test]
async fn posted_events_count_in_their_order_between_the_changes() {
    let db = database().await;
    let access = |second: i64, status, ordinal| Access {
        endpoint_id: 1,
        at_ns: (NOON_US + second * 1_000_000) * 1_000,
        status,
        ordinal,
    };
    post(&db.pool, &[access(0, 200, 0), access(1, 503, 2)], &[change(1, "one", 1), change(1, "two", 3)]).await;
    post(&db.pool, &[access(11, 404, 0)], &[]).await;
    fold_all(&mut Folder::new(db.pool.clone())).await;
    let over = ("/posted".to_owned(), 1.0, Some(11.0), Some("one".to_owned()), Some("two".to_owned()));
    assert_eq!(found(&db.pool).await, [over]);
}

#[tokio::test]
async fn a_new_objective_and_a_new_endpoint_are_noticed() {
    let db = database().await;
    let mut folder = Folder::new(db.pool.clone());
    write(&db.pool, &[check(1, 0, Outcome::Up)]).await;
    fold_all(&mut folder).await;
    let mut connection = db.pool.acquire().await.unwrap();
    let lax = Declared { objective_nano: 400_000_000, ..declared("a") };
    services::declare(&mut connection, &[lax, declared("/new")]).await.unwrap();
    write(&db.pool, &[check(1, 1, DOWN)]).await;
    let posted = Access { endpoint_id: 4, at_ns: NOON_US * 1_000, status: 500, ordinal: 0 };
    let id = services::find_endpoints(&mut connection, &["GET".into()], &["/new".into()]).await.unwrap()[0].unwrap();
    post(&db.pool, &[Access { endpoint_id: id, ..posted }], &[]).await;
    fold_all(&mut folder).await;
    assert_eq!(found(&db.pool).await, [("/new".to_owned(), 0.0, None, None, None)]);
}

#[tokio::test]
async fn what_was_silent_for_long_is_forgotten_and_known_again_when_it_is_heard_of() {
    let db = database().await;
    let mut folder = Folder::new(db.pool.clone());
    write(&db.pool, &(0..8).map(|second| check(1, second, Outcome::Up)).collect::<Vec<_>>()).await;
    let posted = |second: i64, status, ordinal| Access {
        endpoint_id: 1,
        at_ns: (NOON_US + second * 1_000_000) * 1_000,
        status,
        ordinal,
    };
    // One of the three is below its objective, and its incident keeps it.
    post(&db.pool, &[posted(0, 500, 0)], &[change(1, "one", 1)]).await;
    fold_all(&mut folder).await;
    assert_eq!(folder.endpoints(), 3);
    folder.forget_silent(tokio::time::Instant::now() + Duration::from_secs(599));
    assert_eq!(folder.endpoints(), 3);
    folder.forget_silent(tokio::time::Instant::now() + Duration::from_secs(3_600));
    assert_eq!(folder.endpoints(), 1);

    write(&db.pool, &[check(1, 8, DOWN)]).await;
    fold_all(&mut folder).await;
    assert_eq!(folder.endpoints(), 2);
    let posted_open = ("/posted".to_owned(), 0.0, None, None, None);
    let open = ("a".to_owned(), 8.00025, None, Some("one".to_owned()), None);
    assert_eq!(found(&db.pool).await, [posted_open.clone(), open], "one of nine is too many, and the change is known");

    post(&db.pool, &[posted(20, 200, 0)], &[]).await;
    fold_all(&mut folder).await;
    let over = ("/posted".to_owned(), 0.0, Some(20.0), None, Some("one".to_owned()));
    assert_eq!(found(&db.pool).await[0], over, "what was kept goes on");
}

#[tokio::test]
async fn a_removed_target_that_comes_back_goes_on_with_its_incident() {
    let db = database().await;
    write(&db.pool, &[check(1, 0, DOWN), check(2, 0, Outcome::Up)]).await;
    fold_all(&mut Folder::new(db.pool.clone())).await;
    sqlx::query("update target set deleted_at = now() where key = 'a'").execute(&db.pool).await.unwrap();
    let mut folder = Folder::new(db.pool.clone());
    write(&db.pool, &[check(2, 1, Outcome::Up)]).await;
    fold_all(&mut folder).await;
    assert_eq!(folder.endpoints(), 2, "those that were removed are left alone");
    sqlx::query("update target set deleted_at = null where key = 'a'").execute(&db.pool).await.unwrap();
    write(&db.pool, &[check(1, 30, Outcome::Up)]).await;
    fold_all(&mut folder).await;
    assert_eq!(found(&db.pool).await, [("a".to_owned(), 0.00025, Some(30.00025), None, None)]);
}

#[tokio::test]
async fn an_incident_whose_rows_are_gone_does_not_end_before_it_began() {
    let db = database().await;
    write(&db.pool, &[check(1, 100, DOWN)]).await;
    fold_all(&mut Folder::new(db.pool.clone())).await;
    // Retention went over it, and somebody starts anew.
    sqlx::query("delete from check_result").execute(&db.pool).await.unwrap();
    let mut folder = Folder::new(db.pool.clone());
    write(&db.pool, &[check(1, 50, Outcome::Up)]).await;
    fold_all(&mut folder).await;
    assert_eq!(found(&db.pool).await, [("a".to_owned(), 100.00025, None, None, None)], "too late to count");
    write(&db.pool, &[check(1, 101, Outcome::Up), check(2, 101, DOWN)]).await;
    fold_all(&mut folder).await;
    let over = ("a".to_owned(), 100.00025, Some(101.00025), None, None);
    assert_eq!(found(&db.pool).await, [over, ("b".to_owned(), 101.00025, None, None, None)], "and the others go on");
}

#[tokio::test]
async fn a_window_that_grows_counts_what_a_restart_would_count() {
    let (steady, restarted) = (database().await, database().await);
    let mut folder = Folder::new(steady.pool.clone());
    for db in [&steady, &restarted] {
        write(&db.pool, &(0..9).map(|second| check(1, second, Outcome::Up)).collect::<Vec<_>>()).await;
        write(&db.pool, &[check(1, 30, Outcome::Up)]).await;
    }
    fold_all(&mut folder).await;
    fold_all(&mut Folder::new(restarted.pool.clone())).await;
    for db in [&steady, &restarted] {
        let longer = Declared { window_ns: 60_000_000_000, ..declared("a") };
        services::declare(&mut db.pool.acquire().await.unwrap(), &[longer]).await.unwrap();
        // One of eleven over a minute is still good enough, one of two over ten seconds is not.
        write(&db.pool, &[check(1, 31, DOWN)]).await;
    }
    fold_all(&mut folder).await;
    fold_all(&mut Folder::new(restarted.pool.clone())).await;
    assert_eq!((found(&steady.pool).await, found(&restarted.pool).await), (vec![], vec![]));
}

#[tokio::test]
async fn a_database_restored_from_another_server_is_followed_again() {
    let db = database().await;
    write(&db.pool, &[check(1, 0, Outcome::Up)]).await;
    fold_all(&mut Folder::new(db.pool.clone())).await;
    // As a server sees it whose own transactions are far behind.
    for sql in ["update cursor set xid = '9000000000'", "update batch set xid = '8999999999'"] {
        sqlx::query(sql).execute(&db.pool).await.unwrap();
    }
    let mut folder = Folder::new(db.pool.clone());
    fold_all(&mut folder).await;
    write(&db.pool, &[check(1, 1, DOWN)]).await;
    fold_all(&mut folder).await;
    assert_eq!(
        found(&db.pool).await,
        [("a".to_owned(), 1.00025, None, None, None)],
        "one of two, the first remembered"
    );
}

/// What happened to two databases, with the same batches.
#[tokio::test]
async fn restarts_anywhere_two_folders_at_once_and_a_short_memory_change_nothing() {
    let mut rng = StdRng::seed_from_u64(7);
    let (steady, shaken) = (database().await, database().await);
    let mut one = Folder::new(steady.pool.clone());
    let mut two = [Folder::new(shaken.pool.clone()), Folder::new(shaken.pool.clone())];
    let mut second = 0;
    for step in 0..150 {
        // Stretches of failure and of success, some slots late by a batch.
        let bad = (step / 10) % 2 == 1;
        let mut checks = Vec::new();
        for target in [1, 2] {
            for offset in 0..rng.random_range(1..4) {
                let at = second + offset - if rng.random_ratio(1, 8) { 3 } else { 0 };
                let fails = rng.random_ratio(if bad { 3 } else { 1 }, if bad { 4 } else { 40 });
                checks.push(check(target, at, if fails { DOWN } else { Outcome::Up }));
            }
        }
        second += 3;
        let changes = if rng.random_ratio(1, 5) { vec![change(1, &format!("c{step}"), 0)] } else { vec![] };
        for db in [&steady, &shaken] {
            write(&db.pool, &checks).await;
            if !changes.is_empty() {
                post(&db.pool, &[], &changes).await;
            }
        }
        fold_all(&mut one).await;
        match rng.random_range(0..7) {
            0 => two[0].forget(),
            1 => fold_all(&mut two[1]).await,
            2 => {
                // A round that is cut off leaves nothing behind.
                let _ = tokio::time::timeout(Duration::from_micros(rng.random_range(0..9_000)), two[0].round()).await;
            }
            3 => {
                let [a, b] = &mut two;
                // Either may lose to the other, and tries again later.
                let (_, _) = tokio::join!(a.round(), b.round());
            }
            4 | 5 => two[0].forget_silent(tokio::time::Instant::now() + Duration::from_secs(86_400 * (step + 1))),
            _ => {}
        }
    }
    for folder in &mut two {
        fold_all(folder).await;
    }
    let expected = found(&steady.pool).await;
    assert!(expected.len() > 8, "{expected:?}");
    assert_eq!(found(&shaken.pool).await, expected);
}
