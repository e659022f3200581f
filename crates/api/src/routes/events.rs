//! `POST /api/v1/events`: requests that somebody else saw, and changes, line by line.

use std::collections::HashMap;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, rt, web};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use common::url::without_secrets;
use engine::{Envelope, Id, Nanos, Reason, Rejection, Status};
use serde::Serialize;
use sha2::{Digest, Sha256};
use store::events::{self, Access, Change, Claim, EventId};
use store::{PgConnection, StoreError, services};
use tracing::{info, warn};
use utoipa::ToSchema;

use super::changes::LONGEST;
use crate::error::ApiError;
use crate::openapi::{AsksPostgres, TakesBody};
use crate::post::{self, Post, REPLAYED};
use crate::state::{State, within};
use crate::upload::{BrokenOff, Upload};

/// What events may be said to be.
const TYPES: [&str; 4] = ["application/x-ndjson", "application/jsonl", "application/json", "text/plain"];

/// Lines in a post at most.
const MOST_LINES: usize = 10_000;

/// Earlier requests are none: the year 2000, in nanoseconds since 1970.
const EARLIEST_NS: u64 = 946_684_800_000_000_000;

/// Bytes in a line at most.
const LONGEST_LINE: usize = 64 * 1024;

/// Characters in the id of a line at most.
const LONGEST_ID: usize = 200;

/// What came over this path, in `source`.
const SOURCE: &str = "events";

/// What became of each line.
#[derive(Serialize, ToSchema)]
#[schema(as = PostedEvents)]
pub(super) struct Outcome {
    /// Requests and changes that are stored now.
    accepted: usize,
    /// Those that were stored before under the same `id`.
    duplicates: usize,
    /// Lines that are not; they had no effect.
    rejected: usize,
    /// Every line that is not blank, in order; nothing after `end-of-stream` is looked at.
    results: Vec<LineResult>,
}

/// What became of one line.
#[derive(Debug, Serialize, ToSchema)]
struct LineResult {
    /// Counted from 1, blank ones too.
    line: usize,
    /// 201 for one that is stored, 200 for a duplicate of one that was, 409 for one whose `id` another one has,
    /// 422 for one that breaks a rule.
    #[schema(example = 422)]
    status: u16,
    /// `duplicate`, `id-taken`, or the first rule it breaks, as in `lookout replay`; absent if it is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "bad-status", required = false, nullable = false)]
    reason: Option<&'static str>,
    /// Which part of the line it is about, as a JSON pointer; absent where there are no parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/value", required = false, nullable = false)]
    pointer: Option<&'static str>,
    /// What was found and what would be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    explanation: Option<String>,
}

/// A line that can be stored if its names are known.
struct Read {
    line: usize,
    id: Option<EventId>,
    event: Event,
}

/// A line that can be stored.
struct Found {
    line: usize,
    id: Option<EventId>,
    row: Row,
}

enum Row {
    Access(Access),
    Change(Change),
}

enum Event {
    Access { at: Nanos, verb: String, resource: String, status: Status },
    Change { commit: String, author: String, at: DateTime<Utc>, service: String },
}

/// Post events
///
/// NDJSON, at most 10,000 lines and 8 MiB: the stream that `lookout replay` reads, with
/// `{"type": "access", "value": "1543443091.27 GET /api/v1/orders 200"}` and changes. Each
/// line is stored or rejected for itself. Endpoints are declared at `/api/v1/services`
/// before.
///
/// A line may have an `id`, a text of 1 to 200 characters: within a day the same line under the same
/// `id` is stored once. Lines without one are stored as often as they are sent, unless the whole post is
/// repeated under the header `Idempotency-Key`. Of a post that breaks off and was not packed, the
/// complete lines with an `id` are stored, and no others: send it again. Other members of a line are not looked at.
#[utoipa::path(
    post,
    path = "/api/v1/events",
    operation_id = "post-events",
    tag = "Incidents",
    request_body(content = String, content_type = "application/x-ndjson"),
    responses((status = 207, description = "What became of each line", body = Outcome), TakesBody, AsksPostgres)
)]
pub(super) async fn post(
    state: web::Data<State>,
    request: HttpRequest,
    upload: Upload,
) -> Result<HttpResponse, ApiError> {
    // Not within the connection, which may be gone before what came of it is stored.
    let answer = rt::spawn(async move {
        let arrived = upload.arrive().await;
        let are_events = TYPES.contains(&post::media_type(&request).as_str());
        match arrived {
            Ok(body) if are_events => answer(&state, &request, &body).await,
            Ok(_) => Err(ApiError::MediaType("send events as application/x-ndjson")),
            Err(BrokenOff { part, error }) => {
                if are_events {
                    keep(&state, &part).await;
                }
                Err(error)
            }
        }
    });
    answer.await.unwrap_or_else(|lost| match lost.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => Err(ApiError::Unavailable("this process is being stopped")),
    })
}

async fn answer(state: &State, request: &HttpRequest, body: &Bytes) -> Result<HttpResponse, ApiError> {
    let (read, results) = read(body)?;
    store(state, &Post::new(request, body)?, read, results).await
}

