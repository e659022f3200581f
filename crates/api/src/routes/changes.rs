//! `GET` and `POST /api/v1/changes`: what was rolled out, told by whoever rolls it out.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use engine::Reason;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use store::events::{self, Change, ShownChange};
use store::services;
use utoipa::{IntoParams, ToSchema};

use super::parameters;
use crate::answer::Moment;
use crate::cursor;
use crate::error::ApiError;
use crate::openapi::{AsksPostgres, TakesBody};
use crate::post::{self, Post};
use crate::state::{PATIENCE, State, within};
use crate::upload::Body;

/// Changes on a page, at most and unless fewer are asked for.
const PAGE: i64 = 500;

/// What came over this path, in `source`.
const SOURCE: &str = "deploy";

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Changes of this service only.
    service: Option<String>,
    /// Not those before this.
    #[param(format = DateTime)]
    from: Option<String>,
    /// Not those at or after this.
    #[param(format = DateTime)]
    to: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Changes on a page.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 500, default = 500, example = 100)]
    limit: Option<String>,
}

/// What makes one list another than the next: service, from and to as they were asked.
type Question = (Option<String>, Option<String>, Option<String>);

/// Where a list goes on.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    /// Of which list.
    of: Question,
    at_us: i64,
    change_id: i64,
}

/// A page of changes.
#[derive(Serialize, ToSchema)]
#[schema(as = Changes)]
pub(super) struct Page {
    /// The newest first.
    changes: Vec<Listed>,
    /// The cursor of the next page; null on the last.
    next: Option<String>,
}

/// A commit that was rolled out.
#[derive(Serialize, ToSchema)]
#[schema(as = Change)]
struct Listed {
    service: String,
    commit: String,
    author: Option<String>,
    /// When it was rolled out, as its sender says.
    at: Moment,
    /// When lookout heard of it: this decides what came before which request.
    received_at: Moment,
    /// `deploy` for one posted alone, `events` for one in a stream.
    source: String,
}

/// Changes
///
/// Commits that were rolled out, the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/changes",
    operation_id = "changes",
    tag = "Incidents",
    params(Query),
    responses((status = 200, description = "Changes", body = Page), AsksPostgres)
)]
pub(super) async fn list(state: web::Data<State>, query: web::Query<Query>) -> Result<HttpResponse, ApiError> {
    let limit = parameters::limit(query.limit.as_deref(), PAGE)?.unwrap_or(PAGE);
    let (from, to) = parameters::range(query.from.as_deref(), query.to.as_deref())?;
    let position: Option<Position> = query.cursor.as_deref().map(cursor::decode).transpose()?;
    let of: Question = (query.service.clone(), query.from.clone(), query.to.clone());
    let before = match position {
        None => (to, i64::MAX),
        Some(Position { at_us, change_id, of: asked }) => match DateTime::from_timestamp_micros(at_us) {
            Some(at) if (from..=to).contains(&at) && asked == of => (at, change_id),
            _ => return Err(cursor::invalid()),
        },
    };
    let rows = within(PATIENCE, async {
        let mut connection = state.database().await?;
        Ok(events::changes(&mut connection, query.service.as_deref(), from, to, before, limit + 1).await?)
    })
    .await?;
    let (rows, next) =
        cursor::page(rows, limit, |last| Position { of, at_us: last.at.timestamp_micros(), change_id: last.change_id });
    Ok(HttpResponse::Ok().json(Page { changes: rows.into_iter().map(Listed::from).collect(), next }))
}

/// A commit that was rolled out.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewChange {
    /// Whose it is.
    #[schema(example = "shop")]
    service: String,
    /// Any name for it without white space.
    #[schema(example = "6d0080aaecbf4bd69f9b8962cb007e53")]
    commit: String,
    /// Who made it.
    author: Option<String>,
    /// When it was rolled out; now, unless said otherwise.
    #[schema(value_type = Option<Moment>)]
    #[serde(default, deserialize_with = "moment")]
    at: Option<DateTime<Utc>>,
}

fn moment<'de, D: Deserializer<'de>>(value: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let written = Option::<String>::deserialize(value)?;
    let at = written.map(|written| DateTime::parse_from_rfc3339(&written).map(|at| at.to_utc()));
    at.transpose().map_err(|_| D::Error::custom("expected a moment with its zone, such as 2026-11-21T10:00:00Z"))
}

