//! Whether an answer is what its target's assertions say.
//!
//! Everything is judged on what the probe read: the decoded body up to
//! [`MAX_BODY`](super::MAX_BODY). What is said of a failure holds no secret of the
//! target, no control character, and not much of the body.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::cmp::Ordering;
use std::time::Duration;

use common::expect::{HeaderTest, JsonTest, Secrets, TextTest, cut, excerpt, shown_value};
use common::{Expectation, TargetSpec};
use http::HeaderMap;
use serde_json::{Number, Value};

use super::MAX_BODY;

/// How much of what was seen is told, in characters.
const SEEN_CHARS: usize = 200;

/// How long all that is said of a failure may be, in characters.
const DETAIL_CHARS: usize = 400;

/// What assertions are held against.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// Decoded, [`MAX_BODY`] bytes at most.
    pub(super) body: Vec<u8>,
    /// Whether there was more of it.
    pub(super) is_cut: bool,
    pub(super) elapsed: Duration,
}

/// The assertions of a target, and what must not be said when one fails.
#[derive(Debug)]
pub(super) struct Judge {
    expect: Vec<Expectation>,
    secrets: Secrets,
    pub(super) reads_body: bool,
}

impl Judge {
    /// `None` for a target that asserts nothing.
    pub(super) fn new(target: &TargetSpec) -> Option<Self> {
        let reads_body = target.expect.iter().any(Expectation::reads_body);
        let judge = || Self { expect: target.expect.clone(), secrets: Secrets::of(target), reads_body };
        (!target.expect.is_empty()).then(judge)
    }

    /// The first assertion that fails, and what was seen instead.
    pub(super) fn judge(&self, answer: &Answer) -> Result<(), String> {
        let seen = Seen { answer, secrets: &self.secrets, text: OnceCell::new(), json: OnceCell::new() };
        seen.all(&self.expect).map_err(|failed| cut(&failed, DETAIL_CHARS))
    }
}

/// An answer, read as text and as JSON at most once.
struct Seen<'a> {
    answer: &'a Answer,
    secrets: &'a Secrets,
    text: OnceCell<Cow<'a, str>>,
    json: OnceCell<Result<Value, String>>,
}

