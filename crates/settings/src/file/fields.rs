//! Reading the fields of one mapping, with every problem reported at its place.

use std::collections::HashMap;
use std::fmt::Display;

use super::report::{Path, Report};
use super::tree::{Entry, Node, Value};
use crate::urls::{redact, shorten};

/// The longest piece of a wrong value that is shown, in characters.
const SHOWN_CHARS: usize = 120;

/// Fields of one mapping at most: nobody means more, and reading them would take long.
const MOST_FIELDS: usize = 1000;

/// A mapping and where it is. A field that is wrong reads as absent after it was
/// reported: a report with an error discards whatever was read.
pub struct Fields<'t> {
    /// The mapping itself.
    pub node: &'t Node,
    /// Where in the tree it is.
    pub path: Path,
    entries: &'t [Entry],
}

impl<'t> Fields<'t> {
    /// The fields of `node`. Reports anything but a mapping (`what` says which),
    /// keys that are no text, keys that come twice, and more than anybody means.
    pub fn of(node: &'t Node, path: Path, what: &str, report: &mut Report) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            report.error(node.at, &path, format_args!("expected {what}, found {}", node.value.kind()));
            return None;
        };
        if entries.len() > MOST_FIELDS {
            report.error(node.at, &path, format_args!("has {} fields, and {MOST_FIELDS} at most", entries.len()));
            return None;
        }
        let mut first_lines = HashMap::new();
        for entry in entries {
            let Some(key) = &entry.key else {
                report.error(entry.key_at, &path, "expected a text as a key");
                continue;
            };
            if let Some(first) = first_lines.insert(key, entry.key_at.line) {
                report.error(
                    entry.key_at,
                    &path.field(key),
                    format_args!("is given twice: line {first} and line {}", entry.key_at.line),
                );
            }
        }
        Some(Self { node, path, entries })
    }

    /// Every entry with a text for a key, in the order written.
    pub fn entries(&self) -> impl Iterator<Item = (&'t str, &'t Entry)> {
        let entries = self.entries;
        entries.iter().filter_map(|entry| entry.key.as_deref().map(|key| (key, entry)))
    }

    /// The value of a field, if the mapping has it.
    pub fn get(&self, name: &str) -> Option<&'t Node> {
        self.entries().find_map(|(key, entry)| (key == name).then_some(&entry.value))
    }

    /// Reports the fields that are none of `known`: a service refuses them.
    pub fn refuse_unknown(&self, known: &[&str], report: &mut Report) {
        for (key, entry) in self.entries() {
            if known.contains(&key) {
                continue;
            }
            let hint = match closest(key, known) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("known are {}", known.join(", ")),
            };
            report.strict(entry.key_at, &self.path.field(key), format_args!("unknown field; {hint}"));
        }
    }

    /// A scalar field read by `read`, whose error goes after the value. A secret one is not shown.
    pub fn value<T, E: Display>(
        &self,
        name: &str,
        what: &str,
        report: &mut Report,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let node = self.get(name)?;
        let path = self.path.field(name);
        let text = secret_text(node, &path, what, report)?;
        read(text).map_err(|rule| report.error(node.at, &path, format_args!("{} {rule}", shown(node, text)))).ok()
    }

    /// A scalar field that people see wherever it is used, so that it takes no secret.
    pub fn open_value<T, E: Display>(
        &self,
        name: &str,
        what: &str,
        report: &mut Report,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        open_text(self.get(name)?, &self.path.field(name), what, report)?;
        self.value(name, what, report, read)
    }
}

/// The text of a scalar that people see; anything else is reported as not being `what`,
/// and a secret as out of place.
pub fn open_text<'t>(node: &'t Node, path: &Path, what: &str, report: &mut Report) -> Option<&'t str> {
    if node.template.is_some() {
        report.error(
            node.at,
            path,
            "is shown to people, so it takes no ${…}: that is for url, headers, body, and values that are no names",
        );
        return None;
    }
    secret_text(node, path, what, report)
}

/// The text of a scalar that may hold a secret and is never shown; anything else is
/// reported as not being `what`.
pub(crate) fn secret_text<'t>(node: &'t Node, path: &Path, what: &str, report: &mut Report) -> Option<&'t str> {
    if let Value::Scalar(text, _) = &node.value {
        return Some(text);
    }
    report.error(node.at, path, format_args!("expected {what}, found {}", node.value.kind()));
    None
}

/// A value, or a piece of it, for people; of a secret one nothing.
pub(crate) fn shown(node: &Node, text: &str) -> String {
    if node.template.is_some() { "the value (not shown)".to_owned() } else { quoted(text) }
}

/// A value for people: quoted, escaped, not too long. A URL stands in the wrong place without its secrets, too.
pub fn quoted(text: &str) -> String {
    if text.contains("://") {
        return format!("{:?}", redact(text));
    }
    format!("{:?}", shorten(text, SHOWN_CHARS))
}

/// A name for people, up to what ends one: who writes a header in one with its value may have a secret there.
pub(crate) fn name_alone(text: &str, ends: &[char]) -> String {
    match text.split_once(ends) {
        Some((name, _)) => format!("{} and more", quoted(name)),
        None => quoted(text),
    }
}

/// The known name that somebody who wrote `name` probably meant.
pub(super) fn closest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    // The distance is quadratic in the length, and a long name is no typing error. Of two
    // signs neither is closer.
    if name.len() > 40 || !name.contains(char::is_alphanumeric) {
        return None;
    }
    let written = name.to_lowercase().replace('-', "_");
    known
        .iter()
        .map(|known| (strsim::osa_distance(&written, known), *known))
        .min()
        .filter(|(distance, known)| *distance <= 2.min(known.len() / 2))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_the_field_that_was_meant() {
        let known = ["interval", "url", "key", "degraded_after"];
        assert_eq!(closest("intervall", &known), Some("interval"));
        assert_eq!(closest("degraded-after", &known), Some("degraded_after"));
        assert_eq!(closest("URL", &known), Some("url"));
        assert_eq!(closest("ulr", &known), Some("url"));
        assert_eq!(closest("colour", &known), None);
        assert_eq!(closest("x", &known), None);
        assert_eq!(closest("", &known), None);
        assert_eq!(closest("=", &["==", "!="]), None);
    }
}
