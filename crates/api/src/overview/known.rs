//! One target as it is kept in memory.

use chrono::{DateTime, Utc};
use common::TargetUrl;
use store::fleet::{self, Verdict};

use crate::routes::targets::TargetState;

/// What is known of a target.
pub(super) struct Known {
    pub(super) target: fleet::Target,
    pub(super) group: String,
    /// Since when it has had this outcome, once somebody asked.
    pub(super) since: Option<(String, Option<DateTime<Utc>>)>,
}

impl Known {
    pub(super) fn new(target: fleet::Target) -> Self {
        Self { group: group_of(&target), target, since: None }
    }

    pub(super) fn state(&self, now: DateTime<Utc>) -> TargetState {
        let target = &self.target;
        let often = (target.interval_ms, target.timeout_ms);
        TargetState::new(target.outcome.as_deref(), target.started_at, often, now)
    }

    pub(super) fn apply(&mut self, verdict: Verdict) {
        let target = &mut self.target;
        if target.slot_at.is_some_and(|slot_at| slot_at >= verdict.slot_at) {
            // A late one leaves the state alone, but may tell of an earlier beginning.
            self.since = None;
            return;
        }
        if target.outcome.as_ref() != Some(&verdict.outcome) {
            self.since = target.outcome.is_some().then(|| (verdict.outcome.clone(), verdict.started_at));
        }
        target.slot_at = Some(verdict.slot_at);
        target.started_at = verdict.started_at;
        target.outcome = Some(verdict.outcome);
        target.cause = verdict.cause;
        target.code = verdict.code;
        target.elapsed_us = verdict.elapsed_us;
    }
}

fn group_of(target: &fleet::Target) -> String {
    let host = || {
        TargetUrl::parse(&target.url).ok().and_then(|url| url.url().host_str().map(str::to_owned)).unwrap_or_default()
    };
    target.group.clone().unwrap_or_else(host)
}
