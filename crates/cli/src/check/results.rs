//! Results that were recorded elsewhere, classified and counted like our own.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, BufRead, Read, Write};
use std::time::Duration;

use common::TargetSpec;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use settings::{Problems, SettingsError};

use super::domain::domain;
use super::json::{self, Domains};
use super::tally::{Status, Tally, Verdict};
use super::text;
use crate::text::counted;

/// The longest line that is read, in bytes.
const MAX_LINE: usize = 1024 * 1024;

/// How many wrong lines are named.
const NAMED_LINES: u64 = 100;

/// What the results come to.
#[derive(Debug)]
pub(super) struct Recorded {
    /// Counts by URL and domain of the list.
    pub(super) tally: Tally,
    /// The class of every result, in order.
    classes: Vec<Status>,
    /// Positions, from 0, of results whose URL is not in the list.
    ignored: Vec<usize>,
}

/// Why there is no report.
#[derive(Debug)]
pub(super) enum ReadError {
    Io(io::Error),
    /// Some lines are no results; names them.
    Lines(SettingsError),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// One result, as it was recorded.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    url: Cow<'a, str>,
    /// `null` when there was no answer.
    #[serde(deserialize_with = "nullable")]
    status: Option<i64>,
    elapsed_ms: Option<f64>,
}

/// Unlike any other `Option`, such a field must be there.
fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Option::deserialize(deserializer)
}

/// Reads results, one JSON object a line, in the order of the checks; blank lines are skipped. A success that took
/// longer than `limit` is degraded.
///
/// # Errors
/// The input cannot be read, or has lines that are no results: then there is no report.
pub(super) fn read(
    mut input: impl BufRead,
    name: &str,
    targets: &[TargetSpec],
    limit: Duration,
) -> Result<Recorded, ReadError> {
    // Endpoints that share a URL share its results: each counts once.
    let mut urls: HashMap<&str, usize> = HashMap::new();
    let mut endpoints = Vec::new();
    for target in targets {
        urls.entry(target.url.whole()).or_insert_with(|| {
            endpoints.push((target.name.clone(), domain(target.url.as_written())));
            endpoints.len() - 1
        });
    }
    let mut recorded = Recorded { tally: Tally::new(endpoints), classes: Vec::new(), ignored: Vec::new() };
    let mut wrong = Wrong { problems: Problems::new(), unnamed: 0 };
    let limit_ms = limit.as_secs_f64() * 1_000.0;
    let mut bytes = Vec::new();
    let mut number: u64 = 0;
    while next_line(&mut input, &mut bytes)? {
        number += 1;
        let mut text = bytes.as_slice();
        if number == 1 {
            text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        }
        let text = text.trim_ascii();
        if text.is_empty() {
            continue;
        }
        match parse(text).and_then(|line| Ok((class(&line, limit_ms)?, line))) {
            Ok((status, line)) => {
                match urls.get(&*line.url) {
                    Some(index) => recorded.tally.add(*index, verdict(status, &line)),
                    None => recorded.ignored.push(recorded.classes.len()),
                }
                recorded.classes.push(status);
            }
            Err(rule) => wrong.note(format_args!("{name}:{number}: {rule}")),
        }
    }
    wrong.finish().map_err(ReadError::Lines)?;
    Ok(recorded)
}

/// Reads a line without more of it than anybody needs to see that it is too long. `false` at the end of the input.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let length = input.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', line)?;
    if length > MAX_LINE && line.last() != Some(&b'\n') {
        input.skip_until(b'\n')?;
    }
    Ok(length > 0)
}

fn parse(text: &[u8]) -> Result<Line<'_>, String> {
    if text.len() > MAX_LINE {
        return Err("is over 1 MiB long".to_owned());
    }
    serde_json::from_slice(text).map_err(|error| match serde_json::from_slice(text) {
        Ok(value) if error.is_data() => no_result(&value, &error),
        _ => {
            let message = error.to_string();
            // There is but one line, and its number stands in front.
            let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
            format!("not JSON: {message} (byte {})", error.column())
        }
    })
}

