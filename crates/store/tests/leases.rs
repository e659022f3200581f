//! Who holds which shard, against a real Postgres.

use chrono::TimeDelta;
use common::Shard;
use common::target::micros_to_utc;
use store::testing::TestDb;
use store::{leases, workers};

/// Noon of some day.
const NOON_US: i64 = 1_795_262_400_000_000;

#[tokio::test]
async fn a_shard_has_one_holder_and_changes_hands_with_a_new_epoch() {
    let db = TestDb::new().await;
    let mut connection = db.pool.acquire().await.unwrap();
    let taken = leases::take(&mut connection, "w1", 256).await.unwrap();
    assert_eq!(taken.len(), 256);
    assert!(taken.iter().all(|lease| lease.epoch == 1 && lease.complete_until.is_none()));
    assert_eq!(leases::take(&mut connection, "w2", 256).await.unwrap(), []);
    let all: Vec<_> = taken.iter().map(|lease| lease.shard).collect();

    let done = micros_to_utc(NOON_US);
    assert_eq!(leases::renew(&mut connection, "w1", &all, Some(done)).await.unwrap().len(), 256);
    // The older of two reports never wins.
    leases::renew(&mut connection, "w1", &all, Some(done - TimeDelta::seconds(9))).await.unwrap();

    sqlx::query("update shard_lease set expires_at = clock_timestamp() where shard_id = 7")
        .execute(&db.pool)
        .await
        .unwrap();
    assert_eq!(leases::renew(&mut connection, "w1", &all, None).await.unwrap().len(), 255);
    let taken = leases::take(&mut connection, "w2", 256).await.unwrap();
    assert_eq!(taken, [leases::Taken { shard: Shard(7), epoch: 2, complete_until: Some(done), released_at: None }]);

    // What is handed over goes to whoever has room for it.
    leases::release(&mut connection, "w1", &all[..10], Some(done), None).await.unwrap();
    let taken = leases::take(&mut connection, "w2", 4).await.unwrap();
    assert_eq!(taken.len(), 4);
    assert!(taken.iter().all(|lease| lease.released_at == Some(done) && lease.epoch == 2 || lease.epoch == 3));
    assert_eq!(leases::take(&mut connection, "w3", 256).await.unwrap().len(), 5, "7 went to w2 before");
}

#[tokio::test]
async fn nothing_of_a_released_shard_counts_as_complete_beyond_the_release() {
    let db = TestDb::new().await;
    let mut connection = db.pool.acquire().await.unwrap();
    leases::take(&mut connection, "w1", 256).await.unwrap();
    let released = micros_to_utc(NOON_US);
    let ahead = released + TimeDelta::seconds(1);
    leases::release(&mut connection, "w1", &[Shard(3)], Some(released), Some(ahead)).await.unwrap();
    let taken = leases::take(&mut connection, "w2", 256).await.unwrap();
    assert_eq!((taken[0].complete_until, taken[0].released_at), (Some(released), Some(released)));
}

#[tokio::test]
async fn the_leases_of_the_dead_are_free_at_once_and_those_of_the_living_stay() {
    let db = TestDb::new().await;
    let mut connection = db.pool.acquire().await.unwrap();
    sqlx::query(
        "insert into worker (worker_id, started_at, seen_at, version, lag_us, missed, config_digest, spool_depth)
         select id, clock_timestamp(), clock_timestamp(), '1', 0, 0, 1, 7
         from unnest(array['alive', 'dead', 'stopped']) as id",
    )
    .execute(&db.pool)
    .await
    .unwrap();
    let taken = leases::take(&mut connection, "dead", 100).await.unwrap();
    leases::renew(&mut connection, "dead", &[taken[0].shard], Some(micros_to_utc(NOON_US))).await.unwrap();
    sqlx::query("update shard_lease set holder = 'alive' where shard_id >= 250").execute(&db.pool).await.unwrap();
    workers::stopped(&mut connection, "stopped").await.unwrap();
    assert_eq!(workers::running(&mut connection).await.unwrap(), 2);

    let ended = ["dead", "stopped", "never seen"].map(str::to_owned);
    assert_eq!(workers::ended(&mut connection, &ended).await.unwrap(), ["dead"]);
    assert_eq!(workers::ended(&mut connection, &ended).await.unwrap(), [""; 0]);
    assert_eq!(workers::running(&mut connection).await.unwrap(), 1);
    let seen = workers::list(&mut connection).await.unwrap();
    let mut crashed: Vec<_> =
        seen.iter().map(|worker| (worker.worker_id.as_str(), worker.crashed, worker.spool_depth)).collect();
    crashed.sort();
    assert_eq!(crashed, [("alive", false, 7), ("dead", true, 0), ("stopped", false, 0)]);

    // As if they had run out: whoever comes takes all of them, and knows how far they were.
    let taken = leases::take(&mut connection, "next", 0).await.unwrap();
    assert_eq!(taken.len(), 250);
    assert!(taken.iter().all(|lease| lease.epoch == 2 && lease.released_at.is_none()));
    assert_eq!(taken.iter().filter(|lease| lease.complete_until == Some(micros_to_utc(NOON_US))).count(), 1);
}

#[tokio::test]
async fn a_worker_that_reports_after_it_was_found_dead_is_alive() {
    let db = TestDb::new().await;
    let mut connection = db.pool.acquire().await.unwrap();
    let report = workers::Report::first("w", micros_to_utc(NOON_US), 1);
    let states = async |connection: &mut sqlx::PgConnection| {
        let seen = workers::list(connection).await.unwrap().remove(0);
        (seen.stopped_at.is_some(), seen.crashed, workers::running(connection).await.unwrap())
    };
    workers::report(&mut connection, &report).await.unwrap();
    workers::ended(&mut connection, &["w".to_owned()]).await.unwrap();
    assert_eq!(states(&mut connection).await, (true, true, 0));
    workers::report(&mut connection, &report).await.unwrap();
    assert_eq!(states(&mut connection).await, (false, false, 1));
    // A stop is one, whatever it was taken for before, and the last report before it may come late.
    workers::ended(&mut connection, &["w".to_owned()]).await.unwrap();
    workers::stopped(&mut connection, "w").await.unwrap();
    workers::report(&mut connection, &report).await.unwrap();
    assert_eq!(states(&mut connection).await, (true, false, 0));
}
