//! A worker process whose targets are posted while it runs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use demo::faults::FaultServer;
use rustix::process::{Pid, Signal, kill_process};
use settings::Defaults;
use settings::file::target_of_json;
use sqlx::PgPool;
use store::posted::{self, Known, Put};
use store::testing::TestDb;
use tempfile::TempDir;

struct Worker {
    child: Child,
    directory: TempDir,
}

impl Worker {
    fn start(db: &TestDb, text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("config.yaml"), text).unwrap();
        Self::within(directory, db, &[("LOOKOUT_CONFIG", "config.yaml"), ("ALLOW_EMPTY", "on")])
    }

    fn within(directory: TempDir, db: &TestDb, variables: &[(&str, &str)]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_worker"))
            .env_clear()
            .env("DATABASE_URL", &db.url)
            // What is posted here is on this machine.
            .env("API_TARGETS", "any")
            .env("LOG_LEVEL", "info")
            .envs(variables.iter().copied())
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stderr(File::create(directory.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { child, directory }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    fn stop(mut self) -> String {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success(), "{}", self.log());
        self.log()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(Instant::now() < deadline, "not within 60 s: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn count(pool: &PgPool, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
}

async fn put(pool: &PgPool, text: &str) -> Put {
    let target = target_of_json(text.as_bytes(), None, &Defaults::default()).unwrap();
    posted::put(&mut pool.acquire().await.unwrap(), &target, text, Known::Whatever).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_posted_target_is_probed_at_once_on_its_grid_and_no_longer_once_it_is_deleted() {
    let db = TestDb::new().await;
    let server = FaultServer::start_on_thread().unwrap();
    let own = format!("- {{name: own, url: \"{}\", interval: 1s}}\n", server.url("/ok?t=own"));
    let worker = Worker::start(&db, &own);
    eventually("a row", async || count(&db.pool, "select count(*) from check_result").await > 1).await;

    let url = server.url("/ok?t=posted");
    let text = format!(
        r#"{{"name": "new", "url": "{url}", "interval": "1s", "method": "POST", "body": "canary-body", "headers": {{"X-Key": "canary-key"}}}}"#
    );
    let began = Instant::now();
    put(&db.pool, &text).await;
    let of_posted = async || server.log().into_iter().filter(|request| request.target.contains("t=posted")).count();
    eventually("it is probed", async || of_posted().await > 0).await;
    let took = began.elapsed();
    println!("first request {took:?} after it was posted");
    assert!(took < Duration::from_secs(10), "{took:?}");
    eventually("rows of it", async || {
        count(
            &db.pool,
            "select count(*) from check_result join target using (target_id) where key = 'new' and outcome = 'up'",
        )
        .await
            > 2
    })
    .await;
    assert!(!put(&db.pool, &text).await.is_new);
    // Only its interval changes, and then only a header nobody sees.
    put(&db.pool, &text.replace("\"1s\"", "\"2s\"")).await;
    put(&db.pool, &text.replace("\"1s\"", "\"2s\"").replace("canary-key", "canary-other")).await;
    eventually("the change is known", async || worker.log().contains("posted target changed: new")).await;
    posted::remove(&mut db.pool.acquire().await.unwrap(), "new", Known::Any).await.unwrap().unwrap();
    eventually("the end is known", async || worker.log().contains("posted target removed, its history stays: new"))
        .await;
    let at_its_end = of_posted().await;
    // Two more slots of the one that stays: had it gone on, it would have been due again.
    let rows =
        count(&db.pool, "select count(*) from check_result join target using (target_id) where key = 'own'").await;
    eventually("the other goes on", async || {
        count(&db.pool, "select count(*) from check_result join target using (target_id) where key = 'own'").await
            > rows + 3
    })
    .await;
    assert!(of_posted().await <= at_its_end + 1, "one may have been under way");
    assert!(
        count(&db.pool, "select count(*) from check_result join target using (target_id) where key = 'new'").await > 2
    );
    let log = worker.stop();
    assert!(!log.contains("canary"), "{log}");
    // On its grid from the first slot that was due, and nothing of the other was left out.
    let slots: Vec<i64> = sqlx::query_scalar(
        "select (extract(epoch from slot_at) * 1000000)::int8 from check_result join target using (target_id) where key = 'new' order by slot_at",
    )
    .fetch_all(&db.pool)
    .await
    .unwrap();
    let grid = common::Grid::new("new", common::Interval::new(Duration::from_secs(1)).unwrap());
    assert!(grid.contains(common::Slot(slots[0])) && slots[1] - slots[0] == 1_000_000, "{slots:?}");
    let holes = count(
        &db.pool,
        "select count(*) from (select count(*) as rows, extract(epoch from max(slot_at) - min(slot_at)) + 1 as due
         from check_result join target using (target_id) where key = 'own' group by target_id) t where rows <> due",
    );
    assert_eq!(holes.await, 0);
}

#[tokio::test]
async fn a_worker_without_a_list_probes_what_is_posted_and_a_file_takes_over_what_it_names() {
    let db = TestDb::new().await;
    let server = FaultServer::start_on_thread().unwrap();
    let target = |name: &str| {
        format!(r#"{{"name": "{name}", "url": "{}", "interval": "1s"}}"#, server.url(&format!("/ok?t={name}")))
    };
    put(&db.pool, &target("a")).await;
    put(&db.pool, &target("b")).await;
    let worker = Worker::start(&db, "[]\n");
    let rows = "select count(distinct target_id) from check_result where outcome = 'up'";
    eventually("both are probed", async || count(&db.pool, rows).await == 2).await;
    assert!(worker.log().contains("targets=2"), "{}", worker.log());

    let own = format!("- {{name: a, url: \"{}\", interval: 1s}}\n", server.url("/ok?t=own"));
    fs::write(worker.directory.path().join("config.yaml"), own).unwrap();
    eventually("it is the file's", async || {
        count(&db.pool, "select count(*) from target where key = 'a' and source = 'file' and posted is null").await == 1
    })
    .await;
    eventually("the file's is probed", async || server.log().iter().any(|request| request.target.contains("t=own")))
        .await;
    // The file never deletes what is posted, with or without targets of its own.
    fs::write(worker.directory.path().join("config.yaml"), "[]\n").unwrap();
    eventually("the file's is gone", async || {
        count(&db.pool, "select count(*) from target where deleted_at is null").await == 1
    })
    .await;
    let before = server.log().iter().filter(|request| request.target.contains("t=b")).count();
    eventually("the other one goes on", async || {
        server.log().iter().filter(|request| request.target.contains("t=b")).count() > before + 1
    })
    .await;
    assert_eq!(
        count(&db.pool, "select count(*) from target where deleted_at is null and source = 'api' and key = 'b'").await,
        1
    );
    worker.stop();
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

#[tokio::test]
async fn two_workers_share_what_is_posted_and_ask_nobody_twice() {
    let db = TestDb::new().await;
    let server = FaultServer::start_on_thread().unwrap();
    let text =
        |n: usize| format!(r#"{{"name": "p{n}", "url": "{}", "interval": "1s"}}"#, server.url(&format!("/ok?t=p{n}.")));
    let asked = |n: usize| server.log().iter().filter(|request| request.target.ends_with(&format!("t=p{n}."))).count();
    let workers = [Worker::start(&db, "[]\n"), Worker::start(&db, "[]\n")];
    eventually("halves", async || holders(&db.pool).await == [128, 128]).await;

    for n in 0..24 {
        put(&db.pool, &text(n)).await;
    }
    eventually("all are probed", async || (0..24).all(|n| asked(n) > 1)).await;
    // More of them, and less, while both run.
    for n in 24..32 {
        put(&db.pool, &text(n)).await;
    }
    eventually("those that were added, too", async || (24..32).all(|n| asked(n) > 1)).await;
    for n in 0..8 {
        let mut connection = db.pool.acquire().await.unwrap();
        posted::remove(&mut connection, &format!("p{n}"), Known::Any).await.unwrap().unwrap();
    }
    for worker in &workers {
        eventually("both know", async || worker.log().matches("posted target removed").count() == 8).await;
    }
    let then: Vec<usize> = (0..32).map(asked).collect();
    eventually("the others go on", async || (8..32).all(|n| asked(n) > then[n] + 2)).await;
    for (n, then) in then.iter().enumerate().take(8) {
        assert!(asked(n) <= then + 1, "p{n}: one may have been under way");
    }
    assert_eq!(holders(&db.pool).await, [128, 128], "nothing changed hands meanwhile");
    // Who stops hands over, and the other goes on.
    let stopping = chrono::Utc::now();
    workers.into_iter().for_each(|worker| drop(worker.stop()));

    let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(
        "select key, count(*), count(distinct slot_at), count(distinct worker_id) filter (where slot_at < $1)
         from check_result join target using (target_id) join batch using (batch_id)
         where outcome <> 'missed' group by key",
    )
    .bind(stopping)
    .fetch_all(&db.pool)
    .await
    .unwrap();
    assert_eq!(rows.len(), 32);
    for (key, rows, slots, by) in rows {
        let requests = i64::try_from(asked(key[1..].parse().unwrap())).unwrap();
        assert_eq!((rows, slots, by), (requests, requests, 1), "{key}: one worker, a request a slot");
    }
    assert_eq!(count(&db.pool, "select count(distinct worker_id) from batch where kind = 'check'").await, 2);
}

#[tokio::test]
async fn a_worker_with_neither_urls_nor_a_file_says_how_to_add_targets_and_removes_none() {
    let db = TestDb::new().await;
    let server = FaultServer::start_on_thread().unwrap();
    let mut connection = db.pool.acquire().await.unwrap();
    let url = common::TargetUrl::parse(&server.url("/ok?t=former")).unwrap();
    let former = common::TargetSpec { source: common::Source::Env, ..common::TargetSpec::new("former", url) };
    store::targets::apply(&mut connection, "former", &[common::Source::Env], &[former], 1).await.unwrap();
    put(&db.pool, &format!(r#"{{"name": "posted", "url": "{}", "interval": "1s"}}"#, server.url("/ok?t=posted"))).await;
    let left = "select count(*) from target where source = 'env' and deleted_at is null";
    let probed =
        "select count(*) from check_result join target using (target_id) where key = 'posted' and outcome = 'up'";

    let worker = Worker::within(tempfile::tempdir().unwrap(), &db, &[]);
    eventually("what is posted is probed", async || count(&db.pool, probed).await > 0).await;
    let log = worker.stop();
    assert!(
        log.contains(
            "no targets of its own: name some in URLS (--urls) or in a file (LOOKOUT_CONFIG, --config); \
             meanwhile what is posted to /api/v1/targets is probed"
        ),
        "{log}"
    );
    assert_eq!(count(&db.pool, left).await, 1, "a forgotten variable takes nothing out");

    let worker = Worker::within(tempfile::tempdir().unwrap(), &db, &[("ALLOW_EMPTY", "on")]);
    eventually("it is meant", async || count(&db.pool, left).await == 0).await;
    worker.stop();
}
