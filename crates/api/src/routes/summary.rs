//! `GET /api/v1/summary`: raw counts over a rolling window, of a target, a label or the fleet.
//!
//! Counts come from the rows while those are few, else from the finest roll-up that
//! answers quickly; the answer says which, and the true bounds that go with it.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use chrono::{DateTime, DurationRound, SecondsFormat, TimeDelta, Utc};
use common::{Cause, Counts};
use serde::{Deserialize, Serialize};
use store::windows::{self, Bucket, Scope, Segment, Source, Which};

use super::parameters;
use crate::error::ApiError;
use crate::state::{PATIENCE, State, within};

/// The window where nothing else is asked for.
const DEFAULT_WINDOW: Duration = Duration::from_secs(5 * 60);

/// Points of a series at most.
const MOST_POINTS: i64 = 600;

/// Rows that are counted one by one at most.
const MOST_ROWS: f64 = 50_000.0;

/// Minute buckets that are read at most.
const MOST_MINUTES: i64 = 200_000;

/// Steps people read easily, in seconds.
const STEPS: [i64; 19] =
    [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    window: Option<String>,
    step: Option<String>,
    target: Option<String>,
    label: Option<String>,
}

#[derive(Serialize)]
struct Answer {
    window: Window,
    targets: i64,
    counts: Totals,
    no_response: BTreeMap<&'static str, i64>,
    status_classes: BTreeMap<&'static str, i64>,
    /// Absent where a roll-up answers: it keeps classes only.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_codes: Option<BTreeMap<String, i64>>,
    failure_percentage: Option<f64>,
    coverage_percentage: Option<f64>,
    series: Vec<Point>,
}

#[derive(Serialize)]
struct Window {
    from: String,
    to: String,
    seconds: f64,
    step_seconds: i64,
    source: &'static str,
}

#[derive(Serialize)]
struct Totals {
    up: u64,
    degraded: u64,
    down: u64,
    missed: u64,
    unknown: u64,
    verdicts: u64,
    due: u64,
}

#[derive(Serialize)]
struct Point {
    at: String,
    up: u64,
    degraded: u64,
    down: u64,
    missed: u64,
    unknown: u64,
    failure_percentage: Option<f64>,
}

pub(super) async fn get(state: web::Data<State>, query: web::Query<Query>) -> Result<HttpResponse, ApiError> {
    within(PATIENCE, answer(&state, &query, Utc::now())).await.map(|answer| HttpResponse::Ok().json(answer))
}

async fn answer(state: &State, query: &Query, now: DateTime<Utc>) -> Result<Answer, ApiError> {
    let window = parameters::window(query.window.as_deref(), DEFAULT_WINDOW)?;
    let window = TimeDelta::from_std(window).unwrap_or(TimeDelta::minutes(5));
    let which = which(query)?;
    let mut connection = state.database().await?;
    let scope = windows::scope(&mut connection, which).await?.ok_or_else(|| match which {
        Which::Label(name, value) => ApiError::NotFound(format!("no target has the label {name}:{value}")),
        Which::Key(key) => ApiError::NotFound(format!("no target has the key {key:?}")),
        Which::Fleet => ApiError::NotFound("there are no targets".to_owned()),
    })?;
    let hours_until = store::rollups::done_until(&mut connection).await?;
    // The slot that ends the window is inside it, the one a window before is not.
    let moment = TimeDelta::microseconds(1);
    let segments = segments(&scope, now - window + moment, now + moment, hours_until);
    let coarsest = segments.iter().map(|segment| segment.source).max().unwrap_or(Source::Rows);
    let (from, to) = (segments.first().map_or(now - window, |first| first.from), now + moment);
    let step = step(query.step.as_deref(), to - from, coarsest)?;

    let mut steps: BTreeMap<DateTime<Utc>, Bucket> = BTreeMap::new();
    for segment in &segments {
        windows::read(&mut connection, &scope, *segment, DateTime::UNIX_EPOCH, step, &mut steps).await?;
    }
    let in_gaps = windows::gap_slots(&mut connection, &scope, from, to).await?;

    let mut total = Bucket::default();
    steps.values().for_each(|bucket| total.add(bucket));
    let mut counts = counts(&total);
    counts.missed += u64::try_from(in_gaps).unwrap_or(0);
    Ok(Answer {
        window: Window {
            from: rfc3339(from),
            to: rfc3339(now),
            seconds: (to - from).num_microseconds().unwrap_or(0) as f64 / 1e6,
            step_seconds: step.num_seconds(),
            source: coarsest.label(),
        },
        targets: scope.active,
        no_response: no_response(&total),
        status_classes: status_classes(&total),
        status_codes: (coarsest == Source::Rows)
            .then(|| total.codes.iter().map(|(code, count)| (code.to_string(), *count)).collect()),
        failure_percentage: percentage(counts.failure_ratio()),
        coverage_percentage: percentage(counts.coverage()),
        counts: Totals {
            up: counts.up,
            degraded: counts.degraded,
            down: counts.down,
            missed: counts.missed,
            unknown: counts.unknown,
            verdicts: counts.verdicts(),
            due: counts.due(),
        },
        series: series(&steps, from, to, step),
    })
}

