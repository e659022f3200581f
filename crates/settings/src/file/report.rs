//! What is wrong with a file, each problem with its place in it.

use std::collections::HashSet;
use std::fmt::{self, Display};

use super::Mode;
use super::tree::Place;

/// Everything that is wrong with a configuration file, in the order of the file;
/// one problem a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines.join("\n"))]
pub struct ConfigErrors {
    lines: Vec<String>,
    warnings: Vec<String>,
}

impl ConfigErrors {
    /// The problems, one each, such as
    /// `config.yaml:14:15: targets[3].interval: "5ms" is below the minimum 1s`. Below broken
    /// YAML are two lines more: what stands there, without what may be secret, and a caret.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// What is accepted but probably not meant, in the same form: whoever mends the file wants to know all of it.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// A problem with the file as a whole.
    pub fn whole(problem: impl Display) -> Self {
        Self { lines: vec![problem.to_string()], warnings: Vec::new() }
    }
}

/// One problem of a value that came as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where: a JSON pointer (RFC 6901).
    pub pointer: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// Collects problems while a file is read.
#[derive(Debug)]
pub struct Report<'n> {
    name: &'n str,
    mode: Mode,
    errors: Vec<(Place, String)>,
    /// The same, for whoever has no lines.
    findings: Vec<Finding>,
    warnings: Vec<(Place, String)>,
    /// Values that nothing more is said about.
    spoilt: HashSet<Place>,
}

impl<'n> Report<'n> {
    /// A report on the file of this name, without a problem so far.
    pub fn new(name: &'n str, mode: Mode) -> Self {
        Self { name, mode, errors: Vec::new(), findings: Vec::new(), warnings: Vec::new(), spoilt: HashSet::new() }
    }

    /// Who reads the file.
    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// Notes what makes the file unusable. `message` must show no secret.
    pub fn error(&mut self, at: Place, path: &Path, message: impl Display) {
        if self.spoilt.contains(&at) {
            return;
        }
        let message = message.to_string();
        let line = self.line(at, path, &message);
        self.errors.push((at, line));
        self.findings.push(Finding { pointer: path.pointer.clone(), message });
    }

    /// Notes what is accepted but probably not meant. `message` must show no secret.
    pub fn warning(&mut self, at: Place, path: &Path, message: impl Display) {
        let line = self.line(at, path, message);
        self.warnings.push((at, line));
    }

    /// Notes that a value could not be had at all. What follows from that is not noted.
    pub fn spoilt(&mut self, at: Place, path: &Path, message: impl Display) {
        self.error(at, path, message);
        self.spoilt.insert(at);
    }

    /// Notes what a service must not start with, and a single run may.
    pub fn strict(&mut self, at: Place, path: &Path, message: impl Display) {
        match self.mode {
            Mode::Service => self.error(at, path, message),
            Mode::OneOff => self.warning(at, path, message),
        }
    }

    fn line(&self, at: Place, path: &Path, message: impl Display) -> String {
        let mut line = self.name.to_owned();
        if at != Place::default() {
            line.push_str(&format!(":{}:{}", at.line, at.column));
        }
        if !path.text.is_empty() {
            line.push_str(&format!(": {path}"));
        }
        format!("{line}: {message}")
    }

    /// Every error noted, in the order found.
    pub(crate) fn findings(self) -> Vec<Finding> {
        self.findings
    }

    /// The warnings.
    ///
    /// # Errors
    /// Every error noted, if there is one, and the warnings with them.
    pub fn finish(mut self) -> Result<Vec<String>, ConfigErrors> {
        let warnings = in_order(&mut self.warnings);
        if self.errors.is_empty() {
            Ok(warnings)
        } else {
            Err(ConfigErrors { lines: in_order(&mut self.errors), warnings })
        }
    }
}

fn in_order(lines: &mut Vec<(Place, String)>) -> Vec<String> {
    lines.sort_by_key(|(at, _)| *at);
    lines.drain(..).map(|(_, line)| line).collect()
}

/// Where in the tree a value is: `targets[3].interval`, or `/targets/3/interval`.
#[derive(Debug, Clone, Default)]
pub struct Path {
    text: String,
    pointer: String,
}

impl Path {
    /// The document itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// An item of the list at this path.
    pub fn index(&self, index: usize) -> Self {
        Self { text: format!("{}[{index}]", self.text), pointer: format!("{}/{index}", self.pointer) }
    }

    /// A field of the mapping at this path.
    pub fn field(&self, name: &str) -> Self {
        let shown = name.escape_debug();
        Self {
            text: if self.text.is_empty() { shown.to_string() } else { format!("{}.{shown}", self.text) },
            pointer: format!("{}/{}", self.pointer, name.replace('~', "~0").replace('/', "~1")),
        }
    }
}

impl Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
