//! `GET` and `PUT /api/v1/services`: who owns what, what was promised, and how it does now.

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use engine::{Info, InfoReason};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::services::{self, Declared, Shown};
use utoipa::{IntoParams, ToSchema};

use super::parameters;
use crate::answer::Moment;
use crate::cursor;
use crate::error::ApiError;
use crate::openapi::{AsksPostgres, TakesBody};
use crate::post;
use crate::state::{PATIENCE, State, within};
use crate::upload::AdminBody;

/// Endpoints on a page, at most and unless fewer are asked for.
const PAGE: i64 = 500;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Endpoints of this service only.
    service: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Endpoints on a page.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 500, default = 500, example = 100)]
    limit: Option<String>,
}

/// Where a list goes on.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    /// Of which list: of this service, or of all.
    of: Option<String>,
    service: String,
    verb: String,
    resource: String,
}

/// A page of endpoints.
#[derive(Serialize, ToSchema)]
#[schema(as = Services)]
pub(super) struct Page {
    /// By service, verb and resource. Those of targets that are no longer probed are left out.
    endpoints: Vec<Endpoint>,
    /// The cursor of the next page; null on the last.
    next: Option<String>,
}

/// What a service answers for, and how it does now.
#[derive(Serialize, ToSchema)]
struct Endpoint {
    service: String,
    /// Who answers for the service; null where nobody said.
    owner_name: Option<String>,
    owner_email: Option<String>,
    #[schema(example = "GET")]
    verb: String,
    /// A path, or the key of a target.
    resource: String,
    /// The key of the target whose checks are its requests; null where requests are posted.
    target: Option<String>,
    /// The smallest healthy share of good requests.
    #[schema(example = 0.9)]
    objective: f64,
    /// Over how long.
    #[schema(example = 300.0)]
    window_seconds: f64,
    /// Good requests in the window that ends now.
    good: i64,
    /// All requests in that window.
    total: i64,
    /// Good ÷ total; null when nothing was asked.
    sli: Option<f64>,
    state: EndpointState,
    /// The incident that is open.
    incident: Option<OpenIncident>,
}

/// `unhealthy` while an incident is open; `unknown` when nothing was asked in the window.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum EndpointState {
    Healthy,
    Unhealthy,
    Unknown,
}

/// An incident that is not over.
#[derive(Serialize, ToSchema)]
struct OpenIncident {
    id: i64,
    started_at: Moment,
}

/// Services
///
/// Every endpoint with its objective, and its SLI over the window that ends now.
#[utoipa::path(
    get,
    path = "/api/v1/services",
    operation_id = "services",
    tag = "Incidents",
    params(Query),
    responses((status = 200, description = "Endpoints by service", body = Page), AsksPostgres)
)]
pub(super) async fn list(state: web::Data<State>, query: web::Query<Query>) -> Result<HttpResponse, ApiError> {
    let limit = parameters::limit(query.limit.as_deref(), PAGE)?.unwrap_or(PAGE);
    let position: Option<Position> = query.cursor.as_deref().map(cursor::decode).transpose()?;
    if position.as_ref().is_some_and(|position| position.of != query.service) {
        return Err(cursor::invalid());
    }
    let after =
        position.as_ref().map_or(("", "", ""), |at| (at.service.as_str(), at.verb.as_str(), at.resource.as_str()));
    let rows = within(PATIENCE, async {
        let mut connection = state.database().await?;
        Ok(services::list(&mut connection, query.service.as_deref(), after, Utc::now(), limit + 1).await?)
    })
    .await?;
    let (rows, next) = cursor::page(rows, limit, |last| Position {
        of: query.service.clone(),
        service: last.service.clone(),
        verb: last.verb.clone(),
        resource: last.resource.clone(),
    });
    Ok(HttpResponse::Ok().json(Page { endpoints: rows.into_iter().map(Endpoint::from).collect(), next }))
}

/// One endpoint of the list that is put.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an endpoint: an object with name, verb, resource, slo and window")]
#[expect(dead_code, reason = "says what may be in it; the engine reads it, which keeps every digit")]
pub(super) struct Declaration {
    /// Name of the service.
    #[schema(example = "shop")]
    name: String,
    #[schema(example = "GET")]
    verb: String,
    /// A path, or the key of a target.
    #[schema(example = "/api/v1/orders")]
    resource: String,
    /// The smallest healthy share of good requests, 0 to 1.
    #[schema(value_type = f64, example = 0.999)]
    slo: IgnoredAny,
    /// Over how many seconds.
    #[schema(value_type = f64, example = 300)]
    window: IgnoredAny,
}

