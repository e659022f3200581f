//! Reading the fields of somebody else's YAML.

use std::time::Duration;

use settings::ConfigErrors;
use settings::file::{self, Fields, Mode, Node, Path, Report, Value, quoted, tree};

/// A report on a file of another tool.
pub(crate) fn report(name: &str) -> Report<'_> {
    Report::new(name, Mode::Service)
}

/// The tree of a document.
///
/// # Errors
/// It is too large, not UTF-8 or no YAML.
pub(crate) fn document(name: &str, text: &[u8]) -> Result<Node, ConfigErrors> {
    let text = file::utf8(name, text)?;
    tree::parse(text).map_err(|error| {
        let mut report = report(name);
        report.error(error.at.unwrap_or_default(), &Path::root(), error.message);
        report.finish().err().unwrap_or_else(|| ConfigErrors::whole("not valid YAML"))
    })
}

/// Fields by kind. What is of the wrong kind is reported and reads as absent; so does nothing (`~`).
pub(crate) trait Typed<'t> {
    fn node(&self, name: &str) -> Option<&'t Node>;
    fn text(&self, name: &str, report: &mut Report) -> Option<&'t str>;
    fn flag(&self, name: &str, report: &mut Report) -> Option<bool>;
    fn duration(&self, name: &str, report: &mut Report) -> Option<Duration>;
    fn list(&self, name: &str, report: &mut Report) -> &'t [Node];
    fn map(&self, name: &str, report: &mut Report) -> Option<Fields<'t>>;
    /// The texts of a list.
    fn texts(&self, name: &str, report: &mut Report) -> Vec<(&'t Node, &'t str)>;
    /// The entries of a mapping of texts, with their lines.
    fn pairs(&self, name: &str, report: &mut Report) -> Vec<(&'t str, &'t str, u64)>;
    /// The line a field stands on, or else the whole mapping.
    fn line(&self, name: &str) -> u64;
}

impl<'t> Typed<'t> for Fields<'t> {
    fn node(&self, name: &str) -> Option<&'t Node> {
        self.get(name).filter(|node| node.value != Value::Null)
    }

    fn text(&self, name: &str, report: &mut Report) -> Option<&'t str> {
        file::open_text(self.node(name)?, &self.path.field(name), "a text", report)
    }

    fn flag(&self, name: &str, report: &mut Report) -> Option<bool> {
        self.node(name)?;
        self.value(name, "true or false", report, |text| match text.to_lowercase().as_str() {
            "true" | "yes" | "on" => Ok(true),
            "false" | "no" | "off" => Ok(false),
            _ => Err("is neither true nor false"),
        })
    }

    fn duration(&self, name: &str, report: &mut Report) -> Option<Duration> {
        self.node(name)?;
        self.value(name, "a duration", report, |text| {
            crate::duration::parse(text).ok_or("is not a duration such as 30s or 1m30s")
        })
    }

    fn list(&self, name: &str, report: &mut Report) -> &'t [Node] {
        match self.node(name) {
            None => &[],
            Some(Node { value: Value::List(items), .. }) => items,
            Some(node) => {
                let found = node.value.kind();
                report.error(node.at, &self.path.field(name), format_args!("expected a list, found {found}"));
                &[]
            }
        }
    }

    fn map(&self, name: &str, report: &mut Report) -> Option<Fields<'t>> {
        Fields::of(self.node(name)?, self.path.field(name), "a mapping", report)
    }

    fn texts(&self, name: &str, report: &mut Report) -> Vec<(&'t Node, &'t str)> {
        let path = self.path.field(name);
        let items = self.list(name, report).iter().enumerate();
        items
            .filter_map(|(index, node)| Some((node, file::open_text(node, &path.index(index), "a text", report)?)))
            .collect()
    }

    fn pairs(&self, name: &str, report: &mut Report) -> Vec<(&'t str, &'t str, u64)> {
        let Some(fields) = self.map(name, report) else { return Vec::new() };
        let entries = fields.entries();
        entries
            .filter_map(|(key, entry)| match &entry.value.value {
                Value::Null => Some((key, "", entry.key_at.line)),
                _ => {
                    let text = file::open_text(&entry.value, &fields.path.field(key), "a text", report)?;
                    Some((key, text, entry.key_at.line))
                }
            })
            .collect()
    }

    fn line(&self, name: &str) -> u64 {
        let own = self.entries().find(|(key, _)| *key == name).map(|(_, entry)| entry.key_at.line);
        own.unwrap_or(self.node.at.line)
    }
}

/// Reports a field that must be there.
pub(crate) fn missing(fields: &Fields, name: &str, report: &mut Report) {
    report.error(fields.node.at, &fields.path.field(name), "is missing");
}

/// A piece of the source for people.
pub(crate) fn shown(text: &str) -> String {
    quoted(text)
}
