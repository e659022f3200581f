//! Conditions of gatus such as `[STATUS] == 200` and `len([BODY].items) > 0`.
//!
//! gatus compares texts: a number in an answer is what Go prints for it, and whoever wrote the condition thought of
//! either. We take a condition's operand for a number where JSON would write the number so.

use std::time::Duration;

use settings::file::quoted;

use crate::duration;
use crate::expect::{Check, Expect, Value};
use crate::gatus::environment::expand;
use crate::json_path;
use crate::pattern::{self, Pattern};
use crate::status::Codes;
use crate::text::Text;

/// What becomes of a condition.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Met {
    Carried,
    /// Carried over with this difference.
    Changed(&'static str),
    /// Not carried over; the advice.
    NotCarried(&'static str),
    /// The endpoint cannot be a target of ours.
    Unfit(&'static str),
}

/// Operators, in the order in which gatus looks for them.
const OPERATORS: [&str; 6] = ["==", "!=", "<=", ">=", ">", "<"];

/// A condition for people. What is compared with may be a secret: only numbers and truth values of it are shown.
pub(super) fn shown(condition: &str) -> String {
    let side = |text: &str| {
        let is_open = Subject::parse(text).is_some() || number(text).is_some() || ["true", "false"].contains(&text);
        if is_open {
            return text.to_owned();
        }
        let function = ["pat", "any", "len", "has"].into_iter().find(|name| function(text, name).is_some());
        function.map_or_else(|| "…".to_owned(), |name| format!("{name}(…)"))
    };
    let split =
        OPERATORS.into_iter().find_map(|operator| Some((condition.split_once(&format!(" {operator} "))?, operator)));
    quoted(&match split {
        Some(((left, right), operator)) => format!("{} {operator} {}", side(left.trim()), side(right.trim())),
        None => "…".to_owned(),
    })
}

/// The conditions of an endpoint.
#[derive(Default)]
pub(super) struct Conditions {
    /// Any status is fine to gatus until a condition says otherwise.
    status: Option<Codes>,
    latency: Option<Duration>,
    checks: Vec<Check>,
}

impl Conditions {
    pub(super) fn finish(self) -> Expect {
        let status = Some(self.status.unwrap_or_else(Codes::any));
        Expect { status, latency: self.latency, checks: self.checks }
    }

    pub(super) fn add(&mut self, condition: &str) -> Met {
        let split = OPERATORS.into_iter().find_map(|operator| {
            let (left, right) = condition.split_once(&format!(" {operator} "))?;
            Some((left.trim(), operator, right.trim()))
        });
        let Some((left, operator, right)) = split else {
            return Met::NotCarried("is not of the form VALUE OPERATOR VALUE");
        };
        let (subject, operator, operand) = match (Subject::parse(left), Subject::parse(right)) {
            (Some(_), Some(_)) => return Met::NotCarried("compares two parts of the answer with each other"),
            (Some(subject), None) => (subject, operator, right),
            (None, Some(subject)) => (subject, flipped(operator), left),
            (None, None) => return Met::NotCarried("names no part of the answer that is known"),
        };
        self.compare(subject, operator, operand)
    }

    fn compare(&mut self, subject: Subject, operator: &'static str, operand: &str) -> Met {
        match subject {
            Subject::Status => self.status(operator, operand),
            Subject::ResponseTime => self.response_time(operator, operand),
            Subject::Connected => match (operator, operand) {
                ("==", "true") | ("!=", "false") => Met::Carried,
                _ => Met::Unfit("lookout cannot expect that no connection is made"),
            },
            Subject::Certificate => Met::NotCarried(
                "lookout does not look at how long a certificate lasts; one that has expired is down (tls)",
            ),
            Subject::Domain => Met::NotCarried("lookout does not ask when a domain expires"),
            Subject::Ip => Met::NotCarried("lookout does not compare addresses"),
            Subject::DnsRcode => Met::NotCarried("lookout makes no DNS queries of its own"),
            Subject::Context => Met::NotCarried("only means something within a suite"),
            Subject::Body(path) if path.is_empty() => self.whole_body(operator, operand),
            Subject::Body(path) => self.with_path(&path, |conditions, path| conditions.json(path, operator, operand)),
            Subject::Has(path) | Subject::Len(path) if path.contains("[*]") => {
                Met::NotCarried("has() and len() of every element are not carried over")
            }
            Subject::Has(path) => {
                let exists = match (operator, operand) {
                    ("==", "true") | ("!=", "false") => "true",
                    ("==", "false") | ("!=", "true") => "false",
                    _ => return Met::NotCarried("has() is compared with something else than true or false"),
                };
                self.with_path(&path, |conditions, path| {
                    conditions.checks.push(Check::Json(path, "exists", Value::Plain(exists.to_owned())));
                    Met::Carried
                })
            }
            Subject::Len(path) => self.with_path(&path, |conditions, path| conditions.length(&path, operator, operand)),
        }
    }

    fn with_path(&mut self, path: &str, then: impl FnOnce(&mut Self, String) -> Met) -> Met {
        match json_path::of_dotted(path) {
            Some(path) => then(self, path),
            None => Met::NotCarried("only paths of names and numbers are carried over, such as .a.b[0]"),
        }
    }

    fn status(&mut self, operator: &str, operand: &str) -> Met {
        let Some(test) = Test::parse(operator, operand) else {
            return Met::NotCarried("its operand is not understood");
        };
        let codes = self.status.get_or_insert_with(Codes::any);
        codes.retain(|code| test.holds(code));
        if codes.is_empty() { Met::Unfit("no status code can meet it") } else { Met::Carried }
    }

    fn response_time(&mut self, operator: &str, operand: &str) -> Met {
        let limit = number(operand).filter(|limit| *limit >= 1.0);
        let (Some(limit), "<" | "<=") = (limit, operator) else {
            return Met::NotCarried("lookout only bounds the time of an answer from above");
        };
        let limit = Duration::from_millis(limit as u64);
        self.latency = Some(self.latency.map_or(limit, |latency| latency.min(limit)));
        Met::Carried
    }

    fn whole_body(&mut self, operator: &'static str, operand: &str) -> Met {
        if !["==", "!="].contains(&operator) {
            return self.json("$".to_owned(), operator, operand);
        }
        let operand = expand(operand);
        let Some(literal) = operand.as_literal() else { return Met::NotCarried(VARIABLE) };
        let pattern = match (function(literal, "pat"), function(literal, "any")) {
            (Some(glob), _) => pattern::of_glob(glob),
            (None, Some(options)) => Some(Pattern::any_of(options.split(',').map(str::trim))),
            (None, None) => Some(Pattern::any_of([literal])),
        };
        let check = match (pattern, operator) {
            (Some(Pattern::Everything), "==") => return Met::Carried,
            (Some(Pattern::Contains(text)), "==") => Check::Body("contains", Value::literal(text)),
            (Some(Pattern::Contains(text)), _) => Check::Body("not_contains", Value::literal(text)),
            (Some(Pattern::Regex(regex)), "==") => Check::Body("matches", Value::literal(regex)),
            (Some(Pattern::Regex(regex)), _) => Check::Body("not_matches", Value::literal(regex)),
            (Some(Pattern::Everything), _) => return Met::Unfit("no body can meet it"),
            (None, _) => return Met::NotCarried("its pattern is not understood"),
        };
        self.checks.push(check);
        Met::Carried
    }

    fn json(&mut self, path: String, operator: &'static str, operand: &str) -> Met {
        let operand = expand(operand);
        if operand.as_literal().is_none() {
            return Met::NotCarried(VARIABLE);
        }
        if !["==", "!="].contains(&operator) {
            let Some(number) = operand.as_literal().and_then(number) else {
                return Met::NotCarried("is no comparison with a number");
            };
            self.checks.push(Check::Json(path, operator, Value::Plain(number.to_string())));
            return Met::Carried;
        }
        let glob = operand.as_literal().and_then(|literal| function(literal, "pat"));
        if let Some(glob) = glob {
            let regex = match (pattern::of_glob(glob), operator) {
                (Some(Pattern::Everything), "==") => {
                    self.checks.push(Check::Json(path, "exists", Value::Plain("true".to_owned())));
                    return Met::Carried;
                }
                (Some(Pattern::Contains(text)), "==") => regex::escape(&text),
                (Some(Pattern::Regex(regex)), "==") => regex,
                _ => return Met::NotCarried("lookout has no regex a value must not match"),
            };
            self.checks.push(Check::Json(path, "matches", Value::literal(regex)));
            return Met::Carried;
        }
        let options = operand.as_literal().and_then(|literal| function(literal, "any"));
        let Some(options) = options else {
            self.checks.push(Check::Json(path, operator, Value::guess(operand)));
            return Met::Carried;
        };
        let checks = options
            .split(',')
            .map(|option| Check::Json(path.clone(), operator, Value::guess(Text::literal(option.trim()))));
        match operator {
            "==" => self.checks.push(Check::Any(checks.collect())),
            _ => self.checks.extend(checks),
        }
        Met::Carried
    }

    /// A list has more than `n` elements if there is one at index `n`.
    fn length(&mut self, path: &str, operator: &str, operand: &str) -> Met {
        let Some(wanted) = number(operand).filter(|wanted| (0.0..1e6).contains(wanted)).map(|wanted| wanted as u64)
        else {
            return Met::NotCarried("is no comparison of a length with a number");
        };
        let longer_than =
            |length: u64, is: bool| Check::Json(format!("{path}[{length}]"), "exists", Value::Plain(is.to_string()));
        let (at_least, at_most) = match operator {
            "==" => (wanted, Some(wanted)),
            ">" => (wanted + 1, None),
            ">=" => (wanted, None),
            "<=" => (0, Some(wanted)),
            "<" if wanted > 0 => (0, Some(wanted - 1)),
            "!=" => {
                let mut options = vec![longer_than(wanted, true)];
                if wanted > 0 {
                    options.push(longer_than(wanted - 1, false));
                }
                self.checks.push(Check::Any(options));
                return Met::Changed(LENGTH);
            }
            _ => return Met::Unfit("no length can meet it"),
        };
        if at_least > 0 {
            self.checks.push(longer_than(at_least - 1, true));
        }
        self.checks.extend(at_most.map(|most| longer_than(most, false)));
        Met::Changed(LENGTH)
    }
}

const VARIABLE: &str =
    "compares with a variable; what an answer has to be is shown to people, so write the value itself into expect:";
const LENGTH: &str =
    "became a check that the list has, or has not, an element at that index; the length of a text is not compared";

/// The part of an answer that a condition is about.
enum Subject {
    Status,
    ResponseTime,
    Connected,
    Certificate,
    Domain,
    Ip,
    DnsRcode,
    Context,
    /// What stands behind `[BODY]`.
    Body(String),
    Has(String),
    Len(String),
}

impl Subject {
    fn parse(text: &str) -> Option<Self> {
        let body = |text: &str| {
            let (head, path) = text.split_at_checked("[BODY]".len())?;
            let is_path = path.is_empty() || path.starts_with(['.', '[']);
            (head.eq_ignore_ascii_case("[BODY]") && is_path).then(|| path.to_owned())
        };
        if let Some(inner) = function(text, "len") {
            return body(inner).map(Self::Len);
        }
        if let Some(inner) = function(text, "has") {
            return body(inner).map(Self::Has);
        }
        match text.to_ascii_uppercase().as_str() {
            "[STATUS]" => Some(Self::Status),
            "[RESPONSE_TIME]" => Some(Self::ResponseTime),
            "[CONNECTED]" => Some(Self::Connected),
            "[CERTIFICATE_EXPIRATION]" => Some(Self::Certificate),
            "[DOMAIN_EXPIRATION]" => Some(Self::Domain),
            "[IP]" => Some(Self::Ip),
            "[DNS_RCODE]" => Some(Self::DnsRcode),
            text if text.starts_with("[CONTEXT]") => Some(Self::Context),
            _ => body(text).map(Self::Body),
        }
    }
}

/// A comparison of a status code.
enum Test {
    Number(String, f64),
    /// Codes that are equal, or are not.
    Codes(Vec<u16>, bool),
}

impl Test {
    fn parse(operator: &str, operand: &str) -> Option<Self> {
        let is_equal = match operator {
            "==" => true,
            "!=" => false,
            _ => return Some(Self::Number(operator.to_owned(), number(operand)?)),
        };
        let codes = if let Some(glob) = function(operand, "pat") {
            let pattern = pattern::of_glob(glob)?;
            (100..=599).filter(|code: &u16| pattern.matches(&code.to_string())).collect()
        } else {
            let options = function(operand, "any").unwrap_or(operand).split(',');
            options.map(|option| option.trim().parse().ok()).collect::<Option<_>>()?
        };
        Some(Self::Codes(codes, is_equal))
    }

    fn holds(&self, code: u16) -> bool {
        match self {
            Self::Codes(codes, is_equal) => codes.contains(&code) == *is_equal,
            Self::Number(operator, number) => {
                let code = f64::from(code);
                match operator.as_str() {
                    "<" => code < *number,
                    "<=" => code <= *number,
                    ">" => code > *number,
                    _ => code >= *number,
                }
            }
        }
    }
}

/// The operator for operands that change sides.
fn flipped(operator: &'static str) -> &'static str {
    match operator {
        "<" => ">",
        "<=" => ">=",
        ">" => "<",
        ">=" => "<=",
        other => other,
    }
}

/// What stands in the brackets of `name(…)`.
fn function<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')')
}

/// A whole number, or a duration in milliseconds. gatus drops decimals.
fn number(text: &str) -> Option<f64> {
    match duration::parse(text) {
        Some(duration) if !duration.is_zero() => Some(duration.as_millis() as f64),
        _ => text.parse().ok().filter(|number: &f64| number.is_finite() && number.abs() < 9e15).map(f64::trunc),
    }
}
