//! Targets by group, where there are too many to show each.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::fleet::Fleet;
use super::types::Share;
use crate::routes::targets::TargetState;

/// Groups at most; the rest shares one.
const MOST_GROUPS: usize = 200;

/// Targets that belong together.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub(super) struct Group {
    /// The value of the label `group`, or a host; `…` for all that found no place.
    name: String,
    /// How many targets.
    n: usize,
    up: usize,
    degraded: usize,
    down: usize,
    unknown: usize,
    failed_5m: Share,
}

impl Fleet {
    pub(super) fn group(&self, now: DateTime<Utc>) -> Vec<Group> {
        let named = |name: &String| Group { name: name.clone(), ..Group::default() };
        let mut groups: Vec<_> = self.list.groups.iter().map(named).collect();
        for (of, known, state) in self.each(now) {
            let group = &mut groups[of.group];
            group.add(&Group { n: 1, failed_5m: known.failed_5m(), ..Group::default() });
            *match state {
                TargetState::Up => &mut group.up,
                TargetState::Degraded => &mut group.degraded,
                TargetState::Down => &mut group.down,
                TargetState::Unknown => &mut group.unknown,
            } += 1;
        }
        if groups.len() > MOST_GROUPS {
            // The largest keep their names; the order of names decides between equals, so that tiles stay.
            groups.sort_by_key(|group| Reverse(group.n));
            let rest = groups.split_off(MOST_GROUPS - 1);
            let mut others = Group { name: "…".to_owned(), ..Group::default() };
            rest.iter().for_each(|group| others.add(group));
            groups.push(others);
        }
        groups
    }
}

impl Group {
    fn add(&mut self, other: &Self) {
        self.n += other.n;
        self.up += other.up;
        self.degraded += other.degraded;
        self.down += other.down;
        self.unknown += other.unknown;
        self.failed_5m.bad += other.failed_5m.bad;
        self.failed_5m.total += other.failed_5m.total;
    }
}
