//! Numbers about the worker itself, shared between its threads and told to
//! Prometheus as `lookout_…`. Nothing is decided on them.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use common::Outcome;
use prometheus::core::Collector;
use prometheus::{
    Counter, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

/// Targets with a latency histogram of their own, at most: 14 series each.
pub const MOST_HISTOGRAMS: usize = 2_000;

/// Seconds: from well on time to missed by the longest usual interval.
const LAG_BOUNDS: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Seconds: from one commit on a quiet disk to the deadline of a flush.
const FLUSH_BOUNDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Counters, gauges and histograms of one worker, in a registry of their own.
#[derive(Debug)]
pub struct Stats {
    registry: Registry,
    slots: IntCounterVec,
    in_flight: IntGauge,
    waiting: IntGauge,
    start_lag: Histogram,
    max_lag_us: AtomicI64,
    failing: AtomicBool,
    elapsed: HistogramVec,
    flush: Histogram,
    flush_failures: IntCounter,
    given_up: IntCounter,
    refused: IntCounter,
    offline: IntGauge,
    stalled: Counter,
    spool_depth: IntGauge,
    spool_usable: IntGauge,
    spool_failures: IntCounter,
    spool_bad: IntCounter,
    spool_dropped: IntCounter,
    shards: IntGauge,
    newest_epoch: IntGauge,
    leases_taken: IntCounter,
    queue_depth: IntGauge,
    pool_open: IntGauge,
    pool_idle: IntGauge,
    config_successful: IntGauge,
    config_success_at: IntGauge,
}

impl Default for Stats {
    fn default() -> Self {
        let registry = Registry::new_custom(Some("lookout".to_owned()), None).expect("the prefix is a name");
        let make = Maker(&registry);
        let stats = Self {
            slots: make.add(IntCounterVec::new(
                Opts::new("slots_total", "Slots that ended, by outcome; missed and unknown are no verdict"),
                &["outcome"],
            )),
            in_flight: make.gauge("probes_in_flight", "Probes under way"),
            waiting: make.gauge("probes_waiting", "Due probes that wait for a place among those in flight"),
            start_lag: make.histogram("start_lag_seconds", "From the moment a slot was due to its start", &LAG_BOUNDS),
            max_lag_us: AtomicI64::new(0),
            failing: AtomicBool::new(false),
            elapsed: make.add(HistogramVec::new(
                HistogramOpts::new("target_elapsed_seconds", "Time to the response head, by target"),
                &["target"],
            )),
            flush: make.histogram("flush_seconds", "Time to write a batch of results to Postgres", &FLUSH_BOUNDS),
            flush_failures: make.counter("flush_failures_total", "Batches that Postgres did not take; they are kept"),
            given_up: make.counter("given_up_total", "Results that did not fit, in memory or on disk"),
            refused: make.counter("refused_total", "Rows that Postgres refuses for what they say"),
            offline: make.gauge("offline", "Whether our own network or name server is gone: 1, or 0"),
            stalled: make.add(Counter::new("stalled_seconds_total", "Time that the probing thread stood still")),
            spool_depth: make.gauge("spool_depth", "Results on disk that wait for Postgres"),
            spool_usable: make.gauge("spool_usable", "Whether results can go to disk: 1, or 0"),
            spool_failures: make.counter("spool_failures_total", "Times that the spool could not be written or read"),
            spool_bad: make.counter("spool_bad_records_total", "Records of the spool that were skipped"),
            spool_dropped: make.counter("spool_dropped_total", "Results that the full spool gave up, the oldest"),
            shards: make.gauge("shards", "Shards held, of 256 in all"),
            newest_epoch: make.gauge("lease_epoch", "Largest epoch among the leases held"),
            leases_taken: make.counter("leases_taken_total", "Shards taken from nobody or from another worker"),
            queue_depth: make.gauge("queue_depth", "Results in memory that wait for Postgres"),
            pool_open: make.gauge("pool_connections", "Open database connections"),
            pool_idle: make.gauge("pool_idle_connections", "Database connections without work"),
            config_successful: make.gauge(
                "config_last_reload_successful",
                "Whether the configuration was usable when it was last read: 1, or 0 while an older one is in use",
            ),
            config_success_at: make.gauge(
                "config_last_reload_success_timestamp_seconds",
                "When the configuration in use was read, seconds since the epoch",
            ),
            registry: registry.clone(),
        };
        // A series that is there from the start can be told from one that is not scraped.
        for outcome in ["up", "degraded", "down", "missed", "unknown"] {
            stats.slots.with_label_values(&[outcome]);
        }
        stats
    }
}

/// Makes and registers. Names and bounds are constants, and no name comes twice.
struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn add<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let metric = made.expect("a constant name and constant bounds");
        self.0.register(Box::new(metric.clone())).expect("no name comes twice");
        metric
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(name, help))
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(name, help))
    }

    fn histogram(&self, name: &str, help: &str, bounds: &[f64]) -> Histogram {
        self.add(Histogram::with_opts(HistogramOpts::new(name, help).buckets(bounds.to_vec())))
    }
}

