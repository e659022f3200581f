//! What a target's answer has to be beyond its status: assertions, as people
//! write them, already validated.
//!
//! Patterns and paths are compiled where they are read, once a target, so that a
//! check only runs them. A body is never looked at beyond what a probe reads of it.

mod path;
mod pattern;
mod secrets;

use std::time::Duration;

use serde_json::{Map, Number, Value, json};

use crate::target::StatusRange;
pub use path::{JsonPath, JsonPathError};
pub use pattern::{Pattern, PatternError};
pub use secrets::Secrets;

/// The longest text, pattern or path of an assertion, in bytes.
pub const MAX_TEXT: usize = 4096;

/// How deep `all` and `any` may stand within each other.
pub const MAX_DEPTH: usize = 8;

/// How many assertions a target may have, `all` and `any` counted with them.
pub const MAX_ASSERTIONS: usize = 100;

/// How much of an expected text is shown, in characters.
const SHOWN_CHARS: usize = 80;

/// Something an answer has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expectation {
    /// Each of these holds.
    All(Vec<Expectation>),
    /// At least one of these holds.
    Any(Vec<Expectation>),
    /// The status code is one of these; on top of the target's own ranges.
    Status(Vec<StatusRange>),
    /// The decoded body, as text.
    Body(TextTest),
    /// Every value that the path selects from the body, read as JSON.
    Json(JsonPath, JsonTest),
    /// A header of the answer, by its name in lower case. Every value, where it comes more than once.
    Header(String, HeaderTest),
    /// The answer's head came within this time.
    Latency(Duration),
}

/// What a text has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say it")]
pub enum TextTest {
    Equals(String),
    Contains(String),
    NotContains(String),
    Matches(Pattern),
    NotMatches(Pattern),
}

/// What a header has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderTest {
    /// It is there, or it is not.
    Exists(bool),
    /// It is there, and this holds for it.
    Text(TextTest),
}

/// What a JSON value has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonTest {
    /// The path selects something, or nothing.
    Exists(bool),
    /// Equal to a text, number, true, false or null.
    Equals(Value),
    /// Anything but that.
    NotEquals(Value),
    /// A number in this order to that one.
    Compare(Order, Number),
    /// A text that the pattern finds something in.
    Matches(Pattern),
}

/// How two numbers compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say it")]
pub enum Order {
    Below,
    AtMost,
    Above,
    AtLeast,
}

impl Order {
    /// Every order, as errors list them.
    pub const ALL: [Self; 4] = [Self::Below, Self::AtMost, Self::Above, Self::AtLeast];

    /// The sign of it.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Below => "<",
            Self::AtMost => "<=",
            Self::Above => ">",
            Self::AtLeast => ">=",
        }
    }

    /// Whether a number that is so much to the expected one is in this order.
    pub fn holds(self, seen: std::cmp::Ordering) -> bool {
        match self {
            Self::Below => seen.is_lt(),
            Self::AtMost => seen.is_le(),
            Self::Above => seen.is_gt(),
            Self::AtLeast => seen.is_ge(),
        }
    }
}

impl TextTest {
    /// Its name in the file, and what it expects.
    pub fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Equals(text) => ("equals", text),
            Self::Contains(text) => ("contains", text),
            Self::NotContains(text) => ("not_contains", text),
            Self::Matches(pattern) => ("matches", pattern.as_str()),
            Self::NotMatches(pattern) => ("not_matches", pattern.as_str()),
        }
    }
}

/// Hides what must not be seen in a text.
pub type Hide<'h> = dyn Fn(&str) -> String + 'h;

/// Hides nothing.
pub fn as_is(text: &str) -> String {
    text.to_owned()
}

impl Expectation {
    /// Whether judging it needs the body of the answer.
    pub fn reads_body(&self) -> bool {
        match self {
            Self::All(inner) | Self::Any(inner) => inner.iter().any(Self::reads_body),
            Self::Body(_) | Self::Json(..) => true,
            Self::Status(_) | Self::Header(..) | Self::Latency(_) => false,
        }
    }

