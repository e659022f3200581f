//! `GET /api/v1/targets` and `/api/v1/targets/{key}`: what is probed, and how it is.

use actix_web::http::header::ETAG;
use actix_web::{HttpResponse, web};
use chrono::{DateTime, TimeDelta, Utc};
use common::Cause;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::PgConnection;
use store::checks::{self, TimedCheck};
use store::overview::{self, Overview};
use store::windows::{Scope, Which};
use utoipa::{IntoParams, ToSchema};

use super::parameters;
use crate::answer::{Moment, Slot, milliseconds};
use crate::counts::{self, Measure, Span};
use crate::cursor;
use crate::error::ApiError;
use crate::openapi::{AsksPostgres, NotFound};
use crate::state::{PATIENCE, State, within};

/// Targets on a page, at most and unless fewer are asked for.
const PAGE: i64 = 500;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// `next` of the page before.
    cursor: Option<String>,
    /// Targets on a page.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 500, default = 500, example = 100)]
    limit: Option<String>,
}

/// What the detail of a target counts.
pub(crate) const WINDOWS: [(&str, TimeDelta); 5] = [
    ("1m", TimeDelta::minutes(1)),
    ("5m", TimeDelta::minutes(5)),
    ("15m", TimeDelta::minutes(15)),
    ("1h", TimeDelta::hours(1)),
    ("24h", TimeDelta::hours(24)),
];

/// How many slots it shows one by one.
const LAST_CHECKS: i64 = 50;

/// Where a list goes on.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    after_key: String,
}

/// A page of targets.
#[derive(Serialize, ToSchema)]
#[schema(as = Targets)]
pub(super) struct Page {
    /// The targets of this page, by key.
    targets: Vec<Target>,
    /// The cursor of the next page; null on the last.
    next: Option<String>,
}

/// What is probed, and how it is.
#[derive(Serialize, ToSchema)]
pub(super) struct Target {
    /// Its stable identity: the name in a file, the URL in `URLS`.
    #[schema(example = "home")]
    key: String,
    /// What people read.
    #[schema(example = "home")]
    name: String,
    /// As it was configured, less user and password.
    #[schema(example = "https://example.org/")]
    url: String,
    /// The method of the request.
    #[schema(example = "GET")]
    method: String,
    /// How often it is due, in milliseconds.
    interval_ms: i32,
    /// How long one check may take, in milliseconds.
    timeout_ms: i32,
    /// A success slower than this is degraded, in milliseconds.
    degraded_ms: i32,
    /// Status codes that count as success: one each, or from and to.
    #[schema(example = json!(["200-299", "409"]))]
    expect_status: Vec<String>,
    /// Names and values to tell targets apart by.
    #[schema(value_type = BTreeMap<String, String>, example = json!({"team": "shop"}))]
    labels: Value,
    source: Source,
    /// Counts the changes of its configuration, from 1; what `If-Match` is compared with.
    version: i64,
    /// When it was first configured.
    created_at: Moment,
    state: TargetState,
    /// The newest verdict; null without one of the last day.
    last_check: Option<LastCheck>,
}

/// Who named a target: the variable `URLS`, a file, or somebody over this API.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = TargetSource)]
enum Source {
    Env,
    File,
    Api,
}

/// The newest verdict; `unknown` where that started longer ago than three intervals and one
/// timeout, or there is none: silence is never good news.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TargetState {
    Up,
    Degraded,
    Down,
    Unknown,
}

impl TargetState {
    /// The state at `now` of a target whose newest verdict is this.
    pub(crate) fn new(
        outcome: Option<&str>,
        checked_at: Option<DateTime<Utc>>,
        (interval_ms, timeout_ms): (i32, i32),
        now: DateTime<Utc>,
    ) -> Self {
        let fresh = TimeDelta::milliseconds(i64::from(interval_ms) * FRESH_INTERVALS + i64::from(timeout_ms));
        match outcome {
            _ if checked_at.is_none_or(|at| at < now - fresh) => Self::Unknown,
            Some("up") => Self::Up,
            Some("degraded") => Self::Degraded,
            Some("down") => Self::Down,
            _ => Self::Unknown,
        }
    }
}

/// A state is the newest verdict for this many intervals, and one timeout.
const FRESH_INTERVALS: i64 = 3;

/// The check that gave the newest verdict.
#[derive(Serialize, ToSchema)]
struct LastCheck {
    /// When it started.
    timestamp: Moment,
    /// Why it is down; null unless it is.
    cause: Option<Cause>,
    /// The status code of the answer; null without one.
    code: Option<i16>,
    /// From the first network operation to the response head, or how long was waited for
    /// it, in milliseconds.
    elapsed_ms: Option<f64>,
}

/// A target and how it did lately.
#[derive(Serialize, ToSchema)]
#[schema(as = TargetDetail)]
pub(crate) struct Detail {
    #[serde(flatten)]
    target: Target,
    /// Since when it has been in this state, as far as the last 30 days tell: where its
    /// newest verdict has gone stale, that of the verdict. Null without one of the last day.
    since: Option<Moment>,
    /// How it did lately, in windows that end now: the shortest first.
    windows: Vec<Window>,
    /// Its newest slots, at most 50, the newest first; with `missed` and `unknown`.
    #[schema(max_items = 50)]
    last_checks: Vec<TimedSlot>,
}

/// What happened in a window that ends now.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = TargetWindow)]
pub(crate) struct Window {
    /// `1m`, `5m`, `15m`, `1h` or `24h`.
    #[schema(example = "5m")]
    pub(crate) name: &'static str,
    #[serde(flatten)]
    pub(crate) span: Span,
    #[serde(flatten)]
    pub(crate) measure: Measure,
}

