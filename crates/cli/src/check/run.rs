//! Drives the cycles: each starts at its moment, asks everybody at once, and hands over its report.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use common::Cause;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use worker::probe::{Probed, guarded};

use super::grid::{Grid, MARGIN};
use super::tally::{Tally, Verdict};
use crate::text::counted;

/// What to do, and how often.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) grid: Grid,
    pub(super) endpoints: Vec<Endpoint>,
    /// Requests under way at once.
    pub(super) at_once: usize,
}

/// What the schedule has to know of an endpoint.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// For log lines.
    pub(super) name: String,
    /// Its own limit; the end of the cycle is another.
    pub(super) timeout: Duration,
    pub(super) degraded_after: Duration,
}

/// All that was measured by the end of a cycle, or of the run.
#[derive(Debug)]
pub(super) struct Report {
    /// Number of the cycle, from 1; of the last report, how many were completed.
    pub(super) cycle: u32,
    /// When the cycle started, or the run ended.
    pub(super) at: DateTime<Utc>,
    pub(super) is_final: bool,
    pub(super) tally: Tally,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Stopped,
    Complete,
}

/// Who is told how it goes. Nothing here may wait: the next cycle does not.
pub(super) trait Audience {
    /// A cycle has started.
    fn starts(&mut self, cycle: u32);
    /// One of its requests has ended.
    fn answered(&mut self);
    /// It is over.
    fn report(&mut self, report: Report);
}

/// A cycle under way.
#[derive(Debug)]
struct Cycle {
    index: u32,
    at: DateTime<Utc>,
    /// Requests that have not ended.
    open: usize,
    /// Endpoints that never got their turn.
    unasked: usize,
}

struct Run<'a, A, W, U> {
    plan: &'a Plan,
    /// Makes the request to an endpoint, by index, within a time.
    ask: A,
    wall_clock: W,
    audience: &'a mut U,
    began: Instant,
    tally: Tally,
    places: Arc<Semaphore>,
    /// Whose turn it is to begin.
    door: Arc<Mutex<()>>,
    requests: JoinSet<Ended>,
    current: Option<Cycle>,
    completed: u32,
    /// The largest delay of a cycle's start.
    latest: Duration,
}

/// The end of a request; `None` when it was never made.
struct Ended {
    cycle: u32,
    endpoint: usize,
    probed: Option<Probed>,
}

/// Runs cycles until the grid ends or `stop` is cancelled, at any moment, and returns the last report. Requests that
/// have not ended by then were not measured.
pub(super) async fn run<F: Future<Output = Probed> + Send + 'static>(
    plan: &Plan,
    tally: Tally,
    ask: impl Fn(usize, Duration) -> F + Clone + Send + 'static,
    wall_clock: impl Fn() -> DateTime<Utc>,
    audience: &mut impl Audience,
    stop: &CancellationToken,
) -> (End, Report) {
    let mut run = Run {
        plan,
        ask,
        wall_clock,
        audience,
        began: Instant::now(),
        tally,
        places: Arc::new(Semaphore::new(plan.at_once.min(Semaphore::MAX_PERMITS))),
        door: Arc::default(),
        requests: JoinSet::new(),
        current: None,
        completed: 0,
        latest: Duration::ZERO,
    };
    let end = run.cycles(stop).await;
    // What has ended by now was measured.
    while let Some(Ok(ended)) = run.requests.try_join_next() {
        run.ended(&ended);
    }
    debug!("cycles started at most {} µs late", run.latest.as_micros());
    let report = Report { cycle: run.completed, at: (run.wall_clock)(), is_final: true, tally: run.tally };
    (end, report)
}

