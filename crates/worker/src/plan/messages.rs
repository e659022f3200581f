//! What the plan is told, and what it says to do.

use std::collections::BTreeMap;

use common::{Grid, Shard, Slot, TargetId};

/// Which shards to probe, and where to begin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tenure {
    /// The shards to probe.
    pub shards: Vec<Shard>,
    /// Shards about to be handed over: no new slot of theirs is ours.
    pub leaving: Vec<Shard>,
    /// Where targets begin whose shard is new.
    pub first: BTreeMap<TargetId, First>,
}

/// The first slot of a target that is ours, and the grid that it is of: the target may have another one by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct First {
    /// The grid.
    pub grid: Grid,
    /// One of its slots.
    pub slot: Slot,
}

impl First {
    /// The slot, if the target still has that grid.
    pub fn on(&self, grid: Grid) -> Option<Slot> {
        (self.grid == grid).then_some(self.slot)
    }
}

/// What the plan says to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Probe the target for this slot now; report back with [`Plan::finished`](super::Plan::finished).
    Start {
        /// Index of the target.
        target: usize,
        /// The slot.
        slot: Slot,
        /// Whether the target counts as slow; to be handed back.
        slow: bool,
    },
    /// The slot is lost: record it as missed.
    Missed {
        /// Index of the target.
        target: usize,
        /// The slot.
        slot: Slot,
    },
    /// Many slots are lost: record `[from, to)` as one gap.
    Gap {
        /// Index of the target.
        target: usize,
        /// First slot lost.
        from: Slot,
        /// First slot not lost.
        to: Slot,
    },
}

/// A change of the list of targets, by index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turnover {
    /// Those that are no longer probed, each with the one that goes on with its slots.
    pub gone: BTreeMap<usize, Option<usize>>,
    /// Those that begin, each with the moment from which its slots are due, microseconds
    /// since the epoch.
    pub begun: Vec<(usize, i64)>,
}

/// A probe that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Index of the target.
    pub target: usize,
    /// The slot it was for.
    pub slot: Slot,
    /// What the start said.
    pub slow: bool,
    /// Whether the target timed out, and counts as slow from now on.
    pub timed_out: bool,
}
