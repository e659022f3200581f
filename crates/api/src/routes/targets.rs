//! `GET /api/v1/targets` and `/api/v1/targets/{key}`: what is probed, and how it is.

use actix_web::{HttpResponse, web};
use chrono::{TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::checks::{self, TimedCheck};
use store::overview::{self, Overview};
use store::windows::{Scope, Which};

use super::parameters;
use crate::answer::{Moment, Slot, milliseconds};
use crate::counts::{self, Measure, Span};
use crate::cursor;
use crate::error::ApiError;
use crate::state::{PATIENCE, State, within};

/// Targets on a page, at most and unless fewer are asked for.
const PAGE: i64 = 500;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    cursor: Option<String>,
    limit: Option<String>,
}

/// What the detail of a target counts.
const WINDOWS: [(&str, TimeDelta); 5] = [
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

#[derive(Serialize)]
struct Page {
    targets: Vec<Target>,
    next: Option<String>,
}

#[derive(Serialize)]
struct Target {
    key: String,
    name: String,
    url: String,
    method: String,
    interval_ms: i32,
    timeout_ms: i32,
    degraded_ms: i32,
    expect_status: Vec<String>,
    labels: Value,
    source: String,
    created_at: Moment,
    /// `up`, `degraded`, `down`, or `unknown` while there is no verdict.
    state: String,
    /// The newest verdict.
    last_check: Option<LastCheck>,
}

#[derive(Serialize)]
struct LastCheck {
    timestamp: Moment,
    cause: Option<String>,
    code: Option<i16>,
    elapsed_ms: Option<f64>,
}

#[derive(Serialize)]
struct Detail {
    #[serde(flatten)]
    target: Target,
    /// Since when it has been in this state, as far as the last 30 days tell.
    since: Option<Moment>,
    /// How it did lately, in windows that end now: the shortest first.
    windows: Vec<Window>,
    /// Its newest slots, at most 50, the newest first; with `missed` and `unknown`.
    last_checks: Vec<TimedSlot>,
}

#[derive(Serialize)]
struct Window {
    name: &'static str,
    #[serde(flatten)]
    span: Span,
    #[serde(flatten)]
    measure: Measure,
}

#[derive(Serialize)]
struct TimedSlot {
    #[serde(flatten)]
    slot: Slot,
    /// Where the time went; null where nothing is known of it.
    phases: Option<Phases>,
}

/// Where the time of a check went. Redirects add up.
#[derive(Serialize)]
struct Phases {
    /// Name lookup, in milliseconds; null where there was none.
    dns_ms: Option<f64>,
    /// TCP connect and TLS handshake, in milliseconds; null where there was none.
    connect_ms: Option<f64>,
    /// From the connected socket to the response head, in milliseconds; null without one.
    first_byte_ms: Option<f64>,
}

pub(super) async fn list(state: web::Data<State>, query: web::Query<Query>) -> Result<HttpResponse, ApiError> {
    let limit = parameters::limit(query.limit.as_deref(), PAGE)?.unwrap_or(PAGE);
    let position: Option<Position> = query.cursor.as_deref().map(cursor::decode).transpose()?;
    let after = position.map(|position| position.after_key).unwrap_or_default();
    let mut rows = within(PATIENCE, async {
        let mut connection = state.database().await?;
        Ok(overview::list(&mut connection, &after, None, limit + 1).await?)
    })
    .await?;
    let has_more = rows.len() as i64 > limit;
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next = rows.last().filter(|_| has_more).map(|last| cursor::encode(&Position { after_key: last.key.clone() }));
    Ok(HttpResponse::Ok().json(Page { targets: rows.into_iter().map(Target::from).collect(), next }))
}

pub(super) async fn get(state: web::Data<State>, key: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let detail = within(PATIENCE, async {
        let mut connection = state.database().await?;
        let row = overview::list(&mut connection, "", Some(&key), 1).await?.pop();
        let row = row.ok_or_else(|| parameters::nobody(Which::Key(&key)))?;
        let (id, now) = (row.target_id, Utc::now());
        let since = match &row.outcome {
            Some(outcome) => overview::since(&mut connection, id, outcome, now - TimeDelta::days(30)).await?,
            None => None,
        };
        let scope = Scope { targets: Some(vec![id.0]), active: 1, rate: 1000.0 / f64::from(row.interval_ms) };
        let windows = counts::nested(&mut connection, &scope, now, &WINDOWS.map(|(_, length)| length)).await?;
        let windows = WINDOWS.into_iter().zip(windows);
        let last_checks = checks::newest(&mut connection, id, LAST_CHECKS).await?;
        Ok(Detail {
            target: row.into(),
            since: since.map(Moment::from),
            windows: windows.map(|((name, _), (span, measure))| Window { name, span, measure }).collect(),
            last_checks: last_checks.iter().map(TimedSlot::from).collect(),
        })
    })
    .await?;
    Ok(HttpResponse::Ok().json(detail))
}

impl From<Overview> for Target {
    fn from(row: Overview) -> Self {
        Self {
            key: row.key,
            name: row.name,
            url: row.url,
            method: row.method,
            interval_ms: row.interval_ms,
            timeout_ms: row.timeout_ms,
            degraded_ms: row.degraded_ms,
            expect_status: row.expect_status,
            labels: row.labels,
            source: row.source,
            created_at: row.created_at.into(),
            last_check: row.checked_at.map(|checked_at| LastCheck {
                timestamp: checked_at.into(),
                cause: row.cause,
                code: row.code,
                elapsed_ms: row.elapsed_us.map(milliseconds),
            }),
            state: row.outcome.unwrap_or_else(|| "unknown".to_owned()),
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
