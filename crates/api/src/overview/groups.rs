//! Targets by group, where there are too many to show each.

use std::cmp::Reverse;
use std::collections::BTreeMap;

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
    pub(super) fn group(&self, states: &[TargetState]) -> Vec<Group> {
        let mut by_name: BTreeMap<&str, Group> = BTreeMap::new();
        for (known, state) in self.known.iter().zip(states) {
            let failed = self.failed(known.target.target_id);
            let one = Group {
                n: 1,
                failed_5m: Share { bad: failed.short_bad, total: failed.short_total },
                ..Group::default()
            };
            let group = by_name.entry(&known.group).or_default();
            group.add(&one);
            *match state {
                TargetState::Up => &mut group.up,
                TargetState::Degraded => &mut group.degraded,
                TargetState::Down => &mut group.down,
                TargetState::Unknown => &mut group.unknown,
            } += 1;
        }
        let mut groups: Vec<_> =
            by_name.into_iter().map(|(name, group)| Group { name: name.to_owned(), ..group }).collect();
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
