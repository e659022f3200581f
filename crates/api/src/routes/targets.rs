//! `GET /api/v1/targets` and `/api/v1/targets/{key}`: what is probed, and how it is.

use actix_web::{HttpResponse, web};
use chrono::{TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::overview::{self, Overview};
use store::windows::Which;

use super::parameters;
use crate::answer::{Moment, milliseconds};
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
        let since = match &row.outcome {
            Some(outcome) => {
                let back_to = Utc::now() - TimeDelta::days(30);
                overview::since(&mut connection, row.target_id, outcome, back_to).await?
            }
            None => None,
        };
        Ok(Detail { target: row.into(), since: since.map(Moment::from) })
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
