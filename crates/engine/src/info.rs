//! The list of endpoints: whose they are and what they are held to.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use crate::fields::{Field, Fields, Parsed};
use crate::goal::{Objective, Window};
use crate::line::shown;
use crate::{json, python};

/// One endpoint: a verb and a resource, compared byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointInfo {
    /// The service it belongs to.
    pub service: String,
    /// What requests ask for: `GET`.
    pub verb: String,
    /// Of what: a path, with its query if there is one.
    pub resource: String,
    /// The share of good requests below which it is unhealthy.
    pub objective: Objective,
    /// How far back requests count.
    pub window: Window,
}

/// A list of endpoints, no two with the same verb and resource.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Info {
    endpoints: Vec<EndpointInfo>,
}

/// Why a list of endpoints is unusable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {explanation}")]
pub struct InfoError {
    /// The kind of mistake.
    pub reason: InfoReason,
    /// Where it is and what would be right.
    pub explanation: String,
}

/// The kinds of mistake in a list of endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InfoReason {
    /// Not a list of objects with all keys, or a name, verb or resource that is no text.
    BadInfo,
    /// The objective is not from 0 to 1.
    BadSlo,
    /// The window is nothing, negative or too long.
    BadWindow,
    /// Verb and resource of an earlier entry.
    DuplicateEndpoint,
}

impl InfoReason {
    /// The word for it: `bad-slo`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::BadInfo => "bad-info",
            Self::BadSlo => "bad-slo",
            Self::BadWindow => "bad-window",
            Self::DuplicateEndpoint => "duplicate-endpoint",
        }
    }
}

impl fmt::Display for InfoReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

const KEYS: [&str; 5] = ["name", "verb", "resource", "slo", "window"];

impl Info {
    /// Reads a list of objects with `name`, `verb`, `resource`, `slo` and `window`, as JSON or in the
    /// Python form. Other keys are ignored.
    ///
    /// # Errors
    /// The first mistake, entry by entry.
    pub fn parse(text: &[u8]) -> Result<Self, InfoError> {
        let bad = |explanation: &str| InfoError::new(InfoReason::BadInfo, explanation.to_owned());
        let text = std::str::from_utf8(text).map_err(|error| {
            InfoError::new(InfoReason::BadInfo, format!("is not UTF-8 at byte {}", error.valid_up_to() + 1))
        })?;
        let text = text.trim_matches([' ', '\t', '\r', '\n']);
        let entries: Vec<Option<Fields<'_, 5>>> = match json::list(text) {
            Some(Parsed::Right(items)) => items.into_iter().map(json_entry).collect(),
            Some(Parsed::Other) => return Err(bad("is not a list of endpoints")),
            None => match python::list(text) {
                Some(items) => items.into_iter().map(|item| python::dict(item, KEYS)).collect(),
                None => return Err(bad("is neither JSON nor the Python form of a list")),
            },
        };
        Self::collect(entries.into_iter().enumerate().map(|(index, entry)| endpoint(index + 1, entry)))
    }

    /// Makes a list of endpoints that are known already.
    ///
    /// # Errors
    /// Two have the same verb and resource.
    pub fn new(endpoints: Vec<EndpointInfo>) -> Result<Self, InfoError> {
        Self::collect(endpoints.into_iter().map(Ok))
    }

    fn collect(endpoints: impl Iterator<Item = Result<EndpointInfo, InfoError>>) -> Result<Self, InfoError> {
        let mut seen = HashSet::new();
        let mut list = Vec::new();
        for (index, endpoint) in endpoints.enumerate() {
            let endpoint = endpoint?;
            if !seen.insert((endpoint.verb.clone(), endpoint.resource.clone())) {
                let place = format!("{} {}", endpoint.verb, endpoint.resource);
                return Err(InfoError::new(
                    InfoReason::DuplicateEndpoint,
                    format!("entry {} has verb and resource of an earlier one: {}", index + 1, shown(&place)),
                ));
            }
            list.push(endpoint);
        }
        Ok(Self { endpoints: list })
    }

    /// The endpoints, in the order of the list.
    pub fn endpoints(&self) -> &[EndpointInfo] {
        &self.endpoints
    }
}

impl InfoError {
    fn new(reason: InfoReason, explanation: String) -> Self {
        Self { reason, explanation }
    }
}

/// `None` for an item that is no object.
fn json_entry(item: &str) -> Option<Fields<'_, 5>> {
    match json::object(item, KEYS) {
        Some(Parsed::Right(fields)) => Some(fields),
        _ => None,
    }
}

