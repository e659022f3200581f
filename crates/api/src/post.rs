//! What every post has in common: a receipt under its idempotency key, and what a
//! line of a stream comes to.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use settings::file::place_in_json;
use sha2::{Digest, Sha256};
use store::PgConnection;
use store::StoreError;
use store::events::{self, Access, Change, Receipt};

use crate::error::ApiError;
use crate::state::State;

/// How long storing a post may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How far ahead a sender's clock may be.
pub(crate) const AHEAD: TimeDelta = TimeDelta::minutes(5);

const KEY: &str = "idempotency-key";

/// On an answer that was given before.
pub(crate) const REPLAYED: &str = "idempotency-replayed";

/// A post and, if its sender gave one, the key that makes it safe to repeat.
pub(crate) struct Post {
    key: Option<String>,
    digest: Vec<u8>,
}

impl Post {
    /// Reads the key. The same key on another path is another one.
    ///
    /// # Errors
    /// There are several keys, or it is empty, too long or no plain text.
    pub(crate) fn new(request: &HttpRequest, body: &[u8]) -> Result<Self, ApiError> {
        let mut keys = request.headers().get_all(KEY);
        let key = match keys.next().map(|value| value.to_str()) {
            None => None,
            Some(Ok(key)) if keys.next().is_none() && (1..=200).contains(&key.len()) => {
                Some(format!("{} {key}", request.path()))
            }
            Some(_) => {
                return Err(ApiError::Header {
                    name: KEY,
                    message: "one idempotency key, of 1 to 200 visible ASCII characters".to_owned(),
                });
            }
        };
        Ok(Self { key, digest: Sha256::digest(body).to_vec() })
    }

    /// Nothing that anybody gets an answer to.
    pub(crate) fn unanswered() -> Self {
        Self { key: None, digest: Vec::new() }
    }

    /// The answer this post got before, within a day.
    ///
    /// # Errors
    /// 409 when the key was used with another body.
    pub(crate) async fn answered(&self, connection: &mut PgConnection) -> Result<Option<HttpResponse>, ApiError> {
        let Some(key) = &self.key else { return Ok(None) };
        let Some(receipt) = events::receipt(connection, key).await? else { return Ok(None) };
        if receipt.digest != self.digest {
            return Err(ApiError::Conflict("this idempotency key was used with another body".to_owned()));
        }
        let status = u16::try_from(receipt.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
        let mut response = HttpResponse::build(status.unwrap_or(StatusCode::OK));
        Ok(Some(response.insert_header((REPLAYED, "true")).json(receipt.answer)))
    }

    /// Stores what was posted, and the answer with it.
    ///
    /// # Errors
    /// Whatever Postgres reports; nothing is stored then.
    #[expect(clippy::too_many_arguments, reason = "all of it is one row each of one transaction")]
    pub(crate) async fn store(
        &self,
        state: &State,
        connection: &mut PgConnection,
        source: &str,
        accesses: &[Access],
        changes: &[Change],
        status: StatusCode,
        answer: &impl Serialize,
    ) -> Result<HttpResponse, ApiError> {
        let receipt = self.key.as_ref().map(|key| Receipt {
            key: key.clone(),
            digest: self.digest.clone(),
            status: status.as_u16().cast_signed(),
            answer: serde_json::to_value(answer).unwrap_or_default(),
        });
        let mut stored = events::write(connection, source, accesses, changes, receipt.as_ref()).await;
        if let Err(StoreError::NoPartition(_)) = stored {
            events::make_partition(&state.pool, Utc::now()).await?;
            stored = events::write(connection, source, accesses, changes, receipt.as_ref()).await;
        }
        if stored? {
            return Ok(HttpResponse::build(status).json(answer));
        }
        // The same post came twice at once, and the other one was first.
        self.answered(connection).await?.ok_or(ApiError::Unavailable("the same post is being stored: send it again"))
    }
}

/// What the body is said to be, in lower case and without parameters.
pub(crate) fn media_type(request: &HttpRequest) -> String {
    let said = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Reads a JSON body.
///
/// # Errors
/// The byte from which on it is not JSON, or the field that is not one of those it may have.
pub(crate) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    // A list of the fields in their order would be read, too.
    if body.trim_ascii_start().starts_with(b"[") {
        let message = "expected an object, found a list".to_owned();
        return Err(ApiError::Body { pointer: String::new(), code: "bad_json", message });
    }
    any_json(body)
}

/// Reads a JSON body that may be a list.
///
/// # Errors
/// As [`json`].
pub(crate) fn any_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let fields = error.path().iter().filter_map(|segment| match segment {
            Segment::Map { key } => Some(format!("/{}", key.replace('~', "~0").replace('/', "~1"))),
            Segment::Seq { index } => Some(format!("/{index}")),
            _ => None,
        });
        (fields.collect::<String>(), error.into_inner())
    });
    let read = read.and_then(|read| reader.end().map(|()| read).map_err(|error| (String::new(), error)));
    read.map_err(|(pointer, error)| {
        let (offset, message) = place_in_json(body, &error);
        if error.is_data() {
            ApiError::Body { pointer, code: "bad_json", message }
        } else {
            ApiError::not_json(offset, &message)
        }
    })
}

