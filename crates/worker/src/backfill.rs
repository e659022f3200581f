//! What nobody did: slots between the last holder of a shard and us.
//!
//! Whoever takes a shard over accounts for every slot since its rows were last
//! complete. A slot less than an interval old is probed late; older ones become
//! `missed` rows, and more than 60 in a row one gap, so that a night without
//! workers costs one row a target. Slots that the last holder promised to see to
//! when it handed the shard over are looked at again once it must be done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::target::micros_to_utc;
use common::{Check, Grid, Shard, Slot, TargetId};
use store::batches::{Gap, GapReason};
use store::leases::Taken;
use store::{PgConnection, StoreError, checks};
use tracing::info;

use crate::plan::{First, MAX_MISSED_ROWS};
use crate::recorder::Intake;
use crate::spool::KeyHash;
use crate::stats::Stats;

/// What the last holder needs to write its results, once its probes have ended.
const WRITING: Duration = Duration::from_secs(2);

/// A target as far as its slots go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Its row.
    pub target_id: TargetId,
    /// What its key comes to.
    pub key: KeyHash,
    /// Its shard.
    pub shard: Shard,
    /// Its slots.
    pub grid: Grid,
    /// How long one check may take.
    pub timeout: Duration,
    /// No slot before this was due, microseconds since the epoch.
    pub since_us: i64,
}

/// Slots of one target, `[from_us, until_us)`, that may have no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// As it was then: the list may change before the span is looked at.
    target: Due,
    from_us: i64,
    until_us: i64,
}

impl Span {
    /// Where it begins, microseconds since the epoch.
    pub fn from_us(&self) -> i64 {
        self.from_us
    }
}

/// All slots of targets from `first_us` to `last_us`, both included.
pub fn spans(targets: &[Due], (first_us, last_us): (i64, i64)) -> Vec<Span> {
    let span = |target: &Due| Span {
        from_us: first_us.max(target.since_us),
        until_us: last_us.saturating_add(1),
        target: *target,
    };
    targets.iter().map(span).filter(|span| span.from_us < span.until_us).collect()
}

/// What taking shards over comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Takeover {
    /// Where to begin.
    pub first: BTreeMap<TargetId, First>,
    /// To be looked at now.
    pub now: Vec<Span>,
    /// To be looked at when the last holder must be done.
    pub later: Vec<Span>,
    /// How long that is.
    pub patience: Duration,
}

/// A stretch of slots without rows, `[from, to)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    from: Slot,
    to: Slot,
    slots: i64,
}

/// Splits the past of shards taken at `now_us` into what is begun, looked at now, and later.
///
/// The past of a shard nobody ever held begins with its targets.
pub fn plan(targets: &[Due], taken: &[&Taken], now_us: i64) -> Takeover {
    let by_shard: BTreeMap<Shard, &Taken> = taken.iter().map(|lease| (lease.shard, *lease)).collect();
    let mut takeover = Takeover::default();
    for target in targets {
        let Some(lease) = by_shard.get(&target.shard) else { continue };
        // What is ahead of us, nobody can have watched.
        let complete_us = lease.complete_until.map_or(target.since_us, |until| until.timestamp_micros().min(now_us));
        let from_us = complete_us.max(target.since_us);
        let ours_us = lease.released_at.map_or(from_us, |released| released.timestamp_micros().max(from_us));
        // Later than an interval after its slot nothing starts.
        let youngest_lost_us = now_us - target.grid.interval();
        let first = target.grid.at_or_after(ours_us.max(youngest_lost_us + 1));
        takeover.first.insert(target.target_id, First { grid: target.grid, slot: first });
        if target.grid.at_or_after(ours_us) < first {
            takeover.now.push(Span { target: *target, from_us: ours_us, until_us: first.0 });
        }
        if target.grid.at_or_after(from_us).0 < ours_us {
            takeover.later.push(Span { target: *target, from_us, until_us: ours_us });
            takeover.patience = takeover.patience.max(target.timeout + WRITING);
        }
    }
    takeover
}

