//! What becomes of rows that Postgres refuses for good, and of those beside them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::time::Duration;

use common::{Cause, Check, Outcome, Slot, TargetId};
use sqlx::PgPool;
use store::batches::{Gap, GapReason};
use store::testing::{Cable, TestDb};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use worker::recorder::{Intake, Keeper, Left, Recorder};
use worker::spool::{KeyHash, Names, SpoolSettings};
use worker::stats::Stats;

const SECOND: i64 = 1_000_000;

/// A recorder, beside a database that is reached over a cable.
struct Bench {
    db: TestDb,
    cable: Cable,
    intake: Arc<Intake>,
    stats: Arc<Stats>,
    begun_us: i64,
    stop: CancellationToken,
    task: JoinHandle<Left>,
    _directory: TempDir,
}

impl Bench {
    /// `rule` is a check constraint on the results. Without a spool nothing is written twice, however slow it all is.
    async fn new(rule: &'static str, has_spool: bool) -> Self {
        let db = TestDb::new().await;
        store::partitions::ensure_around(&db.pool, chrono::Utc::now()).await.unwrap();
        let sql = sqlx::AssertSqlSafe(format!("alter table check_result add constraint rule check ({rule})"));
        sqlx::query(sql).execute(&db.pool).await.unwrap();
        let cable = Cable::to(&db).await;
        let directory = TempDir::new().unwrap();
        let names = Names::default();
        names.set((1..=10).map(|n| (TargetId(n), KeyHash::of(&n.to_string()))));
        let settings = SpoolSettings { directory: directory.path().join("spool"), max: 100_000 };
        let (intake, stats, stop) = (Arc::new(Intake::new(100_000)), Arc::<Stats>::default(), CancellationToken::new());
        let recorder = Recorder {
            pool: store::pool::lazy(cable.url(), &store::pool::PoolSettings::WORKER).unwrap(),
            worker_id: "w".to_owned(),
            intake: Arc::clone(&intake),
            stats: Arc::clone(&stats),
            keeper: has_spool.then(|| Keeper::new(settings, names, "w")),
        };
        let task = tokio::spawn(recorder.run(stop.clone(), Duration::from_secs(3)));
        let begun_us = chrono::Utc::now().timestamp() * SECOND;
        Self { db, cable, intake, stats, begun_us, stop, task, _directory: directory }
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

    /// One that cannot be a text of Postgres.
    fn with_a_nul(&self, n: i64) -> Check {
        let detail = Some("body contains \"ok\": is \"a\0b\"".into());
        Check { outcome: Outcome::Down(Cause::Assertion), detail, ..self.result(n) }
    }

    async fn all_stored(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.intake.is_empty() || self.intake.spool_depth() > 0 {
            assert!(Instant::now() < deadline, "still waiting after 30 s");
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn metrics(&self) -> String {
        self.stats.text(0, 0, &self.db.pool).unwrap()
    }

    async fn stop(self) -> Left {
        self.stop.cancel();
        self.task.await.unwrap()
    }
}

async fn count(pool: &PgPool, what: &'static str) -> i64 {
    let sql = sqlx::AssertSqlSafe(format!("select count(*) from {what}"));
    sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_postgres_refuses_becomes_unknown_and_the_others_are_stored() {
    let bench = Bench::new("code is distinct from 418", false).await;
    for n in 0..200 {
        bench.intake.push(match n {
            50 => bench.with_a_nul(n),
            120 => Check { code: Some(418), ..bench.result(n) },
            _ => bench.result(n),
        });
    }
    bench.all_stored().await;
    assert_eq!(count(&bench.db.pool, "check_result where outcome = 'up' and code = 200").await, 198);
    let unknown = "check_result where outcome = 'unknown' and code is null and started_at is null";
    assert_eq!(count(&bench.db.pool, unknown).await, 2);
    let counted: (i64, i64) =
        sqlx::query_as("select sum(up), sum(unknown) from rollup_minute").fetch_one(&bench.db.pool).await.unwrap();
    assert_eq!(counted, (198, 2), "the roll-ups say what the rows do");
    assert!(bench.metrics().contains("lookout_refused_total 2\n"), "{}", bench.metrics());
    assert!(bench.metrics().contains("lookout_flush_failures_total 0\n"), "nothing was tried again as a whole");
    assert_eq!(bench.stop().await, Left::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_is_refused_comes_out_of_the_spool_all_the_same() {
    let bench = Bench::new("true", true).await;
    bench.cable.cut();
    for n in 0..200 {
        bench.intake.push(if n == 77 { bench.with_a_nul(n) } else { bench.result(n) });
    }
    while bench.intake.spool_depth() < 200 {
        sleep(Duration::from_millis(20)).await;
    }
    bench.cable.mend();
    bench.all_stored().await;
    assert_eq!(count(&bench.db.pool, "check_result where outcome = 'up'").await, 199);
    assert_eq!(count(&bench.db.pool, "check_result where outcome = 'unknown'").await, 1);
    assert_eq!(bench.stop().await, Left::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_of_which_no_row_at_all_is_taken_becomes_a_gap() {
    let bench = Bench::new("target_id <> 7", false).await;
    (0..100).for_each(|n| bench.intake.push(bench.result(n)));
    bench.all_stored().await;
    assert_eq!(count(&bench.db.pool, "check_result").await, 90);
    assert_eq!(count(&bench.db.pool, "gap where target_id = 7 and to_at = from_at + '1 us'").await, 10);
    assert_eq!(bench.stop().await, Left::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_that_postgres_refuses_holds_up_no_other_and_no_result() {
    let bench = Bench::new("true", false).await;
    for n in 1..=9 {
        let to_us = bench.begun_us + if n == 4 { -SECOND } else { SECOND };
        let gap = Gap { target_id: TargetId(n), from_us: bench.begun_us, to_us, reason: GapReason::NoWorker };
        bench.intake.push_gap(gap);
    }
    (0..20).for_each(|n| bench.intake.push(bench.result(n)));
    bench.all_stored().await;
    assert_eq!(count(&bench.db.pool, "gap").await, 8);
    assert_eq!(count(&bench.db.pool, "check_result where outcome = 'up'").await, 20);
    assert!(bench.metrics().contains("lookout_refused_total 1\n"), "{}", bench.metrics());
    assert_eq!(bench.stop().await, Left::default());
}
