//! Workers, their fates and one Postgres, a tenth of a second at a time.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::target::micros_to_utc;
use common::{Cause, Check, Interval, Outcome, Phases, Shard, Source, TargetId, TargetSpec, TargetUrl};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryFutureExt};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgConnection, PgPool};
use store::batches::{self, Gap};
use store::testing::TestDb;
use store::{partitions, rollups, targets, workers};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, advance, sleep};

use super::expected::Expected;
use crate::backfill::Due;
use crate::clock::Clock;
use crate::leases::{self, Leases, Roster, Standing, State};
use crate::plan::Limits;
use crate::probe::{Prepared, Probe, Probed};
use crate::recorder::{self, FLUSH_ROWS, Intake, Keeper};
use crate::schedule::{Change, Schedule};
use crate::shared::Shared;
use crate::spool::{KeyHash, SpoolSettings};

/// 20 s before an hour is over, so that roll-ups of that hour meet late results.
pub(super) const BEGIN_US: i64 = 1_795_262_380_000_000;

/// How far time moves at once.
const TICK: Duration = Duration::from_millis(100);

/// Results on disk, at most.
const SPOOL_MAX: usize = 60;

/// On a clean stop, probes under way get this long.
const GRACE: Duration = Duration::from_secs(4);

/// And then, writing what waits this long.
const WRITE_GRACE: Duration = Duration::from_secs(3);

#[derive(Debug, Clone)]
pub(super) struct TargetPlan {
    pub(super) key: String,
    pub(super) interval_ms: u64,
    pub(super) timeout_ms: u64,
    pub(super) host: u8,
}

/// What becomes of a worker; numbers are taken modulo the workers there are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Action {
    Start,
    /// As by SIGTERM; the last one stays.
    Stop(usize),
    /// The same, but only while it can reach Postgres to hand its shards over.
    StopInPeace(usize),
    /// As by SIGKILL. What it had not written is lost, or comes later from its spool.
    Crash {
        worker: usize,
        spooled_s: Option<u64>,
    },
    /// As by SIGSTOP: it goes on as if nothing had been.
    Pause {
        worker: usize,
        seconds: u64,
    },
    /// It cannot reach Postgres.
    Cut {
        worker: usize,
        seconds: u64,
    },
    /// It cannot reach Postgres for a second, just when its schedule has dropped shards.
    CutInHandOver(usize),
    /// It is stopped just then.
    StopInHandOver(usize),
    /// Its next flush is committed, and it does not learn of it.
    LoseAnswerToFlush(usize),
    /// The same of its next round of leases.
    LoseAnswerToRound(usize),
    /// All crash, and nobody comes for a while.
    Silence {
        seconds: u64,
    },
    /// A bit of what lies on disk is not what it was.
    HarmSpool,
    /// Hours and days are rolled up.
    KeepHouse,
}

#[derive(Debug, Clone)]
pub(super) struct Scenario {
    pub(super) targets: Vec<TargetPlan>,
    /// Probes under way at once.
    pub(super) places: usize,
    /// What happens after how many ticks.
    pub(super) steps: Vec<(u64, Action)>,
    /// Of everything else that is chance: outcomes, how long they take, who comes first.
    pub(super) seed: u64,
}

/// One database for all scenarios, emptied before each.
pub(super) struct Database(TestDb);

impl Database {
    pub(super) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let db = TestDb::new().await;
            partitions::ensure_around(&db.pool, micros_to_utc(BEGIN_US)).await.unwrap();
            sqlx::raw_sql(
                "create schema virtual;
                 create function virtual.clock_timestamp() returns timestamptz language sql volatile as $$
                     select timestamptz 'epoch' + current_setting('virtual.now')::int8 * interval '1 microsecond'
                 $$",
            )
            .execute(&db.pool)
            .await
            .unwrap();
            db.pool.close().await;
            Self(db)
        })
    }

    /// A pool in which Postgres takes the time to be `clock`'s.
    fn pool(&self, clock: &Clock) -> PgPool {
        // What is named first is looked into first, so ours lies before the built-in one.
        let options = PgConnectOptions::from_str(&self.0.url)
            .unwrap()
            .options([("search_path", "public,virtual,pg_catalog"), ("timezone", "UTC")]);
        let (first, then) = (clock.clone(), clock.clone());
        PgPoolOptions::new()
            .max_connections(1)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .after_connect(move |connection, _| set_time(connection, first.now_us()))
            .before_acquire(move |connection, _| set_time(connection, then.now_us()).map_ok(|()| true).boxed())
            .connect_lazy_with(options)
    }
}

