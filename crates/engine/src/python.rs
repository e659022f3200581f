//! The Python form of a dict or a list: what `repr` prints.
//!
//! Dicts with string keys, lists, strings, numbers as in JSON, `True`, `False` and
//! `None`. Space and tab may stand between them. Nothing is evaluated.

use std::borrow::Cow;

use memchr::memchr2;

use crate::fields::{Field, Fields};

/// Reads a dict for the members in `names`; others may hold anything. `None` if
/// the text is something else.
pub(crate) fn dict<'a, const N: usize>(text: &'a str, names: [&str; N]) -> Option<Fields<'a, N>> {
    let mut scanner = Scanner { text, at: 0 };
    let mut fields = [const { None }; N];
    scanner.items(b'{', b'}', |scanner| {
        let name = scanner.key()?;
        let value = scanner.value()?;
        if let Some(index) = names.iter().position(|wanted| *wanted == name) {
            fields[index] = Some(decode(value)?);
        }
        Some(())
    })?;
    Some(fields)
}

/// Reads a list, each item as it is written. `None` if the text is something else.
pub(crate) fn list(text: &str) -> Option<Vec<&str>> {
    let mut scanner = Scanner { text, at: 0 };
    let mut items = Vec::new();
    scanner.items(b'[', b']', |scanner| {
        items.push(scanner.value()?);
        Some(())
    })?;
    Some(items)
}

