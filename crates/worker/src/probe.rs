//! One HTTP request, one outcome.
//!
//! A failed probe is a value, not an error. Only the target's answer, or its
//! silence, makes it down; what went wrong on our side makes the outcome unknown.
//!
//! Elapsed time runs from the first network operation (name lookup or connect, or
//! the request itself on a kept connection) to the arrival of the response head.
//! Redirects are followed here rather than by the client, so that each hop is
//! checked and secrets stay with the origin they were configured for. Where a hop would lead to
//! an address that the target may not reach (`common::address`), the outcome is unknown.

mod apart;
mod classify;
mod client;
mod expect;
mod floods;
mod trace;

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use common::{Cause, Connection, Outcome, Phases, Source, TargetSpec};
use futures_util::FutureExt;
use http::header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use reqwest::Response;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use url::Url;

pub use client::{Prober, ProberError};
use expect::{Answer, Judge};
use floods::Reason;
use trace::Trace;

/// Hops a probe follows.
pub const MAX_REDIRECTS: usize = 5;

/// How much of a body is read, after decoding. A longer one is fine: the rest is left unread.
pub const MAX_BODY: usize = 64 * 1024;

/// How large a response head may be. (The client itself gives up at a few hundred KiB.)
pub const MAX_HEAD: usize = 64 * 1024;

/// Less delay of a timer than this is a busy machine, not a standstill.
const MIN_STALL: Duration = Duration::from_millis(100);

/// A standstill that somebody may be causing.
const LATE: Duration = Duration::from_millis(10);

/// What is told of a target that sends without end, before it answers.
pub(crate) const FLOODS: &str = "bytes without end instead of an answer";

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// First network operation.
    pub started: Instant,
    /// How it ended: a verdict, or unknown.
    pub outcome: Outcome,
    /// Status code of the last response head, if one came.
    pub code: Option<u16>,
    /// To the last response head, microseconds; for a timeout the time waited.
    pub elapsed_us: Option<u32>,
    /// Where the time went.
    pub phases: Phases,
    /// What happened in words, when it is not simply up. Holds no secret.
    pub detail: Option<String>,
}

/// A target made ready for probing: what can be prepared once is.
#[derive(Debug)]
pub struct Prepared {
    pub(crate) url: Url,
    host_port: String,
    pub(crate) method: http::Method,
    /// Most targets have the usual ones, and share them.
    headers: Arc<HeaderMap>,
    body: Option<Bytes>,
    pub(crate) connection: Connection,
    source: Source,
    pub(crate) timeout: Duration,
    degraded_after: Duration,
    expect_status: Vec<common::StatusRange>,
    judge: Option<Arc<Judge>>,
    /// What it sends may keep this thread from its work.
    hogs: AtomicBool,
}

impl Prepared {
    /// Prepares a target. Headers were validated with the configuration; one that
    /// is no header after all is left out.
    pub fn new(target: &TargetSpec) -> Self {
        Self {
            url: target.url.url().clone(),
            host_port: target.url.host_port(),
            method: http::Method::from_bytes(target.method.as_str().as_bytes()).unwrap_or(http::Method::GET),
            headers: headers_of(target),
            body: target.body.clone().map(Bytes::from),
            connection: target.connection,
            source: target.source,
            timeout: target.timeout,
            degraded_after: target.degraded_after,
            expect_status: target.expect_status.clone(),
            judge: Judge::new(target).map(Arc::new),
            hogs: AtomicBool::new(false),
        }
    }

    /// Whether its probes are to be kept away from all others, until one of them turns out to be harmless.
    pub(crate) fn set_hogs(&self, hogs: bool) {
        self.hogs.store(hogs, Ordering::Relaxed);
    }

    fn hogs(&self) -> bool {
        self.hogs.load(Ordering::Relaxed)
    }

    /// The server, for limits that hold for each.
    pub fn host_port(&self) -> &str {
        &self.host_port
    }

    fn expects(&self, status: StatusCode) -> bool {
        self.expect_status.iter().any(|range| range.contains(status.as_u16()))
    }
}

