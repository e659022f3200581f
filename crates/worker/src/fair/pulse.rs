//! How long this process stood still: stopped, swapped out, or robbed of its processor.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::stats::Stats;

/// A beat of the pulse.
const BEAT: Duration = Duration::from_millis(10);

/// A beat so late is on a busy machine, not one that stood still.
const TOLERANCE: Duration = Duration::from_millis(10);

/// A standstill as long as this is worth a line in the log.
const LONG: Duration = Duration::from_secs(1);

/// Beats in the runtime it was started in, and notes how late. Clones share it.
#[derive(Debug, Clone)]
pub struct Pulse(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    begun: Instant,
    /// The last beat, microseconds since the begin.
    beat_us: AtomicU64,
    stalled_us: AtomicU64,
}

impl Pulse {
    /// A pulse that beats until the runtime ends, or nobody holds it any more. Another thread calls `on_beat` as
    /// often, with how long this one has stood still.
    pub fn start(stats: Arc<Stats>, on_beat: impl Fn(Duration) + Send + 'static) -> Self {
        let inner =
            Arc::new(Inner { begun: Instant::now(), beat_us: AtomicU64::new(0), stalled_us: AtomicU64::new(0) });
        let beating = Arc::downgrade(&inner);
        tokio::spawn(async move {
            loop {
                sleep(BEAT).await;
                let Some(inner) = beating.upgrade() else { return };
                let stalled = inner.beat();
                stats.add_stalled(stalled);
                if stalled >= LONG {
                    warn!(
                        "this process stood still for {} ms: what timed out meanwhile is unknown",
                        stalled.as_millis()
                    );
                }
            }
        });
        let watched = Arc::downgrade(&inner);
        if let Err(error) = thread::Builder::new().name("pulse".to_owned()).spawn(move || watch(&watched, on_beat)) {
            warn!("nobody watches whether this process stands still: {error}");
        }
        Self(inner)
    }

    /// How long it stood still since its start, what lasts included.
    pub fn stalled(&self) -> Duration {
        Duration::from_micros(self.0.stalled_us.load(Ordering::Relaxed)) + self.0.overdue(self.0.now_us())
    }
}

/// Feels the pulse from outside.
#[expect(clippy::disallowed_methods, reason = "this thread has no runtime to block")]
fn watch(inner: &Weak<Inner>, on_beat: impl Fn(Duration)) {
    loop {
        thread::sleep(BEAT);
        let Some(inner) = inner.upgrade() else { return };
        on_beat(inner.overdue(inner.now_us()));
    }
}

impl Inner {
    fn now_us(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn overdue(&self, now_us: u64) -> Duration {
        let since = Duration::from_micros(now_us.saturating_sub(self.beat_us.load(Ordering::Relaxed)));
        let late = since.saturating_sub(BEAT);
        if late > TOLERANCE { late } else { Duration::ZERO }
    }

    fn beat(&self) -> Duration {
        let now_us = self.now_us();
        let stalled = self.overdue(now_us);
        self.stalled_us.fetch_add(stalled.as_micros() as u64, Ordering::Relaxed);
        self.beat_us.store(now_us, Ordering::Relaxed);
        stalled
    }
}
