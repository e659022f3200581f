//! `GET /api/v1/checks`: the rolling window, slot by slot.
//!
//! A window ends now and includes the slot that ends it: `(now - window, now]`.
//! The pages of one list share that end, so nothing shifts while somebody reads.

use std::collections::HashMap;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use chrono::{TimeDelta, Utc};
use common::TargetId;
use common::target::micros_to_utc;
use serde::{Deserialize, Serialize};
use store::windows::{self, Which};
use store::{checks, targets};
use utoipa::{IntoParams, ToSchema};

use super::parameters;
use crate::answer::{Moment, Slot};
use crate::cursor;
use crate::error::ApiError;
use crate::openapi::{AsksPostgres, NotFound};
use crate::state::{PATIENCE, State, within};

/// The window where nothing else is asked for.
const DEFAULT_WINDOW: Duration = Duration::from_secs(5 * 60);

/// Slots on a page, at most and unless fewer are asked for.
const PAGE: i64 = 500;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// How far back from now, from `1s` to `9600h`.
    #[param(default = "5m")]
    window: Option<String>,
    /// Only the target with this key. Not together with `label`.
    target: Option<String>,
    /// Only targets with this label, as name and value like `team:shop`. Not together with `target`.
    label: Option<String>,
    /// `next` of the page before, asked for with the same window, target and label.
    cursor: Option<String>,
    /// Slots on a page.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 500, default = 500, example = 100)]
    limit: Option<String>,
}

/// Where a list goes on. Holds the question too: a cursor of another one is refused.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    window_us: i64,
    target: Option<i32>,
    label: Option<String>,
    to_us: i64,
    slot_us: i64,
    after_target: i32,
}

impl Position {
    fn is_plausible(&self, now_us: i64) -> bool {
        const CLOCK_DIFFERENCE_US: i64 = 60_000_000;
        (self.window_us..=now_us + CLOCK_DIFFERENCE_US).contains(&self.to_us)
            && (self.to_us - self.window_us..=self.to_us).contains(&self.slot_us)
            && self.after_target >= 0
    }
}

/// A page of a window, slot by slot.
#[derive(Serialize, ToSchema)]
#[schema(as = Checks)]
pub(super) struct Answer {
    window: Window,
    /// The slots of this page, the oldest first.
    response: Vec<Row>,
    /// The cursor of the next page; null on the last.
    next: Option<String>,
}

/// The window of a list; the same on all of its pages.
#[derive(Serialize, ToSchema)]
#[schema(as = ChecksWindow)]
struct Window {
    /// Slots after this moment are in the list.
    from: Moment,
    /// Slots up to this moment are in the list, one at this moment too.
    to: Moment,
    /// How long that is.
    #[schema(example = 300.0)]
    seconds: f64,
}

/// A slot and whose it is.
#[derive(Serialize, ToSchema)]
#[schema(as = CheckRow)]
struct Row {
    #[serde(flatten)]
    slot: Slot,
    /// The key of the target.
    #[schema(example = "home")]
    target: String,
}

/// The rolling window, slot by slot
///
/// Slots whose outcome nobody knows are in it too, and single ones that were missed; those of a stretch that nobody
/// watched are counted by the summary alone.
#[utoipa::path(
    get,
    path = "/api/v1/checks",
    operation_id = "checks",
    tag = "Checks",
    params(Query),
    responses((status = 200, description = "A page of slots", body = Answer), NotFound, AsksPostgres)
)]
pub(super) async fn list(state: web::Data<State>, query: web::Query<Query>) -> Result<HttpResponse, ApiError> {
    within(PATIENCE, answer(&state, &query)).await.map(|answer| HttpResponse::Ok().json(answer))
}

async fn answer(state: &State, query: &Query) -> Result<Answer, ApiError> {
    let window = parameters::window(query.window.as_deref(), DEFAULT_WINDOW)?;
    let window_us = window.as_micros() as i64;
    let limit = parameters::limit(query.limit.as_deref(), PAGE)?.unwrap_or(PAGE);
    let which = parameters::which(query.target.as_deref(), query.label.as_deref())?;
    let continued: Option<Position> = query.cursor.as_deref().map(cursor::decode).transpose()?;

    let mut connection = state.database().await?;
    let scope = match which {
        Which::Fleet => None,
        _ => Some(windows::scope(&mut connection, which).await?.ok_or_else(|| parameters::nobody(which))?),
    };
    let target = match (which, scope.as_ref().and_then(|scope| scope.targets.as_deref())) {
        (Which::Key(_), Some(&[target])) => Some(target),
        _ => None,
    };
    if continued.as_ref().is_some_and(|position| {
        (position.window_us, position.target, &position.label) != (window_us, target, &query.label)
    }) {
        return Err(cursor::invalid());
    }
    // A cursor may be made up: its moments have to lie where ours do.
    if continued.as_ref().is_some_and(|position| !position.is_plausible(Utc::now().timestamp_micros())) {
        return Err(cursor::invalid());
    }
    let to_us = continued.as_ref().map_or_else(|| Utc::now().timestamp_micros(), |position| position.to_us);
    // Exclusive: a slot at exactly this moment is outside, whatever its target.
    let from = micros_to_utc(to_us) - TimeDelta::microseconds(window_us);
    let after = continued.as_ref().map_or((from, TargetId(i32::MAX)), |position| {
        (micros_to_utc(position.slot_us).max(from), TargetId(position.after_target))
    });

    let rows = checks::window(&mut connection, scope.as_ref(), after, micros_to_utc(to_us), limit + 1).await?;
    let (rows, next) = cursor::page(rows, limit, |last| Position {
        window_us,
        target,
        label: query.label.clone(),
        to_us,
        slot_us: last.slot_at.timestamp_micros(),
        after_target: last.target_id.0,
    });
    let mut ids: Vec<i32> = rows.iter().map(|row| row.target_id.0).collect();
    ids.sort_unstable();
    ids.dedup();
    let keys: HashMap<TargetId, String> = targets::shown(&mut connection, Some(&ids))
        .await?
        .into_iter()
        .map(|target| (target.target_id, target.key))
        .collect();

    let response = rows
        .iter()
        .map(|row| Row { slot: row.into(), target: keys.get(&row.target_id).cloned().unwrap_or_default() })
        .collect();
    Ok(Answer {
        window: Window { from: from.into(), to: micros_to_utc(to_us).into(), seconds: window.as_secs_f64() },
        response,
        next,
    })
}