fn set_time(connection: &mut PgConnection, now_us: i64) -> BoxFuture<'_, Result<(), sqlx::Error>> {
    let set = sqlx::query("select set_config('virtual.now', $1, false)").bind(now_us.to_string());
    set.execute(connection).map_ok(|_| ()).boxed()
}

/// Answers of its own instead of requests.
#[derive(Clone)]
struct Oracle {
    clock: Clock,
    chance: Arc<Mutex<StdRng>>,
    started: Arc<Mutex<Vec<(usize, i64)>>>,
}

impl Probe for Oracle {
    async fn check(&self, target: &Arc<Prepared>) -> Probed {
        let started = Instant::now();
        let index = target.url.path().trim_start_matches('/').parse().unwrap();
        self.started.lock().unwrap().push((index, self.clock.at_us(started)));
        let (outcome, code, took) = {
            let mut chance = self.chance.lock().unwrap();
            let took = target.timeout.mul_f64(chance.random::<f64>());
            match chance.random_range(0..10) {
                0..5 => (Outcome::Up, Some(200), took),
                5 => (Outcome::Degraded, Some(201), took),
                6 => (Outcome::Down(Cause::Status), Some(503), took),
                7 => (Outcome::Down(Cause::Refused), None, took),
                8 => (Outcome::Down(Cause::Timeout), None, target.timeout),
                _ => (Outcome::Unknown, None, took),
            }
        };
        sleep(took).await;
        let elapsed_us = outcome.is_verdict().then_some(took.as_micros() as u32);
        Probed { started, outcome, code, elapsed_us, phases: Phases::default(), detail: None }
    }
}

/// One worker process, put together as `run` does.
struct Worker {
    name: String,
    leases: Leases,
    keeper: Keeper,
    state: State,
    standing: watch::Sender<Standing>,
    schedule: Schedule<Oracle>,
    next_round: Instant,
    next_flush: Instant,
    paused_until: Instant,
    cut_until: Instant,
    cut_in_hand_over: bool,
    stop_in_hand_over: bool,
    lose_flush: bool,
    lose_round: bool,
    /// Set by a clean stop.
    leaves_at: Option<Instant>,
}

/// A start of a probe: by whom, in which tenure, for which slot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Start {
    target: usize,
    slot: i64,
    worker: String,
    epoch: i64,
}

pub(super) struct World {
    pub(super) pool: PgPool,
    pub(super) clock: Clock,
    pub(super) due: Vec<Due>,
    pub(super) expected: Expected,
    pub(super) starts: Vec<Start>,
    specs: Vec<TargetSpec>,
    places: usize,
    workers: Vec<Worker>,
    born: usize,
    /// Where all of them keep what they cannot write: small, so that it overflows now and then.
    spool: SpoolSettings,
    _directory: TempDir,
    /// What comes from elsewhere of dead workers, and when.
    spools: Vec<(Instant, Vec<Check>)>,
    chance: Arc<Mutex<StdRng>>,
    started: Arc<Mutex<Vec<(usize, i64)>>>,
}

