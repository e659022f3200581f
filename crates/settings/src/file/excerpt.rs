//! Where YAML is broken: the line with a caret below it. What a value holds nobody may
//! see, and of broken YAML nobody can say what is a value; so all words but the names of
//! fields are dots.

use super::service::{ENDPOINT_FIELDS, SERVICE_FIELDS};
use super::target::TARGET_FIELDS;
use super::tree::Place;

/// Characters before and after the place, at most.
const BEFORE: usize = 60;
const AFTER: usize = 20;

/// Two lines, each after a line feed; nothing where there is no such place.
pub(crate) fn below(text: &str, at: Place) -> String {
    let place = |number: u64| usize::try_from(number).ok()?.checked_sub(1);
    let (Some(line), Some(column)) = (place(at.line), place(at.column)) else { return String::new() };
    let Some(line) = text.lines().nth(line) else { return String::new() };
    let from = column.saturating_sub(BEFORE);
    // Words are told apart in what is shown: the rest of the line may be megabytes.
    let shown: String = line.chars().skip(from).take(column - from + AFTER).collect();
    format!("\n  {}\n  {}^", masked(&shown), " ".repeat(column - from))
}

/// Words that are no names of fields become dots, so that only the form is left.
fn masked(text: &str) -> String {
    let is_word = |c: char| !c.is_ascii_punctuation() && !c.is_whitespace() || "_-".contains(c);
    let mut masked = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| is_word(c) != is_word(first)).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        if !is_word(first) {
            masked.extend(piece.chars().map(|c| if c.is_control() { ' ' } else { c }));
        } else if piece == "-" || is_known(piece) {
            masked.push_str(piece);
        } else {
            masked.extend(piece.chars().map(|_| '·'));
        }
        rest = after;
    }
    masked
}

fn is_known(word: &str) -> bool {
    ["version", "defaults", "targets", "services"].contains(&word)
        || TARGET_FIELDS.contains(&word)
        || SERVICE_FIELDS.contains(&word)
        || ENDPOINT_FIELDS.contains(&word)
}
