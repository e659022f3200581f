//! What an answer must be like, in the form of our files.

use std::time::Duration;

use settings::duration;

use crate::status::Codes;
use crate::text::Text;
use crate::yaml::Yaml;

/// All of this must hold.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Expect {
    /// 200 to 299 if absent.
    pub(crate) status: Option<Codes>,
    /// The slowest answer that is still good.
    pub(crate) latency: Option<Duration>,
    pub(crate) checks: Vec<Check>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Check {
    /// `body: {contains: …}`
    Body(&'static str, Value),
    /// `json: {PATH: {OPERATOR: …}}`
    Json(String, &'static str, Value),
    /// `header: {NAME: {OPERATOR: …}}`
    Header(String, &'static str, Value),
    /// At least one of these must hold.
    Any(Vec<Check>),
}

/// What something is compared with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Text(Text),
    /// A number or a truth value, as it is written.
    Plain(String),
}

impl Value {
    pub(crate) fn literal(text: impl Into<String>) -> Self {
        Self::Text(Text::literal(text))
    }

    /// What tools that compare texts mean by this one: a number or a truth value if JSON's would be written so.
    pub(crate) fn guess(text: Text) -> Self {
        let plain = text.as_literal().filter(|literal| {
            *literal == "true" || *literal == "false" || canonical_number(literal).as_deref() == Some(literal)
        });
        match plain {
            Some(plain) => Self::Plain(plain.to_owned()),
            None => Self::Text(text),
        }
    }

    fn yaml(&self) -> Yaml {
        match self {
            Self::Text(text) => Yaml::Text(text.written()),
            Self::Plain(text) => Yaml::Plain(text.clone()),
        }
    }
}

/// The shortest form of a number, without an exponent.
fn canonical_number(text: &str) -> Option<String> {
    let number: f64 = text.parse().ok()?;
    // Above this a float skips whole numbers.
    (number.is_finite() && number.abs() < 9e15).then(|| number.to_string())
}

impl Expect {
    /// `None` if nothing but what goes without saying is expected.
    pub(crate) fn yaml(&self) -> Option<Yaml> {
        let mut fields = Vec::new();
        if let Some(status) = self.status.as_ref().filter(|status| **status != Codes::success()) {
            fields.push(("status".to_owned(), code_or_ranges(status)));
        }
        if let Some(latency) = self.latency {
            fields.push(("latency".to_owned(), Yaml::Plain(duration::format(latency))));
        }
        let mut first = Group { fields };
        let mut more = Vec::new();
        for check in &self.checks {
            if !first.add(check) && !more.last_mut().is_some_and(|group: &mut Group| group.add(check)) {
                let mut group = Group::default();
                group.add(check);
                more.push(group);
            }
        }
        if !more.is_empty() {
            let groups = more.into_iter().map(|group| Yaml::Map(group.fields)).collect();
            first.fields.push(("all".to_owned(), Yaml::List(groups)));
        }
        (!first.fields.is_empty()).then_some(Yaml::Map(first.fields))
    }
}

/// The longest text, and the most conditions of a target, that our reader takes (those that only group counted).
const MAX_TEXT: usize = 4096;
const MAX_CONDITIONS: usize = 50;

impl Expect {
    /// Drops what is beyond the limits of our reader, and says whether there was something.
    pub(crate) fn limit(&mut self) -> bool {
        let before = self.checks.len();
        let mut left = MAX_CONDITIONS;
        self.checks.retain(|check| {
            let weight = check.weight();
            let fits = check.longest() <= MAX_TEXT && weight <= left;
            left -= if fits { weight } else { 0 };
            fits
        });
        self.checks.len() < before
    }
}

impl Check {
    fn weight(&self) -> usize {
        match self {
            Self::Any(checks) => 1 + checks.iter().map(Self::weight).sum::<usize>(),
            _ => 1,
        }
    }

    fn longest(&self) -> usize {
        let length = |value: &Value| match value {
            Value::Text(text) => text.sample().len(),
            Value::Plain(text) => text.len(),
        };
        match self {
            Self::Body(_, value) => length(value),
            Self::Json(name, _, value) | Self::Header(name, _, value) => name.len().max(length(value)),
            Self::Any(checks) => checks.iter().map(Self::longest).max().unwrap_or_default(),
        }
    }
}

fn code_or_ranges(status: &Codes) -> Yaml {
    let ranges = status.ranges();
    if ranges.bytes().all(|byte| byte.is_ascii_digit()) { Yaml::Plain(ranges) } else { Yaml::Text(ranges) }
}

/// A mapping of conditions, in which each may come once.
#[derive(Default)]
struct Group {
    fields: Vec<(String, Yaml)>,
}

impl Group {
    /// Adds a condition unless there is one like it already.
    fn add(&mut self, check: &Check) -> bool {
        match check {
            Check::Body(operator, value) => insert(&mut self.fields, &["body", operator], value.yaml()),
            Check::Json(path, operator, value) => insert(&mut self.fields, &["json", path, operator], value.yaml()),
            Check::Header(name, operator, value) => insert(&mut self.fields, &["header", name, operator], value.yaml()),
            Check::Any(checks) => {
                let any = checks.iter().map(|check| {
                    let mut group = Self::default();
                    group.add(check);
                    Yaml::Map(group.fields)
                });
                insert(&mut self.fields, &["any"], Yaml::List(any.collect()))
            }
        }
    }
}

/// Operators that take a list, each item of which must hold.
const LISTED: [&str; 3] = ["contains", "not_contains", "not_matches"];

/// Puts a value where `path` leads, unless something is there that takes no second one.
fn insert(fields: &mut Vec<(String, Yaml)>, path: &[&str], value: Yaml) -> bool {
    let Some((name, rest)) = path.split_first() else { return false };
    let found = fields.iter().position(|(field, _)| field == name);
    match (found, rest) {
        (Some(index), []) if LISTED.contains(name) => {
            match &mut fields[index].1 {
                Yaml::List(values) => values.push(value),
                first => *first = Yaml::List(vec![first.clone(), value]),
            }
            true
        }
        (Some(_), []) => false,
        (None, []) => {
            fields.push(((*name).to_owned(), value));
            true
        }
        (Some(index), rest) => match &mut fields[index].1 {
            Yaml::Map(inner) => insert(inner, rest, value),
            _ => false,
        },
        (None, rest) => {
            let mut inner = Vec::new();
            insert(&mut inner, rest, value);
            fields.push(((*name).to_owned(), Yaml::Map(inner)));
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    fn json(path: &str, operator: &'static str, value: &str) -> Check {
        Check::Json(path.into(), operator, Value::guess(Text::literal(value)))
    }

    #[test]
    fn conditions_share_a_mapping_until_one_comes_twice() {
        let body = |text: &str| Check::Body("contains", Value::literal(text));
        let expect = Expect {
            status: Some(Codes::that(|code| code == 200)),
            latency: Some(Duration::from_millis(500)),
            checks: vec![
                json("$.a", ">=", "1"),
                json("$.a", "<", "5"),
                body("x"),
                body("y"),
                Check::Any(vec![json("$.b", "==", "up"), json("$.b", "==", "1.0")]),
                body("z"),
                json("$.a", "<", "7"),
            ],
        };
        assert_eq!(
            yaml::write(&expect.yaml().unwrap()),
            "status: 200\nlatency: 500ms\njson:\n  \"$.a\":\n    \">=\": 1\n    \"<\": 5\nbody:\n  contains:\n    - x\n    - \"y\"\n    - z\n\
             any:\n  - json:\n      \"$.b\":\n        \"==\": up\n  - json:\n      \"$.b\":\n        \"==\": \"1.0\"\n\
             all:\n  - json:\n      \"$.a\":\n        \"<\": 7\n"
        );
        assert_eq!(Expect { status: Some(Codes::success()), ..Expect::default() }.yaml(), None);
    }

    #[test]
    fn texts_that_json_would_write_as_numbers_are_numbers() {
        let is_plain = |text: &str| matches!(Value::guess(Text::literal(text)), Value::Plain(_));
        for text in ["5", "-3", "2.5", "0", "true", "false"] {
            assert!(is_plain(text), "{text}");
        }
        for text in ["", "1.0", "05", "+5", "1e3", "inf", "NaN", "True", "9007199254740993", "up"] {
            assert!(!is_plain(text), "{text}");
        }
    }
}
