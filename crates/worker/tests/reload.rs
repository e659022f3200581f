//! Whole worker processes whose configuration file changes while they run.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use demo::faults::FaultServer;
use rustix::process::{Pid, Signal, kill_process};
use sqlx::PgPool;
use store::testing::TestDb;
use tempfile::TempDir;

/// A worker, its file and its log.
struct Worker {
    child: Child,
    directory: TempDir,
    address: String,
}

impl Worker {
    fn start(db: &TestDb, text: &str, more: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("config.yaml"), text).unwrap();
        // Free a moment ago; nothing else here takes ports of its own choice.
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let child = Command::new(env!("CARGO_BIN_EXE_worker"))
            .env_clear()
            .env("DATABASE_URL", &db.url)
            .env("LOOKOUT_CONFIG", directory.path().join("config.yaml"))
            .env("WORKER_ADDR", &address)
            .env("TOKEN", "canary-s3cret")
            .envs(more.iter().copied())
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stderr(File::create(directory.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { child, directory, address }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("config.yaml")
    }

    /// Another file takes the place of the one there is, as editors and deployments do it.
    fn replace(&self, text: &str) {
        let aside = self.directory.path().join("aside");
        fs::write(&aside, text).unwrap();
        fs::rename(aside, self.file()).unwrap();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    async fn says(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(40);
        while !self.log().contains(text) {
            assert!(Instant::now() < deadline, "not within 40 s: {text}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn get(&self, path: &str) -> String {
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::get(format!("http://{}{path}", self.address)).await.unwrap().text().await.unwrap()
    }

    fn hang_up(&self) {
        kill_process(Pid::from_child(&self.child), Signal::HUP).unwrap();
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
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn one<T>(pool: &PgPool, sql: &'static str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
{
    sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
}

fn thousand(server: &FaultServer, changed: &str) -> String {
    let target = |n: usize| {
        let path = if n == 500 { changed } else { "/ok" };
        format!(
            "- {{name: t{n}, url: \"{}\", interval: 4s, connection: reuse}}\n",
            server.url(&format!("{path}?t={n}"))
        )
    };
    (0..1_000).map(target).collect()
}

#[tokio::test]
async fn of_a_thousand_targets_those_that_stay_keep_every_slot_when_one_changes() {
    let db = TestDb::new().await;
    let server = FaultServer::start_on_thread().unwrap();
    let worker = Worker::start(&db, &thousand(&server, "/ok"), &[("LOG_LEVEL", "info")]);
    let rows = async |after: &'static str| one::<i64>(&db.pool, after).await;
    eventually("two rows of each", async || rows("select count(*) from check_result").await >= 2_000).await;
    let began = Instant::now();
    worker.replace(&thousand(&server, "/status/503"));
    worker.says("the configuration was applied").await;
    let took = began.elapsed();
    eventually("two rows more of each", async || rows("select count(*) from check_result").await >= 5_000).await;
    let log = worker.stop();

    assert!(took < Duration::from_secs(20), "{took:?}");
    assert!(log.contains("target changed: t500 (url)"), "{log}");
    assert!(log.contains("added=0 changed=1 removed=0 unchanged=999"), "{log}");
    // Every row is on the target's grid; and from its first to its last none is left out.
    let slots: Vec<(String, Vec<i64>, i64)> = sqlx::query_as(
        "select key, array_agg((extract(epoch from slot_at) * 1000000)::int8 order by slot_at),
                count(*) filter (where started_at is null)
         from check_result join target using (target_id) group by key",
    )
    .fetch_all(&db.pool)
    .await
    .unwrap();
    assert_eq!(slots.len(), 1_000);
    for (key, slots, _) in &slots {
        let grid = common::Grid::new(key, common::Interval::new(Duration::from_secs(4)).unwrap());
        assert!(slots.windows(2).all(|pair| pair[1] - pair[0] == 4_000_000), "{key}: {slots:?}");
        assert!(grid.contains(common::Slot(slots[0])), "{key}");
    }
    let outcomes: Vec<(String, String)> =
        sqlx::query_as("select distinct key, outcome::text from check_result join target using (target_id) where outcome <> 'missed' and outcome <> 'degraded' order by 1, 2")
            .fetch_all(&db.pool)
            .await
            .unwrap();
    assert!(outcomes.contains(&("t500".to_owned(), "down".to_owned())), "its new address answers 503");
    assert!(outcomes.iter().all(|(key, outcome)| key == "t500" || outcome == "up"));
    assert_eq!(
        one::<i64>(&db.pool, "select count(*) from target where due_since > created_at + interval '1 s'").await,
        0
    );
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_is_named_everywhere_without_its_secrets() {
    let db = TestDb::new().await;
    let server = FaultServer::start_on_thread().unwrap();
    let good = |interval: &str| {
        format!(
            "- {{name: a, url: \"{}\", interval: {interval}, headers: {{X-Key: '${{TOKEN}}', Y: canary-header}}}}\n",
            server.url("/ok")
        )
    };
    let worker = Worker::start(&db, &good("1s"), &[]);
    eventually("a row", async || one::<i64>(&db.pool, "select count(*) from check_result").await > 0).await;
    assert!(worker.get("/metrics").await.contains("\nlookout_config_last_reload_successful 1\n"));

    let bad = good("1s").replace("interval: 1s", "interval: 5ms, intervall: 1s, body: canary-body");
    worker.replace(&format!("{bad}- {{name: b, url: 'htp://me:canary-password@h', headers: {{X: '${{UNSET}}'}}}}\n"));
    worker.says("the configuration was not applied").await;
    let error = async || one::<Option<String>>(&db.pool, "select config_error from worker").await.unwrap_or_default();
    eventually("others are told", async || !error().await.is_empty()).await;
    let (log, ready, told) = (worker.log(), worker.get("/readyz").await, error().await);
    for problem in [
        "[0].interval: \"5ms\" is below the minimum 1s",
        "[0].intervall: unknown field; did you mean `interval`?",
        "[1].url: \"htp://***@h\" has the scheme",
        "[1].headers.X: ${UNSET}: the variable UNSET is not set",
    ] {
        // In the log quotes may be escaped.
        assert!(log.replace("\\\"", "\"").contains(problem), "{problem}\n{log}");
        assert!(ready.contains(problem), "{problem}\n{ready}");
        assert!(told.contains(problem), "{problem}\n{told}");
    }
    assert!(ready.starts_with("ready, with the last good configuration\n"), "{ready}");
    assert!(worker.get("/metrics").await.contains("\nlookout_config_last_reload_successful 0\n"));
    let rows: i64 = one(&db.pool, "select count(*) from check_result").await;
    eventually("it goes on", async || one::<i64>(&db.pool, "select count(*) from check_result").await > rows + 1).await;
    assert_eq!(one::<i64>(&db.pool, "select count(*) from target").await, 1);
    let said = worker.log().matches("was not applied").count();
    assert_eq!(said, 1, "once for each change\n{}", worker.log());

    // Asked again it says so again, and at once.
    worker.hang_up();
    eventually("again", async || worker.log().matches("was not applied").count() == 2).await;
    worker.replace(&good("2s"));
    worker.says("target changed: a (interval, timeout)").await;
    eventually("no error is left", async || error().await.is_empty()).await;
    assert_eq!(worker.get("/readyz").await, "ready\n");
    assert_eq!(one::<i32>(&db.pool, "select interval_ms from target").await, 2_000);
    let log = worker.stop();
    assert!(!log.contains("canary"), "{log}");
    let dump: String = one(
        &db.pool,
        "select concat((select string_agg(t::text, ' ') from target t), (select string_agg(w::text, ' ') from worker w))",
    )
    .await;
    assert!(!dump.contains("canary"), "{dump}");
}

#[tokio::test]
async fn c50_a_file_that_loses_all_its_targets_is_refused_unless_that_is_meant() {
    let server = FaultServer::start_on_thread().unwrap();
    let one_target = format!("- {{name: a, url: \"{}\", interval: 1s}}\n", server.url("/ok"));
    for (allow, expected) in [
        ("", "no targets are left of 1; if that is meant, start with ALLOW_EMPTY=on (--allow-empty)"),
        ("on", "added=0 changed=0 removed=1 unchanged=0"),
    ] {
        let db = TestDb::new().await;
        let worker = Worker::start(&db, &one_target, &[("ALLOW_EMPTY", allow)]);
        eventually("a row", async || one::<i64>(&db.pool, "select count(*) from check_result").await > 0).await;
        worker.replace("[]\n");
        worker.says(expected).await;
        let probed: i64 = one(&db.pool, "select count(*) from target where deleted_at is null").await;
        assert_eq!(probed, i64::from(allow.is_empty()));
        worker.stop();
    }
}

#[tokio::test]
async fn targets_and_services_come_change_and_go_while_it_runs() {
    let db = TestDb::new().await;
    let server = FaultServer::start_on_thread().unwrap();
    let target = |name: &str, more: &str| {
        format!("  - {{name: {name}, url: \"{}\", interval: 1s{more}}}\n", server.url(&format!("/ok?t={name}")))
    };
    let worker = Worker::start(&db, &format!("targets:\n{}", target("a", "")), &[]);
    eventually("a row", async || one::<i64>(&db.pool, "select count(*) from check_result").await > 0).await;
    let text = format!(
        "services: [{{name: shop, objective: 99, window: 1h}}]\ntargets:\n{}{}",
        target("b", ", service: shop"),
        target("c", ", labels: {team: x}")
    );
    fs::write(worker.file(), &text).unwrap();
    worker.says("added=2 changed=0 removed=1 unchanged=0").await;
    eventually("the new ones are probed", async || {
        one::<i64>(&db.pool, "select count(distinct target_id) from check_result").await == 3
    })
    .await;
    assert_eq!(one::<i64>(&db.pool, "select objective_nano from endpoint where resource = 'b'").await, 990_000_000);
    let of_a = async || server.log().iter().filter(|request| request.target.contains("t=a")).count();
    let before = of_a().await;

    // The one that went comes back, and finds its row.
    fs::write(worker.file(), text.replace("objective: 99,", "") + &target("a", "")).unwrap();
    worker.says("service changed: shop (objective)").await;
    eventually("a is probed again", async || of_a().await > before).await;
    assert_eq!(one::<i64>(&db.pool, "select count(*) from target").await, 3);
    // What a file says about a window only, it says about the usual objective, too.
    assert_eq!(one::<i64>(&db.pool, "select objective_nano from endpoint where resource = 'b'").await, 900_000_000);
    let log = worker.stop();
    for line in [
        "target added: b",
        "target added: c",
        "target removed, its history stays: a",
        "service added: shop",
        "target added: a",
    ] {
        assert!(log.contains(line), "{line}\n{log}");
    }
    // No slot was due before the target was there, and from then on none was left out.
    let holes: i64 = one(
        &db.pool,
        "select count(*) from (select count(*) as rows, extract(epoch from max(slot_at) - min(slot_at)) + 1 as due
         from check_result join target using (target_id) where key <> 'a' group by target_id) t where rows <> due",
    )
    .await;
    assert_eq!(holes, 0);
}

#[tokio::test]
async fn of_two_workers_with_one_file_the_last_to_read_it_removes_what_is_gone() {
    let db = TestDb::new().await;
    let server = FaultServer::start_on_thread().unwrap();
    let list = |names: &[&str]| -> String {
        names.iter().map(|name| format!("- {{name: {name}, url: \"{}\", interval: 1s}}\n", server.url("/ok"))).collect()
    };
    let [first, second] = [(); 2].map(|()| Worker::start(&db, &list(&["a", "b"]), &[]));
    eventually("both run", async || one::<i64>(&db.pool, "select count(*) from worker").await == 2).await;
    eventually("rows", async || one::<i64>(&db.pool, "select count(*) from check_result").await > 2).await;
    first.replace(&list(&["a"]));
    first.says("kept for other workers until they have the same list: b").await;
    assert_eq!(one::<i64>(&db.pool, "select count(*) from target where deleted_at is null").await, 2);
    second.replace(&list(&["a"]));
    second.says("the configuration was applied").await;
    assert_eq!(one::<i64>(&db.pool, "select count(*) from target where deleted_at is null").await, 1);
    first.stop();
    second.stop();
}

/// Resident memory of a process, in KiB.
fn resident_kib(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_hundred_edits_leave_memory_flat() {
    let db = TestDb::new().await;
    let server = FaultServer::start_on_thread().unwrap();
    // Each edit changes one, takes one out and brings one that was never there, on a server of its own.
    let edit = |n: usize| -> String {
        let url = server.url("/ok");
        let target =
            |name: String, query: String| format!("- {{name: {name}, url: \"{url}?{query}\", interval: 60s}}\n");
        let stay = (0..1_000).map(|id| target(format!("t{id}"), format!("v={}", if id == n % 1_000 { n } else { 0 })));
        let new = format!("- {{name: new{n}, url: \"http://127.0.0.2:{}/\", interval: 60s}}\n", 20_000 + n);
        stay.chain([new]).collect()
    };
    let worker = Worker::start(&db, &edit(0), &[]);
    worker.says("probing targets=1001").await;
    let mut after_ten = 0;
    for n in 1..=100 {
        worker.replace(&edit(n));
        worker.hang_up();
        eventually("the edit is applied", async || worker.log().matches("the configuration was applied").count() == n)
            .await;
        if n == 10 {
            after_ten = resident_kib(&worker.child);
        }
    }
    let after_all = resident_kib(&worker.child);
    println!("resident after 10 edits: {after_ten} KiB, after 100: {after_all} KiB");
    let log = worker.stop();
    assert_eq!(log.matches("added=1 ").count(), 100);
    // The allocator keeps a little; a list that was kept each time would be some MiB.
    assert!(after_all < after_ten + after_ten / 5, "{after_ten} KiB, then {after_all} KiB");
}