/// Begins after the slots at which `first` begins and that have a row: of these the last holder could not say any
/// more that they are done.
///
/// # Errors
/// Whatever Postgres reports; nothing is changed then.
pub async fn skip_recorded(
    connection: &mut PgConnection,
    first: &mut BTreeMap<TargetId, First>,
    now_us: i64,
) -> Result<(), StoreError> {
    let due: Vec<_> = first.iter().filter(|(_, first)| first.slot.0 <= now_us).collect();
    let due: Vec<_> = due.into_iter().map(|(id, first)| (*id, micros_to_utc(first.slot.0))).collect();
    if due.is_empty() {
        return Ok(());
    }
    for id in checks::recorded(connection, &due).await? {
        if let Some(first) = first.get_mut(&id) {
            first.slot = first.grid.next(first.slot);
        }
    }
    Ok(())
}

/// Hands every slot of `spans` that has no row to the intake, as missed or as part of a gap.
///
/// # Errors
/// Whatever Postgres reports; nothing is handed over then.
pub async fn account(
    connection: &mut PgConnection,
    spans: &[Span],
    intake: &Intake,
    stats: &Stats,
) -> Result<(), StoreError> {
    let (Some(from_us), Some(until_us)) =
        (spans.iter().map(|span| span.from_us).min(), spans.iter().map(|span| span.until_us).max())
    else {
        return Ok(());
    };
    let ids: Vec<TargetId> = spans.iter().map(|span| span.target.target_id).collect();
    let mut recorded: BTreeMap<TargetId, BTreeSet<i64>> = BTreeMap::new();
    for (target, slot_at) in
        checks::recorded_slots(connection, &ids, micros_to_utc(from_us), micros_to_utc(until_us)).await?
    {
        recorded.entry(target).or_default().insert(slot_at.timestamp_micros());
    }

    let mut lost = 0;
    for span in spans {
        let target = &span.target;
        let rows = recorded.remove(&target.target_id).unwrap_or_default();
        for stretch in stretches(target.grid, span.from_us, span.until_us, &rows) {
            lost += stretch.slots;
            if stretch.slots > MAX_MISSED_ROWS {
                intake.push_gap(Gap {
                    target_id: target.target_id,
                    from_us: stretch.from.0,
                    to_us: stretch.to.0,
                    reason: GapReason::NoWorker,
                });
            } else {
                let mut slot = stretch.from;
                while slot < stretch.to {
                    intake.push(Check::missed(target.target_id, slot));
                    slot = target.grid.next(slot);
                }
            }
        }
    }
    if lost > 0 {
        stats.add_missed(lost.unsigned_abs());
        let since = micros_to_utc(from_us);
        match intake.spool_depth() {
            0 => info!(slots = lost, "nobody watched since {since}; recorded as missed"),
            waiting => {
                info!(
                    slots = lost,
                    waiting, "nobody watched since {since}, but for what waits on disk; recorded as missed"
                );
            }
        }
    }
    Ok(())
}

