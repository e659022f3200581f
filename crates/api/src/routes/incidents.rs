//! `GET /api/v1/incidents` and `/api/v1/incidents/{id}`: when a service left its
//! objective, what broke it, and what fixed it.

use actix_web::{HttpResponse, web};
use chrono::{TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use store::events::{self, ShownChange};
use store::incidents::{self, Failure, Shown, Suspect, Wanted};
use utoipa::{IntoParams, ToSchema};

use super::parameters;
use crate::answer::{Moment, milliseconds};
use crate::cursor;
use crate::error::ApiError;
use crate::openapi::{AsksPostgres, NotFound};
use crate::state::{PATIENCE, State, within};

/// Incidents on a page, at most and unless fewer are asked for.
const PAGE: i64 = 500;

/// Failures and changes that the detail shows, at most.
const MOST_NEAR: i64 = 50;

/// How far before an incident a change may be its cause.
const CHANGES_BEFORE: TimeDelta = TimeDelta::hours(24);

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Incidents of this service only.
    service: Option<String>,
    /// Not those that were over before this.
    #[param(format = DateTime)]
    from: Option<String>,
    /// Not those that began at or after this.
    #[param(format = DateTime)]
    to: Option<String>,
    /// Only those that are open, or only those that are over.
    #[param(value_type = Option<bool>)]
    open: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Incidents on a page.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 500, default = 500, example = 100)]
    limit: Option<String>,
}

/// What makes one list another than the next: service, from, to and open as they were asked.
type Question = (Option<String>, Option<String>, Option<String>, Option<String>);

/// Where a list goes on.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    /// Of which list.
    of: Question,
    started_us: i64,
    incident_id: i64,
}

/// A page of incidents.
#[derive(Serialize, ToSchema)]
#[schema(as = Incidents)]
pub(super) struct Page {
    /// The newest first.
    incidents: Vec<Incident>,
    /// The cursor of the next page; null on the last.
    next: Option<String>,
}

/// From the request that broke an objective to the one that restored it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Incident {
    id: i64,
    service: String,
    /// The endpoint: method …
    #[schema(example = "GET")]
    verb: String,
    /// … and path, or the key of a target.
    resource: String,
    /// The key of the target whose checks are its requests; null where requests are posted.
    target: Option<String>,
    /// The request that broke the objective.
    started_at: Moment,
    /// The request that restored it; null while the incident is open.
    ended_at: Option<Moment>,
    /// How long it lasted; null while it is open.
    duration_seconds: Option<f64>,
    /// The share of good requests that was promised, as it is now.
    #[schema(example = 0.9)]
    objective: f64,
    /// The length of the sliding window, as it is now.
    window_seconds: f64,
    /// Good requests in the window when it began.
    good: i64,
    /// All requests in that window.
    total: i64,
    /// The newest change of the service before it began; null if none is known.
    #[serde(rename = "break")]
    breaking: Option<Change>,
    /// The newest change of the service before it ended. It may be the one that broke it.
    fix: Option<Change>,
}

/// A commit that was rolled out.
#[derive(Serialize, ToSchema)]
#[schema(as = Suspect)]
struct Change {
    commit: String,
    author: Option<String>,
    /// When it was rolled out, as its sender says.
    at: Moment,
}

/// An incident, and what happened around it.
#[derive(Serialize, ToSchema)]
#[schema(as = IncidentDetail)]
pub(super) struct Detail {
    #[serde(flatten)]
    incident: Incident,
    /// Failed checks and posted failures around its beginning: of each at most the last 25
    /// up to then and the first 25 after it, within one window.
    failures: Vec<Failed>,
    /// Changes of the service from a day before it began until it ended, the newest first, at most 50.
    changes: Vec<Change>,
}

/// A check or a request that failed.
#[derive(Serialize, ToSchema)]
struct Failed {
    at: Moment,
    /// Why a check was down; null for a posted request.
    cause: Option<String>,
    /// The status code; null without a response.
    code: Option<i16>,
    /// In milliseconds; null for a posted request.
    elapsed_ms: Option<f64>,
    /// Which assertion failed and what was seen instead; only there where that is the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    detail: Option<String>,
}