/// A text without the control characters in it, which nobody sees and terminals obey.
pub(crate) fn visible(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// The mail address of `<somebody@example.org>`.
pub(crate) fn author(written: &str) -> String {
    visible(written.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(written))
}

/// The moment that the date of a change names, if it names one: without a zone, or with
/// one that only people know, it is taken for UTC. It orders nothing.
pub(crate) fn date(written: &str) -> Option<DateTime<Utc>> {
    if let Ok(plain) = NaiveDateTime::parse_from_str(written, "%Y-%m-%d %H:%M:%S%.f") {
        return Some(plain.and_utc());
    }
    let fields: Vec<&str> = written.split_ascii_whitespace().collect();
    let [_, month, day, time, zone, year] = fields[..] else { return None };
    let offset = match zone.strip_prefix(['+', '-']).map(str::len) {
        Some(2) => format!("{zone}00"),
        Some(4) => zone.to_owned(),
        _ => "+0000".to_owned(),
    };
    // Zones of the mail's kind, such as PST, are known; others are taken for UTC.
    let by_name = DateTime::parse_from_rfc2822(&format!("{day} {month} {year} {time} {zone}"));
    let spelled = format!("{day} {month} {year} {time} {offset}");
    by_name.or_else(|_| DateTime::parse_from_str(&spelled, "%d %b %Y %H:%M:%S %z")).ok().map(|at| at.to_utc())
}

/// The moment of a change that a stream tells of.
///
/// # Errors
/// Why nothing can have been rolled out then.
pub(crate) fn moment(written: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, &'static str> {
    let at = date(written).ok_or("names no day or no time that there is")?;
    if at > now + AHEAD {
        return Err("is more than five minutes ahead");
    }
    if at < DateTime::UNIX_EPOCH { Err("is before 1970") } else { Ok(at) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_a_change_is_read_in_both_layouts() {
        let at = |text: &str| date(text).map(|at| at.to_rfc3339());
        assert_eq!(at("2018-11-28 14:11:31.5").as_deref(), Some("2018-11-28T14:11:31.500+00:00"));
        assert_eq!(at("Wed Nov 28 14:11:31 PST 2018").as_deref(), Some("2018-11-28T22:11:31+00:00"));
        assert_eq!(at("Wed Nov 28 14:11:31 CET 2018").as_deref(), Some("2018-11-28T14:11:31+00:00"));
        assert_eq!(at("Wed Nov  8 14:11:31 +02 2018").as_deref(), Some("2018-11-08T12:11:31+00:00"));
        assert_eq!(at("2018-02-31 14:11:31"), None, "no such day");
        assert_eq!(at("Wed Feb 31 14:11:31 PST 2018"), None, "no such day");
        assert_eq!((author("<a@b.c>").as_str(), author("a").as_str()), ("a@b.c", "a"));
    }
}
