//! `GET /api/v1/live`: a WebSocket that shows one view as it changes (docs/LIVE.md).

use std::any::Any;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use actix_web::dev::Extensions;
use actix_web::http::header::{HOST, ORIGIN, UPGRADE};
use actix_web::{HttpRequest, HttpResponse, rt, web};
use actix_ws::{CloseCode, CloseReason, Closed, Message, MessageStream, ProtocolError, Session};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use crate::error::ApiError;
use crate::live::{Hub, Latest, Page, ViewName};
use crate::state::State;

/// Bytes of a message from a client at most.
const MOST_BYTES: usize = 4 * 1024;

/// Messages in [`SPAN`] at most.
const MOST_MESSAGES: u32 = 20;
const SPAN: Duration = Duration::from_secs(10);

/// How long a client may take to subscribe, to take a frame, and to answer a ping.
const DEADLINE: Duration = Duration::from_secs(10);

const PING_EVERY: Duration = Duration::from_secs(15);

/// The protocol's name and version, for clients that ask for it.
const PROTOCOL: &str = "lookout.v1";

/// What a client says.
#[derive(Debug, Deserialize)]
#[serde(tag = "subscribe", rename_all = "lowercase", deny_unknown_fields)]
enum Request {
    Overview { since: Option<u64> },
    Target { key: String, since: Option<u64> },
}

/// A handle to cut a connection whose client does not read: what waits to be
/// written would keep it open for ever.
struct Scissors(TcpStream);

/// Keeps a handle to each connection.
pub(crate) fn on_connect(connection: &dyn Any, extensions: &mut Extensions) {
    let socket = connection.downcast_ref::<rt::net::TcpStream>();
    if let Some(Ok(handle)) = socket.map(|socket| socket.as_fd().try_clone_to_owned()) {
        extensions.insert(std::sync::Arc::new(Scissors(handle.into())));
    }
}

/// Live updates
///
/// A WebSocket: say `{"subscribe": "overview"}` or `{"subscribe": "target", "key": "home"}`
/// and get the state, then what changes in it. docs/LIVE.md has the messages.
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
    let (response, session, stream) = actix_ws::handle_with_protocols(&request, body, &[PROTOCOL])
        .map_err(|error| ApiError::Header { name: "upgrade", message: error.to_string() })?;
    let stream = stream.max_frame_size(MOST_BYTES);
    let scissors = request.conn_data::<std::sync::Arc<Scissors>>().cloned();
    let hub = state.hub.clone();
    rt::spawn(async move {
        let mut line = Line { session, hub, watched: None };
        let end = line.serve(stream).await;
        let Line { session, .. } = line;
        match end {
            End::Gone => drop(session),
            End::Deaf => {
                drop(session);
                if let Some(scissors) = scissors {
                    let _ = scissors.0.shutdown(Shutdown::Both);
                }
            }
            End::Close(code, description) => {
                let reason = CloseReason { code, description: Some(description.to_owned()) };
                let _ = timeout(Duration::from_secs(1), session.close(Some(reason))).await;
            }
        }
        drop(seat);
    });
    Ok(response)
}

/// Whether an origin is the host that was asked.
fn is_same(origin: Option<&str>, host: Option<&str>) -> bool {
    let authority = origin.and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    matches!((authority, host), (Some(authority), Some(host)) if authority.eq_ignore_ascii_case(host))
}

