//! What an import could not carry over.

use std::collections::{HashMap, HashSet};
use std::fmt;

/// Everything that is not in the written file, or not as it was, with its place and what to do instead.
#[derive(Debug, Default)]
pub struct Notes {
    notes: Vec<Note>,
    /// Where each is in `notes`.
    index: HashMap<(Kind, String, String), usize>,
    /// The places that a note has.
    seen: HashSet<(usize, Place)>,
}

/// The same thing said of several places is one note.
#[derive(Debug)]
struct Note {
    kind: Kind,
    /// The field and what is to be said of it.
    field: String,
    message: String,
    places: Vec<Place>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// The whole endpoint is missing.
    LeftOut,
    /// A field of it is missing.
    NotCarried,
    /// It is there, but not quite the same.
    Changed,
}

/// Where something was: the name of an endpoint and its line, if there is one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) line: Option<u64>,
}

impl Place {
    pub(crate) fn new(name: impl Into<String>, line: u64) -> Self {
        Self { name: name.into(), line: (line > 0).then_some(line) }
    }

    /// The same, on another line.
    pub(crate) fn at(&self, line: u64) -> Self {
        Self::new(&self.name, line)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.name)?;
        self.line.map_or(Ok(()), |line| write!(f, " (line {line})"))
    }
}

impl Notes {
    pub(crate) fn add(&mut self, kind: Kind, place: &Place, field: &str, message: impl fmt::Display) {
        let message = message.to_string();
        let next = self.notes.len();
        let index = *self.index.entry((kind, field.to_owned(), message.clone())).or_insert(next);
        if index == next {
            self.notes.push(Note { kind, field: field.to_owned(), message, places: Vec::new() });
        }
        if self.seen.insert((index, place.clone())) {
            self.notes[index].places.push(place.clone());
        }
    }

    /// Notes that an endpoint is missing.
    pub(crate) fn left_out(&mut self, place: &Place, reason: impl fmt::Display) {
        self.add(Kind::LeftOut, place, "", reason);
    }

    /// Notes that a field is missing.
    pub(crate) fn not_carried(&mut self, place: &Place, field: &str, advice: impl fmt::Display) {
        self.add(Kind::NotCarried, place, field, advice);
    }

    /// Notes that a field is there in another way.
    pub(crate) fn changed(&mut self, place: &Place, field: &str, how: impl fmt::Display) {
        self.add(Kind::Changed, place, field, how);
    }

    /// How many different things there are to say.
    pub fn len(&self) -> usize {
        self.notes.len()
    }

    /// Whether everything was carried over.
    pub fn is_empty(&self) -> bool {
        self.notes.is_empty()
    }
}

impl fmt::Display for Notes {
    /// Under a heading for each kind, each thing once with all its places.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            (Kind::LeftOut, "Left out:"),
            (Kind::NotCarried, "Not carried over:"),
            (Kind::Changed, "Carried over, but not quite the same:"),
        ];
        for (kind, heading) in kinds {
            let mut notes = self.notes.iter().filter(|note| note.kind == kind).peekable();
            if notes.peek().is_some() {
                writeln!(f, "{heading}")?;
            }
            for note in notes {
                let colon = if note.field.is_empty() { "" } else { ": " };
                writeln!(f, "  {}{colon}{}", note.field, note.message)?;
                let places: Vec<_> = note.places.iter().map(Place::to_string).collect();
                writeln!(f, "      {}", places.join(", "))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_thing_is_said_once_with_all_its_places() {
        let mut notes = Notes::default();
        notes.not_carried(&Place::new("a", 3), "alerts", "do it elsewhere");
        notes.left_out(&Place::new("b\n", 0), "is no HTTP");
        notes.not_carried(&Place::new("c", 7), "alerts", "do it elsewhere");
        notes.not_carried(&Place::new("c", 7), "alerts", "do it elsewhere");
        assert_eq!(
            notes.to_string(),
            "Left out:\n  is no HTTP\n      \"b\\n\"\n\
             Not carried over:\n  alerts: do it elsewhere\n      \"a\" (line 3), \"c\" (line 7)\n"
        );
        assert_eq!(notes.len(), 2);
    }
}
