//! What nobody did: slots between the last holder of a shard and us.
//!
//! Whoever takes a shard over accounts for every slot since its rows were last
//! complete: up to 60 in a row become `missed` rows, a longer stretch one gap, so
//! that a night without workers costs one row a target.

use std::collections::{BTreeMap, BTreeSet};

use common::target::micros_to_utc;
use common::{Check, Grid, Shard, Slot, TargetId};
use store::batches::{Gap, GapReason};
use store::leases::Taken;
use store::{PgConnection, StoreError, checks};
use tracing::info;

use crate::plan::MAX_MISSED_ROWS;
use crate::recorder::Intake;
use crate::stats::Stats;

/// A target as far as its slots go.
#[derive(Debug, Clone, Copy)]
pub struct Due {
    /// Its row.
    pub target_id: TargetId,
    /// Its shard.
    pub shard: Shard,
    /// Its slots.
    pub grid: Grid,
    /// No slot before this was due, microseconds since the epoch.
    pub since_us: i64,
}

/// A stretch of slots without rows, `[from, to)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    from: Slot,
    to: Slot,
    slots: i64,
}

/// Hands every slot of the shards just taken that lies before `until_us` and has
/// no row to the intake, as missed or as part of a gap.
///
/// # Errors
/// Whatever Postgres reports; nothing is handed over then.
pub async fn account(
    connection: &mut PgConnection,
    targets: &[Due],
    taken: &[&Taken],
    until_us: i64,
    intake: &Intake,
    stats: &Stats,
) -> Result<(), StoreError> {
    // A shard nobody ever held has nothing to account for.
    let complete_until: BTreeMap<Shard, i64> =
        taken.iter().filter_map(|lease| Some((lease.shard, lease.complete_until?.timestamp_micros()))).collect();
    let unwatched: Vec<(&Due, i64)> = targets
        .iter()
        .filter_map(|target| Some((target, *complete_until.get(&target.shard)?)))
        .map(|(target, complete_us)| (target, complete_us.max(target.since_us)))
        .filter(|(target, from_us)| target.grid.at_or_after(*from_us).0 < until_us)
        .collect();
    let Some(earliest) = unwatched.iter().map(|(_, from_us)| *from_us).min() else { return Ok(()) };
    let ids: Vec<TargetId> = unwatched.iter().map(|(target, _)| target.target_id).collect();
    let mut recorded: BTreeMap<TargetId, BTreeSet<i64>> = BTreeMap::new();
    for (target, slot_at) in
        checks::recorded_slots(connection, &ids, micros_to_utc(earliest), micros_to_utc(until_us)).await?
    {
        recorded.entry(target).or_default().insert(slot_at.timestamp_micros());
    }

    let mut lost = 0;
    for (target, from_us) in unwatched {
        let rows = recorded.remove(&target.target_id).unwrap_or_default();
        for stretch in stretches(target.grid, from_us, until_us, &rows) {
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
        info!(slots = lost, "nobody watched since {}; recorded as missed", micros_to_utc(earliest));
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