    /// This assertion in a few words, such as `body contains "ok"`. `hide` is given what is
    /// expected before it is cut.
    pub fn describe(&self, hide: &Hide) -> String {
        let text = |test: &TextTest| {
            let (name, expected) = test.parts();
            format!("{name} {}", excerpt(&hide(expected), SHOWN_CHARS))
        };
        let number = |what: &str, value: &Value| format!("{what} {}", shown_value(value, hide, SHOWN_CHARS));
        match self {
            Self::All(inner) => format!("all of {}", inner.len()),
            Self::Any(inner) => format!("any of {}", inner.len()),
            Self::Status(ranges) => format!("status {}", ranges_text(ranges)),
            Self::Body(test) => format!("body {}", text(test)),
            Self::Json(path, test) => {
                let test = match test {
                    JsonTest::Exists(true) => "exists".to_owned(),
                    JsonTest::Exists(false) => "does not exist".to_owned(),
                    JsonTest::Equals(value) => number("==", value),
                    JsonTest::NotEquals(value) => number("!=", value),
                    JsonTest::Compare(order, expected) => format!("{} {expected}", order.sign()),
                    JsonTest::Matches(pattern) => format!("matches {}", excerpt(&hide(pattern.as_str()), SHOWN_CHARS)),
                };
                format!("json {} {test}", cut(&hide(path.as_str()), SHOWN_CHARS))
            }
            Self::Header(name, HeaderTest::Exists(true)) => format!("header {} exists", cut(name, SHOWN_CHARS)),
            Self::Header(name, HeaderTest::Exists(false)) => format!("header {} is absent", cut(name, SHOWN_CHARS)),
            Self::Header(name, HeaderTest::Text(test)) => format!("header {} {}", cut(name, SHOWN_CHARS), text(test)),
            Self::Latency(below) => format!("latency within {} ms", below.as_millis()),
        }
    }

    /// The assertion in the form of the file, as JSON. `hide` is given every text that is expected.
    pub fn to_json(&self, hide: &Hide) -> Value {
        let text = |test: &TextTest| {
            let (name, expected) = test.parts();
            json!({ name: hide(expected) })
        };
        let value = |value: &Value| value.as_str().map_or_else(|| value.clone(), |text| hide(text).into());
        let each = |inner: &[Self]| inner.iter().map(|one| one.to_json(hide)).collect::<Vec<_>>();
        match self {
            Self::All(inner) => json!({ "all": each(inner) }),
            Self::Any(inner) => json!({ "any": each(inner) }),
            Self::Status(ranges) => json!({ "status": ranges_text(ranges) }),
            Self::Body(test) => json!({ "body": text(test) }),
            Self::Json(path, test) => {
                let test = match test {
                    JsonTest::Exists(exists) => json!({ "exists": exists }),
                    JsonTest::Equals(expected) => json!({ "==": value(expected) }),
                    JsonTest::NotEquals(expected) => json!({ "!=": value(expected) }),
                    JsonTest::Compare(order, expected) => json!({ order.sign(): expected }),
                    JsonTest::Matches(pattern) => json!({ "matches": hide(pattern.as_str()) }),
                };
                json!({ "json": Map::from_iter([(hide(path.as_str()), test)]) })
            }
            Self::Header(name, test) => {
                let test = match test {
                    HeaderTest::Exists(exists) => json!({ "exists": exists }),
                    HeaderTest::Text(test) => text(test),
                };
                json!({ "header": Map::from_iter([(name.clone(), test)]) })
            }
            Self::Latency(below) => json!({ "latency": format!("{}ms", below.as_millis()) }),
        }
    }
}