/// The slots of `grid` in `[from_us, until_us)` that are not in `rows`, as the
/// longest possible stretches.
fn stretches(grid: Grid, from_us: i64, until_us: i64, rows: &BTreeSet<i64>) -> Vec<Stretch> {
    let mut found = Vec::new();
    let mut from = grid.at_or_after(from_us);
    let end = grid.at_or_after(until_us);
    // Each recorded slot ends a stretch; so does the end.
    let on_grid = rows.range(from.0..end.0).map(|row| Slot(*row)).filter(|row| grid.contains(*row));
    for to in on_grid.chain([end]) {
        let slots = (to.0 - from.0) / grid.interval();
        if slots > 0 {
            found.push(Stretch { from, to, slots });
        }
        from = grid.next(to);
    }
    found
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::Interval;
    use proptest::prelude::*;

    use super::*;

    fn target(key: &str) -> Due {
        Due {
            target_id: TargetId(1),
            key: KeyHash::of(key),
            shard: Shard::of(key),
            grid: Grid::new(key, Interval::new(Duration::from_secs(1)).unwrap()),
            timeout: Duration::from_secs(1),
            since_us: 0,
        }
    }

    fn taken(complete_us: Option<i64>, released_us: Option<i64>) -> Taken {
        Taken {
            shard: Shard::of("a"),
            epoch: 2,
            complete_until: complete_us.map(micros_to_utc),
            released_at: released_us.map(micros_to_utc),
        }
    }

    #[test]
    fn the_past_of_a_shard_nobody_ever_held_begins_with_its_targets() {
        let grid = target("a").grid;
        let added_us = grid.at_or_after(8_000_000).0 - 1;
        let targets = [Due { since_us: added_us, ..target("a") }];
        let at_once = plan(&targets, &[&taken(None, None)], added_us + 500_000);
        assert_eq!((at_once.first[&TargetId(1)].slot.0, at_once.now), (added_us + 1, vec![]));
        let late = plan(&targets, &[&taken(None, None)], added_us + 1_500_000);
        assert_eq!(late.now, [Span { target: targets[0], from_us: added_us, until_us: added_us + 1_000_001 }]);
    }

    #[test]
    fn after_a_crash_the_youngest_slot_is_probed_late_and_older_ones_are_lost() {
        let grid = target("a").grid;
        let takeover = plan(&[target("a")], &[&taken(Some(1_000_000), None)], 9_500_000);
        let first = takeover.first[&TargetId(1)].slot;
        assert!(grid.contains(first) && first.0 > 8_500_000 && first.0 <= 9_500_000, "{first:?}");
        assert_eq!(takeover.now, [Span { target: target("a"), from_us: 1_000_000, until_us: first.0 }]);
        assert_eq!(takeover.later, []);
    }

    #[test]
    fn nothing_counts_as_done_that_is_ahead() {
        let grid = target("a").grid;
        let takeover = plan(&[target("a")], &[&taken(Some(3_600_000_000), None)], 9_500_000);
        assert_eq!(takeover.first[&TargetId(1)].slot, grid.at_or_after(9_500_000));
        assert_eq!((takeover.now, takeover.later), (vec![], vec![]));
    }

    #[test]
    fn after_a_hand_over_nothing_is_lost_and_the_last_holder_gets_time_to_finish() {
        let takeover = plan(&[target("a")], &[&taken(Some(5_000_000), Some(9_000_000))], 9_100_000);
        assert_eq!(takeover.first[&TargetId(1)].slot, target("a").grid.at_or_after(9_000_000));
        assert_eq!(takeover.now, []);
        assert_eq!(takeover.later, [Span { target: target("a"), from_us: 5_000_000, until_us: 9_000_000 }]);
        assert_eq!(takeover.patience, Duration::from_secs(3));
    }

    proptest! {
        #[test]
        fn stretches_are_exactly_the_slots_without_a_row(
            key in "[a-z]{1,8}",
            seconds in 1u64..5,
            from in 0i64..10_000_000,
            length in 0i64..60_000_000,
            present in prop::collection::btree_set(0i64..70, 0..40),
        ) {
            let grid = Grid::new(&key, Interval::new(Duration::from_secs(seconds)).unwrap());
            let origin = grid.at_or_after(0).0;
            let rows: BTreeSet<i64> = present.iter().map(|n| origin + n * grid.interval()).collect();
            let mut expected = BTreeSet::new();
            let mut slot = grid.at_or_after(from);
            while slot.0 < from + length {
                if !rows.contains(&slot.0) {
                    expected.insert(slot.0);
                }
                slot = grid.next(slot);
            }
            let mut got = BTreeSet::new();
            let mut last_end = i64::MIN;
            for stretch in stretches(grid, from, from + length, &rows) {
                prop_assert!(stretch.from.0 > last_end, "stretches are apart");
                last_end = stretch.to.0;
                let mut slot = stretch.from;
                for _ in 0..stretch.slots {
                    prop_assert!(got.insert(slot.0));
                    slot = grid.next(slot);
                }
                prop_assert_eq!(slot, stretch.to);
            }
            prop_assert_eq!(got, expected);
        }
    }
}