impl Seen<'_> {
    fn all(&self, expectations: &[Expectation]) -> Result<(), String> {
        expectations.iter().try_for_each(|expectation| self.one(expectation))
    }

    fn one(&self, expectation: &Expectation) -> Result<(), String> {
        let failure = match expectation {
            // These say which of them failed.
            Expectation::All(inner) => return self.all(inner),
            Expectation::Any(inner) => return self.any(inner),
            Expectation::Status(ranges) => {
                let status = self.answer.status;
                (!ranges.iter().any(|range| range.contains(status))).then(|| format!("is {status}"))
            }
            Expectation::Body(test) => self.body(test),
            Expectation::Json(path, test) => match self.json() {
                Ok(json) => self.json_values(&path.select(json), test),
                Err(reason) => Some(reason.clone()),
            },
            Expectation::Header(name, test) => self.header(name, test),
            Expectation::Latency(limit) => {
                let elapsed = self.answer.elapsed;
                (elapsed > *limit).then(|| format!("took {} ms", elapsed.as_millis()))
            }
        };
        failure.map_or(Ok(()), |seen| Err(format!("{}: {seen}", expectation.describe(&|text| self.secrets.hide(text)))))
    }

    fn any(&self, expectations: &[Expectation]) -> Result<(), String> {
        let mut failures = Vec::with_capacity(expectations.len());
        for expectation in expectations {
            match self.one(expectation) {
                Ok(()) => return Ok(()),
                Err(failure) => failures.push(failure),
            }
        }
        // Each gets its share of the room there is.
        let share = DETAIL_CHARS / failures.len().max(1);
        let failures: Vec<_> = failures.iter().map(|failure| cut(failure, share.max(40))).collect();
        Err(format!("none of {}: {}", failures.len(), failures.join("; ")))
    }

    fn text(&self) -> &str {
        self.text.get_or_init(|| String::from_utf8_lossy(&self.answer.body))
    }

    fn json(&self) -> &Result<Value, String> {
        self.json.get_or_init(|| {
            if self.answer.is_cut {
                return Err(format!("the body is over {} KiB, which is too long to be read as JSON", MAX_BODY / 1024));
            }
            let body = &self.answer.body;
            let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
            serde_json::from_slice(body).map_err(|error| {
                // Only where: the reason could repeat what stands there.
                let at = format!("line {} column {}", error.line(), error.column());
                format!("the body is not JSON ({at}), it is {}", self.excerpt(self.text()))
            })
        })
    }

    fn excerpt(&self, text: &str) -> String {
        excerpt(&self.secrets.hide(text), SEEN_CHARS)
    }

    fn body(&self, test: &TextTest) -> Option<String> {
        let text = self.text();
        if self.answer.is_cut && matches!(test, TextTest::Equals(_)) {
            return Some(format!("is over {} KiB long", MAX_BODY / 1024));
        }
        if holds(test, text) {
            return None;
        }
        Some(match test {
            TextTest::NotContains(_) | TextTest::NotMatches(_) => self.found(test, text),
            _ if self.answer.is_cut => {
                format!("not within the first {} KiB, which begin {}", MAX_BODY / 1024, self.excerpt(text))
            }
            _ if text.is_empty() => "is empty".to_owned(),
            _ => format!("is {}", self.excerpt(text)),
        })
    }

    /// What should not be there, and where it is.
    fn found(&self, test: &TextTest, text: &str) -> String {
        let (at, found) = match test {
            TextTest::NotMatches(pattern) => {
                // A piece of a secret is not known as one, so it is looked for where they are hidden.
                let hidden = self.secrets.hide(text);
                let found = pattern.find(&hidden).map_or("***".to_owned(), |(_, found)| found.to_owned());
                (pattern.find(text).map(|(at, _)| at), found)
            }
            _ => (text.find(test.parts().1), self.secrets.hide(test.parts().1)),
        };
        format!("found {} at byte {}", excerpt(&found, SEEN_CHARS), at.unwrap_or_default())
    }

    fn header(&self, name: &str, test: &HeaderTest) -> Option<String> {
        let mut values = self.answer.headers.get_all(name).iter().peekable();
        let is_there = values.peek().is_some();
        match test {
            HeaderTest::Exists(true) => (!is_there).then(|| "there is none".to_owned()),
            HeaderTest::Exists(false) => values.next().map(|value| {
                let value = String::from_utf8_lossy(value.as_bytes());
                format!("is {}", self.excerpt(&value))
            }),
            HeaderTest::Text(_) if !is_there => Some("there is none".to_owned()),
            HeaderTest::Text(test) => values
                .map(|value| String::from_utf8_lossy(value.as_bytes()))
                .find(|value| !holds(test, value))
                .map(|value| format!("is {}", self.excerpt(&value))),
        }
    }

    fn json_values(&self, values: &[&Value], test: &JsonTest) -> Option<String> {
        if let JsonTest::Exists(expected) = test {
            return match values.first() {
                None => expected.then(|| "there is none".to_owned()),
                Some(value) => (!expected).then(|| format!("is {}", self.shown(value))),
            };
        }
        if values.is_empty() {
            return Some("there is none".to_owned());
        }
        let (index, reason) =
            values.iter().enumerate().find_map(|(index, value)| Some((index, self.json_value(value, test)?)))?;
        Some(if values.len() == 1 { reason } else { format!("value {} of {} {reason}", index + 1, values.len()) })
    }

    fn json_value(&self, value: &Value, test: &JsonTest) -> Option<String> {
        let is = || format!("is {}", self.shown(value));
        let no = |what: &str| format!("is {}, which is no {what}", self.shown(value));
        match test {
            JsonTest::Equals(expected) => (!equal(value, expected)).then(is),
            JsonTest::NotEquals(expected) => equal(value, expected).then(is),
            JsonTest::Compare(order, expected) => match value {
                Value::Number(number) => (!compare(number, expected).is_some_and(|seen| order.holds(seen))).then(is),
                _ => Some(no("number")),
            },
            JsonTest::Matches(pattern) => match value {
                Value::String(text) => (!pattern.is_match(text)).then(is),
                _ => Some(no("text")),
            },
            // Told of all values at once.
            JsonTest::Exists(_) => None,
        }
    }

    fn shown(&self, value: &Value) -> String {
        shown_value(value, &|text| self.secrets.hide(text), SEEN_CHARS)
    }
}

fn holds(test: &TextTest, text: &str) -> bool {
    match test {
        TextTest::Equals(expected) => text == expected,
        TextTest::Contains(piece) => text.contains(piece.as_str()),
        TextTest::NotContains(piece) => !text.contains(piece.as_str()),
        TextTest::Matches(pattern) => pattern.is_match(text),
        TextTest::NotMatches(pattern) => !pattern.is_match(text),
    }
}

/// `1` and `1.0` are equal; a text is never a number.
fn equal(seen: &Value, expected: &Value) -> bool {
    match (seen, expected) {
        (Value::Number(seen), Value::Number(expected)) => compare(seen, expected) == Some(Ordering::Equal),
        _ => seen == expected,
    }
}

/// Whole numbers to the last digit, others as floating point numbers.
fn compare(seen: &Number, expected: &Number) -> Option<Ordering> {
    match (seen.as_i128(), expected.as_i128()) {
        (Some(seen), Some(expected)) => Some(seen.cmp(&expected)),
        _ => seen.as_f64()?.partial_cmp(&expected.as_f64()?),
    }
}

#[cfg(test)]
mod tests;
