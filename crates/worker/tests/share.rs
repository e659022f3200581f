//! Several worker processes on one database: they share the shards, die and are
//! replaced, and no slot is left without a row.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use demo::faults::{FaultServer, Switch};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::PgPool;
use store::events::{self, Change};
use store::incidents::{self, Suspect, Wanted};
use store::services::{self, Declared};
use store::testing::TestDb;

const TARGETS: usize = 60;

struct Worker(Child);

impl Worker {
    fn start(db: &TestDb, server: &FaultServer) -> Self {
        Self::watching(db, &(0..TARGETS).map(|n| server.url(&format!("/ok?t={n}"))).collect::<Vec<_>>())
    }

    fn watching(db: &TestDb, urls: &[String]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_worker"))
            .env_clear()
            .env("DATABASE_URL", &db.url)
            .env("URLS", urls.join(" "))
            .env("POLLING_INTERVAL", "1s")
            .env("LOG_LEVEL", "warn")
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    fn stop(mut self) {
        self.signal(Signal::TERM);
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(40);
    while !holds().await {
        assert!(Instant::now() < deadline, "not within 40 s: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Shards of each holder.
async fn holders(pool: &PgPool) -> Vec<i64> {
    sqlx::query_scalar(
        "select count(*) from shard_lease where holder is not null and expires_at > clock_timestamp() group by holder order by 1",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

async fn probes(server: &FaultServer, more: usize) {
    let wanted = server.log().len() + more;
    eventually("more probes", async || server.log().len() >= wanted).await;
}

/// Outcomes by label, after checking that every slot of every target from its
/// first row to its last has exactly one row.
async fn outcomes(pool: &PgPool) -> BTreeMap<String, i64> {
    let targets: Vec<(i64, i64)> = sqlx::query_as(
        "select count(*), (extract(epoch from max(slot_at) - min(slot_at)))::int8 + 1 from check_result group by target_id",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    assert_eq!(targets.len(), TARGETS);
    assert!(targets.iter().all(|(rows, due)| rows == due), "{targets:?}");
    sqlx::query_as("select outcome::text, count(*) from check_result group by 1")
        .fetch_all(pool)
        .await
        .unwrap()
        .into_iter()
        .collect()
}

/// Waits until the last holders' time to finish is over and everything is accounted for.
async fn settled(pool: &PgPool) {
    eventually("everything accounted for", async || {
        sqlx::query_scalar("select min(complete_until) > clock_timestamp() - interval '3 seconds' from shard_lease")
            .fetch_one(pool)
            .await
            .unwrap()
    })
    .await;
}

#[tokio::test]
async fn a_rolling_restart_misses_no_slot() {
    let db = TestDb::new().await;
    let server = FaultServer::start_on_thread().unwrap();
    let first = Worker::start(&db, &server);
    eventually("one holder of all", async || holders(&db.pool).await == [256]).await;
    probes(&server, TARGETS).await;
    let second = Worker::start(&db, &server);
    eventually("halves", async || holders(&db.pool).await == [128, 128]).await;
    let third = Worker::start(&db, &server);
    eventually("thirds", async || holders(&db.pool).await == [84, 86, 86]).await;
    probes(&server, TARGETS).await;

    let mut workers = vec![first, second, third];
    for _ in 0..3 {
        workers.remove(0).stop();
        workers.push(Worker::start(&db, &server));
        eventually("thirds again", async || holders(&db.pool).await == [84, 86, 86]).await;
        probes(&server, TARGETS).await;
    }
    settled(&db.pool).await;
    workers.into_iter().for_each(Worker::stop);

    let outcomes = outcomes(&db.pool).await;
    assert_eq!(outcomes.keys().collect::<Vec<_>>(), ["up"], "{outcomes:?}");
    let rows: i64 = outcomes.values().sum();
    let requests = i64::try_from(server.log().len()).unwrap();
    assert_eq!(rows, requests, "nobody asked twice");
}

#[tokio::test]
async fn what_a_killed_worker_did_not_do_is_missed_and_soon_done_by_another() {
    let db = TestDb::new().await;
    let server = FaultServer::start_on_thread().unwrap();
    let first = Worker::start(&db, &server);
    let second = Worker::start(&db, &server);
    eventually("halves", async || holders(&db.pool).await == [128, 128]).await;
    probes(&server, TARGETS).await;

    first.signal(Signal::KILL);
    let killed = Instant::now();
    eventually("one holder of all", async || holders(&db.pool).await == [256]).await;
    // A lease of 5 s, renewed up to a second before, looked at once a second.
    assert!(killed.elapsed() < Duration::from_secs(8), "{:?}", killed.elapsed());
    probes(&server, 2 * TARGETS).await;
    settled(&db.pool).await;
    second.stop();
    drop(first);

    let outcomes = outcomes(&db.pool).await;
    assert!(outcomes["missed"] > 0 && outcomes["up"] > 0 && outcomes.len() == 2, "{outcomes:?}");
    let requests = i64::try_from(server.log().len()).unwrap();
    // What the dead one had asked and not written may be asked once more.
    assert!(requests >= outcomes["up"] && requests <= outcomes["up"] + TARGETS as i64, "{requests} {outcomes:?}");
}

#[tokio::test]
async fn what_one_of_three_leaves_behind_is_dealt_out_without_losing_a_slot() {
    let db = TestDb::new().await;
    let server = FaultServer::start_on_thread().unwrap();
    let workers = [Worker::start(&db, &server), Worker::start(&db, &server), Worker::start(&db, &server)];
    eventually("thirds", async || holders(&db.pool).await == [84, 86, 86]).await;
    probes(&server, TARGETS).await;
    let [first, second, third] = workers;
    first.signal(Signal::KILL);
    eventually("halves", async || holders(&db.pool).await == [128, 128]).await;
    probes(&server, 2 * TARGETS).await;
    settled(&db.pool).await;
    second.stop();
    third.stop();
    drop(first);

    let outcomes = outcomes(&db.pool).await;
    assert!(outcomes["missed"] > 0 && outcomes["up"] > 0 && outcomes.len() == 2, "{outcomes:?}");
}

#[tokio::test]
async fn a_worker_paused_beyond_its_lease_starts_nothing_it_no_longer_holds() {
    let db = TestDb::new().await;
    let server = FaultServer::start_on_thread().unwrap();
    let first = Worker::start(&db, &server);
    let second = Worker::start(&db, &server);
    eventually("halves", async || holders(&db.pool).await == [128, 128]).await;
    first.signal(Signal::STOP);
    eventually("one holder of all", async || holders(&db.pool).await == [256]).await;
    probes(&server, TARGETS).await;
    first.signal(Signal::CONT);
    eventually("halves again", async || holders(&db.pool).await == [128, 128]).await;
    probes(&server, 2 * TARGETS).await;
    settled(&db.pool).await;
    first.stop();
    second.stop();

    let outcomes = outcomes(&db.pool).await;
    assert!(!outcomes.contains_key("down"), "no target is blamed for our pause: {outcomes:?}");
    // A slot is asked for twice at most where it changed hands: once under way at the pause, once at the takeover.
    let requests = i64::try_from(server.log().len()).unwrap();
    assert!(
        requests <= outcomes["up"] + outcomes.get("unknown").copied().unwrap_or(0) + TARGETS as i64,
        "{requests} {outcomes:?}"
    );
}

#[tokio::test]
async fn one_incident_names_the_changes_around_it_though_workers_share_and_die() {
    let db = TestDb::new().await;
    let server = FaultServer::start_on_thread().unwrap();
    let urls = [server.url("/switch")];
    let mut workers = vec![Worker::watching(&db, &urls), Worker::watching(&db, &urls)];
    eventually("halves", async || holders(&db.pool).await == [128, 128]).await;
    // Nine of ten over five seconds, so that one failed check of five is too much.
    let mut connection = db.pool.acquire().await.unwrap();
    let goal = Declared {
        service: "shop".to_owned(),
        owner_email: None,
        verb: "GET".to_owned(),
        resource: urls[0].clone(),
        objective_nano: 900_000_000,
        window_ns: 5_000_000_000,
    };
    assert_eq!(services::declare(&mut connection, &[goal]).await.unwrap(), 1, "the target's endpoint is there");
    let roll_out = async |commit: &str| {
        let mut connection = db.pool.acquire().await.unwrap();
        let names = ["shop".to_owned()];
        let service_id = services::find_services(&mut connection, &names).await.unwrap()[0].unwrap();
        let at = chrono::Utc::now();
        let change = Change { service_id, commit: commit.to_owned(), author: None, at, ordinal: 0 };
        assert!(events::write(&mut connection, "test", &[], &[change], None).await.unwrap());
    };
    let found = async || {
        let mut connection = db.pool.acquire().await.unwrap();
        incidents::list(&mut connection, Wanted::ALL, 10).await.unwrap()
    };
    probes(&server, 3).await;
    roll_out("breaks it").await;
    server.set_switch(Switch::Status(500));
    eventually("an incident", async || found().await.len() == 1).await;

    // Whoever follows the batches, it is not there any more afterwards.
    for _ in 0..2 {
        workers.remove(0).signal(Signal::KILL);
        workers.push(Worker::watching(&db, &urls));
        eventually("halves again", async || holders(&db.pool).await == [128, 128]).await;
        probes(&server, 3).await;
    }
    roll_out("fixes it").await;
    server.set_switch(Switch::Status(200));
    eventually("its end", async || found().await[0].ended_at.is_some()).await;
    probes(&server, 3).await;
    workers.into_iter().for_each(Worker::stop);

    let found = found().await;
    let [incident] = found.as_slice() else { panic!("{found:?}") };
    let commit = |suspect: &Option<Suspect>| suspect.as_ref().map(|change| change.commit.clone());
    assert_eq!(commit(&incident.breaking).as_deref(), Some("breaks it"));
    assert_eq!(commit(&incident.fixing).as_deref(), Some("fixes it"));
}