/// Incidents
///
/// Those that touch `[from, to)`, the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/incidents",
    operation_id = "incidents",
    tag = "Incidents",
    params(Query),
    responses((status = 200, description = "Incidents", body = Page), AsksPostgres)
)]
pub(super) async fn list(state: web::Data<State>, query: web::Query<Query>) -> Result<HttpResponse, ApiError> {
    let limit = parameters::limit(query.limit.as_deref(), PAGE)?.unwrap_or(PAGE);
    let (from, to) = parameters::range(query.from.as_deref(), query.to.as_deref())?;
    let position: Option<Position> = query.cursor.as_deref().map(cursor::decode).transpose()?;
    let of: Question = (query.service.clone(), query.from.clone(), query.to.clone(), query.open.clone());
    if position.as_ref().is_some_and(|position| position.of != of) {
        return Err(cursor::invalid());
    }
    let open = match query.open.as_deref() {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => {
            let message = "open is true or false".to_owned();
            return Err(ApiError::Parameter { name: "open", code: "invalid_bool", message });
        }
    };
    let before = position.map_or(Wanted::ALL.before, |position| {
        (common::target::micros_to_utc(position.started_us), position.incident_id)
    });
    let wanted = Wanted { service: query.service.as_deref(), from, to, open, before, incident_id: None };
    let rows = within(PATIENCE, async {
        let mut connection = state.database().await?;
        Ok(incidents::list(&mut connection, wanted, limit + 1).await?)
    })
    .await?;
    let (rows, next) = cursor::page(rows, limit, |last| Position {
        of,
        started_us: last.started_at.timestamp_micros(),
        incident_id: last.incident_id,
    });
    Ok(HttpResponse::Ok().json(Page { incidents: rows.into_iter().map(Incident::from).collect(), next }))
}

/// One incident
///
/// With the failures around its beginning and the changes near it.
#[utoipa::path(
    get,
    path = "/api/v1/incidents/{id}",
    operation_id = "incident",
    tag = "Incidents",
    params(("id" = i64, Path, description = "Its number")),
    responses((status = 200, description = "The incident", body = Detail), NotFound, AsksPostgres)
)]
pub(super) async fn get(state: web::Data<State>, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let nobody = || ApiError::NotFound(format!("no incident has the number {:?}", id.as_str()));
    let incident_id: i64 =
        id.parse().map_err(|_| ApiError::Query("the number of an incident is a whole number".to_owned()))?;
    let detail = within(PATIENCE, async {
        let mut connection = state.database().await?;
        let wanted = Wanted { incident_id: Some(incident_id), ..Wanted::ALL };
        let row = incidents::list(&mut connection, wanted, 1).await?.pop().ok_or_else(nobody)?;
        // A window may be longer than there is time before.
        let window = TimeDelta::microseconds(row.window_ns / 1_000).min(CHANGES_BEFORE);
        let failures = incidents::failures(&mut connection, &row, window, MOST_NEAR / 2).await?;
        let until = row.ended_at.unwrap_or_else(Utc::now) + TimeDelta::microseconds(1);
        let (from, before) = (row.started_at - CHANGES_BEFORE, (until, i64::MAX));
        let changes = events::changes(&mut connection, Some(&row.service), from, until, before, MOST_NEAR).await?;
        Ok(Detail {
            incident: row.into(),
            failures: failures.into_iter().map(Failed::from).collect(),
            changes: changes.into_iter().map(Change::from).collect(),
        })
    })
    .await?;
    Ok(HttpResponse::Ok().json(detail))
}

impl From<Shown> for Incident {
    fn from(row: Shown) -> Self {
        Self {
            id: row.incident_id,
            service: row.service,
            verb: row.verb,
            resource: row.resource,
            target: row.target,
            started_at: row.started_at.into(),
            ended_at: row.ended_at.map(Moment::from),
            duration_seconds: row.ended_ns.map(|ended| (ended - row.started_ns) as f64 / 1e9),
            objective: row.objective_nano as f64 / 1e9,
            window_seconds: row.window_ns as f64 / 1e9,
            good: row.good_count,
            total: row.total_count,
            breaking: row.breaking.map(Change::from),
            fix: row.fixing.map(Change::from),
        }
    }
}

impl From<Suspect> for Change {
    fn from(Suspect { commit, author, at }: Suspect) -> Self {
        Self { commit, author, at: at.into() }
    }
}

impl From<ShownChange> for Change {
    fn from(change: ShownChange) -> Self {
        Self { commit: change.commit, author: change.author, at: change.at.into() }
    }
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self {
            at: failure.at.into(),
            cause: failure.cause,
            code: failure.code,
            elapsed_ms: failure.elapsed_us.map(milliseconds),
            detail: failure.detail,
        }
    }
}