impl Stats {
    /// Counts a slot that ended.
    pub fn ended(&self, outcome: Outcome) {
        self.slots.with_label_values(&[outcome.label()]).inc();
    }

    /// Counts slots that nobody started in time.
    pub fn add_missed(&self, slots: u64) {
        self.slots.with_label_values(&[Outcome::Missed.label()]).inc_by(slots);
    }

    /// Notes how late a probe started.
    pub fn started(&self, lag_us: i64) {
        self.max_lag_us.fetch_max(lag_us, Ordering::Relaxed);
        self.start_lag.observe(lag_us.max(0) as f64 / 1e6);
    }

    /// The latency histogram of one target. Those beyond [`MOST_HISTOGRAMS`] go without.
    pub fn latency(&self, key: &str) -> Histogram {
        self.elapsed.with_label_values(&[key])
    }

    /// Drops the histogram of a target that is no longer probed.
    pub fn forget(&self, key: &str) {
        // An error means that it never had one.
        let _ = self.elapsed.remove_label_values(&[key]);
    }

    /// Notes whether the configuration is the newest there is, and since when if so,
    /// seconds since the epoch.
    pub fn set_config(&self, loaded_at: Option<i64>) {
        self.config_successful.set(i64::from(loaded_at.is_some()));
        if let Some(at) = loaded_at {
            self.config_success_at.set(at);
        }
    }

    /// Notes how many probes are under way and how many due ones wait for a place.
    pub fn set_load(&self, in_flight: usize, waiting: usize) {
        self.in_flight.set(whole(in_flight));
        self.waiting.set(whole(waiting));
    }

    /// Notes a batch that Postgres took.
    pub fn flushed(&self, took: Duration) {
        self.flush.observe(took.as_secs_f64());
        self.failing.store(false, Ordering::Relaxed);
    }

    /// Notes a batch that Postgres did not take.
    pub fn flush_failed(&self) {
        self.flush_failures.inc();
        self.failing.store(true, Ordering::Relaxed);
    }

    /// Whether Postgres did not take the newest batch that it was given.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Counts results that were given up.
    pub fn add_given_up(&self, results: u64) {
        self.given_up.inc_by(results);
    }

    /// Counts a row that Postgres refuses for good.
    pub fn add_refused(&self) {
        self.refused.inc();
    }

    /// Notes whether our own network is gone.
    pub fn set_offline(&self, offline: bool) {
        self.offline.set(i64::from(offline));
    }

    /// Whether our own network is gone.
    pub fn is_offline(&self) -> bool {
        self.offline.get() != 0
    }

    /// Adds time that the probing thread stood still.
    pub fn add_stalled(&self, time: Duration) {
        self.stalled.inc_by(time.as_secs_f64());
    }

    /// Notes whether the spool can be used.
    pub fn set_spool_usable(&self, usable: bool) {
        self.spool_usable.set(i64::from(usable));
    }

    /// Whether the spool could be used when it was last tried.
    pub fn is_spool_usable(&self) -> bool {
        self.spool_usable.get() != 0
    }

    /// Counts a time that the spool could not be used.
    pub fn spool_failed(&self) {
        self.spool_failures.inc();
    }

    /// Counts records of the spool that were skipped.
    pub fn add_spool_bad(&self, records: u64) {
        self.spool_bad.inc_by(records);
    }

    /// Counts results that the full spool gave up.
    pub fn add_spool_dropped(&self, results: u64) {
        self.spool_dropped.inc_by(results);
    }

    /// Notes what is held, and how much of it is new.
    pub fn set_leases(&self, shards: usize, newest_epoch: i64, taken: usize) {
        self.shards.set(whole(shards));
        self.newest_epoch.set(newest_epoch);
        self.leases_taken.inc_by(taken as u64);
    }

    /// Slots missed since the start.
    pub fn missed(&self) -> u64 {
        self.slots.with_label_values(&[Outcome::Missed.label()]).get()
    }

    /// Slots lost to our own faults since the start.
    pub fn unknown(&self) -> u64 {
        self.slots.with_label_values(&[Outcome::Unknown.label()]).get()
    }

    /// Probes under way.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.get().unsigned_abs()
    }

    /// The largest lateness since the last call, microseconds.
    pub fn take_max_lag_us(&self) -> i64 {
        self.max_lag_us.swap(0, Ordering::Relaxed)
    }

    /// Everything in Prometheus' text format; so many results wait in memory and on disk.
    ///
    /// # Errors
    /// None that is known: the names and labels are valid.
    pub fn text(&self, queue_depth: usize, spool_depth: usize, pool: &store::PgPool) -> prometheus::Result<String> {
        self.queue_depth.set(whole(queue_depth));
        self.spool_depth.set(whole(spool_depth));
        self.pool_open.set(i64::from(pool.size()));
        self.pool_idle.set(whole(pool.num_idle()));
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
