//! `GET /public.json`: what the public page tells, for programs.

use actix_web::{HttpRequest, HttpResponse, web};

use crate::config::ListenSettings;
use crate::error::ApiError;
use crate::openapi::{AsksPostgres, NotFound};
use crate::public::PublicPage;
use crate::public::status::Status;
use crate::state::State;

/// What the public page tells
///
/// The names, states and days of all targets but those with the label `public: "no"`, and their
/// incidents; no URL, no error, no commit. Nobody needs a token for it; there is none unless
/// `PUBLIC_PAGE` is on. At most some seconds old, with an `ETag`.
#[utoipa::path(
    get,
    path = "/public.json",
    operation_id = "public_status",
    tag = "Public",
    responses(
        (status = 200, description = "How everything is", body = Status, headers(("ETag", description = "Of this state"))),
        (status = 304, description = "The state is that of `If-None-Match`"),
        NotFound,
        AsksPostgres
    )
)]
pub(super) async fn get(
    request: HttpRequest,
    state: web::Data<State>,
    page: web::Data<PublicPage>,
    settings: web::Data<ListenSettings>,
) -> Result<HttpResponse, ApiError> {
    if !settings.public_page {
        return Err(ApiError::NoRoute);
    }
    Ok(page.published(&state).await?.json.respond(request.headers(), "application/json"))
}
