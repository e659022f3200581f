//! Paths into JSON, as RFC 9535 writes them.

/// The path for `.a.b[0]`, `a.b` or `[*].c` of other tools; `None` for filters and functions.
pub(crate) fn of_dotted(dotted: &str) -> Option<String> {
    let mut path = "$".to_owned();
    let mut rest = dotted.strip_prefix('.').unwrap_or(dotted);
    let mut needs_name = !rest.is_empty() && !rest.starts_with('[');
    while !rest.is_empty() || needs_name {
        if let Some(inner) = rest.strip_prefix('[').filter(|_| !needs_name) {
            let (index, tail) = inner.split_once(']')?;
            let is_index = !index.is_empty() && index.len() < 10 && index.bytes().all(|byte| byte.is_ascii_digit());
            match index {
                "*" => path.push_str("[*]"),
                index => path.push_str(&format!("[{}]", index.parse::<u32>().ok().filter(|_| is_index)?)),
            }
            rest = tail;
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            path.push_str(&name(&rest[..end])?);
            rest = &rest[end..];
        }
        needs_name = rest.starts_with('.');
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if !needs_name && !rest.is_empty() && !rest.starts_with('[') {
            return None;
        }
    }
    Some(path)
}

/// `.name`, or `['a name']` where it needs quotes.
fn name(name: &str) -> Option<String> {
    let is_special = |c: char| c.is_control() || "*?()$@#`\"'\\^%{}|&=<>!~+/,;: ".contains(c);
    let first = name.chars().next()?;
    if name.contains(is_special) {
        return None;
    }
    let is_short = (first.is_alphabetic() || first == '_') && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    Some(if is_short { format!(".{name}") } else { format!("['{name}']") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_paths_become_json_paths() {
        let cases = [
            ("", Some("$")),
            (".status", Some("$.status")),
            ("a.b[0].c", Some("$.a.b[0].c")),
            ("[0].id", Some("$[0].id")),
            (".a-b[1][2]", Some("$['a-b'][1][2]")),
            (".data.0", Some("$.data['0']")),
            (".items[*].id", Some("$.items[*].id")),
            (".a..b", None),
            (".a.", None),
            (".a[", None),
            (".a[0]b", None),
            ("$count(a)", None),
            ("a[b=1]", None),
            ("a b", None),
        ];
        for (dotted, expected) in cases {
            assert_eq!(of_dotted(dotted).as_deref(), expected, "{dotted}");
        }
    }
}
