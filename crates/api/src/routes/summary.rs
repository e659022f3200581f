//! `GET /api/v1/summary`: raw counts over a rolling window, of a target, a label or the fleet.
//!
//! Counts come from the rows while those are few, else from the finest roll-up that
//! answers quickly; the answer says which, and the true bounds that go with it.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use chrono::{DateTime, DurationRound, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use store::windows::{self, Bucket, Source};
use utoipa::{IntoParams, ToSchema};

use super::parameters;
use crate::counts::{self, Measure, Span, percentage};
use crate::error::ApiError;
use crate::openapi::{AsksPostgres, NotFound, TooMuch};
use crate::state::{PATIENCE, State, within};

/// The window where nothing else is asked for.
const DEFAULT_WINDOW: Duration = Duration::from_secs(5 * 60);

/// Points of a series at most.
const MOST_POINTS: i64 = 600;

/// Steps people read easily, in seconds.
const STEPS: [i64; 19] =
    [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800];

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// How far back from now, from `1s` to `9600h`.
    #[param(default = "5m")]
    window: Option<String>,
    /// How far apart the points of the series are, like `10m`. Without it the smallest step people read
    /// easily that makes at most 600 points; one that makes more is refused.
    step: Option<String>,
    /// Only the target with this key. Not together with `label`.
    target: Option<String>,
    /// Only targets with this label, as name and value like `team:shop`. Not together with `target`.
    label: Option<String>,
}

/// What happened in a window.
#[derive(Serialize, ToSchema)]
#[schema(as = Summary)]
pub(super) struct Answer {
    window: Window,
    /// How many of the targets are probed now.
    targets: i64,
    #[serde(flatten)]
    measure: Measure,
    /// The window step by step, the oldest first; at most 600.
    #[schema(max_items = 600)]
    series: Vec<Point>,
}

/// The window of a summary, and the steps of its series.
#[derive(Serialize, ToSchema)]
#[schema(as = SummaryWindow)]
struct Window {
    #[serde(flatten)]
    span: Span,
    /// How far apart the points of the series are.
    step_seconds: i64,
}

/// One step of a series.
#[derive(Serialize, ToSchema)]
struct Point {
    /// When it begins; the first may begin before the window does.
    #[schema(format = DateTime, example = "2026-11-21T06:14:00Z")]
    at: String,
    /// Answered as expected, in time.
    up: u64,
    /// Answered as expected, but slowly.
    degraded: u64,
    /// The target failed.
    down: u64,
    /// lookout was late or not running; slots in long gaps are in the totals only.
    missed: u64,
    /// The fault was lookout's own.
    unknown: u64,
    /// Failed share of the verdicts, in percent; null without a verdict.
    #[schema(minimum = 0, maximum = 100)]
    failure_percentage: Option<f64>,
}

/// Raw counts over a rolling window
///
/// Of one target, of those with a label, or of the whole fleet. Counts come from the checks
/// one by one while those are few, else from the finest roll-up that answers quickly; the
/// answer says which, and the true bounds that go with it.
#[utoipa::path(
    get,
    path = "/api/v1/summary",
    operation_id = "summary",
    tag = "Checks",
    params(Query),
    responses((status = 200, description = "What happened", body = Answer), NotFound, TooMuch, AsksPostgres)
)]
pub(super) async fn get(state: web::Data<State>, query: web::Query<Query>) -> Result<HttpResponse, ApiError> {
    within(PATIENCE, answer(&state, &query, Utc::now())).await.map(|answer| HttpResponse::Ok().json(answer))
}

