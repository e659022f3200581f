//! YAML, written.

/// A value to write.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Yaml {
    /// A text, quoted where it would be read as something else.
    Text(String),
    /// A number, a truth value or a duration, as it is.
    Plain(String),
    List(Vec<Yaml>),
    Map(Vec<(String, Yaml)>),
}

impl Yaml {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }
}

/// The value as a document in block style.
pub(crate) fn write(value: &Yaml) -> String {
    let mut out = String::new();
    match value {
        Yaml::List(items) if !items.is_empty() => list(&mut out, items, 0),
        Yaml::Map(entries) if !entries.is_empty() => map(&mut out, entries, 0),
        other => {
            inline(&mut out, other, 0);
            out.push('\n');
        }
    }
    out
}

fn list(out: &mut String, items: &[Yaml], indent: usize) {
    for item in items {
        out.push_str(&" ".repeat(indent));
        out.push_str("- ");
        match item {
            // The first entry stands behind the dash.
            Yaml::Map(entries) if !entries.is_empty() => {
                let start = out.len();
                map(out, entries, indent + 2);
                out.replace_range(start..start + indent + 2, "");
            }
            other => {
                inline(out, other, indent);
                out.push('\n');
            }
        }
    }
}

fn map(out: &mut String, entries: &[(String, Yaml)], indent: usize) {
    for (key, value) in entries {
        out.push_str(&" ".repeat(indent));
        out.push_str(&scalar(key));
        out.push(':');
        match value {
            Yaml::Map(inner) if !inner.is_empty() => {
                out.push('\n');
                map(out, inner, indent + 2);
            }
            Yaml::List(items) if !items.is_empty() => {
                out.push('\n');
                list(out, items, indent + 2);
            }
            other => {
                out.push(' ');
                inline(out, other, indent);
                out.push('\n');
            }
        }
    }
}

fn inline(out: &mut String, value: &Yaml, indent: usize) {
    match value {
        Yaml::Text(text) => match block(text, indent + 2) {
            Some(block) => out.push_str(&block),
            None => out.push_str(&scalar(text)),
        },
        Yaml::Plain(text) => out.push_str(text),
        Yaml::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                inline(out, item, indent);
            }
            out.push(']');
        }
        Yaml::Map(_) => out.push_str("{}"),
    }
}

/// A text of several lines as a block after `|`, if that keeps every character.
fn block(text: &str, indent: usize) -> Option<String> {
    let (body, mark) = match text.strip_suffix('\n') {
        Some(body) => (body, "|"),
        None => (text, "|-"),
    };
    let is_plain = |c: char| c == '\n' || c == ' ' || c == '\t' || (!is_unprintable(c) && c != '\u{feff}');
    let fits = body.contains('\n')
        && !body.starts_with([' ', '\t', '\n'])
        && !body.ends_with(['\n', ' ', '\t'])
        && body.chars().all(is_plain);
    fits.then(|| {
        let mut block = mark.to_owned();
        for line in body.split('\n') {
            block.push('\n');
            if !line.is_empty() {
                block.push_str(&" ".repeat(indent));
                block.push_str(line);
            }
        }
        block
    })
}

/// Words that YAML 1.1 or 1.2 takes for something else than text.
const WORDS: [&str; 10] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan"];

/// A text on one line: as it is where it cannot be mistaken, else in double quotes.
fn scalar(text: &str) -> String {
    let is_safe = |c: char| c.is_alphanumeric() || " _-./:?&=%~+@,()".contains(c);
    let starts_safe = text.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '/');
    let ambiguous = text.ends_with([' ', ':'])
        || text.contains(": ")
        || text.contains(", ")
        || WORDS.contains(&text.to_lowercase().as_str());
    if starts_safe && !ambiguous && text.chars().all(is_safe) {
        return text.to_owned();
    }
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if is_unprintable(c) => {
                quoted.push_str(&match u32::from(c) {
                    code @ ..=0xff => format!("\\x{code:02x}"),
                    code @ ..=0xffff => format!("\\u{code:04x}"),
                    code => format!("\\U{code:08x}"),
                });
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Characters that YAML wants escaped, or that nobody sees.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use settings::file::Value;

    use super::*;

    #[test]
    fn lists_and_mappings_are_blocks() {
        let document = Yaml::List(vec![
            Yaml::Map(vec![
                ("name".into(), Yaml::text("no")),
                ("interval".into(), Yaml::Plain("1m".into())),
                (
                    "expect".into(),
                    Yaml::Map(vec![("<".into(), Yaml::List(vec![Yaml::text("a: b"), Yaml::Map(vec![])]))]),
                ),
                ("body".into(), Yaml::text("{\n  \"a\": 1\n}\n")),
            ]),
            Yaml::List(Vec::new()),
        ]);
        assert_eq!(
            write(&document),
            "- name: \"no\"\n  interval: 1m\n  expect:\n    \"<\":\n      - \"a: b\"\n      - {}\n  body: |\n    {\n      \"a\": 1\n    }\n- []\n"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn every_text_is_read_back_as_it_was(
            text in prop_oneof![
                any::<String>(),
                "[ \t\n#:,\\[{}\\]&*!|>'\"%@`a\\-?~0-9.$]{0,12}",
                "(true|No|null|~|1e3|0x1|\\.inf|2026-11-21|=|<<|---)[ \n]?",
            ],
        ) {
            let document = Yaml::List(vec![Yaml::Map(vec![(text.clone(), Yaml::List(vec![Yaml::text(text.clone())]))])]);
            let written = write(&document);
            let root = settings::file::tree::parse(&written).map_err(|error| TestCaseError::fail(format!("{error:?}: {written}")))?;
            let Value::List(items) = root.value else { panic!("a list: {written}") };
            let Value::Map(entries) = &items[0].value else { panic!("a mapping: {written}") };
            prop_assert_eq!(entries[0].key.as_deref(), Some(text.as_str()), "{}", &written);
            let Value::List(values) = &entries[0].value.value else { panic!("a list: {written}") };
            prop_assert!(matches!(&values[0].value, Value::Scalar(read, settings::file::Kind::Text) if *read == text), "{}", written);
        }
    }
}
