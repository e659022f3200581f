//! What every request passes: an id, the limits, a reader's token where one is needed, and
//! headers that keep answers out of caches.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    CACHE_CONTROL, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::http::uri::Authority;
use actix_web::http::{ConnectionType, Method, Version};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, ResponseError, web};
use futures_util::{FutureExt, StreamExt, stream};
use percent_encoding::percent_decode_str;
use store::tokens::Scope;
use tokio::time::timeout;

use crate::access::{self, Bearer, Grant, Shown};
use crate::assets;
use crate::config::ListenSettings;
use crate::error::{ApiError, REQUEST_ID};
use crate::limits::{self, Limits};
use crate::live::Cord;
use crate::public;
use crate::state::State;

/// Paths that tell only whether we run, because a load balancer has no token; and the public
/// page's content, which is there or not.
pub(crate) const ALWAYS_OPEN: [&str; 3] = ["/healthz", "/readyz", "/public.json"];

/// Paths that are asked by machines of ours, however often.
pub(crate) const UNLIMITED: [&str; 2] = ["/healthz", "/readyz"];

/// Badges are as open as reading is, and where there is a public page.
pub(crate) const BADGES: &str = "/badge/";

/// Why nobody reads without a token where nobody said that they may, and the name is not the machine's own.
pub(crate) const BY_ANOTHER_NAME: &str = "reading is open to whoever asks for this machine by its address or as localhost; \
    PUBLIC_READ=on (--public-read on) opens it under other names, and a token does so for who has it";

/// Bytes of a path with its query, and of all headers, at most.
pub(crate) const MOST_URI: usize = 8 * 1024;
pub(crate) const MOST_HEAD: usize = 32 * 1024;

/// How long a client may go on after the answer with which we hang up, at most.
const LAST_WORD: Duration = Duration::from_secs(5);

/// How long chunks that came with a head may take to get here.
const CHUNKS: Duration = Duration::from_millis(50);