async fn answer(state: &State, query: &Query, now: DateTime<Utc>) -> Result<Answer, ApiError> {
    let window = parameters::window(query.window.as_deref(), DEFAULT_WINDOW)?;
    let window = TimeDelta::from_std(window).unwrap_or(TimeDelta::minutes(5));
    let which = parameters::which(query.target.as_deref(), query.label.as_deref())?;
    let mut connection = state.database().await?;
    let scope = windows::scope(&mut connection, which).await?.ok_or_else(|| parameters::nobody(which))?;
    let hours_until = store::rollups::done_until(&mut connection).await?;
    let (from, to) = counts::until(now, window);
    let segments = counts::segments(&scope, from, to, hours_until);
    let coarsest = segments.iter().map(|segment| segment.source).max().unwrap_or(Source::Rows);
    // A roll-up begins with a whole bucket.
    let from = segments.first().map_or(from, |first| first.from);
    let step = step(query.step.as_deref(), to - from, coarsest)?;

    let mut steps: BTreeMap<DateTime<Utc>, Bucket> = BTreeMap::new();
    for segment in &segments {
        windows::read(&mut connection, &scope, *segment, DateTime::UNIX_EPOCH, step, &mut steps).await?;
    }
    let in_gaps = windows::gap_slots(&mut connection, &scope, &[from], to).await?.first().copied().unwrap_or(0);

    let mut total = Bucket::default();
    steps.values().for_each(|bucket| total.add(bucket));
    Ok(Answer {
        window: Window { span: Span::new(from, to, coarsest), step_seconds: step.num_seconds() },
        targets: scope.active,
        measure: Measure::new(&total, in_gaps, coarsest),
        series: series(&steps, from, to, step),
    })
}

/// The smallest step people read easily that gives few enough points over a window.
pub(super) fn readable_step(window: TimeDelta, source: Source) -> TimeDelta {
    let fits = |step: &i64| *step >= least_step(source) && points(window, *step) <= MOST_POINTS;
    TimeDelta::seconds(STEPS.into_iter().find(fits).unwrap_or(STEPS[STEPS.len() - 1]))
}

/// How fine a source can be cut, in seconds.
fn least_step(source: Source) -> i64 {
    source.bucket().max(TimeDelta::seconds(1)).num_seconds()
}

/// One more than the window holds, because steps do not begin where it does.
fn points(window: TimeDelta, step: i64) -> i64 {
    window.num_seconds() / step + 2
}

/// The step asked for, or the smallest readable one that gives few enough points.
fn step(raw: Option<&str>, window: TimeDelta, source: Source) -> Result<TimeDelta, ApiError> {
    let least = least_step(source);
    let suggested = readable_step(window, source).num_seconds();
    let fits = |step: &i64| *step >= least && points(window, *step) <= MOST_POINTS;
    let Some(raw) = raw else { return Ok(TimeDelta::seconds(suggested)) };
    let asked = settings::duration::parse(raw).ok().and_then(|step| i64::try_from(step.as_secs()).ok());
    match asked {
        Some(asked) if asked > 0 && fits(&asked) => Ok(TimeDelta::seconds(asked)),
        Some(asked) if asked > 0 => Err(ApiError::TooMuch {
            name: "step",
            message: format!(
                "a step of {asked} s over this window is finer than {MOST_POINTS} points of {least} s or more; {suggested}s fits"
            ),
        }),
        _ => Err(ApiError::Parameter {
            name: "step",
            code: "invalid_duration",
            message: "step is a duration of a second or more, like 10s or 1h".to_owned(),
        }),
    }
}

