//! Problems with what people wrote, collected so that all of them are reported
//! at once.

use std::fmt::Display;

use crate::file::ConfigErrors;
use crate::urls::shorten;

/// The longest piece of a wrong value that is shown, in characters.
const SHOWN_CHARS: usize = 120;

/// A collector of problems, one line each.
#[derive(Debug, Default)]
pub struct Problems {
    lines: Vec<String>,
}

/// Everything that was wrong, one problem a line. A binary prints it to standard
/// error and exits with status 2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines.join("\n"))]
pub struct SettingsError {
    lines: Vec<String>,
}

impl SettingsError {
    /// A single problem, found after the settings were read. Line breaks are made spaces.
    pub fn one(problem: impl Display) -> Self {
        Self { lines: vec![problem.to_string().replace(['\n', '\r'], " ")] }
    }

    /// The problems, one a line.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

impl Problems {
    /// No problem yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a value that breaks a rule: `LOG_FORMAT (--log-format): "xml" is neither text nor json`.
    ///
    /// The value is shown, so it must hold no secret. `rule` reads on from the value.
    pub fn value(&mut self, var: &str, flag: &str, raw: &str, rule: impl Display) {
        let raw = shorten(raw, SHOWN_CHARS);
        self.line(format_args!("{var} ({flag}): {raw:?} {rule}"));
    }

    /// Notes a secret value that breaks a rule, without showing it.
    pub fn secret(&mut self, var: &str, flag: &str, rule: impl Display) {
        self.line(format_args!("{var} ({flag}): the value (not shown) {rule}"));
    }

    /// Notes a problem in words of its own. Line breaks are made spaces.
    pub fn line(&mut self, problem: impl Display) {
        self.lines.push(problem.to_string().replace(['\n', '\r'], " "));
    }

    /// Notes everything that is wrong with a file, under what is only probably not meant.
    pub fn file(&mut self, errors: &ConfigErrors) {
        for warning in errors.warnings() {
            self.line(format_args!("warning: {warning}"));
        }
        // Below broken YAML stand lines of the file, which stay lines.
        for line in errors.lines().iter().flat_map(|problem| problem.lines()) {
            self.line(line);
        }
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// How many problems there are so far.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Ends the collection.
    ///
    /// # Errors
    /// [`SettingsError`] with every problem noted, if there is one.
    pub fn finish(self) -> Result<(), SettingsError> {
        if self.lines.is_empty() { Ok(()) } else { Err(SettingsError { lines: self.lines }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_reported_one_a_line() {
        let mut problems = Problems::new();
        problems.value("POLLING_INTERVAL", "--interval", "a\"b\n", "is not a duration");
        problems.secret("API_TOKEN", "--api-token", "is too short");
        problems.line("two\nlines");
        assert_eq!(problems.len(), 3);
        assert_eq!(
            problems.finish().unwrap_err().to_string(),
            "POLLING_INTERVAL (--interval): \"a\\\"b\\n\" is not a duration\n\
             API_TOKEN (--api-token): the value (not shown) is too short\n\
             two lines"
        );
    }

    #[test]
    fn without_a_problem_there_is_no_error() {
        assert_eq!(Problems::new().finish(), Ok(()));
    }

    #[test]
    fn a_very_long_value_is_cut() {
        let mut problems = Problems::new();
        problems.value("X", "--x", &"é".repeat(5_000), "is wrong");
        assert!(problems.finish().unwrap_err().to_string().len() < 400);
    }
}
