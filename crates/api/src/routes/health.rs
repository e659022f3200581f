//! `/healthz`: the process runs. `/readyz`: it can do its work.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use store::pool;

use crate::error::ApiError;
use crate::state::{State, within};

pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// Ready means migrated, and Postgres answers; with or without a worker.
pub(super) async fn ready(state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    within(Duration::from_millis(900), async {
        let mut connection = state.database().await?;
        Ok(pool::answers(&mut connection).await?)
    })
    .await?;
    Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ready\n"))
}