/// Stores what is complete and can be sent again of a post that broke off.
async fn keep(state: &State, part: &[u8]) {
    let complete = part.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    let Ok((mut read, _)) = read(&part[..complete]) else { return };
    read.retain(|line| line.id.is_some());
    let lines = read.len();
    if lines == 0 {
        return;
    }
    match store(state, &Post::unanswered(), read, Vec::new()).await {
        Ok(_) => info!("a post of events broke off: its {lines} complete lines with an id are kept"),
        Err(error) => {
            warn!("a post of events broke off, and its {lines} complete lines with an id are not kept: {error}")
        }
    }
}

async fn store(
    state: &State,
    post: &Post,
    read: Vec<Read>,
    mut results: Vec<LineResult>,
) -> Result<HttpResponse, ApiError> {
    within(post::PATIENCE, async {
        let mut connection = state.database().await?;
        if let Some(answer) = post.answered(&mut connection).await? {
            return Ok(answer);
        }
        let mut transaction = events::begin(&mut connection).await?;
        let found = find(&mut transaction, read, &mut results).await?;
        let ids: Vec<EventId> = found.iter().filter_map(|one| one.id.clone()).collect();
        let mut claims = events::claim(&mut transaction, &ids).await?.into_iter();
        let (mut accesses, mut changes, mut duplicates) = (Vec::new(), Vec::new(), 0);
        for Found { line, id, row } in found {
            let claim = id.and_then(|_| claims.next()).unwrap_or(Claim::New);
            duplicates += usize::from(claim == Claim::Duplicate);
            results.push(LineResult::claimed(line, claim));
            match (claim, row) {
                (Claim::New, Row::Access(access)) => accesses.push(access),
                (Claim::New, Row::Change(change)) => changes.push(change),
                _ => {}
            }
        }
        results.sort_by_key(|result| result.line);
        let accepted = accesses.len() + changes.len();
        let rejected = results.len() - accepted - duplicates;
        let answer = Outcome { accepted, duplicates, rejected, results };
        let answer =
            post.store(state, &mut transaction, SOURCE, &accesses, &changes, StatusCode::MULTI_STATUS, &answer).await?;
        // Where the same post was first, its ids are taken by it, and ours lead to nothing.
        if !answer.headers().contains_key(REPLAYED) {
            transaction.commit().await.map_err(StoreError::from)?;
        }
        Ok(answer)
    })
    .await
}

/// The lines that say something, and the results of those that do not.
fn read(body: &[u8]) -> Result<(Vec<Read>, Vec<LineResult>), ApiError> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let latest = Utc::now() + post::AHEAD;
    let latest = latest.timestamp_nanos_opt().and_then(|ns| u64::try_from(ns).ok()).and_then(Nanos::new);
    let (mut read, mut results) = (Vec::new(), Vec::new());
    for (index, line) in body.split(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        match event(line, latest.unwrap_or(Nanos::MAX)) {
            Ok(None) => {}
            Ok(Some(Line::End)) => break,
            Ok(Some(Line::Event(event, id))) => read.push(Read { line: number, id, event }),
            Err(rejection) => results.push(LineResult::rejected(number, rejection)),
        }
        if read.len() + results.len() > MOST_LINES {
            return Err(ApiError::TooLarge(format!("a post has at most {MOST_LINES} lines: send the rest in another")));
        }
    }
    if read.is_empty() && results.is_empty() {
        return Err(ApiError::Json("there is no event in the body".to_owned()));
    }
    Ok((read, results))
}

enum Line {
    Event(Event, Option<EventId>),
    End,
}

fn event(line: &[u8], latest: Nanos) -> Result<Option<Line>, Rejection> {
    if line.len() > LONGEST_LINE {
        return Err(Rejection::new(Reason::BadSyntax, "is longer than 64 KiB"));
    }
    let Some((envelope, id)) = Envelope::parse_with_id(line)? else { return Ok(None) };
    let (event, text) = match &envelope {
        Envelope::EndOfStream => return Ok(Some(Line::End)),
        Envelope::Access(value) => (access(value, latest)?, value),
        Envelope::Change(value) => (change(value)?, value),
    };
    let id = match id {
        Id::None => None,
        Id::Other => return Err(Rejection::new(Reason::BadId, "\"id\" is not a text")),
        Id::Text(id) if !(1..=LONGEST_ID).contains(&id.chars().count()) || id.contains(char::is_control) => {
            let explanation =
                format!("\"id\" has to be 1 to {LONGEST_ID} characters, and none of them a control character");
            return Err(Rejection::new(Reason::BadId, explanation));
        }
        // A change never reads like a request.
        Id::Text(id) => Some(EventId { id: id.into_owned(), digest: Sha256::digest(text.as_bytes()).to_vec() }),
    };
    Ok(Some(Line::Event(event, id)))
}

