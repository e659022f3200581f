//! `expect:` of a target: what its answer has to be, beyond coming at all.

use std::time::Duration;

use common::expect::{
    HeaderTest, JsonPath, JsonTest, MAX_ASSERTIONS, MAX_DEPTH, MAX_TEXT, Order, Pattern, PatternError, TextTest,
};
use common::{Expectation, Method, StatusRange};
use http::HeaderName;
use serde_json::Number;

use super::fields::{Fields, open_text, quoted};
use super::report::{Path, Report};
use super::request;
use super::tree::{Kind, Node, Value};
use crate::rules;

const FIELDS: [&str; 7] = ["status", "latency", "body", "json", "header", "all", "any"];
const TEXT_TESTS: [&str; 5] = ["equals", "contains", "not_contains", "matches", "not_matches"];
const HEADER_TESTS: [&str; 6] = ["equals", "contains", "not_contains", "matches", "not_matches", "exists"];
const JSON_TESTS: [&str; 8] = ["==", "!=", "<", "<=", ">", ">=", "exists", "matches"];

/// What `expect:` says: the status codes that count as success, where it has them, and the rest.
#[derive(Default)]
pub(crate) struct Expect {
    pub(crate) status: Option<Vec<StatusRange>>,
    pub(crate) assertions: Vec<Expectation>,
}

/// Reads `expect:`; `None` where it is absent.
pub(crate) fn expect(fields: &Fields, report: &mut Report) -> Option<Expect> {
    let node = fields.get("expect").filter(|node| node.value != Value::Null)?;
    let path = fields.path.field("expect");
    let fields = Fields::of(node, path.clone(), "a mapping such as {status: 200-299, body: {contains: ok}}", report)?;
    let status = request::status(&fields, "status", report);
    let mut reader = Reader { report, count: 0, is_over: false };
    let assertions = reader.assertions(&fields, 0);
    let is_over = reader.is_over;
    if is_over {
        report.error(node.at, &path, format_args!("has more than {MAX_ASSERTIONS} assertions"));
    }
    if fields.entries().next().is_none() {
        report.warning(node.at, &path, "is empty: any answer with an expected status will do");
    }
    Some(Expect { status, assertions })
}

struct Reader<'r, 'n> {
    report: &'r mut Report<'n>,
    count: usize,
    is_over: bool,
}

impl Reader<'_, '_> {
    fn error(&mut self, node: &Node, path: &Path, message: impl std::fmt::Display) {
        self.report.error(node.at, path, message);
    }

    /// Every assertion of one mapping; `status` is its own at depth 0.
    fn assertions(&mut self, fields: &Fields, depth: usize) -> Vec<Expectation> {
        fields.refuse_unknown(&FIELDS, self.report);
        let mut read = Vec::new();
        for (name, entry) in fields.entries() {
            let (node, path) = (&entry.value, fields.path.field(name));
            match name {
                "status" if depth > 0 => {
                    read.extend(request::status(fields, name, self.report).map(Expectation::Status));
                }
                "latency" => read.extend(self.latency(fields).map(Expectation::Latency)),
                "body" => self.body(node, path, &mut read),
                "json" => self.json(node, path, &mut read),
                "header" => self.header(node, path, &mut read),
                "all" => read.extend(self.list(node, path, depth).map(Expectation::All)),
                "any" => read.extend(self.list(node, path, depth).map(Expectation::Any)),
                _ => {}
            }
        }
        self.count += read.len();
        if self.count > MAX_ASSERTIONS {
            // Said once, of the whole.
            self.is_over = true;
            read.clear();
        }
        read
    }

