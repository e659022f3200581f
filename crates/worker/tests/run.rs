//! A whole worker against a real Postgres and the fault server.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::expect::TextTest;
use common::{Cause, Check, Expectation, Interval, Outcome, Slot, Source, TargetId, TargetSpec, TargetUrl};
use demo::faults::FaultServer;
use sqlx::PgPool;
use store::pool::{self, PoolSettings};
use store::testing::{Cable, TestDb};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use worker::Config;
use worker::fair::Canaries;
use worker::housekeeping::Retention;
use worker::plan::Limits;
use worker::recorder::{Intake, Left, Recorder};
use worker::spool::SpoolSettings;

fn target(server: &FaultServer, path: &str) -> TargetSpec {
    TargetSpec {
        interval: Interval::new(Duration::from_secs(1)).unwrap(),
        timeout: Duration::from_millis(900),
        ..TargetSpec::new(path, TargetUrl::parse(&server.url(path)).unwrap())
    }
}

struct Running {
    stop: CancellationToken,
    worker: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    fn start(database_url: &str, targets: Vec<TargetSpec>) -> Self {
        Self::with_spool(database_url, targets, None)
    }

    fn with_spool(database_url: &str, targets: Vec<TargetSpec>, spool: Option<SpoolSettings>) -> Self {
        let stop = CancellationToken::new();
        let config = Config {
            database_url: database_url.to_owned(),
            targets,
            services: Vec::new(),
            digest: 1,
            file: None,
            sources: vec![Source::Env, Source::File],
            limits: Limits::for_total(100),
            max_buffered: 100_000,
            spool,
            spool_max: 100_000,
            canaries: Canaries::Nobody,
            listen: None,
            retention: Retention::default(),
            api_targets: common::Reach::default(),
        };
        let worker = tokio::spawn(worker::run(config, stop.clone()));
        Self { stop, worker }
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.worker.await.unwrap()
    }
}

async fn count(pool: &PgPool, filter: &'static str) -> i64 {
    let sql = sqlx::AssertSqlSafe(format!("select count(*) from check_result where {filter}"));
    sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
}

