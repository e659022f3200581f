//! `GET /api/v1/table` and `/api/v1/map`: every target, page by page or as one character.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::answer::{tagged, with_tag};
use crate::error::ApiError;
use crate::openapi::AsksPostgres;
use crate::overview::{self, Map, Table};
use crate::state::State;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Query {
    /// Words that all occur in the name, the key, the URL or a label like `team:shop`, whatever their case.
    #[param(max_length = 200, example = "shop")]
    q: String,
    /// Only targets in this state: `up`, `degraded`, `down` or `unknown`.
    #[param(example = "down")]
    state: String,
    /// Only targets with this label, as name and value like `team:shop`.
    #[param(example = "team:shop")]
    label: String,
    /// `name`, `state` (the worst first), `failed` (the highest failed share of five minutes first), `slow`, `age`
    /// (the oldest verdict first, none before all) or `group`. Between equals the name decides, then the key.
    #[param(default = "name", example = "state")]
    sort: String,
    /// Which page, from 1; the last where there are fewer.
    #[param(value_type = Option<u64>, minimum = 1, default = 1, example = 2)]
    page: Option<String>,
}

impl Query {
    fn parse(&self) -> Result<overview::Query, ApiError> {
        let page = self.page.as_deref().map_or(Some(1), |page| page.parse().ok());
        overview::Query::parse(&self.q, &self.state, &self.label, &self.sort, page)
    }
}

/// Every target, page by page
///
/// At most a second old; `as_of` says of when. With a strong `ETag`. The same live: docs/LIVE.md.
#[utoipa::path(
    get,
    path = "/api/v1/table",
    operation_id = "table",
    tag = "Targets",
    params(Query),
    responses(
        (status = 200, description = "A page of the targets that fit", body = Table, headers(("ETag", description = "Of this state"))),
        (status = 304, description = "The state is that of `If-None-Match`"),
        AsksPostgres
    )
)]
pub(super) async fn get(
    state: web::Data<State>,
    query: web::Query<Query>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = query.parse()?;
    state.is_ready()?;
    let sheet = state.hub.sheet().await?;
    let table = aside(move || tagged(serde_json::to_vec(&sheet.table(&query)).unwrap_or_default())).await?;
    Ok(with_tag(&request, &table))
}

/// Every target as one character
///
/// For a picture of all of them. At most a second old; `as_of` says of when. With a strong `ETag`.
#[utoipa::path(
    get,
    path = "/api/v1/map",
    operation_id = "map",
    tag = "Targets",
    responses(
        (status = 200, description = "One character a target", body = Map, headers(("ETag", description = "Of this state"))),
        (status = 304, description = "The state is that of `If-None-Match`"),
        AsksPostgres
    )
)]
pub(super) async fn map(state: web::Data<State>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    state.is_ready()?;
    let sheet = state.hub.sheet().await?;
    let drawn = Arc::clone(&sheet);
    // The first to ask draws it, for all who ask for the same state.
    aside(move || _ = drawn.map()).await?;
    Ok(with_tag(&request, sheet.map()))
}

/// Computes where it holds up no other request.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    web::block(work).await.map_err(|_| ApiError::Unavailable("the api stops"))
}
