//! `GET /api/v1/overview`: everything the first page shows, in one answer.

use actix_web::{HttpRequest, HttpResponse, web};

use crate::answer::with_tag;
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
    Ok(with_tag(&request, published.body()))
}
