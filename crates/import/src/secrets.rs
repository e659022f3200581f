//! Secrets of the source, and the variables that stand for them.

use std::collections::{HashMap, HashSet};
use std::fmt;

use base64::Engine as _;

use crate::text::Text;

/// A variable that the written file refers to.
#[derive(Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// What it holds, in words, such as `the token of "shop"`. Shows no secret.
    pub what: String,
    /// The secret that was in the source; `None` where the source had a reference itself.
    pub value: Option<String>,
}

impl fmt::Debug for Variable {
    /// Without the value, which is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variable").field("name", &self.name).field("what", &self.what).finish_non_exhaustive()
    }
}

/// Gives out variables. The same secret for the same purpose is one variable.
#[derive(Default)]
pub(crate) struct Secrets {
    variables: Vec<Variable>,
    taken: HashSet<String>,
    by_value: HashMap<(String, String), String>,
}

impl Secrets {
    /// Names that the source uses for variables of its own.
    pub(crate) fn reserve(&mut self, names: impl IntoIterator<Item = String>) {
        self.taken.extend(names);
    }

    /// Lists a variable that the source itself refers to.
    pub(crate) fn passed_on(&mut self, name: &str, what: String) {
        if !name.starts_with("file:") && !self.variables.iter().any(|variable| variable.name == name) {
            self.variables.push(Variable { name: name.to_owned(), what, value: None });
        }
    }

    /// A reference instead of `value`, the `part` (such as `token`) of a target.
    pub(crate) fn hide(&mut self, target: &str, part: &str, value: String) -> Text {
        let key = (part.to_owned(), value.clone());
        if let Some(name) = self.by_value.get(&key) {
            return Text::reference(name.clone());
        }
        let name = self.free_name(&format!("TARGET_{}_{}", words(target), words(part)));
        self.by_value.insert(key, name.clone());
        let what = format!("the {part} of {target:?}");
        self.variables.push(Variable { name: name.clone(), what, value: Some(value) });
        Text::reference(name)
    }

    fn free_name(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        let mut count = 1;
        while !self.taken.insert(name.clone()) {
            count += 1;
            name = format!("{wanted}_{count}");
        }
        name
    }

    pub(crate) fn into_variables(self) -> Vec<Variable> {
        self.variables
    }

    /// The value of a header, as it can be shown.
    pub(crate) fn header(&mut self, target: &str, name: &str, value: Text) -> Text {
        if HARMLESS_HEADERS.contains(&name.to_lowercase().as_str()) {
            return value;
        }
        let Some(literal) = value.as_literal() else {
            // Somebody took care already, at least of a part.
            return self.rest(target, name, value);
        };
        if literal.is_empty() {
            return value;
        }
        if name.eq_ignore_ascii_case("authorization")
            && let Some((scheme, credentials)) = literal.split_once(' ')
            && !credentials.trim().is_empty()
            && ["basic", "bearer", "token"].contains(&scheme.to_lowercase().as_str())
        {
            let part = if scheme.eq_ignore_ascii_case("basic") { BASIC } else { "token" };
            return Text::literal(format!("{scheme} ")).join(self.hide(target, part, credentials.trim().to_owned()));
        }
        self.hide(target, name, literal.to_owned())
    }

    /// The value of an `authorization` header for a user and password.
    pub(crate) fn basic(&mut self, target: &str, user: &str, password: &str) -> Text {
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        Text::literal("Basic ").join(self.hide(target, BASIC, encoded))
    }

    /// A body, as it can be shown: all of it is hidden if it seems to hold a secret.
    pub(crate) fn body(&mut self, target: &str, body: Text) -> Text {
        match body.as_literal() {
            Some(literal) if holds_secret(literal) => {
                let literal = literal.to_owned();
                self.hide(target, "body", literal)
            }
            Some(_) => body,
            None => body.replace(|literal, _| {
                if holds_named_secret(&literal) { self.hide(target, "body", literal) } else { Text::literal(literal) }
            }),
        }
    }

    /// The query of a URL, as it can be shown: `query` is what stands after the `?`.
    pub(crate) fn query(&mut self, target: &str, query: Text) -> Text {
        let mut text = Text::default();
        let mut rest = Some(query);
        while let Some(query) = rest {
            let (pair, more) = match query.split_once(|c| c == '&') {
                Some((pair, _, more)) => (pair, Some(more)),
                None => (query, None),
            };
            text = text.join(match pair.split_once(|c| c == '=') {
                Some((name, _, value)) if is_secret_name(&name.sample()) => {
                    let part = name.sample();
                    let value = match value.as_literal() {
                        Some("") => value,
                        Some(literal) => self.hide(target, &part, literal.to_owned()),
                        None => self.rest(target, &part, value),
                    };
                    name.and("=").join(value)
                }
                _ => pair,
            });
            text = text.and(if more.is_some() { "&" } else { "" });
            rest = more;
        }
        text
    }

    /// What a secret that has references holds besides them. A word before a reference, such as `Bearer ` or
    /// `session=`, says what the reference is.
    fn rest(&mut self, target: &str, part: &str, value: Text) -> Text {
        value.replace(|literal, before_reference| {
            let is_label = before_reference && literal.len() <= 16 && literal.ends_with([' ', '=', ':']);
            if is_label || !literal.contains(char::is_alphanumeric) {
                return Text::literal(literal);
            }
            self.hide(target, part, literal)
        })
    }
}

/// What goes behind `Basic` in an `authorization` header.
const BASIC: &str = "user:password in base64";

