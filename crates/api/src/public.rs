//! The public page: what anybody may see where `PUBLIC_PAGE` is on. Complete without a script.
//!
//! It is made at most every few seconds, however many ask, and kept with its compressed form.
//! The page, its feed and its style are pages, as the dashboard's are; the same content as
//! JSON is a route.

pub(crate) mod status;
mod strip;
pub(crate) mod text;

use std::io::Write;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use actix_web::http::Method;
use actix_web::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ETAG, HeaderMap, REFERRER_POLICY,
    RETRY_AFTER, VARY,
};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use store::days::Incident;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::answer::is_known;
use crate::assets::{self, accepts, fingerprint};
use crate::config::ListenSettings;
use crate::error::ApiError;
use crate::state::{PATIENCE, State, within};
use status::{ComponentState, FORMULA, Group, Outage, Overall, Status};

const PAGE: &str = "/public";
const FEED: &str = "/public/feed.xml";

/// The page is made again after this long, or ten times as long as it took to make.
const LEAST_AGE: Duration = Duration::from_secs(5);
const REST: u32 = 10;

/// After a failure, the next attempt.
const RETRY: Duration = Duration::from_secs(1);

/// How long others may keep it.
const CACHE: &str = "public, max-age=30";

/// Nothing but our own style, and no code at all.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = include_str!("../templates/public.css");

/// The path of the style: it changes when the style does, so it is kept for ever.
static STYLE_PATH: LazyLock<String> = LazyLock::new(|| format!("/public/{}.css", fingerprint(STYLE.as_bytes())));

/// Whether a path belongs to the public page. Whether there is one is another question.
pub(crate) fn is_here(path: &str) -> bool {
    path == PAGE || path == FEED || path == *STYLE_PATH
}

/// What is answered where no route is: the public page, else the dashboard.
///
/// # Errors
/// 404 where there is no page, 405 for what is neither GET nor HEAD.
pub(crate) async fn answer(
    request: HttpRequest,
    state: web::Data<State>,
    page: web::Data<PublicPage>,
    settings: web::Data<ListenSettings>,
) -> Result<HttpResponse, ApiError> {
    if !is_here(request.path()) {
        return assets::answer(request).await;
    }
    if !settings.public_page {
        return Err(ApiError::NoRoute);
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Err(ApiError::MethodNotAllowed("GET, HEAD".to_owned()));
    }
    match request.path() {
        FEED => {
            Ok(page.published(&state).await?.feed.respond(request.headers(), "application/atom+xml; charset=utf-8"))
        }
        PAGE => {
            let mut response = match page.published(&state).await {
                Ok(published) => published.html.respond(request.headers(), "text/html; charset=utf-8"),
                Err(_) => away(),
            };
            for (name, value) in [(CONTENT_SECURITY_POLICY, POLICY), (REFERRER_POLICY, "no-referrer")] {
                response.headers_mut().insert(name, value.parse().expect("our own text is printable"));
            }
            Ok(response)
        }
        _ => Ok(HttpResponse::Ok()
            .insert_header((CACHE_CONTROL, "public, max-age=31536000, immutable"))
            .content_type("text/css; charset=utf-8")
            .body(STYLE)),
    }
}

/// What is said while nothing can be said.
fn away() -> HttpResponse {
    let html = Away { style: &STYLE_PATH[1..] }.render().unwrap_or_default();
    HttpResponse::ServiceUnavailable()
        .insert_header((RETRY_AFTER, "5"))
        .content_type("text/html; charset=utf-8")
        .body(html)
}

/// The public page, as it was made last.
#[derive(Default)]
pub(crate) struct PublicPage {
    /// Held while it is made, so that one makes it for all who wait.
    kept: Mutex<Option<Kept>>,
}

struct Kept {
    until: Instant,
    made: Result<Arc<Published>, &'static str>,
}

/// The page in all its forms.
pub(crate) struct Published {
    html: Form,
    feed: Form,
    pub(crate) json: Form,
}

impl PublicPage {
    /// The page, at most some seconds old.
    ///
    /// # Errors
    /// 503 where there was no telling, the last time somebody looked.
    pub(crate) async fn published(&self, state: &State) -> Result<Arc<Published>, ApiError> {
        state.is_ready()?;
        let mut kept = self.kept.lock().await;
        if let Some(Kept { made, .. }) = kept.as_ref().filter(|kept| Instant::now() < kept.until) {
            return made.clone().map_err(ApiError::Unavailable);
        }
        let begun = Instant::now();
        let made = within(PATIENCE, async {
            let mut connection = state.database().await?;
            Published::new(&status::read(&mut connection, Utc::now()).await?)
        })
        .await;
        let made = made.map(Arc::new).map_err(|error| match error {
            ApiError::Unavailable(why) => why,
            other => {
                if let ApiError::Internal(cause) = other {
                    tracing::error!("cannot make the public page: {cause}");
                }
                "the page could not be made; the log has the reason"
            }
        });
        let pause = if made.is_ok() { LEAST_AGE.max(begun.elapsed() * REST) } else { RETRY };
        *kept = Some(Kept { until: Instant::now() + pause, made: made.clone() });
        made.map_err(ApiError::Unavailable)
    }
}

impl Published {
    fn new(status: &Status) -> Result<Self, ApiError> {
        let unwritten = |_| ApiError::Unavailable("the page could not be written");
        let html = Page { status, style: &STYLE_PATH[1..] }.render().map_err(unwritten)?;
        let feed = Feed { status }.render().map_err(unwritten)?;
        let json = serde_json::to_vec(status).map_err(|_| ApiError::Unavailable("the page could not be written"))?;
        Ok(Self { html: Form::new(html), feed: Form::new(feed), json: Form::new(json) })
    }
}

