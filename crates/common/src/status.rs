//! Counting checks: what api and worker share about windows and roll-ups.
//!
//! Arithmetic on counts, nothing else; the clock never appears.

use crate::check::{Cause, Check, Outcome};

/// Upper bounds of the latency buckets in milliseconds, both ends of the range
/// in Renard's R5 series (five steps a decade, each about 1.6 times the last).
/// Values above the last bound fall into one more bucket.
///
/// Source: ISO 3:1973, preferred numbers.
pub const LATENCY_BOUNDS_MS: [f64; 23] = [
    1.0, 1.6, 2.5, 4.0, 6.3, 10.0, 16.0, 25.0, 40.0, 63.0, 100.0, 160.0, 250.0, 400.0, 630.0, 1000.0, 1600.0, 2500.0,
    4000.0, 6300.0, 10_000.0, 16_000.0, 25_000.0,
];

/// How many latency buckets a roll-up keeps.
pub const LATENCY_BUCKETS: usize = LATENCY_BOUNDS_MS.len() + 1;

/// How many counts a roll-up keeps beside latency.
pub const COUNTS: usize = 4 + Cause::ALL.len() + 5;

/// The bucket a latency belongs to; a value on a bound belongs below it.
pub fn latency_bucket(elapsed_us: u32) -> usize {
    let ms = f64::from(elapsed_us) / 1000.0;
    LATENCY_BOUNDS_MS.partition_point(|bound| *bound < ms)
}

/// The latency that a share `ratio` of the checks does not exceed, in milliseconds: their
/// quantile, as far as buckets tell. `None` without a check.
///
/// The check of rank `ratio * n` lies in one bucket; within it the checks are taken to be
/// spread evenly on a logarithmic scale (in the first bucket, which begins at 0, on a
/// linear one). So the figure is off by a factor of 1.6 at most, which is as wide as a
/// bucket is; above the last bound, by what lies between that bound and `max_ms`. It never
/// exceeds `max_ms`, the longest.
///
/// Source: Prometheus, `histogram_quantile`, whose histograms with exponential buckets are
/// read in this way.
pub fn latency_quantile_ms(buckets: &[i64; LATENCY_BUCKETS], max_ms: f64, ratio: f64) -> Option<f64> {
    let count: i64 = buckets.iter().sum();
    let rank = ratio * count as f64;
    let mut before = 0;
    for (bucket, here) in buckets.iter().enumerate().filter(|(_, here)| **here > 0) {
        if rank <= (before + here) as f64 {
            let part = (rank - before as f64) / *here as f64;
            let upper = LATENCY_BOUNDS_MS.get(bucket).copied().unwrap_or(max_ms).min(max_ms);
            let lower = if bucket == 0 { 0.0 } else { LATENCY_BOUNDS_MS[bucket - 1].min(upper) };
            let told = if lower > 0.0 { lower * (upper / lower).powf(part) } else { upper * part };
            // A power is rounded.
            return Some(told.min(upper));
        }
        before += here;
    }
    None
}

/// How many slots ended in which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Answered as expected, in time.
    pub up: u64,
    /// Answered as expected, but slowly.
    pub degraded: u64,
    /// The target failed.
    pub down: u64,
    /// We were late or not running.
    pub missed: u64,
    /// The fault was ours.
    pub unknown: u64,
}

impl Counts {
    /// Slots with a verdict on the target.
    pub fn verdicts(self) -> u64 {
        self.up + self.degraded + self.down
    }

    /// Slots that were due.
    pub fn due(self) -> u64 {
        self.verdicts() + self.missed + self.unknown
    }

    /// Failed share of the verdicts, 0 to 1. `None` without a verdict: silence is neither good nor bad.
    pub fn failure_ratio(self) -> Option<f64> {
        (self.verdicts() > 0).then(|| self.down as f64 / self.verdicts() as f64)
    }

    /// Share of due slots that have a verdict, 0 to 1. `None` when nothing was due.
    pub fn coverage(self) -> Option<f64> {
        (self.due() > 0).then(|| self.verdicts() as f64 / self.due() as f64)
    }
}

/// What one bucket of a roll-up gains, or loses where a late verdict replaces a
/// `missed` row: counts per outcome, cause and status class, and the latency of
/// answered checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Up.
    pub up: i32,
    /// Degraded.
    pub degraded: i32,
    /// Missed.
    pub missed: i32,
    /// Unknown.
    pub unknown: i32,
    /// Down, by cause in the order of [`Cause::ALL`].
    pub down: [i32; Cause::ALL.len()],
    /// Status classes 1xx to 5xx of every check that got a response head.
    pub classes: [i32; 5],
    /// Sum of the latencies of answered checks, microseconds.
    pub latency_sum_us: i64,
    /// Largest latency of an answered check, microseconds.
    pub latency_max_us: i32,
    /// Answered checks per latency bucket.
    pub buckets: [i32; LATENCY_BUCKETS],
}