impl World {
    pub(super) async fn new(database: &Database, scenario: &Scenario) -> Self {
        let directory = TempDir::new().unwrap();
        let clock = Clock::starting_at(BEGIN_US);
        let pool = database.pool(&clock);
        sqlx::raw_sql(
            "truncate check_result, rollup_second, rollup_minute, rollup_hour, rollup_day, gap, batch, cursor, worker, target;
             update shard_lease set epoch = 0, holder = null, expires_at = '-infinity', released_at = null, complete_until = null",
        )
        .execute(&pool)
        .await
        .unwrap();
        let specs: Vec<_> = scenario.targets.iter().enumerate().map(|(index, plan)| spec(index, plan)).collect();
        let mut connection = pool.acquire().await.unwrap();
        let applied = targets::apply(&mut connection, "w", &[Source::Env], &specs, 1).await.unwrap();
        drop(connection);
        // A column's default is the built-in time.
        sqlx::query("update target set due_since = clock_timestamp()").execute(&pool).await.unwrap();
        let due = specs.iter().zip(&applied.placed).map(|(spec, placed)| Due {
            target_id: placed.target_id,
            key: KeyHash::of(&spec.key),
            shard: Shard::of(&spec.key),
            grid: spec.grid(),
            timeout: spec.timeout,
            since_us: clock.now_us(),
        });
        Self {
            pool,
            due: due.collect(),
            expected: Expected::default(),
            starts: Vec::new(),
            specs,
            places: scenario.places,
            workers: Vec::new(),
            born: 0,
            spool: SpoolSettings { directory: directory.path().to_owned(), max: SPOOL_MAX },
            _directory: directory,
            spools: Vec::new(),
            chance: Arc::new(Mutex::new(StdRng::seed_from_u64(scenario.seed))),
            started: Arc::default(),
            clock,
        }
    }

    pub(super) async fn act(&mut self, action: Action) {
        let now = Instant::now();
        match action {
            Action::Start if self.running() < 3 => self.start().await,
            Action::Start => {}
            Action::Stop(worker) => self.stop(worker, true).await,
            Action::StopInPeace(worker) => self.stop(worker, false).await,
            Action::Crash { worker, spooled_s } => self.crash(worker, spooled_s),
            Action::Pause { worker, seconds } => {
                self.with(worker, |worker| worker.paused_until = now + Duration::from_secs(seconds));
            }
            Action::Cut { worker, seconds } => {
                self.with(worker, |worker| worker.cut_until = now + Duration::from_secs(seconds));
            }
            Action::CutInHandOver(worker) => self.with(worker, |worker| worker.cut_in_hand_over = true),
            Action::StopInHandOver(worker) => self.with(worker, |worker| worker.stop_in_hand_over = true),
            Action::LoseAnswerToFlush(worker) => self.with(worker, |worker| worker.lose_flush = true),
            Action::LoseAnswerToRound(worker) => self.with(worker, |worker| worker.lose_round = true),
            Action::Silence { seconds } => {
                while !self.workers.is_empty() {
                    self.crash(0, Some(seconds));
                }
                advance(Duration::from_secs(seconds)).await;
                self.start().await;
            }
            Action::HarmSpool => self.harm_spool(),
            Action::KeepHouse => {
                // As if the hour had been over for long.
                let now = self.now() + chrono::TimeDelta::minutes(10);
                let mut connection = self.pool.acquire().await.unwrap();
                rollups::compute(&mut connection, now, now - chrono::TimeDelta::days(30)).await.unwrap();
            }
        }
    }

    pub(super) fn now(&self) -> chrono::DateTime<chrono::Utc> {
        micros_to_utc(self.clock.now_us())
    }

    /// Workers that are not stopping.
    fn running(&self) -> usize {
        self.workers.iter().filter(|worker| worker.leaves_at.is_none()).count()
    }

    fn with(&mut self, worker: usize, change: impl FnOnce(&mut Worker)) {
        let count = self.workers.len().max(1);
        if let Some(worker) = self.workers.get_mut(worker % count) {
            change(worker);
        }
    }

    async fn start(&mut self) {
        let name = format!("w{}", self.born);
        self.born += 1;
        let shared = Shared {
            clock: self.clock.clone(),
            intake: Arc::new(Intake::new(10_000)),
            stats: Arc::default(),
            oldest_open_us: Arc::new(i64::MAX.into()),
            adopted_round: Arc::default(),
            dropped_us: Arc::default(),
            changing_us: Arc::new(i64::MAX.into()),
        };
        let (standing, told) = watch::channel(Standing::default());
        let oracle = Oracle { clock: self.clock.clone(), chance: self.chance.clone(), started: self.started.clone() };
        let list = self.due.iter().map(|due| due.target_id).zip(self.specs.iter().cloned()).collect();
        let mut schedule =
            Schedule::new(shared.clone(), oracle, Limits::for_total(self.places), list, told, no_changes());
        schedule.hold();
        let leases =
            Leases { pool: self.pool.clone(), worker_id: name.clone(), shared, targets: Roster::new(self.due.clone()) };
        let now = Instant::now();
        self.workers.push(Worker {
            name,
            keeper: Keeper::new(self.spool.clone(), leases.targets.names()),
            leases,
            state: State::default(),
            standing,
            schedule,
            next_round: now,
            next_flush: now,
            paused_until: now,
            cut_until: now,
            cut_in_hand_over: false,
            stop_in_hand_over: false,
            lose_flush: false,
            lose_round: false,
            leaves_at: None,
        });
    }

