//! What happened in a window: which sources tell it cheaply, and their counts in the
//! form that answers have.

use std::collections::BTreeMap;

use chrono::{DateTime, DurationRound, SubsecRound, TimeDelta, Utc};
use common::{Cause, Counts};
use serde::Serialize;
use store::PgConnection;
use store::windows::{self, Bucket, Scope, Segment, Source};
use utoipa::ToSchema;

use crate::answer::Moment;
use crate::error::ApiError;

/// Rows that are counted one by one at most.
const MOST_ROWS: f64 = 50_000.0;

/// Minute buckets that are read at most.
const MOST_MINUTES: i64 = 200_000;

/// The time that was counted.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Span {
    /// Slots from this moment on are counted. A roll-up begins with a whole bucket, so this
    /// may lie before what was asked for.
    from: Moment,
    /// Slots up to this moment are counted, one at this moment too.
    to: Moment,
    /// How long that is.
    seconds: f64,
    source: SourceName,
}

/// Where counts come from: `rows` are the checks one by one, with every status code and exact
/// bounds; the others are roll-ups with buckets of that length. The coarsest one that was needed.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Source)]
enum SourceName {
    Rows,
    Second,
    Minute,
    Hour,
    Day,
}

impl Span {
    /// `[from, to)` as people read a window: the moment that ends it is inside.
    pub(crate) fn new(from: DateTime<Utc>, to: DateTime<Utc>, source: Source) -> Self {
        Self {
            from: from.into(),
            to: (to - MOMENT).into(),
            seconds: (to - from).num_microseconds().unwrap_or(0) as f64 / 1e6,
            source: source.into(),
        }
    }
}

impl From<Source> for SourceName {
    fn from(source: Source) -> Self {
        match source {
            Source::Rows => Self::Rows,
            Source::Second => Self::Second,
            Source::Minute => Self::Minute,
            Source::Hour => Self::Hour,
            Source::Day => Self::Day,
        }
    }
}

/// The window of this length that ends now, as `[from, to)`: the slot that ends it
/// is inside, the one a window before is not.
pub(crate) fn until(now: DateTime<Utc>, window: TimeDelta) -> (DateTime<Utc>, DateTime<Utc>) {
    // Postgres knows no nanoseconds: what it calls this moment has to be what we do.
    let now = now.trunc_subsecs(6);
    (now - window + MOMENT, now + MOMENT)
}

/// The finest difference between two slots.
const MOMENT: TimeDelta = TimeDelta::microseconds(1);

/// Raw counts, and the two percentages that follow from them.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Measure {
    counts: Totals,
    no_response: NoResponse,
    status_classes: StatusClasses,
    /// How many checks were answered with each status code, which is the name of the field.
    /// Absent where a roll-up coarser than seconds was read: it keeps classes only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = BTreeMap<String, u64>, required = false, example = json!({"200": 27, "503": 3}))]
    status_codes: Option<BTreeMap<String, u64>>,
    /// Failed share of the verdicts, in percent; null without a verdict.
    #[schema(minimum = 0, maximum = 100)]
    failure_percentage: Option<f64>,
    /// Share of the slots due that have a verdict, in percent; null when nothing was due.
    #[schema(minimum = 0, maximum = 100)]
    coverage_percentage: Option<f64>,
}

/// How many slots ended in which way.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Totals {
    /// Answered as expected, in time.
    up: u64,
    /// Answered as expected, but slowly.
    degraded: u64,
    /// The target failed, whatever the cause.
    down: u64,
    /// lookout was late or not running.
    missed: u64,
    /// The fault was lookout's own.
    unknown: u64,
    /// `up`, `degraded` and `down` together.
    verdicts: u64,
    /// All of them: every slot that was due.
    due: u64,
}

/// Checks that were down without an answer, by cause. A timeout or a reset after the response
/// head is counted here too, because roll-ups do not tell the two apart.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct NoResponse {
    dns: u64,
    refused: u64,
    timeout: u64,
    reset: u64,
    tls: u64,
    protocol: u64,
}

/// Checks that were answered, by the first digit of the status code.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct StatusClasses {
    #[serde(rename = "1xx")]
    informational: u64,
    #[serde(rename = "2xx")]
    success: u64,
    #[serde(rename = "3xx")]
    redirection: u64,
    #[serde(rename = "4xx")]
    client_error: u64,
    #[serde(rename = "5xx")]
    server_error: u64,
}

