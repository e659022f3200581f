//! `/healthz`: the process runs. `/readyz`: it can do its work.

use actix_web::{HttpResponse, web};
use store::pool;

use crate::app::State;
use crate::error::ApiError;

pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// Ready means migrated, and Postgres answers; with or without a worker.
pub(super) async fn ready(state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    let mut connection = state.database().await?;
    pool::answers(&mut connection).await?;
    Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ready\n"))
}
