//! `GET /api/v1/live`: a WebSocket that shows one view as it changes (docs/LIVE.md).

use actix_web::http::header::{HOST, ORIGIN, UPGRADE};
use actix_web::{FromRequest, HttpRequest, HttpResponse, rt, web};

use crate::access::{self, Bearer, Grant};
use crate::error::ApiError;
use crate::live::{Cord, Line, Showed, bounded};
use crate::state::State;

/// The protocol's name and version, for clients that ask for it.
const PROTOCOL: &str = "lookout.v1";

/// Live updates
///
/// A WebSocket: say `{"subscribe": "overview"}` or `{"subscribe": "target", "key": "home"}`, or `table`
/// and get the state, then what changes in it. docs/LIVE.md has the messages. Where reading needs
/// a token, a page offers it as a subprotocol: `lookout.v1`, and `lookout.bearer.` with the token
/// in base64url.
#[utoipa::path(
    get,
    path = "/api/v1/live",
    operation_id = "live",
    tag = "Targets",
    responses(
        (status = 101, description = "The WebSocket is open"),
        crate::openapi::Upgrades
    )
)]
pub(super) async fn get(
    state: web::Data<State>,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    if !header(UPGRADE).is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket")) {
        return Err(ApiError::UpgradeRequired);
    }
    // Another site's page may open a socket to us from its visitor's browser.
    if request.headers().contains_key(ORIGIN) && !is_same(header(ORIGIN), header(HOST)) {
        return Err(ApiError::Forbidden("the page that asks is not from this host"));
    }
    let Some(seat) = state.hub.seat() else { return Err(ApiError::Unavailable("there are too many live connections")) };
    let body = web::Payload::from_request(&request, &mut bounded(body.into_inner()))
        .await
        .map_err(|_| ApiError::Unavailable("the socket cannot be read"))?;
    let (response, session, stream) = actix_ws::handle_with_protocols(&request, body, &[PROTOCOL])
        .map_err(|error| ApiError::Header { name: "upgrade", message: error.to_string() })?;
    let stored = access::grant(&request).filter(|grant| matches!(grant.bearer, Bearer::Stored(_)));
    let shown = stored.map(|Grant { bearer, .. }| Showed { bearer, state: State::clone(&state) });
    let (response, line) = Line::new(response, session, stream, state.hub.clone(), shown);
    let cord = Cord::of(&request);
    if let Some(cord) = &cord {
        cord.shorten();
    }
    rt::spawn(async move {
        line.run(cord).await;
        drop(seat);
    });
    Ok(response)
}

/// Whether an origin is the host that was asked.
fn is_same(origin: Option<&str>, host: Option<&str>) -> bool {
    let authority = origin.and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    matches!((authority, host), (Some(authority), Some(host)) if authority.eq_ignore_ascii_case(host))
}
