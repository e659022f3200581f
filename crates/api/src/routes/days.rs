//! `GET /api/v1/targets/{key}/days`: how a target did, day by day.

use std::collections::HashMap;

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Days, NaiveDate, Utc};
use common::Counts;
use serde::{Deserialize, Serialize};
use store::days::{self, Trouble};
use utoipa::{IntoParams, ToSchema};

use super::parameters;
use crate::answer::Moment;
use crate::counts::{percentage, uptime_percentage};
use crate::error::ApiError;
use crate::openapi::{AsksPostgres, NotFound};
use crate::state::{PATIENCE, State, within};

/// Days that are shown unless another number is asked for, and at most.
const DEFAULT_DAYS: i64 = 90;
const MOST_DAYS: i64 = 400;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// How many days, today included.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 400, default = 90, example = 30)]
    days: Option<String>,
}

/// How a target did, day by day.
#[derive(Serialize, ToSchema)]
#[schema(as = TargetDays)]
pub(super) struct Answer {
    /// The beginning of the first day.
    from: Moment,
    /// Now: the last day is not over.
    to: Moment,
    /// Every day in UTC, the oldest first; one of which nothing is known has counts of 0.
    #[schema(max_items = 400)]
    days: Vec<Day>,
}

/// How a target did on one day.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TargetDay)]
struct Day {
    /// In UTC.
    #[schema(value_type = String, format = Date, example = "2026-11-21")]
    date: NaiveDate,
    /// Answered as expected, in time.
    up: u64,
    /// Answered as expected, but slowly.
    degraded: u64,
    /// The target failed.
    down: u64,
    /// lookout was late or not running.
    missed: u64,
    /// The fault was lookout's own.
    unknown: u64,
    /// Share of the verdicts that were up or degraded, in percent, cut off and never rounded up;
    /// null without a verdict.
    #[schema(minimum = 0, maximum = 100)]
    uptime_percentage: Option<f64>,
    /// Share of the slots due that have a verdict, in percent; null when nothing was due.
    #[schema(minimum = 0, maximum = 100)]
    coverage_percentage: Option<f64>,
    /// How many incidents were open at some moment of the day.
    incidents: i64,
    /// For how many minutes of it.
    #[schema(minimum = 0, maximum = 1440)]
    incident_minutes: f64,
}

/// How a target did, day by day
///
/// In UTC, up to this minute. From roll-ups that are kept longer than the checks.
#[utoipa::path(
    get,
    path = "/api/v1/targets/{key}/days",
    operation_id = "target_days",
    tag = "Targets",
    params(
        ("key" = String, Path, description = "The key of a target; percent-encoded, if it is a URL", example = "home"),
        Query
    ),
    responses((status = 200, description = "The days", body = Answer), NotFound, AsksPostgres)
)]
pub(super) async fn get(
    state: web::Data<State>,
    key: web::Path<String>,
    query: web::Query<Query>,
) -> Result<HttpResponse, ApiError> {
    let days = parameters::whole("days", query.days.as_deref(), MOST_DAYS)?.unwrap_or(DEFAULT_DAYS);
    within(PATIENCE, answer(&state, &key, days, Utc::now())).await.map(|answer| HttpResponse::Ok().json(answer))
}

async fn answer(state: &State, key: &str, days: i64, now: DateTime<Utc>) -> Result<Answer, ApiError> {
    let mut connection = state.database().await?;
    let (target_id, _) = parameters::probed(&mut connection, key).await?;
    let today = now.date_naive();
    let first = today - Days::new(u64::try_from(days - 1).unwrap_or(0));
    let counted = days::counts(&mut connection, &[target_id.0], first, now).await?;
    let counted: HashMap<_, _> = counted.into_iter().map(|day| (day.date, day.counts)).collect();
    let troubled = days::incidents(&mut connection, &[target_id.0], first, now).await?;
    let troubled: HashMap<_, _> = troubled.into_iter().map(|trouble| (trouble.date, trouble)).collect();
    let each = first.iter_days().take_while(|date| *date <= today);
    Ok(Answer {
        from: days::midnight(first).into(),
        to: now.into(),
        days: each
            .map(|date| Day::new(date, counted.get(&date).copied().unwrap_or_default(), troubled.get(&date)))
            .collect(),
    })
}

impl Day {
    fn new(date: NaiveDate, counts: Counts, trouble: Option<&Trouble>) -> Self {
        Self {
            date,
            up: counts.up,
            degraded: counts.degraded,
            down: counts.down,
            missed: counts.missed,
            unknown: counts.unknown,
            uptime_percentage: uptime_percentage(counts),
            coverage_percentage: percentage(counts.coverage()),
            incidents: trouble.map_or(0, |trouble| trouble.incidents),
            incident_minutes: trouble.map_or(0.0, Trouble::minutes),
        }
    }
}
