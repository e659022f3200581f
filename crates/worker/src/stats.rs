//! Numbers about the worker itself, shared between its threads.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Counters and gauges; all relaxed, because nothing is decided on them.
#[derive(Debug, Default)]
pub struct Stats {
    missed: AtomicU64,
    unknown: AtomicU64,
    in_flight: AtomicU64,
    waiting: AtomicU64,
    max_lag_us: AtomicI64,
}

impl Stats {
    /// Counts slots that nobody started in time.
    pub fn add_missed(&self, slots: u64) {
        self.missed.fetch_add(slots, Ordering::Relaxed);
    }

    /// Counts a slot that failed by our own fault.
    pub fn add_unknown(&self) {
        self.unknown.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes how late a probe started.
    pub fn started(&self, lag_us: i64) {
        self.max_lag_us.fetch_max(lag_us, Ordering::Relaxed);
    }

    /// Notes how many probes are under way and how many due ones wait for a place.
    pub fn set_load(&self, in_flight: usize, waiting: usize) {
        self.in_flight.store(in_flight as u64, Ordering::Relaxed);
        self.waiting.store(waiting as u64, Ordering::Relaxed);
    }

    /// Slots missed since the start.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Slots lost to our own faults since the start.
    pub fn unknown(&self) -> u64 {
        self.unknown.load(Ordering::Relaxed)
    }

    /// Probes under way.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// The largest lateness since the last call, microseconds.
    pub fn take_max_lag_us(&self) -> i64 {
        self.max_lag_us.swap(0, Ordering::Relaxed)
    }
}
