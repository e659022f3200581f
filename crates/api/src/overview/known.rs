//! What is known of one target: its newest verdict, and how many failed lately.

use chrono::{DateTime, Utc};
use common::{Cause, Outcome};
use store::fleet::{Failed, Verdict};

use super::list::Listed;
use super::types::Share;
use crate::routes::targets::TargetState;

/// A verdict, less whose it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Newest {
    slot_at: DateTime<Utc>,
    pub(super) started_at: Option<DateTime<Utc>>,
    pub(super) outcome: Outcome,
    pub(super) code: Option<i16>,
    pub(super) elapsed_us: Option<i32>,
}

/// What is known of a target.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    /// The newest verdict; none before the first of the last day.
    pub(super) newest: Option<Newest>,
    pub(super) failed: Failed,
}

impl Known {
    pub(super) fn state(&self, of: &Listed, now: DateTime<Utc>) -> TargetState {
        let outcome = self.newest.map(|newest| newest.outcome.label());
        TargetState::new(outcome, self.checked_at(), (of.interval_ms, of.timeout_ms), now)
    }

    pub(super) fn checked_at(&self) -> Option<DateTime<Utc>> {
        self.newest.and_then(|newest| newest.started_at)
    }

    pub(super) fn code(&self) -> Option<i16> {
        self.newest.and_then(|newest| newest.code)
    }

    pub(super) fn elapsed_us(&self) -> Option<i32> {
        self.newest.and_then(|newest| newest.elapsed_us)
    }

    /// Why it is down, where that is its state.
    pub(super) fn cause(&self, state: TargetState) -> Option<Cause> {
        let is_down = state == TargetState::Down;
        self.newest.filter(|_| is_down).and_then(|newest| newest.outcome.cause())
    }

    pub(super) fn failed_5m(&self) -> Share {
        Share { bad: self.failed.short_bad, total: self.failed.short_total }
    }

    pub(super) fn failed_1h(&self) -> Share {
        Share { bad: self.failed.long_bad, total: self.failed.long_total }
    }
}

/// Since when a target has been in the state of its newest verdict: the verdict's
/// outcome, and the moment as far as it is known.
pub(super) type Since = Option<(&'static str, Option<DateTime<Utc>>)>;

impl From<&Verdict> for Newest {
    fn from(verdict: &Verdict) -> Self {
        Self {
            slot_at: verdict.slot_at,
            started_at: verdict.started_at,
            outcome: verdict.outcome,
            code: verdict.code,
            elapsed_us: verdict.elapsed_us,
        }
    }
}

impl Known {
    /// Takes in a verdict that was stored just now.
    pub(super) fn apply(&mut self, verdict: &Verdict, since: &mut Since) {
        let Some(before) = self.newest else {
            self.newest = Some(verdict.into());
            return;
        };
        if before.slot_at >= verdict.slot_at {
            // A late one leaves the state alone, but may tell of an earlier beginning.
            *since = None;
            return;
        }
        if before.outcome.label() != verdict.outcome.label() {
            *since = Some((verdict.outcome.label(), verdict.started_at));
        }
        self.newest = Some(verdict.into());
    }

    /// Takes in what was read as the newest verdict, while nothing may have been missed or much.
    pub(super) fn replace(&mut self, newest: Option<Newest>, since: &mut Since) {
        if self.newest.map(|known| known.slot_at) != newest.map(|newest| newest.slot_at) {
            *since = None;
        }
        self.newest = newest;
    }
}
