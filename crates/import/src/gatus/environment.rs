//! Variables in the file, as gatus fills them in: `$NAME`, `${NAME}`, and `$$` for a dollar.

use crate::text::Text;

/// A text of the file, with references to its variables.
///
/// Source: gatus, `config.go`; Go, `os.ExpandEnv`.
pub(super) fn expand(text: &str) -> Text {
    let mut expanded = Text::default();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded = expanded.and(&rest[..at]);
        let behind = &rest[at + 1..];
        let braced = behind.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let plain = behind.find(|c| !is_name(c)).unwrap_or(behind.len());
        (expanded, rest) = match braced {
            _ if behind.starts_with('$') => (expanded.and("$"), &behind[1..]),
            Some((name, tail)) if !name.is_empty() && name.chars().all(is_name) => {
                (expanded.join(Text::reference(name)), tail)
            }
            None if plain > 0 && !behind.starts_with(|c: char| c.is_ascii_digit()) => {
                (expanded.join(Text::reference(&behind[..plain])), &behind[plain..])
            }
            // What no variable can be meant by stays as it is.
            _ => (expanded.and("$"), behind),
        };
    }
    expanded.and(rest)
}

/// The variables of the whole file.
pub(super) fn names(text: &str) -> Vec<String> {
    expand(text).references().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_become_references_of_ours() {
        let cases = [
            ("Bearer ${TOKEN}", "Bearer ${TOKEN}"),
            ("$USER:$PASS/x", "${USER}:${PASS}/x"),
            ("a$$b", "a$b"),
            ("$${x}", "$${x}"),
            ("5$", "5$"),
            ("a$ b", "a$ b"),
            ("$1", "$1"),
            ("${", "$${"),
            ("${a-b}", "$${a-b}"),
        ];
        for (text, expected) in cases {
            assert_eq!(expand(text).written(), expected, "{text}");
        }
    }
}
