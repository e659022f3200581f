//! The fleet in memory: read once, then brought up to date batch by batch.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use common::TargetId;
use store::fleet;
use store::incidents::{self, Wanted};
use store::windows::{self, Scope, Which};
use store::{PgConnection, events};
use tokio::time::Instant;

use super::aged::Aged;
use super::groups::Group;
use super::health::{Health, health};
use super::known::{Known, Since};
use super::list::{List, Listed};
use super::series::{SERIES, Series, series};
use super::sheet::{Entry, Sheet};
use super::types::{Mark, Overview, Row, States};
use crate::answer::{Moment, milliseconds};
use crate::counts;
use crate::error::ApiError;
use crate::routes::incidents::Incident;
use crate::routes::targets::{TargetState, WINDOWS, Window};
use crate::state::{PATIENCE, within};

/// With more targets than this there are groups instead of rows.
const MOST_ROWS: usize = 500;

/// Incidents, and changes, at most.
const MOST_MARKS: i64 = 100;

/// Targets that are read in one statement at most, so that none takes long however many there are.
const PART: usize = 2_500;

/// After which time the newest verdicts are read anew, although none seemed to be missed.
const RELOAD: Duration = Duration::from_secs(60);

/// What is read together: of which targets, and when next.
struct Part {
    places: Range<usize>,
    newest: Aged<()>,
    failed: Aged<()>,
}

/// The fleet, as far as it has been read. Whatever fails or is cut off, what was read before it stays.
#[derive(Default)]
pub(crate) struct Fleet {
    pub(super) list: Arc<List>,
    /// Of each target of the list.
    pub(super) known: Vec<Known>,
    pub(super) since: Vec<Since>,
    ids: Vec<i32>,
    places: HashMap<TargetId, usize>,
    parts: Vec<Part>,
    version: Option<(i64, Option<DateTime<Utc>>)>,
    looked: Aged<()>,
    windows: [Aged<Window>; WINDOWS.len()],
    series: Aged<Series>,
    groups: Aged<Vec<Group>>,
    changes: Aged<Vec<Mark>>,
    health: Aged<Health>,
}

impl Fleet {
    /// Brings it up to date by what was stored in these batches; `None` where some may have been missed.
    pub(crate) async fn follow(
        &mut self,
        connection: &mut PgConnection,
        batches: Option<&[i64]>,
    ) -> Result<(), ApiError> {
        if batches.is_none() {
            self.parts.iter_mut().for_each(|part| part.newest.forget());
            self.looked.forget();
        }
        if self.looked.is_due() {
            let begun = Instant::now();
            // First the version: a change in between is found at the next look.
            let version = within(PATIENCE, async { Ok(fleet::version(connection).await?) }).await?;
            if self.version != Some(version) {
                let targets = within(PATIENCE, async { Ok(fleet::targets(connection).await?) }).await?;
                self.list(List::new(targets));
                self.version = Some(version);
            }
            self.looked.set((), begun, Duration::from_secs(1));
        }
        let batches = batches.unwrap_or_default();
        if !batches.is_empty() {
            let verdicts = within(PATIENCE, async { Ok(fleet::verdicts(connection, batches).await?) }).await;
            if verdicts.is_err() {
                self.parts.iter_mut().for_each(|part| part.newest.forget());
            }
            for verdict in verdicts? {
                // Those of targets that are no longer probed, or not yet known, are left to the next look.
                if let Some(place) = self.places.get(&verdict.target_id) {
                    self.known[*place].apply(&verdict, &mut self.since[*place]);
                }
            }
        }
        Ok(())
    }

    /// Another list of targets. Those that were known stay so until they are read.
    fn list(&mut self, list: List) {
        let ids: Vec<_> = list.targets.iter().map(|target| target.target_id).collect();
        let before: Vec<_> = ids.iter().map(|id| self.places.get(id).copied()).collect();
        self.known = before.iter().map(|place| place.map_or_else(Known::default, |place| self.known[place])).collect();
        self.since = before.iter().map(|place| place.and_then(|place| self.since[place])).collect();
        self.places = ids.iter().enumerate().map(|(place, id)| (*id, place)).collect();
        let part = |from| Part {
            places: from..(from + PART).min(ids.len()),
            newest: Aged::default(),
            failed: Aged::default(),
        };
        self.parts = (0..ids.len()).step_by(PART).map(part).collect();
        self.ids = ids.into_iter().map(|id| id.0).collect();
        self.groups = Aged::default();
        self.list = Arc::new(list);
    }

