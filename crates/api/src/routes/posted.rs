//! `POST /api/v1/targets`, `PUT` and `DELETE /api/v1/targets/{key}`: targets over the API.
//!
//! A body is read by the rules of the configuration file, and what it says of headers and
//! body is not to be had again. Targets of another source are left alone.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::http::header::{ETAG, IF_MATCH, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::Utc;
use common::{TargetSpec, name_for_log};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use settings::Defaults;
use settings::file::{Finding, NoTarget, target_of_json};
use store::posted::{self, Known, Refused};
use store::{StoreError, overview};
use utoipa::ToSchema;

use super::targets::{Target, etag};
use crate::config::ListenSettings;
use crate::error::ApiError;
use crate::openapi::{AsksPostgres, ChangesTarget, NotFound, TakesTarget, Unseen};
use crate::post::{self, PATIENCE};
use crate::state::{State, within};
use crate::upload::TargetBody;

/// A target as it is posted: the fields of one in the configuration file, with the same
/// rules and defaults. `${…}` is not filled in.
#[derive(ToSchema)]
#[schema(as = PostedTarget)]
#[expect(dead_code, reason = "describes what the reader of the file reads")]
pub(super) struct Posting {
    /// What people read.
    #[schema(example = "home")]
    name: String,
    /// Without user and password.
    #[schema(example = "https://example.org/")]
    url: String,
    /// Its stable identity; the name, if absent.
    #[schema(required = false)]
    key: Option<String>,
    /// The method of the request.
    #[schema(required = false, example = "GET")]
    method: Option<String>,
    /// Headers of the request. Their values are never shown.
    #[schema(required = false)]
    headers: Option<BTreeMap<String, String>>,
    /// The body of the request. It is never shown.
    #[schema(required = false)]
    body: Option<String>,
    /// How often it is due, 1s to 24h; a bare number is seconds.
    #[schema(required = false, example = "10s")]
    interval: Option<String>,
    /// How long one check may take.
    #[schema(required = false, example = "5s")]
    timeout: Option<String>,
    /// A success slower than this is degraded.
    #[schema(required = false, example = "500ms")]
    degraded_after: Option<String>,
    /// What the answer has to be, as in the configuration file.
    #[schema(required = false, value_type = Option<Object>, example = json!({"body": {"contains": "ok"}}))]
    expect: Option<Value>,
    /// Status codes that count as success.
    #[schema(required = false, example = "200-299,301")]
    expect_status: Option<String>,
    /// `fresh` or `reuse`.
    #[schema(required = false, example = "fresh")]
    connection: Option<String>,
    /// The service it is an endpoint of; one of its own name, if absent.
    #[schema(required = false)]
    service: Option<String>,
    /// Names and values to tell targets apart by.
    #[schema(required = false, example = json!({"team": "shop"}))]
    labels: Option<BTreeMap<String, String>>,
}

/// Add or replace a target
///
/// Makes this the target of its key, whatever was there: a new one, another configuration,
/// or one that was deleted, with its history. The same again changes nothing. Workers probe
/// it within a second or two.
#[utoipa::path(
    post,
    path = "/api/v1/targets",
    operation_id = "post-target",
    tag = "Targets",
    params(("If-Match" = Option<String>, Header, description = "Only if it is there and at this version: its ETag, or `*`")),
    request_body(content = Posting),
    responses(
        (status = 200, description = "It was there, and is as posted now", body = Target,
         headers(("ETag" = String, description = "The version of its configuration"))),
        (status = 201, description = "It is new, or back", body = Target,
         headers(("ETag" = String, description = "The version of its configuration"),
                 ("Location" = String, description = "Where to read it"))),
        TakesTarget, ChangesTarget, AsksPostgres
    )
)]
pub(super) async fn post(
    state: web::Data<State>,
    request: HttpRequest,
    TargetBody(body): TargetBody,
) -> Result<HttpResponse, ApiError> {
    let target = read(&request, &body, None)?;
    put_target(&state, &target, &body, known(&request)?.unwrap_or(Known::Whatever)).await
}

/// Add a target under a key, or replace the one seen
///
/// Makes this the target of the key. Where there is one, `If-Match` says which version of
/// it was seen, so that nobody's change is lost.
#[utoipa::path(
    put,
    path = "/api/v1/targets/{key}",
    operation_id = "put-target",
    tag = "Targets",
    params(
        ("key" = String, Path, description = "The key of the target; percent-encoded, if it is a URL", example = "home"),
        ("If-Match" = Option<String>, Header, description = "The ETag of the target that is there, or `*` for any; needed if there is one"),
    ),
    request_body(content = Posting),
    responses(
        (status = 200, description = "It is as put now", body = Target,
         headers(("ETag" = String, description = "The version of its configuration"))),
        (status = 201, description = "It is new, or back", body = Target,
         headers(("ETag" = String, description = "The version of its configuration"),
                 ("Location" = String, description = "Where to read it"))),
        TakesTarget, ChangesTarget, Unseen, AsksPostgres
    )
)]
pub(super) async fn put(
    state: web::Data<State>,
    request: HttpRequest,
    key: web::Path<String>,
    TargetBody(body): TargetBody,
) -> Result<HttpResponse, ApiError> {
    let target = read(&request, &body, Some(&key))?;
    if target.key != *key {
        let finding = Finding {
            pointer: "/key".to_owned(),
            message: "is another key than that of the path; leave it out, or delete this target and post the other"
                .to_owned(),
        };
        return Err(ApiError::rules(vec![finding]));
    }
    put_target(&state, &target, &body, known(&request)?.unwrap_or(Known::Nothing)).await
}

