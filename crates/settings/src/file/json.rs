//! One target as JSON, as it is posted: the fields and rules of a target in the file,
//! with the place of every problem as a JSON pointer.
//!
//! A `${` is a text like any other here: whoever may post targets must not be able to
//! read the environment or the files of the server by it. And a user with a password
//! does not belong into a URL, which everybody sees.

use std::collections::HashSet;
use std::fmt;

use common::{Source, TargetSpec, TargetUrl};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::report::{Finding, Path, Report};
use super::tree::{Entry, Kind, Node, Place, Value};
use super::{Mode, target};
use crate::targets::Defaults;

/// Problems that are told at once.
const MOST_FINDINGS: usize = 100;

/// Why a text is no target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoTarget {
    /// It is not JSON, or a field comes twice in it.
    Syntax {
        /// The byte where it stops being JSON, from 0.
        offset: usize,
        /// What is wrong; shows nothing of the text.
        message: String,
    },
    /// It breaks these rules.
    Rules(Vec<Finding>),
}

/// Reads one target from JSON; `key` is its key where it does not say so itself.
///
/// # Errors
/// Everything that is wrong with it, at once; no values of headers, no body.
pub fn target_of_json(text: &[u8], key: Option<&str>, defaults: &Defaults) -> Result<TargetSpec, NoTarget> {
    let mut root = parse(text)?;
    let mut report = Report::new("", Mode::Service);
    let path = Path::root();
    refuse_nul(&root, &path, &mut report);
    if let Value::Map(entries) = &mut root.value {
        if let Some(key) = key.filter(|_| entries.iter().all(|entry| entry.key.as_deref() != Some("key"))) {
            let value = Node::of(Value::Scalar(key.to_owned(), Kind::Text));
            entries.push(Entry { key: Some("key".to_owned()), key_at: Place::default(), value });
        }
        let url = entries.iter().find(|entry| entry.key.as_deref() == Some("url"));
        if let Some(Value::Scalar(text, _)) = url.map(|entry| &entry.value.value)
            && let Ok(url) = TargetUrl::parse(text)
        {
            let path = path.field("url");
            if url.credentials().is_some() {
                let rule = "holds a user and password (not shown): send them as Authorization in `headers`";
                report.error(Place::default(), &path, rule);
            }
            if url.has_placeholder() {
                let rule =
                    "has *** where answers hide a secret: send the secret itself again, or leave the target alone";
                report.error(Place::default(), &path, rule);
            }
        }
    }
    let target = target::target(&root, path, defaults, &mut report);
    match (target, report.findings()) {
        (Some(target), findings) if findings.is_empty() => Ok(TargetSpec { source: Source::Api, ..target }),
        (_, mut findings) => {
            if findings.len() > MOST_FINDINGS {
                let message = format!("and {} more", findings.len() - MOST_FINDINGS);
                findings.truncate(MOST_FINDINGS);
                findings.push(Finding { pointer: String::new(), message });
            }
            Err(NoTarget::Rules(findings))
        }
    }
}

/// Postgres keeps no NUL, and nothing that is probed needs one.
fn refuse_nul(node: &Node, path: &Path, report: &mut Report) {
    match &node.value {
        Value::Null => {}
        Value::Scalar(text, _) if text.contains('\0') => {
            report.error(node.at, path, "the value (not shown) has a NUL character");
        }
        Value::Scalar(..) => {}
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                refuse_nul(item, &path.index(index), report);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                let key = entry.key.as_deref().unwrap_or_default();
                if key.contains('\0') {
                    report.error(entry.key_at, path, "the name of a field has a NUL character");
                }
                refuse_nul(&entry.value, &path.field(key), report);
            }
        }
    }
}

fn parse(text: &[u8]) -> Result<Node, NoTarget> {
    serde_json::from_slice(text).map_err(|error| {
        let (offset, message) = place_in_json(text, &error);
        NoTarget::Syntax { offset, message }
    })
}