/// An answer, plain and compressed.
pub(crate) struct Form {
    plain: Bytes,
    gzip: Bytes,
    /// A weak one: compressed or not, it is the same answer.
    tag: String,
}

impl Form {
    fn new(plain: impl Into<Bytes>) -> Self {
        let plain = plain.into();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        // Writing to memory cannot fail.
        let gzip = encoder.write_all(&plain).and_then(|()| encoder.finish()).unwrap_or_default();
        Self { tag: format!("W/\"{}\"", fingerprint(&plain)), gzip: gzip.into(), plain }
    }

    /// The answer, or that whoever asks has it.
    pub(crate) fn respond(&self, asked: &HeaderMap, content_type: &'static str) -> HttpResponse {
        let mut response = HttpResponse::Ok();
        response.insert_header((ETAG, self.tag.as_str())).insert_header((CACHE_CONTROL, CACHE));
        response.insert_header((VARY, "accept-encoding"));
        if is_known(asked, &self.tag) {
            return response.status(actix_web::http::StatusCode::NOT_MODIFIED).finish();
        }
        response.content_type(content_type);
        let accepted = asked.get(ACCEPT_ENCODING).and_then(|names| names.to_str().ok()).unwrap_or_default();
        if accepts(accepted, "gzip") && !self.gzip.is_empty() {
            return response.insert_header((CONTENT_ENCODING, "gzip")).body(self.gzip.clone());
        }
        response.body(self.plain.clone())
    }
}

#[derive(Template)]
#[template(path = "public.html")]
struct Page<'a> {
    status: &'a Status,
    style: &'a str,
}

impl Page<'_> {
    /// Class and shape that go with the first line.
    fn mark(&self) -> (&'static str, &'static str) {
        match self.status.counts.overall() {
            Overall::Operational => ("u", "●"),
            Overall::Degraded => ("d", "▲"),
            Overall::PartialOutage | Overall::MajorOutage => ("o", "■"),
            Overall::NoData | Overall::Nothing => ("n", "◌"),
        }
    }

    fn has_groups(&self) -> bool {
        self.status.groups.iter().any(|group| group.name.is_some())
    }

    /// How many components are not listed.
    fn left_out(&self) -> usize {
        self.status.counts.components - self.status.groups.iter().map(|group| group.components.len()).sum::<usize>()
    }

    fn name<'g>(&self, group: &'g Group) -> &'g str {
        group.name.as_deref().unwrap_or("Other components")
    }

    /// Incidents that are over, under the day in UTC on which they began.
    fn history(&self) -> Vec<(String, Vec<&Outage>)> {
        let mut days: Vec<(String, Vec<&Outage>)> = Vec::new();
        for outage in &self.status.past_incidents {
            let day = outage.incident.started_at.format("%Y-%m-%d").to_string();
            match days.last_mut().filter(|(last, _)| *last == day) {
                Some((_, outages)) => outages.push(outage),
                None => days.push((day, vec![outage])),
            }
        }
        days
    }
}

impl ComponentState {
    fn mark(self) -> (&'static str, &'static str) {
        match self {
            Self::Operational => ("u", "●"),
            Self::Degraded => ("d", "▲"),
            Self::Outage => ("o", "■"),
            Self::NoData => ("n", "◌"),
        }
    }
}

impl Outage {
    /// How long it took, or has taken so far.
    fn length(&self, now: &DateTime<Utc>) -> String {
        text::duration(self.incident.ended_at.unwrap_or(*now) - self.incident.started_at)
    }

    /// When it began and ended, below the day on which it began.
    fn times(&self) -> String {
        let Incident { started_at, ended_at, .. } = self.incident;
        let is_same_day = |at: &DateTime<Utc>| at.date_naive() == started_at.date_naive();
        let ended = ended_at.map(|at| if is_same_day(&at) { text::time(&at) } else { text::moment(&at) });
        format!("{} to {}", text::time(&started_at), ended.unwrap_or_else(|| "now".to_owned()))
    }

    fn changed_at(&self) -> DateTime<Utc> {
        self.incident.ended_at.unwrap_or(self.incident.started_at)
    }

    fn id(&self) -> String {
        let Outage { incident, .. } = self;
        uuid(&format!("incident {} {}", incident.incident_id, incident.started_at.timestamp_micros()))
    }
}

#[derive(Template)]
#[template(path = "away.html")]
struct Away<'a> {
    style: &'a str,
}

#[derive(Template)]
#[template(path = "feed.xml")]
struct Feed<'a> {
    status: &'a Status,
}

impl Feed<'_> {
    /// The same as long as the oldest component is there.
    fn id(&self) -> String {
        uuid(&format!("feed {:?}", self.status.since.map(|since| since.timestamp_micros())))
    }

    fn outages(&self) -> impl Iterator<Item = &Outage> {
        self.status.open_incidents.iter().chain(&self.status.past_incidents)
    }

    fn updated_at(&self) -> DateTime<Utc> {
        self.outages().map(Outage::changed_at).max().or(self.status.since).unwrap_or_default()
    }
}

/// A UUID of version 8 (RFC 9562, 5.8), made of what it stands for.
fn uuid(of: &str) -> String {
    let digest = Sha256::digest(of.as_bytes());
    let mut bytes: Vec<u8> = digest.iter().copied().take(16).collect();
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("urn:uuid:{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
