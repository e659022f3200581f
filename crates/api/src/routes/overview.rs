//! `GET /api/v1/overview`: everything the first page shows, in one answer.

use actix_web::http::header::{ETAG, IF_NONE_MATCH};
use actix_web::{HttpRequest, HttpResponse, web};

use crate::error::ApiError;
use crate::openapi::AsksPostgres;
use crate::overview::Overview;
use crate::state::State;

/// Everything at a glance
///
/// What the first page shows: how many targets are up, what needs attention, counts over five
/// windows, the failed share of the last hour, incidents and changes, and how lookout itself
/// does. At most a second old; `as_of` says of when. With a strong `ETag`.
#[utoipa::path(
    get,
    path = "/api/v1/overview",
    operation_id = "overview",
    tag = "Targets",
    responses(
        (status = 200, description = "Everything at a glance", body = Overview, headers(("ETag", description = "Of this state"))),
        (status = 304, description = "The state is that of `If-None-Match`"),
        AsksPostgres
    )
)]
pub(super) async fn get(state: web::Data<State>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    state.is_ready()?;
    let published = state.hub.overview().await?;
    let (body, tag) = published.body();
    let mut known = request.headers().get_all(IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
    // A cache between may have weakened it.
    let is_known = known
        .any(|tags| tags.split(',').map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == tag));
    if is_known {
        return Ok(HttpResponse::NotModified().insert_header((ETAG, tag.as_str())).finish());
    }
    Ok(HttpResponse::Ok().insert_header((ETAG, tag.as_str())).content_type("application/json").body(body.clone()))
}
