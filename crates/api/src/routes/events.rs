//! `POST /api/v1/events`: requests that somebody else saw, and changes, line by line.

use std::collections::HashMap;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use engine::{Envelope, Nanos, Reason, Rejection, Status};
use serde::Serialize;
use store::events::{Access, Change};
use store::{PgConnection, services};
use utoipa::ToSchema;

use super::changes::LONGEST;
use crate::error::ApiError;
use crate::openapi::{AsksPostgres, TakesBody};
use crate::post::{self, Body, Post};
use crate::state::{State, within};

/// Lines in a post at most.
const MOST_LINES: usize = 10_000;

/// Earlier requests are none: the year 2000, in nanoseconds since 1970.
const EARLIEST_NS: u64 = 946_684_800_000_000_000;

/// Bytes in a line at most.
const LONGEST_LINE: usize = 64 * 1024;

/// What came over this path, in `source`.
const SOURCE: &str = "events";

/// What became of each line.
#[derive(Serialize, ToSchema)]
#[schema(as = PostedEvents)]
pub(super) struct Outcome {
    /// Requests and changes that are stored.
    accepted: usize,
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
    /// 201 for one that is stored, 422 for one that is not.
    #[schema(example = 422)]
    status: u16,
    /// The first rule it breaks, as in `lookout replay`; absent if it is stored.
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
    event: Event,
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
/// before. Lines have no id and other members of them are not looked at: with the header
/// `Idempotency-Key` the same post may be sent again, and one that breaks off stores nothing.
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
    Body(body): Body,
) -> Result<HttpResponse, ApiError> {
    const TYPES: [&str; 4] = ["application/x-ndjson", "application/jsonl", "application/json", "text/plain"];
    if !TYPES.contains(&post::media_type(&request).as_str()) {
        return Err(ApiError::MediaType("send events as application/x-ndjson"));
    }
    let (read, mut results) = read(&body)?;
    let post = Post::new(&request, &body)?;
    within(post::PATIENCE, async {
        let mut connection = state.database().await?;
        if let Some(answer) = post.answered(&mut connection).await? {
            return Ok(answer);
        }
        let (accesses, changes) = find(&mut connection, read, &mut results).await?;
        results.sort_by_key(|result| result.line);
        let accepted = accesses.len() + changes.len();
        let answer = Outcome { accepted, rejected: results.len() - accepted, results };
        post.store(&state, &mut connection, SOURCE, &accesses, &changes, StatusCode::MULTI_STATUS, &answer).await
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
            Ok(Some(Line::Event(event))) => read.push(Read { line: number, event }),
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
    Event(Event),
    End,
}

fn event(line: &[u8], latest: Nanos) -> Result<Option<Line>, Rejection> {
    if line.len() > LONGEST_LINE {
        return Err(Rejection::new(Reason::BadSyntax, "is longer than 64 KiB"));
    }
    let event = match Envelope::parse(line)? {
        None => return Ok(None),
        Some(Envelope::EndOfStream) => return Ok(Some(Line::End)),
        Some(Envelope::Access(value)) => {
            let access = engine::Access::parse(&value)?;
            // It would move the endpoint's clock, and nothing until then would count.
            if access.at > latest {
                return Err(Rejection::new(Reason::BadTimestamp, "is more than five minutes ahead"));
            }
            // Nobody's request, but a number of something else; it would open an incident of decades.
            if access.at.get() < EARLIEST_NS {
                return Err(Rejection::new(
                    Reason::BadTimestamp,
                    "is before the year 2000: seconds since 1970 are expected",
                ));
            }
            Event::Access {
                at: access.at,
                verb: access.verb.to_owned(),
                resource: access.resource.to_owned(),
                status: access.status,
            }
        }
        Some(Envelope::Change(value)) => {
            let change = engine::Change::parse(&value)?;
            let commit = post::visible(change.commit);
            if commit.is_empty() || change.service.contains('\0') {
                return Err(Rejection::new(Reason::BadChange, "has a commit or a service of control characters"));
            }
            if [commit.as_str(), change.author].iter().any(|text| text.chars().count() > LONGEST) {
                return Err(Rejection::new(Reason::BadChange, "has a commit or an author of over 200 characters"));
            }
            let at = post::moment(change.date, Utc::now()).map_err(|why| Rejection::new(Reason::BadDate, why))?;
            Event::Change { commit, author: post::author(change.author), at, service: change.service.to_owned() }
        }
    };
    Ok(Some(Line::Event(event)))
}

/// Looks up the names; what has none known is rejected.
async fn find(
    connection: &mut PgConnection,
    read: Vec<Read>,
    results: &mut Vec<LineResult>,
) -> Result<(Vec<Access>, Vec<Change>), ApiError> {
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

    let (mut accesses, mut changes) = (Vec::new(), Vec::new());
    for Read { line, event } in read {
        let ordinal = i32::try_from(line).unwrap_or(i32::MAX);
        let rejection = match event {
            Event::Access { at, verb, resource, status } => {
                let name = (verb, resource);
                match endpoints.get(&name) {
                    Some(endpoint_id) => {
                        let (at_ns, status) = (at.get().cast_signed(), status.get().cast_signed());
                        accesses.push(Access { endpoint_id: *endpoint_id, at_ns, status, ordinal });
                        None
                    }
                    None => {
                        let explanation = format!(
                            "{:?} is no endpoint: declare it at /api/v1/services",
                            format!("{} {}", name.0, name.1)
                        );
                        Some(Rejection::new(Reason::UnknownEndpoint, explanation))
                    }
                }
            }
            Event::Change { commit, author, at, service } => match services.get(&service) {
                Some(service_id) => {
                    changes.push(Change { service_id: *service_id, commit, author: Some(author), at, ordinal });
                    None
                }
                None => {
                    let explanation = format!("no endpoint belongs to a service {service:?}");
                    Some(Rejection::new(Reason::UnknownService, explanation))
                }
            },
        };
        results.push(match rejection {
            None => LineResult { line, status: 201, reason: None, pointer: None, explanation: None },
            Some(rejection) => LineResult::rejected(line, rejection),
        });
    }
    Ok((accesses, changes))
}

impl LineResult {
    fn rejected(line: usize, rejection: Rejection) -> Self {
        let pointer = rejection.member.map(|member| if member == "type" { "/type" } else { "/value" });
        let explanation = Some(rejection.explanation.into_owned());
        Self { line, status: 422, reason: Some(rejection.reason.label()), pointer, explanation }
    }
}