    async fn stop(&mut self, worker: usize, even_if_cut: bool) {
        let running: Vec<_> = (0..self.workers.len()).filter(|n| self.workers[*n].leaves_at.is_none()).collect();
        if running.len() < 2 {
            return;
        }
        let mid_round = self.chance.lock().unwrap().random();
        self.stop_this(running[worker % running.len()], even_if_cut, mid_round).await;
    }

    /// Stops a worker, maybe in the middle of a round of leases.
    pub(super) async fn stop_this(&mut self, worker: usize, even_if_cut: bool, mid_round: bool) {
        let now = Instant::now();
        let worker = &mut self.workers[worker];
        if worker.leaves_at.is_some() {
            return;
        }
        if worker.paused_until > now || worker.cut_until > now && !even_if_cut {
            return;
        }
        worker.leaves_at = Some(now + GRACE);
        worker.schedule.leave();
        // Probes that just started are under way.
        polled().await;
        if worker.cut_until <= now {
            if mid_round {
                worker.round().await;
            }
            worker.leases.leave(&worker.state).await;
        }
    }

    fn harm_spool(&mut self) {
        let folders = std::fs::read_dir(&self.spool.directory).into_iter().flatten().flatten();
        let mut files: Vec<_> = folders
            .flat_map(|folder| std::fs::read_dir(folder.path()).unwrap().flatten())
            .map(|file| file.path())
            .filter(|path| path.metadata().unwrap().len() > 0)
            .collect();
        files.sort();
        let mut chance = self.chance.lock().unwrap();
        for path in files {
            let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
            let at = chance.random_range(0..file.metadata().unwrap().len());
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            byte[0] ^= 1 << chance.random_range(0..8);
            file.write_all_at(&byte, at).unwrap();
        }
    }

    fn crash(&mut self, worker: usize, spooled_s: Option<u64>) {
        if self.workers.is_empty() {
            return;
        }
        let worker = self.workers.remove(worker % self.workers.len());
        if let Some(late) = spooled_s {
            let checks = worker.leases.shared.intake.take();
            self.spools.push((Instant::now() + Duration::from_secs(late), checks));
        }
    }

    pub(super) async fn run(&mut self, ticks: u64) {
        for _ in 0..ticks {
            advance(TICK).await;
            // Probes that end now say so.
            polled().await;
            self.replay_spools().await;
            for n in 0..self.workers.len() {
                self.workers[n].tick(&mut self.expected, &self.chance).await;
                self.note_starts(n);
            }
            self.workers.retain(|worker| !worker.is_gone());
            let is_handing_over = |worker: &Worker| worker.stop_in_hand_over && !worker.state.leaving.is_empty();
            if let Some(worker) = self.workers.iter().position(is_handing_over)
                && self.running() > 1
            {
                self.workers[worker].stop_in_hand_over = false;
                self.stop_this(worker, false, false).await;
            }
        }
    }

    /// A worker that was paused hears of its leases, and looks at what is due before it is told.
    pub(super) async fn wake_leases_first(&mut self, worker: usize) {
        let now = Instant::now();
        self.workers[worker].paused_until = now;
        self.workers[worker].round().await;
        self.workers[worker].schedule(false).await;
        self.note_starts(worker);
    }

    pub(super) fn starts_of(&self, worker: &str) -> usize {
        self.starts.iter().filter(|start| start.worker == worker).count()
    }