fn which(query: &Query) -> Result<Which<'_>, ApiError> {
    let bad = |name, message: &str| ApiError::Parameter { name, code: "invalid_scope", message: message.to_owned() };
    match (&query.target, &query.label) {
        (Some(_), Some(_)) => Err(bad("label", "label and target exclude each other")),
        (Some(key), None) => Ok(Which::Key(key)),
        (None, Some(label)) => label
            .split_once(':')
            .map(|(name, value)| Which::Label(name, value))
            .ok_or_else(|| bad("label", "label is a name and a value, like team:shop")),
        (None, None) => Ok(Which::Fleet),
    }
}

/// Which sources cover `[from, to)`, in order of time: exact where that is cheap.
fn segments(scope: &Scope, from: DateTime<Utc>, to: DateTime<Utc>, hours_until: Option<DateTime<Utc>>) -> Vec<Segment> {
    let window = to - from;
    let is_fleet = scope.targets.is_none();
    if scope.rate * window.num_milliseconds() as f64 / 1000.0 <= MOST_ROWS && window <= TimeDelta::days(7) {
        return vec![Segment { source: Source::Rows, from, to }];
    }
    // Seconds are kept for two days.
    let fine = if is_fleet { Source::Second } else { Source::Minute };
    let is_fine_enough = if is_fleet {
        window <= TimeDelta::hours(47)
    } else {
        scope.active.max(1) * window.num_minutes() <= MOST_MINUTES && window <= TimeDelta::days(29)
    };
    let hours_end = floor(hours_until.unwrap_or(from).min(to), Source::Hour);
    let start = if window <= TimeDelta::days(90) { Source::Hour } else { Source::Day };
    if is_fine_enough || hours_end <= floor(from, start) {
        return vec![Segment { source: fine, from: floor(from, fine), to }];
    }
    let mut segments = Vec::new();
    let mut at = floor(from, start);
    if start == Source::Day && floor(hours_end, Source::Day) > at {
        segments.push(Segment { source: Source::Day, from: at, to: floor(hours_end, Source::Day) });
        at = floor(hours_end, Source::Day);
    }
    if hours_end > at {
        segments.push(Segment { source: Source::Hour, from: at, to: hours_end });
    }
    segments.push(Segment { source: fine, from: hours_end, to });
    segments
}

fn floor(at: DateTime<Utc>, source: Source) -> DateTime<Utc> {
    if source == Source::Rows { at } else { at.duration_trunc(source.bucket()).unwrap_or(at) }
}

