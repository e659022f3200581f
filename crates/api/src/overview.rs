//! The fleet as the first page shows it: kept in memory, brought up to date by the
//! batches that are stored, so that its cost depends on what happens, not on how many look.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use common::{Cause, TargetId, TargetUrl};
use serde::Serialize;
use store::PgConnection;
use store::fleet::{self, Due, Failed, Verdict};
use store::incidents::{self, Wanted};
use store::windows::{self, Scope, Segment, Source, Which};
use store::{cursors, events, workers};
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::answer::{Moment, milliseconds};
use crate::counts::{self, percentage};
use crate::error::ApiError;
use crate::routes::incidents::Incident;
use crate::routes::targets::{TargetState, WINDOWS, Window};

/// With more targets than this there are groups instead of rows.
const MOST_ROWS: usize = 500;

/// Groups at most; the rest shares one.
const MOST_GROUPS: usize = 200;

/// Targets that need attention, by name, at most.
const MOST_ATTENTION: usize = 50;

/// Incidents, and changes, at most.
const MOST_MARKS: i64 = 100;

/// The series: how far back, in which steps, over which rolling window.
const SERIES: TimeDelta = TimeDelta::hours(1);
const STEP: TimeDelta = TimeDelta::seconds(10);
const ROLLING: TimeDelta = TimeDelta::minutes(5);

/// How far back the beginning of a state is looked for.
const SINCE: TimeDelta = TimeDelta::days(30);

/// From when everything is read anew, although nothing seemed to be missed.
const RELOAD: Duration = Duration::from_secs(60);

/// What costs much is done for a tenth of the time at most.
const REST: u32 = 10;

/// How everything is
#[derive(Serialize, ToSchema)]
pub(crate) struct Overview {
    /// The moment all of it is true for.
    as_of: Moment,
    /// The start of the newest verdict; null without one of the last day.
    newest_check: Option<Moment>,
    counts: States,
    /// How the fleet did in windows that end now: 1m, 5m, 15m, 1h and 24h.
    windows: Vec<Window>,
    series: Series,
    /// Targets that need attention, at most 50, the worst first: down, then with an open
    /// incident, degraded, unknown.
    #[schema(max_items = 50)]
    attention: Vec<Attention>,
    /// How many more there are.
    more_attention: usize,
    /// Those that are open or touch the series, the newest first.
    #[schema(max_items = 100)]
    incidents: Vec<Incident>,
    /// How many are open, all of them.
    open_incidents: i64,
    /// Commits rolled out in the time of the series, the newest first.
    #[schema(max_items = 100)]
    changes: Vec<Mark>,
    /// Every target; null where there are more than 500.
    #[schema(inline, max_items = 500)]
    targets: Option<Vec<Row>>,
    /// Targets by their label `group`, else by host; null where there are 500 or fewer.
    #[schema(inline, max_items = 200)]
    groups: Option<Vec<Group>>,
    health: Health,
}

/// How many targets are in which state now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = StateCounts)]
struct States {
    /// All that are probed.
    targets: usize,
    up: usize,
    degraded: usize,
    down: usize,
    /// The newest verdict is older than three intervals and a timeout, or there is none.
    unknown: usize,
}

/// The failed share of a rolling window, step by step.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = OverviewSeries)]
struct Series {
    /// The beginning of the first step.
    from: Moment,
    /// The end of the last step.
    to: Moment,
    /// How long a step is.
    step_seconds: i64,
    /// How far each point looks back from the end of its step.
    window_seconds: i64,
    /// For each step the failed share of the verdicts, in percent; null without a verdict.
    #[schema(max_items = 600)]
    failure_percentage: Vec<Option<f64>>,
    /// For each step the share of due slots with a verdict, in percent; null when nothing was due.
    #[schema(max_items = 600)]
    coverage_percentage: Vec<Option<f64>>,
}

/// A target that needs attention.
#[derive(Serialize, ToSchema)]
struct Attention {
    key: String,
    name: String,
    state: TargetState,
    /// Since when it has been so; if `unknown`, its last verdict. Null where that is not known.
    since: Option<Moment>,
    /// Why it is down; null unless it is.
    cause: Option<Cause>,
    /// The status code of the newest verdict; null without one.
    code: Option<i16>,
    failed_5m: Share,
    /// Its open incident; null without one.
    incident: Option<i64>,
}

/// Failed ones of all verdicts, since the minute in which the window begins.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
#[schema(as = FailedShare)]
struct Share {
    bad: i64,
    total: i64,
}

/// A target in a list.
#[derive(Serialize, ToSchema)]
struct Row {
    key: String,
    name: String,
    state: TargetState,
    failed_5m: Share,
    failed_1h: Share,
    /// The status code of the newest verdict; null without one.
    code: Option<i16>,
    /// The time of the newest verdict, in milliseconds.
    elapsed_ms: Option<f64>,
    /// When the newest verdict started; null without one of the last day.
    checked_at: Option<Moment>,
}