/// Headers of targets that want nothing of their own.
static USUAL: LazyLock<Arc<HeaderMap>> = LazyLock::new(|| Arc::new(usual_headers(Connection::Reuse)));
/// See [`USUAL`]; the connection ends with the answer.
static USUAL_ONCE: LazyLock<Arc<HeaderMap>> = LazyLock::new(|| Arc::new(usual_headers(Connection::Fresh)));

fn usual_headers(connection: Connection) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("lookout/", env!("CARGO_PKG_VERSION"))));
    if connection == Connection::Fresh {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    headers
}

fn headers_of(target: &TargetSpec) -> Arc<HeaderMap> {
    let credentials = target.url.credentials();
    if target.body.is_none() && credentials.is_none() && target.headers.is_empty() {
        return match target.connection {
            Connection::Fresh => Arc::clone(&USUAL_ONCE),
            Connection::Reuse => Arc::clone(&USUAL),
        };
    }
    let mut headers = usual_headers(target.connection);
    if target.body.is_some() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if let Some((user, password)) = credentials {
        headers.insert(AUTHORIZATION, basic_authorization(user, password));
    }
    for (name, value) in &target.headers {
        if let (Ok(name), Ok(mut value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            value.set_sensitive(true);
            headers.insert(name, value);
        }
    }
    Arc::new(headers)
}

fn basic_authorization(user: &str, password: &str) -> HeaderValue {
    use base64::Engine;
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let mut value =
        HeaderValue::from_str(&format!("Basic {encoded}")).unwrap_or_else(|_| HeaderValue::from_static("Basic"));
    value.set_sensitive(true);
    value
}

/// Whoever makes the requests. The schedule does not care, so its tests need no network.
pub trait Probe: Clone + Send + Sync + 'static {
    /// Probes a target once.
    fn check(&self, target: &Arc<Prepared>) -> impl Future<Output = Probed> + Send;

    /// Called from another thread again and again, with how long the one of the probes has stood still.
    fn watch(&self, _stood_still: Duration) {}
}

impl Probe for Prober {
    async fn check(&self, target: &Arc<Prepared>) -> Probed {
        // In a box, because few are probed apart, and room for it would be held for all.
        if let Some(place) = apart::place(target) {
            return Box::pin(apart::check(self, target, place)).await;
        }
        self.check_within(target, target.timeout).await
    }

    fn watch(&self, stood_still: Duration) {
        if stood_still >= LATE {
            self.floods().watch(Reason::Standstill);
        } else if apart::is_any() {
            self.floods().watch(Reason::Apart);
        }
    }
}

/// Waits for a check. A bug in the probe is our fault: it ends the check as unknown, and nothing else.
// Not `async`, which would hold the check twice: each one under way has this on the heap.
pub fn guarded(check: impl Future<Output = Probed>) -> impl Future<Output = Probed> {
    let begun = Instant::now();
    AssertUnwindSafe(check).catch_unwind().map(move |probed| {
        probed.unwrap_or_else(|_| Probed {
            started: begun,
            outcome: Outcome::Unknown,
            code: None,
            elapsed_us: None,
            phases: Phases::default(),
            detail: Some("the probe failed; this is a bug in lookout".to_owned()),
        })
    })
}

/// How one request of a probe ended badly.
struct Failure {
    outcome: Outcome,
    detail: String,
}

impl Failure {
    fn down(cause: Cause, detail: impl Into<String>) -> Self {
        Self { outcome: Outcome::Down(cause), detail: detail.into() }
    }
}

impl Prober {
    /// Probes a target once. Never takes longer than its timeout, give or take a timer tick.
    pub async fn check(&self, target: &Prepared) -> Probed {
        self.check_within(target, target.timeout).await
    }