impl<F, A, W, U> Run<'_, A, W, U>
where
    F: Future<Output = Probed> + Send + 'static,
    A: Fn(usize, Duration) -> F + Clone + Send + 'static,
    W: Fn() -> DateTime<Utc>,
    U: Audience,
{
    async fn cycles(&mut self, stop: &CancellationToken) -> End {
        let end = self.plan.grid.run().map(|run| self.began + run);
        let mut next = self.starting_from(0);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return End::Stopped,
                () = at(next.map(|(_, start)| start)) => next = self.starts(next),
                Some(Ok(ended)) = self.requests.join_next() => self.ended(&ended),
                () = at(end), if next.is_none() => break,
            }
        }
        // Every request has ended by now, unless this machine stood still; then they do so at once.
        let _ = timeout(MARGIN, async {
            while let Some(Ok(ended)) = self.requests.join_next().await {
                self.ended(&ended);
            }
        })
        .await;
        End::Complete
    }

    /// Starts a cycle that is due, unless its time is over already, and says which is next.
    fn starts(&mut self, due: Option<(u32, Instant)>) -> Option<(u32, Instant)> {
        let (index, start) = due?;
        let possible = self.starting_from(index);
        if possible != due {
            return possible;
        }
        self.start(index, start);
        self.starting_from(index + 1)
    }

    /// The first cycle from this one on whose time is not over yet, and when it starts.
    fn starting_from(&self, index: u32) -> Option<(u32, Instant)> {
        let gone = self.began.elapsed();
        let is_over = |index: &u32| self.plan.grid.start(*index).is_some() && self.plan.grid.deadline(*index) <= gone;
        let skipped = (index..u32::MAX).take_while(is_over).count();
        let next = index + u32::try_from(skipped).unwrap_or(u32::MAX - index);
        if skipped > 0 {
            warn!("this machine stood still: cycles {} to {next} were left out", index + 1);
        }
        Some((next, self.began + self.plan.grid.start(next)?))
    }

    fn start(&mut self, index: u32, start: Instant) {
        let late = start.elapsed();
        self.latest = self.latest.max(late);
        debug!("cycle {} starts {} µs late", index + 1, late.as_micros());
        let deadline = self.began + self.plan.grid.deadline(index);
        for endpoint in self.in_order() {
            let own = self.plan.endpoints[endpoint].timeout;
            let way = (Arc::clone(&self.places), Arc::clone(&self.door));
            let turn = turn(way, deadline, own, self.ask.clone(), endpoint);
            self.requests.spawn(async move { Ended { cycle: index, endpoint, probed: turn.await } });
        }
        let at = (self.wall_clock)() - late;
        let cycle = Cycle { index, at, open: self.tally.len(), unasked: 0 };
        // Only where this machine stood still does a cycle last until the next one starts.
        if let Some(previous) = self.current.replace(cycle) {
            self.report(&previous);
        }
        self.audience.starts(index + 1);
        self.report_if_over();
    }

    /// Who is asked first when there are not places for all: those that did not time out the last time, so that
    /// endpoints that hang never take the places of those that answer.
    fn in_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.tally.len()).collect();
        order.sort_by_key(|endpoint| {
            let cause = self.tally.last(*endpoint).and_then(|verdict| verdict.cause);
            cause == Some(Cause::Timeout.label())
        });
        order
    }

    fn ended(&mut self, ended: &Ended) {
        let endpoint = &self.plan.endpoints[ended.endpoint];
        if let Some(probed) = &ended.probed {
            if let Some(detail) = &probed.detail {
                debug!("cycle {}: {}: {detail}", ended.cycle + 1, endpoint.name);
            }
            self.tally.add(ended.endpoint, Verdict::of(probed, endpoint.degraded_after));
        }
        let Some(cycle) = self.current.as_mut().filter(|cycle| cycle.index == ended.cycle) else {
            return;
        };
        cycle.open -= 1;
        match ended.probed {
            Some(_) => self.audience.answered(),
            None => cycle.unasked += 1,
        }
        self.report_if_over();
    }

    fn report_if_over(&mut self) {
        if let Some(cycle) = self.current.take_if(|cycle| cycle.open == 0) {
            self.report(&cycle);
        }
    }

    fn report(&mut self, cycle: &Cycle) {
        self.completed += 1;
        if cycle.unasked > 0 {
            warn!(
                "cycle {}: {} not asked, because WORKERS_COUNT ({}) others took all its time",
                cycle.index + 1,
                counted(cycle.unasked, "endpoint"),
                self.plan.at_once
            );
        }
        let tally = self.tally.clone();
        self.audience.report(Report { cycle: cycle.index + 1, at: cycle.at, is_final: false, tally });
    }
}

/// Waits for a place and makes the request in the time that is left. `None` when nothing is.
///
/// All that is under way shares this thread, and a request's time must hold no waiting for it. So
/// they begin one at a time, each once the others have had what has arrived for them.
async fn turn<F: Future<Output = Probed>>(
    (places, door): (Arc<Semaphore>, Arc<Mutex<()>>),
    deadline: Instant,
    own: Duration,
    ask: impl Fn(usize, Duration) -> F,
    endpoint: usize,
) -> Option<Probed> {
    // Nobody closes it.
    let _place = timeout_at(deadline, places.acquire_owned()).await.ok()?.ok()?;
    let turn = timeout_at(deadline, door.lock()).await.ok()?;
    yield_now().await;
    drop(turn);
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return None;
    }
    Some(guarded(ask(endpoint, own.min(left))).await)
}

/// Waits until then; for ever where there is no such moment.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;
