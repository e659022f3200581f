//! One entry of the file as a target.

use std::collections::BTreeMap;
use std::time::Duration;

use common::{Connection, Expectation, Interval, Method, Reach, Source, StatusRange, TargetSpec, TargetUrl, UrlError};

use super::fields::{Fields, quoted, secret_text};
use super::report::{Path, Report};
use super::tree::{Node, Value};
use super::{Mode, expand, expect, request};
use crate::rules::{self, AboveInterval};
use crate::targets::{Defaults, KEY_MAX_BYTES};
use crate::urls;

pub(super) const TARGET_FIELDS: [&str; 14] = [
    "key",
    "name",
    "url",
    "method",
    "headers",
    "body",
    "interval",
    "timeout",
    "degraded_after",
    "expect",
    "expect_status",
    "connection",
    "service",
    "labels",
];

const DEFAULT_FIELDS: [&str; 7] =
    ["interval", "timeout", "degraded_after", "method", "expect", "expect_status", "connection"];

/// Reads the `defaults:` of a file on top of those from outside it.
pub(crate) fn defaults(node: &Node, path: Path, base: &Defaults, report: &mut Report) -> Defaults {
    let Some(fields) = Fields::of(node, path, "a mapping of defaults", report) else {
        return base.clone();
    };
    fields.refuse_unknown(&DEFAULT_FIELDS, report);
    let policy = Policy::read(&fields, report);
    // An interval of a target may be longer than the default one, so a default
    // timeout alone is not held against it.
    if let (Some(interval), Some(timeout)) = (policy.interval, policy.timeout) {
        check_timeout(&fields, timeout, interval, report);
    }
    Defaults {
        interval: policy.interval.unwrap_or(base.interval),
        timeout: policy.timeout.unwrap_or(base.timeout),
        degraded_after: policy.degraded_after.unwrap_or(base.degraded_after),
        method: policy.method.unwrap_or(base.method),
        expect_status: policy.expect_status.unwrap_or_else(|| base.expect_status.clone()),
        expect: policy.expect.unwrap_or_else(|| base.expect.clone()),
        connection: policy.connection.unwrap_or(base.connection),
    }
}

/// Reads one target. `None` when it has no usable name or URL, which is reported.
pub(crate) fn target(node: &Node, path: Path, defaults: &Defaults, report: &mut Report) -> Option<TargetSpec> {
    let fields = Fields::of(node, path, "a mapping with name and url", report)?;
    fields.refuse_unknown(&TARGET_FIELDS, report);
    let name = required(&fields, "name", report).and_then(|_| label(&fields, "name", report));
    let key = label(&fields, "key", report);
    let service = label(&fields, "service", report);
    for (field, text) in [("name", &name), ("key", &key), ("service", &service)] {
        let is_secret = |text: &String| TargetUrl::parse(text).is_ok_and(|url| url.whole() != url.as_written());
        if let Some(node) = fields.get(field).filter(|_| text.as_ref().is_some_and(is_secret)) {
            let rule =
                "the value (not shown) is a URL with a secret in it, and everybody sees it: write something else";
            report.error(node.at, &fields.path.field(field), rule);
        }
    }
    let url = required(&fields, "url", report).and_then(|node| url(&fields, node, report));
    let policy = Policy::read(&fields, report);
    let method = policy.method.unwrap_or(defaults.method);
    let headers = request::headers(&fields, report);
    let body = request::body(&fields, method, report);
    let labels = labels(&fields, report);
    let interval = policy.interval.unwrap_or(defaults.interval);
    if let Some(timeout) = policy.timeout {
        check_timeout(&fields, timeout, interval, report);
    }
    let default_timeout = match report.mode() {
        Mode::Service => defaults.timeout.min(interval.duration()),
        // Nothing comes at intervals there.
        Mode::OneOff => defaults.timeout,
    };
    let expect_status = policy.expect_status.unwrap_or_else(|| defaults.expect_status.clone());
    let expect = policy.expect.unwrap_or_else(|| defaults.expect.clone());
    expect::never(&fields, method, &expect_status, &expect, report);
    let name = name?;
    Some(TargetSpec {
        key: key.unwrap_or_else(|| name.clone()),
        name,
        url: url?,
        method,
        headers,
        body,
        interval,
        timeout: policy.timeout.unwrap_or(default_timeout),
        degraded_after: policy.degraded_after.unwrap_or(defaults.degraded_after),
        expect_status,
        expect,
        connection: policy.connection.unwrap_or(defaults.connection),
        labels,
        service,
        source: Source::File,
    })
}

/// The fields that a target and the defaults share; `None` where absent.
struct Policy {
    interval: Option<Interval>,
    timeout: Option<Duration>,
    degraded_after: Option<Duration>,
    method: Option<Method>,
    expect_status: Option<Vec<StatusRange>>,
    expect: Option<Vec<Expectation>>,
    connection: Option<Connection>,
}

