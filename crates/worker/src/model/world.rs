//! Workers, their fates and one Postgres, a tenth of a second at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::target::micros_to_utc;
use common::{Check, Shard, Source, TargetId, TargetSpec};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use sqlx::PgPool;
use store::{batches, checks, rollups, targets};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, advance};

use super::database::{BEGIN_US, Database};
use super::expected::Expected;
use super::scenario::{Action, Scenario, TargetPlan, spec};
use super::worker::{Oracle, TICK, Worker, polled};
use crate::backfill::Due;
use crate::clock::Clock;
use crate::leases::{Leases, Roster, Standing, State};
use crate::plan::Limits;
use crate::recorder::{Intake, Keeper};
use crate::schedule::{Change, Schedule};
use crate::shared::Shared;
use crate::spool::{KeyHash, SpoolSettings};

/// Results on disk, at most.
const SPOOL_MAX: usize = 60;

/// On a clean stop, probes under way get this long.
const GRACE: Duration = Duration::from_secs(4);

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
        let targets = Roster::new(self.due.clone());
        let keeper = Keeper::new(self.spool.clone(), targets.names(), &name);
        let leases =
            Leases { pool: self.pool.clone(), worker_id: name.clone(), shared, targets, keeper: Some(keeper.clone()) };
        let now = Instant::now();
        self.workers.push(Worker {
            name,
            keeper,
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
            .filter(|path| path.extension().is_some() && path.metadata().unwrap().len() > 0)
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

    /// A worker's schedule hears that a target is to be asked every second from now on.
    pub(super) async fn turn_faster(&mut self, worker: usize, target: usize) {
        let plan = TargetPlan { key: self.specs[target].key.clone(), interval_ms: 1_000, timeout_ms: 100, host: 0 };
        let since_us = self.clock.now_us();
        let (done, told) = oneshot::channel();
        let set = vec![(self.due[target].target_id, spec(target, &plan), since_us)];
        self.workers[worker].schedule.change(Change { removed: Vec::new(), set, done });
        told.await.unwrap();
    }

    /// Whether nothing of a worker waits to be written.
    pub(super) fn is_written(&self, worker: usize) -> bool {
        self.workers[worker].leases.shared.intake.is_empty()
    }

    /// Starts of slots that had a row at `rows`.
    pub(super) fn starts_again(&self, rows: &BTreeSet<(TargetId, i64)>, worker: &str) -> Vec<&Start> {
        let has_row = |start: &&Start| rows.contains(&(self.due[start.target].target_id, start.slot));
        self.starts.iter().filter(|start| start.worker == worker).filter(has_row).collect()
    }

    /// The slots that have a row.
    pub(super) async fn rows(&self) -> BTreeSet<(TargetId, i64)> {
        let ids: Vec<_> = self.due.iter().map(|due| due.target_id).collect();
        let mut connection = self.pool.acquire().await.unwrap();
        let rows = checks::recorded_slots(&mut connection, &ids, micros_to_utc(BEGIN_US), self.now()).await.unwrap();
        rows.into_iter().map(|(id, slot_at)| (id, slot_at.timestamp_micros())).collect()
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

/// A list that stays as it is.
fn no_changes() -> mpsc::UnboundedReceiver<Change> {
    mpsc::unbounded_channel().1
}