impl Measure {
    /// Puts together what was counted, and the slots in gaps; those were due and nobody looked.
    pub(crate) fn new(bucket: &Bucket, in_gaps: i64, source: Source) -> Self {
        let mut counts = counts(bucket);
        counts.missed += whole(in_gaps);
        let down = |cause: Cause| whole(bucket.counts[FIRST_CAUSE + cause as usize]);
        let class = |hundreds: usize| whole(bucket.counts[FIRST_CAUSE + Cause::ALL.len() + hundreds - 1]);
        Self {
            no_response: NoResponse {
                dns: down(Cause::Dns),
                refused: down(Cause::Refused),
                timeout: down(Cause::Timeout),
                reset: down(Cause::Reset),
                tls: down(Cause::Tls),
                protocol: down(Cause::Protocol),
            },
            status_classes: StatusClasses {
                informational: class(1),
                success: class(2),
                redirection: class(3),
                client_error: class(4),
                server_error: class(5),
            },
            status_codes: (source <= Source::Second)
                .then(|| bucket.codes.iter().map(|(code, count)| (code.to_string(), whole(*count))).collect()),
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
        }
    }
}

impl Measure {
    /// As [`uptime`].
    pub(crate) fn uptime(&self) -> Option<u64> {
        cut(self.counts.up + self.counts.degraded, self.counts.verdicts)
    }
}

/// Where the causes begin among the counts of a bucket.
const FIRST_CAUSE: usize = 4;

/// How the slots of a bucket ended.
pub(crate) fn counts(bucket: &Bucket) -> Counts {
    let count = |index: usize| whole(bucket.counts[index]);
    Counts {
        up: count(0),
        degraded: count(1),
        missed: count(2),
        unknown: count(3),
        down: (FIRST_CAUSE..FIRST_CAUSE + Cause::ALL.len()).map(count).sum(),
    }
}

