//! `GET /api/v1/reports/…`: what `lookout replay` says of a stream, of what was seen live.
//!
//! A report counts the incidents that began in `[from, to)`, of one service or of all.

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use engine::{ByService, Incident, Mttr, Nanos, ServiceMonitor};
use serde::{Deserialize, Serialize};
use store::incidents::{self, Shown, Wanted};
use utoipa::{IntoParams, ToSchema};

use super::parameters;
use crate::error::ApiError;
use crate::openapi::{AsksPostgres, TooMuch};
use crate::state::{PATIENCE, State, within};

/// Incidents in one report at most.
const MOST: i64 = 100_000;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Incidents of this service only.
    service: Option<String>,
    /// Not those that began before this.
    #[param(format = DateTime)]
    from: Option<String>,
    /// Not those that began at or after this.
    #[param(format = DateTime)]
    to: Option<String>,
}

/// Mean time to repair.
#[derive(Serialize, ToSchema)]
#[schema(as = MttrReport)]
pub(super) struct MttrAnswer {
    /// Seconds, to two decimals: the mean of all incidents that are over, each weighing the same; null without one.
    #[schema(value_type = Option<f64>, example = 2.02)]
    mttr: Option<Mttr>,
}

/// How many incidents there were.
#[derive(Serialize, ToSchema)]
#[schema(as = HistogramReport)]
pub(super) struct HistogramAnswer {
    /// Incidents by service, open ones included; services without one are left out.
    #[schema(value_type = std::collections::BTreeMap<String, u64>, example = json!({"shop": 3}))]
    api_histogram: ByService<usize>,
}

/// The incidents themselves.
#[derive(Serialize, ToSchema)]
#[schema(as = IncidentReport)]
pub(super) struct DetailsAnswer<'a> {
    /// By service, in the order in which they opened. `end` is -1 while one is open, and a
    /// commit that is not known is empty.
    #[schema(value_type = std::collections::BTreeMap<String, Vec<ReportedIncident>>)]
    incident_details: ByService<Vec<&'a Incident>>,
}

/// An incident as `lookout replay` writes it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the engine writes")]
pub(super) struct ReportedIncident {
    /// Seconds since 1970.
    #[schema(example = 1_543_443_091.274_5)]
    start: f64,
    /// Seconds since 1970, or -1.
    #[schema(example = 1_543_443_093.289_6)]
    end: f64,
    /// The newest commit before the end.
    fix: String,
    /// The newest commit before the start.
    #[schema(rename = "break")]
    breaking: String,
}

/// Rows as the engine's reports take them.
struct Rows(Vec<Incident>);

impl ServiceMonitor for Rows {
    fn incidents(&self) -> &[Incident] {
        &self.0
    }
}

/// Mean time to repair
#[utoipa::path(
    get,
    path = "/api/v1/reports/mttr",
    operation_id = "mttr",
    tag = "Incidents",
    params(Query),
    responses((status = 200, description = "The mean", body = MttrAnswer), TooMuch, AsksPostgres)
)]
pub(super) async fn mttr(state: web::Data<State>, query: web::Query<Query>) -> Result<HttpResponse, ApiError> {
    let rows = rows(&state, &query).await?;
    Ok(HttpResponse::Ok().json(MttrAnswer { mttr: rows.mttr() }))
}

/// Number of incidents by service
#[utoipa::path(
    get,
    path = "/api/v1/reports/histogram",
    operation_id = "histogram",
    tag = "Incidents",
    params(Query),
    responses((status = 200, description = "The numbers", body = HistogramAnswer), TooMuch, AsksPostgres)
)]
pub(super) async fn histogram(state: web::Data<State>, query: web::Query<Query>) -> Result<HttpResponse, ApiError> {
    let rows = rows(&state, &query).await?;
    Ok(HttpResponse::Ok().json(HistogramAnswer { api_histogram: rows.api_histogram() }))
}

/// Incidents by service
///
/// In the form that `lookout replay` writes.
#[utoipa::path(
    get,
    path = "/api/v1/reports/incidents",
    operation_id = "incident-details",
    tag = "Incidents",
    params(Query),
    responses((status = 200, description = "The incidents", body = DetailsAnswer), TooMuch, AsksPostgres)
)]
pub(super) async fn details(state: web::Data<State>, query: web::Query<Query>) -> Result<HttpResponse, ApiError> {
    let rows = rows(&state, &query).await?;
    Ok(HttpResponse::Ok().json(DetailsAnswer { incident_details: rows.incident_details() }))
}

async fn rows(state: &State, query: &Query) -> Result<Rows, ApiError> {
    let (from, to) = parameters::range(query.from.as_deref(), query.to.as_deref())?;
    let wanted = Wanted { service: query.service.as_deref(), from, to, ..Wanted::ALL };
    let mut rows = within(PATIENCE, async {
        let mut connection = state.database().await?;
        Ok(incidents::list(&mut connection, wanted, MOST + 1).await?)
    })
    .await?;
    if rows.len() as i64 > MOST {
        return Err(ApiError::TooMuch {
            name: "from",
            message: format!("there are more than {MOST} incidents: ask for a shorter range or for one service"),
        });
    }
    rows.retain(|row| row.started_at >= from);
    // In the order in which they opened.
    rows.sort_by_key(|row| row.incident_id);
    Ok(Rows(rows.into_iter().filter_map(incident).collect()))
}

fn incident(row: Shown) -> Option<Incident> {
    let moment = |ns: i64| u64::try_from(ns).ok().and_then(Nanos::new);
    Some(Incident {
        service: row.service.into(),
        verb: row.verb.into(),
        resource: row.resource.into(),
        start: moment(row.started_ns)?,
        end: row.ended_ns.and_then(moment),
        breaking: row.breaking.map(|change| Arc::from(change.commit)),
        fixing: row.fixing.map(|change| Arc::from(change.commit)),
    })
}
