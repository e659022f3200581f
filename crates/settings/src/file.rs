//! The configuration file: a YAML list of targets, or a mapping with `version`,
//! `defaults`, `services` and `targets`.
//!
//! The text becomes a tree that knows where each value stands, secrets are filled in,
//! and the tree is read field by field. Nothing stops at the first mistake: whoever edits the
//! file sees all of them at once.

mod excerpt;
mod expand;
mod expect;
mod fields;
mod json;
mod report;
mod request;
mod service;
mod target;
pub mod tree;
mod watch;

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path as FilePath, PathBuf};

use common::TargetSpec;

use crate::targets::{Defaults, TargetList};
use expand::Sources;
pub use fields::{Fields, open_text, quoted};
pub use json::{NoTarget, place_in_json, target_of_json};
pub use report::{ConfigErrors, Finding, Path, Report};
pub use request::RESERVED_HEADERS;
pub use tree::{Entry, Kind, Node, Place, SyntaxError, Value};
pub use watch::Watch;

/// The largest file that is read, in bytes.
pub const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Who reads the file. The format is the same; what is a mistake for good may be
/// good enough for once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A worker, for as long as it runs: unknown fields, and targets or services
    /// that share a name, are errors.
    Service,
    /// `lookout check`: those are warnings, and targets that share a key are all kept.
    OneOff,
}

/// Where a list of targets is, to be read again when it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    /// The file.
    pub path: PathBuf,
    /// What its targets get where neither they nor the file say anything.
    pub defaults: Defaults,
    /// Whether a list that becomes empty is meant.
    pub allow_empty: bool,
}

impl ConfigFile {
    /// Reads the file as a service does.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once; secrets are not shown.
    pub fn read(&self) -> Result<TargetList, ConfigErrors> {
        read(&self.path, Mode::Service, &self.defaults)
    }
}

/// Reads and validates the configuration file at `path`.
///
/// # Errors
/// Everything that is wrong with it, at once; secrets are not shown.
pub fn read(path: &FilePath, mode: Mode, defaults: &Defaults) -> Result<TargetList, ConfigErrors> {
    let name = path.display().to_string();
    let bytes = bytes_of(path).map_err(|error| no_config(&name, &error))?;
    let directory = path.parent().unwrap_or(FilePath::new(""));
    parse_with(&name, &bytes, mode, defaults, &Sources { variable: &|name| std::env::var_os(name), directory })
}

/// What is in a file; of one that is too long a byte more than is allowed, which tells it.
///
/// # Errors
/// Whatever the system reports.
pub fn bytes_of(path: &FilePath) -> std::io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let most = MAX_BYTES as u64 + 1;
    let mut bytes = Vec::new();
    // Growing on the way would take half as much again.
    bytes.reserve_exact(usize::try_from(file.metadata()?.len().saturating_add(1).min(most)).unwrap_or_default());
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn no_config(name: &str, error: &std::io::Error) -> ConfigErrors {
    let hint = if error.kind() == ErrorKind::NotFound { " (set LOOKOUT_CONFIG)" } else { "" };
    ConfigErrors::whole(format_args!("{}{hint}", cannot_read(name, error)))
}

/// Why a file cannot be read, in words for whoever named it.
pub fn cannot_read(name: &str, error: &std::io::Error) -> String {
    let reason = match error.kind() {
        ErrorKind::NotFound => "not found".to_owned(),
        ErrorKind::PermissionDenied => format!("user {} may not read it", rustix::process::geteuid().as_raw()),
        ErrorKind::IsADirectory => "is a directory".to_owned(),
        _ => error.to_string(),
    };
    format!("cannot read {name}: {reason}")
}

/// Validates the text of a configuration file. `name` stands before each problem; the
/// paths of secrets begin at the current directory.
///
/// # Errors
/// Everything that is wrong with it, at once; secrets are not shown.
pub fn parse(name: &str, text: &[u8], mode: Mode, defaults: &Defaults) -> Result<TargetList, ConfigErrors> {
    let sources = Sources { variable: &|name| std::env::var_os(name), directory: FilePath::new("") };
    parse_with(name, text, mode, defaults, &sources)
}

fn parse_with(
    name: &str,
    text: &[u8],
    mode: Mode,
    defaults: &Defaults,
    sources: &Sources,
) -> Result<TargetList, ConfigErrors> {
    let text = utf8(name, text)?;
    let mut report = Report::new(name, mode);
    let mut list = TargetList::default();
    match tree::parse(text) {
        Ok(mut root) => {
            list.secret_files = expand::expand(&mut root, sources, &mut report);
            document(&root, defaults, &mut report, &mut list);
        }
        Err(error) => {
            let at = error.at.unwrap_or_default();
            let excerpt = if error.is_local { excerpt::below(text, at) } else { String::new() };
            report.error(at, &Path::root(), format_args!("{}{excerpt}", error.message));
        }
    }
    list.warnings = report.finish()?;
    Ok(list.digested())
}

