//! Probes of targets that may keep a whole thread busy, each on a thread of its own.
//!
//! Who floods us (`floods`) is hung up on, but keeps the thread until then; from then on it is probed apart, until
//! the time of the processor shows that it is harmless. So is who was silent while the thread of all stood still.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use common::{Cause, Outcome, Phases};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::{FLOODS, Prepared, Probed, Prober};

/// Threads at once. Where all are taken, a target is probed among the others.
static PLACES: Semaphore = Semaphore::const_new(PLACES_COUNT);
const PLACES_COUNT: usize = 16;

/// So much later than its timeout a probe that does not look up is given up.
const GRACE: Duration = Duration::from_millis(20);

/// Who takes more of a processor than this part of the timeout was kept busy by the target.
const SHARE: u32 = 20;

/// A thread for a probe of this target, where it has to have one and there is one.
pub(super) fn place(target: &Prepared) -> Option<SemaphorePermit<'static>> {
    if target.hogs() { PLACES.try_acquire().ok() } else { None }
}

/// Whether there is such a probe under way.
pub(super) fn is_any() -> bool {
    PLACES.available_permits() < PLACES_COUNT
}

/// Probes a target on another thread.
pub(super) async fn check(prober: &Prober, target: &Arc<Prepared>, place: SemaphorePermit<'static>) -> Probed {
    let begun = Instant::now();
    let (sender, receiver) = oneshot::channel();
    let id = Arc::<AtomicI32>::default();
    let there = (prober.clone(), Arc::clone(target), Arc::clone(&id));
    let thread = std::thread::Builder::new().name("probe apart".to_owned()).spawn(move || {
        let _place = place;
        // Those among the others come first; on Linux this is of the thread alone.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::nice(10);
        let (prober, target, id) = there;
        id.store(rustix::thread::gettid().as_raw_nonzero().get(), Ordering::Relaxed);
        if let Some(found) = runtime().and_then(|runtime| on_this_thread(&runtime, &prober, &target)) {
            // Nobody waits any more when it did not look up in time.
            let _ = sender.send(found);
        }
    });
    let here = async || prober.check_within(target, target.timeout).await;
    match timeout_at(begun + target.timeout + GRACE, receiver).await {
        _ if thread.is_err() => here().await,
        Ok(Ok(probed)) => probed,
        // There was no descriptor for it.
        Ok(Err(_)) => here().await,
        Err(_) => given_up(target, begun, is_kept_busy(target, busy_of(id.load(Ordering::Relaxed)))),
    }
}

/// The outcome of a probe that does not look up: the target's fault if that is what kept it busy.
fn given_up(target: &Prepared, begun: Instant, kept_busy: bool) -> Probed {
    let waited = target.timeout.as_millis();
    let (outcome, detail) = if kept_busy {
        (Outcome::Down(Cause::Timeout), format!("no complete answer within {waited} ms, but bytes without end"))
    } else {
        (Outcome::Unknown, stood_still(target))
    };
    Probed {
        started: begun,
        outcome,
        code: None,
        elapsed_us: u32::try_from(begun.elapsed().as_micros()).ok(),
        phases: Phases::default(),
        detail: Some(detail),
    }
}

fn is_kept_busy(target: &Prepared, busy: Duration) -> bool {
    busy > (target.timeout / SHARE).max(GRACE)
}

fn runtime() -> Option<Runtime> {
    let made = Builder::new_current_thread().enable_io().enable_time().build();
    made.map_err(|error| warn!("no runtime for a probe apart: {error}")).ok()
}

/// What the probe found. Whether the target kept this thread busy decides where it is probed next.
fn on_this_thread(runtime: &Runtime, prober: &Prober, target: &Prepared) -> Option<Probed> {
    runtime.block_on(async {
        let another = prober.another().map_err(|error| warn!("no prober for a probe apart: {error}")).ok()?;
        let before = busy();
        let probed = another.check_within(target, target.timeout).await;
        let floods = probed.detail.as_deref() == Some(FLOODS);
        let kept_busy = is_kept_busy(target, busy().saturating_sub(before));
        target.set_hogs(floods || kept_busy);
        Some(in_time(target, probed, kept_busy))
    })
}

/// What was found, unless that is a timeout which this thread saw later than anybody waits for it: then the answer
/// may have been there in time.
fn in_time(target: &Prepared, probed: Probed, kept_busy: bool) -> Probed {
    let last = (target.timeout + GRACE).as_micros();
    let is_late = probed.elapsed_us.is_some_and(|elapsed| u128::from(elapsed) > last);
    if is_late && !kept_busy && probed.outcome == Outcome::Down(Cause::Timeout) {
        let detail = Some(stood_still(target));
        return Probed { outcome: Outcome::Unknown, detail, ..probed };
    }
    probed
}

fn stood_still(target: &Prepared) -> String {
    format!("we stood still: no complete answer within {} ms", target.timeout.as_millis())
}

/// What this thread has had of a processor so far.
fn busy() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The same of another thread, to a tick of ten milliseconds; nothing where that cannot be read.
fn busy_of(thread: i32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap_or_default();
    // Behind the name in brackets, which may hold spaces.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

#[cfg(test)]
mod tests {
    use common::{TargetSpec, TargetUrl};

    use super::*;

    #[test]
    fn a_timeout_that_our_thread_saw_late_is_our_own_unless_the_target_kept_it_busy() {
        let url = TargetUrl::parse("http://127.0.0.1:1/").unwrap();
        let target = TargetSpec { timeout: Duration::from_millis(900), ..TargetSpec::new("slow", url) };
        let target = Prepared::new(&target);
        let judged = |outcome, elapsed_ms: u32, kept_busy| {
            let elapsed_us = Some(elapsed_ms * 1_000);
            let started = Instant::now();
            let probed = Probed { started, outcome, code: None, elapsed_us, phases: Phases::default(), detail: None };
            let probed = in_time(&target, probed, kept_busy);
            assert_eq!(probed.elapsed_us, elapsed_us);
            probed.outcome
        };
        let timeout = Outcome::Down(Cause::Timeout);
        assert_eq!(judged(timeout, 920, false), timeout);
        assert_eq!(judged(timeout, 921, false), Outcome::Unknown);
        assert_eq!(judged(timeout, 921, true), timeout);
        // What came came, however late.
        for outcome in [Outcome::Up, Outcome::Down(Cause::Status)] {
            assert_eq!(judged(outcome, 921, false), outcome);
        }
    }
}
