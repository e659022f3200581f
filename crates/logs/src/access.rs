//! One line of an access log: Common and Combined Log Format, or a JSON object as
//! Traefik, nginx or Caddy write it. Each line says by itself which it is.

use std::borrow::Cow;
use std::collections::HashMap;

use engine::{Nanos, Reason, Rejection, Status};
use serde_json::value::RawValue;

use crate::date;

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A request.
    Request {
        /// When, as the server stamped it: most do when the request ends.
        at: Nanos,
        /// `GET`.
        verb: Cow<'a, str>,
        /// What was asked for, query included.
        resource: Cow<'a, str>,
        /// What was answered.
        status: Status,
    },
    /// Something that was no request for anything: garbage on the port, a connection closed early.
    NoRequest,
}

/// Reads a line; `None` if it is blank.
///
/// # Errors
/// `bad-syntax`, `bad-timestamp` or `bad-status`: the line is of no format known here, or part of it is wrong.
pub fn parse(line: &[u8]) -> Result<Option<Entry<'_>>, Rejection> {
    let line = line.trim_ascii();
    if line.is_empty() {
        return Ok(None);
    }
    if line.starts_with(b"{") { json(line).map(Some) } else { common(line).map(Some) }
}

fn bad(reason: Reason, explanation: &'static str) -> Rejection {
    Rejection::new(reason, explanation)
}

/// `host ident user [date] "request" status bytes …`; a virtual host in front and anything behind are fine.
fn common(line: &[u8]) -> Result<Entry<'_>, Rejection> {
    let shape = || bad(Reason::BadSyntax, "is neither the Common Log Format nor a JSON object");
    let start = line.windows(2).position(|pair| pair == b" [").ok_or_else(shape)? + 2;
    let length = line[start..].iter().position(|byte| *byte == b']').ok_or_else(shape)?;
    let (stamp, rest) = (&line[start..start + length], &line[start + length + 1..]);
    let rest = rest.strip_prefix(b" \"").ok_or_else(shape)?;
    let end = end_of_quoted(rest).ok_or_else(shape)?;
    let (request, rest) = (&rest[..end], &rest[end + 1..]);
    let rest = rest.strip_prefix(b" ").ok_or_else(shape)?;
    let status = rest.split(|byte| *byte == b' ').next().unwrap_or_default();
    let at = std::str::from_utf8(stamp)
        .ok()
        .and_then(date::common_log)
        .ok_or_else(|| bad(Reason::BadTimestamp, "has no date like [28/Nov/2018:14:11:31 +0100]"))?;
    entry(at, String::from_utf8_lossy(request), status)
}

/// Where the quotation mark is that ends a text; Apache puts a backslash before those that do not.
fn end_of_quoted(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn entry<'a>(at: Nanos, request: Cow<'a, str>, status: &[u8]) -> Result<Entry<'a>, Rejection> {
    // nginx writes 000 when nobody was left to be answered.
    if status == b"000" || status == b"-" {
        return Ok(Entry::NoRequest);
    }
    let status = Status::parse(status).ok_or_else(|| bad(Reason::BadStatus, "has no status from 100 to 599"))?;
    let named = match request {
        Cow::Borrowed(request) => {
            request_line(request).map(|(verb, resource)| (Cow::Borrowed(verb), Cow::Borrowed(resource)))
        }
        Cow::Owned(request) => {
            request_line(&request).map(|(verb, resource)| (verb.to_owned().into(), resource.to_owned().into()))
        }
    };
    Ok(match named {
        Some((verb, resource)) => Entry::Request { at, verb, resource, status },
        None => Entry::NoRequest,
    })
}

/// Verb and resource of `GET /path HTTP/1.1`.
fn request_line(text: &str) -> Option<(&str, &str)> {
    let mut words = text.split(' ');
    let (verb, resource) = (words.next()?, words.next()?);
    let version = words.next();
    let is_request = is_verb(verb)
        && !resource.is_empty()
        && version.is_none_or(|version| version.starts_with("HTTP/"))
        && words.next().is_none();
    is_request.then_some((verb, resource))
}

fn is_verb(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-' || byte == b'_')
}

type Members<'a> = HashMap<Cow<'a, str>, &'a RawValue>;

const STAMPS: [&str; 9] =
    ["StartUTC", "StartLocal", "time_iso8601", "@timestamp", "timestamp", "ts", "msec", "time_local", "time"];
const STATUSES: [&str; 4] = ["DownstreamStatus", "status", "OriginStatus", "status_code"];
const VERBS: [&str; 3] = ["RequestMethod", "request_method", "method"];
const RESOURCES: [&str; 6] = ["RequestPath", "request_uri", "uri", "path", "request_path", "url"];

fn json(line: &[u8]) -> Result<Entry<'_>, Rejection> {
    let members: Members<'_> =
        serde_json::from_slice(line).map_err(|_| bad(Reason::BadSyntax, "begins like JSON, but is not"))?;
    let first = |names: &[&str]| names.iter().find_map(|name| members.get(*name)).and_then(|raw| scalar(raw));
    let at = first(&STAMPS)
        .and_then(|stamp| Nanos::parse(&stamp).or_else(|| date::rfc3339(&stamp)).or_else(|| date::common_log(&stamp)));
    let at = at.ok_or_else(|| bad(Reason::BadTimestamp, "has no date in a member such as StartUTC, time or ts"))?;
    let status = first(&STATUSES).ok_or_else(|| bad(Reason::BadStatus, "has no member DownstreamStatus or status"))?;
    if status == "0" {
        return Ok(Entry::NoRequest);
    }
    if let (Some(verb), Some(resource)) = (first(&VERBS), first(&RESOURCES)) {
        return entry(at, format!("{verb} {resource}").into(), status.as_bytes());
    }
    let request = members.get("request").map(|raw| raw.get()).unwrap_or_default();
    // A text in nginx, an object in Caddy.
    let request = match serde_json::from_str::<Members<'_>>(request) {
        Ok(inner) => {
            let member = |name| inner.get(name).and_then(|raw| scalar(raw)).unwrap_or_default();
            format!("{} {}", member("method"), member("uri"))
        }
        Err(_) => serde_json::from_str(request).unwrap_or_default(),
    };
    entry(at, request.into(), status.as_bytes())
}

