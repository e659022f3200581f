//! Whole workers whose wall clock is wrong or jumps, and a database whose time does.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use demo::faults::FaultServer;
use rustix::process::{Pid, Signal, kill_process};
use sqlx::PgPool;
use store::testing::TestDb;

const TARGETS: i64 = 5;

struct Worker(Child);

impl Worker {
    /// A worker that probes every second, in an environment with `more` in it.
    fn start(db: &TestDb, server: &FaultServer, more: &[(&str, &str)]) -> Self {
        let urls: Vec<_> = (0..TARGETS).map(|n| server.url(&format!("/ok?t={n}"))).collect();
        let child = Command::new(env!("CARGO_BIN_EXE_worker"))
            .env_clear()
            .env("DATABASE_URL", &db.url)
            .env("URLS", urls.join(" "))
            .env("POLLING_INTERVAL", "1s")
            .env("LOG_LEVEL", "warn")
            .envs(more.iter().copied())
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Ends it cleanly; gives back what it logged.
    fn stop(mut self) -> String {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        let log = std::io::read_to_string(self.0.stderr.take().unwrap()).unwrap();
        assert!(self.0.wait().unwrap().success(), "{log}");
        log
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

/// Waits until every target was probed twice more.
async fn probes(server: &FaultServer) {
    let wanted = server.log().len() + 2 * TARGETS as usize;
    eventually("more probes", async || server.log().len() >= wanted).await;
}

#[cfg(target_os = "linux")]
/// The library that lies about time to the program that loads it.
fn faketime() -> PathBuf {
    let below = |parent: &str| Path::new(parent).read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let places = below("/usr/lib").chain(["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from));
    let library = places.map(|place| place.join("faketime/libfaketime.so.1")).find(|library| library.exists());
    library.expect("libfaketime.so.1 not found: install the package faketime (apt-get install faketime)")
}

/// Every slot from a target's first to its last has one row, and each request made one.
/// Gives back how many were missed.
async fn missed(pool: &PgPool, server: &FaultServer) -> i64 {
    let targets: Vec<(i64, i64)> = sqlx::query_as(
        "select count(*), (extract(epoch from max(slot_at) - min(slot_at)))::int8 + 1 from check_result group by target_id",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    assert_eq!(targets.len() as i64, TARGETS);
    assert!(targets.iter().all(|(rows, due)| rows == due), "{targets:?}");
    let (up, missed, other): (i64, i64, i64) = sqlx::query_as(
        "select count(*) filter (where outcome = 'up'), count(*) filter (where outcome = 'missed'),
                count(*) filter (where outcome not in ('up', 'missed')) from check_result",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    assert_eq!((up, other), (server.log().len() as i64, 0), "nobody asked twice");
    missed
}

/// How wrong the wall clock of the worker was when it started, in hours.
async fn hours_off(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select round(extract(epoch from started_at - clock_timestamp()) / 3600)::int8 from worker")
        .fetch_one(pool)
        .await
        .unwrap()
}

/// Rows whose slot or start is not close to the moment they were written at, by the database's time.
async fn rows_of_another_time(pool: &PgPool) -> i64 {
    sqlx::query_scalar(
        "select count(*) from check_result join batch using (batch_id)
         where abs(extract(epoch from created_at - slot_at)) > 5
            or abs(extract(epoch from created_at - check_result.started_at)) > 5",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_wall_clock_that_jumps_moves_no_slot() {
    let library = faketime();
    let db = TestDb::new().await;
    let server = FaultServer::start_on_thread().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let clock = directory.path().join("clock");
    let set_to = |offset: &str| {
        // Renamed into place, so that nobody reads half of it.
        let new = clock.with_extension("new");
        std::fs::write(&new, offset).unwrap();
        std::fs::rename(new, &clock).unwrap();
    };
    set_to("-3h");
    let environment = [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let worker = Worker::start(&db, &server, &environment);
    probes(&server).await;
    assert_eq!(hours_off(&db.pool).await, -3);
    // An hour forward, two hours back.
    for offset in ["-2h", "-4h"] {
        set_to(offset);
        probes(&server).await;
    }
    let log = worker.stop();
    assert!(!log.contains("stepped"), "{log}");
    assert_eq!(missed(&db.pool, &server).await, 0);
    assert_eq!(rows_of_another_time(&db.pool).await, 0);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_wall_clock_days_ahead_changes_nothing() {
    let library = faketime();
    let db = TestDb::new().await;
    let server = FaultServer::start_on_thread().unwrap();
    let environment =
        [("LD_PRELOAD", library.to_str().unwrap()), ("FAKETIME", "+2d"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
    let worker = Worker::start(&db, &server, &environment);
    probes(&server).await;
    assert_eq!(hours_off(&db.pool).await, 48);
    worker.stop();
    assert_eq!(missed(&db.pool, &server).await, 0);
    assert_eq!(rows_of_another_time(&db.pool).await, 0);
}

/// Has the database take its time from `clock.step`: names before `pg_catalog` in the
/// search path are found before the built-in ones.
async fn make_steppable(db: &TestDb) {
    sqlx::raw_sql(
        "create schema clock;
         create table clock.step (by interval not null);
         insert into clock.step values ('0');
         create function clock.clock_timestamp() returns timestamptz language sql volatile as $$
             select pg_catalog.clock_timestamp() + by from clock.step
         $$;
         do $$ begin
             execute format('alter database %I set search_path = public, clock, pg_catalog', current_database());
         end $$",
    )
    .execute(&db.pool)
    .await
    .unwrap();
}

async fn step(db: &TestDb, by: &str) {
    sqlx::query("update clock.step set by = by + $1::interval")
        .bind(sqlx::types::Text(by.to_owned()))
        .execute(&db.pool)
        .await
        .unwrap();
}

#[tokio::test]
async fn database_time_that_steps_is_followed_and_no_slot_is_done_twice_or_left_out() {
    let db = TestDb::new().await;
    make_steppable(&db).await;
    let server = FaultServer::start_on_thread().unwrap();
    let worker = Worker::start(&db, &server, &[]);
    probes(&server).await;
    // Over a lease, so that those run out as well.
    step(&db, "8 seconds").await;
    eventually("missed slots", async || {
        let sql = "select count(*) from check_result where outcome = 'missed'";
        sqlx::query_scalar::<_, i64>(sql).fetch_one(&db.pool).await.unwrap() >= 7 * TARGETS
    })
    .await;
    probes(&server).await;
    step(&db, "-6 seconds").await;
    probes(&server).await;
    probes(&server).await;
    let log = worker.stop();
    assert_eq!(log.matches("database time stepped").count(), 2, "{log}");
    let missed = missed(&db.pool, &server).await;
    assert!((7 * TARGETS..=9 * TARGETS).contains(&missed), "{missed}");
}
