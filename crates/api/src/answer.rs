//! What several answers share, and how it is written.

use std::time::{Duration, UNIX_EPOCH};

use actix_web::http::header::{ETAG, HeaderMap, IF_NONE_MATCH};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use chrono::{DateTime, Datelike, SecondsFormat, Utc};
use common::Cause;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use store::checks::CheckRow;
use utoipa::ToSchema;

/// A moment: RFC 3339 in UTC, to the microsecond.
#[derive(Debug, Clone, Copy, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-11-21T06:14:13.719155Z")]
pub(crate) struct Moment(DateTime<Utc>);

impl From<DateTime<Utc>> for Moment {
    fn from(at: DateTime<Utc>) -> Self {
        Self(at)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // `/status` writes a million of them a second, for which chrono's own takes too long.
        match u64::try_from(self.0.timestamp_micros()) {
            Ok(micros) if self.0.year() <= 9999 => {
                let moment = UNIX_EPOCH + Duration::from_micros(micros);
                serializer.collect_str(&humantime::format_rfc3339_micros(moment))
            }
            _ => serializer.serialize_str(&self.0.to_rfc3339_opts(SecondsFormat::Micros, true)),
        }
    }
}

/// Whether whoever asks has the answer with this tag: its `If-None-Match` names it, weakened
/// by a cache between or not.
pub(crate) fn is_known(asked: &HeaderMap, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let mut known = asked.get_all(IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
    known.any(|tags| tags.split(',').any(|known| known.trim() == "*" || opaque(known) == opaque(tag)))
}

/// Microseconds as the milliseconds that answers give.
pub(crate) fn milliseconds(us: i32) -> f64 {
    f64::from(us) / 1000.0
}

/// How a slot ended. The first three are verdicts on the target; `missed` (lookout was late
/// or not running) and `unknown` (the fault was lookout's own) stay out of every ratio.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Up,
    Degraded,
    Down,
    Missed,
    Unknown,
}

impl From<common::Outcome> for Outcome {
    fn from(outcome: common::Outcome) -> Self {
        match outcome {
            common::Outcome::Up => Self::Up,
            common::Outcome::Degraded => Self::Degraded,
            common::Outcome::Down(_) => Self::Down,
            common::Outcome::Missed => Self::Missed,
            common::Outcome::Unknown => Self::Unknown,
        }
    }
}

/// One slot: a moment at which a target was due, and what came of it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Slot {
    /// When the check started; when it was due, if it never did.
    timestamp: Moment,
    /// The status code of the answer; null without one.
    code: Option<i16>,
    outcome: Outcome,
    /// Why it is down; null unless it is.
    cause: Option<Cause>,
    /// From the first network operation to the response head, or how long was waited for
    /// it, in milliseconds; null when the check never started.
    elapsed_ms: Option<f64>,
    /// Which assertion failed and what was seen instead, where that is the cause; or why the outcome is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, example = "json $.queue < 100: is 250")]
    detail: Option<String>,
}

impl From<&CheckRow> for Slot {
    fn from(row: &CheckRow) -> Self {
        Self {
            timestamp: row.started_at.unwrap_or(row.slot_at).into(),
            code: row.code,
            outcome: row.outcome.into(),
            cause: row.outcome.cause(),
            elapsed_ms: row.elapsed_us.map(milliseconds),
            detail: row.detail.clone(),
        }
    }
}

/// An answer and its entity tag, which is strong: it follows from every byte.
pub(crate) fn tagged(body: Vec<u8>) -> (Bytes, String) {
    let digest = Sha256::digest(&body);
    let tag: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    (body.into(), format!("\"{tag}\""))
}

/// JSON with its entity tag, or 304 where the client has it.
pub(crate) fn with_tag(request: &HttpRequest, (body, tag): &(Bytes, String)) -> HttpResponse {
    if is_known(request.headers(), tag) {
        return HttpResponse::NotModified().insert_header((ETAG, tag.as_str())).finish();
    }
    HttpResponse::Ok().insert_header((ETAG, tag.as_str())).content_type("application/json").body(body.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_moment_is_written_as_rfc_3339_asks_for_to_the_microsecond() {
        for text in [
            "1969-12-31T23:59:59.999999Z",
            "1970-01-01T00:00:00.000000Z",
            "1999-12-31T23:59:59.999999Z",
            "2000-02-29T12:00:00.000001Z",
            "2026-11-21T06:14:13.719155Z",
            "2100-03-01T00:00:00.000000Z",
            "9999-12-31T23:59:59.999999Z",
            "+10000-01-01T00:00:00.000000Z",
            "-0001-01-01T00:00:00.000000Z",
        ] {
            let moment = Moment(text.parse().unwrap());
            assert_eq!(serde_json::to_value(moment).unwrap(), text);
        }
    }
}
