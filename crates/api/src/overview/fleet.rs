//! The fleet in memory: read once, then brought up to date batch by batch.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use common::TargetId;
use store::fleet::{self, Failed};
use store::incidents::{self, Wanted};
use store::windows::{self, Scope, Which};
use store::{PgConnection, events};
use tokio::time::Instant;

use super::aged::Aged;
use super::groups::Group;
use super::health::{Health, health};
use super::known::Known;
use super::series::{SERIES, Series, series};
use super::types::{Mark, Overview, Row, Share, States};
use crate::answer::{Moment, milliseconds};
use crate::counts;
use crate::error::ApiError;
use crate::routes::incidents::Incident;
use crate::routes::targets::{TargetState, WINDOWS, Window};

/// With more targets than this there are groups instead of rows.
const MOST_ROWS: usize = 500;

/// Incidents, and changes, at most.
const MOST_MARKS: i64 = 100;

/// From when everything is read anew, although nothing seemed to be missed.
const RELOAD: Duration = Duration::from_secs(60);

/// The fleet, as far as it has been read.
pub(crate) struct Fleet {
    pub(super) known: Vec<Known>,
    places: HashMap<TargetId, usize>,
    version: (i64, Option<DateTime<Utc>>),
    looked: Aged<()>,
    loaded: Aged<()>,
    failed: Aged<HashMap<TargetId, Failed>>,
    windows: [Aged<Window>; WINDOWS.len()],
    series: Aged<Series>,
    groups: Aged<Vec<Group>>,
    changes: Aged<Vec<Mark>>,
    health: Aged<Health>,
}

impl Fleet {
    /// Reads all of it.
    pub(crate) async fn load(connection: &mut PgConnection, now: DateTime<Utc>) -> Result<Self, ApiError> {
        let begun = Instant::now();
        // First the version: a change in between is found at the next look.
        let version = fleet::version(connection).await?;
        let targets = fleet::targets(connection, now).await?;
        let known: Vec<_> = targets.into_iter().map(Known::new).collect();
        let places = known.iter().enumerate().map(|(place, known)| (known.target.target_id, place)).collect();
        let mut fleet = Self {
            known,
            places,
            version,
            looked: Aged::default(),
            loaded: Aged::default(),
            failed: Aged::default(),
            windows: Default::default(),
            series: Aged::default(),
            groups: Aged::default(),
            changes: Aged::default(),
            health: Aged::default(),
        };
        fleet.looked.set((), begun, Duration::from_secs(1));
        fleet.loaded.set((), begun, RELOAD);
        Ok(fleet)
    }

    /// Brings it up to date by what was stored in these batches; `None` where it has
    /// to be loaded anew.
    pub(crate) async fn follow(
        mut self,
        connection: &mut PgConnection,
        batches: &[i64],
    ) -> Result<Option<Self>, ApiError> {
        if self.loaded.is_due() {
            return Ok(None);
        }
        if self.looked.is_due() {
            let begun = Instant::now();
            if fleet::version(connection).await? != self.version {
                return Ok(None);
            }
            self.looked.set((), begun, Duration::from_secs(1));
        }
        if !batches.is_empty() {
            for verdict in fleet::verdicts(connection, batches).await? {
                // Those of targets that are no longer probed, or not yet known, are left to the next look.
                if let Some(known) = self.places.get(&verdict.target_id).and_then(|place| self.known.get_mut(*place)) {
                    known.apply(verdict);
                }
            }
        }
        Ok(Some(self))
    }