/// A text, or a number as it is written.
fn scalar(raw: &RawValue) -> Option<Cow<'_, str>> {
    match raw.get().as_bytes().first()? {
        b'"' => serde_json::from_str::<String>(raw.get()).ok().map(Cow::Owned),
        b'0'..=b'9' => Some(Cow::Borrowed(raw.get())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn assert_request(line: &str, expected: &str) {
        match parse(line.as_bytes()) {
            Ok(Some(Entry::Request { at, verb, resource, status })) => {
                assert_eq!(format!("{at} {verb} {resource} {}", status.get()), expected);
            }
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn common_and_combined_lines_are_requests() {
        assert_request(
            r#"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326"#,
            "971211336 GET /apache_pb.gif 200",
        );
        assert_request(
            r#"::1 - - [28/Nov/2018:14:11:31 +0000] "POST /a?b=c HTTP/1.1" 503 0 "http://x/" "curl/7" rt=0.1"#,
            "1543414291 POST /a?b=c 503",
        );
        assert_request(
            r#"www.example.org:443 10.0.0.1 - - [28/Nov/2018:14:11:31 +0000] "GET /\"x\" HTTP/1.1" 404 -"#,
            "1543414291 GET /\\\"x\\\" 404",
        );
    }

    #[test]
    fn json_lines_of_traefik_nginx_and_caddy_are_requests() {
        assert_request(
            r#"{"ClientAddr":"10.0.0.1:1","DownstreamStatus":502,"OriginStatus":0,"RequestMethod":"GET","RequestPath":"/x?y=1","StartUTC":"2018-11-28T22:11:31.274500001Z","time":"2018-11-28T22:11:32Z"}"#,
            "1543443091.274500001 GET /x?y=1 502",
        );
        assert_request(
            r#"{"msec":"1543443091.274","request":"HEAD /a HTTP/2.0","status":"204"}"#,
            "1543443091.274 HEAD /a 204",
        );
        assert_request(
            r#"{"time_local":"28/Nov/2018:14:11:31 -0800","request_method":"GET","request_uri":"/a","status":200}"#,
            "1543443091 GET /a 200",
        );
        assert_request(
            r#"{"level":"info","ts":1543443091.2745,"request":{"method":"PUT","uri":"/a","headers":{"A":["b"]}},"status":500}"#,
            "1543443091.2745 PUT /a 500",
        );
    }

    #[test]
    fn what_asked_for_nothing_is_not_a_mistake() {
        let stamp = "1.2.3.4 - - [28/Nov/2018:14:11:31 +0000]";
        for rest in [r#""-" 408 0"#, r#""" 400 0"#, r#""\x16\x03\x01\x00 x" 400 157"#, r#""GET / HTTP/1.1" 000 0"#] {
            assert_eq!(parse(format!("{stamp} {rest}").as_bytes()), Ok(Some(Entry::NoRequest)), "{rest}");
        }
        assert_eq!(parse(br#"{"ts": 1, "status": 0}"#), Ok(Some(Entry::NoRequest)));
        assert_eq!(parse(b" \r"), Ok(None));
    }

    #[test]
    fn a_line_that_is_wrong_is_rejected_with_its_reason() {
        for (line, reason) in [
            ("x", Reason::BadSyntax),
            ("{", Reason::BadSyntax),
            (r#"1.2.3.4 - - [28/Nov/2018:14:11:31 +0000] "GET / HTTP/1.1"#, Reason::BadSyntax),
            (r#"1.2.3.4 - - [28/Nov/2018:14:11:31 +0000] "GET / HTTP/1.1\"#, Reason::BadSyntax),
            (r#"1.2.3.4 - - [28/Nox/2018:14:11:31 +0000] "GET / HTTP/1.1" 200 1"#, Reason::BadTimestamp),
            (r#"1.2.3.4 - - [28/Nov/1918:14:11:31 +0000] "GET / HTTP/1.1" 200 1"#, Reason::BadTimestamp),
            (r#"1.2.3.4 - - [28/Nov/2018:14:11:31 +0000] "GET / HTTP/1.1" 2000 1"#, Reason::BadStatus),
            (r#"{"ts": "yesterday", "status": 200}"#, Reason::BadTimestamp),
            (r#"{"ts": 1, "status": null}"#, Reason::BadStatus),
            (r#"{"ts": 1543443091274, "status": 200}"#, Reason::BadTimestamp),
        ] {
            assert_eq!(parse(line.as_bytes()).map_err(|rejection| rejection.reason), Err(reason), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            text in r#"[a1] - - \[[0-9/:Nov +]{0,28}\] "[A-Z/ \\"]{0,20} [0-9" ]{0,6}"#,
        ) {
            let _ = parse(&bytes);
            let _ = parse(text.as_bytes());
        }
    }
}