/// What a browser is asked for.
const LOGIN: HeaderValue = HeaderValue::from_static(r#"Basic realm="lookout", charset="UTF-8""#);

pub(crate) async fn guard(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let id = format!("{:016x}", rand::random::<u64>());
    let header = HeaderValue::from_str(&id).unwrap_or_else(|_| HeaderValue::from_static(""));
    let cord = Cord::of(request.request());
    let knows_chunks = request.version() >= Version::HTTP_11;
    let asks_to_log_in = settings(&request).is_some_and(|settings| settings.login.is_some());
    REQUEST_ID
        .scope(id, async move {
            let admitted = match chunks_are_whole(&mut request).await {
                Ok(()) => admit(&request).await,
                Err(broken) => Err(broken),
            };
            let mut response = match admitted {
                Ok(grant) => {
                    if let Some(grant) = grant {
                        request.extensions_mut().insert(grant);
                    }
                    next.call(request).await?.map_into_left_body()
                }
                Err(problem) => {
                    let mut response = request.into_response(problem.error_response());
                    if asks_to_log_in && matches!(problem, ApiError::Unauthorized) {
                        response.headers_mut().append(WWW_AUTHENTICATE, LOGIN);
                    }
                    response.map_into_right_body()
                }
            };
            if response.response().head().connection_type() == ConnectionType::Close
                && let Some(cord) = cord
            {
                // The server waits for the rest of a request before it hangs up, for as long as it likes to come.
                cord.cut_after(LAST_WORD);
            }
            if !knows_chunks {
                // The end of the connection is that of the answer (RFC 9112, section 6.1).
                let head = response.response_mut().head_mut();
                head.no_chunking(true);
                head.set_connection_type(ConnectionType::Close);
            }
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

/// Looks at the chunks that came with the head, before anything is waited for: of a broken one the server
/// says nothing to somebody who waits for something else, but hangs up.
///
/// # Errors
/// One of them is broken.
async fn chunks_are_whole(request: &mut ServiceRequest) -> Result<(), ApiError> {
    if !request.headers().contains_key(TRANSFER_ENCODING) {
        return Ok(());
    }
    let mut payload = request.take_payload();
    let mut here = Vec::new();
    let mut next = timeout(CHUNKS, payload.next()).await.ok();
    loop {
        match next {
            Some(Some(Ok(chunk))) => here.push(Ok(chunk)),
            Some(Some(Err(_))) => {
                let message = "the body is not in chunks as this header says".to_owned();
                return Err(ApiError::Header { name: "transfer-encoding", message });
            }
            Some(None) | None => break,
        }
        next = payload.next().now_or_never();
    }
    request.set_payload(Payload::Stream { payload: Box::pin(stream::iter(here).chain(payload)) });
    Ok(())
}

fn settings(request: &ServiceRequest) -> Option<&ListenSettings> {
    request.app_data::<web::Data<ListenSettings>>().map(web::Data::get_ref)
}

/// Lets a request in, and says what it may.
async fn admit(request: &ServiceRequest) -> Result<Option<Grant>, ApiError> {
    let (Some(settings), Some(state), Some(limits)) =
        (settings(request), request.app_data::<web::Data<State>>(), request.app_data::<web::Data<Limits>>())
    else {
        return Err(ApiError::Unauthorized);
    };
    let asked = request.uri().path_and_query().map_or("", |asked| asked.as_str());
    if asked.len() > MOST_URI {
        return Err(ApiError::UriTooLong);
    }
    let head: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if head > MOST_HEAD {
        return Err(ApiError::HeadTooLarge);
    }
    let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    let client = limits::client(peer, request.headers(), &settings.trusted_proxies);
    if !UNLIMITED.contains(&request.path()) {
        limits.address(client)?;
    }
    // Postgres keeps no NUL in text, so nothing can have one; asked for it, it is an error.
    if asked.contains("%00") {
        return Err(ApiError::Query("a NUL byte is in no name and no URL".to_owned()));
    }
    // Read with replacements, names that differ would be the same.
    if percent_decode_str(asked).decode_utf8().is_err() {
        return Err(ApiError::Query("the path or the query is not UTF-8".to_owned()));
    }
    let reads_freely = reads_freely(request.request(), settings);
    let is_open = reads_freely || is_open(request.path(), settings);
    let is_reading = request.method() == Method::GET || request.method() == Method::HEAD;
    // Nothing is looked up for whoever would get the same without it.
    let is_asked = !is_open || !is_reading || (request.path().starts_with(BADGES) && !reads_freely);
    let grant = match Shown::of(request).filter(|_| is_asked) {
        Some(shown) => granted(&shown, settings, state, limits, client).await?,
        None => None,
    };
    if let Some(Grant { bearer: Bearer::Stored(digest), .. }) = &grant {
        limits.token(digest)?;
    }
    if grant.is_none() && !is_open {
        return Err(if settings.public_read { ApiError::Forbidden(BY_ANOTHER_NAME) } else { ApiError::Unauthorized });
    }
    Ok(grant)
}

/// What is shown is looked at. Whoever has a wrong password too often has to wait, however right the next one is;
/// who has a wrong token gets no other answer any more, but a right one is let in: nobody guesses 256 bits.
async fn granted(
    shown: &Shown,
    settings: &ListenSettings,
    state: &State,
    limits: &Limits,
    client: IpAddr,
) -> Result<Option<Grant>, ApiError> {
    match shown {
        Shown::Token(token) => {
            let grant = access::of_token(token, settings, state).await?;
            if grant.is_none() {
                limits.attempt(client)?;
            }
            Ok(grant)
        }
        Shown::Password(shown) => {
            let Some(login) = &settings.login else { return Ok(None) };
            let is_right = login.is_known(shown) || {
                // Beforehand: looking costs us more than asking costs them.
                limits.attempt(client)?;
                login.is_right(shown).await
            };
            Ok(is_right.then_some(Grant { scope: Scope::Read, bearer: Bearer::Login }))
        }
    }
}

/// Whether this may be read by whoever asks.
fn reads_freely(request: &HttpRequest, settings: &ListenSettings) -> bool {
    settings.public_read && (!settings.by_own_name || is_own_name(request))
}

/// Whether this machine was asked for by an address or as `localhost`. A browser that follows a name of another site
/// here names that; whoever names nothing is no browser.
fn is_own_name(request: &HttpRequest) -> bool {
    let host = request.headers().get(HOST).map(|host| host.to_str().unwrap_or_default());
    let Some(named) = host.or(request.uri().authority().map(Authority::as_str)) else { return true };
    let Ok(authority) = named.parse::<Authority>() else { return false };
    let host = authority.host().trim_end_matches('.').to_ascii_lowercase();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.ends_with(".localhost") || address.parse::<IpAddr>().is_ok()
}

/// Whether a path is for everybody, wherever reading is not.
fn is_open(path: &str, settings: &ListenSettings) -> bool {
    ALWAYS_OPEN.contains(&path)
        // The dashboard's files hold no data; where there is a login, it stands before them too.
        || (settings.login.is_none() && assets::is_here(path))
        || public::is_here(path)
        || (settings.public_page && path.starts_with(BADGES))
}

/// Whether everything may be read, not only what is public.
pub(crate) fn may_read_all(request: &HttpRequest, settings: &ListenSettings) -> bool {
    reads_freely(request, settings) || access::grant(request).is_some()
}
