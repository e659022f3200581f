//! JSON paths (RFC 9535) that take time in proportion to the document.

use std::fmt;

use serde_json::Value;

use super::{MAX_TEXT, cut};

/// A JSON path, parsed once.
#[derive(Clone, PartialEq, Eq)]
pub struct JsonPath {
    written: String,
    path: serde_json_path::JsonPath,
}

/// Why a text is no JSON path. Reads on from the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum JsonPathError {
    #[error("is over {MAX_TEXT} bytes long")]
    TooLong,
    #[error("is no JSON path: column {column}: expected {expected}")]
    Syntax { column: usize, expected: &'static str },
    #[error("is no JSON path: column {column}: {reason}")]
    Inside { column: usize, reason: String },
    #[error("is a JSON path that may take very long: {0}")]
    TooCostly(&'static str),
}

impl JsonPath {
    /// Parses a path such as `$.items[0].name`.
    ///
    /// # Errors
    /// [`JsonPathError`] says at which column, in characters from 1, what was expected.
    pub fn parse(text: &str) -> Result<Self, JsonPathError> {
        if text.len() > MAX_TEXT {
            return Err(JsonPathError::TooLong);
        }
        // Before the parser, which goes as deep as the filters do.
        if let Some(reason) = costly(text) {
            return Err(JsonPathError::TooCostly(reason));
        }
        match serde_json_path::JsonPath::parse(text) {
            Ok(path) => Ok(Self { written: text.to_owned(), path }),
            // The parser only knows the segment in which it lost its way.
            Err(error) => Err(match Scan::of(text) {
                Err((column, expected)) => JsonPathError::Syntax { column, expected },
                Ok(()) => JsonPathError::Inside {
                    column: text.get(..error.position()).map_or(1, |before| before.chars().count() + 1),
                    reason: inside(error.message()),
                },
            }),
        }
    }

    /// The path as written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// What it selects, in the order of the document.
    pub fn select<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        self.path.query(value).all()
    }
}

impl fmt::Debug for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.written)
    }
}

/// Why a path could take more time than in proportion to the document, if it could.
///
/// A part of it that looks at everything (`..`, or `$` within a filter) is fine once,
/// and twice it is the square. (`match()` and `search()` are not known here at all: their
/// patterns could come from the document.)
fn costly(path: &str) -> Option<&'static str> {
    let mut bare = String::new();
    let mut quote = None;
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        match quote {
            Some(_) if c == '\\' => drop(chars.next()),
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None => bare.push(c),
        }
    }
    if bare.matches("..").count() > 1 {
        Some("use .. once at most")
    } else if bare.matches('$').count() > 1 {
        Some("use $ only at the beginning")
    } else if bare.matches([',', '?', '(', '!']).count() > 16 {
        Some("use fewer commas and conditions")
    } else {
        None
    }
}

/// The parser's reason, less its name for the place and what says nothing.
fn inside(message: &str) -> String {
    let reason = message.rsplit_once(" segment, ").map_or(message, |(_, reason)| reason);
    if reason == "parser error" { "this is not understood".to_owned() } else { cut(reason, 200) }
}

/// Looks for the first place at which a path goes wrong, the insides of filters left out.
struct Scan<'t> {
    rest: std::iter::Peekable<std::str::Chars<'t>>,
    column: usize,
}