    /// Probes a target once, with another timeout than its own.
    pub async fn check_within(&self, target: &Prepared, timeout: Duration) -> Probed {
        let trace = &Trace::default();
        let begun = Instant::now();
        let deadline = begun + timeout;
        let answer = tokio::time::timeout_at(deadline, trace.scope(self.follow(target, trace))).await;
        let ended = Instant::now();
        self.floods().over(trace, target.connection == Connection::Reuse);
        let floods = trace.floods();
        let started = trace.started().unwrap_or(begun);
        let waited = ended.duration_since(started);

        // A timer that fires long after its time means that we stood still, not the target.
        let tolerance = (timeout / 5).max(MIN_STALL);
        let stalled = ended.duration_since(begun) > timeout + tolerance;
        let to_head = trace.head_at().map(|head| head.duration_since(started));
        // Elsewhere nobody says who it was.
        if floods || cfg!(not(target_os = "linux")) && stalled && trace.is_silent() {
            target.set_hogs(true);
        }
        let (outcome, elapsed, detail) = match answer {
            _ if floods => (Outcome::Down(Cause::Protocol), to_head.or(Some(waited)), Some(FLOODS.to_owned())),
            _ if stalled => {
                let detail = format!("we stood still: the check took {} ms", waited.as_millis());
                (Outcome::Unknown, to_head, Some(detail))
            }
            Err(_) if trace.is_looking_up() => {
                let detail = format!("no answer from the name server within {} ms", timeout.as_millis());
                (Outcome::Down(Cause::Dns), Some(waited), Some(detail))
            }
            Err(_) => {
                let detail = format!("no complete answer within {} ms", timeout.as_millis());
                (Outcome::Down(Cause::Timeout), Some(waited), Some(detail))
            }
            Ok(Err(failure)) => (failure.outcome, to_head.or(Some(waited)), Some(failure.detail)),
            Ok(Ok(answer)) => {
                let elapsed = to_head.unwrap_or(waited);
                match judged(target, Answer { elapsed, ..answer }).await {
                    Err(failure) => (failure.outcome, Some(elapsed), Some(failure.detail)),
                    Ok(()) if elapsed > target.degraded_after => {
                        let detail = format!("answered after {} ms", elapsed.as_millis());
                        (Outcome::Degraded, Some(elapsed), Some(detail))
                    }
                    Ok(()) => (Outcome::Up, Some(elapsed), None),
                }
            }
        };
        Probed {
            started,
            outcome,
            code: trace.code(),
            elapsed_us: elapsed.map(|time| u32::try_from(time.as_micros()).unwrap_or(u32::MAX)),
            phases: trace.phases(),
            detail,
        }
    }

    /// Sends the request, follows redirects, reads the last answer. `Ok` means that its status
    /// is an expected one; it holds what the target's assertions need.
    async fn follow(&self, target: &Prepared, trace: &Trace) -> Result<Answer, Failure> {
        let mut hop = Hop::first(target);
        for number in 0..=MAX_REDIRECTS {
            // Our own rule keeps us away, which says nothing about the target.
            let client = self.clients(target.source).client(target.connection, &hop.url);
            let client = client.map_err(|denied| Failure { outcome: Outcome::Unknown, detail: denied.to_string() })?;
            let response = match client.execute(hop.request(target)).await {
                Ok(response) => response,
                Err(error) => return Err(classify::failure(&error, trace)),
            };
            if target.connection == Connection::Reuse
                && let Some(ends) = client::ends(response.extensions())
            {
                self.floods().answered(ends);
            }
            let status = response.status();
            trace.head_arrived(status);
            let head: usize =
                response.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
            if head > MAX_HEAD {
                return Err(Failure::down(Cause::Protocol, format!("a response head over {} KiB", MAX_HEAD / 1024)));
            }
            if target.expects(status) {
                return read(response, target.judge.as_deref(), trace).await;
            }
            let Some(next) = redirect(&response, &hop.url) else {
                return Err(Failure::down(Cause::Status, format!("status {}", status.as_u16())));
            };
            let next = next?;
            if number < MAX_REDIRECTS {
                hop = hop.after(status, next)?;
            }
        }
        Err(Failure::down(Cause::Redirect, format!("more than {MAX_REDIRECTS} redirects")))
    }
}

/// One request of a probe: the target's own, or where a redirect led. Only what a redirect
/// changed is held here; the rest stays the target's.
struct Hop<'a> {
    url: Cow<'a, Url>,
    headers: Cow<'a, HeaderMap>,
    method: http::Method,
    has_body: bool,
}

impl<'a> Hop<'a> {
    fn first(target: &'a Prepared) -> Self {
        Self {
            url: Cow::Borrowed(&target.url),
            headers: Cow::Borrowed(&target.headers),
            method: target.method.clone(),
            has_body: target.body.is_some(),
        }
    }