/// Waits until a condition holds, for at most half a minute.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_assertion_is_stored_with_what_was_seen() {
    let db = TestDb::new().await;
    let server = FaultServer::start_on_thread().unwrap();
    let contains = |text: &str| Expectation::Body(TextTest::Contains(text.to_owned()));
    let fine = TargetSpec { expect: vec![contains("ok")], ..target(&server, "/ok") };
    let wrong = TargetSpec { expect: vec![contains("articles")], ..target(&server, "/status/200") };
    let worker = Running::start(&db.url, vec![fine, wrong]);
    eventually("both are checked", async || {
        count(&db.pool, "outcome = 'up'").await > 0 && count(&db.pool, "cause = 'assertion'").await > 0
    })
    .await;
    worker.stop().await.unwrap();
    let details: Vec<(String, Option<String>)> = sqlx::query_as(
        "select distinct outcome::text, detail from check_result where outcome in ('up', 'down') order by 1",
    )
    .fetch_all(&db.pool)
    .await
    .unwrap();
    let seen = Some(r#"body contains "articles": is "200\n""#.to_owned());
    assert_eq!(details, [("down".to_owned(), seen), ("up".to_owned(), None)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_that_come_or_turn_faster_while_no_worker_runs_are_watched_at_once() {
    let db = TestDb::new().await;
    let server = FaultServer::start_on_thread().unwrap();
    let hourly =
        |path| TargetSpec { interval: Interval::new(Duration::from_secs(3_600)).unwrap(), ..target(&server, path) };
    let worker = Running::start(&db.url, vec![hourly("/ok?t=1")]);
    let shards = "select count(*) from shard_lease where complete_until is not null";
    // Nothing is open but the slot of some time in the next hour.
    eventually("it says how far it is", async || {
        sqlx::query_scalar::<_, i64>(shards).fetch_one(&db.pool).await.unwrap() == 256
    })
    .await;
    worker.stop().await.unwrap();
    let worker = Running::start(&db.url, vec![target(&server, "/ok?t=1"), target(&server, "/ok?t=2")]);
    eventually("both are asked every second", async || {
        server.log().iter().filter(|request| request.target.ends_with("t=1")).count() >= 3
            && server.log().iter().filter(|request| request.target.ends_with("t=2")).count() >= 3
    })
    .await;
    worker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_reports_whether_its_results_can_go_to_disk() {
    let db = TestDb::new().await;
    let server = FaultServer::start_on_thread().unwrap();
    let directory = TempDir::new().unwrap();
    let place = directory.path().join("spool");
    std::fs::write(&place, "where a directory has to be").unwrap();
    let spool = SpoolSettings { directory: place.clone(), max: 1_000 };
    let worker = Running::with_spool(&db.url, vec![target(&server, "/ok")], Some(spool));
    let reported = async |is_usable: bool| {
        let sql = "select coalesce(bool_and(spool_usable), not $1) = $1 from worker";
        sqlx::query_scalar(sql).bind(is_usable).fetch_one(&db.pool).await.unwrap()
    };
    eventually("it says that they cannot", async || reported(false).await).await;
    std::fs::remove_file(&place).unwrap();
    eventually("it says that they can again", async || reported(true).await).await;
    worker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_and_the_requests_the_server_saw_agree_one_to_one() {
    let db = TestDb::new().await;
    let server = FaultServer::start_on_thread().unwrap();
    let targets: Vec<_> = (0..20).map(|n| target(&server, &format!("/ok?t={n}"))).collect();
    let grids: BTreeMap<_, _> = targets.iter().map(|target| (target.key.clone(), target.grid())).collect();
    let running = Running::start(&db.url, targets);
    eventually("60 rows", async || count(&db.pool, "outcome = 'up'").await >= 60).await;
    running.stop().await.unwrap();

    let rows: Vec<(String, chrono::DateTime<chrono::Utc>, chrono::DateTime<chrono::Utc>)> = sqlx::query_as(
        "select key, slot_at, started_at from check_result join target using (target_id) where started_at is not null",
    )
    .fetch_all(&db.pool)
    .await
    .unwrap();
    let mut stored: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for (key, slot_at, started_at) in rows {
        let slot = Slot(slot_at.timestamp_micros());
        assert!(grids[&key].contains(slot), "{key} at {slot_at}");
        assert!(started_at >= slot_at && started_at - slot_at < chrono::TimeDelta::seconds(1));
        stored.entry(key).or_default().push(slot.0);
    }
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for request in server.log() {
        *seen.entry(request.target).or_default() += 1;
    }
    let stored_counts: BTreeMap<_, _> = stored.iter().map(|(key, slots)| (key.clone(), slots.len())).collect();
    assert_eq!(stored_counts, seen);

    // Between its first and last slot a target has every one, whatever the outcome.
    let all = rows_and_due(&db.pool).await;
    assert!(all.iter().all(|(rows, due)| rows == due), "{all:?}");

    let (held, stopped): (i64, i64) = sqlx::query_as(
        "select (select count(*) from shard_lease where holder is not null), (select count(*) from worker where stopped_at is not null)",
    )
    .fetch_one(&db.pool)
    .await
    .unwrap();
    assert_eq!((held, stopped), (0, 1), "a clean stop gives the shards back");
}

/// Rows of each target, and slots of its one-second grid from its first row to its last.
async fn rows_and_due(pool: &PgPool) -> Vec<(i64, i64)> {
    sqlx::query_as(
        "select count(*), (extract(epoch from max(slot_at) - min(slot_at)))::int8 + 1 from check_result group by target_id",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_between_two_workers_are_missed_rows() {
    let db = TestDb::new().await;
    let server = FaultServer::start_on_thread().unwrap();
    let targets = || (0..5).map(|n| target(&server, &format!("/ok?t={n}"))).collect::<Vec<_>>();
    let running = Running::start(&db.url, targets());
    eventually("first rows", async || count(&db.pool, "outcome = 'up'").await >= 10).await;
    running.stop().await.unwrap();

    let stopped: chrono::DateTime<chrono::Utc> =
        sqlx::query_scalar("select clock_timestamp()").fetch_one(&db.pool).await.unwrap();
    eventually("three slots to pass", async || {
        sqlx::query_scalar::<_, bool>("select clock_timestamp() > $1 + interval '3 seconds'")
            .bind(stopped)
            .fetch_one(&db.pool)
            .await
            .unwrap()
    })
    .await;
    let before = server.log().len();
    let running = Running::start(&db.url, targets());
    eventually("probes again", async || server.log().len() >= before + 10).await;
    running.stop().await.unwrap();

    assert!(count(&db.pool, "outcome = 'missed'").await >= 10);
    let all = rows_and_due(&db.pool).await;
    assert!(all.iter().all(|(rows, due)| rows == due), "{all:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_night_without_workers_is_one_gap_a_target() {
    let db = TestDb::new().await;
    let server = FaultServer::start_on_thread().unwrap();
    let targets = || (0..5).map(|n| target(&server, &format!("/ok?t={n}"))).collect::<Vec<_>>();
    let running = Running::start(&db.url, targets());
    eventually("first rows", async || count(&db.pool, "true").await >= 5).await;
    running.stop().await.unwrap();
    // As if it had stopped eight hours ago.
    sqlx::query(
        "with past as (update target set due_since = due_since - interval '9 hours')
         update shard_lease set complete_until = clock_timestamp() - interval '8 hours',
                                released_at = clock_timestamp() - interval '8 hours'",
    )
    .execute(&db.pool)
    .await
    .unwrap();
    sqlx::query("delete from check_result").execute(&db.pool).await.unwrap();
    let running = Running::start(&db.url, targets());
    eventually("rows again", async || count(&db.pool, "true").await >= 5).await;
    running.stop().await.unwrap();

    let gaps: Vec<(i64, bool)> = sqlx::query_as(
        "select extract(epoch from g.to_at - g.from_at)::int8,
                g.to_at = (select min(slot_at) from check_result c where c.target_id = g.target_id)
         from gap g where reason = 'no_worker'",
    )
    .fetch_all(&db.pool)
    .await
    .unwrap();
    assert_eq!(gaps.len(), 5, "{gaps:?}");
    for (seconds, ends_at_first_row) in gaps {
        assert!((28_798..28_830).contains(&seconds), "{seconds}");
        assert!(ends_at_first_row);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_starts_before_the_schema_and_waits_for_it() {
    let db = TestDb::empty().await;
    let server = FaultServer::start_on_thread().unwrap();
    let running = Running::start(&db.url, vec![target(&server, "/ok")]);
    // Nothing to see yet but patience: it has connected and found no tables.
    eventually("a connection", async || {
        let sql = "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'lookout keeper'";
        sqlx::query_scalar::<_, i64>(sql).fetch_one(&db.pool).await.unwrap() > 0
    })
    .await;
    assert!(!running.worker.is_finished());
    schema::migrate(&db.url).await.unwrap();
    eventually("a row", async || count(&db.pool, "true").await > 0).await;
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probing_goes_on_while_postgres_is_away_and_nothing_is_lost() {
    let db = TestDb::new().await;
    let cable = Cable::to(&db).await;
    let server = FaultServer::start_on_thread().unwrap();
    let running = Running::start(cable.url(), (0..5).map(|n| target(&server, &format!("/ok?t={n}"))).collect());
    eventually("first rows", async || count(&db.pool, "true").await >= 5).await;

    for disturb in [Cable::cut, Cable::freeze] {
        disturb(&cable);
        let before = server.log().len();
        eventually("probes without a database", async || server.log().len() >= before + 15).await;
        cable.mend();
        // A frozen connection that thaws delivers what it held; a cut one is gone.
        let seen = i64::try_from(server.log().len()).unwrap();
        eventually("everything written", async || count(&db.pool, "started_at is not null").await >= seen).await;
    }
    running.stop().await.unwrap();
    let seen = i64::try_from(server.log().len()).unwrap();
    assert_eq!(count(&db.pool, "started_at is not null").await, seen);
    assert_eq!(count(&db.pool, "outcome <> 'up'").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_a_flush_that_postgres_holds_up() {
    let db = TestDb::new().await;
    let server = FaultServer::start_on_thread().unwrap();
    let running = Running::start(&db.url, vec![target(&server, "/ok")]);
    eventually("first rows", async || count(&db.pool, "true").await >= 1).await;
    let mut locker = db.pool.begin().await.unwrap();
    sqlx::query("lock table rollup_second in access exclusive mode").execute(&mut *locker).await.unwrap();
    let before = server.log().len();
    eventually("results that wait", async || server.log().len() >= before + 2).await;
    let stopped = tokio::spawn(running.stop());
    // The lock goes while the worker is stopping, as whoever held it would.
    eventually("the stop to begin", async || {
        let sql = "select exists (select from worker where stopped_at is not null)";
        sqlx::query_scalar(sql).fetch_one(&db.pool).await.unwrap()
    })
    .await;
    locker.rollback().await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), stopped).await;
    ended.expect("within ten seconds").unwrap().unwrap();
    let seen = i64::try_from(server.log().len()).unwrap();
    assert_eq!(count(&db.pool, "started_at is not null").await, seen, "nothing is lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_database_ends_the_worker_with_one_line() {
    let db = TestDb::new().await;
    let server = FaultServer::start_on_thread().unwrap();
    let mut missing = url::Url::parse(&db.url).unwrap();
    missing.set_path("no_such_database");
    let running = Running::start(missing.as_str(), vec![target(&server, "/ok")]);
    let ended = tokio::time::timeout(Duration::from_secs(20), running.worker).await.unwrap();
    let error = ended.unwrap().unwrap_err();
    let settings: &settings::SettingsError = error.downcast_ref().unwrap();
    assert_eq!(settings.lines().len(), 1);
    assert!(settings.to_string().starts_with("DATABASE_URL (--database-url): "), "{settings}");
    assert!(settings.to_string().contains("no_such_database"), "{settings}");
}

fn up(target: i32, second: i64) -> Check {
    Check {
        outcome: Outcome::Down(Cause::Refused),
        started_us: Some(second * 1_000_000),
        ..Check::missed(TargetId(target), Slot(second * 1_000_000))
    }
}

fn recorder(pool: &PgPool, intake: Arc<Intake>) -> Recorder {
    Recorder { pool: pool.clone(), worker_id: "w".to_owned(), intake, stats: Arc::default(), keeper: None }
}

#[tokio::test]
async fn what_does_not_fit_in_memory_becomes_a_gap_and_the_newest_stay() {
    let db = TestDb::new().await;
    let now = chrono::Utc::now().timestamp();
    store::partitions::ensure_around(&db.pool, chrono::Utc::now()).await.unwrap();
    let intake = Arc::new(Intake::new(10));
    for second in 0..30 {
        intake.push(up(1, now + second));
    }
    assert_eq!(intake.depth(), 10);
    assert_eq!(intake.oldest_us(), Some(now * 1_000_000));
    let stop = CancellationToken::new();
    stop.cancel();
    let left = recorder(&db.pool, intake).run(stop, Duration::from_secs(20)).await;
    assert_eq!((left, count(&db.pool, "true").await), (Left::default(), 10));
    let (from, to): (i64, i64) = sqlx::query_as(
        "select extract(epoch from from_at)::int8, ceil(extract(epoch from to_at))::int8 from gap where reason = 'overflow'",
    )
    .fetch_one(&db.pool)
    .await
    .unwrap();
    assert_eq!((from, to), (now, now + 20));
}

#[tokio::test]
async fn a_stop_without_postgres_says_how_much_is_lost() {
    let db = TestDb::new().await;
    let cable = Cable::to(&db).await;
    cable.cut();
    let pool =
        pool::lazy(cable.url(), &PoolSettings { acquire_timeout: Duration::from_millis(100), ..PoolSettings::WORKER })
            .unwrap();
    let intake = Arc::new(Intake::new(10));
    intake.push(up(1, 1));
    let stop = CancellationToken::new();
    stop.cancel();
    let left = recorder(&pool, intake).run(stop, Duration::from_millis(300)).await;
    assert_eq!(left, Left { in_memory: 1, on_disk: 0 });
}