fn whole(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// Percent with three decimals, which is what people can use.
pub(crate) fn percentage(ratio: Option<f64>) -> Option<f64> {
    ratio.map(|ratio| (ratio * 100_000.0).round() / 1000.0)
}

/// Good share of the verdicts in thousandths of a percent, cut off: 100,000 only where none
/// failed. `None` without a verdict.
pub(crate) fn uptime(counts: Counts) -> Option<u64> {
    cut(counts.up + counts.degraded, counts.verdicts())
}

/// A share in thousandths of a percent, cut off. `None` of nothing.
pub(crate) fn cut(part: u64, whole: u64) -> Option<u64> {
    (u128::from(part) * 100_000).checked_div(u128::from(whole)).and_then(|share| u64::try_from(share).ok())
}

/// The same in percent.
pub(crate) fn uptime_percentage(counts: Counts) -> Option<f64> {
    uptime(counts).map(|thousandths| thousandths as f64 / 1000.0)
}

/// A window that ends at `now`, read from whatever tells it cheaply: the figures of a summary.
pub(crate) async fn window(
    connection: &mut PgConnection,
    scope: &Scope,
    now: DateTime<Utc>,
    length: TimeDelta,
    hours_until: Option<DateTime<Utc>>,
) -> Result<(Span, Measure), ApiError> {
    let (from, to) = until(now, length);
    let segments = segments(scope, from, to, hours_until);
    let coarsest = segments.iter().map(|segment| segment.source).max().unwrap_or(Source::Rows);
    // A roll-up begins with a whole bucket.
    let from = segments.first().map_or(from, |first| first.from);
    let mut steps = BTreeMap::new();
    for segment in segments {
        windows::read(connection, scope, segment, from, length * 2, &mut steps).await?;
    }
    let mut total = Bucket::default();
    steps.values().for_each(|bucket| total.add(bucket));
    let in_gaps = windows::gap_slots(connection, scope, &[from], to).await?.first().copied().unwrap_or(0);
    Ok((Span::new(from, to, coarsest), Measure::new(&total, in_gaps, coarsest)))
}

/// Windows of one target, each of whole minutes, the shortest first; all end at `now`.
///
/// The longest that rows answer is read once, minute by minute from its end backwards, so
/// that the others are the newest of its minutes.
pub(crate) async fn nested(
    connection: &mut PgConnection,
    target: &Scope,
    now: DateTime<Utc>,
    lengths: &[TimeDelta],
) -> Result<Vec<(Span, Measure)>, ApiError> {
    let minute = TimeDelta::minutes(1);
    let longest = lengths.iter().copied().filter(|length| has_few_rows(target, *length)).max();
    let mut newest = BTreeMap::new();
    if let Some(length) = longest {
        let (from, to) = until(now, length);
        let rows = Segment { source: Source::Rows, from, to };
        windows::read(connection, target, rows, from, minute, &mut newest).await?;
    }
    let mut counted = Vec::new();
    for length in lengths {
        let (from, to) = until(now, *length);
        let mut total = Bucket::default();
        if has_few_rows(target, *length) {
            newest.range(from..).for_each(|(_, bucket)| total.add(bucket));
            counted.push((from, Source::Rows, total));
        } else {
            let segment = Segment { source: Source::Minute, from: floor(from, Source::Minute), to };
            let mut minutes = BTreeMap::new();
            windows::read(connection, target, segment, segment.from, *length * 2, &mut minutes).await?;
            minutes.values().for_each(|bucket| total.add(bucket));
            counted.push((segment.from, Source::Minute, total));
        }
    }
    let (_, to) = until(now, TimeDelta::zero());
    let starts: Vec<_> = counted.iter().map(|(from, ..)| *from).collect();
    let in_gaps = windows::gap_slots(connection, target, &starts, to).await?;
    Ok(counted
        .into_iter()
        .zip(in_gaps)
        .map(|((from, source, total), in_gaps)| (Span::new(from, to, source), Measure::new(&total, in_gaps, source)))
        .collect())
}

/// Whether the rows themselves answer for this window.
pub(crate) fn has_few_rows(scope: &Scope, window: TimeDelta) -> bool {
    scope.rate * window.num_milliseconds() as f64 / 1000.0 <= MOST_ROWS && window <= TimeDelta::days(7)
}

/// Which sources cover `[from, to)`, in order of time: exact where that is cheap.
pub(crate) fn segments(
    scope: &Scope,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    hours_until: Option<DateTime<Utc>>,
) -> Vec<Segment> {
    let window = to - from;
    let is_fleet = scope.targets.is_none();
    if has_few_rows(scope, window) {
        return vec![Segment { source: Source::Rows, from, to }];
    }
    // Seconds are kept for two days.
    let fine = if is_fleet { Source::Second } else { Source::Minute };
    let is_fine_enough = if is_fleet {
        window <= TimeDelta::hours(47)
    } else {
        scope.active.max(1) * window.num_minutes() <= MOST_MINUTES && window <= TimeDelta::days(29)
    };
    let start = match window <= TimeDelta::days(90) {
        _ if is_fine_enough => fine,
        true => Source::Hour,
        false => Source::Day,
    };
    rolled_up(from, to, hours_until, start, fine)
}

/// Which roll-ups cover `[from, to)`, in order of time: from `start` on to finer ones as far
/// as each is computed, and `fine` for the rest.
pub(crate) fn rolled_up(
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    hours_until: Option<DateTime<Utc>>,
    start: Source,
    fine: Source,
) -> Vec<Segment> {
    let hours_end = hours_until.map(|until| floor(until.min(to), Source::Hour));
    let Some(hours_end) = hours_end.filter(|end| start != fine && *end > floor(from, start)) else {
        return vec![Segment { source: fine, from: floor(from, fine), to }];
    };
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
    fn uptime_is_100_only_where_nothing_failed() {
        let of = |up, down| uptime_percentage(Counts { up, degraded: 1, down, missed: 7, ..Counts::default() });
        assert_eq!(of(99, 0), Some(100.0));
        assert_eq!(of(9_999_998, 1), Some(99.999));
        assert_eq!(of(1, 1), Some(66.666));
        assert_eq!(uptime_percentage(Counts { missed: 7, ..Counts::default() }), None);
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
        // Before the first roll-up, whatever the hour of the day.
        let to = at("2026-11-21T12:34:56Z");
        let nothing = rolled_up(to - TimeDelta::days(400), to, None, Source::Day, Source::Minute);
        assert_eq!(nothing.iter().map(|segment| segment.source).collect::<Vec<_>>(), [Source::Minute]);
    }
}