    fn request(&self, target: &Prepared) -> reqwest::Request {
        let mut request = reqwest::Request::new(self.method.clone(), Url::clone(&self.url));
        *request.headers_mut() = HeaderMap::clone(&self.headers);
        *request.body_mut() = target.body.clone().filter(|_| self.has_body).map(Into::into);
        request
    }

    /// The hop that an answer with this status asks for.
    fn after(mut self, status: StatusCode, next: Url) -> Result<Self, Failure> {
        if changes_to_get(status, &self.method) {
            self.method = http::Method::GET;
            self.has_body = false;
            self.headers.to_mut().remove(CONTENT_TYPE);
        }
        if next.origin() != self.url.origin() {
            self.headers = Cow::Owned(without_secrets(&self.headers));
            if self.has_body {
                return Err(Failure::down(Cause::Redirect, "a redirect would take the body to another origin"));
            }
        }
        self.url = Cow::Owned(next);
        Ok(self)
    }
}

/// Where a redirect leads; `None` when the answer is none, an error when it leads nowhere we go.
fn redirect(response: &Response, from: &Url) -> Option<Result<Url, Failure>> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response.headers().get(LOCATION)?;
    let target = String::from_utf8_lossy(location.as_bytes());
    Some(match from.join(&target) {
        Ok(mut next) if matches!(next.scheme(), "http" | "https") && next.host_str().is_some() => {
            // A redirect may not make us log in anywhere.
            let _ = next.set_username("");
            let _ = next.set_password(None);
            next.set_fragment(None);
            Ok(next)
        }
        Ok(next) => Err(Failure::down(Cause::Redirect, format!("redirect to the scheme {:?}", next.scheme()))),
        Err(error) => Err(Failure::down(Cause::Redirect, format!("redirect to no URL: {error}"))),
    })
}

/// Only what we add ourselves goes to another origin: any configured header may be a secret.
fn without_secrets(headers: &HeaderMap) -> HeaderMap {
    headers
        .iter()
        .filter(|(_, value)| !value.is_sensitive())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Source: RFC 9110, sections 15.4.2 to 15.4.4.
fn changes_to_get(status: StatusCode, method: &http::Method) -> bool {
    match status {
        StatusCode::SEE_OTHER => method != http::Method::HEAD,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => method == http::Method::POST,
        _ => false,
    }
}

/// Reads the body to its end or to [`MAX_BODY`], whichever comes first, and keeps what the
/// assertions need.
async fn read(mut response: Response, judge: Option<&Judge>, trace: &Trace) -> Result<Answer, Failure> {
    let mut answer = Answer { status: response.status().as_u16(), ..Answer::default() };
    if judge.is_some() {
        answer.headers = std::mem::take(response.headers_mut());
    }
    let keeps_body = judge.is_some_and(|judge| judge.reads_body);
    let mut read = 0;
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                if keeps_body {
                    let room = MAX_BODY - answer.body.len();
                    answer.body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                }
                read += chunk.len();
                if read > MAX_BODY {
                    answer.is_cut = true;
                    return Ok(answer);
                }
            }
            Ok(None) => return Ok(answer),
            Err(error) => return Err(classify::failure(&error, trace)),
        }
    }
}

/// Bodies that are searched at once, each on a thread of its own.
static SEARCHES: Semaphore = Semaphore::const_new(4);

/// Holds an answer against the assertions of its target.
///
/// A body takes a while to search, and this thread has other probes to time.
async fn judged(target: &Prepared, answer: Answer) -> Result<(), Failure> {
    let Some(judge) = &target.judge else { return Ok(()) };
    let verdict = if judge.reads_body {
        // It is never closed, so this only waits for a place.
        let _place = SEARCHES.acquire().await;
        let judge = Arc::clone(judge);
        tokio::task::spawn_blocking(move || judge.judge(&answer)).await
    } else {
        Ok(judge.judge(&answer))
    };
    match verdict {
        Ok(verdict) => verdict.map_err(|detail| Failure::down(Cause::Assertion, detail)),
        Err(_) => Err(Failure {
            outcome: Outcome::Unknown,
            detail: "the assertions could not be judged; this is a bug in lookout".to_owned(),
        }),
    }
}