impl Tally {
    /// Counts one stored check.
    pub fn add(&mut self, check: &Check) {
        self.count(check.outcome, 1);
        let Some(code) = check.code else { return };
        let class = usize::from(code / 100);
        if (1..=5).contains(&class) {
            self.classes[class - 1] += 1;
        }
        if let Some(elapsed_us) = check.elapsed_us {
            self.latency_sum_us += i64::from(elapsed_us);
            self.latency_max_us = self.latency_max_us.max(i32::try_from(elapsed_us).unwrap_or(i32::MAX));
            self.buckets[latency_bucket(elapsed_us)] += 1;
        }
    }

    /// Takes back a `missed` or `unknown` row that a late verdict replaces.
    ///
    /// Those carry neither code nor latency, so the outcome is all there is.
    pub fn take_back(&mut self, outcome: Outcome) {
        self.count(outcome, -1);
    }

    /// All counts in the order the roll-up tables have them: up, degraded, missed,
    /// unknown, down by cause, status classes.
    pub fn counts(&self) -> [i32; COUNTS] {
        let mut counts = [0; COUNTS];
        counts[..4].copy_from_slice(&[self.up, self.degraded, self.missed, self.unknown]);
        counts[4..4 + Cause::ALL.len()].copy_from_slice(&self.down);
        counts[4 + Cause::ALL.len()..].copy_from_slice(&self.classes);
        counts
    }

    fn count(&mut self, outcome: Outcome, by: i32) {
        match outcome {
            Outcome::Up => self.up += by,
            Outcome::Degraded => self.degraded += by,
            Outcome::Missed => self.missed += by,
            Outcome::Unknown => self.unknown += by,
            Outcome::Down(cause) => self.down[cause as usize] += by,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Phases;
    use crate::target::{Slot, TargetId};

    #[test]
    fn a_missed_slot_is_not_counted_as_downtime() {
        let counts = Counts { up: 3, degraded: 0, down: 1, missed: 4, unknown: 2 };
        assert_eq!(counts.failure_ratio(), Some(0.25));
        assert_eq!(counts.coverage(), Some(0.4));
    }

    #[test]
    fn nothing_seen_has_no_ratio() {
        let silent = Counts { missed: 3, ..Counts::default() };
        assert_eq!(silent.failure_ratio(), None);
        assert_eq!(silent.coverage(), Some(0.0));
        assert_eq!(Counts::default().coverage(), None);
    }

    #[test]
    fn a_latency_on_a_bound_belongs_below_it() {
        assert_eq!(latency_bucket(0), 0);
        assert_eq!(latency_bucket(1_000), 0);
        assert_eq!(latency_bucket(1_001), 1);
        assert_eq!(latency_bucket(25_000_000), LATENCY_BUCKETS - 2);
        assert_eq!(latency_bucket(u32::MAX), LATENCY_BUCKETS - 1);
    }

    #[test]
    fn a_quantile_lies_in_the_bucket_of_the_check_it_stands_for() {
        assert_eq!(latency_quantile_ms(&[0; LATENCY_BUCKETS], 0.0, 0.5), None);
        let exact = |sorted: &[u32], ratio: f64| sorted[((ratio * sorted.len() as f64).ceil() as usize).max(1) - 1];
        // Spread evenly, in steps, and all the same; in microseconds.
        let mut samples = vec![(1..=10_000).map(|n| n * 37).collect(), vec![12_345; 100], vec![400, 700, 30_000_000]];
        samples.push((0..1_000).map(|n| if n % 20 == 0 { 2_000_000 } else { 20_000 + n }).collect::<Vec<u32>>());
        for sorted in &mut samples {
            sorted.sort_unstable();
            let mut buckets = [0; LATENCY_BUCKETS];
            sorted.iter().for_each(|elapsed_us| buckets[latency_bucket(*elapsed_us)] += 1);
            let max_ms = f64::from(sorted[sorted.len() - 1]) / 1000.0;
            for ratio in [0.01, 0.5, 0.9, 0.95, 0.99, 1.0] {
                let told = latency_quantile_ms(&buckets, max_ms, ratio).unwrap();
                let truth = f64::from(exact(sorted, ratio)) / 1000.0;
                assert!(told <= max_ms, "{told} of at most {max_ms}");
                let is_near = (truth <= 1.0 && told <= 1.0) || (truth / 1.6..=truth * 1.6).contains(&told);
                assert!(is_near, "{ratio}: {told} for {truth}");
            }
        }
        // Ten checks between 10 and 16 ms: the middle is half the way on a logarithmic scale.
        let mut buckets = [0; LATENCY_BUCKETS];
        buckets[6] = 10;
        let middle = latency_quantile_ms(&buckets, 1000.0, 0.5).unwrap();
        assert!((middle - 160_f64.sqrt()).abs() < 1e-9, "{middle}");
    }

    #[test]
    fn causes_keep_their_place_in_the_counts() {
        for (index, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, index);
        }
    }

    #[test]
    fn a_timeout_counts_as_no_answer_and_leaves_latency_alone() {
        let check = Check {
            outcome: Outcome::Down(Cause::Timeout),
            elapsed_us: Some(5_000_000),
            phases: Phases::default(),
            ..Check::missed(TargetId(1), Slot(0))
        };
        let mut tally = Tally::default();
        tally.add(&check);
        assert_eq!(tally.down[Cause::Timeout as usize], 1);
        assert_eq!((tally.latency_sum_us, tally.classes), (0, [0; 5]));
    }
}
