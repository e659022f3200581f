//! The document that describes this API, in OpenAPI 3.1.
//!
//! Nothing is written down twice. Paths, parameters and answers are what the handlers and
//! the types they answer with say of themselves; which handlers there are comes from
//! [`routes::each`], which serves them too; what needs no token is asked of the guard.

use std::collections::BTreeMap;

use actix_web::{FromRequest, Handler, Responder, ResponseError};
use bytes::Bytes;
use settings::file::Finding;
use store::StoreError;
use store::tokens::Scope;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Parameter;
use utoipa::openapi::schema::{SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder, Schema};
use utoipa::{IntoResponses, OpenApi as _};

use crate::config::ListenSettings;
use crate::error::{ApiError, Problem};
use crate::guard::{ALWAYS_OPEN, BADGES, BY_ANOTHER_NAME, UNLIMITED};
use crate::limits::Exceeded;
use crate::routes::{self, Described, Routes};

/// What is true of all of it.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "lookout",
        description = "What lookout saw of the URLs and APIs it watches.\n\n\
            What answers GET answers HEAD. A parameter that a path does not have, or that is there twice, is an error that names \
            it, except where only the health of a process is asked for. Who accepts no type that there is gets 406. \
            Moments are RFC 3339 in UTC; durations in parameters are `30s`, `5m` or `24h`, a bare number is seconds. \
            Every answer has the header `x-request-id`. Errors are `application/problem+json` (RFC 9457). \
            Without Postgres the answer is 503 with `Retry-After`, within a second.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    servers((url = "/", description = "Where this document comes from")),
    tags(
        (name = "Checks", description = "What came of each check, and counts of them"),
        (name = "Targets", description = "What is probed, and how it does"),
        (name = "Incidents", description = "When a service left its objective, what broke it, and what fixed it"),
        (name = "Public", description = "What anybody may see where `PUBLIC_PAGE` is on"),
        (name = "lookout", description = "How lookout itself does"),
        (name = "API", description = "This document, and the page to try it"),
    ),
    components(schemas(Problem)),
)]
struct Base;

/// The names of the ways to show that one may read.
const TOKEN: &str = "token";
const LOGIN: &str = "login";

/// The document as it is sent.
pub(crate) struct Document(pub(crate) Bytes);

impl Document {
    /// Builds the document of an api with these settings.
    pub(crate) fn new(settings: &ListenSettings) -> Self {
        let json = serde_json::to_vec(&describe(settings));
        Self(json.expect("a document has string keys only").into())
    }
}

fn describe(settings: &ListenSettings) -> OpenApi {
    let ListenSettings { public_read, by_own_name, public_page, .. } = *settings;
    let mut described = Collected { document: Base::openapi(), schemas: Vec::new() };
    routes::each(&mut described);
    let Collected { mut document, schemas } = described;

    let nothing = SecurityRequirement::default();
    let token = SecurityRequirement::new::<_, [&str; 0], &str>(TOKEN, []);
    let mut readers = vec![token.clone()];
    if settings.login.is_some() {
        readers.push(SecurityRequirement::new::<_, [&str; 0], &str>(LOGIN, []));
    }
    document.security =
        Some(if public_read { [vec![nothing.clone()], readers.clone()].concat() } else { readers.clone() });
    // What the guard may answer before a handler is asked.
    for (path, item) in &mut document.paths.paths {
        if let Some(operation) = &mut item.get {
            operation.parameters.iter_mut().flatten().for_each(never_null);
            operation.responses.responses.extend(gather([bad_request()]));
            if ALWAYS_OPEN.contains(&path.as_str()) {
                operation.security = Some(vec![nothing.clone()]);
            } else {
                operation.responses.responses.extend(gather([unauthorized()]));
                if public_read && by_own_name {
                    let (status, not_here) = by_another_name();
                    operation.responses.responses.entry(status).or_insert(not_here.into());
                }
                if !public_read {
                    // Where the token cannot be looked up.
                    let (status, away) = away();
                    operation.responses.responses.entry(status).or_insert(away.into());
                }
                if public_page && path.starts_with(BADGES) {
                    operation.security = Some([vec![nothing.clone()], readers.clone()].concat());
                }
            }
            if !UNLIMITED.contains(&path.as_str()) {
                operation.responses.responses.extend(gather([too_many(), not_acceptable()]));
            }
        }
        for operation in [&mut item.post, &mut item.put, &mut item.delete].into_iter().flatten() {
            operation.security = Some(vec![token.clone()]);
            operation.responses.responses.extend(gather([unauthorized(), wrong_scope(), too_slow(), too_many()]));
        }
    }

    let components = document.components.get_or_insert_default();
    components.schemas.extend(schemas);
    components.schemas.values_mut().for_each(require_nullable);
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "`API_TOKEN`, which may everything, or a token of `lookout token create`: with the scope `read` for reading \
             where `PUBLIC_READ` is off, `write` also for posting changes and events, `admin` also for targets and services.",
        ));
    components.security_schemes.insert(TOKEN.to_owned(), SecurityScheme::Http(scheme.build()).into());
    if settings.login.is_some() {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Basic)
            .description(Some("`DASHBOARD_LOGIN`, for browsers: it may read, and never write."));
        components.security_schemes.insert(LOGIN.to_owned(), SecurityScheme::Http(scheme.build()).into());
    }
    document
}

