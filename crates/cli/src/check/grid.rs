//! When cycles start and end. Pure: times are counted from the start of the first.

use std::time::Duration;

/// What a cycle keeps back at its end, so that its last requests are over when the next one starts.
pub(super) const MARGIN: Duration = Duration::from_millis(100);

/// The moments of all cycles: number `k`, from 0, starts `k` times the frequency after the first, whatever happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    frequency: Duration,
    run: Option<Duration>,
}

impl Grid {
    /// A cycle every `frequency`, for ever or until `run` is over.
    pub(super) fn new(frequency: Duration, run: Option<Duration>) -> Self {
        Self { frequency, run }
    }

    /// When the run is over, if ever.
    pub(super) fn run(&self) -> Option<Duration> {
        self.run
    }

    /// When a cycle starts. `None` when the run is over by then, or so nearly that nobody could answer.
    pub(super) fn start(&self, cycle: u32) -> Option<Duration> {
        let start = self.frequency.checked_mul(cycle)?;
        match self.run {
            Some(run) if start.saturating_add(MARGIN) >= run => None,
            _ => Some(start),
        }
    }

    /// When the requests of a cycle have to be over: a little before the next one starts or the run ends.
    pub(super) fn deadline(&self, cycle: u32) -> Duration {
        let end = self.frequency.saturating_mul(cycle.saturating_add(1));
        self.run.map_or(end, |run| end.min(run)).saturating_sub(MARGIN)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(frequency: u64, run: u64) -> Grid {
        Grid::new(Duration::from_secs(frequency), Some(Duration::from_secs(run)))
    }

    fn cycles(grid: Grid) -> Vec<u64> {
        (0..).map_while(|cycle| grid.start(cycle)).map(|start| start.as_secs()).collect()
    }

    #[test]
    fn no_cycle_starts_at_the_very_end() {
        assert_eq!(cycles(seconds(2, 10)), [0, 2, 4, 6, 8]);
        assert_eq!(cycles(seconds(2, 11)), [0, 2, 4, 6, 8, 10]);
        assert_eq!(cycles(seconds(15, 15)), [0]);
        assert_eq!(cycles(seconds(15, 1)), [0]);
        let nearly = Grid::new(Duration::from_secs(2), Some(Duration::from_millis(4_100)));
        assert_eq!(cycles(nearly), [0, 2], "a tenth of a second is kept back");
    }

    #[test]
    fn a_cycle_ends_when_the_next_one_starts_or_the_run_does() {
        let grid = seconds(2, 5);
        assert_eq!(grid.deadline(0), Duration::from_millis(1_900));
        assert_eq!(grid.deadline(2), Duration::from_millis(4_900));
        assert_eq!(seconds(15, 4).deadline(0), Duration::from_millis(3_900));
        assert_eq!(Grid::new(Duration::from_secs(1), None).deadline(9), Duration::from_millis(9_900));
    }

    proptest! {
        #[test]
        fn every_cycle_leaves_time_to_answer(frequency in 1_000..86_400_000_u64, run in 1_000..999_999_999_u64) {
            let grid = Grid::new(Duration::from_millis(frequency), Some(Duration::from_millis(run)));
            for cycle in (0..50).take_while(|cycle| grid.start(*cycle).is_some()) {
                prop_assert!(grid.start(cycle).unwrap() < grid.deadline(cycle));
            }
            prop_assert!(grid.start(0).is_some());
        }
    }
}
