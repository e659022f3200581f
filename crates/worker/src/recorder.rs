//! From finished checks to rows: a bounded queue and one transaction a flush.
//!
//! Probes push and never wait. The recorder flushes every 250 ms or 5,000 checks.
//! While Postgres is away results stay in memory, up to a stated bound; beyond it
//! the oldest are given up and remembered as gaps, so that every slot is still
//! accounted for. (A spool on disk will take them instead: [`Intake::push`] is its place.)

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::{Check, TargetId};
use store::batches::{self, Gap, GapReason};
use store::{PgPool, StoreError};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, warn};

use crate::stats::Stats;
use crate::traces;

/// A flush is due after this time …
pub const FLUSH_EVERY: Duration = Duration::from_millis(250);

/// … or when this many checks wait.
pub const FLUSH_ROWS: usize = 5_000;

/// Beyond so many results that wait, what an assertion saw is not kept: the bound on
/// results is one on memory only as long as each of them is small.
const MOST_DETAILS: usize = 50_000;

/// A flush that takes longer is given up and tried again; writing is idempotent.
const FLUSH_DEADLINE: Duration = Duration::from_secs(30);

/// Pauses between attempts while Postgres is away grow to this.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// While Postgres is away, say so this often.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Where probes leave their results.
#[derive(Debug)]
pub struct Intake {
    waiting: Mutex<Waiting>,
    full_flush: Notify,
    bound: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    queue: VecDeque<Check>,
    /// What is being written right now.
    writing: Vec<Check>,
    /// Stretches nobody watched, each as it was found.
    unwatched: Vec<Gap>,
    /// What was given up: of each target one stretch, because the oldest go first.
    overflow: HashMap<TargetId, Gap>,
    given_up: u64,
}

impl Intake {
    /// An intake that keeps at most `bound` results.
    pub fn new(bound: usize) -> Self {
        Self { waiting: Mutex::default(), full_flush: Notify::new(), bound }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a result. Never waits: over the bound the oldest result is given up
    /// and its slot becomes part of a gap.
    pub fn push(&self, mut check: Check) {
        let mut waiting = self.waiting();
        if waiting.queue.len() >= MOST_DETAILS {
            check.detail = None;
        }
        waiting.queue.push_back(check);
        if waiting.queue.len() > self.bound
            && let Some(oldest) = waiting.queue.pop_front()
        {
            waiting.given_up += 1;
            waiting.give_up(Gap {
                target_id: oldest.target_id,
                from_us: oldest.slot.0,
                to_us: oldest.slot.0 + 1,
                reason: GapReason::Overflow,
            });
        }
        if waiting.queue.len() >= FLUSH_ROWS {
            self.full_flush.notify_one();
        }
    }

    /// Takes a stretch of slots that nobody started.
    pub fn push_gap(&self, gap: Gap) {
        self.waiting().unwatched.push(gap);
    }

    /// Results that wait, those being written included.
    pub fn depth(&self) -> usize {
        let waiting = self.waiting();
        waiting.queue.len() + waiting.writing.len()
    }

    /// The oldest slot that waits, microseconds since the epoch.
    pub fn oldest_us(&self) -> Option<i64> {
        let waiting = self.waiting();
        let checks = waiting.queue.iter().chain(&waiting.writing).map(|check| check.slot.0);
        checks.chain(waiting.gaps().map(|gap| gap.from_us)).min()
    }

    /// Whether nothing waits, gaps included.
    pub fn is_empty(&self) -> bool {
        let waiting = self.waiting();
        waiting.queue.is_empty() && waiting.writing.is_empty() && waiting.gaps().next().is_none()
    }

    pub(crate) fn take(&self) -> (Vec<Check>, Vec<Gap>) {
        let mut waiting = self.waiting();
        if waiting.writing.is_empty() {
            let count = waiting.queue.len().min(FLUSH_ROWS);
            waiting.writing = waiting.queue.drain(..count).collect();
        }
        (waiting.writing.clone(), waiting.gaps().copied().collect())
    }

    pub(crate) fn written(&self, gaps: &[Gap]) {
        let mut waiting = self.waiting();
        waiting.writing.clear();
        // One that grew meanwhile is written again, and grows there too.
        waiting.overflow.retain(|_, known| !gaps.contains(known));
        waiting.unwatched.retain(|known| !gaps.contains(known));
    }

    fn take_given_up(&self) -> u64 {
        std::mem::take(&mut self.waiting().given_up)
    }
}

impl Waiting {
    fn gaps(&self) -> impl Iterator<Item = &Gap> {
        self.unwatched.iter().chain(self.overflow.values())
    }

