//! `GET /api/v1/targets/{key}/latency`: how long a target took to answer, over a rolling window.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use common::status::latency_quantile_ms;
use serde::{Deserialize, Serialize};
use store::latency::{self, Latency};
use store::windows::Source;
use utoipa::{IntoParams, ToSchema};

use super::{parameters, summary};
use crate::answer::{Moment, milliseconds};
use crate::counts::{self, Span};
use crate::error::ApiError;
use crate::openapi::{AsksPostgres, NotFound};
use crate::state::{PATIENCE, State, within};

/// The window where nothing else is asked for.
const DEFAULT_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// How far back from now, from `1s` to `9600h`.
    #[param(default = "24h")]
    window: Option<String>,
}

/// How long a target took to answer.
#[derive(Serialize, ToSchema)]
#[schema(as = TargetLatency)]
pub(super) struct Answer {
    window: Span,
    /// When the first step begins; that may be before the window does.
    first_step_at: Moment,
    /// How long a step is.
    step_seconds: i64,
    /// For each step, what half of the answered checks did not exceed, in milliseconds; null without one.
    #[schema(max_items = 600)]
    p50_ms: Vec<Option<f64>>,
    /// For each step, what 95 of 100 did not exceed.
    #[schema(max_items = 600)]
    p95_ms: Vec<Option<f64>>,
    /// What half of them did not exceed in the whole window; null without one.
    p50_ms_all: Option<f64>,
    /// What 95 of 100 did not exceed in the whole window.
    p95_ms_all: Option<f64>,
    /// The longest of all, exactly.
    max_ms: Option<f64>,
}

/// How long a target took to answer
///
/// Percentiles of the time from the first network operation to the response head, of the checks
/// that got one. They come from counts per range of latency, and are off by a factor of 1.6 at
/// most; the longest is exact.
#[utoipa::path(
    get,
    path = "/api/v1/targets/{key}/latency",
    operation_id = "target_latency",
    tag = "Targets",
    params(
        ("key" = String, Path, description = "The key of a target; percent-encoded, if it is a URL", example = "home"),
        Query
    ),
    responses((status = 200, description = "The percentiles", body = Answer), NotFound, AsksPostgres)
)]
pub(super) async fn get(
    state: web::Data<State>,
    key: web::Path<String>,
    query: web::Query<Query>,
) -> Result<HttpResponse, ApiError> {
    let window = parameters::window(query.window.as_deref(), DEFAULT_WINDOW)?;
    let window = TimeDelta::from_std(window).unwrap_or(TimeDelta::days(1));
    within(PATIENCE, answer(&state, &key, window, Utc::now())).await.map(|answer| HttpResponse::Ok().json(answer))
}

async fn answer(state: &State, key: &str, window: TimeDelta, now: DateTime<Utc>) -> Result<Answer, ApiError> {
    let mut connection = state.database().await?;
    let (target_id, _) = parameters::probed(&mut connection, key).await?;
    let hours_until = store::rollups::done_until(&mut connection).await?;
    let (from, to) = counts::until(now, window);
    let step = summary::readable_step(window, Source::Minute);
    // No bucket is longer than a step, and steps consist of whole ones.
    let start = [Source::Day, Source::Hour].into_iter().find(|source| source.bucket() <= step);
    let segments = counts::rolled_up(from, to, hours_until, start.unwrap_or(Source::Minute), Source::Minute);
    let mut steps = BTreeMap::new();
    for segment in &segments {
        latency::read(&mut connection, target_id, *segment, step, &mut steps).await?;
    }
    let coarsest = segments.iter().map(|segment| segment.source).max().unwrap_or(Source::Minute);
    let from = segments.first().map_or(from, |first| first.from);
    let mut all = Latency::default();
    steps.values().for_each(|one| all.add(one));

    let first = from.duration_trunc(step).unwrap_or(from);
    let points = std::iter::successors(Some(first), |at| Some(*at + step)).take_while(|at| *at < to);
    let (p50_ms, p95_ms) =
        points.map(|at| steps.get(&at).map_or((None, None), |one| (quantile(one, 0.5), quantile(one, 0.95)))).unzip();
    Ok(Answer {
        window: Span::new(from, to, coarsest),
        first_step_at: first.into(),
        step_seconds: step.num_seconds(),
        p50_ms,
        p95_ms,
        p50_ms_all: quantile(&all, 0.5),
        p95_ms_all: quantile(&all, 0.95),
        max_ms: all.buckets.iter().any(|count| *count > 0).then(|| milliseconds(all.max_us)),
    })
}

/// To the microsecond, which is what was measured.
fn quantile(latency: &Latency, ratio: f64) -> Option<f64> {
    let told = latency_quantile_ms(&latency.buckets, milliseconds(latency.max_us), ratio);
    told.map(|ms| (ms * 1000.0).round() / 1000.0)
}