    fn is_small(&self) -> bool {
        self.ids.len() <= MOST_ROWS
    }

    /// Every target with its state at `now`.
    pub(super) fn each(&self, now: DateTime<Utc>) -> impl Iterator<Item = (&Listed, &Known, TargetState)> {
        self.list.targets.iter().zip(&self.known).map(move |(of, known)| (of, known, known.state(of, now)))
    }

    /// Reads the newest verdicts where they are not known, and now and then of one part where they are.
    async fn read_newest(&mut self, connection: &mut PgConnection, now: DateTime<Utc>) -> Result<(), ApiError> {
        let mut renewed = 0;
        for part in &mut self.parts {
            let is_known = part.newest.value.is_some();
            if !part.newest.is_due() || (is_known && renewed > 0) {
                continue;
            }
            renewed += usize::from(is_known);
            let begun = Instant::now();
            let ids = &self.ids[part.places.clone()];
            let found = within(PATIENCE, async { Ok(fleet::newest(connection, ids, now).await?) }).await?;
            let found: HashMap<_, _> = found.iter().map(|verdict| (verdict.target_id, verdict.into())).collect();
            for place in part.places.clone() {
                let newest = found.get(&TargetId(self.ids[place])).copied();
                self.known[place].replace(newest, &mut self.since[place]);
            }
            part.newest.set((), begun, RELOAD);
        }
        Ok(())
    }

    async fn read_failed(&mut self, connection: &mut PgConnection, now: DateTime<Utc>) -> Result<(), ApiError> {
        let is_small = self.is_small();
        let minute = now.duration_trunc(TimeDelta::minutes(1)).unwrap_or(now);
        let short = minute - TimeDelta::minutes(5);
        // An hour of a large fleet would be millions of minutes, and no row shows it.
        let long = if is_small { minute - TimeDelta::hours(1) } else { short };
        let least = if is_small { Duration::ZERO } else { Duration::from_secs(10) };
        let mut renewed = 0;
        for part in &mut self.parts {
            let is_known = part.failed.value.is_some();
            // A few at a time: all of them together within the ten seconds, and none of it noticed.
            if !part.failed.is_due() || (is_known && renewed > 2) {
                continue;
            }
            renewed += usize::from(is_known);
            let begun = Instant::now();
            let ids = (!is_small).then(|| &self.ids[part.places.clone()]);
            let found = within(PATIENCE, async { Ok(fleet::failed(connection, ids, long, short, now).await?) }).await?;
            let found: HashMap<_, _> = found.into_iter().collect();
            for place in part.places.clone() {
                self.known[place].failed = found.get(&TargetId(self.ids[place])).copied().unwrap_or_default();
            }
            part.failed.set((), begun, least);
        }
        Ok(())
    }

    /// What the page shows at `now`.
    ///
    /// # Errors
    /// 503 when a statement takes too long; the next try goes on where this one ended.
    pub(crate) async fn overview(
        &mut self,
        connection: &mut PgConnection,
        now: DateTime<Utc>,
    ) -> Result<Overview, ApiError> {
        self.read_newest(connection, now).await?;
        self.read_failed(connection, now).await?;
        self.read_windows(connection, now).await?;
        within(PATIENCE, self.read_series(connection, now)).await?;
        within(PATIENCE, self.read_rest(connection, now)).await?;
        within(PATIENCE, self.compose(connection, now)).await
    }

    async fn read_windows(&mut self, connection: &mut PgConnection, now: DateTime<Utc>) -> Result<(), ApiError> {
        if !self.windows.iter().any(Aged::is_due) {
            return Ok(());
        }
        let (scope, hours_until) = within(PATIENCE, async {
            let scope = windows::scope(connection, Which::Fleet).await?.unwrap_or_else(Scope::nothing);
            Ok((scope, store::rollups::done_until(connection).await?))
        })
        .await?;
        for (window, (name, length)) in self.windows.iter_mut().zip(WINDOWS) {
            if !window.is_due() {
                continue;
            }
            let begun = Instant::now();
            let (span, measure) =
                within(PATIENCE, counts::window(connection, &scope, now, length, hours_until)).await?;
            let least = match length.num_minutes() {
                0..60 => 0,
                60..600 => 1,
                _ => 10,
            };
            window.set(Window { name, span, measure }, begun, Duration::from_secs(least));
        }
        Ok(())
    }