/// `200-299,301`.
fn ranges_text(ranges: &[StatusRange]) -> String {
    ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// A JSON value for people: a text quoted, anything else as JSON; cut after `limit` characters.
pub fn shown_value(value: &Value, hide: &Hide, limit: usize) -> String {
    match value {
        Value::String(text) => excerpt(&hide(text), limit),
        other => cut(&hide(&other.to_string()), limit),
    }
}

/// A text for people: quoted, cut after about `limit` characters, with nothing in it that
/// moves a cursor or ends a line.
pub fn excerpt(text: &str, limit: usize) -> String {
    format!("\"{}\"", cut(text, limit))
}

/// The first `limit` characters, as they are after control characters were escaped.
pub fn cut(text: &str, limit: usize) -> String {
    let mut shown = String::new();
    let mut left = limit;
    for c in text.chars() {
        let before = shown.len();
        match c {
            // No danger, and a JSON body is full of them.
            '"' | '\'' | '\\' => shown.push(c),
            _ => shown.extend(c.escape_debug()),
        }
        match left.checked_sub(shown[before..].chars().count()) {
            Some(rest) => left = rest,
            None => {
                shown.truncate(before);
                shown.push('…');
                break;
            }
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assertion_says_what_it_is_in_a_few_words() {
        let contains = |text: &str| TextTest::Contains(text.to_owned());
        let path = || JsonPath::parse("$.queue").unwrap();
        let cases = [
            (Expectation::Body(contains("ok")), r#"body contains "ok""#),
            (Expectation::Body(TextTest::Matches(Pattern::parse("^a+$").unwrap())), r#"body matches "^a+$""#),
            (Expectation::Json(path(), JsonTest::Compare(Order::Below, 100.into())), "json $.queue < 100"),
            (Expectation::Json(path(), JsonTest::Equals("up".into())), r#"json $.queue == "up""#),
            (Expectation::Json(path(), JsonTest::NotEquals(Value::Null)), "json $.queue != null"),
            (Expectation::Json(path(), JsonTest::Exists(false)), "json $.queue does not exist"),
            (
                Expectation::Header("content-type".to_owned(), HeaderTest::Text(contains("json"))),
                r#"header content-type contains "json""#,
            ),
            (Expectation::Header("x-id".to_owned(), HeaderTest::Exists(true)), "header x-id exists"),
            (Expectation::Latency(Duration::from_millis(200)), "latency within 200 ms"),
            (Expectation::Status(vec![StatusRange::SUCCESS, StatusRange { from: 301, to: 301 }]), "status 200-299,301"),
        ];
        for (expectation, expected) in cases {
            assert_eq!(expectation.describe(&as_is), expected);
        }
    }

    #[test]
    fn what_is_shown_is_short_and_on_one_line() {
        assert_eq!(excerpt("a\r\nb\u{1b}[2J\u{202e}", 100), r#""a\r\nb\u{1b}[2J\u{202e}""#);
        assert_eq!(excerpt(r#"{"a": "b\c"}"#, 100), r#""{"a": "b\c"}""#);
        assert_eq!(excerpt("ééé", 2), "\"éé…\"");
        assert_eq!(cut("ab", 2), "ab");
        assert_eq!(cut("\u{0}\u{0}", 5), "\\0\\0", "{:?}", cut("\u{0}\u{0}", 5));
        assert!(cut(&"\u{0}".repeat(1_000), 100).chars().count() <= 101);
    }

    #[test]
    fn what_is_expected_is_hidden_before_it_is_cut_or_stored() {
        let hide = |text: &str| text.replace("s3cret", "***");
        let long = format!("{}s3cret", "x".repeat(SHOWN_CHARS - 3));
        for test in [
            Expectation::Body(TextTest::Contains(long.clone())),
            Expectation::Body(TextTest::Matches(Pattern::parse(&long).unwrap())),
            Expectation::Json(JsonPath::parse("$.a").unwrap(), JsonTest::Equals(long.clone().into())),
            Expectation::Json(JsonPath::parse("$['s3cret']").unwrap(), JsonTest::Exists(true)),
        ] {
            assert!(!test.describe(&hide).contains("s3c"), "{}", test.describe(&hide));
            assert!(!test.to_json(&hide).to_string().contains("s3c"));
        }
    }
}