/// A parameter may be left out, but not be null.
fn never_null(parameter: &mut RefOr<Parameter>) {
    if let RefOr::T(Parameter { schema: Some(RefOr::T(Schema::Object(object))), .. }) = parameter
        && let SchemaType::Array(kinds) = &object.schema_type
        && let Some(kind) = kinds.iter().find(|kind| **kind != Type::Null)
    {
        object.schema_type = SchemaType::Type(kind.clone());
    }
}

/// A field that may be null is always there: serde writes the null.
fn require_nullable(schema: &mut RefOr<Schema>) {
    match schema {
        RefOr::T(Schema::Object(object)) => {
            for (name, property) in &object.properties {
                if is_nullable(property) && !object.required.contains(name) {
                    object.required.push(name.clone());
                }
            }
        }
        RefOr::T(Schema::AllOf(parts)) => parts.items.iter_mut().for_each(require_nullable),
        _ => {}
    }
}

fn is_nullable(schema: &RefOr<Schema>) -> bool {
    let has_null = |kind: &SchemaType| match kind {
        SchemaType::Type(kind) => *kind == Type::Null,
        SchemaType::Array(kinds) => kinds.contains(&Type::Null),
        SchemaType::AnyValue => false,
    };
    match schema {
        RefOr::T(Schema::Object(object)) => has_null(&object.schema_type),
        RefOr::T(Schema::Array(array)) => has_null(&array.schema_type),
        RefOr::T(Schema::OneOf(choices)) => choices.items.iter().any(is_nullable),
        _ => false,
    }
}

/// Routes gathered into a document.
struct Collected {
    document: OpenApi,
    schemas: Vec<(String, RefOr<Schema>)>,
}

impl Routes for Collected {
    fn add<F, Args>(&mut self, description: impl Described, _: F)
    where
        F: Handler<Args, Output: Responder + 'static>,
        Args: FromRequest + 'static,
    {
        for (path, item) in description.paths().paths {
            match self.document.paths.paths.get_mut(&path) {
                Some(known) => known.merge_operations(item),
                None => {
                    self.document.paths.paths.insert(path, item);
                }
            }
        }
        description.schemas(&mut self.schemas);
    }
}

/// The answer to an error, under its status; with the error as the example.
fn problem(error: &ApiError, description: &str) -> (String, Response) {
    let example = serde_json::json!({
        "type": "about:blank",
        "title": error.title(),
        "status": error.status_code().as_u16(),
        "detail": error.detail(),
        "request_id": "4c0d7e9a1b2f3a58",
    });
    let schema = Ref::from_schema_name("Problem");
    let body = ContentBuilder::new().schema(Some(schema)).example(Some(example)).build();
    let response = ResponseBuilder::new().description(description).content("application/problem+json", body);
    (error.status_code().as_str().to_owned(), response.build())
}

fn with_header((status, mut response): (String, Response), name: &str, description: &str) -> (String, Response) {
    response.headers.insert(name.to_owned(), HeaderBuilder::new().description(Some(description)).build().into());
    (status, response)
}

fn bad_request() -> (String, Response) {
    let error =
        ApiError::Query("unknown field `windw`, expected one of `window`, `step`, `target`, `label`".to_owned());
    problem(&error, "A parameter is unknown, there twice, or breaks a rule")
}

fn unauthorized() -> (String, Response) {
    let refused = problem(
        &ApiError::Unauthorized,
        "The token is missing or wrong; writing needs it, and reading where it is not public",
    );
    with_header(refused, "WWW-Authenticate", "`Bearer`")
}

fn by_another_name() -> (String, Response) {
    let refused = ApiError::Forbidden(BY_ANOTHER_NAME);
    problem(&refused, "This machine was asked for by another name than its address or `localhost`, and without a token")
}

fn not_acceptable() -> (String, Response) {
    let error = ApiError::NotAcceptable("the answer is application/json: accept that".to_owned());
    problem(&error, "`Accept` names no type that there is")
}

fn wrong_scope() -> (String, Response) {
    let error = ApiError::Scope { needs: Scope::Admin, has: Scope::Read };
    let refused = problem(&error, "The token is good, and its scope is not enough");
    with_header(refused, "WWW-Authenticate", "`Bearer`, with the scope that is needed (RFC 6750)")
}

fn too_slow() -> (String, Response) {
    problem(
        &ApiError::TooSlow,
        "The body did not arrive within 30 s, or not at 1 KiB a second after the first 10; the connection is closed",
    )
}

