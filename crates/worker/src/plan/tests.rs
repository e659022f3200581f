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

/// Its row is its index, as long as none is gone.
fn add(plan: &mut Plan, key: &str, grid: Grid, host: &str) -> usize {
    let id = TargetId(i32::try_from(plan.capacity().0).unwrap());
    plan.add(id, key, grid, host.to_owned())
}

fn plan_of(limits: Limits, targets: &[(&str, &str)]) -> Plan {
    let mut plan = Plan::new(limits);
    for (key, host) in targets {
        add(&mut plan, key, every(1, key), host);
    }
    plan.hold(&all_shards(), 0);
    plan
}

fn advance(plan: &mut Plan, now_us: i64) -> Vec<Step> {
    let mut steps = Vec::new();
    plan.advance(now_us, &mut steps);
    steps
}

#[test]
fn a_target_starts_once_in_each_interval_on_its_own_phase() {
    let mut plan = plan_of(Limits::for_total(10), &[("a", "h")]);
    let grid = every(1, "a");
    let mut slots = Vec::new();
    for now in (0..5_000_000).step_by(1000) {
        for step in advance(&mut plan, now) {
            let Step::Start { target, slot, slow } = step else { panic!("{step:?}") };
            assert!(grid.contains(slot) && now - slot.0 < 1000);
            slots.push(slot);
            plan.finished(Ended { target, slot, slow, timed_out: false }, now, &mut Vec::new());
        }
    }
    assert_eq!(slots.len(), 5);
    assert!(slots.is_sorted());
}

#[test]
fn a_short_pause_is_missed_slots_and_a_long_one_a_single_gap() {
    let mut plan = plan_of(Limits::for_total(10), &[("a", "h")]);
    let first = plan.next_due().unwrap();
    let steps = advance(&mut plan, first + 3_500_000);
    assert_eq!(
        steps,
        [
            Step::Missed { target: 0, slot: Slot(first) },
            Step::Missed { target: 0, slot: Slot(first + 1_000_000) },
            Step::Missed { target: 0, slot: Slot(first + 2_000_000) },
            Step::Start { target: 0, slot: Slot(first + 3_000_000), slow: false },
        ]
    );
    let steps = advance(&mut plan, first + 10_000_000_000);
    assert_eq!(
        steps,
        [
            Step::Gap { target: 0, from: Slot(first + 4_000_000), to: Slot(first + 10_000_000_000) },
            Step::Start { target: 0, slot: Slot(first + 10_000_000_000), slow: false },
        ]
    );
}

#[test]
fn a_slot_that_waits_for_a_whole_interval_is_missed() {
    let limits = Limits { total: 1, slow: 1, per_host: 1, slow_per_host: 1 };
    let mut plan = plan_of(limits, &[("a", "h"), ("b", "h")]);
    let started = advance(&mut plan, 1_000_000);
    assert_eq!(started.len(), 1);
    let steps = advance(&mut plan, 2_000_000);
    assert_eq!(steps.iter().filter(|step| matches!(step, Step::Missed { .. })).count(), 1);
    assert_eq!(plan.waiting(), 2);
}

#[test]
fn targets_that_hang_leave_places_for_those_that_answer() {
    let limits = Limits { total: 10, slow: 4, per_host: 10, slow_per_host: 10 };
    let mut plan = Plan::new(limits);
    for n in 0..40 {
        let key = format!("t{n}");
        let hangs = n < 30;
        add(&mut plan, &key, every(1, &key), &format!("{}{n}", if hangs { "hang" } else { "fast" }));
    }
    plan.hold(&all_shards(), 0);
    // Virtual time in milliseconds; hanging probes end after 900 ms by timing out.
    let mut under_way: Vec<(i64, Step)> = Vec::new();
    let mut missed_fast = 0;
    for now in (0..10_000_000).step_by(1000) {
        let mut steps = Vec::new();
        under_way.retain(|(until, step)| {
            let Step::Start { target, slot, slow } = *step else { return false };
            if *until <= now {
                plan.finished(Ended { target, slot, slow, timed_out: target < 30 }, now, &mut steps);
            }
            *until > now
        });
        plan.advance(now, &mut steps);
        for step in steps {
            match step {
                Step::Start { target, .. } => {
                    under_way.push((now + if target < 30 { 900_000 } else { 1000 }, step));
                }
                // The first two seconds may pass until hanging targets are known.
                Step::Missed { target, slot } if target >= 30 && slot.0 > 2_000_000 => missed_fast += 1,
                _ => {}
            }
        }
    }
    assert_eq!(missed_fast, 0);
}

