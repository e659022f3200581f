//! The plan while its list of targets changes.

use std::collections::HashMap;
use std::time::Duration;

use common::{Interval, SHARDS};
use proptest::prelude::*;

use super::*;

fn every(seconds: u64, key: &str) -> Grid {
    Grid::new(key, Interval::new(Duration::from_secs(seconds)).unwrap())
}

fn all_shards() -> Tenure {
    Tenure { shards: (0..SHARDS).map(Shard).collect(), ..Tenure::default() }
}

/// A plan with somebody who carries it out: a probe of target `id` takes `id % 7 * 90` ms.
struct Played {
    plan: Plan,
    /// The row and grid at each index.
    at: HashMap<usize, (i32, Grid)>,
    /// The index of each row.
    indices: HashMap<i32, usize>,
    under_way: Vec<(i64, usize, Slot, bool)>,
    /// Row, slot and moment of each start, in order.
    starts: Vec<(i32, i64, i64)>,
    /// How often each slot of each row left the plan.
    left: HashMap<(i32, i64), usize>,
}

impl Played {
    fn new(total: usize) -> Self {
        let mut plan = Plan::new(Limits::for_total(total));
        plan.hold(&all_shards(), 0);
        Self {
            plan,
            at: HashMap::new(),
            indices: HashMap::new(),
            under_way: Vec::new(),
            starts: Vec::new(),
            left: HashMap::new(),
        }
    }

    fn add(&mut self, id: i32, seconds: u64, host: &str) -> usize {
        let key = format!("t{id}");
        let grid = every(seconds, &key);
        let index = self.plan.add(TargetId(id), &key, grid, host.to_owned());
        self.at.insert(index, (id, grid));
        self.indices.insert(id, index);
        index
    }

    fn turn_over(&mut self, turnover: &Turnover, now: i64) {
        let mut steps = Vec::new();
        self.plan.turn_over(turnover, &mut steps);
        self.take(steps, now);
    }

    /// New at `now`, or changed: to another server, and maybe to another interval.
    fn set(&mut self, id: i32, seconds: u64, host: &str, now: i64) {
        let before = self.indices.get(&id).copied();
        let index = self.add(id, seconds, host);
        let mut turnover = Turnover::default();
        match before {
            Some(before) if self.at[&before].1 == self.at[&index].1 => {
                turnover.gone.insert(before, Some(index));
            }
            _ => {
                turnover.gone.extend(before.map(|before| (before, None)));
                turnover.begun.push((index, now));
            }
        }
        self.turn_over(&turnover, now);
    }

    fn remove(&mut self, id: i32, now: i64) {
        if let Some(index) = self.indices.remove(&id) {
            self.turn_over(&Turnover { gone: BTreeMap::from([(index, None)]), begun: vec![] }, now);
        }
    }

    fn take(&mut self, steps: Vec<Step>, now: i64) {
        for step in steps {
            match step {
                Step::Start { target, slot, slow } => {
                    let id = self.at[&target].0;
                    self.under_way.push((now + i64::from(id % 7) * 90_000, target, slot, slow));
                    self.starts.push((id, slot.0, now));
                    *self.left.entry((id, slot.0)).or_default() += 1;
                }
                Step::Missed { target, slot } => *self.left.entry((self.at[&target].0, slot.0)).or_default() += 1,
                Step::Gap { .. } => panic!("nobody stood still for so long"),
            }
        }
    }

    fn play(&mut self, now: i64) {
        let (ended, under_way) = std::mem::take(&mut self.under_way).into_iter().partition(|(until, ..)| *until <= now);
        self.under_way = under_way;
        let ended: Vec<(i64, usize, Slot, bool)> = ended;
        let mut steps = Vec::new();
        for (_, target, slot, slow) in ended {
            self.plan.finished(Ended { target, slot, slow, timed_out: false }, now, &mut steps);
        }
        self.plan.advance(now, &mut steps);
        self.take(steps, now);
    }
}

#[test]
fn when_one_of_a_thousand_targets_changes_the_others_keep_their_slots_to_the_microsecond() {
    let new = || {
        let mut played = Played::new(1_000);
        for id in 0..1_000 {
            let index = played.add(id, 1 + id.unsigned_abs() as u64 % 10, &format!("h{}", id % 50));
            played.turn_over(&Turnover { begun: vec![(index, 0)], ..Turnover::default() }, 0);
        }
        played
    };
    let (mut alone, mut changed) = (new(), new());
    for now in (0..40_000_000).step_by(1_000) {
        alone.play(now);
        changed.play(now);
        match now {
            // In the middle of its interval, while probes are under way, three times: another
            // server, another interval, gone.
            15_123_000 => changed.set(500, 1, "elsewhere", now),
            20_456_000 => changed.set(500, 7, "elsewhere", now),
            30_789_000 => changed.remove(500, now),
            _ => {}
        }
    }
    let of_others =
        |played: &Played| -> Vec<_> { played.starts.iter().filter(|start| start.0 != 500).copied().collect() };
    assert!(alone.starts.len() > 10_000, "{}", alone.starts.len());
    assert_eq!(of_others(&alone), of_others(&changed));

    // The one that changed kept its slots while it kept its interval, and then had new ones.
    let of_it = |played: &Played, from: i64, to: i64| -> Vec<i64> {
        let its = played.starts.iter().filter(|start| start.0 == 500 && (from..to).contains(&start.2));
        its.map(|start| start.1).collect()
    };
    assert_eq!(of_it(&alone, 0, 20_456_000), of_it(&changed, 0, 20_456_000));
    let new_grid = every(7, "t500");
    let slots = of_it(&changed, 20_456_001, 40_000_000);
    assert_eq!(slots[0], new_grid.at_or_after(20_456_000).0);
    assert!(slots.iter().all(|slot| new_grid.contains(Slot(*slot)) && *slot <= 30_789_000), "{slots:?}");
}

