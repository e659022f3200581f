//! What every request passes: an id, a reader's token where one is needed, and
//! headers that keep answers out of caches.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    AUTHORIZATION, CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, ResponseError, web};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use crate::assets;
use crate::config::ListenSettings;
use crate::error::{ApiError, REQUEST_ID};
use crate::public;

/// Paths that tell only whether we run, because a load balancer has no token; and the public
/// page's content, which is there or not.
pub(crate) const ALWAYS_OPEN: [&str; 3] = ["/healthz", "/readyz", "/public.json"];

/// Badges are as open as reading is, and where there is a public page.
pub(crate) const BADGES: &str = "/badge/";

/// The path of the WebSocket, and the subprotocol that brings the token to it.
const LIVE: &str = "/api/v1/live";
const BEARER: &str = "lookout.bearer.";

pub(crate) async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let id = format!("{:016x}", rand::random::<u64>());
    let header = HeaderValue::from_str(&id).unwrap_or_else(|_| HeaderValue::from_static(""));
    REQUEST_ID
        .scope(id, async move {
            let mut response = if has_nul(&request) {
                let problem = ApiError::Query("a NUL byte is in no name and no URL".to_owned());
                request.into_response(problem.error_response()).map_into_right_body()
            } else if may_read(&request) {
                next.call(request).await?.map_into_left_body()
            } else {
                request.into_response(ApiError::Unauthorized.error_response()).map_into_right_body()
            };
            let headers = response.headers_mut();
            headers.insert(HeaderName::from_static("x-request-id"), header);
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            // Files of the dashboard say themselves how long they last.
            if !headers.contains_key(CACHE_CONTROL) {
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            }
            Ok(response)
        })
        .await
}

/// Postgres keeps no NUL in text, so nothing can have one; asked for it, it is an error.
fn has_nul(request: &ServiceRequest) -> bool {
    request.uri().path_and_query().is_some_and(|asked| asked.as_str().contains("%00"))
}

fn may_read(request: &ServiceRequest) -> bool {
    let Some(settings) = request.app_data::<web::Data<ListenSettings>>() else { return false };
    let is_open = |path: &str| {
        ALWAYS_OPEN.contains(&path)
            || assets::is_here(path)
            || public::is_here(path)
            || (settings.public_page && path.starts_with(BADGES))
    };
    settings.public_read
        || is_open(request.path())
        || has_token(request.headers(), settings)
        || (request.path() == LIVE && offers_token(request.headers(), settings))
}

/// Whether everything may be read, not only what is public.
pub(crate) fn may_read_all(request: &HttpRequest, settings: &ListenSettings) -> bool {
    settings.public_read || has_token(request.headers(), settings)
}

/// Writing needs the token, always: whoever takes a body asks here first.
pub(crate) fn may_write(request: &HttpRequest) -> bool {
    let settings = request.app_data::<web::Data<ListenSettings>>();
    settings.is_some_and(|settings| has_token(request.headers(), settings))
}

fn has_token(headers: &HeaderMap, settings: &ListenSettings) -> bool {
    let given = headers.get(AUTHORIZATION).and_then(|value| {
        // The name of a scheme has no case (RFC 9110, 11.1).
        let (scheme, token) = value.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
    });
    given.is_some_and(|given| is_token(given, settings))
}

/// A page cannot set headers of a WebSocket; the names of subprotocols it can.
fn offers_token(headers: &HeaderMap, settings: &ListenSettings) -> bool {
    let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL).filter_map(|value| value.to_str().ok());
    let mut tokens = offers.flat_map(|offers| offers.split(',')).filter_map(|name| name.trim().strip_prefix(BEARER));
    // One is enough to look at: nobody has two.
    let given = tokens.next().and_then(|token| BASE64_URL_SAFE_NO_PAD.decode(token).ok());
    given.is_some_and(|given| is_token(&given, settings))
}

fn is_token(given: &[u8], settings: &ListenSettings) -> bool {
    settings.token.as_ref().is_some_and(|expected| given.ct_eq(expected.as_bytes()).into())
}
