//! Texts of the written file: literal text and references to variables.

/// A text whose parts are known to be literal or a reference.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Text {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    /// What stands between `${` and `}`.
    Reference(String),
}

impl Text {
    pub(crate) fn literal(text: impl Into<String>) -> Self {
        Self::default().and(text)
    }

    /// A reference to a variable, or to a file as `file:PATH`.
    pub(crate) fn reference(name: impl Into<String>) -> Self {
        Self { pieces: vec![Piece::Reference(name.into())] }
    }

    /// The same with literal text behind it.
    pub(crate) fn and(mut self, text: impl Into<String>) -> Self {
        let text = text.into();
        match self.pieces.last_mut() {
            Some(Piece::Literal(last)) => last.push_str(&text),
            _ if text.is_empty() => {}
            _ => self.pieces.push(Piece::Literal(text)),
        }
        self
    }

    /// The same with another text behind it.
    pub(crate) fn join(self, other: Self) -> Self {
        other.pieces.into_iter().fold(self, |mut text, piece| match piece {
            Piece::Literal(literal) => text.and(literal),
            reference @ Piece::Reference(_) => {
                text.pieces.push(reference);
                text
            }
        })
    }

    /// The text, if there is no reference in it.
    pub(crate) fn as_literal(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The names of the variables it refers to.
    pub(crate) fn references(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Reference(name) => Some(name.as_str()),
            Piece::Literal(_) => None,
        })
    }

    /// The text with something harmless where its references are, to try its form.
    pub(crate) fn sample(&self) -> String {
        self.sample_with("x")
    }

    /// The text with `value` where its references are.
    pub(crate) fn sample_with(&self, value: &str) -> String {
        self.fold(|literal| literal.to_owned(), |_| value.to_owned())
    }

    /// What stands before and behind the first character that `is` it. References have none.
    pub(crate) fn split_once(&self, is: impl Fn(char) -> bool) -> Option<(Self, char, Self)> {
        self.split(|literal| literal.char_indices().find(|(_, c)| is(*c)), false)
    }

    /// The same with the last one.
    pub(crate) fn rsplit_once(&self, is: impl Fn(char) -> bool) -> Option<(Self, char, Self)> {
        self.split(|literal| literal.char_indices().rfind(|(_, c)| is(*c)), true)
    }

    fn split(&self, find: impl Fn(&str) -> Option<(usize, char)>, from_the_end: bool) -> Option<(Self, char, Self)> {
        let mut places = self.pieces.iter().enumerate().filter_map(|(index, piece)| match piece {
            Piece::Literal(text) => find(text).map(|(at, c)| (index, text, at, c)),
            Piece::Reference(_) => None,
        });
        let (index, text, at, c) = if from_the_end { places.next_back() } else { places.next() }?;
        let part = |pieces: &[Piece]| Self { pieces: pieces.to_vec() };
        let head = part(&self.pieces[..index]).and(&text[..at]);
        let tail = Self::literal(&text[at + c.len_utf8()..]).join(part(&self.pieces[index + 1..]));
        Some((head, c, tail))
    }

    /// Each literal part as what `change` makes of it. It is told whether a reference follows.
    pub(crate) fn replace(self, mut change: impl FnMut(String, bool) -> Self) -> Self {
        let mut text = Self::default();
        let mut pieces = self.pieces.into_iter().peekable();
        while let Some(piece) = pieces.next() {
            text = text.join(match piece {
                Piece::Literal(literal) => change(literal, pieces.peek().is_some()),
                reference @ Piece::Reference(_) => Self { pieces: vec![reference] },
            });
        }
        text
    }

    /// Whether a `$` stands right before a reference. Written, the two mean a literal `${`: there is no way to
    /// write it.
    pub(crate) fn has_dollar_before_reference(&self) -> bool {
        self.pieces
            .windows(2)
            .any(|pair| matches!(pair, [Piece::Literal(text), Piece::Reference(_)] if text.ends_with('$')))
    }

    /// As the file has it: `$` before `{` is doubled where it means no reference.
    pub(crate) fn written(&self) -> String {
        self.fold(|literal| literal.replace("${", "$${"), |name| format!("${{{name}}}"))
    }

    /// As people see it: references as they are written, literal text as it is.
    pub(crate) fn shown(&self) -> String {
        self.fold(|literal| literal.to_owned(), |name| format!("${{{name}}}"))
    }

    /// Each literal part changed by `change`.
    pub(crate) fn map(self, mut change: impl FnMut(String) -> String) -> Self {
        let pieces = self.pieces.into_iter().map(|piece| match piece {
            Piece::Literal(text) => Piece::Literal(change(text)),
            reference @ Piece::Reference(_) => reference,
        });
        Self { pieces: pieces.collect() }
    }

    fn fold(&self, literal: impl Fn(&str) -> String, reference: impl Fn(&str) -> String) -> String {
        self.pieces
            .iter()
            .map(|piece| match piece {
                Piece::Literal(text) => literal(text),
                Piece::Reference(name) => reference(name),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_looks_like_a_reference_is_written_so_that_it_is_none() {
        let text = Text::literal("a ${b} $c ").join(Text::reference("D")).and("/e");
        assert_eq!(text.written(), "a $${b} $c ${D}/e");
        assert_eq!(text.sample(), "a ${b} $c x/e");
        assert_eq!(text.references().collect::<Vec<_>>(), ["D"]);
        assert_eq!(text.as_literal(), None);
        assert_eq!(Text::literal("").as_literal(), Some(""));
    }

    #[test]
    fn a_text_is_split_in_its_literal_parts_only() {
        let text = Text::literal("a:b").join(Text::reference("C:D")).and("e:f");
        let split = |found: Option<(Text, char, Text)>| {
            let (head, c, tail) = found.unwrap();
            (head.written(), c, tail.written())
        };
        assert_eq!(split(text.split_once(|c| c == ':')), ("a".to_owned(), ':', "b${C:D}e:f".to_owned()));
        assert_eq!(split(text.rsplit_once(|c| c == ':')), ("a:b${C:D}e".to_owned(), ':', "f".to_owned()));
        assert_eq!(text.split_once(|c| c == 'D'), None);
        assert!(!text.has_dollar_before_reference());
        assert!(Text::literal("5$").join(Text::reference("A")).has_dollar_before_reference());
    }
}
