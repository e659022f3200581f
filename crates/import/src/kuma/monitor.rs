//! A monitor as a target.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value as Json;

use super::record::{Record, kind};
use crate::expect::{Check, Expect, Value};
use crate::json_path;
use crate::notes::Place;
use crate::status::Codes;
use crate::target::{Endpoint, Output};
use crate::text::Text;

pub(super) const NOTIFICATIONS: &str =
    "lookout sends no notifications itself; let Prometheus alert on its /metrics (docs/METRICS.md)";
pub(super) const PROXY: &str = "lookout connects directly";

/// What uptime-kuma does where a monitor says nothing.
const INTERVAL_S: f64 = 60.0;
const MAX_REDIRECTS: f64 = 10.0;

type Errors = Vec<String>;

pub(super) fn monitors(records: &[Record], output: &mut Output, errors: &mut Errors) {
    let groups = groups(records, errors);
    for record in records {
        monitor(record, &groups, output, errors);
    }
}

/// The path of each group by its id: `Shop / Backend`.
fn groups(records: &[Record], errors: &mut Errors) -> HashMap<i64, String> {
    let mut own: HashMap<i64, (&str, Option<i64>)> = HashMap::new();
    for record in records {
        let Some(id) = record.get("id").and_then(Json::as_i64) else { continue };
        let parent = record.get("parent").and_then(Json::as_i64);
        own.insert(id, (record.text("name", errors).unwrap_or("unnamed"), parent));
    }
    let mut paths = HashMap::new();
    for id in own.keys() {
        let mut names = Vec::new();
        let mut next = Some(*id);
        // Groups that contain each other end here.
        while let Some((name, parent)) = next.and_then(|id| own.get(&id)).filter(|_| names.len() < 8) {
            names.push(*name);
            next = *parent;
        }
        names.reverse();
        paths.insert(*id, names.join(" / "));
    }
    paths
}

fn monitor(record: &Record, groups: &HashMap<i64, String>, output: &mut Output, errors: &mut Errors) {
    let name = record.text("name", errors).unwrap_or("unnamed");
    let place = Place::new(name, 0);
    let kind = record.text("type", errors).unwrap_or("http");
    if kind == "group" {
        // Its name is a label of those within.
        return;
    }
    if !["http", "keyword", "json-query"].contains(&kind) {
        output.notes.left_out(&place, format_args!("is of type {kind}; lookout watches http and https"));
        return;
    }
    if record.flag("active", errors) == Some(false) || record.flag("force_inactive", errors) == Some(true) {
        output.notes.left_out(&place, "is paused");
        return;
    }
    if record.flag("upside_down", errors) == Some(true) {
        output.notes.left_out(&place, "is upside down: lookout cannot expect a failure");
        return;
    }
    let Some(url) = record.text("url", errors) else {
        output.notes.left_out(&place, "has no URL");
        return;
    };
    let group = record.get("parent").and_then(Json::as_i64).and_then(|parent| groups.get(&parent)).cloned();
    let interval = record.number("interval", errors).filter(|seconds| *seconds > 0.0).unwrap_or(INTERVAL_S);
    // Before version 1.23 there was no such setting, and 0 stood for this.
    let timeout = record.number("timeout", errors).filter(|seconds| *seconds > 0.0).unwrap_or(interval * 0.8);
    let mut endpoint = Endpoint {
        name: Text::literal(name),
        group: group.clone().map(Text::literal),
        url: Text::literal(url),
        method: record.text("method", errors).map(str::to_owned),
        interval: seconds(interval),
        timeout: seconds(timeout),
        ..Endpoint::default()
    };
    endpoint.expect = Expect { status: status(record, &place, output, errors), ..Expect::default() };
    headers(record, &place, &mut endpoint, output, errors);
    authorization(record, &place, &mut endpoint, output, errors);
    body(record, &place, &mut endpoint, output, errors);
    match kind {
        "keyword" => keyword(record, &place, &mut endpoint, output, errors),
        "json-query" => json_query(record, &place, &mut endpoint, output, errors),
        _ => {}
    }
    labels(record, group, &mut endpoint);
    other_fields(record, &place, output, errors);
    output.add(&place, endpoint);
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(86_400))
}