/// Headers whose values say nothing that others may not know.
const HARMLESS_HEADERS: [&str; 16] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "access-control-request-headers",
    "access-control-request-method",
    "cache-control",
    "content-encoding",
    "content-language",
    "content-type",
    "origin",
    "pragma",
    "range",
    "referer",
    "user-agent",
    "x-requested-with",
];

/// Whether a name may be that of a secret. Goes further than what hides parameters of URLs: a variable too many
/// does no harm.
fn is_secret_name(name: &str) -> bool {
    let lower = name.to_lowercase();
    ["code", "pin"].contains(&lower.as_str())
        || ["auth", "pwd"].iter().any(|part| lower.contains(part))
        || common::is_secret_name(&lower)
}

/// Whether a text has a word that names a secret.
fn holds_secret(text: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').any(is_secret_name)
}

/// Whether in a part of a text something stands behind a word that names a secret: `"token": "` at its end names
/// the reference that follows.
fn holds_named_secret(text: &str) -> bool {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').filter(|word| !word.is_empty());
    words.rev().skip(1).any(is_secret_name)
}

/// `Front end / α` as `FRONT_END`.
fn words(text: &str) -> String {
    let mut words = String::new();
    // A name of 40 characters is enough to recognise it by.
    for c in text.chars().map(|c| c.to_ascii_uppercase()).take(40) {
        match c {
            'A'..='Z' | '0'..='9' => words.push(c),
            _ if words.is_empty() || words.ends_with('_') => {}
            _ => words.push('_'),
        }
    }
    match words.trim_end_matches('_') {
        "" => "X".to_owned(),
        "USER_PASSWORD_IN_BASE64" => "BASIC".to_owned(),
        words => words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_hidden_unless_they_are_known_to_be_harmless() {
        let mut secrets = Secrets::default();
        let mut header = |name: &str, value: &str| secrets.header("Front end", name, Text::literal(value)).written();
        assert_eq!(header("Accept", "text/html"), "text/html");
        assert_eq!(header("Authorization", "Bearer s3cret"), "Bearer ${TARGET_FRONT_END_TOKEN}");
        assert_eq!(header("authorization", "Basic dTpw"), "Basic ${TARGET_FRONT_END_BASIC}");
        assert_eq!(header("authorization", "s3cret"), "${TARGET_FRONT_END_AUTHORIZATION}");
        assert_eq!(header("X-Api-Key", "s3cret"), "${TARGET_FRONT_END_X_API_KEY}");
        assert_eq!(header("x-API-key", "other"), "${TARGET_FRONT_END_X_API_KEY_2}");
        let given = Text::literal("Bearer ").join(Text::reference("MINE"));
        assert_eq!(secrets.header("a", "authorization", given.clone()), given);
        let variables = secrets.into_variables();
        assert_eq!(variables[0].what, "the token of \"Front end\"");
        assert_eq!(variables[0].value.as_deref(), Some("s3cret"));
        assert!(!format!("{variables:?}").contains("s3cret"));
    }

    #[test]
    fn one_secret_is_one_variable_and_two_are_two() {
        let mut secrets = Secrets::default();
        secrets.reserve(["TARGET_A_TOKEN".to_owned()]);
        assert_eq!(secrets.hide("a", "token", "1".into()).written(), "${TARGET_A_TOKEN_2}");
        assert_eq!(secrets.hide("b", "token", "1".into()).written(), "${TARGET_A_TOKEN_2}");
        assert_eq!(secrets.hide("a", "token", "2".into()).written(), "${TARGET_A_TOKEN_3}");
        assert_eq!(secrets.hide("日本", "token", "3".into()).written(), "${TARGET_X_TOKEN}");
    }

    #[test]
    fn queries_and_bodies_lose_what_is_named_like_a_secret() {
        let mut secrets = Secrets::default();
        assert_eq!(
            secrets.query("a", Text::literal("q=1&api_key=s3cret&x&token=")).written(),
            "q=1&api_key=${TARGET_A_API_KEY}&x&token="
        );
        let mut body = |text: &str| secrets.body("a", Text::literal(text)).written();
        assert_eq!(body(r#"{"query": "up"}"#), r#"{"query": "up"}"#);
        assert_eq!(body(r#"{"userPassword": "s3cret"}"#), "${TARGET_A_BODY}");
    }

    #[test]
    fn beside_a_variable_secrets_are_hidden_too() {
        let mut secrets = Secrets::default();
        let with = |before: &str, behind: &str| Text::literal(before).join(Text::reference("V")).and(behind);
        let mut header = |name: &str, value: Text| secrets.header("a", name, value).written();
        assert_eq!(header("authorization", with("Bearer s3cret-", "")), "${TARGET_A_AUTHORIZATION}${V}");
        assert_eq!(header("authorization", with("Bearer ", "")), "Bearer ${V}");
        assert_eq!(header("cookie", with("session=", "; id=s3cret")), "session=${V}${TARGET_A_COOKIE}");
        assert_eq!(header("accept", with("text/", "")), "text/${V}");
        let query = secrets.query("a", with("token=s3cret&id=", "&key=").join(with("x", "")));
        assert_eq!(query.written(), "token=${TARGET_A_TOKEN}&id=${V}&key=${TARGET_A_KEY}${V}");
        let mut body = |before: &str, behind: &str| secrets.body("a", with(before, behind)).written();
        assert_eq!(body(r#"{"id": 1, "token": ""#, r#""}"#), r#"{"id": 1, "token": "${V}"}"#);
        assert_eq!(body(r#"{"pwd": "s3cret", "id": ""#, r#""}"#), r#"${TARGET_A_BODY}${V}"}"#);
    }
}
