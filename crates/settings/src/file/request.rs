//! What goes on the wire and what may come back: method, headers, body, status.

use std::collections::HashMap;
use std::fmt;

use common::{Method, StatusRange};
use http::{HeaderName, HeaderValue};

use super::fields::{Fields, name_alone, secret_text, shown};
use super::report::{Path, Report};
use super::tree::{Node, Value};

/// Headers that the connection itself sets: another value could smuggle a
/// request or break the connection.
///
/// Source: RFC 9110, section 7.6.1 (hop-by-hop), 7.2 (`Host`), 8.6 (`Content-Length`).
pub const RESERVED_HEADERS: [&str; 11] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A text that is none of the methods; reads on from it.
struct UnknownMethod;

impl fmt::Display for UnknownMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Method::ALL.map(Method::as_str).join(", ");
        write!(f, "is no method that is sent: write one of {names}")
    }
}

/// The method, if one is given.
pub(crate) fn method(fields: &Fields, report: &mut Report) -> Option<Method> {
    let node = fields.get("method")?;
    let path = fields.path.field("method");
    let text = secret_text(node, &path, "a request method", report)?;
    let method = Method::parse(text);
    if method.is_none() {
        let value = if node.template.is_some() { shown(node, text) } else { name_alone(text, &[' ', ':']) };
        report.error(node.at, &path, format_args!("{value} {UnknownMethod}"));
    }
    method
}

/// The headers in the order written. Values are never shown.
pub(crate) fn headers(fields: &Fields, report: &mut Report) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    let path = fields.path.field("headers");
    let Some(node) = fields.get("headers").filter(|node| node.value != Value::Null) else {
        return headers;
    };
    let Some(mapping) = Fields::of(node, path, "a mapping of texts", report) else {
        return headers;
    };
    // The same in the same letters has been refused already.
    let mut seen = HashMap::new();
    for (name, entry) in mapping.entries() {
        match HeaderName::from_bytes(name.as_bytes()) {
            Err(_) => report.error(
                entry.key_at,
                &mapping.path,
                format_args!(
                    "{} is no header name: letters, digits and - without spaces",
                    name_alone(name, &[':', '='])
                ),
            ),
            Ok(parsed) if RESERVED_HEADERS.contains(&parsed.as_str()) => report.error(
                entry.key_at,
                &mapping.path.field(name),
                "is set by the connection itself and cannot be given",
            ),
            Ok(parsed) if seen.insert(parsed.clone(), name).is_some_and(|other| other != name) => report.error(
                entry.key_at,
                &mapping.path.field(name),
                "is given twice: header names are the same in any case",
            ),
            Ok(_) => {}
        }
        let path = mapping.path.field(name);
        let Some(value) = secret_text(&entry.value, &path, "a text", report) else {
            continue;
        };
        if value.contains(['\r', '\n']) {
            report.error(
                entry.value.at,
                &path,
                "the value (not shown) has a line break, which would begin another header",
            );
        } else if HeaderValue::from_str(value).is_err() {
            report.error(entry.value.at, &path, "the value (not shown) has a control character");
        }
        headers.push((name.to_owned(), value.to_owned()));
    }
    headers
}

/// Bytes of a body at most.
const MOST_BODY: usize = 1 << 20;

/// Ranges of status codes at most.
const MOST_RANGES: usize = 100;

/// The body as written. It is never shown.
pub(crate) fn body(fields: &Fields, method: Method, report: &mut Report) -> Option<String> {
    let node = fields.get("body").filter(|node| node.value != Value::Null)?;
    let path = fields.path.field("body");
    let body = secret_text(node, &path, "a text (quote it, or write it as a block after |)", report)?;
    if body.contains('\0') {
        report.error(node.at, &path, "the value (not shown) has a NUL character");
    }
    if body.len() > MOST_BODY {
        report.error(node.at, &path, "the value (not shown) is over 1 MiB long");
    }
    if matches!(method, Method::Get | Method::Head) {
        report.warning(node.at, &path, format_args!("many servers ignore or refuse a body with {}", method.as_str()));
    }
    Some(body.to_owned())
}

const STATUS_RULE: &str = "is no status code or range: write 100 to 599, such as 200, 200-299 or 200-299,301";

/// The ranges of status codes: a code, a text such as `200-299,301`, or a list of those.
pub(crate) fn status(fields: &Fields, name: &str, report: &mut Report) -> Option<Vec<StatusRange>> {
    let node = fields.get(name)?;
    let path = fields.path.field(name);
    let mut ranges = Vec::new();
    let mut read = |node: &Node, path: &Path, report: &mut Report| {
        let Some(text) = secret_text(node, path, "a status code or a range", report) else {
            return;
        };
        for part in text.split(',') {
            match status_range(part) {
                Some(range) => ranges.push(range),
                None => report.error(node.at, path, format_args!("{} {STATUS_RULE}", shown(node, part.trim()))),
            }
        }
    };
    match &node.value {
        Value::List(items) if items.is_empty() => {
            report.error(node.at, &path, "is an empty list: no answer could be right");
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                read(item, &path.index(index), report);
            }
        }
        _ => read(node, &path, report),
    }
    if ranges.len() > MOST_RANGES {
        report.error(node.at, &path, format_args!("has {} codes and ranges, and {MOST_RANGES} at most", ranges.len()));
    }
    (!ranges.is_empty()).then_some(ranges)
}

fn status_range(text: &str) -> Option<StatusRange> {
    let code = |text: &str| {
        let text = text.trim();
        let is_code = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        let code = is_code.then(|| text.parse::<u16>().ok()).flatten()?;
        (100..=599).contains(&code).then_some(code)
    };
    let (from, to) = match text.split_once('-') {
        Some((from, to)) => (code(from)?, code(to)?),
        None => (code(text)?, code(text)?),
    };
    (from <= to).then_some(StatusRange { from, to })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_ranges_are_codes_or_pairs_of_them() {
        let range = |from, to| Some(StatusRange { from, to });
        assert_eq!(status_range("200"), range(200, 200));
        assert_eq!(status_range(" 200 - 299 "), range(200, 299));
        for text in ["", "99", "600", "2xx-", "2xx", "abc", "299-200", "200-", "-200", "+200", "0200"] {
            assert_eq!(status_range(text), None, "{text}");
        }
    }
}
