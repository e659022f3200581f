//! `GET /api/openapi.json`: what this API is. `GET /api/docs/`: the same, to read and to try.
//!
//! The page is Swagger UI, which is part of the binary: neither building it nor looking
//! at it fetches anything from anywhere else.

use std::sync::{Arc, LazyLock};

use actix_web::http::header::{CONTENT_SECURITY_POLICY, LOCATION};
use actix_web::{HttpResponse, web};
use utoipa_swagger_ui::Config;

use crate::error::ApiError;
use crate::openapi::{Document, NotFound};

/// Where the page is, and what it is made of.
pub(super) const PAGE: &str = "/api/docs";

/// How the page is set up. It would have the document checked by a stranger if nobody said `none`.
static SETTINGS: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
    Arc::new(
        Config::from("../openapi.json")
            .try_it_out_enabled(true)
            .display_request_duration(true)
            .doc_expansion("list")
            .default_models_expand_depth(0)
            .validator_url("none")
            .use_base_layout(),
    )
});

/// Nothing but what is here; Swagger UI draws with inline styles and images.
const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// This document
#[utoipa::path(
    get,
    path = "/api/openapi.json",
    operation_id = "document",
    tag = "API",
    responses((status = 200, description = "The API in OpenAPI 3.1", content_type = "application/json", body = Object))
)]
pub(super) async fn document(document: web::Data<Document>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(document.0.clone())
}

/// The page to read and try this API
#[utoipa::path(
    get,
    path = "/api/docs/",
    operation_id = "docs",
    tag = "API",
    responses((status = 200, description = "Swagger UI", content_type = "text/html", body = String))
)]
pub(super) async fn page() -> Result<HttpResponse, ApiError> {
    file("index.html")
}

/// What the page is made of
#[utoipa::path(
    get,
    path = "/api/docs/{file}",
    operation_id = "docsFile",
    tag = "API",
    params(("file" = String, Path, description = "The name of a file", example = "swagger-ui.css")),
    responses((status = 200, description = "A style sheet, a script or an image", body = String, content_type = "*/*"), NotFound)
)]
pub(super) async fn part(name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    file(&name)
}

/// The way to the page for those who leave the last slash out
#[utoipa::path(
    get,
    path = "/api/docs",
    operation_id = "docsWithoutSlash",
    tag = "API",
    responses((status = 308, description = "To `/api/docs/`"))
)]
pub(super) async fn without_slash() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((LOCATION, "docs/")).finish()
}

fn file(name: &str) -> Result<HttpResponse, ApiError> {
    // Only setting up a sign-in, which we have not, can fail.
    let found = utoipa_swagger_ui::serve(name, Arc::clone(&SETTINGS)).ok().flatten();
    let file = found.ok_or_else(|| ApiError::NotFound(format!("the page has no file {name:?}")))?;
    Ok(HttpResponse::Ok()
        .content_type(file.content_type)
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .body(file.bytes.into_owned()))
}