/// A column, and what was expected there.
type Wrong = (usize, &'static str);

const SELECTOR: &str = "a name in quotes, a number, *, or a ?filter";

impl Scan<'_> {
    fn of(text: &str) -> Result<(), Wrong> {
        let mut scan = Scan { rest: text.chars().peekable(), column: 1 };
        if !scan.take('$') {
            return Err((1, "$"));
        }
        loop {
            scan.skip_space();
            match scan.rest.peek() {
                None => return Ok(()),
                Some('.') => scan.dots()?,
                Some('[') => scan.brackets()?,
                Some(_) => return Err((scan.column, "., [ or the end")),
            }
        }
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest.next();
        self.column += usize::from(next.is_some());
        next
    }

    fn take(&mut self, wanted: char) -> bool {
        let there = self.rest.peek() == Some(&wanted);
        if there {
            self.next();
        }
        there
    }

    fn skip_space(&mut self) {
        while self.rest.peek().is_some_and(|c| matches!(c, ' ' | '\t' | '\n' | '\r')) {
            self.next();
        }
    }

    fn dots(&mut self) -> Result<(), Wrong> {
        self.next();
        let is_descent = self.take('.');
        match self.rest.peek() {
            Some('*') => drop(self.next()),
            Some('[') if is_descent => {}
            Some(c) if c.is_ascii_alphabetic() || *c == '_' || !c.is_ascii() => {
                while self.rest.peek().is_some_and(|c| c.is_ascii_alphanumeric() || *c == '_' || !c.is_ascii()) {
                    self.next();
                }
            }
            _ if is_descent => return Err((self.column, "a name, * or [")),
            _ => return Err((self.column, "a name or *")),
        }
        Ok(())
    }

    fn brackets(&mut self) -> Result<(), Wrong> {
        self.next();
        loop {
            self.skip_space();
            match self.rest.peek() {
                Some('*') => drop(self.next()),
                Some('"' | '\'') => self.quoted()?,
                Some('?') => return self.filter(),
                Some('-' | ':' | '0'..='9') => self.numbers(),
                _ => return Err((self.column, SELECTOR)),
            }
            self.skip_space();
            if self.take(']') {
                return Ok(());
            }
            if !self.take(',') {
                return Err((self.column, "] or ,"));
            }
        }
    }

    /// An index, or a slice of up to three.
    fn numbers(&mut self) {
        loop {
            while self.rest.peek().is_some_and(|c| matches!(c, '-' | '0'..='9')) {
                self.next();
            }
            self.skip_space();
            if !self.take(':') {
                return;
            }
            self.skip_space();
        }
    }

    fn quoted(&mut self) -> Result<(), Wrong> {
        let open = self.next();
        loop {
            match self.next() {
                None => return Err((self.column, "the closing quote")),
                Some('\\') => drop(self.next()),
                c if c == open => return Ok(()),
                Some(_) => {}
            }
        }
    }

    /// To the bracket that ends it.
    fn filter(&mut self) -> Result<(), Wrong> {
        let mut open = 1;
        while open > 0 {
            match self.rest.peek() {
                None => return Err((self.column, "]")),
                Some('"' | '\'') => self.quoted()?,
                Some(c) => {
                    open += i32::from(*c == '[') - i32::from(*c == ']');
                    self.next();
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn selected(path: &str, value: &Value) -> Vec<Value> {
        JsonPath::parse(path).unwrap().select(value).into_iter().cloned().collect()
    }

    #[test]
    fn a_path_selects_values_in_the_order_of_the_document() {
        let value = json!({"a": {"b": [1, 2, {"c": 3}]}, "é $..x": null, "list": [{"n": 1, "up": true}, {"n": 2}]});
        assert_eq!(selected("$.a.b[0]", &value), [json!(1)]);
        assert_eq!(selected("$.a.b[-1].c", &value), [json!(3)]);
        assert_eq!(selected("$.a.b[:2]", &value), [json!(1), json!(2)]);
        assert_eq!(selected("$['é $..x']", &value), [Value::Null]);
        assert_eq!(selected("$.list[*].n", &value), [json!(1), json!(2)]);
        assert_eq!(selected("$.list[?@.n == 1].up", &value), [json!(true)]);
        assert_eq!(selected("$[?length(@) == 2][0].n", &value), [json!(1)]);
        assert_eq!(selected("$..c", &value), [json!(3)]);
        assert_eq!(selected("$", &json!(7)), [json!(7)]);
        assert!(selected("$.nothing[3].here", &value).is_empty());
    }

    #[test]
    fn what_is_no_path_is_named_by_its_column_and_what_was_expected() {
        let cases = [
            ("", 1, "$"),
            ("a.b", 1, "$"),
            ("@.a", 1, "$"),
            ("$a", 2, "., [ or the end"),
            ("$.a b", 5, "., [ or the end"),
            ("$.é]", 4, "., [ or the end"),
            ("$.", 3, "a name or *"),
            ("$.a-b", 4, "., [ or the end"),
            ("$.a.1", 5, "a name or *"),
            ("$..", 4, "a name, * or ["),
            ("$.a[", 5, SELECTOR),
            ("$.a[b]", 5, SELECTOR),
            ("$.a[1", 6, "] or ,"),
            ("$.a[1 2]", 7, "] or ,"),
            ("$.a[1:2: 3 4]", 12, "] or ,"),
            ("$.a['b", 7, "the closing quote"),
            ("$.a['b'", 8, "] or ,"),
            ("$.a[?@.b == 1", 14, "]"),
        ];
        for (path, column, expected) in cases {
            match JsonPath::parse(path) {
                Err(error) => assert_eq!(error, JsonPathError::Syntax { column, expected }, "{path}"),
                Ok(_) => panic!("{path} was accepted"),
            }
        }
    }

    #[test]
    fn a_filter_that_is_wrong_is_named_by_its_column() {
        let cases = [
            ("$.a[?]", "column 6: this is not understood"),
            ("$.a[?@.b ==]", "column 10: expected closing ']'"),
            ("$.é[?match(@.b, 'x')]", "column 6: function name 'match' is not defined"),
            ("$[99999999999999999999]", "column 2: this is not understood"),
            (r"$['\q']", "column 4: expected an ending quote"),
        ];
        for (path, expected) in cases {
            let error = JsonPath::parse(path).unwrap_err().to_string();
            assert_eq!(error, format!("is no JSON path: {expected}"), "{path}");
        }
    }

    #[test]
    fn a_path_that_could_take_the_square_of_the_document_is_refused() {
        let many = format!("${}", "[?@".repeat(1_300));
        let commas = format!("$[{}0]", "0,".repeat(20));
        for path in ["$..a..b", "$[?$.a]", &many, &commas] {
            assert!(matches!(JsonPath::parse(path), Err(JsonPathError::TooCostly(_))), "{path}");
        }
        assert!(JsonPath::parse(r#"$['a..b..c']["$"]['it\'s ..']..x"#).is_ok());
        assert_eq!(JsonPath::parse(&format!("$.{}", "a".repeat(5_000))), Err(JsonPathError::TooLong));
        assert!(JsonPath::parse(&"[".repeat(4_000)).is_err());
        assert!(JsonPath::parse(&format!("${}", "[".repeat(4_000))).is_err());
    }
}
