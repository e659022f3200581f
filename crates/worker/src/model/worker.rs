//! A worker process of the model: its tasks in any order, its probes answered by an oracle.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::target::micros_to_utc;
use common::{Cause, Check, Outcome, Phases};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use store::batches::Gap;
use store::workers;
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::database::BEGIN_US;
use super::expected::Expected;
use crate::clock::Clock;
use crate::leases::{self, Leases, Standing, State};
use crate::probe::{Prepared, Probe, Probed};
use crate::recorder::{self, FLUSH_ROWS, Keeper};
use crate::schedule::Schedule;
use crate::shared::Shared;

/// How far time moves at once.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// And then, writing what waits this long.
const WRITE_GRACE: Duration = Duration::from_secs(3);

/// One worker process, put together as `run` does.
pub(super) struct Worker {
    pub(super) name: String,
    pub(super) leases: Leases,
    pub(super) keeper: Keeper,
    pub(super) state: State,
    pub(super) standing: watch::Sender<Standing>,
    pub(super) schedule: Schedule<Oracle>,
    pub(super) next_round: Instant,
    pub(super) next_flush: Instant,
    pub(super) paused_until: Instant,
    pub(super) cut_until: Instant,
    pub(super) cut_in_hand_over: bool,
    pub(super) stop_in_hand_over: bool,
    pub(super) lose_flush: bool,
    pub(super) lose_round: bool,
    /// Set by a clean stop.
    pub(super) leaves_at: Option<Instant>,
}

/// Answers of its own instead of requests.
#[derive(Clone)]
pub(super) struct Oracle {
    pub(super) clock: Clock,
    pub(super) chance: Arc<Mutex<StdRng>>,
    pub(super) started: Arc<Mutex<Vec<(usize, i64)>>>,
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

/// Lets every task that can go on do so.
pub(super) async fn polled() {
    for _ in 0..4 {
        yield_now().await;
    }
}

impl Worker {
    /// What its tasks do in a tenth of a second, in any order.
    pub(super) async fn tick(&mut self, expected: &mut Expected, chance: &Mutex<StdRng>) {
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

    pub(super) fn is_gone(&self) -> bool {
        let gives_up = |at: Instant| at + WRITE_GRACE <= Instant::now();
        let Shared { intake, .. } = &self.leases.shared;
        let is_done = intake.is_empty() && intake.spool_depth() == 0;
        self.is_wound_down() && (is_done || self.leaves_at.is_some_and(gives_up))
    }

    /// News of the leases may come before or after what is due is looked at.
    pub(super) async fn schedule(&mut self, listens: bool) {
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

    pub(super) async fn round(&mut self) {
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
        let report = workers::Report::first(&self.name, micros_to_utc(BEGIN_US), 1);
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
