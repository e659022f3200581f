//! The whole fleet as of one moment, to search, sort and draw. It never changes, so
//! that any number of requests read it while the next one is made.

use std::cmp::Ordering;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::known::Known;
use super::list::List;
use super::map::Map;
use super::table::{PAGE, Query, Sort, Table, TableRow};
use crate::answer::{Moment, milliseconds, tagged};
use crate::routes::targets::TargetState;

/// A target of a sheet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) known: Known,
    pub(super) state: TargetState,
}

impl Entry {
    /// The failed share of the last five minutes; `None` without a verdict.
    fn failed(&self) -> Option<f64> {
        let failed = self.known.failed;
        (failed.short_total > 0).then(|| failed.short_bad as f64 / failed.short_total as f64)
    }

    /// The worst first.
    fn rank(&self) -> u8 {
        match self.state {
            TargetState::Down => 0,
            TargetState::Degraded => 1,
            TargetState::Unknown => 2,
            TargetState::Up => 3,
        }
    }
}

/// Every target as of one moment.
pub(crate) struct Sheet {
    as_of: DateTime<Utc>,
    list: Arc<List>,
    entries: Vec<Entry>,
    /// There is an hour of each target to tell.
    has_hour: bool,
    /// Places in the orders that differ from sheet to sheet, once somebody asked.
    sorted: [OnceLock<Vec<u32>>; 4],
    map: OnceLock<(Bytes, String)>,
}

impl Sheet {
    pub(super) fn new(as_of: DateTime<Utc>, list: Arc<List>, entries: Vec<Entry>, has_hour: bool) -> Self {
        Self { as_of, list, entries, has_hour, sorted: Default::default(), map: OnceLock::new() }
    }

    /// Places in this order; between equals names decide, then keys.
    fn order(&self, sort: Sort) -> &[u32] {
        let by = |slot: usize, order: fn(&Entry, &Entry) -> Ordering| {
            self.sorted[slot].get_or_init(|| {
                let mut places = self.list.by_name().to_vec();
                places.sort_by(|a, b| order(&self.entries[*a as usize], &self.entries[*b as usize]));
                places
            })
        };
        match sort {
            Sort::Name => self.list.by_name(),
            Sort::Group => self.list.by_group(),
            Sort::State => by(0, |a, b| a.rank().cmp(&b.rank())),
            Sort::Failed => by(1, |a, b| b.failed().partial_cmp(&a.failed()).unwrap_or(Ordering::Equal)),
            Sort::Slow => by(2, |a, b| b.known.elapsed_us().cmp(&a.known.elapsed_us())),
            Sort::Age => by(3, |a, b| a.known.checked_at().cmp(&b.known.checked_at())),
        }
    }

    /// One page of the targets that fit. Takes milliseconds for tens of thousands.
    pub(crate) fn table(&self, query: &Query) -> Table {
        let words: Vec<_> = query.q.to_lowercase().split_whitespace().map(str::to_owned).collect();
        let label = query.label.split_once(':');
        let fits = |place: &u32| {
            let place = *place as usize;
            query.state.is_none_or(|state| self.entries[place].state == state)
                && label.is_none_or(|label| {
                    self.list.targets[place].labels.iter().any(|(name, value)| (name.as_str(), value.as_str()) == label)
                })
                && (words.is_empty() || {
                    let text = &self.list.words()[place];
                    words.iter().all(|word| text.contains(word.as_str()))
                })
        };
        let found: Vec<u32> = self.order(query.sort).iter().copied().filter(fits).collect();
        let pages = found.len().div_ceil(PAGE).max(1);
        let page = query.page.clamp(1, pages);
        let shown = found.iter().skip((page - 1) * PAGE).take(PAGE);
        Table {
            as_of: self.as_of.into(),
            total: self.entries.len(),
            found: found.len(),
            page,
            pages,
            page_size: PAGE,
            rows: shown.map(|place| self.row(*place as usize)).collect(),
        }
    }

    fn row(&self, place: usize) -> TableRow {
        let (of, Entry { known, state }) = (&self.list.targets[place], &self.entries[place]);
        TableRow {
            key: of.key.clone(),
            name: of.name.clone(),
            url: of.url.clone(),
            group: self.list.groups[of.group].clone(),
            state: *state,
            cause: known.cause(*state),
            code: known.code(),
            elapsed_ms: known.elapsed_us().map(milliseconds),
            checked_at: known.checked_at().map(Moment::from),
            failed_5m: known.failed_5m(),
            failed_1h: self.has_hour.then(|| known.failed_1h()),
            interval_ms: of.interval_ms,
            labels: of.labels.iter().cloned().collect(),
        }
    }

    /// The map of all targets as an answer, and its entity tag.
    pub(crate) fn map(&self) -> &(Bytes, String) {
        self.map.get_or_init(|| {
            let places = self.list.by_group().iter().map(|place| *place as usize);
            let cells = places.map(|place| (self.list.targets[place].group, &self.entries[place]));
            let map = Map::new(self.as_of, &self.list.groups, cells);
            tagged(serde_json::to_vec(&map).unwrap_or_default())
        })
    }
}
