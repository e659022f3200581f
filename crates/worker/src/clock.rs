//! The time a worker lives by: a monotonic clock anchored to database time.
//!
//! All workers of one database agree on the moment of a slot, whatever their own
//! wall clocks say, and nobody who sets a wall clock moves the schedule.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

/// Corrections above this are steps and are logged; smaller ones are slewed.
const STEP_US: i64 = 1_000_000;

/// The largest slew at one correction, so that no slot is squeezed or stretched noticeably.
const SLEW_US: i64 = 10_000;

/// A measurement that took longer says too little about the moment it names.
const MAX_ROUND_TRIP: Duration = Duration::from_millis(100);

/// Microseconds since the Unix epoch, in database time. Clones share the anchor.
#[derive(Debug, Clone)]
pub struct Clock {
    base: Instant,
    offset_us: Arc<AtomicI64>,
}

impl Clock {
    /// A clock that reads `now_us` at this moment.
    pub fn starting_at(now_us: i64) -> Self {
        Self { base: Instant::now(), offset_us: Arc::new(AtomicI64::new(now_us)) }
    }

    /// Now, in microseconds since the epoch.
    pub fn now_us(&self) -> i64 {
        self.at_us(Instant::now())
    }

    /// The moment `instant`, in microseconds since the epoch.
    pub fn at_us(&self, instant: Instant) -> i64 {
        let since = match instant.checked_duration_since(self.base) {
            Some(after) => after.as_micros() as i64,
            None => -(self.base.duration_since(instant).as_micros() as i64),
        };
        since + self.offset_us.load(Ordering::Relaxed)
    }

    /// How long until the clock reads `at_us`; zero when it already did.
    pub fn until(&self, at_us: i64) -> Duration {
        Duration::from_micros(u64::try_from(at_us - self.now_us()).unwrap_or(0))
    }

    /// Takes note that Postgres said `database_us` between `asked` and `answered`.
    ///
    /// A small difference is slewed: an eighth of it, at most 10 ms. A difference
    /// over a second is a step and logged; the schedule turns a step forward into
    /// missed slots and sits out a step backward.
    pub fn correct(&self, database_us: i64, asked: Instant, answered: Instant) {
        let round_trip = answered.duration_since(asked);
        if round_trip > MAX_ROUND_TRIP {
            return;
        }
        let error_us = database_us - self.at_us(asked + round_trip / 2);
        let by = if error_us.abs() > STEP_US {
            warn!(error_ms = error_us / 1000, "database time stepped; following it");
            error_us
        } else {
            (error_us / 8).clamp(-SLEW_US, SLEW_US)
        };
        self.offset_us.fetch_add(by, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn small_differences_are_slewed_and_die_away() {
        let clock = Clock::starting_at(0);
        let mut largest = 0;
        for _ in 0..100 {
            let now = Instant::now();
            let before = clock.at_us(now);
            let database = 50_000 + (now - clock.base).as_micros() as i64;
            clock.correct(database, now, now);
            largest = largest.max((clock.at_us(now) - before).abs());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(largest <= SLEW_US, "{largest}");
        let error = 50_000 + (Instant::now() - clock.base).as_micros() as i64 - clock.now_us();
        assert!(error.abs() < 10, "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_is_followed_at_once() {
        let clock = Clock::starting_at(0);
        let now = Instant::now();
        clock.correct(3_600_000_000, now, now);
        assert_eq!(clock.now_us(), 3_600_000_000);
        clock.correct(0, now, now);
        assert_eq!(clock.now_us(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_says_nothing_about_the_time() {
        let clock = Clock::starting_at(0);
        let asked = Instant::now();
        tokio::time::advance(Duration::from_secs(2)).await;
        clock.correct(9_000_000_000, asked, Instant::now());
        assert_eq!(clock.now_us(), 2_000_000);
    }
}
