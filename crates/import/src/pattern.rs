//! Patterns of other tools as texts to find or as regexes.

use regex::Regex;

/// What a text must be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pattern {
    Everything,
    /// The text stands somewhere in it.
    Contains(String),
    Regex(String),
}

impl Pattern {
    /// Exactly one of the texts, with white space around it or not.
    pub(crate) fn any_of<'t>(options: impl IntoIterator<Item = &'t str>) -> Self {
        let options: Vec<_> = options.into_iter().map(regex::escape).collect();
        match options.as_slice() {
            [only] => Self::Regex(format!(r"^\s*{only}\s*$")),
            options => Self::Regex(format!(r"^\s*(?:{})\s*$", options.join("|"))),
        }
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Contains(part) => text.contains(part),
            Self::Regex(regex) => Regex::new(regex).is_ok_and(|regex| regex.is_match(text)),
        }
    }
}

/// One element of a glob.
enum Glob {
    Star,
    One,
    Char(char),
    /// As in a regex.
    Class(String),
}

/// The pattern for a glob with `*`, `?`, `[a-z]` and `\`; `None` if it is malformed.
///
/// Source: Go, `path/filepath.Match`, which gatus uses without slashes.
pub(crate) fn of_glob(glob: &str) -> Option<Pattern> {
    let mut elements = Vec::new();
    let mut rest = glob.chars();
    while let Some(c) = rest.next() {
        elements.push(match c {
            '*' if matches!(elements.last(), Some(Glob::Star)) => continue,
            '*' => Glob::Star,
            '?' => Glob::One,
            '\\' => Glob::Char(rest.next()?),
            '[' => {
                let (class, tail) = rest.as_str().split_once(']').filter(|(class, _)| !class.is_empty())?;
                rest = tail.chars();
                // Of a regex, this would be more than a class.
                let class = class.replace('[', r"\[").replace("&&", r"&\&");
                Glob::Class(format!("[{class}]"))
            }
            c => Glob::Char(c),
        });
    }
    let literal = |elements: &[Glob]| {
        let chars = elements.iter().map(|element| match element {
            Glob::Char(c) => Some(*c),
            _ => None,
        });
        chars.collect::<Option<String>>()
    };
    match elements.as_slice() {
        [Glob::Star] => return Some(Pattern::Everything),
        [Glob::Star, middle @ .., Glob::Star] => {
            if let Some(text) = literal(middle) {
                return Some(Pattern::Contains(text));
            }
        }
        _ => {}
    }
    let mut regex = String::from("(?s)");
    let last = elements.len().saturating_sub(1);
    for (index, element) in elements.iter().enumerate() {
        if index == 0 && !matches!(element, Glob::Star) {
            regex.push('^');
        }
        match element {
            // At an end nothing needs to be said of it.
            Glob::Star if index == 0 || index == last => {}
            Glob::Star => regex.push_str(".*"),
            Glob::One => regex.push('.'),
            Glob::Char(c) => regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
            Glob::Class(class) => regex.push_str(class),
        }
    }
    if elements.is_empty() {
        regex.push('^');
    }
    if !matches!(elements.last(), Some(Glob::Star)) {
        regex.push('$');
    }
    let regex = if regex.contains('.') { regex } else { regex.replacen("(?s)", "", 1) };
    Regex::new(&regex).ok().map(|_| Pattern::Regex(regex))
}

/// The text a regex stands for, if it has nothing special in it.
pub(crate) fn literal(regex: &str) -> Option<String> {
    let mut literal = String::new();
    let mut rest = regex.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => {
                let c = rest.next()?;
                if c.is_alphanumeric() {
                    return None;
                }
                literal.push(c);
            }
            '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$' => return None,
            c => literal.push(c),
        }
    }
    Some(literal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_become_the_simplest_pattern() {
        let regex = |text: &str| Some(Pattern::Regex(text.to_owned()));
        assert_eq!(of_glob("*"), Some(Pattern::Everything));
        assert_eq!(of_glob("**"), Some(Pattern::Everything));
        assert_eq!(of_glob("*a.b*"), Some(Pattern::Contains("a.b".to_owned())));
        assert_eq!(of_glob("john*"), regex("^john"));
        assert_eq!(of_glob("*.org"), regex(r"(?s)\.org$"));
        assert_eq!(of_glob("*a*b*"), regex("(?s)a.*b"));
        assert_eq!(of_glob("2?[0-9]"), regex("(?s)^2.[0-9]$"));
        assert_eq!(of_glob(r"a\*"), regex(r"^a\*$"));
        assert_eq!(of_glob(""), regex("^$"));
        for wrong in ["[", "[]", "a\\", "[z-a]"] {
            assert_eq!(of_glob(wrong), None, "{wrong}");
        }
        assert!(of_glob("2*").unwrap().matches("204"));
        assert!(!of_glob("2*").unwrap().matches("302"));
    }

    #[test]
    fn a_regex_without_anything_special_is_a_text() {
        assert_eq!(literal(r"fatal: \[db\]").as_deref(), Some("fatal: [db]"));
        for regex in ["a.b", "^a", "a|b", r"\d", "a\\"] {
            assert_eq!(literal(regex), None, "{regex}");
        }
    }
}