    /// Everybody who was held up goes on, and then all is quiet until everything is accounted for.
    pub(super) async fn settle(&mut self) {
        let now = Instant::now();
        for worker in &mut self.workers {
            worker.paused_until = now;
            worker.cut_until = now;
        }
        if self.running() == 0 {
            self.start().await;
        }
        let wanted = self.clock.now_us();
        // A lease runs out, a last holder's time to finish is over, the longest interval passes.
        for _ in 0..400 {
            self.run(1).await;
            let on_disk: usize = self.workers.iter().map(|worker| worker.leases.shared.intake.spool_depth()).sum();
            if self.spools.is_empty()
                && on_disk == 0
                && self.complete_until().await.values().all(|until| *until >= wanted)
            {
                return;
            }
        }
        panic!("not accounted for in 40 s: {wanted} {:?}", self.complete_until().await);
    }

    /// By target, as the leases say.
    pub(super) async fn complete_until(&self) -> BTreeMap<TargetId, i64> {
        let by_shard: Vec<(i16, i64)> = sqlx::query_as(
            "select shard_id, coalesce((extract(epoch from complete_until) * 1000000)::int8, 0) from shard_lease",
        )
        .fetch_all(&self.pool)
        .await
        .unwrap();
        let by_shard: BTreeMap<_, _> = by_shard.into_iter().collect();
        self.due.iter().map(|due| (due.target_id, by_shard[&due.shard.0])).collect()
    }

    async fn replay_spools(&mut self) {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.spools).into_iter().partition(|(at, _)| *at <= now);
        self.spools = later;
        for (_, mut checks) in due {
            checks.shuffle(&mut *self.chance.lock().unwrap());
            let (one, two) = checks.split_at(checks.len() / 2);
            // Some of it twice.
            for checks in [two, one, two] {
                let mut connection = self.pool.acquire().await.unwrap();
                batches::write_checks(&mut connection, "spool", checks).await.unwrap();
                self.expected.deliver(checks);
            }
        }
    }

    fn note_starts(&mut self, worker: usize) {
        let worker = &self.workers[worker];
        for (target, at_us) in self.started.lock().unwrap().drain(..) {
            let due = &self.due[target];
            // Nothing starts before its slot or an interval late.
            let slot = due.grid.at_or_after(at_us - due.grid.interval() + 1).0;
            let epoch = worker.state.held.get(&due.shard).map_or(0, |held| held.epoch);
            self.starts.push(Start { target, slot, worker: worker.name.clone(), epoch });
        }
    }

    pub(super) fn check_starts(&self) {
        let mut starts = self.starts.clone();
        starts.sort();
        let twice = starts.windows(2).find(|pair| pair[0] == pair[1]);
        assert_eq!(twice, None, "twice in one tenure");
    }

    pub(super) fn asked_twice(&self) -> Vec<[Start; 2]> {
        let mut starts = self.starts.clone();
        starts.sort();
        let same = |pair: &&[Start]| pair[0].target == pair[1].target && pair[0].slot == pair[1].slot;
        starts.windows(2).filter(same).map(|pair| [pair[0].clone(), pair[1].clone()]).collect()
    }
}

/// Lets every task that can go on do so.
async fn polled() {
    for _ in 0..4 {
        yield_now().await;
    }
}

impl Worker {
    /// What its tasks do in a tenth of a second, in any order.
    async fn tick(&mut self, expected: &mut Expected, chance: &Mutex<StdRng>) {
        if self.paused_until > Instant::now() {
            return;
        }
        let (order, listens, delay, adopts) = {
            let mut chance = chance.lock().unwrap();
            let mut order = [0, 1, 2];
            order.shuffle(&mut *chance);
            (order, chance.random(), chance.random_range(2..10) * TICK, chance.random_bool(0.05))
        };
        for task in order {
            match task {
                0 => self.schedule(listens).await,
                1 if self.leaves_at.is_none() && self.next_round <= Instant::now() => self.round().await,
                2 if self.next_flush <= Instant::now() => {
                    self.next_flush = Instant::now() + delay;
                    self.flush(expected, adopts).await;
                }
                _ => {}
            }
        }
        if self.is_wound_down() {
            self.flush(expected, false).await;
        }
    }

    fn is_wound_down(&self) -> bool {
        let over = |at: Instant| at <= Instant::now() || self.leases.shared.stats.in_flight() == 0;
        self.leaves_at.is_some_and(over)
    }

