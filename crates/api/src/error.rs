//! One error type for all handlers, answered as RFC 9457 problem details.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER, UPGRADE, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use settings::file::Finding;
use store::StoreError;
use store::tokens::Scope;
use utoipa::ToSchema;

use crate::limits::Exceeded;

tokio::task_local! {
    /// The id of the request being answered.
    pub(crate) static REQUEST_ID: String;
}

/// Why a request gets no answer of its own.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// 400: a parameter breaks a rule.
    Parameter { name: &'static str, code: &'static str, message: String },
    /// 422: more than can be answered; the message says what fits.
    TooMuch { name: &'static str, message: String },
    /// 400: the query string as a whole cannot be read.
    Query(String),
    /// 401: no token, or not the right one.
    Unauthorized,
    /// 403: not for whoever asks, token or not.
    Forbidden(&'static str),
    /// 403: the token is good, and not for this.
    Scope { needs: Scope, has: Scope },
    /// 429: too much was asked.
    TooMany(Exceeded),
    /// 408: the body did not arrive in time.
    TooSlow,
    /// 414: the path with its query is too long.
    UriTooLong,
    /// 431: the headers are too long.
    HeadTooLarge,
    /// 404: no such path.
    NoRoute,
    /// 404: no such thing.
    NotFound(String),
    /// 400: a header breaks a rule, or a body did not arrive.
    Header { name: &'static str, message: String },
    /// 405: no such method on this path; these it has.
    MethodNotAllowed(String),
    /// 406: the answer is of a type that is not accepted; the message says of which.
    NotAcceptable(String),
    /// 409: it contradicts what was sent before.
    Conflict(String),
    /// 413: more than is taken at once.
    TooLarge(String),
    /// 415: a body of another type; the message says which is read.
    MediaType(&'static str),
    /// 422: the body, or the part of it that a JSON pointer names, breaks a rule.
    Body { pointer: String, code: &'static str, message: String },
    /// 422: parts of the body break these rules; a line for people on all of them.
    Rules { detail: String, findings: Vec<Finding> },
    /// 400: the body is not JSON; the message says from which byte on.
    Json(String),
    /// 412: it is not, or no longer, at the version that `If-Match` names.
    Stale,
    /// 428: it is there, and `If-Match` does not say which version of it was seen.
    Unseen,
    /// 426: this path is for WebSockets.
    UpgradeRequired,
    /// 503: Postgres is away, or the migrations still run.
    Unavailable(&'static str),
    /// 500: a bug, or a database that is not as we left it.
    Internal(StoreError),
}

/// Why there is no answer (RFC 9457).
#[derive(Serialize, ToSchema)]
pub(crate) struct Problem<'a> {
    /// Always `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The problem in a few words, the same for every one of its kind.
    #[schema(example = "Invalid parameter")]
    title: &'static str,
    /// The status code of the answer.
    #[schema(example = 400)]
    status: u16,
    /// What is wrong this time, and what would be right.
    #[schema(example = "limit is a whole number from 1 to 500")]
    detail: &'a str,
    /// Which part of the request breaks which rule; absent where no single part does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<Violation<'a>>,
    /// The id of the request, as in the header `x-request-id`; the log has it too.
    #[schema(example = "4c0d7e9a1b2f3a58")]
    request_id: String,
}

/// One part of a request that breaks a rule.
#[derive(Serialize, ToSchema)]
pub(crate) struct Violation<'a> {
    /// Where it is: `query:` or `header:` and a name, or a JSON pointer into the body.
    #[schema(example = "query:limit")]
    pointer: String,
    /// The rule, for programs.
    #[schema(example = "out_of_range")]
    code: &'a str,
    /// The rule, for people.
    #[schema(example = "limit is a whole number from 1 to 500")]
    message: &'a str,
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if error.is_disk_full() {
            tracing::warn!("cannot write: {error}");
            return Self::Unavailable("Postgres has no room left on its disk");
        }
        if error.is_transient() { Self::Unavailable("Postgres cannot be reached") } else { Self::Internal(error) }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

impl ApiError {
    /// Rules that a body breaks, one at least.
    pub(crate) fn rules(findings: Vec<Finding>) -> Self {
        let detail = match findings.as_slice() {
            [one] if one.pointer.is_empty() => one.message.clone(),
            [one] => format!("{}: {}", one.pointer, one.message),
            all => format!("{} rules are broken: `errors` names them", all.len()),
        };
        Self::Rules { detail, findings }
    }

    /// A body that is no JSON from this byte on.
    pub(crate) fn not_json(offset: usize, message: &str) -> Self {
        Self::Json(format!("the body is not JSON from byte {offset} on: {message}"))
    }

    pub(crate) fn title(&self) -> &'static str {
        match self {
            Self::Parameter { .. } | Self::Query(_) => "Invalid parameter",
            Self::TooMuch { .. } => "Too much",
            Self::Unauthorized => "Token required",
            Self::Forbidden(_) | Self::Scope { .. } => "Forbidden",
            Self::TooMany(_) => "Too many requests",
            Self::TooSlow => "Request timeout",
            Self::UriTooLong => "URI too long",
            Self::HeadTooLarge => "Headers too large",
            Self::NoRoute | Self::NotFound(_) => "Not found",
            Self::Header { .. } => "Invalid request",
            Self::MethodNotAllowed(_) => "Method not allowed",
            Self::NotAcceptable(_) => "Not acceptable",
            Self::Conflict(_) => "Conflict",
            Self::TooLarge(_) => "Too large",
            Self::MediaType(_) => "Unsupported media type",
            Self::Body { .. } | Self::Rules { .. } | Self::Json(_) => "Invalid body",
            Self::Stale => "Precondition failed",
            Self::Unseen => "Precondition required",
            Self::UpgradeRequired => "Upgrade required",
            Self::Unavailable(_) => "Temporarily unavailable",
            Self::Internal(_) => "Internal error",
        }
    }

    pub(crate) fn detail(&self) -> &str {
        match self {
            Self::Parameter { message, .. }
            | Self::TooMuch { message, .. }
            | Self::Header { message, .. }
            | Self::Body { message, .. }
            | Self::Rules { detail: message, .. }
            | Self::Json(message)
            | Self::Query(message)
            | Self::NotFound(message)
            | Self::NotAcceptable(message)
            | Self::Conflict(message)
            | Self::TooLarge(message) => message,
            Self::MediaType(message) => message,
            Self::Unauthorized => {
                "send the header `Authorization: Bearer` with a token that is good: that of API_TOKEN, or one that `lookout token create` made"
            }
            Self::Scope { needs: Scope::Read, .. } => "this needs a token with the scope read",
            Self::Scope { needs: Scope::Write, .. } => {
                "this needs a token with the scope write or admin: yours may only read"
            }
            Self::Scope { needs: Scope::Admin, has: Scope::Read } => {
                "this needs a token with the scope admin: yours may only read"
            }
            Self::Scope { needs: Scope::Admin, .. } => {
                "this needs a token with the scope admin: yours has the scope write, which tells of changes and events only"
            }
            Self::TooMany(Exceeded { name: "token", .. }) => {
                "too many requests with this token: Retry-After says when to go on"
            }
            Self::TooMany(Exceeded { name: "login", .. }) => {
                "too many tokens or passwords from this address that are not good: Retry-After says when to try again"
            }
            Self::TooMany(_) => "too many requests from this address: Retry-After says when to go on",
            Self::TooSlow => "the body did not arrive within 30 s, or not at 1 KiB a second after the first 10",
            Self::UriTooLong => "a path with its query has at most 8 KiB",
            Self::HeadTooLarge => "all headers together have at most 32 KiB",
            Self::NoRoute => "there is nothing at this path",
            Self::MethodNotAllowed(_) => "this path has other methods: the header Allow names them",
            Self::Stale => "it is not at the version that If-Match names: read it again",
            Self::Unseen => {
                "it exists: read it, and send its ETag as If-Match, or If-Match: * to replace whatever is there"
            }
            Self::UpgradeRequired => "this path speaks WebSocket only: send `Upgrade: websocket`",
            Self::Unavailable(why) | Self::Forbidden(why) => why,
            Self::Internal(_) => "something went wrong on our side; the log has the reason under this request_id",
        }
    }

    /// The parts of the request that break a rule.
    fn violations(&self) -> Vec<Violation<'_>> {
        let (pointer, code, message) = match self {
            Self::Parameter { name, code, message } => (format!("query:{name}"), *code, message),
            Self::TooMuch { name, message } => (format!("query:{name}"), "too_much", message),
            Self::Header { name, message } => (format!("header:{name}"), "invalid_header", message),
            Self::Body { pointer, code, message } => (pointer.clone(), *code, message),
            Self::Json(message) => (String::new(), "bad_json", message),
            Self::Rules { findings, .. } => {
                let each = findings.iter();
                return each
                    .map(|one| Violation { pointer: one.pointer.clone(), code: "invalid", message: &one.message })
                    .collect();
            }
            _ => return Vec::new(),
        };
        vec![Violation { pointer, code, message }]
    }
}

impl std::error::Error for ApiError {}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Parameter { .. } | Self::Query(_) => StatusCode::BAD_REQUEST,
            Self::TooMuch { .. } | Self::Body { .. } | Self::Rules { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Stale => StatusCode::PRECONDITION_FAILED,
            Self::Unseen => StatusCode::PRECONDITION_REQUIRED,
            Self::Header { .. } | Self::Json(_) => StatusCode::BAD_REQUEST,
            Self::NotAcceptable(_) => StatusCode::NOT_ACCEPTABLE,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) | Self::Scope { .. } => StatusCode::FORBIDDEN,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NoRoute | Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let request_id = REQUEST_ID.try_with(Clone::clone).unwrap_or_default();
        if let Self::Internal(cause) = self {
            // Logged here, once; never sent.
            tracing::error!(request_id, "{cause}");
        }
        let status = self.status_code();
        let mut response = HttpResponse::build(status);
        match self {
            Self::Unavailable(_) => {
                response.insert_header((RETRY_AFTER, "1"));
            }
            Self::Unauthorized => {
                response.insert_header((WWW_AUTHENTICATE, "Bearer"));
            }
            Self::Scope { needs, .. } => {
                // RFC 6750, 3.1.
                let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{needs}\"");
                response.insert_header((WWW_AUTHENTICATE, challenge));
            }
            Self::TooMany(Exceeded { name, quota, window, retry_after }) => {
                response.insert_header((RETRY_AFTER, retry_after.to_string()));
                // As the working group for HTTP APIs drafts them (draft-ietf-httpapi-ratelimit-headers).
                response.insert_header(("ratelimit-policy", format!("\"{name}\";q={quota};w={window}")));
                response.insert_header(("ratelimit", format!("\"{name}\";r=0;t={retry_after}")));
            }
            // What is still to come of it is not waited for.
            Self::TooSlow | Self::TooLarge(_) | Self::UriTooLong | Self::HeadTooLarge => {
                response.force_close();
            }
            Self::UpgradeRequired => {
                response.insert_header((UPGRADE, "websocket"));
            }
            Self::MethodNotAllowed(allowed) => {
                response.insert_header((ALLOW, allowed.as_str()));
            }
            _ => {}
        }
        let problem = Problem {
            kind: "about:blank",
            title: self.title(),
            status: status.as_u16(),
            detail: self.detail(),
            errors: self.violations(),
            request_id,
        };
        let body = serde_json::to_string(&problem).unwrap_or_default();
        response.content_type("application/problem+json").body(body)
    }
}
