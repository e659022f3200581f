//! What is to happen in a run of the model: which targets there are, and the fates of their workers.

use std::time::Duration;

use common::{Interval, TargetSpec, TargetUrl};

#[derive(Debug, Clone)]
pub(super) struct TargetPlan {
    pub(super) key: String,
    pub(super) interval_ms: u64,
    pub(super) timeout_ms: u64,
    pub(super) host: u8,
}

/// What becomes of a worker; numbers are taken modulo the workers there are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Action {
    Start,
    /// As by SIGTERM; the last one stays.
    Stop(usize),
    /// The same, but only while it can reach Postgres to hand its shards over.
    StopInPeace(usize),
    /// As by SIGKILL. What it had not written is lost, or comes later from its spool.
    Crash {
        worker: usize,
        spooled_s: Option<u64>,
    },
    /// As by SIGSTOP: it goes on as if nothing had been.
    Pause {
        worker: usize,
        seconds: u64,
    },
    /// It cannot reach Postgres.
    Cut {
        worker: usize,
        seconds: u64,
    },
    /// It cannot reach Postgres for a second, just when its schedule has dropped shards.
    CutInHandOver(usize),
    /// It is stopped just then.
    StopInHandOver(usize),
    /// Its next flush is committed, and it does not learn of it.
    LoseAnswerToFlush(usize),
    /// The same of its next round of leases.
    LoseAnswerToRound(usize),
    /// All crash, and nobody comes for a while.
    Silence {
        seconds: u64,
    },
    /// A bit of what lies on disk is not what it was.
    HarmSpool,
    /// Hours and days are rolled up.
    KeepHouse,
}

#[derive(Debug, Clone)]
pub(super) struct Scenario {
    pub(super) targets: Vec<TargetPlan>,
    /// Probes under way at once.
    pub(super) places: usize,
    /// What happens after how many ticks.
    pub(super) steps: Vec<(u64, Action)>,
    /// Of everything else that is chance: outcomes, how long they take, who comes first.
    pub(super) seed: u64,
}

/// The target as a worker is told of it; its oracle knows it by its place in the plan.
pub(super) fn spec(index: usize, plan: &TargetPlan) -> TargetSpec {
    let url = TargetUrl::parse(&format!("http://host{}/{index}", plan.host)).unwrap();
    TargetSpec {
        interval: Interval::new(Duration::from_millis(plan.interval_ms)).unwrap(),
        timeout: Duration::from_millis(plan.timeout_ms),
        ..TargetSpec::new(&plan.key, url)
    }
}