    fn give_up(&mut self, gap: Gap) {
        let known = self.overflow.entry(gap.target_id).or_insert(gap);
        known.from_us = known.from_us.min(gap.from_us);
        known.to_us = known.to_us.max(gap.to_us);
    }
}

/// Writes what comes in until `stop`, then what is left, for at most `grace`.
///
/// Returns how many results could not be stored: more than none only when
/// Postgres stayed away for the whole of `grace`.
pub async fn run(
    pool: PgPool,
    worker_id: &str,
    intake: &Intake,
    stats: &Stats,
    stop: CancellationToken,
    grace: Duration,
) -> usize {
    let mut away: Option<Away> = None;
    loop {
        tokio::select! {
            () = sleep(FLUSH_EVERY) => {}
            () = intake.full_flush.notified() => {}
            () = stop.cancelled() => break,
        }
        loop {
            // A flush that Postgres holds up must not hold up a stop; it is written again below.
            let more = tokio::select! {
                more = drain_some(&pool, worker_id, intake, stats, &mut away) => more,
                () = stop.cancelled() => false,
            };
            if !more {
                break;
            }
        }
        if let Some(away) = &away {
            tokio::select! {
                () = sleep(away.pause()) => {}
                () = stop.cancelled() => break,
            }
        }
    }
    let deadline = Instant::now() + grace;
    while !intake.is_empty() && Instant::now() < deadline {
        let attempt = drain_some(&pool, worker_id, intake, stats, &mut away);
        let _ = timeout(deadline.duration_since(Instant::now()), attempt).await;
        if away.is_some() {
            sleep(Duration::from_millis(100)).await;
        }
    }
    intake.depth()
}

/// Postgres has been away since.
struct Away {
    since: Instant,
    said: Instant,
    attempts: u32,
}

impl Away {
    fn pause(&self) -> Duration {
        // Half of it is chance, so that many workers do not knock together.
        let full = (Duration::from_millis(100) * 2_u32.saturating_pow(self.attempts.min(6))).min(MAX_PAUSE);
        full / 2 + full.mul_f64(f64::from(rand::random::<u16>()) / f64::from(u16::MAX) / 2.0)
    }
}

/// Flushes once; true when a full flush went through and more is waiting.
async fn drain_some(pool: &PgPool, worker_id: &str, intake: &Intake, stats: &Stats, away: &mut Option<Away>) -> bool {
    let (checks, gaps) = intake.take();
    if checks.is_empty() && gaps.is_empty() {
        return false;
    }
    let begun = Instant::now();
    let span = traces::flush(checks.len(), gaps.len());
    match timeout(FLUSH_DEADLINE, flush(pool, worker_id, &checks, &gaps))
        .instrument(span.clone())
        .await
        .unwrap_or_else(|_| Err(StoreError::deadline_passed()))
    {
        Ok(()) => {
            stats.flushed(begun.elapsed());
            intake.written(&gaps);
            if let Some(away) = away.take() {
                info!(
                    away_ms = away.since.elapsed().as_millis() as u64,
                    waiting = intake.depth(),
                    "postgres is back; writing what waited"
                );
            }
            let given_up = intake.take_given_up();
            if given_up > 0 {
                stats.add_given_up(given_up);
                warn!(
                    given_up,
                    "results did not fit in memory while postgres was away; their slots are recorded as gaps"
                );
            }
            checks.len() == FLUSH_ROWS
        }
        Err(problem) => {
            stats.flush_failed();
            traces::failed(&span);
            let now = Instant::now();
            let known = away.get_or_insert(Away { since: now, said: now - SAY_EVERY, attempts: 0 });
            known.attempts += 1;
            if now.duration_since(known.said) >= SAY_EVERY {
                known.said = now;
                let waiting = intake.depth();
                if problem.is_transient() {
                    warn!(waiting, bound = intake.bound, "cannot write results, keeping them in memory: {problem}");
                } else {
                    error!(
                        waiting,
                        bound = intake.bound,
                        "postgres refuses results, keeping them in memory: {problem}"
                    );
                }
            }
            false
        }
    }
}

pub(crate) async fn flush(pool: &PgPool, worker_id: &str, checks: &[Check], gaps: &[Gap]) -> Result<(), StoreError> {
    let mut connection = store::pool::acquire(pool).await?;
    let mut written = batches::write_checks(&mut connection, worker_id, checks).await;
    if let Err(StoreError::NoPartition(_)) = written {
        // Late results of a day whose partition nobody had made.
        let days: BTreeSet<_> = checks.iter().map(|check| check.slot.at().date_naive()).collect();
        for day in days {
            store::partitions::ensure(pool, day, day).await?;
        }
        written = batches::write_checks(&mut connection, worker_id, checks).await;
    }
    written?;
    if !gaps.is_empty() {
        batches::write_gaps(&mut connection, gaps).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use common::{Cause, Outcome, Slot};

    use super::*;

    #[test]
    fn what_an_assertion_saw_is_kept_while_few_results_wait() {
        let intake = Intake::new(usize::MAX);
        let failed = |n: usize| Check {
            outcome: Outcome::Down(Cause::Assertion),
            detail: Some("body contains \"ok\": is empty".into()),
            ..Check::missed(TargetId(1), Slot(n as i64))
        };
        (0..MOST_DETAILS + 10).for_each(|n| intake.push(failed(n)));
        let waiting = intake.waiting();
        assert_eq!(waiting.queue.len(), MOST_DETAILS + 10);
        assert_eq!(waiting.queue.iter().filter(|check| check.detail.is_some()).count(), MOST_DETAILS);
    }
}