fn access(value: &str, latest: Nanos) -> Result<Event, Rejection> {
    let access = engine::Access::parse(value)?;
    // It would move the endpoint's clock, and nothing until then would count.
    if access.at > latest {
        return Err(Rejection::new(Reason::BadTimestamp, "is more than five minutes ahead"));
    }
    // Nobody's request, but a number of something else; it would open an incident of decades.
    if access.at.get() < EARLIEST_NS {
        let explanation = "is before the year 2000: seconds since 1970 are expected";
        return Err(Rejection::new(Reason::BadTimestamp, explanation));
    }
    Ok(Event::Access {
        at: access.at,
        verb: access.verb.to_owned(),
        resource: access.resource.to_owned(),
        status: access.status,
    })
}

fn change(value: &str) -> Result<Event, Rejection> {
    let change = engine::Change::parse(value)?;
    let commit = post::visible(change.commit);
    if commit.is_empty() || change.service.contains('\0') {
        return Err(Rejection::new(Reason::BadChange, "has a commit or a service of control characters"));
    }
    if [commit.as_str(), change.author].iter().any(|text| text.chars().count() > LONGEST) {
        return Err(Rejection::new(Reason::BadChange, "has a commit or an author of over 200 characters"));
    }
    let at = post::moment(change.date, Utc::now()).map_err(|why| Rejection::new(Reason::BadDate, why))?;
    Ok(Event::Change { commit, author: post::author(change.author), at, service: change.service.to_owned() })
}

/// Looks up the names; what has none known is rejected.
async fn find(
    connection: &mut PgConnection,
    read: Vec<Read>,
    results: &mut Vec<LineResult>,
) -> Result<Vec<Found>, ApiError> {
    let (mut verbs, mut resources, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for Read { event, .. } in &read {
        match event {
            // A name with a NUL cannot be asked for, and belongs to nobody.
            Event::Access { verb, resource, .. } if !verb.contains('\0') && !resource.contains('\0') => {
                verbs.push(verb.clone());
                resources.push(resource.clone());
            }
            Event::Access { .. } => {}
            Event::Change { service, .. } => names.push(service.clone()),
        }
    }
    let found = services::find_endpoints(connection, &verbs, &resources).await?;
    let endpoints: HashMap<(String, String), i32> =
        verbs.into_iter().zip(resources).zip(found).filter_map(|(name, id)| Some((name, id?))).collect();
    let found = services::find_services(connection, &names).await?;
    let services: HashMap<String, i32> =
        names.into_iter().zip(found).filter_map(|(name, id)| Some((name, id?))).collect();

    let mut known = Vec::new();
    for Read { line, id, event } in read {
        let ordinal = i32::try_from(line).unwrap_or(i32::MAX);
        let row = match event {
            Event::Access { at, verb, resource, status } => {
                let name = (verb, resource);
                let (at_ns, status) = (at.get().cast_signed(), status.get().cast_signed());
                let endpoint = endpoints.get(&name).copied();
                endpoint.map(|endpoint_id| Row::Access(Access { endpoint_id, at_ns, status, ordinal })).ok_or_else(
                    || {
                        let name = format!("{} {}", name.0, name.1);
                        let explanation = format!("{name:?} is no endpoint: declare it at /api/v1/services");
                        Rejection::new(Reason::UnknownEndpoint, explanation)
                    },
                )
            }
            Event::Change { commit, author, at, service } => match services.get(&service).copied() {
                Some(service_id) => Ok(Row::Change(Change { service_id, commit, author: Some(author), at, ordinal })),
                None => {
                    let explanation = format!("no endpoint belongs to a service {service:?}");
                    Err(Rejection::new(Reason::UnknownService, explanation))
                }
            },
        };
        match row {
            Ok(row) => known.push(Found { line, id, row }),
            Err(rejection) => results.push(LineResult::rejected(line, rejection)),
        }
    }
    Ok(known)
}

/// What is quoted of a line is for its sender, and yet in the log of a program that shows its answers.
fn quoting_no_secret(explanation: &str) -> String {
    match (explanation.find('"'), explanation.rfind('"')) {
        (Some(begin), Some(end)) if begin < end => {
            let quoted = without_secrets(&explanation[begin + 1..end]);
            format!("{}{quoted}{}", &explanation[..=begin], &explanation[end..])
        }
        _ => explanation.to_owned(),
    }
}

impl LineResult {
    fn claimed(line: usize, claim: Claim) -> Self {
        let (status, reason, explanation) = match claim {
            Claim::New => (201, None, None),
            Claim::Duplicate => (200, Some("duplicate"), None),
            Claim::Taken => (409, Some("id-taken"), Some("another line had this \"id\" within the last day")),
        };
        let pointer = explanation.map(|_| "/id");
        Self { line, status, reason, pointer, explanation: explanation.map(str::to_owned) }
    }

    fn rejected(line: usize, rejection: Rejection) -> Self {
        let pointer = rejection.member.map(|member| match member {
            "type" => "/type",
            "id" => "/id",
            _ => "/value",
        });
        let explanation = Some(quoting_no_secret(&rejection.explanation));
        Self { line, status: 422, reason: Some(rejection.reason.label()), pointer, explanation }
    }
}
