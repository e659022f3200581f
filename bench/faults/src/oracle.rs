//! What was promised, held against what reached the targets.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use common::{Grid, Slot};

use crate::ground::Ground;

/// What became of all slots.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Figures {
    /// Slots due.
    pub(crate) due: usize,
    /// Slots with neither row nor gap.
    pub(crate) lost: usize,
    /// Slots without a verdict, and said so.
    pub(crate) missed: usize,
    /// Of them those that reached the target and were answered.
    pub(crate) untold: usize,
    /// Slots with more than one row.
    pub(crate) dup: usize,
    /// Slots for which the target was asked more than once.
    pub(crate) asked_twice: usize,
    /// Healthy targets called down.
    pub(crate) blame: usize,
    /// The longest that a healthy target was not asked, beyond its interval, seconds.
    pub(crate) blind_s: f64,
    /// Incidents of healthy targets.
    pub(crate) incidents: i64,
    /// How late healthy targets were asked, of a hundred the worst but one, milliseconds.
    pub(crate) lag_p99_ms: f64,
}

/// How far the clock of a worker may be ahead, microseconds.
const AHEAD_US: i64 = 50_000;

struct Row {
    at: i64,
    started: Option<i64>,
    outcome: String,
}

/// Judges every slot before `until_us`.
pub(crate) async fn judge(ground: &Ground, until_us: i64) -> anyhow::Result<Figures> {
    let pool = &ground.pool;
    let since: Vec<(i32, String, i64)> =
        sqlx::query_as("select target_id, key, (extract(epoch from due_since) * 1000000)::int8 from target")
            .fetch_all(pool)
            .await
            .context("reading the targets")?;
    let rows: Vec<(i32, i64, Option<i64>, String)> = sqlx::query_as(
        "select target_id, (extract(epoch from slot_at) * 1000000)::int8,
                (extract(epoch from started_at) * 1000000)::int8, outcome::text from check_result",
    )
    .fetch_all(pool)
    .await
    .context("reading the checks")?;
    let gaps: Vec<(i32, i64, i64)> = sqlx::query_as(
        "select target_id, (extract(epoch from from_at) * 1000000)::int8, (extract(epoch from to_at) * 1000000)::int8 from gap",
    )
    .fetch_all(pool)
    .await
    .context("reading the gaps")?;
    let healthy: Vec<&str> =
        ground.targets.iter().filter(|target| target.is_healthy).map(|target| target.key.as_str()).collect();
    let incidents: i64 = sqlx::query_scalar(
        "select count(*) from incident join endpoint using (endpoint_id) join target using (target_id) where key = any($1)",
    )
    .bind(healthy)
    .fetch_one(pool)
    .await
    .context("reading the incidents")?;

    let mut by_target: BTreeMap<i32, Vec<Row>> = BTreeMap::new();
    for (target, at, started, outcome) in rows {
        by_target.entry(target).or_default().push(Row { at, started, outcome });
    }
    let mut requests: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for request in ground.server.log() {
        let at = request.at_us();
        requests.entry(request.target).or_default().push(at);
    }
    let ids: BTreeMap<&str, (i32, i64)> = since.iter().map(|(id, key, since)| (key.as_str(), (*id, *since))).collect();

    let mut figures = Figures { incidents, ..Figures::default() };
    let mut lags = Vec::new();
    for target in &ground.targets {
        let Some((id, since)) = ids.get(target.key.as_str()).copied() else { continue };
        let rows = by_target.remove(&id).unwrap_or_default();
        let mut slots: BTreeMap<i64, &Row> = BTreeMap::new();
        for row in &rows {
            figures.dup += usize::from(slots.insert(row.at, row).is_some());
            if target.is_healthy {
                figures.blame += usize::from(row.outcome == "down");
                lags.extend(row.started.map(|started| (started - row.at) as f64 / 1000.0));
            }
        }
        let asked = requests.remove(&target.path).unwrap_or_default();
        let mut asked_for = BTreeSet::new();
        for at in &asked {
            let slot = slot_of(target.grid, *at, |slot| {
                slots.get(&slot).filter(|_| !asked_for.contains(&slot)).and_then(|row| row.started)
            });
            // A redirect asks again, and rightly.
            figures.asked_twice += usize::from(!asked_for.insert(slot.0) && target.is_healthy);
        }
        let mut slot = target.grid.at_or_after(since);
        while slot.0 < until_us {
            figures.due += 1;
            let is_in_gap = gaps.iter().any(|(of, from, to)| *of == id && (*from..*to).contains(&slot.0));
            match slots.get(&slot.0) {
                None if !is_in_gap => figures.lost += 1,
                Some(row) if row.outcome != "missed" && row.outcome != "unknown" => {}
                _ => {
                    figures.missed += 1;
                    figures.untold += usize::from(asked_for.contains(&slot.0));
                }
            }
            slot = Slot(target.grid.next(slot).0);
        }
        if target.is_healthy {
            let widest = asked.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
            figures.blind_s = figures.blind_s.max((widest - target.grid.interval()) as f64 / 1e6);
        }
    }
    lags.sort_by(f64::total_cmp);
    figures.lag_p99_ms = lags.get(lags.len().saturating_sub(1) * 99 / 100).copied().unwrap_or(0.0);
    Ok(figures)
}

/// The slot that a request at `at_us` was for. `started` says when the check of a slot began that no request was
/// for yet.
///
/// Nothing starts an interval late, nor before its slot by the database's time, from which a worker's may differ by
/// some milliseconds: just before a slot it may be the one before, and late.
fn slot_of(grid: Grid, at_us: i64, started: impl FnOnce(i64) -> Option<i64>) -> Slot {
    let slot = grid.at_or_after(at_us + AHEAD_US - grid.interval() + 1);
    let before = Slot(slot.0 - grid.interval());
    let is_late = at_us < slot.0 && started(before.0).is_some_and(|started| (at_us - started).abs() <= AHEAD_US);
    if is_late { before } else { slot }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::Interval;

    use super::*;

    #[test]
    fn a_request_just_before_a_slot_is_for_the_one_before_where_that_began_then() -> anyhow::Result<()> {
        let interval = Interval::new(Duration::from_secs(1)).context("an interval")?;
        let grid = Grid::new("a", interval);
        let first = grid.at_or_after(1_000_000_000_000).0;
        let second = first + 1_000_000;
        let nobody = |_| None;
        assert_eq!(slot_of(grid, first + 3_000, nobody).0, first);
        assert_eq!(slot_of(grid, second - 60_000, nobody).0, first);
        // By a clock that is ahead.
        assert_eq!(slot_of(grid, second - 20_000, nobody).0, second);
        let began = |at: i64| move |slot: i64| (slot == first).then_some(at);
        assert_eq!(slot_of(grid, second - 20_000, began(second - 21_000)).0, first);
        assert_eq!(slot_of(grid, second - 20_000, began(first + 1_000)).0, second);
        assert_eq!(slot_of(grid, second, began(second)).0, second);
        Ok(())
    }
}