/// Delete a target
///
/// It is no longer probed. What was seen of it stays, and is there again if it comes back;
/// values of its headers and its body are forgotten.
#[utoipa::path(
    delete,
    path = "/api/v1/targets/{key}",
    operation_id = "delete-target",
    tag = "Targets",
    params(
        ("key" = String, Path, description = "The key of the target; percent-encoded, if it is a URL", example = "home"),
        ("If-Match" = Option<String>, Header, description = "Only if it is at this version: its ETag, or `*`"),
    ),
    responses((status = 204, description = "It is deleted"), NotFound, ChangesTarget, AsksPostgres)
)]
pub(super) async fn delete(
    state: web::Data<State>,
    request: HttpRequest,
    key: web::Path<String>,
    _: TargetBody,
) -> Result<HttpResponse, ApiError> {
    let known = known(&request)?.unwrap_or(Known::Whatever);
    let removed = within(PATIENCE, async { Ok(posted::remove(&mut *state.database().await?, &key, known).await?) });
    removed.await?.map_err(|refused| refuse(&key, refused))?;
    tracing::info!("target deleted over the api, its history stays: {}", name_for_log(&key));
    Ok(HttpResponse::NoContent().finish())
}

fn read(request: &HttpRequest, body: &[u8], key: Option<&str>) -> Result<TargetSpec, ApiError> {
    if post::media_type(request) != "application/json" {
        return Err(ApiError::MediaType("send the target as application/json"));
    }
    let target = target_of_json(body, key, &Defaults::default()).map_err(|error| match error {
        NoTarget::Syntax { offset, message } => ApiError::not_json(offset, &message),
        NoTarget::Rules(findings) => ApiError::rules(findings),
    })?;
    // A name is judged by the workers, each time that they look it up.
    let reach = request.app_data::<web::Data<ListenSettings>>().map(|settings| settings.api_targets);
    reach
        .unwrap_or_default()
        .allows_url(target.url.url())
        .map_err(|denied| ApiError::rules(vec![Finding { pointer: "/url".to_owned(), message: denied.to_string() }]))?;
    Ok(target)
}

/// What `If-Match` says; `None` without it.
fn known(request: &HttpRequest) -> Result<Option<Known>, ApiError> {
    let Some(value) = request.headers().get(IF_MATCH) else { return Ok(None) };
    let value = value.to_str().unwrap_or_default().trim();
    if value == "*" {
        return Ok(Some(Known::Any));
    }
    let tag = value.strip_prefix("W/").unwrap_or(value);
    match tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).filter(|tag| !tag.contains('"')) {
        // A weak one matches nothing, and neither does one that is not from here.
        Some(tag) if !value.starts_with('W') => Ok(Some(Known::Version(tag.parse().unwrap_or(-1)))),
        Some(_) => Ok(Some(Known::Version(-1))),
        None => Err(ApiError::Header {
            name: "if-match",
            message: "If-Match is the ETag of one answer, in its quotation marks, or *".to_owned(),
        }),
    }
}

async fn put_target(state: &State, target: &TargetSpec, body: &[u8], known: Known) -> Result<HttpResponse, ApiError> {
    // One spelling, so that the same in another layout is the same.
    let text = serde_json::from_slice::<Value>(body).unwrap_or_default().to_string();
    let (put, row) = within(PATIENCE, async {
        let mut connection = state.database().await?;
        let put = match posted::put(&mut connection, target, &text, known).await? {
            Ok(put) => put,
            Err(refused) => return Err(refuse(&target.key, refused)),
        };
        let row = overview::list(&mut connection, "", Some(&target.key), 1).await?.pop();
        // Somebody may have deleted it already.
        let row = row.ok_or_else(|| ApiError::from(StoreError::deadline_passed()))?;
        Ok((put, row))
    })
    .await?;
    tracing::info!(version = put.version, "target put over the api: {}", name_for_log(&target.key));
    let mut response = HttpResponse::build(if put.is_new { StatusCode::CREATED } else { StatusCode::OK });
    if put.is_new {
        let key = utf8_percent_encode(&target.key, NON_ALPHANUMERIC);
        response.insert_header((LOCATION, format!("/api/v1/targets/{key}")));
    }
    Ok(response.insert_header((ETAG, etag(row.version))).json(Target::new(row, Utc::now())))
}

fn refuse(key: &str, refused: Refused) -> ApiError {
    match refused {
        Refused::Foreign(source) => {
            let place = if source == "file" { "in the configuration file of the workers" } else { "in URLS" };
            ApiError::Conflict(format!("the target {key:?} is named {place} (source {source}): change it there"))
        }
        Refused::Unknown => ApiError::NotFound(format!("no target has the key {key:?}")),
        Refused::Stale => ApiError::Stale,
        Refused::Unseen => ApiError::Unseen,
    }
}