/// Checks one entry; `number` counts from 1.
fn endpoint(number: usize, entry: Option<Fields<'_, 5>>) -> Result<EndpointInfo, InfoError> {
    let bad = |explanation: &str| InfoError::new(InfoReason::BadInfo, format!("entry {number} {explanation}"));
    let fields = entry.ok_or_else(|| bad("is not an object"))?;
    if let Some(missing) = fields.iter().position(Option::is_none) {
        return Err(bad(&format!("has no {:?}", KEYS[missing])));
    }
    let [name, verb, resource, slo, window] = fields.map(|field| field.unwrap_or(Field::Other));
    let text = |key: &str, field| match field {
        Field::Text(text) if !text.is_empty() => Ok(Cow::into_owned(text)),
        _ => Err(bad(&format!("needs a text that is not empty as {key:?}"))),
    };
    let (service, verb, resource) = (text("name", name)?, text("verb", verb)?, text("resource", resource)?);
    let objective = match slo {
        Field::Number(number) => Objective::parse_json_number(number).ok(),
        Field::Text(text) => Objective::parse(&text).ok(),
        Field::Other => None,
    };
    let window = match window {
        Field::Number(number) => Window::parse_json_number(number).ok(),
        Field::Text(text) => Window::parse(&text).ok(),
        Field::Other => None,
    };
    let wrong = |reason, explanation: &str| InfoError::new(reason, format!("entry {number}: {explanation}"));
    let objective =
        objective.ok_or_else(|| wrong(InfoReason::BadSlo, "\"slo\" has to be a number from 0 to 1, such as 0.999"))?;
    let window = window.ok_or_else(|| {
        wrong(InfoReason::BadWindow, "\"window\" has to be a number of seconds above 0 and at most 9000000000")
    })?;
    Ok(EndpointInfo { service, verb, resource, objective, window })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One entry whose text for one key is something else.
    fn with(key: &str, value: &str) -> String {
        let members = [("name", "\"s\""), ("verb", "\"GET\""), ("resource", "\"/\""), ("slo", "0.9"), ("window", "1")];
        let members = members.map(|(name, usual)| format!("\"{name}\": {}", if name == key { value } else { usual }));
        format!("[{{{}}}]", members.join(", "))
    }

    fn reason(text: &str) -> &'static str {
        Info::parse(text.as_bytes()).map_or_else(|error| error.reason.label(), |_| "fine")
    }

    #[test]
    fn objective_and_window_are_numbers_or_texts_and_booleans_are_neither() {
        let cases = [
            ("slo", "0.9", "fine"),
            ("slo", "\"0.9\"", "fine"),
            ("slo", "1e-1", "fine"),
            ("slo", "0", "fine"),
            ("slo", "-0", "fine"),
            ("slo", "1.000", "fine"),
            ("slo", "\"1e-1\"", "bad-slo"),
            ("slo", "1.00000000000000001", "bad-slo"),
            ("slo", "-0.1", "bad-slo"),
            ("slo", "1e400", "bad-slo"),
            ("slo", "1e99999999999999999999999", "bad-slo"),
            ("slo", "true", "bad-slo"),
            ("slo", "false", "bad-slo"),
            ("slo", "null", "bad-slo"),
            ("slo", "[0.9]", "bad-slo"),
            ("slo", "\" 0.9\"", "bad-slo"),
            ("slo", "\"\"", "bad-slo"),
            ("window", "1.5", "fine"),
            ("window", "\"60\"", "fine"),
            ("window", "5e-10", "fine"),
            ("window", "9e9", "fine"),
            ("window", "4e-10", "bad-window"),
            ("window", "0", "bad-window"),
            ("window", "-1", "bad-window"),
            ("window", "9000000000.1", "bad-window"),
            ("window", "true", "bad-window"),
            ("window", "\"1m\"", "bad-window"),
            ("name", "\"\"", "bad-info"),
            ("name", "1", "bad-info"),
            ("verb", "null", "bad-info"),
            ("resource", "[]", "bad-info"),
            ("name", "\" \"", "fine"),
        ];
        for (key, value, expected) in cases {
            assert_eq!(reason(&with(key, value)), expected, "{key}: {value}");
            let python = with(key, value).replace('"', "'").replace("true", "True").replace("false", "False");
            assert_eq!(reason(&python.replace("null", "None")), expected, "{python}");
        }
    }

    #[test]
    fn what_is_no_list_of_whole_objects_is_bad_info() {
        for text in [
            "",
            " ",
            "{}",
            "1",
            "null",
            "\"[]\"",
            "[1]",
            "[null]",
            "[[]]",
            "[{}]",
            "[",
            "[]]",
            "[{},]",
            "['x']",
            "{'a': 1}",
            "[{'name': 's', 'verb': 'GET', 'resource': '/', 'slo': 0.9}]",
            "\u{feff}[]",
            "[NaN]",
        ] {
            assert_eq!(reason(text), "bad-info", "{text}");
        }
        assert_eq!(Info::parse(b"[\xff]").unwrap_err().to_string(), "bad-info: is not UTF-8 at byte 2");
        for text in ["[]", " \r\n[ ]\t\n", "[\n]"] {
            assert_eq!(Info::parse(text.as_bytes()), Ok(Info::default()), "{text}");
        }
    }

    #[test]
    fn the_first_mistake_of_the_first_wrong_entry_is_named() {
        let two = |a: &str, b: &str| format!("[{}, {}]", a.trim_matches(['[', ']']), b.trim_matches(['[', ']']));
        let fine = with("", "");
        assert_eq!(reason(&two(&fine, &with("name", "\"other\""))), "duplicate-endpoint");
        assert_eq!(reason(&two(&fine, &with("verb", "\"get\""))), "fine");
        assert_eq!(reason(&two(&fine, &with("window", "0"))), "bad-window");
        assert_eq!(reason(&two(&with("window", "0"), &with("slo", "2"))), "bad-window");
        assert_eq!(reason(&with("slo", "2").replace("\"window\": 1", "\"window\": 0")), "bad-slo");
        assert_eq!(reason(&with("slo", "2").replace("\"window\"", "\"windows\"")), "bad-info");
        let error = Info::parse(two(&fine, &fine).as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "duplicate-endpoint: entry 2 has verb and resource of an earlier one: \"GET /\"");
    }

    #[test]
    fn other_keys_are_ignored_and_the_last_of_a_name_counts() {
        let text = r#"[{"email": [1e999, {"x": null}], "slo": 7, "slo": "0.5", "name": "s", "verb": "GET", "resource": "/", "window": 1}]"#;
        let info = Info::parse(text.as_bytes()).unwrap();
        assert_eq!(info.endpoints()[0].objective.to_string(), "0.5");
    }
}