/// A field that is JSON itself, or text that holds some.
fn parsed(record: &Record, name: &str) -> Option<Json> {
    match record.get(name)? {
        Json::String(text) if text.trim().is_empty() => None,
        Json::String(text) => Some(serde_json::from_str(text).unwrap_or(Json::Null)),
        value => Some(value.clone()),
    }
}

fn status(record: &Record, place: &Place, output: &mut Output, errors: &mut Errors) -> Option<Codes> {
    let list = match parsed(record, "accepted_statuscodes_json")? {
        Json::Array(list) => list,
        other => {
            errors.push(format!("{}.accepted_statuscodes: expected a list, found {}", record.path, kind(&other)));
            return None;
        }
    };
    let mut ranges = Vec::new();
    for item in &list {
        let text = item.as_str().unwrap_or_default();
        let mut ends = text.splitn(2, '-').map(|end| end.trim().parse::<u16>().ok());
        match (ends.next().flatten(), ends.next()) {
            (Some(code), None) => ranges.push((code, code)),
            (Some(from), Some(Some(to))) => ranges.push((from, to)),
            _ => output.notes.not_carried(
                place,
                "accepted_statuscodes",
                format_args!("{item} is no status code or range"),
            ),
        }
    }
    let codes = Codes::that(|code| ranges.iter().any(|(from, to)| (*from..=*to).contains(&code)));
    if codes.is_empty() {
        output.notes.changed(place, "accepted_statuscodes", "accepts nothing, and became 200-299");
        return None;
    }
    Some(codes)
}

fn headers(record: &Record, place: &Place, endpoint: &mut Endpoint, output: &mut Output, errors: &mut Errors) {
    match parsed(record, "headers") {
        None => {}
        Some(Json::Object(headers)) => {
            for (name, value) in headers {
                let value = match value {
                    Json::String(text) => text,
                    value @ (Json::Number(_) | Json::Bool(_)) => value.to_string(),
                    other => {
                        errors.push(format!("{}.headers: expected texts, found {}", record.path, kind(&other)));
                        continue;
                    }
                };
                endpoint.headers.push((name, Text::literal(value)));
            }
        }
        Some(_) => {
            output.notes.not_carried(place, "headers", "are no JSON mapping, so uptime-kuma cannot send them either")
        }
    }
}

fn authorization(record: &Record, place: &Place, endpoint: &mut Endpoint, output: &mut Output, errors: &mut Errors) {
    let user = record.text("basic_auth_user", errors);
    let password = record.text("basic_auth_pass", errors);
    // Before version 1.19 there was only this one, without a name.
    match record.text("auth_method", errors) {
        None | Some("basic" | "null") => {
            endpoint.basic = user.map(|user| (user.to_owned(), password.unwrap_or_default().to_owned()));
        }
        Some("bearer") => {
            if let Some(token) = record.text("bearer_token", errors) {
                let has_own = endpoint.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
                if !has_own {
                    endpoint.headers.push(("authorization".to_owned(), Text::literal(format!("Bearer {token}"))));
                }
            }
        }
        Some("oauth2-cc") => {
            output.notes.not_carried(place, "auth_method oauth2-cc", "lookout fetches no tokens; give one in a header")
        }
        Some("mtls") => output.notes.not_carried(place, "auth_method mtls", "lookout has no client certificates"),
        Some(other) => output.notes.not_carried(place, &format!("auth_method {other}"), "is no method lookout knows"),
    }
}

fn body(record: &Record, place: &Place, endpoint: &mut Endpoint, output: &mut Output, errors: &mut Errors) {
    let Some(body) = record.text("body", errors).filter(|body| !body.trim().is_empty()) else { return };
    let content_type = match record.text("http_body_encoding", errors) {
        None | Some("json") => None,
        Some("form") => Some("application/x-www-form-urlencoded"),
        Some("xml") => Some("text/xml; charset=utf-8"),
        Some(other) => {
            output.notes.not_carried(
                place,
                "http_body_encoding",
                format_args!("{other:?} is none lookout knows; give a content-type header"),
            );
            None
        }
    };
    if let Some(content_type) = content_type
        && !endpoint.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
    {
        endpoint.headers.push(("content-type".to_owned(), Text::literal(content_type)));
    }
    endpoint.body = Some(Text::literal(body));
}