    /// What the page shows at `now`.
    pub(crate) async fn overview(
        &mut self,
        connection: &mut PgConnection,
        now: DateTime<Utc>,
    ) -> Result<Overview, ApiError> {
        let states: Vec<TargetState> = self.known.iter().map(|known| known.state(now)).collect();
        self.read_failed(connection, now).await?;
        self.read_windows(connection, now).await?;
        if self.series.is_due() {
            let begun = Instant::now();
            let longest = self.known.iter().map(|known| known.target.timeout_ms).max().unwrap_or(0);
            let series = series(connection, now, TimeDelta::milliseconds(i64::from(longest) + 2_000)).await?;
            self.series.set(series, begun, Duration::from_secs(10));
        }
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
        let touching = Wanted { from: now - SERIES, to: now + TimeDelta::microseconds(1), ..Wanted::ALL };
        let shown = incidents::list(connection, touching, MOST_MARKS).await?;
        let open_incidents = fleet::open_incidents(connection).await?;
        let of_target = fleet::open_of_targets(connection).await?.into_iter().collect();
        let (attention, more_attention) = self.attention(connection, &states, &of_target, now).await?;
        let is_small = self.known.len() <= MOST_ROWS;
        if !is_small && self.groups.is_due() {
            let begun = Instant::now();
            let groups = self.group(&states);
            self.groups.set(groups, begun, Duration::from_secs(1));
        }
        let newest = self.known.iter().filter_map(|known| known.target.started_at).max();
        Ok(Overview {
            as_of: now.into(),
            newest_check: newest.map(Moment::from),
            counts: States::count(&states),
            windows: self.windows.iter().filter_map(|window| window.value.clone()).collect(),
            series: self.series.value.clone().unwrap_or_else(|| Series::empty(now)),
            attention,
            more_attention,
            incidents: shown.into_iter().map(Incident::from).collect(),
            open_incidents,
            changes: self.changes.value.clone().unwrap_or_default(),
            targets: is_small.then(|| self.rows(&states)),
            groups: if is_small { None } else { self.groups.value.clone() },
            health: self.health.value.clone().unwrap_or_else(Health::none),
        })
    }

    async fn read_failed(&mut self, connection: &mut PgConnection, now: DateTime<Utc>) -> Result<(), ApiError> {
        if !self.failed.is_due() {
            return Ok(());
        }
        let begun = Instant::now();
        let minute = now.duration_trunc(TimeDelta::minutes(1)).unwrap_or(now);
        let short = minute - TimeDelta::minutes(5);
        let is_small = self.known.len() <= MOST_ROWS;
        // An hour of a large fleet would be millions of minutes, and no row shows it.
        let long = if is_small { minute - TimeDelta::hours(1) } else { short };
        let failed = fleet::failed(connection, long, short, now).await?;
        let least = if is_small { Duration::ZERO } else { Duration::from_secs(10) };
        self.failed.set(failed.into_iter().collect(), begun, least);
        Ok(())
    }

    async fn read_windows(&mut self, connection: &mut PgConnection, now: DateTime<Utc>) -> Result<(), ApiError> {
        if !self.windows.iter().any(Aged::is_due) {
            return Ok(());
        }
        let scope = windows::scope(connection, Which::Fleet).await?.unwrap_or_else(Scope::nothing);
        let hours_until = store::rollups::done_until(connection).await?;
        for (window, (name, length)) in self.windows.iter_mut().zip(WINDOWS) {
            if !window.is_due() {
                continue;
            }
            let begun = Instant::now();
            let (span, measure) = counts::window(connection, &scope, now, length, hours_until).await?;
            let least = match length.num_minutes() {
                0..60 => 0,
                60..600 => 1,
                _ => 10,
            };
            window.set(Window { name, span, measure }, begun, Duration::from_secs(least));
        }
        Ok(())
    }

    pub(super) fn failed(&self, target: TargetId) -> Failed {
        self.failed.value.as_ref().and_then(|failed| failed.get(&target)).copied().unwrap_or_default()
    }

    fn rows(&self, states: &[TargetState]) -> Vec<Row> {
        self.known
            .iter()
            .zip(states)
            .map(|(Known { target, .. }, state)| {
                let failed = self.failed(target.target_id);
                Row {
                    key: target.key.clone(),
                    name: target.name.clone(),
                    state: *state,
                    failed_5m: Share { bad: failed.short_bad, total: failed.short_total },
                    failed_1h: Share { bad: failed.long_bad, total: failed.long_total },
                    code: target.code,
                    elapsed_ms: target.elapsed_us.map(milliseconds),
                    checked_at: target.started_at.map(Moment::from),
                }
            })
            .collect()
    }
}