/// The byte of a JSON text at which reading it ended, from 0, and why, without that place.
pub fn place_in_json(text: &[u8], error: &serde_json::Error) -> (usize, String) {
    // The parser tells lines and columns, the latter in bytes from 1.
    let before = text.split_inclusive(|byte| *byte == b'\n').take(error.line().saturating_sub(1));
    let offset = before.map(<[u8]>::len).sum::<usize>() + error.column().saturating_sub(1);
    let offset = if error.is_eof() { text.len() } else { offset };
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    (offset.min(text.len()), message.to_owned())
}

impl Node {
    fn of(value: Value) -> Self {
        Self { at: Place::default(), value, template: None }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor).map(Self::of)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string(), Kind::Bool))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string(), Kind::Number))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string(), Kind::Number))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string(), Kind::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_owned(), Kind::Text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let (mut map, mut known) = (Vec::new(), HashSet::new());
        while let Some(key) = fields.next_key::<String>()? {
            if !known.insert(key.clone()) {
                return Err(A::Error::custom("a field is given twice"));
            }
            map.push(Entry { key: Some(key), key_at: Place::default(), value: fields.next_value()? });
        }
        Ok(Value::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read(text: &str) -> Result<TargetSpec, NoTarget> {
        target_of_json(text.as_bytes(), None, &Defaults::default())
    }

    fn findings(text: &str) -> Vec<(String, String)> {
        match read(text) {
            Err(NoTarget::Rules(findings)) => findings.into_iter().map(|one| (one.pointer, one.message)).collect(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_target_in_json_is_the_one_in_yaml_from_another_source() {
        let json = r#"{"name": "home \ud83d\ude00", "url": "http://a/", "method": "POST", "headers": {"X-B": "1", "X-A": "2"},
                       "body": "{}", "interval": 30, "timeout": "0.5s", "expect": {"body": {"contains": "\"ok\""}},
                       "labels": {"v": 1.5, "on": true}, "service": "shop"}"#;
        let yaml = "- {name: 'home 😀', url: 'http://a/', method: POST, headers: {X-B: 1, X-A: 2}, body: '{}', interval: 30, \
                    timeout: 0.5s, expect: {body: {contains: '\"ok\"'}}, labels: {v: 1.5, on: true}, service: shop}";
        let list = super::super::parse("c.yaml", yaml.as_bytes(), Mode::Service, &Defaults::default()).unwrap();
        let posted = read(json).unwrap();
        assert_eq!(posted.source, Source::Api);
        assert!(TargetSpec { source: Source::File, ..posted.clone() } == list.targets[0]);
        assert_eq!((posted.timeout, posted.key.as_str()), (Duration::from_millis(500), "home 😀"));
    }

    #[test]
    fn every_broken_rule_is_named_at_once_with_a_pointer_and_without_secrets() {
        let text = r#"{"url": "http://me:s3cret@a/", "intervall": 1, "interval": "5ms", "expect_status": [200, 99],
                       "headers": {"A/~b c": "s3cret", "Host": "s3cret", "X": "s3\ncret"}, "body": ["s3cret"], "labels": {"a/b": null}}"#;
        let found = findings(text);
        let pointers: Vec<&str> = found.iter().map(|(pointer, _)| pointer.as_str()).collect();
        assert_eq!(
            pointers,
            [
                "/url",
                "/intervall",
                "/name",
                "/expect_status/1",
                "/interval",
                "/headers",
                "/headers/Host",
                "/headers/X",
                "/body",
                "/labels/a~1b",
            ],
            "{found:?}"
        );
        assert_eq!(found[1].1, "unknown field; did you mean `interval`?");
        assert!(!format!("{found:?}").contains("cret"), "{found:?}");
        assert_eq!(findings("[]")[0].0, "", "the whole of it");
    }

    #[test]
    fn a_placeholder_that_answers_show_is_not_taken_for_the_secret() {
        let found = findings(r#"{"name": "a", "url": "https://a/?v=***&token=***"}"#);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].0 == "/url" && found[0].1.contains("***"), "{found:?}");
        assert!(read(r#"{"name": "a", "url": "https://a/?v=****&token=s3cret"}"#).is_ok());
        let named = r#"{"name": "https://a/?token=s3cret", "url": "https://a/", "service": "https://me:s3cret@a/"}"#;
        let found = findings(named);
        assert!(found.len() == 2 && !format!("{found:?}").contains("s3cret"), "{found:?}");
    }

    #[test]
    fn more_than_anybody_means_is_refused_and_not_told_one_by_one() {
        let many = |count: usize, one: &dyn Fn(usize) -> String| (0..count).map(one).collect::<Vec<_>>().join(",");
        let labels = |count| many(count, &|number| format!(r#""{number}": """#));
        let target = |more: String| format!(r#"{{"name": "a", "url": "http://a/", {more}}}"#);
        assert!(read(&target(format!(r#""labels": {{{}}}"#, labels(1000)))).is_ok());
        let found = findings(&target(format!(r#""labels": {{{}}}"#, labels(150_000))));
        assert_eq!(found, [("/labels".to_owned(), "has 150000 fields, and 1000 at most".to_owned())]);
        assert_eq!(findings(&target(labels(2_000))), [(String::new(), "has 2002 fields, and 1000 at most".to_owned())]);
        let found = findings(&target(format!(r#""expect_status": [{}]"#, many(101, &|_| "200".to_owned()))));
        assert_eq!(found, [("/expect_status".to_owned(), "has 101 codes and ranges, and 100 at most".to_owned())]);
        let found = findings(&target(format!(r#""expect_status": [{}]"#, many(300, &|_| "1".to_owned()))));
        assert_eq!((found.len(), found[100].1.as_str()), (101, "and 200 more"));
        let body = "x".repeat((1 << 20) + 1);
        let found = findings(&target(format!(r#""method": "POST", "body": "{body}""#)));
        assert_eq!(found, [("/body".to_owned(), "the value (not shown) is over 1 MiB long".to_owned())]);
    }

    #[test]
    fn a_header_or_method_written_in_one_does_not_show_its_value() {
        let text = r#"{"name": "a", "url": "http://a/", "method": "POST s3cret",
                       "headers": {"authorization: Bearer s3cret": "x", "X Y": "s3cret"}}"#;
        let found = findings(text);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(!format!("{found:?}").contains("s3cret"), "{found:?}");
        assert!(found.iter().any(|(_, message)| message.starts_with("\"authorization\" and more")), "{found:?}");
    }

    #[test]
    fn nothing_of_the_server_is_filled_in() {
        let target =
            read(r#"{"name": "a ${HOME}", "url": "http://a/", "headers": {"X": "${HOME}${file:/etc/passwd}"}}"#);
        let target = target.unwrap();
        assert_eq!(target.headers, [("X".to_owned(), "${HOME}${file:/etc/passwd}".to_owned())]);
        assert_eq!(target.name, "a ${HOME}");
    }

    #[test]
    fn what_is_not_json_says_at_which_byte() {
        let cases = [
            ("", 0),
            ("{\"name\": NaN}", 9),
            ("{}\n\n x", 5),
            ("{\"a\": 1, \"a\": \"s3cret\"}", 11),
            ("- name: a", 1),
            (r#"{"a": "\ud800"}"#, 13),
        ];
        for (text, at) in cases {
            let Err(NoTarget::Syntax { offset, message }) = read(text) else { panic!("{text}") };
            assert!(offset.abs_diff(at) <= 1, "{text}: {offset} {message}");
            assert!(!message.contains("s3cret") && !message.contains("line"), "{message}");
        }
        for deep in ["[".repeat(10_000), "{\"a\":".repeat(10_000)] {
            assert!(matches!(read(&deep), Err(NoTarget::Syntax { .. })));
        }
        assert!(
            findings(r#"{"name": "a", "url": "http://a/", "expect": {"body": {"contains": "\u0000"}}}"#)[0]
                .1
                .contains("NUL")
        );
    }

    #[test]
    fn a_key_from_elsewhere_counts_where_the_body_has_none() {
        let read = |text: &str| target_of_json(text.as_bytes(), Some("k"), &Defaults::default()).unwrap().key;
        assert_eq!(read(r#"{"name": "a", "url": "http://a/"}"#), "k");
        assert_eq!(read(r#"{"name": "a", "key": "b", "url": "http://a/"}"#), "b");
    }
}
