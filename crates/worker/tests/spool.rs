//! What becomes of results while Postgres is away: on disk, and back in order.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::{Check, Outcome, Slot, TargetId};
use sqlx::PgPool;
use store::testing::{Cable, TestDb};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use worker::recorder::{Intake, Keeper, Left, Recorder};
use worker::spool::{KeyHash, Names, SpoolSettings};
use worker::stats::Stats;

const SECOND: i64 = 1_000_000;

/// A recorder with a spool, and its line to Postgres.
struct Bench {
    db: TestDb,
    cable: Cable,
    directory: TempDir,
    begun_us: i64,
}

struct Running {
    intake: Arc<Intake>,
    stats: Arc<Stats>,
    stop: CancellationToken,
    task: JoinHandle<Left>,
}

impl Bench {
    async fn new() -> Self {
        let db = TestDb::new().await;
        store::partitions::ensure_around(&db.pool, chrono::Utc::now()).await.unwrap();
        let cable = Cable::to(&db).await;
        let begun_us = chrono::Utc::now().timestamp() * SECOND;
        Self { db, cable, directory: TempDir::new().unwrap(), begun_us }
    }

    fn start(&self, names: &Names, max: usize) -> Running {
        let (intake, stats, stop) =
            (Arc::new(Intake::new(1_000_000)), Arc::<Stats>::default(), CancellationToken::new());
        let settings = SpoolSettings { directory: self.spool(), max };
        let recorder = Recorder {
            pool: store::pool::lazy(self.cable.url(), &store::pool::PoolSettings::WORKER).unwrap(),
            worker_id: "w".to_owned(),
            intake: Arc::clone(&intake),
            stats: Arc::clone(&stats),
            keeper: Some(Keeper::new(settings, names.clone(), "w")),
        };
        let task = tokio::spawn(recorder.run(stop.clone(), Duration::from_secs(3)));
        Running { intake, stats, stop, task }
    }

    fn spool(&self) -> PathBuf {
        self.directory.path().join("spool")
    }

    /// A result of target 1 + n modulo 10, of second n / 10.
    fn result(&self, n: i64) -> Check {
        Check {
            outcome: Outcome::Up,
            code: Some(200),
            started_us: Some(self.begun_us + n),
            ..Check::missed(TargetId(1 + n as i32 % 10), Slot(self.begun_us + n / 10 * SECOND))
        }
    }
}

impl Running {
    async fn stop(self) -> Left {
        self.stop.cancel();
        self.task.await.unwrap()
    }
}

/// Ten targets, each called by its number.
fn names() -> Names {
    let names = Names::default();
    names.set((1..=10).map(|n| (TargetId(n), KeyHash::of(&n.to_string()))));
    names
}

