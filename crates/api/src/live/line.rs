//! One client: what it says, and what it is told.

use std::collections::VecDeque;
use std::time::Duration;

use actix_web::{HttpResponse, dev};
use actix_ws::{CloseCode, CloseReason, Closed, Message, MessageStream, ProtocolError, Session};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::cord::Cord;
use super::frames::Frames;
use super::hub::{Hub, Latest};
use super::outgoing::{Outgoing, pieces};
use super::views::{Page, ViewName};
use crate::access::Bearer;
use crate::overview::Query;
use crate::state::State;

/// Bytes of a message from a client at most.
const MOST_BYTES: u16 = 4 * 1024;

/// Messages in [`SPAN`] at most.
const MOST_MESSAGES: usize = 20;
const SPAN: Duration = Duration::from_secs(10);

/// How often a token that opened a socket is looked at again: it may be revoked, or over its time.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Pings in the time that a client has for the answer to one.
const PINGS: u32 = 4;

/// When the api stops, a client has so long to take the last message.
const LAST_WORD: Duration = Duration::from_secs(1);

/// What a client sends, for as long as its messages are not too large.
pub(crate) fn bounded(sent: dev::Payload) -> dev::Payload {
    dev::Payload::Stream { payload: Box::pin(Frames::new(sent, MOST_BYTES)) }
}

/// What a client says.
#[derive(Debug, Deserialize)]
#[serde(tag = "subscribe", rename_all = "lowercase", deny_unknown_fields)]
enum Request {
    Overview { since: Option<u64> },
    Target { key: String, since: Option<u64> },
    Table(Table),
}

/// A page of the table; what is left out is not asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default)]
    q: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    label: String,
    #[serde(default)]
    sort: String,
    page: Option<u64>,
    since: Option<u64>,
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

/// What comes from a client: a message, what is none, or its end.
type Heard = Option<Result<Message, ProtocolError>>;

/// A view that a client looks at.
struct Watched {
    latest: watch::Receiver<Latest>,
    /// The state that the client holds.
    held: Option<u64>,
    failures: u64,
}

/// A ping without an answer.
struct Asked {
    bytes: Bytes,
    until: Instant,
}

/// A client.
pub(crate) struct Line {
    outgoing: Outgoing,
    stream: MessageStream,
    /// What came while we were sending.
    heard: VecDeque<Heard>,
    asked: Option<Asked>,
    hub: Hub,
    watched: Option<Watched>,
    /// What the client showed, to be looked at again.
    shown: Option<Showed>,
}

/// What let a client in, and where it can be looked up.
pub(crate) struct Showed {
    pub(crate) bearer: Bearer,
    pub(crate) state: State,
}

impl Line {
    /// A line over a socket that is about to open with this answer.
    pub(crate) fn new(
        response: HttpResponse,
        session: Session,
        stream: MessageStream,
        hub: Hub,
        shown: Option<Showed>,
    ) -> (HttpResponse, Self) {
        let (response, outgoing) = Outgoing::new(response, session);
        let stream = stream.max_frame_size(MOST_BYTES.into());
        (response, Self { outgoing, stream, heard: VecDeque::new(), asked: None, hub, watched: None, shown })
    }

    /// Tells the client what it wants to know, until one side ends it.
    pub(crate) async fn run(mut self, cord: Option<Cord>) {
        let end = self.serve().await;
        let Self { outgoing, stream, hub, .. } = self;
        let is_closed = match end {
            End::Gone => true,
            End::Deaf => false,
            End::Close(code, description) => {
                let patience = if hub.stopped().is_cancelled() { LAST_WORD } else { hub.patience() };
                let reason = CloseReason { code, description: Some(description.to_owned()) };
                timeout(patience, outgoing.close(reason)).await.is_ok()
            }
        };
        drop(stream);
        if let Some(cord) = cord.filter(|_| !is_closed) {
            cord.cut();
        }
    }

    async fn serve(&mut self) -> End {
        let stop = self.hub.stopped().clone();
        let patience = self.hub.patience();
        let mut ping = interval(patience / PINGS);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ping.reset();
        let (mut span, mut messages, mut pings) = (Instant::now(), 0, 0_u32);
        let mut spoke = Instant::now();
        let mut look_again = interval(LOOK_AGAIN);
        look_again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        look_again.reset();
        loop {
            let silence = match (&self.asked, &self.watched) {
                (Some(asked), _) => asked.until,
                (None, None) => spoke + patience,
                (None, Some(_)) => Instant::now() + patience,
            };
            let result = tokio::select! {
                biased;
                () = stop.cancelled() => return End::Close(CloseCode::Away, "the api stops"),
                heard = next(&mut self.heard, &mut self.stream) => {
                    if self.is_answer(&heard) {
                        continue;
                    }
                    spoke = Instant::now();
                    if span.elapsed() > SPAN {
                        (span, messages) = (spoke, 0);
                    }
                    messages += 1;
                    if messages > MOST_MESSAGES {
                        self.refuse("too_many", CloseCode::Policy, "at most 20 messages in 10 s").await
                    } else {
                        self.hear(heard).await
                    }
                }
                result = changed(&mut self.watched) => match result {
                    Ok(()) => self.show().await,
                    Err(()) => return End::Close(CloseCode::Away, "the api stops"),
                },
                _ = ping.tick(), if self.asked.is_none() => {
                    pings = pings.wrapping_add(1);
                    let bytes = Bytes::copy_from_slice(&pings.to_be_bytes());
                    self.asked = Some(Asked { bytes: bytes.clone(), until: Instant::now() + patience });
                    self.send(Message::Ping(bytes)).await
                }
                _ = look_again.tick(), if self.shown.is_some() => match &self.shown {
                    Some(Showed { bearer, state }) if !bearer.holds(state).await => {
                        self.refuse("token_gone", CloseCode::Policy, "the token is no longer good").await
                    }
                    _ => Ok(()),
                },
                () = sleep_until(silence) => match (&self.asked, &self.watched) {
                    (Some(_), _) => return End::Deaf,
                    (None, Some(_)) => Ok(()),
                    (None, None) => self.refuse("no_subscription", CloseCode::Policy, "subscribe within 10 s").await,
                }
            };
            if let Err(end) = result {
                return end;
            }
        }
    }