fn keyword(record: &Record, place: &Place, endpoint: &mut Endpoint, output: &mut Output, errors: &mut Errors) {
    let Some(keyword) = record.text("keyword", errors) else {
        output.notes.not_carried(place, "keyword", "is empty, which is in every answer");
        return;
    };
    let operator = if record.flag("invert_keyword", errors) == Some(true) { "not_contains" } else { "contains" };
    endpoint.expect.checks.push(Check::Body(operator, Value::literal(keyword)));
}

fn json_query(record: &Record, place: &Place, endpoint: &mut Endpoint, output: &mut Output, errors: &mut Errors) {
    let query = record.text("json_path", errors).unwrap_or("$");
    let expected = record.text("expected_value", errors).unwrap_or_default();
    let operator = record.text("json_path_operator", errors).unwrap_or("==");
    let dotted =
        query.strip_prefix('$').filter(|rest| rest.is_empty() || rest.starts_with(['.', '['])).unwrap_or(query);
    let path = json_path::of_dotted(dotted).filter(|path| !path.contains("[*]"));
    let value = match operator {
        "==" => Some(("==", Value::guess(Text::literal(expected)))),
        "!=" => Some(("!=", Value::guess(Text::literal(expected)))),
        "contains" if !expected.is_empty() => Some(("matches", Value::literal(regex::escape(expected)))),
        "<" | "<=" | ">" | ">=" => {
            match (expected.trim().parse::<f64>(), ["<", "<=", ">", ">="].iter().find(|o| **o == operator)) {
                (Ok(number), Some(operator)) if number.is_finite() => {
                    Some((*operator, Value::Plain(number.to_string())))
                }
                _ => None,
            }
        }
        _ => None,
    };
    match (path, value) {
        (Some(path), Some((operator, value))) => endpoint.expect.checks.push(Check::Json(path, operator, value)),
        _ => output.notes.not_carried(
            place,
            "json query",
            format_args!("{query:?} {operator} is more than names and numbers such as a.b[0]; write it as a JSON path under expect: json:"),
        ),
    }
}

fn labels(record: &Record, group: Option<String>, endpoint: &mut Endpoint) {
    endpoint.labels.extend(group.map(|group| ("group".to_owned(), Text::literal(group))));
    for (name, value) in &record.tags {
        // A tag without a value says all by being there.
        let value = if value.is_empty() { "true" } else { value };
        let joined = endpoint.labels.iter_mut().find(|(other, _)| other == name);
        match joined {
            Some((_, values)) => *values = values.clone().and(",").and(value),
            None => endpoint.labels.push((name.clone(), Text::literal(value))),
        }
    }
}

fn other_fields(record: &Record, place: &Place, output: &mut Output, errors: &mut Errors) {
    let retries = record.number("maxretries", errors).unwrap_or(0.0);
    if retries > 0.0 {
        output.notes.not_carried(place, "maxretries", "lookout does not retry: each check counts, and an objective over a window says when it is an incident (docs/SLO.md)");
    }
    if record.number("resend_interval", errors).unwrap_or(0.0) > 0.0 || record.notifies {
        output.notes.not_carried(place, "notifications", NOTIFICATIONS);
    }
    if record.number("maxredirects", errors).unwrap_or(MAX_REDIRECTS) != MAX_REDIRECTS {
        output.notes.not_carried(
            place,
            "maxredirects",
            "lookout follows up to five redirects and judges the last answer; a status of 300 to 399 is never seen",
        );
    }
    let flags = [
        ("ignore_tls", "lookout always checks certificates; add their CA to those of the system"),
        (
            "expiry_notification",
            "lookout does not look at how long a certificate lasts; one that has expired is down (tls)",
        ),
        ("domain_expiry_notification", "lookout does not ask when a domain expires"),
        ("cache_bust", "lookout sends the same URL each time"),
    ];
    for (name, advice) in flags {
        if record.flag(name, errors) == Some(true) && (name != "expiry_notification" || is_https(record)) {
            output.notes.not_carried(place, name, advice);
        }
    }
    let others = [
        ("proxy_id", PROXY),
        ("description", "lookout has no description of a target; write a comment"),
        ("ip_family", "lookout takes the address that connects first"),
        ("tls_ca", "add the CA to those of the system"),
    ];
    for (name, advice) in others {
        if record.get(name).is_some_and(|value| value.as_str() != Some("")) {
            output.notes.not_carried(place, name, advice);
        }
    }
}

fn is_https(record: &Record) -> bool {
    record.get("url").and_then(Json::as_str).is_some_and(|url| url.starts_with("https:"))
}