/// A slot and where its time went.
#[derive(Serialize, ToSchema)]
struct TimedSlot {
    #[serde(flatten)]
    slot: Slot,
    /// Null where nothing is known of it.
    phases: Option<Phases>,
}

/// Where the time of a check went. Redirects add up.
#[derive(Serialize, ToSchema)]
struct Phases {
    /// Name lookup, in milliseconds; null where there was none.
    dns_ms: Option<f64>,
    /// TCP connect and TLS handshake, in milliseconds; null where there was none.
    connect_ms: Option<f64>,
    /// From the connected socket to the response head, in milliseconds; null without one.
    first_byte_ms: Option<f64>,
}

/// What is probed, and how it is
#[utoipa::path(
    get,
    path = "/api/v1/targets",
    operation_id = "targets",
    tag = "Targets",
    params(Query),
    responses((status = 200, description = "A page of targets", body = Page), AsksPostgres)
)]
pub(super) async fn list(state: web::Data<State>, query: web::Query<Query>) -> Result<HttpResponse, ApiError> {
    let limit = parameters::limit(query.limit.as_deref(), PAGE)?.unwrap_or(PAGE);
    let position: Option<Position> = query.cursor.as_deref().map(cursor::decode).transpose()?;
    let after = position.map(|position| position.after_key).unwrap_or_default();
    let rows = within(PATIENCE, async {
        let mut connection = state.database().await?;
        Ok(overview::list(&mut connection, &after, None, limit + 1).await?)
    })
    .await?;
    let (rows, next) = cursor::page(rows, limit, |last| Position { after_key: last.key.clone() });
    let now = Utc::now();
    Ok(HttpResponse::Ok().json(Page { targets: rows.into_iter().map(|row| Target::new(row, now)).collect(), next }))
}

/// One target: its state, how it did lately, its newest checks
#[utoipa::path(
    get,
    path = "/api/v1/targets/{key}",
    operation_id = "target",
    tag = "Targets",
    params(("key" = String, Path, description = "The key of a target; percent-encoded, if it is a URL", example = "home")),
    responses(
        (status = 200, description = "The target", body = Detail,
         headers(("ETag" = String, description = "The version of its configuration, for `If-Match`; not of what was seen of it"))),
        NotFound, AsksPostgres
    )
)]
pub(super) async fn get(state: web::Data<State>, key: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let detail = within(PATIENCE, async { detail(&mut *state.database().await?, &key, Utc::now()).await }).await?;
    Ok(HttpResponse::Ok().insert_header((ETAG, etag(detail.target.version))).json(detail))
}

/// The tag of a version of a target's configuration.
pub(super) fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

/// What there is to say of a target.
///
/// # Errors
/// 404 where nothing has this key.
pub(crate) async fn detail(connection: &mut PgConnection, key: &str, now: DateTime<Utc>) -> Result<Detail, ApiError> {
    let row = overview::list(connection, "", Some(key), 1).await?.pop();
    let row = row.ok_or_else(|| parameters::nobody(Which::Key(key)))?;
    let id = row.target_id;
    let since = match &row.outcome {
        Some(outcome) => overview::since(connection, id, outcome, now - TimeDelta::days(30)).await?,
        None => None,
    };
    let scope = Scope { targets: Some(vec![id.0]), active: 1, rate: 1000.0 / f64::from(row.interval_ms) };
    let windows = counts::nested(connection, &scope, now, &WINDOWS.map(|(_, length)| length)).await?;
    let windows = WINDOWS.into_iter().zip(windows);
    let last_checks = checks::newest(connection, id, LAST_CHECKS).await?;
    Ok(Detail {
        target: Target::new(row, now),
        since: since.map(Moment::from),
        windows: windows.map(|((name, _), (span, measure))| Window { name, span, measure }).collect(),
        last_checks: last_checks.iter().map(TimedSlot::from).collect(),
    })
}

impl Target {
    pub(super) fn new(row: Overview, now: DateTime<Utc>) -> Self {
        let often = (row.interval_ms, row.timeout_ms);
        Self {
            state: TargetState::new(row.outcome.as_deref(), row.checked_at, often, now),
            key: row.key,
            name: row.name,
            url: row.url,
            method: row.method,
            interval_ms: row.interval_ms,
            timeout_ms: row.timeout_ms,
            degraded_ms: row.degraded_ms,
            expect_status: row.expect_status,
            labels: row.labels,
            source: match row.source.as_str() {
                "env" => Source::Env,
                "file" => Source::File,
                _ => Source::Api,
            },
            version: row.version,
            created_at: row.created_at.into(),
            last_check: row.checked_at.map(|checked_at| LastCheck {
                timestamp: checked_at.into(),
                cause: row.cause.as_deref().and_then(Cause::parse),
                code: row.code,
                elapsed_ms: row.elapsed_us.map(milliseconds),
            }),
        }
    }
}

impl From<&TimedCheck> for TimedSlot {
    fn from(row: &TimedCheck) -> Self {
        let phases = [row.dns_us, row.connect_us, row.first_byte_us];
        let [dns_ms, connect_ms, first_byte_ms] = phases.map(|us| us.map(milliseconds));
        let is_known = phases.iter().any(Option::is_some);
        Self { slot: (&row.check).into(), phases: is_known.then_some(Phases { dns_ms, connect_ms, first_byte_ms }) }
    }
}
