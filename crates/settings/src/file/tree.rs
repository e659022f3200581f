//! The YAML text as a tree that knows where each value stands.
//!
//! Scalars keep the text as written, whatever YAML makes of it: `name: no` is
//! the text `no`, and a label `1.10` stays `1.10`.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Error, Location, MessageFormatter, Spanned, UserMessageFormatter};

/// Line and column of a value, both from 1; zeros where it is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Place {
    /// The line, from 1.
    pub line: u64,
    /// The column, from 1.
    pub column: u64,
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

/// One value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it stands; for an alias, where it is used.
    pub at: Place,
    /// What stands there.
    pub value: Value,
    /// For a scalar with secrets filled in: the text that names them instead.
    pub template: Option<String>,
}

/// One key and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// `None` for a key that is no scalar.
    pub key: Option<String>,
    /// Where the key stands.
    pub key_at: Place,
    /// The value and its place.
    pub value: Node,
}

/// What stands at a place.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// The text as written, and what YAML takes it for.
    Scalar(String, Kind),
    /// The items in the order written.
    List(Vec<Node>),
    /// The entries as written, also those that share a key.
    Map(Vec<Entry>),
}

/// What YAML takes a scalar for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Quoted, or nothing else.
    Text,
    /// A number.
    Number,
    /// `true`, `false`, or what YAML 1.1 has for them.
    Bool,
}

impl Value {
    /// The kind of value, with its article, for "expected …, found …".
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Scalar(_, Kind::Text) => "a text",
            Self::Scalar(_, Kind::Number) => "a number",
            Self::Scalar(_, Kind::Bool) => "a true or false",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// Why a text is not one YAML document. The message shows nothing of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// Where, if the parser knows.
    pub at: Option<Place>,
    /// What is wrong.
    pub message: String,
    /// Whether it helps to see what stands there.
    pub is_local: bool,
}

/// Reads one YAML document. An empty one is [`Value::Null`].
///
/// Nesting, aliases and size are bounded, so that a hostile file is refused
/// before it takes much time or memory.
///
/// # Errors
/// [`SyntaxError`] with the place, if the text is no YAML, more than one document, or too large.
pub fn parse(text: &str) -> Result<Node, SyntaxError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            // A target needs five levels; recursion goes as deep as this.
            max_depth: 24,
            flow_nesting_limit: 24,
            // About 20,000 targets with every field set.
            max_events: 1_000_000,
            max_nodes: 1_000_000,
            // No text without aliases has more.
            max_total_scalar_bytes: super::MAX_BYTES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            // Less than a tenth of a second and 20 MB for the worst bomb; 10,000 targets may still
            // share four fields each through an alias.
            max_total_replayed_events: 60_000,
            max_replay_stack_depth: 8,
        },
        // The one policy that hands over every entry of a mapping, so that the
        // reader can name both places of a key.
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::PassThrough,
        // A snippet could show a header's value or a body.
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options)
        .map(|raw| node(raw, text))
        .map_err(|error| syntax_error(&error, text))
}

fn syntax_error(error: &Error, source: &str) -> SyntaxError {
    let at = error.location().map(Place::from);
    let mut error = error.without_snippet();
    if let Error::AliasError { error: inner, .. } = error {
        error = inner.without_snippet();
    }
    let mut is_local = false;
    let message = match error {
        Error::MultipleDocuments { .. } => {
            // The parser names the first value, and people look for the marker above it.
            let found = at.map_or(0, |at| usize::try_from(at.line).unwrap_or(usize::MAX));
            let marker = source.lines().enumerate().take(found).filter(|(_, line)| line.starts_with("---")).last();
            let line = marker.map_or(found, |(index, _)| index + 1);
            format!("one document expected, second starts at line {line}")
        }
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. } => {
            "is nested too deeply, has more than a million fields and values, or grows too large once its aliases are filled in"
                .to_owned()
        }
        other => {
            is_local = true;
            let message = UserMessageFormatter.format_message(other);
            format!("not valid YAML: {}", message.replace(char::is_control, " "))
        }
    };
    SyntaxError { at, message, is_local }
}

