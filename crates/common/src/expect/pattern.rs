//! Regular expressions that cannot be made slow, neither by who writes them nor by what is searched.

use std::fmt;

use regex::{Regex, RegexBuilder};
use regex_syntax::ast::Span;

use super::MAX_TEXT;

/// The most memory a compiled pattern may take, in bytes. Large counted repetitions reach it.
const MAX_COMPILED: usize = 1 << 20;

/// A regular expression, compiled once. Searching takes time in proportion to the text.
#[derive(Clone)]
pub struct Pattern(Regex);

/// Why a text is no pattern. Reads on from the text, and shows nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum PatternError {
    #[error("is over {MAX_TEXT} bytes long")]
    TooLong,
    #[error("is no regular expression: column {column}: {reason}")]
    Syntax { column: usize, reason: String },
    #[error("is a regular expression too large to be kept: use smaller repetitions")]
    TooLarge,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// [`PatternError`] says where it is wrong, counted in characters from 1.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.len() > MAX_TEXT {
            return Err(PatternError::TooLong);
        }
        // The compiler draws a picture of many lines; its parser tells the same as a column.
        let at = |span: &Span, reason: String| PatternError::Syntax {
            column: text.get(..span.start.offset).map_or(1, |before| before.chars().count() + 1),
            reason,
        };
        match regex_syntax::parse(text) {
            Ok(_) => {}
            Err(regex_syntax::Error::Parse(error)) => return Err(at(error.span(), error.kind().to_string())),
            Err(regex_syntax::Error::Translate(error)) => return Err(at(error.span(), error.kind().to_string())),
            Err(other) => return Err(PatternError::Syntax { column: 1, reason: one_line(&other.to_string()) }),
        }
        RegexBuilder::new(text).size_limit(MAX_COMPILED).build().map(Self).map_err(|error| match error {
            regex::Error::Syntax(reason) => PatternError::Syntax { column: 1, reason: one_line(&reason) },
            _ => PatternError::TooLarge,
        })
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether it is found anywhere in `text`.
    pub fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// What it finds first in `text`, and at which byte.
    pub fn find<'t>(&self, text: &'t str) -> Option<(usize, &'t str)> {
        self.0.find(text).map(|found| (found.start(), found.as_str()))
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_pattern_is_named_by_its_column() {
        let cases = [
            ("a(b", 2, "unclosed group"),
            ("é[", 2, "unclosed character class"),
            ("a**b{2,1}", 5, "invalid repetition count range, the start must be <= the end"),
            ("*", 1, "repetition operator missing expression"),
            (r"a\pQ", 2, "Unicode property not found"),
            (r"(a)\1", 4, "backreferences are not supported"),
            ("(?=a)", 1, "look-around, including look-ahead and look-behind, is not supported"),
        ];
        for (text, column, reason) in cases {
            let expected = PatternError::Syntax { column, reason: reason.to_owned() };
            assert_eq!(Pattern::parse(text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn a_pattern_that_would_take_much_memory_is_refused() {
        assert_eq!(Pattern::parse(&"a".repeat(1_000_000)).unwrap_err(), PatternError::TooLong);
        for text in ["(a{1000}){1000}", r"(\w{100}){100}", "((((a{99}){99}){99}){99})"] {
            assert_eq!(Pattern::parse(text).unwrap_err(), PatternError::TooLarge, "{text}");
        }
        assert!(Pattern::parse(&"(".repeat(4_000)).is_err());
    }
}
