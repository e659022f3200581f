//! `/healthz`: the process runs. `/readyz`: it can do its work.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use store::pool;

use crate::error::ApiError;
use crate::openapi::AsksPostgres;
use crate::state::{State, within};

/// Whether the process runs
///
/// Needs no token.
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "alive",
    tag = "lookout",
    responses((status = 200, description = "It does", content_type = "text/plain", body = String, example = "ok\n"))
)]
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// Whether it can do its work
///
/// Ready means migrated, and Postgres answers; with or without a worker. Needs no token.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "ready",
    tag = "lookout",
    responses(
        (status = 200, description = "It can", content_type = "text/plain", body = String, example = "ready\n"),
        AsksPostgres
    )
)]
pub(super) async fn ready(state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    within(Duration::from_millis(900), async {
        let mut connection = state.database().await?;
        Ok(pool::answers(&mut connection).await?)
    })
    .await?;
    Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ready\n"))
}
