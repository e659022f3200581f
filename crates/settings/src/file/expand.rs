//! `${NAME}` and `${file:PATH}`: secrets that stand elsewhere than in the file.
//!
//! They are filled in when the YAML is a tree, so whatever a secret holds, it
//! stays one value. What was filled in is not looked at again, and is never shown:
//! the node keeps the text that names the secrets instead. `$${` is a literal `${`.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path as FilePath, PathBuf};

use super::report::{Path, Report};
use super::tree::{Node, Value};

/// The largest file a secret is read from, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// What all values may grow to together, in bytes: a file is named once and read often.
const MAX_TOTAL: usize = super::MAX_BYTES;

/// Where secrets are.
pub(crate) struct Sources<'s> {
    /// Variables of the environment.
    pub(crate) variable: &'s dyn Fn(&str) -> Option<OsString>,
    /// What relative paths begin at: where the configuration file is.
    pub(crate) directory: &'s FilePath,
}

/// Fills in every secret of the tree, and reports those that cannot be had. Returns
/// the files that were named.
pub(crate) fn expand(root: &mut Node, sources: &Sources, report: &mut Report) -> Vec<PathBuf> {
    let mut expander = Expander { sources, report, files: HashMap::new(), left: MAX_TOTAL };
    expander.node(root, &Path::root());
    let mut files: Vec<_> = expander.files.into_keys().collect();
    files.sort();
    files
}

struct Expander<'e, 's, 'n> {
    sources: &'e Sources<'s>,
    report: &'e mut Report<'n>,
    files: HashMap<PathBuf, Result<String, String>>,
    left: usize,
}

impl Expander<'_, '_, '_> {
    fn node(&mut self, node: &mut Node, path: &Path) {
        match &mut node.value {
            Value::Null => {}
            Value::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.node(item, &path.index(index));
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    let path = entry.key.as_ref().map_or_else(|| path.clone(), |key| path.field(key));
                    self.node(&mut entry.value, &path);
                }
            }
            Value::Scalar(text, _) if text.contains("${") => match self.text(text) {
                Ok((filled, has_secrets)) => {
                    let template = std::mem::replace(text, filled);
                    node.template = has_secrets.then_some(template);
                }
                Err(problem) => {
                    self.report.spoilt(node.at, path, problem);
                    node.template = Some(std::mem::take(text));
                }
            },
            Value::Scalar(..) => {}
        }
    }

    /// The text with its secrets, and whether it has any.
    fn text(&mut self, text: &str) -> Result<(String, bool), String> {
        let mut filled = String::new();
        let mut has_secrets = false;
        for piece in pieces(text) {
            match piece? {
                Piece::Literal(literal) => filled.push_str(literal),
                Piece::Escaped => filled.push_str("${"),
                Piece::Secret(name) => {
                    has_secrets = true;
                    let secret = match name.strip_prefix("file:") {
                        Some(path) => self.file(path)?,
                        None => self.variable(name)?,
                    };
                    self.left = self.left.checked_sub(secret.len()).ok_or("makes the file over 16 MiB")?;
                    filled.push_str(&secret);
                }
            }
        }
        Ok((filled, has_secrets))
    }

    fn variable(&self, name: &str) -> Result<String, String> {
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name {
            return Err("has a ${…} that names neither a variable, ${NAME}, nor a file, ${file:PATH}; \
                        write $${ for a literal ${"
                .to_owned());
        }
        match (self.sources.variable)(name) {
            Some(value) if value.is_empty() => Err(format!("${{{name}}}: the variable {name} is empty, as if not set")),
            Some(value) => value.into_string().map_err(|_| format!("${{{name}}}: the variable {name} is not UTF-8")),
            None => Err(format!("${{{name}}}: the variable {name} is not set (write $${{ for a literal ${{)")),
        }
    }

    fn file(&mut self, name: &str) -> Result<String, String> {
        let path = self.sources.directory.join(name);
        let read = self.files.entry(path).or_insert_with_key(|path| read_secret(path));
        read.clone().map_err(|problem| format!("${{file:{}}}: {problem}", name.escape_debug()))
    }
}

/// The content of a file less one line break at its end.
fn read_secret(path: &FilePath) -> Result<String, String> {
    let cannot = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => "not found".to_owned(),
        ErrorKind::PermissionDenied => format!("user {} may not read it", rustix::process::geteuid().as_raw()),
        _ => format!("cannot be read: {error}"),
    };
    // Opening a pipe would wait for somebody to write to it.
    if !std::fs::metadata(path).map_err(cannot)?.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes)).map_err(cannot)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err("is over 64 KiB".to_owned());
    }
    let mut text = String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(text) }
}

enum Piece<'t> {
    Literal(&'t str),
    /// `$${`.
    Escaped,
    /// What stands between `${` and `}`.
    Secret(&'t str),
}

/// Takes a text apart. After an error nothing follows.
fn pieces(text: &str) -> impl Iterator<Item = Result<Piece<'_>, String>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = match rest.find("${") {
            None => (Ok(Piece::Literal(rest)), ""),
            Some(0) => match rest.find('}') {
                Some(end) => (Ok(Piece::Secret(&rest[2..end])), &rest[end + 1..]),
                None => (Err("has a ${ without its }; write $${ for a literal ${".to_owned()), ""),
            },
            Some(at) if rest.as_bytes()[at - 1] == b'$' => match at - 1 {
                0 => (Ok(Piece::Escaped), &rest[3..]),
                before => (Ok(Piece::Literal(&rest[..before])), &rest[before..]),
            },
            Some(at) => (Ok(Piece::Literal(&rest[..at])), &rest[at..]),
        };
        rest = after;
        Some(piece)
    })
}

/// The text of a URL that names its secrets, less what it has of user and password.
pub(crate) fn without_userinfo(template: &str) -> String {
    // The name of a file has slashes of its own, which end no host.
    let mut outline = String::with_capacity(template.len());
    for piece in pieces(template) {
        match piece {
            Ok(Piece::Literal(literal)) => outline.push_str(literal),
            Ok(Piece::Escaped) => outline.push_str("xxx"),
            Ok(Piece::Secret(name)) => outline.extend(std::iter::repeat_n('x', name.len() + 3)),
            Err(_) => break,
        }
    }
    let Some(start) = outline.find("://").map(|at| at + 3) else { return template.to_owned() };
    let end = outline[start..].find(['/', '?', '#', '\\']).map_or(outline.len(), |at| start + at);
    match (outline[start..end].rfind('@'), template.get(..start)) {
        (Some(at), Some(scheme)) => format!("{scheme}{}", template.get(start + at + 1..).unwrap_or_default()),
        _ => template.to_owned(),
    }
}

#[cfg(test)]
mod tests;