/// A file's bytes as text, without a byte order mark.
///
/// # Errors
/// More than [`MAX_BYTES`], or not UTF-8.
pub fn utf8<'t>(name: &str, text: &'t [u8]) -> Result<&'t str, ConfigErrors> {
    if text.len() > MAX_BYTES {
        return Err(ConfigErrors::whole(format_args!("{name}: is over 16 MiB")));
    }
    let text = std::str::from_utf8(text).map_err(|error| {
        let byte = error.valid_up_to();
        ConfigErrors::whole(format_args!("{name}: not UTF-8 at byte {byte}"))
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

const NO_TARGETS: &str = "no targets defined (an explicit [] is valid)";

fn document(root: &Node, defaults: &Defaults, report: &mut Report, list: &mut TargetList) {
    let path = Path::root();
    match &root.value {
        Value::Null => report.error(Place::default(), &path, NO_TARGETS),
        Value::List(items) => list.targets = targets(items, &path, defaults, report).0,
        Value::Map(_) => {
            if let Some(fields) = Fields::of(root, path, "a list of targets", report) {
                mapping(&fields, defaults, report, list);
            }
        }
        other @ Value::Scalar(..) => {
            report.error(root.at, &path, format_args!("expected a list of targets, found {}", other.kind()));
        }
    }
}

fn mapping(fields: &Fields, base: &Defaults, report: &mut Report, list: &mut TargetList) {
    fields.refuse_unknown(&["version", "defaults", "targets", "services"], report);
    fields.value("version", "the number 1", report, |text| match text {
        "1" => Ok(()),
        _ => Err("is no version this release reads: write 1"),
    });
    let defaults = match fields.get("defaults") {
        Some(node) if node.value != Value::Null => target::defaults(node, fields.path.field("defaults"), base, report),
        _ => base.clone(),
    };
    let path = fields.path.field("targets");
    let mut places = Vec::new();
    match fields.get("targets") {
        Some(Node { value: Value::List(items), .. }) => {
            (list.targets, places) = targets(items, &path, &defaults, report);
        }
        None => report.error(fields.node.at, &fields.path, NO_TARGETS),
        Some(node) if node.value == Value::Null => report.error(node.at, &path, NO_TARGETS),
        Some(node) => {
            report.error(node.at, &path, format_args!("expected a list of targets, found {}", node.value.kind()));
        }
    }
    if let Some(node) = fields.get("services").filter(|node| node.value != Value::Null) {
        let path = fields.path.field("services");
        list.services = service::services(node, &path, &mut list.targets, &places, report);
    }
}

/// Where a target stands in the file.
type Placed = (Place, Path);

/// Reads every target, and compares them with each other.
fn targets(items: &[Node], path: &Path, defaults: &Defaults, report: &mut Report) -> (Vec<TargetSpec>, Vec<Placed>) {
    let mut read: Vec<TargetSpec> = Vec::new();
    let mut places = Vec::new();
    let mut keys: HashMap<String, u64> = HashMap::new();
    let mut names: HashMap<String, u64> = HashMap::new();
    let mut requests: HashMap<(String, &str), u64> = HashMap::new();
    for (index, item) in items.iter().enumerate() {
        let path = path.index(index);
        let Some(target) = target::target(item, path.clone(), defaults, report) else {
            continue;
        };
        let line = item.at.line;
        let same_name = names.insert(target.name.clone(), line);
        if let Some(first) = keys.insert(target.key.clone(), line) {
            report.strict(
                item.at,
                &path,
                format_args!(
                    "the key {} is taken: line {first} and line {line}; give one of them another name or `key`",
                    quoted(&target.key)
                ),
            );
        } else if let Some(first) = same_name {
            report.strict(
                item.at,
                &path,
                format_args!(
                    "the name {} is taken: line {first} and line {line}; give one of them another",
                    quoted(&target.name)
                ),
            );
        }
        let request = (target.url.whole().to_owned(), target.method.as_str());
        if let Some(first) = requests.insert(request, line) {
            report.warning(
                item.at,
                &path.field("url"),
                format_args!("the same URL is watched twice: line {first} and line {line}"),
            );
        }
        read.push(target);
        places.push((item.at, path));
    }
    (read, places)
}

#[cfg(test)]
mod catalogue;
#[cfg(test)]
mod tests;