    async fn read_series(&mut self, connection: &mut PgConnection, now: DateTime<Utc>) -> Result<(), ApiError> {
        if self.series.is_due() {
            let begun = Instant::now();
            let longest = self.list.targets.iter().map(|target| target.timeout_ms).max().unwrap_or(0);
            let series = series(connection, now, TimeDelta::milliseconds(i64::from(longest) + 2_000)).await?;
            self.series.set(series, begun, Duration::from_secs(10));
        }
        Ok(())
    }

    async fn read_rest(&mut self, connection: &mut PgConnection, now: DateTime<Utc>) -> Result<(), ApiError> {
        if self.changes.is_due() {
            let begun = Instant::now();
            let until = now + TimeDelta::microseconds(1);
            let rows = events::changes(connection, None, now - SERIES, until, (until, i64::MAX), MOST_MARKS).await?;
            let marks = rows.into_iter().map(|row| Mark {
                service: row.service,
                commit: row.commit,
                author: row.author,
                at: row.at.into(),
            });
            self.changes.set(marks.collect(), begun, Duration::from_secs(1));
        }
        if self.health.is_due() {
            let begun = Instant::now();
            self.health.set(health(connection, now).await?, begun, Duration::from_secs(1));
        }
        Ok(())
    }

    /// Puts together what was read, with the incidents of this moment.
    async fn compose(&mut self, connection: &mut PgConnection, now: DateTime<Utc>) -> Result<Overview, ApiError> {
        let touching = Wanted { from: now - SERIES, to: now + TimeDelta::microseconds(1), ..Wanted::ALL };
        // However many have come and gone since, those that are open are there.
        let mut shown = incidents::list(connection, Wanted { open: Some(true), ..touching }, MOST_MARKS).await?;
        let room = MOST_MARKS - i64::try_from(shown.len()).unwrap_or(MOST_MARKS);
        if room > 0 {
            shown.extend(incidents::list(connection, Wanted { open: Some(false), ..touching }, room).await?);
            shown.sort_by_key(|incident| Reverse((incident.started_at, incident.incident_id)));
        }
        let open_incidents = fleet::open_incidents(connection).await?;
        let of_target = fleet::open_of_targets(connection).await?.into_iter().collect();
        let (attention, more_attention) = self.attention(connection, &of_target, now).await?;
        let is_small = self.is_small();
        if !is_small && self.groups.is_due() {
            let begun = Instant::now();
            let groups = self.group(now);
            self.groups.set(groups, begun, Duration::from_secs(1));
        }
        let newest = self.known.iter().filter_map(Known::checked_at).max();
        Ok(Overview {
            as_of: now.into(),
            newest_check: newest.map(Moment::from),
            counts: States::count(self.each(now).map(|(_, _, state)| state)),
            windows: self.windows.iter().filter_map(|window| window.value.clone()).collect(),
            series: self.series.value.clone().unwrap_or_else(|| Series::empty(now)),
            attention,
            more_attention,
            incidents: shown.into_iter().map(Incident::from).collect(),
            open_incidents,
            changes: self.changes.value.clone().unwrap_or_default(),
            targets: is_small.then(|| self.rows(now)),
            groups: if is_small { None } else { self.groups.value.clone() },
            health: self.health.value.clone().unwrap_or_else(Health::none),
        })
    }

    fn rows(&self, now: DateTime<Utc>) -> Vec<Row> {
        self.each(now)
            .map(|(of, known, state)| Row {
                key: of.key.clone(),
                name: of.name.clone(),
                state,
                failed_5m: known.failed_5m(),
                failed_1h: known.failed_1h(),
                code: known.code(),
                elapsed_ms: known.elapsed_us().map(milliseconds),
                checked_at: known.checked_at().map(Moment::from),
            })
            .collect()
    }

    /// Every target as it is at `now`, to search and sort.
    pub(crate) fn sheet(&self, now: DateTime<Utc>) -> Sheet {
        let entries = self.each(now).map(|(_, known, state)| Entry { known: *known, state });
        Sheet::new(now, Arc::clone(&self.list), entries.collect(), self.is_small())
    }
}