/// Targets that belong together.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
struct Group {
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

/// A commit that was rolled out.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = OverviewChange)]
struct Mark {
    service: String,
    commit: String,
    author: Option<String>,
    at: Moment,
}

/// How lookout itself does.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Health {
    workers_running: usize,
    /// The largest lateness of a start that a running worker reports, in milliseconds.
    worst_lag_ms: f64,
    /// Slots missed since the running workers started.
    missed: i64,
    /// Slots lost to their own faults since they started.
    unknown: i64,
    /// Results in memory that wait for Postgres.
    queue_depth: i64,
    /// Results on disk that wait for Postgres.
    spool_depth: i64,
    readers: Vec<Behind>,
}

/// Who follows what is stored.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = OverviewReader)]
struct Behind {
    #[schema(example = "incidents")]
    name: String,
    /// Batches not followed yet, up to 100,000.
    batches_behind: i64,
}

/// Something that is read again after a while.
struct Aged<T> {
    value: Option<T>,
    next: Instant,
}

impl<T> Default for Aged<T> {
    fn default() -> Self {
        Self { value: None, next: Instant::now() }
    }
}

impl<T> Aged<T> {
    fn is_due(&self) -> bool {
        self.value.is_none() || Instant::now() >= self.next
    }

    fn set(&mut self, value: T, begun: Instant, least: Duration) {
        self.next = (begun + least).max(Instant::now() + begun.elapsed() * REST);
        self.value = Some(value);
    }
}

/// What is known of a target.
struct Known {
    target: fleet::Target,
    group: String,
    /// Since when it has had this outcome, once somebody asked.
    since: Option<(String, Option<DateTime<Utc>>)>,
}

impl Known {
    fn state(&self, now: DateTime<Utc>) -> TargetState {
        let target = &self.target;
        let often = (target.interval_ms, target.timeout_ms);
        TargetState::new(target.outcome.as_deref(), target.started_at, often, now)
    }

    fn apply(&mut self, verdict: Verdict) {
        let target = &mut self.target;
        if target.slot_at.is_some_and(|slot_at| slot_at >= verdict.slot_at) {
            // A late one leaves the state alone, but may tell of an earlier beginning.
            self.since = None;
            return;
        }
        if target.outcome.as_ref() != Some(&verdict.outcome) {
            self.since = target.outcome.is_some().then(|| (verdict.outcome.clone(), verdict.started_at));
        }
        target.slot_at = Some(verdict.slot_at);
        target.started_at = verdict.started_at;
        target.outcome = Some(verdict.outcome);
        target.cause = verdict.cause;
        target.code = verdict.code;
        target.elapsed_us = verdict.elapsed_us;
    }
}

/// The fleet, as far as it has been read.
pub(crate) struct Fleet {
    known: Vec<Known>,
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
        let known: Vec<_> =
            targets.into_iter().map(|target| Known { group: group_of(&target), target, since: None }).collect();
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
            counts: count(&states),
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