#[test]
fn those_that_have_answered_are_first_while_many_that_hang_are_not_known_to() {
    let mut plan = Plan::new(Limits { total: 10, slow: 4, per_host: 10, slow_per_host: 10 });
    // Until all of a hundred have had one of ten places for 900 ms it takes nine seconds.
    for n in 0..110 {
        let key = format!("t{n}");
        add(&mut plan, &key, every(1, &key), "h");
    }
    plan.hold(&all_shards(), 0);
    let answers = |target: usize| target.is_multiple_of(11);
    let mut under_way: Vec<(i64, Step)> = Vec::new();
    let mut last: HashMap<usize, i64> = HashMap::new();
    for now in (0..12_000_000).step_by(1000) {
        let mut steps = Vec::new();
        under_way.retain(|(until, step)| {
            let Step::Start { target, slot, slow } = *step else { return false };
            if *until <= now {
                plan.finished(Ended { target, slot, slow, timed_out: !answers(target) }, now, &mut steps);
            }
            *until > now
        });
        plan.advance(now, &mut steps);
        for step in steps {
            if let Step::Start { target, .. } = step {
                under_way.push((now + if answers(target) { 1000 } else { 900_000 }, step));
                if let Some(before) = last.insert(target, now).filter(|_| answers(target)) {
                    assert!(now - before < 2_000_000, "t{target} was left alone from {before} to {now}");
                }
            }
        }
    }
    assert_eq!((0..110).filter(|target| answers(*target) && last.contains_key(target)).count(), 10);
}

#[test]
fn the_slots_of_a_lost_shard_are_left_to_the_next_holder() {
    let mut plan = plan_of(Limits { total: 0, slow: 0, per_host: 1, slow_per_host: 1 }, &[("a", "h")]);
    advance(&mut plan, 1_000_000);
    assert_eq!(plan.waiting(), 1);
    plan.hold(&Tenure::default(), 1_000_000);
    assert_eq!((plan.waiting(), advance(&mut plan, 9_000_000)), (0, Vec::new()));
    plan.hold(&all_shards(), 9_000_000);
    assert!(plan.next_due().unwrap() >= 9_000_000);
}

#[test]
fn a_shard_that_leaves_finishes_what_was_due_and_starts_nothing_new() {
    let limits = Limits { total: 1, slow: 1, per_host: 1, slow_per_host: 1 };
    let mut plan = plan_of(limits, &[("a", "h"), ("b", "h")]);
    let started = advance(&mut plan, 1_000_000);
    let [Step::Start { target, slot, slow }] = started[..] else { panic!("{started:?}") };
    plan.hold(&Tenure { leaving: all_shards().shards, ..Tenure::default() }, 1_000_001);
    assert_eq!((plan.next_due(), plan.waiting()), (None, 1));
    let ended = Ended { target, slot, slow, timed_out: false };
    let mut in_time = Vec::new();
    plan.finished(ended, 1_000_001, &mut in_time);
    assert!(matches!(in_time[..], [Step::Start { .. }]), "{in_time:?}");
    assert_eq!(plan.waiting(), 0);
}

#[test]
fn a_new_shard_begins_where_the_tenure_says() {
    let mut plan = Plan::new(Limits::for_total(10));
    add(&mut plan, "a", every(1, "a"), "h");
    let late = every(1, "a").at_or_after(4_000_000);
    let first = First { grid: every(1, "a"), slot: late };
    let tenure = Tenure { first: BTreeMap::from([(TargetId(0), first)]), ..all_shards() };
    plan.hold(&tenure, 4_900_000);
    assert_eq!(advance(&mut plan, 4_999_999), [Step::Start { target: 0, slot: late, slow: false }]);
}