async fn count(pool: &PgPool, filter: &'static str) -> i64 {
    let sql = sqlx::AssertSqlSafe(format!("select count(*) from check_result where {filter}"));
    sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Of results: a lock has a name.
fn bytes_in(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    let size = |entry: std::fs::DirEntry| {
        let path = entry.path();
        if path.is_dir() {
            bytes_in(&path)
        } else if path.ends_with("lock") {
            0
        } else {
            path.metadata().map_or(0, |file| file.len())
        }
    };
    entries.flatten().map(size).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_of_an_outage_are_stored_in_order_with_those_that_come_meanwhile() {
    let bench = Bench::new().await;
    let running = bench.start(&names(), 100_000);
    bench.cable.cut();
    (0..12_000).for_each(|n| running.intake.push(bench.result(n)));
    eventually("all on disk", async || running.intake.spool_depth() == 12_000 && running.intake.depth() == 0).await;
    assert_eq!(running.intake.oldest_us(), Some(bench.begun_us), "what is on disk is still open");
    bench.cable.mend();
    for n in 12_000..13_000 {
        running.intake.push(bench.result(n));
        if n % 100 == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    }
    eventually("all stored", async || count(&bench.db.pool, "outcome = 'up'").await == 13_000).await;
    eventually("an empty spool", async || running.intake.spool_depth() == 0).await;
    let is_in_order: bool = sqlx::query_scalar(
        "select bool_and(ok) from (select started_at >= lag(started_at) over (order by batch_id, started_at) as ok from check_result) as c",
    )
    .fetch_one(&bench.db.pool)
    .await
    .unwrap();
    assert!(is_in_order, "batches follow each other as the results did");
    assert_eq!(running.stop().await, Left::default());
    assert_eq!(bytes_in(&bench.spool()), 0, "nothing stays behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stopped_worker_leaves_is_stored_by_one_that_knows_other_rows() {
    let bench = Bench::new().await;
    bench.cable.cut();
    let running = bench.start(&names(), 100_000);
    (0..100).for_each(|n| running.intake.push(bench.result(n)));
    let left = running.stop().await;
    assert_eq!(left, Left { in_memory: 0, on_disk: 100 });

    // The same targets in another database have other numbers, and two of them are not there.
    sqlx::query(
        "insert into target (target_id, key, name, url, interval_ms, timeout_ms, degraded_ms, expect_status, source)
         overriding system value
         select 100 + n, n::text, n::text, 'http://example.org/', 1000, 1000, 500, '{200}', 'env' from generate_series(1, 8) as n",
    )
    .execute(&bench.db.pool)
    .await
    .unwrap();
    bench.cable.mend();
    let running = bench.start(&Names::default(), 100_000);
    eventually("all stored", async || count(&bench.db.pool, "target_id between 101 and 108").await == 80).await;
    assert_eq!(running.stop().await, Left::default());
    assert_eq!(count(&bench.db.pool, "true").await, 80);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_the_bound_the_oldest_results_become_gaps() {
    let bench = Bench::new().await;
    let running = bench.start(&names(), 1_000);
    bench.cable.cut();
    (0..3_000).for_each(|n| running.intake.push(bench.result(n)));
    eventually("the newest on disk", async || running.intake.depth() == 0).await;
    let kept = running.intake.spool_depth();
    assert!((700..=1_000).contains(&kept), "{kept}");
    bench.cable.mend();
    eventually("all stored", async || running.intake.spool_depth() == 0 && running.intake.is_empty()).await;
    assert_eq!(running.stop().await, Left::default());
    let rows = count(&bench.db.pool, "true").await;
    assert_eq!(rows, kept as i64);
    assert_eq!(count(&bench.db.pool, "started_at = (select max(started_at) from check_result)").await, 1);
    // Every slot of the ten targets is a row or in a gap.
    let unaccounted: i64 = sqlx::query_scalar(
        "select count(*) from generate_series(1, 10) as t (target_id), generate_series(0, 299) as s (second)
         where not exists (select from check_result c where c.target_id = t.target_id
                           and c.slot_at = to_timestamp($1) + second * interval '1 second')
           and not exists (select from gap g where g.target_id = t.target_id and reason = 'overflow'
                           and to_timestamp($1) + second * interval '1 second' >= from_at
                           and to_timestamp($1) + second * interval '1 second' < to_at)",
    )
    .bind(bench.begun_us as f64 / 1e6)
    .fetch_one(&bench.db.pool)
    .await
    .unwrap();
    assert_eq!(unaccounted, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_directory_to_write_results_stay_in_memory_until_postgres_or_the_disk_is_back() {
    let bench = Bench::new().await;
    // Also root cannot make a directory below a file.
    std::fs::write(bench.spool(), "in the way").unwrap();
    let running = bench.start(&names(), 1_000);
    bench.cable.cut();
    (0..100).for_each(|n| running.intake.push(bench.result(n)));
    let usable = || running.stats.text(0, 0, &bench.db.pool).unwrap().contains("\nlookout_spool_usable 1\n");
    sleep(Duration::from_millis(600)).await;
    assert_eq!((running.intake.depth(), running.intake.spool_depth(), usable()), (100, 0, false));
    std::fs::remove_file(bench.spool()).unwrap();
    eventually("on disk", async || running.intake.spool_depth() == 100 && usable()).await;
    bench.cable.mend();
    eventually("all stored", async || count(&bench.db.pool, "true").await == 100).await;
    assert_eq!(running.stop().await, Left::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_postgres_is_slow_with_does_not_keep_the_next_ones_in_memory() {
    let bench = Bench::new().await;
    let running = bench.start(&names(), 10_000);
    let mut locker = bench.db.pool.begin().await.unwrap();
    sqlx::query("lock table rollup_second in access exclusive mode").execute(&mut *locker).await.unwrap();
    (0..100).for_each(|n| running.intake.push(bench.result(n)));
    eventually("the batch that waits is on disk", async || running.intake.spool_depth() == 100).await;
    (100..200).for_each(|n| running.intake.push(bench.result(n)));
    eventually("so are those behind it", async || running.intake.spool_depth() == 200).await;
    locker.rollback().await.unwrap();
    eventually("all stored", async || running.intake.spool_depth() == 0).await;
    assert_eq!(count(&bench.db.pool, "true").await, 200);
    assert_eq!(running.stop().await, Left::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_broken_is_skipped_and_its_slot_looked_for() {
    let bench = Bench::new().await;
    let running = bench.start(&names(), 10_000);
    bench.cable.cut();
    (0..100).for_each(|n| running.intake.push(bench.result(n)));
    eventually("on disk", async || running.intake.spool_depth() == 100).await;
    let folder = bench.spool().join("0");
    let file = std::fs::read_dir(&folder).unwrap().flatten().find(|file| file.file_name() != "lock").unwrap().path();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[64 * 42 + 20] ^= 4;
    // In place: the worker has it open.
    std::os::unix::fs::FileExt::write_all_at(&std::fs::OpenOptions::new().write(true).open(&file).unwrap(), &bytes, 0)
        .unwrap();
    bench.cable.mend();
    eventually("all stored", async || running.intake.spool_depth() == 0).await;
    assert_eq!(count(&bench.db.pool, "true").await, 99);
    // The leases find out which it is, by what has no row.
    assert_eq!(running.intake.oldest_us(), Some(bench.begun_us));
    let metrics = running.stats.text(0, 0, &bench.db.pool).unwrap();
    assert!(metrics.contains("\nlookout_spool_bad_records_total 1\n"), "{metrics}");
    assert_eq!(running.stop().await, Left::default());
}