fn decode(value: &str) -> Option<Field<'_>> {
    Some(match value.as_bytes().first()? {
        b'\'' | b'"' => Field::Text(Scanner { text: value, at: 0 }.string()?),
        b'-' | b'0'..=b'9' => Field::Number(value),
        _ => Field::Other,
    })
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    /// The outermost dict or list; nothing may follow it.
    fn items(&mut self, open: u8, close: u8, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        if !self.eat(open) {
            return None;
        }
        self.blanks();
        if !self.eat(close) {
            loop {
                item(self)?;
                self.blanks();
                if self.eat(close) {
                    break;
                }
                if !self.eat(b',') {
                    return None;
                }
                self.blanks();
            }
        }
        self.blanks();
        (self.at == self.text.len()).then_some(())
    }

    /// A key with its colon.
    fn key(&mut self) -> Option<Cow<'a, str>> {
        let key = self.string()?;
        self.blanks();
        if !self.eat(b':') {
            return None;
        }
        self.blanks();
        Some(key)
    }

    /// Checks one value and gives it as it is written. Has no recursion, so that
    /// no depth is too deep.
    fn value(&mut self) -> Option<&'a str> {
        let start = self.at;
        // The brackets that are awaited.
        let mut open = Vec::new();
        loop {
            match self.peek()? {
                bracket @ (b'{' | b'[') => {
                    self.at += 1;
                    self.blanks();
                    let close = if bracket == b'{' { b'}' } else { b']' };
                    if !self.eat(close) {
                        open.push(close);
                        if close == b'}' {
                            self.key()?;
                        }
                        continue;
                    }
                }
                b'\'' | b'"' => {
                    self.string()?;
                }
                b'-' | b'0'..=b'9' => self.number()?,
                _ => self.word()?,
            }
            // Here a value has ended; see which others end with it.
            loop {
                let Some(&close) = open.last() else {
                    return Some(&self.text[start..self.at]);
                };
                self.blanks();
                if self.eat(b',') {
                    self.blanks();
                    if close == b'}' {
                        self.key()?;
                    }
                    break;
                }
                if !self.eat(close) {
                    return None;
                }
                open.pop();
            }
        }
    }

    fn word(&mut self) -> Option<()> {
        let rest = &self.text[self.at..];
        let word = ["True", "False", "None"].into_iter().find(|word| rest.starts_with(word))?;
        self.at += word.len();
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _ = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        Some(())
    }

    fn string(&mut self) -> Option<Cow<'a, str>> {
        let quote = self.peek().filter(|byte| matches!(byte, b'\'' | b'"'))?;
        self.at += 1;
        let mut decoded = String::new();
        loop {
            let rest = &self.text[self.at..];
            // Both are ASCII, so they are never part of another character.
            let length = memchr2(quote, b'\\', rest.as_bytes())?;
            self.at += length + 1;
            let plain = &rest[..length];
            if rest.as_bytes()[length] == quote {
                return Some(if decoded.is_empty() { Cow::Borrowed(plain) } else { Cow::Owned(decoded + plain) });
            }
            decoded.push_str(plain);
            let escape = self.peek()?;
            self.at += 1;
            decoded.push(match escape {
                b'\\' | b'\'' | b'"' => char::from(escape),
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                b'x' => self.character(2)?,
                b'u' => self.character(4)?,
                b'U' => self.character(8)?,
                _ => return None,
            });
        }
    }

    /// The character of a number in so many hexadecimal digits.
    fn character(&mut self, length: usize) -> Option<char> {
        let digits = self.text.as_bytes().get(self.at..self.at + length)?;
        self.at += length;
        let mut number = 0;
        for digit in digits {
            number = number << 4 | char::from(*digit).to_digit(16)?;
        }
        char::from_u32(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Option<Option<Field<'_>>> {
        dict(text, ["a"]).map(|[field]| field)
    }

    #[test]
    fn strings_know_the_escapes_of_repr_and_no_other() {
        let cases = [
            (r"{'a': 'x'}", "x"),
            (r#"{"a" :	"it's" }"#, "it's"),
            (r#"{'a': 'say "hi"'}"#, "say \"hi\""),
            (r#"{'a': '\\\'\" \n\r\t \x41\xe9 \u20ac \U0001F600'}"#, "\\'\" \n\r\t A\u{e9} \u{20ac} \u{1F600}"),
            (r"{'b': {'a': 'no'}, 'a': 'no', 'a': 'yes'}", "yes"),
            ("{'a': ''}", ""),
            (r"{'a': '\x27\x5c'}", r"'\"),
        ];
        for (text, expected) in cases {
            assert_eq!(one(text), Some(Some(Field::Text(Cow::Borrowed(expected)))), "{text}");
        }
        for text in [
            r"{'a': '\a'}",
            r"{'a': '\0'}",
            r"{'a': '\x4'}",
            r"{'a': '\ud800'}",
            r"{'a': '\U00110000'}",
            r"{'a': '\N{DASH}'}",
            r"{'a': '\u12é4'}",
            r"{'a': '\/'}",
            r"{'a': '\'}",
            "{'a': 'x",
            r"{'a': 'x\",
            r#"{'a': 'x"}"#,
        ] {
            assert_eq!(one(text), None, "{text}");
        }
    }

    #[test]
    fn values_are_those_of_json_with_pythons_words() {
        for text in ["True", "False", "None", "[]", "{}", "[1, 'x', [None], {'y': -0.5e-7}]", "{'x': {}, 'y': []}"] {
            assert_eq!(one(&format!("{{'a': {text}}}")).map(|field| field.is_some()), Some(true), "{text}");
        }
        assert_eq!(one("{'a': -1.5E+3}"), Some(Some(Field::Number("-1.5E+3"))));
        assert_eq!(one("{ }"), Some(None));
        for text in [
            "true",
            "null",
            "01",
            "1.",
            ".5",
            "+1",
            "1_000",
            "0x1",
            "1e",
            "nan",
            "(1,)",
            "[1,]",
            "{'x': 1,}",
            "{'x'}",
            "{1: 2}",
            "b'x'",
            "r'x'",
            "'x' 'y'",
            "[1 2]",
            "[,]",
            "{,}",
            "'x'.y",
            "1 # one",
            "[1",
            "{'x': [}",
            "--1",
            "Nonesuch",
            "",
            "1, ,",
            "[1\n]",
        ] {
            assert_eq!(one(&format!("{{'a': {text}}}")), None, "{text}");
        }
        for text in ["{} {}", "{},", "x{}", " {}", "{", "}", "[]", "{'a': 1}}"] {
            assert_eq!(one(text), None, "{text}");
        }
    }

    #[test]
    fn lists_give_each_item_as_it_is_written() {
        assert_eq!(list("[1, {'x': [2, 3]} ,'y']"), Some(vec!["1", "{'x': [2, 3]}", "'y'"]));
        assert_eq!(list("[ ]"), Some(vec![]));
        assert_eq!(list("[1,]"), None);
    }

    #[test]
    fn no_depth_is_too_deep() {
        let deep = format!("{{'a': {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(one(&deep), Some(Some(Field::Other)));
        assert_eq!(one(&"{'a':".repeat(100_000)), None);
    }
}