/// Why a line ends.
enum End {
    /// The client went.
    Gone,
    /// It does not read, or does not answer.
    Deaf,
    /// We say why.
    Close(CloseCode, &'static str),
}

impl From<Closed> for End {
    fn from(_: Closed) -> Self {
        Self::Gone
    }
}

/// A view that a client looks at.
struct Watched {
    latest: watch::Receiver<Latest>,
    /// The state that the client holds.
    held: Option<u64>,
    failures: u64,
}

/// A client.
struct Line {
    session: Session,
    hub: Hub,
    watched: Option<Watched>,
}

impl Line {
    async fn serve(&mut self, mut stream: MessageStream) -> End {
        let stop = self.hub.stopped().clone();
        let begun = Instant::now();
        let mut ping = interval(PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ping.reset();
        let (mut answer_by, mut span, mut messages) = (None, begun, 0);
        let mut heard = begun;
        loop {
            let silence = match (answer_by, &self.watched) {
                (Some(by), _) => by,
                (None, None) => heard + DEADLINE,
                (None, Some(_)) => begun + Duration::from_secs(u64::from(u32::MAX)),
            };
            let result = tokio::select! {
                biased;
                () = stop.cancelled() => return End::Close(CloseCode::Away, "the api stops"),
                message = stream.recv() => {
                    // Whatever comes, somebody is there.
                    answer_by = None;
                    heard = Instant::now();
                    if span.elapsed() > SPAN {
                        (span, messages) = (Instant::now(), 0);
                    }
                    messages += 1;
                    match message {
                        None => return End::Gone,
                        Some(Err(ProtocolError::Overflow)) => return End::Close(CloseCode::Size, "at most 4 KiB"),
                        Some(Err(_)) => return End::Close(CloseCode::Protocol, "not a frame"),
                        Some(Ok(Message::Pong(_))) => { messages -= 1; Ok(()) }
                        Some(Ok(_)) if messages > MOST_MESSAGES => self.refuse("too_many", "at most 20 messages in 10 s").await,
                        Some(Ok(message)) => self.hear(message).await,
                    }
                }
                result = changed(&mut self.watched) => match result {
                    Ok(()) => self.show().await,
                    Err(()) => return End::Close(CloseCode::Away, "the api stops"),
                },
                _ = ping.tick() => {
                    answer_by = Some(Instant::now() + DEADLINE);
                    self.send(Message::Ping(Bytes::new())).await
                }
                () = sleep_until(silence) => {
                    if self.watched.is_some() || answer_by.is_some() {
                        return End::Deaf;
                    }
                    self.refuse("no_subscription", "subscribe within 10 s").await
                }
            };
            if let Err(end) = result {
                return end;
            }
        }
    }

    async fn hear(&mut self, message: Message) -> Result<(), End> {
        let text = match message {
            Message::Text(text) => text,
            Message::Ping(bytes) => return self.send(Message::Pong(bytes)).await,
            Message::Close(_) => return Err(End::Close(CloseCode::Normal, "")),
            Message::Pong(_) | Message::Nop => return Ok(()),
            Message::Binary(_) | Message::Continuation(_) => {
                self.say_error("not_text", "send one whole text message").await?;
                return Err(End::Close(CloseCode::Unsupported, "send one whole text message"));
            }
        };
        let (view, since) = match serde_json::from_str(&text) {
            Ok(Request::Overview { since }) => (ViewName::Overview, since),
            Ok(Request::Target { key, since }) => (ViewName::Page(Page::Target(key)), since),
            Err(_) => {
                return self
                    .refuse("bad_message", r#"say {"subscribe": "overview"}, or "target" with its "key""#)
                    .await;
            }
        };
        // The old view goes first: it may make the room.
        self.watched = None;
        let Some(latest) = self.hub.subscribe(&view) else {
            self.say_error("too_many_views", "too many views are looked at: poll this one").await?;
            return Err(End::Close(CloseCode::Again, "too many views"));
        };
        let failures = latest.borrow().failures;
        self.watched = Some(Watched { latest, held: since, failures });
        self.show().await
    }

    /// Sends what the client does not have yet.
    async fn show(&mut self) -> Result<(), End> {
        let Some(watched) = &mut self.watched else { return Ok(()) };
        let latest = watched.latest.borrow_and_update().clone();
        if let Some(message) = latest.missing {
            self.watched = None;
            return self.say_error("not_found", &message).await;
        }
        if latest.failures != watched.failures {
            watched.failures = latest.failures;
            return self.text(Bytes::from_static(br#"{"type":"stale"}"#)).await;
        }
        let Some(published) = latest.published else { return Ok(()) };
        let frames = published.frames(watched.held);
        watched.held = Some(published.seq);
        drop(published);
        for frame in frames {
            self.text(frame).await?;
        }
        Ok(())
    }

    async fn refuse(&mut self, code: &str, message: &'static str) -> Result<(), End> {
        self.say_error(code, message).await?;
        Err(End::Close(CloseCode::Policy, message))
    }

    async fn say_error(&mut self, code: &str, message: &str) -> Result<(), End> {
        self.text(json!({ "type": "error", "code": code, "message": message }).to_string().into()).await
    }

    async fn text(&mut self, frame: Bytes) -> Result<(), End> {
        let text = frame.try_into().map_err(|_| End::Gone)?;
        self.send(Message::Text(text)).await
    }

    /// Waits for a client at most so long; that is all the queue there is.
    async fn send(&mut self, message: Message) -> Result<(), End> {
        let session = &mut self.session;
        let sent = timeout(DEADLINE, async {
            match message {
                Message::Text(text) => session.text(text).await,
                Message::Ping(bytes) => session.ping(&bytes).await,
                Message::Pong(bytes) => session.pong(&bytes).await,
                _ => Ok(()),
            }
        });
        sent.await.map_err(|_| End::Deaf)?.map_err(End::from)
    }
}

/// Waits for a newer state of what is looked at, for ever where that is nothing.
async fn changed(watched: &mut Option<Watched>) -> Result<(), ()> {
    match watched {
        Some(watched) => watched.latest.changed().await.map_err(|_| ()),
        None => std::future::pending().await,
    }
}