/// The step asked for, or the smallest readable one that gives few enough points.
fn step(raw: Option<&str>, window: TimeDelta, source: Source) -> Result<TimeDelta, ApiError> {
    let least = source.bucket().max(TimeDelta::seconds(1)).num_seconds();
    // One more than the window holds, because steps do not begin where it does.
    let points = |step: i64| window.num_seconds() / step + 2;
    let fits = |step: &i64| *step >= least && points(*step) <= MOST_POINTS;
    let suggested = STEPS.into_iter().find(fits).unwrap_or(STEPS[STEPS.len() - 1]);
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

fn counts(bucket: &Bucket) -> Counts {
    let count = |index: usize| u64::try_from(bucket.counts[index]).unwrap_or(0);
    Counts {
        up: count(0),
        degraded: count(1),
        missed: count(2),
        unknown: count(3),
        down: (4..4 + Cause::ALL.len()).map(count).sum(),
    }
}

/// Checks that were down without a response head, by cause. A timeout or a reset
/// after the head is counted here too: roll-ups do not tell the two apart.
fn no_response(bucket: &Bucket) -> BTreeMap<&'static str, i64> {
    let answered = [Cause::Status, Cause::Body, Cause::Redirect, Cause::Assertion];
    Cause::ALL
        .into_iter()
        .filter(|cause| !answered.contains(cause))
        .map(|cause| (cause.label(), bucket.counts[4 + cause as usize]))
        .collect()
}

fn status_classes(bucket: &Bucket) -> BTreeMap<&'static str, i64> {
    let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"];
    classes.into_iter().zip(bucket.counts[4 + Cause::ALL.len()..].iter().copied()).collect()
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
        let counts = counts(steps.get(&at).unwrap_or(&empty));
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

/// Percent with three decimals, which is what people can use.
fn percentage(ratio: Option<f64>) -> Option<f64> {
    ratio.map(|ratio| (ratio * 100_000.0).round() / 1000.0)
}

fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn sources(scope: &Scope, window: TimeDelta) -> Vec<Source> {
        let to = at("2026-11-21T12:34:56Z");
        let segments = segments(scope, to - window, to, Some(at("2026-11-21T12:00:00Z")));
        // They cover the window without a hole or an overlap.
        assert!(segments[0].from <= to - window && segments[segments.len() - 1].to == to, "{segments:?}");
        assert!(segments.windows(2).all(|pair| pair[0].to == pair[1].from), "{segments:?}");
        segments.iter().map(|segment| segment.source).collect()
    }

    #[test]
    fn the_finest_source_that_is_cheap_answers() {
        let one = Scope { targets: Some(vec![1]), active: 1, rate: 0.1 };
        let team = Scope { targets: Some(vec![1; 500]), active: 500, rate: 50.0 };
        let fleet = Scope { targets: None, active: 50_000, rate: 5_000.0 };
        assert_eq!(sources(&one, TimeDelta::days(1)), [Source::Rows]);
        assert_eq!(sources(&one, TimeDelta::days(20)), [Source::Minute]);
        assert_eq!(sources(&one, TimeDelta::days(60)), [Source::Hour, Source::Minute]);
        assert_eq!(sources(&one, TimeDelta::days(400)), [Source::Day, Source::Hour, Source::Minute]);
        assert_eq!(sources(&team, TimeDelta::minutes(5)), [Source::Rows]);
        assert_eq!(sources(&team, TimeDelta::hours(6)), [Source::Minute]);
        assert_eq!(sources(&team, TimeDelta::days(1)), [Source::Hour, Source::Minute]);
        assert_eq!(sources(&fleet, TimeDelta::seconds(5)), [Source::Rows]);
        assert_eq!(sources(&fleet, TimeDelta::minutes(5)), [Source::Second]);
        assert_eq!(sources(&fleet, TimeDelta::days(30)), [Source::Hour, Source::Second]);
    }

    #[test]
    fn no_series_is_longer_than_promised() {
        for seconds in [1, 5, 59, 300, 3600, 86_400, 86_400 * 30, 86_400 * 400] {
            let window = TimeDelta::seconds(seconds);
            let step = step(None, window, Source::Rows).unwrap();
            let to = at("2026-11-21T12:34:56Z");
            let points = series(&BTreeMap::new(), to - window, to, step).len() as i64;
            assert!((1..=MOST_POINTS).contains(&points), "{points} points in {seconds} s");
        }
    }
}