#[test]
fn what_the_tenure_says_of_another_grid_is_not_where_a_target_begins() {
    // A slot of the slow grid may be one of the fast one, too, and far ahead.
    let (slow, fast) = (every(3_600, "a"), every(1, "a"));
    let ahead = First { grid: slow, slot: slow.at_or_after(5_000_000) };
    let tenure = Tenure { first: BTreeMap::from([(TargetId(0), ahead)]), ..all_shards() };
    let mut plan = Plan::new(Limits::for_total(10));
    add(&mut plan, "a", fast, "h");
    plan.hold(&tenure, 4_900_000);
    assert_eq!(plan.next_due(), Some(fast.at_or_after(4_900_000).0));

    // One that began before its shard was held is due from then on.
    let mut plan = Plan::new(Limits::for_total(10));
    let index = add(&mut plan, "a", fast, "h");
    let begun = Turnover { begun: vec![(index, 2_000_000)], ..Turnover::default() };
    plan.turn_over(&begun, &mut Vec::new());
    assert_eq!(plan.next_due(), None);
    plan.hold(&tenure, 4_900_000);
    assert_eq!(plan.next_due(), Some(fast.at_or_after(2_000_000).0));
}

proptest! {
    #[test]
    fn every_due_slot_leaves_the_plan_exactly_once(
        total in 1usize..6,
        hosts in 1usize..4,
        targets in 1usize..12,
        durations in prop::collection::vec((1i64..2500, any::<bool>()), 1..20),
        pauses in prop::collection::vec(1i64..400, 50..400),
        stall in 0i64..100_000,
    ) {
        let limits = Limits::for_total(total);
        let mut plan = Plan::new(limits);
        let grids: Vec<Grid> = (0..targets).map(|n| {
            let key = format!("t{n}");
            let grid = every(1 + (n as u64 % 3), &key);
            add(&mut plan, &key, grid, &format!("h{}", n % hosts));
            grid
        }).collect();
        plan.hold(&all_shards(), 0);
        let mut left: HashMap<(usize, i64), usize> = HashMap::new();
        let mut under_way: Vec<(i64, usize, Slot, bool, bool)> = Vec::new();
        let (mut now, mut started) = (0i64, 0usize);
        let middle = pauses.len() / 2;
        let mut run = |plan: &mut Plan, now: i64, under_way: &mut Vec<(i64, usize, Slot, bool, bool)>| {
            let mut steps = Vec::new();
            under_way.retain(|(until, target, slot, slow, timed_out)| {
                if *until <= now {
                    let ended = Ended { target: *target, slot: *slot, slow: *slow, timed_out: *timed_out };
                    plan.finished(ended, now, &mut steps);
                }
                *until > now
            });
            plan.advance(now, &mut steps);
            for step in steps {
                match step {
                    Step::Start { target, slot, slow } => {
                        let (ms, timed_out) = durations[started % durations.len()];
                        started += 1;
                        *left.entry((target, slot.0)).or_default() += 1;
                        under_way.push((now + ms * 1000, target, slot, slow, timed_out));
                    }
                    Step::Missed { target, slot } => *left.entry((target, slot.0)).or_default() += 1,
                    Step::Gap { target, from, to } => {
                        let mut slot = from;
                        while slot < to {
                            *left.entry((target, slot.0)).or_default() += 1;
                            slot = grids[target].next(slot);
                        }
                    }
                }
            }
            prop_assert!(plan.in_flight() <= limits.total);
            prop_assert_eq!(plan.in_flight(), under_way.len());
            Ok(())
        };
        for (index, pause) in pauses.iter().enumerate() {
            now += pause * 1000 + if index == middle { stall * 1000 } else { 0 };
            run(&mut plan, now, &mut under_way)?;
        }
        // Everything that waits gets its place in the end, or is missed.
        for _ in 0..20 {
            now += 3_000_000;
            run(&mut plan, now, &mut under_way)?;
        }
        for (index, grid) in grids.iter().enumerate() {
            let mut slot = grid.at_or_after(0);
            // The newest slot may still be waiting.
            while slot.0 <= now - grid.interval() {
                prop_assert_eq!(left.get(&(index, slot.0)).copied().unwrap_or(0), 1, "target {} slot {:?}", index, slot);
                slot = grid.next(slot);
            }
        }
        let most = left.values().copied().max().unwrap_or(0);
        prop_assert!(most <= 1);
    }
}
