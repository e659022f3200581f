//! A model of everything that records, against random fates of its workers.
//!
//! Schedule, leases, back-fill, recorder and SQL are the real ones. Time is not:
//! tokio's clock stands still until it is moved, and Postgres takes `clock_timestamp`
//! from a schema of ours that is searched before its own. So minutes pass in milliseconds
//! and the same scenario always goes the same way.

mod database;
mod expected;
mod scenario;
mod worker;
mod world;

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::FailurePersistence;

use database::Database;
use scenario::{Action, Scenario, TargetPlan};
use world::World;

/// A bound on time as much as a number: each takes about a third of a second.
const CASES: u32 = 48;

fn config(cases: u32) -> ProptestConfig {
    let persistence: Option<Box<dyn FailurePersistence>> = None;
    // PROPTEST_CASES asks for more.
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(cases);
    ProptestConfig { cases, failure_persistence: persistence, max_shrink_iters: 400, ..ProptestConfig::default() }
}

fn targets(seconds: std::ops::RangeInclusive<u64>) -> impl Strategy<Value = Vec<TargetPlan>> {
    let least = *seconds.start();
    let interval = prop_oneof![4 => least..=least + 2, 1 => seconds];
    let target = ("[a-z0-9]{3}", interval, 1u64..=30, 0u8..3);
    prop::collection::vec(target, 1..7).prop_map(|targets| {
        let plan = |(key, seconds, tenths, host): (String, u64, u64, u8)| TargetPlan {
            key,
            interval_ms: seconds * 1000,
            timeout_ms: (tenths * 100).min(seconds * 1000),
            host,
        };
        let mut targets: Vec<_> = targets.into_iter().map(plan).collect();
        targets.sort_by(|a, b| a.key.cmp(&b.key));
        targets.dedup_by(|a, b| a.key == b.key);
        targets
    })
}

fn any_fate() -> impl Strategy<Value = Action> {
    let worker = 0usize..3;
    prop_oneof![
        4 => Just(Action::Start),
        3 => worker.clone().prop_map(Action::Stop),
        2 => worker.clone().prop_map(|worker| Action::Crash { worker, spooled_s: None }),
        2 => (worker.clone(), 0u64..40).prop_map(|(worker, late)| Action::Crash { worker, spooled_s: Some(late) }),
        2 => (worker.clone(), 1u64..20).prop_map(|(worker, seconds)| Action::Pause { worker, seconds }),
        1 => (worker.clone(), 60u64..90).prop_map(|(worker, seconds)| Action::Pause { worker, seconds }),
        2 => (worker.clone(), 1u64..20).prop_map(|(worker, seconds)| Action::Cut { worker, seconds }),
        2 => worker.clone().prop_map(Action::LoseAnswerToFlush),
        2 => worker.clone().prop_map(Action::LoseAnswerToRound),
        2 => worker.clone().prop_map(Action::CutInHandOver),
        2 => worker.clone().prop_map(Action::StopInHandOver),
        1 => (60u64..120).prop_map(|seconds| Action::Silence { seconds }),
        1 => Just(Action::KeepHouse),
        1 => Just(Action::HarmSpool),
    ]
}

/// Nothing that may cost a slot: workers come and go, and a round or a flush fails now and then.
fn calm_fate() -> impl Strategy<Value = Action> {
    let worker = 0usize..3;
    prop_oneof![
        4 => Just(Action::Start),
        3 => worker.clone().prop_map(Action::StopInPeace),
        2 => worker.clone().prop_map(|worker| Action::Cut { worker, seconds: 1 }),
        2 => worker.clone().prop_map(Action::LoseAnswerToFlush),
        2 => worker.clone().prop_map(Action::CutInHandOver),
        2 => worker.prop_map(Action::StopInHandOver),
    ]
}

fn scenario(
    targets: impl Strategy<Value = Vec<TargetPlan>>,
    places: impl Strategy<Value = usize>,
    fate: impl Strategy<Value = Action>,
) -> impl Strategy<Value = Scenario> {
    // Some blows fall together.
    let ticks = prop_oneof![3 => 1u64..80, 2 => 1u64..8];
    let steps = prop::collection::vec((ticks, fate), 1..12);
    let seed = any::<u64>().no_shrink();
    (targets, places, steps, seed).prop_map(|(targets, places, steps, seed)| Scenario { targets, places, steps, seed })
}

/// Plays a scenario to its end, and then lets one worker settle what is open.
fn play(database: &Database, scenario: &Scenario, judge: impl AsyncFnOnce(&mut World)) {
    in_virtual_time(async {
        let mut world = World::new(database, scenario).await;
        world.act(Action::Start).await;
        for (ticks, action) in &scenario.steps {
            world.run(*ticks).await;
            world.act(*action).await;
        }
        world.settle().await;
        judge(&mut world).await;
    });
}

/// Runs a test in time that stands still until it is moved. A new runtime for each, so
/// that none sees another's time.
fn in_virtual_time(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    // Paused time jumps ahead when all are waiting, also for Postgres; not while somebody blocks.
    let (_done, done) = std::sync::mpsc::channel::<()>();
    runtime.spawn_blocking(move || done.recv());
    runtime.block_on(test);
}

/// Some targets, and nobody who probes them yet.
fn due_every(seconds: u64) -> Scenario {
    let target = |key: char| TargetPlan { key: key.into(), interval_ms: seconds * 1000, timeout_ms: 100, host: 0 };
    Scenario { targets: ('a'..='z').map(target).collect(), places: 100, steps: vec![], seed: 1 }
}