fn series(
    steps: &BTreeMap<DateTime<Utc>, Bucket>,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    step: TimeDelta,
) -> Vec<Point> {
    let empty = Bucket::default();
    let mut at = from.duration_trunc(step).unwrap_or(from);
    let mut points = Vec::new();
    while at < to {
        let counts = counts::counts(steps.get(&at).unwrap_or(&empty));
        points.push(Point {
            at: at.to_rfc3339_opts(SecondsFormat::Secs, true),
            up: counts.up,
            degraded: counts.degraded,
            down: counts.down,
            missed: counts.missed,
            unknown: counts.unknown,
            failure_percentage: percentage(counts.failure_ratio()),
        });
        at += step;
    }
    points
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use common::{Cause, Check, Outcome, Phases, Slot, TargetId};
    use store::testing::TestDb;

    use super::*;
    use crate::live::Hub;
    use crate::overview::Fleet;

    #[test]
    fn no_series_is_longer_than_promised() {
        for seconds in [1, 5, 59, 300, 3600, 86_400, 86_400 * 30, 86_400 * 400] {
            let window = TimeDelta::seconds(seconds);
            let step = step(None, window, Source::Rows).unwrap();
            let to = DateTime::UNIX_EPOCH;
            let points = series(&BTreeMap::new(), to - window, to, step).len() as i64;
            assert!((1..=MOST_POINTS).contains(&points), "{points} points in {seconds} s");
        }
    }

    /// A minute of checks of 60 targets that are due each second, and some of the day before.
    async fn scenario(db: &TestDb, now: DateTime<Utc>) {
        sqlx::query(
            "insert into target (key, name, url, interval_ms, timeout_ms, degraded_ms, expect_status, source)
             select n::text, n::text, 'http://example.org/' || n, 1000, 500, 500, '{200-299}', 'env'
             from generate_series(1, 60) n",
        )
        .execute(&db.pool)
        .await
        .unwrap();
        let today = now.date_naive();
        store::partitions::ensure(&db.pool, today.pred_opt().unwrap(), today).await.unwrap();
        let ends = [
            (Outcome::Up, Some(200)),
            (Outcome::Up, Some(204)),
            (Outcome::Degraded, Some(200)),
            (Outcome::Down(Cause::Status), Some(503)),
            (Outcome::Down(Cause::Timeout), None),
            (Outcome::Missed, None),
        ];
        let ago = (0..240).map(|n| n * 250).chain((0..400).map(|n| 60_000 + n * 211_000));
        let checks: Vec<_> = ago
            .enumerate()
            .map(|(n, milliseconds)| {
                let slot_us = now.timestamp_micros() - milliseconds * 1_000;
                let (outcome, code) = ends[n % ends.len()];
                Check {
                    target_id: TargetId(1 + (n % 60) as i32),
                    slot: Slot(slot_us),
                    started_us: outcome.is_verdict().then_some(slot_us + 250),
                    outcome,
                    code,
                    elapsed_us: outcome.is_verdict().then_some(900),
                    phases: Phases::default(),
                    detail: None,
                }
            })
            .collect();
        let mut connection = db.pool.acquire().await.unwrap();
        store::batches::write_checks(&mut connection, "w", &checks).await.unwrap();
    }

    #[tokio::test]
    async fn the_overview_counts_every_window_as_a_summary_of_the_same_moment_does() {
        let db = TestDb::new().await;
        let now: DateTime<Utc> = "2026-11-21T12:34:56.789012Z".parse().unwrap();
        scenario(&db, now).await;
        let hub = Hub::new(Duration::from_secs(10));
        let state = State { pool: db.pool.clone(), migrated: Arc::new(AtomicBool::new(true)), hub };
        let mut connection = db.pool.acquire().await.unwrap();
        let mut fleet = Fleet::default();
        fleet.follow(&mut connection, None).await.unwrap();
        let overview = serde_json::to_value(fleet.overview(&mut connection, now).await.unwrap()).unwrap();
        let windows = overview["windows"].as_array().unwrap();
        assert_eq!(windows.len(), 5);
        let mut sources = BTreeSet::new();
        for window in windows {
            let name = window["name"].as_str().unwrap();
            let query = Query { window: Some(name.to_owned()), step: None, target: None, label: None };
            let summary = serde_json::to_value(answer(&state, &query, now).await.unwrap()).unwrap();
            for member in ["counts", "no_response", "status_classes", "status_codes"] {
                assert!(window[member].is_object(), "{name} has no {member}");
                assert_eq!(window[member], summary[member], "{member} of {name}");
            }
            for member in ["failure_percentage", "coverage_percentage"] {
                assert_eq!(window[member], summary[member], "{member} of {name}");
            }
            for member in ["from", "to", "seconds", "source"] {
                assert_eq!(window[member], summary["window"][member], "{member} of {name}");
            }
            assert!(window["status_codes"]["503"].as_u64() > Some(30), "{window}");
            sources.insert(window["source"].as_str().unwrap());
        }
        assert_eq!(sources, BTreeSet::from(["rows", "second"]), "both ways to count are held against each other");
    }
}