/// What was stored.
#[derive(Serialize, ToSchema)]
pub(super) struct Stored {
    service: String,
    commit: String,
    author: Option<String>,
    at: Moment,
}

/// Tell of a change
///
/// For the end of a deployment: an incident that begins after this names it as the
/// suspect, one that ends after this as the fix. As JSON, or as `text/plain` in the four
/// lines `commit:`, `Author:`, `Date:` and `Service:`. With the header `Idempotency-Key`
/// the same post may be sent again.
#[utoipa::path(
    post,
    path = "/api/v1/changes",
    operation_id = "post-change",
    tag = "Incidents",
    request_body(content((NewChange = "application/json"), (String = "text/plain"))),
    responses((status = 201, description = "It is stored", body = Stored), TakesBody, AsksPostgres)
)]
pub(super) async fn post(
    state: web::Data<State>,
    request: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, ApiError> {
    let now = Utc::now();
    let change = read(&request, &body, now)?;
    let post = Post::new(&request, &body)?;
    within(post::PATIENCE, async {
        let mut connection = state.database().await?;
        if let Some(answer) = post.answered(&mut connection).await? {
            return Ok(answer);
        }
        let found = services::find_services(&mut connection, std::slice::from_ref(&change.service)).await?;
        let Some(service_id) = found.into_iter().next().flatten() else {
            return Err(ApiError::Body {
                pointer: "/service".to_owned(),
                code: Reason::UnknownService.label(),
                message: format!("no endpoint belongs to a service {:?}", change.service),
            });
        };
        let at = change.at.unwrap_or(now);
        let row = Change { service_id, commit: change.commit.clone(), author: change.author.clone(), at, ordinal: 0 };
        let NewChange { service, commit, author, .. } = change;
        let answer = Stored { service, commit, author, at: at.into() };
        post.store(&state, &mut connection, SOURCE, &[], &[row], StatusCode::CREATED, &answer).await
    })
    .await
}

fn read(request: &HttpRequest, body: &[u8], now: DateTime<Utc>) -> Result<NewChange, ApiError> {
    let change = match post::media_type(request).as_str() {
        "application/json" => post::json::<NewChange>(body)?,
        "text/plain" => from_text(body, now)?,
        _ => return Err(ApiError::MediaType("send a change as application/json or text/plain")),
    };
    let bad = |pointer: &str, message: &str| {
        Err(ApiError::Body {
            pointer: pointer.to_owned(),
            code: Reason::BadChange.label(),
            message: message.to_owned(),
        })
    };
    if post::visible(&change.commit).is_empty()
        || change.commit.contains(char::is_whitespace)
        || change.commit.chars().count() > LONGEST
    {
        return bad("/commit", "a commit is 1 to 200 characters without white space");
    }
    if change.service.contains('\0') {
        return bad("/service", "a service has no NUL");
    }
    if change.author.as_ref().is_some_and(|author| author.chars().count() > LONGEST) {
        return bad("/author", "an author is a text of at most 200 characters");
    }
    if change.at.is_some_and(|at| at > now + post::AHEAD || at < DateTime::UNIX_EPOCH) {
        return bad("/at", "at is a moment since 1970, at most five minutes ahead");
    }
    Ok(NewChange {
        commit: post::visible(&change.commit),
        author: change.author.as_deref().map(post::visible),
        ..change
    })
}

/// Characters of a commit or an author.
pub(super) const LONGEST: usize = 200;

fn from_text(body: &[u8], now: DateTime<Utc>) -> Result<NewChange, ApiError> {
    let bad = |code, message: String| ApiError::Body { pointer: String::new(), code, message };
    let text =
        std::str::from_utf8(body).map_err(|_| bad(Reason::BadSyntax.label(), "the body is not UTF-8".to_owned()))?;
    let change = engine::Change::parse(text)
        .map_err(|rejection| bad(rejection.reason.label(), rejection.explanation.into_owned()))?;
    let at = post::moment(change.date, now).map_err(|why| bad(Reason::BadDate.label(), format!("the date {why}")))?;
    Ok(NewChange {
        service: change.service.to_owned(),
        commit: change.commit.to_owned(),
        author: Some(post::author(change.author)),
        at: Some(at),
    })
}

impl From<ShownChange> for Listed {
    fn from(change: ShownChange) -> Self {
        Self {
            service: change.service,
            commit: change.commit,
            author: change.author,
            at: change.at.into(),
            received_at: change.received_at.into(),
            source: change.source,
        }
    }
}