#[test]
fn a_shard_taken_in_the_middle_of_a_stop_is_left_as_it_was_found() {
    let database = Database::new();
    in_virtual_time(async {
        let mut world = World::new(&database, &due_every(5)).await;
        world.act(Action::Start).await;
        world.act(Action::Start).await;
        world.run(40).await;
        // What the first one gives back is free for a while, until the second takes it as it stops.
        world.act(Action::Pause { worker: 1, seconds: 1 }).await;
        world.stop_this(0, false, false).await;
        world.run(9).await;
        world.act(Action::Pause { worker: 0, seconds: 0 }).await;
        world.stop_this(0, false, true).await;
        world.run(3).await;
        world.settle().await;
        world.check_every_slot_is_counted_once().await;
        assert_eq!(world.expected.missed(), Vec::<&common::Check>::new());
    });
}

#[test]
fn a_worker_that_wakes_without_its_leases_starts_nothing_of_its_old_tenure() {
    let database = Database::new();
    in_virtual_time(async {
        let mut world = World::new(&database, &due_every(1)).await;
        world.act(Action::Start).await;
        world.run(20).await;
        world.act(Action::Pause { worker: 0, seconds: 10 }).await;
        world.act(Action::Start).await;
        world.run(100).await;
        let before = world.starts_of("w0");
        assert!(before > 0 && world.starts_of("w1") > 0);
        // The leases wake first: they hear that all is somebody else's.
        world.wake_leases_first(0).await;
        assert_eq!(world.starts_of("w0"), before);
    });
}

#[test]
fn the_next_worker_of_a_directory_begins_at_once_where_the_dead_one_ended() {
    let database = Database::new();
    in_virtual_time(async {
        let mut world = World::new(&database, &due_every(2)).await;
        world.act(Action::Start).await;
        world.run(20).await;
        while !world.is_written(0) {
            world.run(1).await;
        }
        let rows = world.rows().await;
        world.act(Action::Crash { worker: 0, spooled_s: None }).await;
        world.act(Action::Start).await;
        // Three seconds, where leases last five.
        world.run(32).await;
        assert!(world.starts_of("w1") >= 26, "{}", world.starts_of("w1"));
        assert_eq!(world.starts_again(&rows, "w1"), Vec::<&world::Start>::new());
        world.settle().await;
        world.check_every_slot_is_counted_once().await;
    });
}

#[test]
fn a_target_that_turns_faster_just_when_its_shard_is_taken_is_asked_by_its_new_grid() {
    let database = Database::new();
    in_virtual_time(async {
        let mut world = World::new(&database, &due_every(3_600)).await;
        world.act(Action::Start).await;
        // The leases have named a first slot, which is some time in the next hour.
        world.run(2).await;
        let before = world.starts_of("w0");
        world.turn_faster(0, 0).await;
        world.run(30).await;
        assert!(world.starts_of("w0") >= before + 2, "{} {before}", world.starts_of("w0"));
    });
}

#[test]
fn every_due_slot_ends_as_one_outcome_or_in_a_gap_whatever_becomes_of_the_workers() {
    let database = Database::new();
    let (verdicts, lost, in_gaps) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let add = |sum: &Cell<usize>, more| sum.set(sum.get() + more);
    proptest!(config(CASES), |(scenario in scenario(targets(1..=30), 1usize..7, any_fate()))| {
        play(&database, &scenario, async |world| {
            world.check_rows().await;
            world.check_starts();
            add(&in_gaps, world.check_every_slot_is_counted_once().await);
            world.check_rollups().await;
            add(&verdicts, world.expected.verdicts());
            add(&lost, world.expected.rows() - world.expected.verdicts());
        });
    });
    // Scenarios in which nothing happens would prove nothing.
    let seen = (verdicts.get(), lost.get(), in_gaps.get());
    assert!(seen.0 > 0 && seen.1 > 0 && seen.2 > 0, "{seen:?}");
}

#[test]
fn while_workers_only_come_and_go_no_slot_is_missed_or_asked_twice() {
    let database = Database::new();
    // Shorter intervals leave no room: a shard may lie idle while its next holder is cut off.
    proptest!(config(CASES), |(scenario in scenario(targets(3..=30), Just(100), calm_fate()))| {
        play(&database, &scenario, async |world| {
            world.check_rows().await;
            let in_gaps = world.check_every_slot_is_counted_once().await;
            assert_eq!((world.expected.missed(), in_gaps), (vec![], 0), "missed");
            assert!(world.asked_twice().is_empty(), "asked twice: {:?}", world.asked_twice());
        });
    });
}

#[test]
fn a_worker_that_wakes_and_loses_the_answer_to_its_round_gives_nothing_away_before_it_knows() {
    let database = Database::new();
    let target = |key: &str| TargetPlan { key: key.into(), interval_ms: 2000, timeout_ms: 100, host: 0 };
    let steps = vec![
        (42, Action::Pause { worker: 0, seconds: 60 }),
        (11, Action::LoseAnswerToRound(0)),
        (30, Action::Pause { worker: 0, seconds: 1 }),
        (7, Action::Start),
    ];
    let targets = vec![target("1a1"), target("i21")];
    let scenario = Scenario { targets, places: 1, steps, seed: 11716326166697993535 };
    play(&database, &scenario, async |world| {
        world.check_rows().await;
        world.check_every_slot_is_counted_once().await;
    });
}