/// What serde hands over, before texts are looked up in the source.
enum Raw {
    Null,
    Text(String),
    /// A plain scalar YAML gives a type, with the form to use if the source is out of reach.
    Typed(Kind, String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Typed(Kind::Bool, value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Typed(Kind::Number, value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Typed(Kind::Number, value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Typed(Kind::Number, value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

fn node(raw: Spanned<Raw>, source: &str) -> Node {
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Text(text) => Value::Scalar(text, Kind::Text),
        Raw::Typed(kind, fallback) => Value::Scalar(as_written(raw.defined, source).unwrap_or(fallback), kind),
        Raw::List(items) => Value::List(items.into_iter().map(|item| node(item, source)).collect()),
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| {
                    let key = node(key, source);
                    Entry {
                        key_at: key.at,
                        key: match key.value {
                            Value::Scalar(text, _) => Some(text),
                            Value::Null | Value::List(_) | Value::Map(_) => None,
                        },
                        value: node(value, source),
                    }
                })
                .collect(),
        ),
    };
    Node { at: raw.referenced.into(), value, template: None }
}

/// The source text of a plain scalar.
fn as_written(location: Location, source: &str) -> Option<String> {
    let start = usize::try_from(location.span().byte_offset()?).ok()?;
    let len = usize::try_from(location.span().byte_len()?).ok()?;
    let text = source.get(start..start.checked_add(len)?)?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(node: &Node) -> String {
        let at = format!("{}:{}", node.at.line, node.at.column);
        match &node.value {
            Value::Null => format!("{at} null"),
            Value::Scalar(text, kind) => format!("{at} {kind:?} {text:?}"),
            Value::List(items) => {
                let items: Vec<_> = items.iter().map(show).collect();
                format!("{at} [{}]", items.join(", "))
            }
            Value::Map(entries) => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|entry| {
                        format!(
                            "{}:{} {}: {}",
                            entry.key_at.line,
                            entry.key_at.column,
                            entry.key.as_deref().unwrap_or("?"),
                            show(&entry.value)
                        )
                    })
                    .collect();
                format!("{at} {{{}}}", entries.join(", "))
            }
        }
    }

    fn shown(text: &str) -> String {
        show(&parse(text).unwrap())
    }

    #[test]
    fn every_value_knows_its_line_and_column() {
        assert_eq!(
            shown("- name: a\n  interval: 5ms\n- {url: \"x\"}\n"),
            "1:1 [1:3 {1:3 name: 1:9 Text \"a\", 2:3 interval: 2:13 Text \"5ms\"}, \
             3:3 {3:4 url: 3:9 Text \"x\"}]"
        );
    }

    #[test]
    fn scalars_keep_the_text_as_written() {
        assert_eq!(
            shown("[no, 1.10, 0o14, 007, ~, 'no', +5, .nan, 1e999, 12345678901234567890123, é: 0x1F]"),
            "1:1 [1:2 Bool \"no\", 1:6 Number \"1.10\", 1:12 Number \"0o14\", 1:18 Number \"007\", \
             1:23 null, 1:26 Text \"no\", 1:32 Number \"+5\", 1:36 Number \".nan\", \
             1:42 Number \"1e999\", 1:49 Number \"12345678901234567890123\", 1:74 {1:74 é: 1:77 Number \"0x1F\"}]"
        );
    }

    #[test]
    fn an_alias_stands_where_it_is_used() {
        assert_eq!(shown("a: &x 1.50 # why\nb: *x\n"), "1:1 {1:1 a: 1:7 Number \"1.50\", 2:1 b: 2:4 Number \"1.50\"}");
    }

    #[test]
    fn a_repeated_key_is_kept_with_both_its_places() {
        assert_eq!(
            shown("a: 1\nb: {c: x, c: z}\na: 3\na: 4"),
            "1:1 {1:1 a: 1:4 Number \"1\", 2:1 b: 2:4 {2:5 c: 2:8 Text \"x\", 2:11 c: 2:14 Text \"z\"}, \
             3:1 a: 3:4 Number \"3\", 4:1 a: 4:4 Number \"4\"}"
        );
    }

    #[test]
    fn merge_keys_fill_in_what_is_not_written() {
        assert_eq!(
            shown("- &d {a: 1, b: 2}\n- <<: *d\n  b: 3\n"),
            "1:1 [1:6 {1:7 a: 1:10 Number \"1\", 1:13 b: 1:16 Number \"2\"}, \
             2:3 {3:3 b: 3:6 Number \"3\", 2:7 a: 2:7 Number \"1\"}]"
        );
    }

    fn message(text: &str) -> String {
        let error = parse(text).unwrap_err();
        let at = error.at.unwrap_or_default();
        format!("{}:{} {}", at.line, at.column, error.message)
    }

    #[test]
    fn what_is_not_yaml_is_named_with_its_place_and_not_shown() {
        let cases = [
            ("a: \"s3cret", "1:4 not valid YAML: unclosed quote"),
            ("- a\n\tb: s3cret", "1:3 not valid YAML: while scanning a plain scalar, found a tab"),
            ("a: [s3cret", "1:4 not valid YAML: unclosed bracket '['"),
            ("a: *s3cret", "1:4 not valid YAML: reference to unknown value"),
            ("a: !!int s3cret", "1:10 not valid YAML: invalid u64"),
            ("a: s3cret: b", "1:10 not valid YAML: mapping values are not allowed in this context"),
            ("---\n- a\n--- # second\n- s3cret\n", "4:1 one document expected, second starts at line 3"),
        ];
        for (text, expected) in cases {
            assert_eq!(message(text), expected, "{text}");
        }
    }

    #[test]
    fn an_alias_bomb_is_refused_before_it_goes_off() {
        let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (name, of) in "bcdefghij".chars().zip("abcdefghi".chars()) {
            let aliases = format!("*{of},").repeat(10);
            bomb.push_str(&format!("{name}: &{name} [{aliases}]\n"));
        }
        let message = message(&bomb);
        assert!(message.ends_with("too large once its aliases are filled in"), "{message}");
        assert!(parse("a: &a [*a]").is_err());
    }

    #[test]
    fn deep_nesting_is_refused() {
        let block: String = (0..1_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        for text in ["[".repeat(1_000), "{a: ".repeat(1_000), "- ".repeat(1_000), block] {
            let message = message(&text);
            assert!(message.contains("nested too deeply") || message.contains("recursion limit"), "{message}");
        }
    }

    #[test]
    fn an_empty_document_is_null() {
        for text in ["", "# only a comment\n", "---\n", "~"] {
            assert_eq!(parse(text).unwrap().value, Value::Null, "{text:?}");
        }
    }
}