    fn list(&mut self, node: &Node, path: Path, depth: usize) -> Option<Vec<Expectation>> {
        let Value::List(items) = &node.value else {
            let kind = node.value.kind();
            self.error(node, &path, format_args!("expected a list of assertions, found {kind}"));
            return None;
        };
        if items.is_empty() {
            self.error(node, &path, "is an empty list");
            return None;
        }
        if depth == MAX_DEPTH {
            self.error(node, &path, format_args!("all and any stand more than {MAX_DEPTH} deep within each other"));
            return None;
        }
        let mut read = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = path.index(index);
            let what = "a mapping such as {body: {contains: ok}}";
            let Some(fields) = Fields::of(item, path.clone(), what, self.report) else { continue };
            let mut item_tests = self.assertions(&fields, depth + 1);
            match item_tests.len() {
                0 if fields.entries().next().is_none() => self.error(item, &path, "asserts nothing"),
                0 => {}
                1 => read.append(&mut item_tests),
                _ => read.push(Expectation::All(item_tests)),
            }
        }
        Some(read)
    }

    fn latency(&mut self, fields: &Fields) -> Option<Duration> {
        fields.value("latency", "a duration", self.report, rules::limit)
    }

    fn body(&mut self, node: &Node, path: Path, read: &mut Vec<Expectation>) {
        let what = r#"a mapping such as {contains: "ok"}"#;
        let Some(fields) = Fields::of(node, path, what, self.report) else { return };
        fields.refuse_unknown(&TEXT_TESTS, self.report);
        let tests = self.text_tests(&fields);
        self.not_empty(&fields, &TEXT_TESTS);
        read.extend(tests.into_iter().map(Expectation::Body));
    }

    fn header(&mut self, node: &Node, path: Path, read: &mut Vec<Expectation>) {
        let Some(mapping) = Fields::of(node, path, "a mapping of header names", self.report) else { return };
        self.not_empty(&mapping, &["content-type"]);
        for (name, entry) in mapping.entries() {
            let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
                let message = format!("{} is no header name: letters, digits and - without spaces", quoted(name));
                self.report.error(entry.key_at, &mapping.path, message);
                continue;
            };
            let header = header.as_str().to_owned();
            let path = mapping.path.field(name);
            if let Value::Scalar(..) = entry.value.value {
                let equals = self.expected_text(&entry.value, &path).map(TextTest::Equals);
                read.extend(equals.map(|test| Expectation::Header(header, HeaderTest::Text(test))));
                continue;
            }
            let what = "a text or a mapping such as {contains: json}";
            let Some(fields) = Fields::of(&entry.value, path, what, self.report) else { continue };
            fields.refuse_unknown(&HEADER_TESTS, self.report);
            self.not_empty(&fields, &HEADER_TESTS);
            let exists = self.exists(&fields).map(HeaderTest::Exists);
            let texts = self.text_tests(&fields);
            let tests = exists.into_iter().chain(texts.into_iter().map(HeaderTest::Text));
            read.extend(tests.map(|test| Expectation::Header(header.clone(), test)));
        }
    }

    fn json(&mut self, node: &Node, path: Path, read: &mut Vec<Expectation>) {
        let Some(mapping) = Fields::of(node, path, "a mapping of JSON paths", self.report) else { return };
        self.not_empty(&mapping, &["$.status"]);
        for (written, entry) in mapping.entries() {
            let path = mapping.path.field(written);
            let selector = match JsonPath::parse(written) {
                Ok(selector) => selector,
                Err(rule) => {
                    let message = format!("{} {rule}", quoted(written));
                    self.report.error(entry.key_at, &mapping.path, message);
                    continue;
                }
            };
            match &entry.value.value {
                Value::Scalar(..) | Value::Null => {
                    let equals = self.scalar(&entry.value, &path).map(JsonTest::Equals);
                    read.extend(equals.map(|test| Expectation::Json(selector, test)));
                }
                Value::Map(_) => {
                    let Some(fields) = Fields::of(&entry.value, path, "a mapping", self.report) else { continue };
                    let tests = self.json_tests(&fields);
                    read.extend(tests.into_iter().map(|test| Expectation::Json(selector.clone(), test)));
                }
                Value::List(_) => {
                    let message =
                        r#"expected a text, number, true, false, null or a mapping such as {"<": 100}, found a list"#;
                    self.error(&entry.value, &path, message);
                }
            }
        }
    }

    fn json_tests(&mut self, fields: &Fields) -> Vec<JsonTest> {
        fields.refuse_unknown(&JSON_TESTS, self.report);
        self.not_empty(fields, &JSON_TESTS);
        let mut tests: Vec<_> = self.exists(fields).map(JsonTest::Exists).into_iter().collect();
        for (name, entry) in fields.entries() {
            let (node, path) = (&entry.value, fields.path.field(name));
            match name {
                "==" => tests.extend(self.scalar(node, &path).map(JsonTest::Equals)),
                "!=" => tests.extend(self.scalar(node, &path).map(JsonTest::NotEquals)),
                "matches" => tests.extend(self.pattern(node, &path).map(JsonTest::Matches)),
                sign => {
                    let Some(order) = Order::ALL.into_iter().find(|order| order.sign() == sign) else { continue };
                    match self.scalar(node, &path) {
                        Some(serde_json::Value::Number(number)) => tests.push(JsonTest::Compare(order, number)),
                        Some(_) => {
                            let kind = node.value.kind();
                            self.error(
                                node,
                                &path,
                                format_args!("{sign} compares numbers: expected one, found {kind}"),
                            );
                        }
                        None => {}
                    }
                }
            }
        }
        tests
    }

    fn text_tests(&mut self, fields: &Fields) -> Vec<TextTest> {
        let mut tests = Vec::new();
        for (name, entry) in fields.entries() {
            let path = fields.path.field(name);
            let each: Vec<(&Node, Path)> = match &entry.value.value {
                Value::List(items) if items.is_empty() => {
                    self.error(&entry.value, &path, "is an empty list");
                    continue;
                }
                Value::List(items) => items.iter().enumerate().map(|(index, item)| (item, path.index(index))).collect(),
                _ => vec![(&entry.value, path)],
            };
            for (node, path) in each {
                let test = match name {
                    "equals" => self.expected_text(node, &path).map(TextTest::Equals),
                    "contains" => self.piece(node, &path).map(TextTest::Contains),
                    "not_contains" => self.piece(node, &path).map(TextTest::NotContains),
                    "matches" => self.pattern(node, &path).map(TextTest::Matches),
                    "not_matches" => self.pattern(node, &path).map(TextTest::NotMatches),
                    _ => None,
                };
                tests.extend(test);
            }
        }
        tests
    }

    /// A mapping that asserts nothing was not meant.
    fn not_empty(&mut self, fields: &Fields, known: &[&str]) {
        if fields.entries().next().is_none() {
            self.error(fields.node, &fields.path, format_args!("is empty: write {}", known.join(", ")));
        }
    }

    fn exists(&mut self, fields: &Fields) -> Option<bool> {
        fields.value("exists", "true or false", self.report, |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("is neither true nor false"),
        })
    }

    fn expected_text(&mut self, node: &Node, path: &Path) -> Option<String> {
        let written = open_text(node, path, "a text", self.report)?;
        if written.len() > MAX_TEXT {
            self.error(node, path, format_args!("is over {MAX_TEXT} bytes long"));
            return None;
        }
        Some(written.to_owned())
    }

    fn piece(&mut self, node: &Node, path: &Path) -> Option<String> {
        let piece = self.expected_text(node, path)?;
        if piece.is_empty() {
            self.error(node, path, "is empty, which is in every text");
            return None;
        }
        Some(piece)
    }

    fn pattern(&mut self, node: &Node, path: &Path) -> Option<Pattern> {
        let written = open_text(node, path, "a regular expression", self.report)?;
        Pattern::parse(written)
            .map_err(|rule| match rule {
                PatternError::TooLong => self.error(node, path, rule),
                _ => self.error(node, path, format_args!("{} {rule}", quoted(written))),
            })
            .ok()
    }

    /// A text, number, true, false or null, as JSON has it.
    fn scalar(&mut self, node: &Node, path: &Path) -> Option<serde_json::Value> {
        match &node.value {
            Value::Null => Some(serde_json::Value::Null),
            Value::Scalar(_, Kind::Text) => self.expected_text(node, path).map(serde_json::Value::String),
            Value::Scalar(written, Kind::Bool) => match written.as_str() {
                "true" => Some(true.into()),
                "false" => Some(false.into()),
                _ => {
                    let hint =
                        "is true or false for some and a text for others: write true, false or the text in quotes";
                    self.error(node, path, format_args!("{} {hint}", quoted(written)));
                    None
                }
            },
            Value::Scalar(written, Kind::Number) => number(written).map(serde_json::Value::Number).or_else(|| {
                let hint = "is no number that JSON has: write it in quotes to mean the text";
                self.error(node, path, format_args!("{} {hint}", quoted(written)));
                None
            }),
            other => {
                let kind = other.kind();
                self.error(node, path, format_args!("expected a text, number, true, false or null, found {kind}"));
                None
            }
        }
    }
}

/// The number as JSON writes it; a leading plus is let pass.
fn number(written: &str) -> Option<Number> {
    serde_json::from_str(written.strip_prefix('+').unwrap_or(written)).ok()
}

/// Warns of assertions that no answer can meet.
pub(crate) fn never(
    fields: &Fields,
    method: Method,
    status: &[StatusRange],
    assertions: &[Expectation],
    report: &mut Report,
) {
    let Some(node) = fields.get("expect") else { return };
    let path = fields.path.field("expect");
    if method == Method::Head && assertions.iter().any(Expectation::reads_body) {
        report.warning(node.at, &path, "asks for a body, and an answer to HEAD has none");
    }
    let is_expected = |range: &StatusRange| (range.from..=range.to).any(|code| status.iter().any(|s| s.contains(code)));
    let mut open: Vec<&Expectation> = assertions.iter().collect();
    while let Some(expectation) = open.pop() {
        match expectation {
            Expectation::All(inner) | Expectation::Any(inner) => open.extend(inner),
            Expectation::Status(ranges) => {
                for range in ranges.iter().filter(|range| !is_expected(range)) {
                    let message =
                        format!("an answer with the status {range} is down before: name it in `status` as well");
                    report.warning(node.at, &path, message);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