/// What became of a list.
#[derive(Serialize, ToSchema)]
pub(super) struct Accepted {
    /// Endpoints in the list.
    endpoints: usize,
    /// Those of them that are new, or have another service, objective or window now.
    changed: u64,
    /// Those the configuration file has promised something for; they stay as it says.
    kept: i64,
}

/// Declare endpoints
///
/// Adds endpoints for requests that are posted, and sets service, objective and window of
/// those that exist, targets included (their verb is their method, their resource their
/// key). Endpoints that are not in the list stay as they are, and so do those for which the
/// configuration file says something else: the answer counts them. The list is the one that
/// `lookout replay --info` reads, which as `text/plain` may also be in the Python form and have other fields.
#[utoipa::path(
    put,
    path = "/api/v1/services",
    operation_id = "declare-services",
    tag = "Incidents",
    request_body(content = Vec<Declaration>),
    responses((status = 200, description = "They are declared", body = Accepted), TakesBody, AsksPostgres)
)]
pub(super) async fn declare(
    state: web::Data<State>,
    request: HttpRequest,
    AdminBody(body): AdminBody,
) -> Result<HttpResponse, ApiError> {
    let is_json = match post::media_type(&request).as_str() {
        "application/json" => true,
        "text/plain" => false,
        _ => return Err(ApiError::MediaType("send the endpoints as application/json")),
    };
    if is_json {
        post::any_json::<Vec<Declaration>>(&body)?;
    }
    let info = Info::parse(&body).map_err(|error| ApiError::Body {
        pointer: if is_json { place(&body, error.reason) } else { String::new() },
        code: error.reason.label(),
        message: error.explanation,
    })?;
    for (index, endpoint) in info.endpoints().iter().enumerate() {
        name(index, "name", &endpoint.service, 200)?;
        name(index, "verb", &endpoint.verb, 50)?;
        name(index, "resource", &endpoint.resource, 2_000)?;
    }
    let list: Vec<Declared> = info
        .endpoints()
        .iter()
        .map(|endpoint| Declared {
            service: endpoint.service.clone(),
            owner_email: None,
            verb: endpoint.verb.clone(),
            resource: endpoint.resource.clone(),
            objective_nano: i64::from(endpoint.objective.billionths()),
            window_ns: endpoint.window.nanos().cast_signed(),
        })
        .collect();
    let (changed, kept) = within(PATIENCE, async {
        let mut connection = state.database().await?;
        let changed = services::declare(&mut connection, &list).await?;
        Ok((changed, services::of_file(&mut connection, &list).await?))
    })
    .await?;
    Ok(HttpResponse::Ok().json(Accepted { endpoints: list.len(), changed, kept }))
}

/// Which entry of a list is wrong in itself, and which of its members, as a JSON pointer.
fn place(body: &[u8], reason: InfoReason) -> String {
    let entries: Vec<&RawValue> = serde_json::from_slice(body).unwrap_or_default();
    let is_wrong = |entry: &&RawValue| Info::parse(format!("[{entry}]").as_bytes()).is_err();
    let member = match reason {
        InfoReason::BadSlo => "/slo",
        InfoReason::BadWindow => "/window",
        _ => "",
    };
    entries.iter().position(is_wrong).map_or_else(String::new, |index| format!("/{index}{member}"))
}

/// Names are kept in indexes, and shown to people.
fn name(index: usize, field: &str, name: &str, most: usize) -> Result<(), ApiError> {
    if name.len() <= most && !name.contains(char::is_control) {
        return Ok(());
    }
    Err(ApiError::Body {
        pointer: format!("/{index}/{field}"),
        code: "bad-info",
        message: format!("{field} is a text of at most {most} bytes without control characters"),
    })
}

impl From<Shown> for Endpoint {
    fn from(row: Shown) -> Self {
        let incident = row.incident_id.zip(row.incident_started_at);
        Self {
            state: match (incident, row.total) {
                (Some(_), _) => EndpointState::Unhealthy,
                (None, 0) => EndpointState::Unknown,
                (None, _) => EndpointState::Healthy,
            },
            sli: sli(&row),
            service: row.service,
            owner_name: row.owner_name,
            owner_email: row.owner_email,
            verb: row.verb,
            resource: row.resource,
            target: row.target,
            objective: row.objective_nano as f64 / 1e9,
            window_seconds: row.window_ns as f64 / 1e9,
            good: row.good,
            total: row.total,
            incident: incident.map(|(id, at): (i64, DateTime<Utc>)| OpenIncident { id, started_at: at.into() }),
        }
    }
}

/// Good ÷ total of the window that ends now.
pub(super) fn sli(row: &Shown) -> Option<f64> {
    (row.total > 0).then(|| row.good as f64 / row.total as f64)
}
