//! Reading query parameters, with errors that name them.

use std::time::Duration;

use actix_web::error::QueryPayloadError;
use chrono::{DateTime, TimeDelta, Utc};
use common::TargetId;
use store::PgConnection;
use store::windows::{self, Scope, Which};

use crate::error::ApiError;
use crate::post;

/// What is wrong with a query string, without the noise around it.
pub(super) fn explain(error: &QueryPayloadError) -> String {
    match error {
        QueryPayloadError::Deserialize(error) => error.to_string(),
        _ => "the query string cannot be read".to_owned(),
    }
}

/// A whole number from 1 to `most`.
pub(super) fn limit(raw: Option<&str>, most: i64) -> Result<Option<i64>, ApiError> {
    whole("limit", raw, most)
}

/// A whole number from 1 to `most`, under a name of its own.
pub(super) fn whole(name: &'static str, raw: Option<&str>, most: i64) -> Result<Option<i64>, ApiError> {
    let Some(raw) = raw else { return Ok(None) };
    match raw.parse() {
        Ok(number) if (1..=most).contains(&number) => Ok(Some(number)),
        _ => Err(ApiError::Parameter {
            name,
            code: "out_of_range",
            message: format!("{name} is a whole number from 1 to {most}"),
        }),
    }
}

/// An RFC 3339 date with a zone.
pub(super) fn date(name: &'static str, raw: Option<&str>) -> Result<Option<DateTime<Utc>>, ApiError> {
    let Some(raw) = raw else { return Ok(None) };
    // A `+` that was not encoded arrives as a space.
    let date = DateTime::parse_from_rfc3339(&raw.replace(' ', "+")).map(|date| date.to_utc());
    match date {
        Ok(date) if (1970..9999).contains(&chrono::Datelike::year(&date)) => Ok(Some(date)),
        _ => Err(ApiError::Parameter {
            name,
            code: "invalid_date",
            message: format!("{name} is a date with a zone, like 2026-11-21T10:00:00Z (RFC 3339), from 1970 to 9998"),
        }),
    }
}

/// Where a range begins: a date as [`date`] reads it that is not yet to come. An end may be.
pub(super) fn begin(name: &'static str, raw: Option<&str>) -> Result<Option<DateTime<Utc>>, ApiError> {
    let begin = date(name, raw)?;
    if begin.is_some_and(|begin| begin > Utc::now() + post::AHEAD) {
        let message = format!("{name} is yet to come");
        return Err(ApiError::Parameter { name, code: "out_of_range", message });
    }
    Ok(begin)
}

/// `[from, to)`; either end may be left open.
pub(super) fn range(from: Option<&str>, to: Option<&str>) -> Result<(DateTime<Utc>, DateTime<Utc>), ApiError> {
    let earliest = DateTime::UNIX_EPOCH;
    let from = begin("from", from)?.unwrap_or(earliest);
    let to = date("to", to)?.unwrap_or(earliest + TimeDelta::days(365 * 1_000));
    if from > to {
        let message = "from is a date before to".to_owned();
        return Err(ApiError::Parameter { name: "from", code: "out_of_range", message });
    }
    Ok((from, to))
}

/// A duration from 1 s to 400 days.
pub(super) fn window(raw: Option<&str>, default: Duration) -> Result<Duration, ApiError> {
    const MOST: Duration = Duration::from_secs(400 * 24 * 60 * 60);
    let Some(raw) = raw else { return Ok(default) };
    match settings::duration::parse(raw) {
        Ok(window) if (Duration::from_secs(1)..=MOST).contains(&window) => Ok(window),
        _ => Err(ApiError::Parameter {
            name: "window",
            code: "out_of_range",
            message: "window is a duration from 1s to 9600h, like 30s, 5m or 24h".to_owned(),
        }),
    }
}

/// The targets a request means: the one with a key, those with a label like
/// `team:shop`, or all of them.
pub(super) fn which<'a>(target: Option<&'a str>, label: Option<&'a str>) -> Result<Which<'a>, ApiError> {
    let bad = |message: &str| ApiError::Parameter { name: "label", code: "invalid_scope", message: message.to_owned() };
    match (target, label) {
        (Some(_), Some(_)) => Err(bad("label and target exclude each other")),
        (Some(key), None) => Ok(Which::Key(key)),
        (None, Some(label)) => label
            .split_once(':')
            .map(|(name, value)| Which::Label(name, value))
            .ok_or_else(|| bad("label is a name and a value, like team:shop")),
        (None, None) => Ok(Which::Fleet),
    }
}

/// The target with this key, if it is probed, and the scope of its windows.
///
/// # Errors
/// 404 where there is none.
pub(super) async fn probed(connection: &mut PgConnection, key: &str) -> Result<(TargetId, Scope), ApiError> {
    let which = Which::Key(key);
    let scope = windows::scope(connection, which).await?.filter(|scope| scope.active > 0);
    let scope = scope.ok_or_else(|| nobody(which))?;
    let target_id = scope.targets.as_deref().and_then(<[i32]>::first).copied().ok_or_else(|| nobody(which))?;
    Ok((TargetId(target_id), scope))
}

/// There is no such target.
pub(super) fn nobody(which: Which<'_>) -> ApiError {
    ApiError::NotFound(match which {
        Which::Label(name, value) => format!("no target has the label {name}:{value}"),
        Which::Key(key) => format!("no target has the key {key:?}"),
        Which::Fleet => "there are no targets".to_owned(),
    })
}
