//! The failed share of the last hour, step by step.

use std::collections::BTreeMap;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use serde::Serialize;
use store::PgConnection;
use store::fleet::{self, Due};
use store::windows::{self, Scope, Segment, Source};
use utoipa::ToSchema;

use crate::answer::Moment;
use crate::counts::{self, percentage};
use crate::error::ApiError;

/// The series: how far back, in which steps, over which rolling window.
pub(super) const SERIES: TimeDelta = TimeDelta::hours(1);
const STEP: TimeDelta = TimeDelta::seconds(10);
const ROLLING: TimeDelta = TimeDelta::minutes(5);

/// The failed share of a rolling window, step by step.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = OverviewSeries)]
pub(super) struct Series {
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

impl Series {
    pub(super) fn empty(now: DateTime<Utc>) -> Self {
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

/// The last hour of the fleet, in whole steps.
pub(super) async fn series(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    grace: TimeDelta,
) -> Result<Series, ApiError> {
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