#[test]
fn a_slot_that_waits_is_started_for_the_target_that_goes_on_and_missed_for_one_that_is_gone() {
    // One place in all, and something that hangs in it.
    let mut plan = Plan::new(Limits::for_total(1));
    plan.hold(&all_shards(), 0);
    let [hanging, waiting, lost] =
        [("a", 1), ("b", 2), ("c", 3)].map(|(key, id)| plan.add(TargetId(id), key, every(10, key), "h".to_owned()));
    let mut steps = Vec::new();
    plan.turn_over(&Turnover { begun: vec![(hanging, 0)], ..Turnover::default() }, &mut steps);
    plan.advance(10_000_000, &mut steps);
    let [Step::Start { slot: first, .. }] = steps[..] else { panic!("{steps:?}") };
    steps.clear();
    plan.turn_over(&Turnover { begun: vec![(waiting, first.0), (lost, first.0)], ..Turnover::default() }, &mut steps);
    plan.advance(first.0 + 10_000_000 - 1, &mut steps);
    assert_eq!((plan.waiting(), &steps[..]), (2, &[][..]));

    let heir = plan.add(TargetId(2), "b", every(10, "b"), "elsewhere".to_owned());
    plan.turn_over(
        &Turnover { gone: BTreeMap::from([(waiting, Some(heir)), (lost, None)]), begun: vec![] },
        &mut steps,
    );
    assert!(matches!(steps[..], [Step::Missed { target, .. }] if target == lost), "{steps:?}");
    assert_eq!((plan.waiting(), plan.in_flight()), (1, 1));
    steps.clear();
    plan.finished(Ended { target: hanging, slot: first, slow: false, timed_out: false }, first.0, &mut steps);
    assert!(matches!(steps[..], [Step::Start { target, .. }] if target == heir), "{steps:?}");
    assert_eq!(plan.waiting(), 0);
}

#[test]
fn a_hundred_changes_of_every_target_take_no_more_memory_than_two() {
    let mut played = Played::new(1_000);
    for round in 0..100 {
        let now = round * 10_000_000;
        for id in 0..100 {
            // All of them new, on servers of their own.
            let id = i32::try_from(round).unwrap() * 100 + id;
            played.set(id, 1, &format!("h{id}"), now);
            played.remove(id - 100, now);
        }
        for ms in (0..10_000).step_by(50) {
            played.play(now + ms * 1_000);
        }
    }
    assert!(played.starts.len() > 90_000, "{}", played.starts.len());
    let (targets, hosts) = played.plan.capacity();
    assert!(targets <= 202 && hosts <= 202, "{targets} targets, {hosts} servers");
    assert_eq!(played.plan.host_index.len(), 100);
    assert!(played.plan.open.len() <= 100 && played.plan.due.len() == 100);
}

proptest! {
    #[test]
    fn however_the_list_changes_no_slot_leaves_the_plan_twice_and_none_that_is_due_is_left_out(
        total in 1usize..6,
        changes in prop::collection::vec((1i64..400, 0i32..8, 0u64..5, 0usize..3), 1..120),
    ) {
        let mut played = Played::new(total);
        let mut now = 0;
        // Since when each row has its grid, and until when.
        let mut lives: Vec<(i32, Grid, i64, i64)> = Vec::new();
        let mut alive: HashMap<i32, (Grid, i64)> = HashMap::new();
        for (pause, id, seconds, host) in changes {
            for _ in 0..pause {
                now += 10_000;
                played.play(now);
            }
            if seconds == 0 {
                played.remove(id, now);
                lives.extend(alive.remove(&id).map(|(grid, since)| (id, grid, since, now)));
                continue;
            }
            played.set(id, seconds, &format!("h{host}"), now);
            let grid = every(seconds, &format!("t{id}"));
            if alive.get(&id).is_none_or(|(before, _)| *before != grid) {
                lives.extend(alive.insert(id, (grid, now)).map(|(grid, since)| (id, grid, since, now)));
            }
        }
        for _ in 0..1_000 {
            now += 10_000;
            played.play(now);
        }
        // The youngest slots may still wait for a place.
        let settled = now - 6_000_000;
        lives.extend(alive.iter().map(|(id, (grid, since))| (*id, *grid, *since, settled)));
        let mut due = std::collections::BTreeSet::new();
        for (id, grid, since, until) in lives {
            let mut slot = grid.at_or_after(since);
            // What comes due at the moment of the change was carried out before it.
            while slot.0 <= until {
                due.insert((id, slot.0));
                slot = grid.next(slot);
            }
        }
        for slot in &due {
            prop_assert!(played.left.contains_key(slot), "{slot:?} was left out");
        }
        let twice = played.left.iter().find(|(slot, count)| **count > 1 && slot.1 < settled);
        prop_assert_eq!(twice, None);
        let (targets, hosts) = played.plan.capacity();
        prop_assert!(targets <= 8 + played.under_way.len() + total + 1 && hosts <= targets + 3, "{} {}", targets, hosts);
    }
}