impl Policy {
    fn read(fields: &Fields, report: &mut Report) -> Self {
        let expect_status = request::status(fields, "expect_status", report);
        let expect = expect::expect(fields, report);
        let (status, expect) = expect.map_or((None, None), |expect| (expect.status, Some(expect.assertions)));
        if let (Some(node), Some(_), Some(_)) = (fields.get("expect_status"), &expect_status, &status) {
            report.error(node.at, &fields.path.field("expect_status"), "is given twice: here and as `expect.status`");
        }
        Self {
            interval: fields.value("interval", "a duration", report, rules::interval),
            timeout: fields.value("timeout", "a duration", report, rules::limit),
            degraded_after: fields.value("degraded_after", "a duration", report, rules::limit),
            method: request::method(fields, report),
            expect_status: expect_status.or(status),
            expect,
            connection: fields.value("connection", "fresh or reuse", report, |text| match text {
                "fresh" => Ok(Connection::Fresh),
                "reuse" => Ok(Connection::Reuse),
                _ => Err("is neither fresh nor reuse"),
            }),
        }
    }
}

fn check_timeout(fields: &Fields, timeout: Duration, interval: Interval, report: &mut Report) {
    if timeout > interval.duration() {
        // Read again for the value as written; it was accepted before.
        fields.value("timeout", "a duration", report, |_| Err::<(), _>(AboveInterval(interval)));
    }
}

pub(crate) fn required<'t>(fields: &Fields<'t>, name: &str, report: &mut Report) -> Option<&'t Node> {
    let node = fields.get(name);
    if node.is_none() {
        report.error(fields.node.at, &fields.path.field(name), "is missing");
    }
    node
}

fn url(fields: &Fields, node: &Node, report: &mut Report) -> Option<TargetUrl> {
    let path = fields.path.field("url");
    let text = secret_text(node, &path, "a URL", report)?;
    let url = match &node.template {
        Some(template) => TargetUrl::parse_with_secrets(text, &expand::without_userinfo(template))
            .map_err(|rule| report.error(node.at, &path, format_args!("the value (not shown) {}", no_detail(&rule)))),
        None => urls::parse_one(text).map_err(|rule| {
            let shown = quoted(&urls::redact(text));
            report.error(node.at, &path, format_args!("{shown} {rule}"));
        }),
    };
    let url = url.ok()?;
    if let Err(denied) = Reach::Any.allows_url(url.url()) {
        if node.template.is_none() {
            report.error(node.at, &path, denied);
        } else {
            let rule = "the value (not shown) is where a cloud machine gets its credentials: it is never probed";
            report.error(node.at, &path, rule);
        }
    }
    if url.credentials().is_some() && node.template.is_none() {
        report.warning(
            node.at,
            &path,
            "holds a user and password: they are sent as Authorization and never shown, \
             but `headers:` is a better place",
        );
    }
    if node.template.is_none() && url.hides_parameter() {
        report.warning(
            node.at,
            &path,
            "holds a secret in its query: it is sent and never shown, but a ${VARIABLE} or ${file:PATH} keeps it out \
             of this file",
        );
    }
    if let Some(address) = urls::canonical_address(&url).filter(|_| node.template.is_none()) {
        report.warning(node.at, &path, format_args!("is the address {address}"));
    }
    Some(url)
}

/// What is wrong with a URL, less the piece of it that the rule would repeat.
fn no_detail(rule: &UrlError) -> String {
    match rule {
        UrlError::Scheme(_) => "has another scheme than http and https, and only those are probed".to_owned(),
        UrlError::Syntax(_) => "is not a URL".to_owned(),
        other => other.to_string(),
    }
}

/// A text that names something: not blank, one line, short enough for an index, no secret.
pub(crate) fn label(fields: &Fields, name: &str, report: &mut Report) -> Option<String> {
    fields.open_value(name, "a text", report, |text| {
        if text.trim().is_empty() {
            return Err("is blank");
        }
        if matches!(text, "." | "..") {
            return Err("is a step in a path, so no address of it would work");
        }
        one_line(text)
    })
}

pub(crate) fn one_line(text: &str) -> Result<String, &'static str> {
    if text.len() > KEY_MAX_BYTES {
        Err("is over 2000 bytes long")
    } else if text.chars().any(char::is_control) {
        Err("has a line break or another control character")
    } else {
        Ok(text.to_owned())
    }
}

fn labels(fields: &Fields, report: &mut Report) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let path = fields.path.field("labels");
    let Some(node) = fields.get("labels").filter(|node| node.value != Value::Null) else {
        return labels;
    };
    let Some(mapping) = Fields::of(node, path, "a mapping of texts", report) else {
        return labels;
    };
    for (name, entry) in mapping.entries() {
        if let Err(rule) = one_line(name) {
            report.error(entry.key_at, &mapping.path, format_args!("{} {rule}", quoted(name)));
        }
        if let Some(value) = mapping.open_value(name, "a text", report, one_line) {
            labels.insert(name.to_owned(), value);
        }
    }
    labels
}