fn too_many() -> (String, Response) {
    let error = ApiError::TooMany(Exceeded { name: "address", quota: 2_000, window: 10, retry_after: 1 });
    let refused = problem(&error, "Too many requests from this address or with this token, or too many wrong tokens");
    let refused = with_header(refused, "Retry-After", "Seconds after which to ask again");
    let refused = with_header(refused, "RateLimit-Policy", "Which limit it is: how many in how many seconds");
    with_header(refused, "RateLimit", "What is left of it, and in how many seconds there is more")
}

fn away() -> (String, Response) {
    let away = problem(&StoreError::deadline_passed().into(), "Postgres is away, or the migrations still run");
    with_header(away, "Retry-After", "Seconds after which to ask again")
}

fn gather<const N: usize>(responses: [(String, Response); N]) -> BTreeMap<String, RefOr<Response>> {
    responses.map(|(status, response)| (status, response.into())).into()
}

/// 404, where a path or a parameter names something.
pub(crate) struct NotFound;

impl IntoResponses for NotFound {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let error = ApiError::NotFound("no target has the key \"hone\"".to_owned());
        gather([problem(&error, "There is nothing of this name")])
    }
}

/// Why a WebSocket does not open.
pub(crate) struct Upgrades;

impl IntoResponses for Upgrades {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let forbidden = ApiError::Forbidden("the page that asks is not from this host");
        let full = problem(&ApiError::Unavailable("there are too many live connections"), "There are too many of them");
        let plain = problem(&ApiError::UpgradeRequired, "The request does not ask for a WebSocket");
        gather([
            problem(&forbidden, "A page from elsewhere asks"),
            with_header(plain, "Upgrade", "`websocket`"),
            with_header(full, "Retry-After", "Seconds after which to ask again"),
        ])
    }
}

/// 422, where an answer has a largest size.
pub(crate) struct TooMuch;

impl IntoResponses for TooMuch {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let message = "a step of 1 s over this window is finer than 600 points of 1 s or more; 300s fits";
        let error = ApiError::TooMuch { name: "step", message: message.to_owned() };
        gather([problem(&error, "More than can be answered; the problem says what fits")])
    }
}

/// What may be wrong with a body.
pub(crate) struct TakesBody;

impl IntoResponses for TakesBody {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let broken = ApiError::Body {
            pointer: "/commit".to_owned(),
            code: "bad-change",
            message: "a commit is 1 to 200 characters without white space".to_owned(),
        };
        let header = ApiError::Header {
            name: "idempotency-key",
            message: "an idempotency key is 1 to 200 visible ASCII characters".to_owned(),
        };
        let conflict = ApiError::Conflict("this idempotency key was used with another body".to_owned());
        gather([
            problem(&header, "The body did not arrive, or a header breaks a rule"),
            problem(&conflict, "The idempotency key was used with another body"),
            problem(&ApiError::TooLarge("a body has at most 8 MiB".to_owned()), "The body is too large"),
            problem(&ApiError::MediaType("send it as application/json"), "The body is of a type that is not read here"),
            problem(&broken, "The body breaks a rule; nothing is stored"),
        ])
    }
}

/// What may be wrong with a target that is posted.
pub(crate) struct TakesTarget;

impl IntoResponses for TakesTarget {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let rule = Finding { pointer: "/interval".to_owned(), message: "\"5ms\" is below the minimum 1s".to_owned() };
        let broken = ApiError::Json("the body is not JSON from byte 9 on: expected value".to_owned());
        gather([
            problem(&broken, "The body is not JSON or did not arrive, or a header breaks a rule"),
            problem(&ApiError::TooLarge("a body has at most 1 MiB".to_owned()), "The body is too large"),
            problem(&ApiError::MediaType("send the target as application/json"), "The body is not said to be JSON"),
            problem(&ApiError::rules(vec![rule]), "The target breaks rules: all of them, with JSON pointers"),
        ])
    }
}

/// What may stand against a change of a target.
pub(crate) struct ChangesTarget;

impl IntoResponses for ChangesTarget {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let message = "the target \"home\" is named in URLS (source env): change it there";
        let header = ApiError::Header {
            name: "if-match",
            message: "If-Match is the ETag of one answer, in its quotation marks, or *".to_owned(),
        };
        gather([
            problem(&header, "A header breaks a rule, or the body is not JSON or did not arrive"),
            problem(&ApiError::Conflict(message.to_owned()), "It belongs to another source"),
            problem(&ApiError::Stale, "It is not at the version that `If-Match` names"),
        ])
    }
}

/// 428, where one has to say what one saw.
pub(crate) struct Unseen;

impl IntoResponses for Unseen {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        gather([problem(&ApiError::Unseen, "It exists, and `If-Match` is missing")])
    }
}

/// 500 and 503, where Postgres is asked.
pub(crate) struct AsksPostgres;

impl IntoResponses for AsksPostgres {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let bug = ApiError::Internal(StoreError::Settings(String::new()));
        gather([problem(&bug, "A bug; the log has the reason under the request's id"), away()])
    }
}