/// What is wrong with a line of JSON that is no result. Shows nothing of it.
fn no_result(value: &Value, error: &serde_json::Error) -> String {
    let Value::Object(fields) = value else {
        return format!("expected a result such as {EXAMPLE}, found {}", kind(value));
    };
    // Of two, neither is more right than the other.
    if let Some(name) = FIELDS.iter().find(|name| error.to_string().starts_with(&format!("duplicate field `{name}`"))) {
        return format!("{name}: is given twice");
    }
    let missing = |name: &str, hint: &str| format!("{name}: is missing{hint}, as in {EXAMPLE}");
    let wrong =
        |name: &str, expected: &str, found: &Value| format!("{name}: expected {expected}, found {}", kind(found));
    match (fields.get("url"), fields.get("status"), fields.get("elapsed_ms")) {
        (None, ..) => missing("url", ""),
        (Some(url), ..) if !url.is_string() => wrong("url", "a text", url),
        (_, None, _) => missing("status", " (null where nobody answered)"),
        (_, Some(status), _) if !status.is_i64() && !status.is_null() => {
            wrong("status", "a whole number, or null where nobody answered", status)
        }
        (.., Some(elapsed)) if !elapsed.is_number() && !elapsed.is_null() => wrong("elapsed_ms", "a number", elapsed),
        _ => format!("expected a result such as {EXAMPLE}"),
    }
}

const FIELDS: [&str; 3] = ["url", "status", "elapsed_ms"];

const EXAMPLE: &str = r#"{"url": "https://example.org/", "status": 200, "elapsed_ms": 12.5}"#;

/// The kind of a value, with its article.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a true or false",
        Value::Number(number) if number.is_i64() => "a whole number",
        Value::Number(_) => "a number that is not whole, or too large",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

/// Down whatever the time, unless it is a success; then the time counts.
fn class(line: &Line, limit_ms: f64) -> Result<Status, String> {
    match (line.status, line.elapsed_ms) {
        (Some(200..=299), Some(elapsed)) if elapsed < 0.0 => Err("elapsed_ms: is negative".to_owned()),
        (Some(200..=299), Some(elapsed)) if elapsed <= limit_ms => Ok(Status::Up),
        (Some(200..=299), Some(_)) => Ok(Status::Degraded),
        (Some(200..=299), None) => Err("elapsed_ms: is missing beside a status of success".to_owned()),
        _ => Ok(Status::Down),
    }
}

fn verdict(status: Status, line: &Line) -> Verdict {
    let code = line.status.and_then(|code| u16::try_from(code).ok());
    Verdict { status, code, cause: None, elapsed_us: line.elapsed_ms.map(|elapsed| (elapsed * 1_000.0) as u32) }
}

/// Collects wrong lines, but not without end.
struct Wrong {
    problems: Problems,
    unnamed: u64,
}

impl Wrong {
    fn note(&mut self, problem: std::fmt::Arguments<'_>) {
        if self.problems.len() as u64 == NAMED_LINES {
            self.unnamed += 1;
        } else {
            self.problems.line(problem);
        }
    }

    fn finish(mut self) -> Result<(), SettingsError> {
        if self.unnamed > 0 {
            let more = self.unnamed;
            self.problems.line(format_args!("and {more} more wrong {}", if more == 1 { "line" } else { "lines" }));
        }
        self.problems.finish()
    }
}

impl Recorded {
    /// Writes the report for programs.
    pub(super) fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        #[derive(Serialize)]
        struct Answer<'a> {
            domains: Domains<'a>,
            classification: &'a [Status],
            ignored: &'a [usize],
        }
        let answer = Answer { domains: Domains(&self.tally), classification: &self.classes, ignored: &self.ignored };
        json::line_of(out, &answer)
    }

    /// Writes the report for people.
    pub(super) fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.tally.len() > 0 {
            text::domains(out, &self.tally)?;
            writeln!(out)?;
        }
        write!(out, "{}", counted(self.classes.len(), "result"))?;
        match self.ignored.len() {
            0 => writeln!(out, "."),
            ignored => writeln!(out, ", {ignored} of them to URLs that are not in the list."),
        }
    }
}

#[cfg(test)]
mod tests;