    /// Whether this is a pong; the one to our ping says that somebody reads.
    fn is_answer(&mut self, heard: &Heard) -> bool {
        let Some(Ok(Message::Pong(bytes))) = heard else { return false };
        if self.asked.as_ref().is_some_and(|asked| asked.bytes == bytes) {
            self.asked = None;
        }
        true
    }

    async fn hear(&mut self, heard: Heard) -> Result<(), End> {
        let text = match heard {
            None => return Err(End::Gone),
            Some(Err(ProtocolError::Overflow)) => {
                return self.refuse("too_large", CloseCode::Size, "at most 4 KiB").await;
            }
            Some(Err(_)) => return self.refuse("no_frame", CloseCode::Protocol, "not a frame of a client").await,
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Ping(bytes))) => return self.send(Message::Pong(bytes)).await,
            Some(Ok(Message::Close(_))) => return Err(End::Close(CloseCode::Normal, "")),
            Some(Ok(Message::Pong(_) | Message::Nop)) => return Ok(()),
            Some(Ok(Message::Binary(_) | Message::Continuation(_))) => {
                return self.refuse("not_text", CloseCode::Unsupported, "send one whole text message").await;
            }
        };
        let (view, since) = match serde_json::from_str(&text) {
            Ok(Request::Overview { since }) => (ViewName::Overview, since),
            Ok(Request::Target { key, .. }) if key.contains('\0') => {
                self.watched = None;
                return self.say_error("not_found", "no target has a key with a NUL").await;
            }
            Ok(Request::Target { key, since }) => (ViewName::Page(Page::Target(key)), since),
            Ok(Request::Table(Table { q, state, label, sort, page, since })) => {
                match Query::parse(&q, &state, &label, &sort, page.or(Some(1))) {
                    Ok(query) => (ViewName::Page(Page::Table(query)), since),
                    Err(error) => {
                        self.watched = None;
                        return self.say_error("bad_parameter", error.detail()).await;
                    }
                }
            }
            Err(_) => {
                let message = r#"say {"subscribe": "overview"}, or "target" with its "key", or "table""#;
                return self.refuse("bad_message", CloseCode::Policy, message).await;
            }
        };
        // The old view goes first: it may make the room.
        self.watched = None;
        let Some(latest) = self.hub.subscribe(&view) else {
            let message = "too many views are looked at: poll this one";
            return self.refuse("too_many_views", CloseCode::Again, message).await;
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

    /// Says what is wrong, and ends the line.
    async fn refuse(&mut self, error: &str, code: CloseCode, message: &'static str) -> Result<(), End> {
        self.say_error(error, message).await?;
        Err(End::Close(code, message))
    }

    async fn say_error(&mut self, code: &str, message: &str) -> Result<(), End> {
        self.text(json!({ "type": "error", "code": code, "message": message }).to_string().into()).await
    }

    async fn text(&mut self, text: Bytes) -> Result<(), End> {
        for piece in pieces(text) {
            self.send(piece).await?;
        }
        Ok(())
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        self.room().await?;
        Ok(self.outgoing.send(message).await?)
    }

    /// Waits until what was sent before is written, and listens meanwhile: to a client on a slow
    /// line the answer to a ping may come while it gets a state.
    async fn room(&mut self) -> Result<(), End> {
        let stop = self.hub.stopped().clone();
        let until = Instant::now() + self.hub.patience();
        loop {
            let until = self.asked.as_ref().map_or(until, |asked| asked.until.min(until));
            let heard = tokio::select! {
                biased;
                room = self.outgoing.room() => return Ok(room?),
                () = stop.cancelled() => return Err(End::Close(CloseCode::Away, "the api stops")),
                heard = self.stream.recv(), if self.heard.len() < MOST_MESSAGES => heard,
                () = sleep_until(until) => return Err(End::Deaf),
            };
            if heard.is_none() {
                return Err(End::Gone);
            }
            if !self.is_answer(&heard) {
                self.heard.push_back(heard);
            }
        }
    }
}

async fn next(heard: &mut VecDeque<Heard>, stream: &mut MessageStream) -> Heard {
    match heard.pop_front() {
        Some(heard) => heard,
        None => stream.recv().await,
    }
}

/// Waits for a newer state of what is looked at, for ever where that is nothing.
async fn changed(watched: &mut Option<Watched>) -> Result<(), ()> {
    match watched {
        Some(watched) => watched.latest.changed().await.map_err(|_| ()),
        None => std::future::pending().await,
    }
}