    fn is_gone(&self) -> bool {
        let gives_up = |at: Instant| at + WRITE_GRACE <= Instant::now();
        let Shared { intake, .. } = &self.leases.shared;
        let is_done = intake.is_empty() && intake.spool_depth() == 0;
        self.is_wound_down() && (is_done || self.leaves_at.is_some_and(gives_up))
    }

    /// News of the leases may come before or after what is due is looked at.
    async fn schedule(&mut self, listens: bool) {
        self.schedule.finish_all();
        if self.leaves_at.is_none() {
            if listens && self.schedule.is_told() {
                self.schedule.hold();
            }
            while self.schedule.look().is_zero() {}
        } else {
            self.schedule.publish();
        }
        polled().await;
    }

    async fn round(&mut self) {
        let begun = Instant::now();
        let result = if self.cut_until > begun { None } else { self.report_and_round().await };
        match result.filter(|_| !std::mem::take(&mut self.lose_round)) {
            Some(next) => {
                self.standing.send_replace(next.standing(begun));
                let is_alert = next.running > 1 && next.held.len() != self.state.held.len() || !next.leaving.is_empty();
                self.next_round = begun + if is_alert { TICK } else { 8 * TICK };
                self.state = next;
                if !self.state.leaving.is_empty() && std::mem::take(&mut self.cut_in_hand_over) {
                    self.cut_until = begun + 10 * TICK;
                }
            }
            None => {
                leases::go_on(&self.standing);
                self.next_round = begun + 8 * TICK;
            }
        }
    }

    async fn report_and_round(&self) -> Option<State> {
        let report = workers::Report {
            worker_id: self.name.clone(),
            started_at: micros_to_utc(BEGIN_US),
            lag_us: 0,
            missed: 0,
            unknown: 0,
            in_flight: 0,
            queue_depth: 0,
            spool_depth: 0,
            offline_since: None,
            config_digest: 1,
            config_error: None,
        };
        workers::report(&mut self.leases.pool.acquire().await.unwrap(), &report).await.unwrap();
        Some(self.leases.round(&self.state).await.unwrap())
    }

    /// As the recorder does, and tells what was committed.
    async fn flush(&mut self, expected: &mut Expected, adopts: bool) {
        let Shared { intake, stats, .. } = &self.leases.shared;
        let is_cut = self.cut_until > Instant::now();
        if is_cut && !intake.is_behind() && !intake.take().is_empty() {
            intake.not_written();
        }
        self.keeper.keep(intake, stats, adopts, adopts).unwrap();
        if is_cut {
            return;
        }
        let gaps = intake.gaps();
        if intake.is_behind() {
            if let Some(batch) = self.keeper.next(FLUSH_ROWS).unwrap() {
                let checks = self.keeper.placed(&batch);
                self.store(&checks, &gaps).await;
                expected.deliver(&checks);
                if !std::mem::take(&mut self.lose_flush) {
                    intake.gaps_written(&gaps);
                    self.keeper.done(&batch, intake, stats);
                }
                return;
            }
            if !intake.catches_up() {
                return;
            }
        }
        let checks = intake.take();
        if !checks.is_empty() || !gaps.is_empty() {
            self.store(&checks, &gaps).await;
            expected.deliver(&checks);
        }
        if std::mem::take(&mut self.lose_flush) {
            intake.not_written();
        } else {
            intake.written(&gaps);
        }
    }

    async fn store(&self, checks: &[Check], gaps: &[Gap]) {
        let mut connection = self.leases.pool.acquire().await.unwrap();
        recorder::flush(&mut connection, &self.leases.pool, &self.name, checks, gaps).await.unwrap();
    }
}

/// A list that stays as it is.
fn no_changes() -> mpsc::UnboundedReceiver<Change> {
    mpsc::unbounded_channel().1
}

fn spec(index: usize, plan: &TargetPlan) -> TargetSpec {
    let url = TargetUrl::parse(&format!("http://host{}/{index}", plan.host)).unwrap();
    TargetSpec {
        interval: Interval::new(Duration::from_millis(plan.interval_ms)).unwrap(),
        timeout: Duration::from_millis(plan.timeout_ms),
        ..TargetSpec::new(&plan.key, url)
    }
}