    fn failed(&self, target: TargetId) -> Failed {
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

    fn group(&self, states: &[TargetState]) -> Vec<Group> {
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

    /// Who needs attention, and how many more.
    async fn attention(
        &mut self,
        connection: &mut PgConnection,
        states: &[TargetState],
        incidents: &HashMap<TargetId, i64>,
        now: DateTime<Utc>,
    ) -> Result<(Vec<Attention>, usize), ApiError> {
        let mut places: Vec<(u8, Reverse<i64>, usize)> = Vec::new();
        for (place, (known, state)) in self.known.iter().zip(states).enumerate() {
            let id = known.target.target_id;
            let rank = match state {
                TargetState::Down => 0,
                _ if incidents.contains_key(&id) => 1,
                TargetState::Degraded => 2,
                TargetState::Unknown => 3,
                TargetState::Up => continue,
            };
            places.push((rank, Reverse(self.failed(id).short_bad), place));
        }
        places.sort_unstable();
        let more = places.len().saturating_sub(MOST_ATTENTION);
        places.truncate(MOST_ATTENTION);

        let unasked = |known: &Known| match (&known.since, &known.target.outcome) {
            (Some((of, _)), Some(outcome)) => of != outcome,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        let asked: Vec<usize> = places
            .iter()
            .map(|(_, _, place)| *place)
            .filter(|place| states[*place] != TargetState::Unknown && unasked(&self.known[*place]))
            .collect();
        if !asked.is_empty() {
            let ids: Vec<i32> = asked.iter().map(|place| self.known[*place].target.target_id.0).collect();
            let outcomes: Vec<String> =
                asked.iter().map(|place| self.known[*place].target.outcome.clone().unwrap_or_default()).collect();
            let found: HashMap<_, _> =
                fleet::since(connection, &ids, &outcomes, now - SINCE).await?.into_iter().collect();
            for (place, outcome) in asked.into_iter().zip(outcomes) {
                let since = found.get(&self.known[place].target.target_id).copied().flatten();
                self.known[place].since = Some((outcome, since));
            }
        }
        let shown = places.into_iter().map(|(_, _, place)| {
            let (Known { target, since, .. }, state) = (&self.known[place], states[place]);
            let failed = self.failed(target.target_id);
            let since = match state {
                TargetState::Unknown => target.started_at,
                _ => since.as_ref().and_then(|(_, since)| *since),
            };
            Attention {
                key: target.key.clone(),
                name: target.name.clone(),
                state,
                since: since.map(Moment::from),
                cause: match state {
                    TargetState::Down => target.cause.as_deref().and_then(Cause::parse),
                    _ => None,
                },
                code: target.code,
                failed_5m: Share { bad: failed.short_bad, total: failed.short_total },
                incident: incidents.get(&target.target_id).copied(),
            }
        });
        Ok((shown.collect(), more))
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

impl Series {
    fn empty(now: DateTime<Utc>) -> Self {
        Self {
            from: now.into(),
            to: now.into(),
            step_seconds: STEP.num_seconds(),
            window_seconds: ROLLING.num_seconds(),
            failure_percentage: Vec::new(),
            coverage_percentage: Vec::new(),
        }
    }
}

impl Health {
    fn none() -> Self {
        Self {
            workers_running: 0,
            worst_lag_ms: 0.0,
            missed: 0,
            unknown: 0,
            queue_depth: 0,
            spool_depth: 0,
            readers: Vec::new(),
        }
    }
}

fn group_of(target: &fleet::Target) -> String {
    let host = || {
        TargetUrl::parse(&target.url).ok().and_then(|url| url.url().host_str().map(str::to_owned)).unwrap_or_default()
    };
    target.group.clone().unwrap_or_else(host)
}

fn count(states: &[TargetState]) -> States {
    let mut counts = States { targets: states.len(), ..States::default() };
    for state in states {
        *match state {
            TargetState::Up => &mut counts.up,
            TargetState::Degraded => &mut counts.degraded,
            TargetState::Down => &mut counts.down,
            TargetState::Unknown => &mut counts.unknown,
        } += 1;
    }
    counts
}

/// The last hour of the fleet, in whole steps.
async fn series(connection: &mut PgConnection, now: DateTime<Utc>, grace: TimeDelta) -> Result<Series, ApiError> {
    let to = now.duration_trunc(STEP).unwrap_or(now);
    let (from, first) = (to - SERIES, to - SERIES - ROLLING);
    let mut steps = BTreeMap::new();
    let segment = Segment { source: Source::Second, from: first, to };
    windows::read(connection, &Scope::nothing(), segment, first, STEP, &mut steps).await?;
    let due = fleet::due(connection, first).await?;

    let (mut failure_percentage, mut coverage_percentage) = (Vec::new(), Vec::new());
    let mut end = from + STEP;
    while end <= to {
        let begin = end - ROLLING;
        let (mut bad, mut verdicts, mut counted) = (0, 0, 0);
        for (_, bucket) in steps.range(begin..end) {
            let counts = counts::counts(bucket);
            bad += counts.down;
            verdicts += counts.verdicts();
            counted += counts.due();
        }
        // Where nobody probes nothing is counted either; a probe under way is not overdue.
        let counted = counted.max(at_least_due(&due, begin, end.min(now - grace)));
        let ratio = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        failure_percentage.push(percentage(ratio(bad, verdicts)));
        coverage_percentage.push(percentage(ratio(verdicts, counted)));
        end += STEP;
    }
    Ok(Series { from: from.into(), to: to.into(), failure_percentage, coverage_percentage, ..Series::empty(now) })
}

/// Slots that are due in `[begin, end)` wherever in its interval each target is.
fn at_least_due(due: &[Due], begin: DateTime<Utc>, end: DateTime<Utc>) -> u64 {
    let slots = due.iter().map(|due| {
        let span = (end - due.since.max(begin)).num_milliseconds().max(0);
        span / i64::from(due.interval_ms.max(1)) * due.targets
    });
    u64::try_from(slots.sum::<i64>()).unwrap_or(0)
}

async fn health(connection: &mut PgConnection, now: DateTime<Utc>) -> Result<Health, ApiError> {
    let alive = TimeDelta::seconds(5);
    let seen = workers::list(connection).await?;
    let running: Vec<_> =
        seen.iter().filter(|worker| worker.stopped_at.is_none() && now - worker.seen_at <= alive).collect();
    let sum = |of: fn(&workers::Seen) -> i64| running.iter().map(|worker| of(worker)).sum();
    let readers = cursors::behind(connection).await?;
    Ok(Health {
        workers_running: running.len(),
        worst_lag_ms: running.iter().map(|worker| worker.lag_us).max().unwrap_or(0) as f64 / 1000.0,
        missed: sum(|worker| worker.missed),
        unknown: sum(|worker| worker.unknown),
        queue_depth: sum(|worker| worker.queue_depth),
        spool_depth: sum(|worker| worker.spool_depth),
        readers: readers
            .into_iter()
            .map(|reader| Behind { name: reader.reader, batches_behind: reader.batches })
            .collect(),
    })
}
