//! `lookout import`: a file of targets from the configuration of another tool.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use import::{Imported, Variable};
use settings::SettingsError;
use settings::file::{ConfigErrors, cannot_read};

/// Flags of `lookout import`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ImportArgs {
    /// Whose configuration it is
    #[arg(value_enum)]
    tool: Tool,

    /// The configuration of gatus, the backup or kuma.db of uptime-kuma, or the configuration of Prometheus
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// For blackbox: the exporter's own file, with what its modules do
    #[arg(long, value_name = "FILE")]
    modules: Option<PathBuf>,

    /// Write the secrets that were found to this new file, as variables for .env; only you can read it
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
}

/// The tools whose files can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tool {
    /// gatus: its YAML
    Gatus,
    /// uptime-kuma: a backup (JSON) or kuma.db (SQLite)
    UptimeKuma,
    /// Prometheus with the blackbox exporter: scrape_configs
    Blackbox,
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  lookout import gatus config.yaml > targets.yaml
  lookout import uptime-kuma kuma.db -o targets.yaml --secrets .env
  lookout import blackbox prometheus.yml --modules blackbox.yml -o targets.yaml
  lookout check --validate targets.yaml            is the result right?

What has no counterpart is listed on standard error, with its place and what to do instead. Passwords, tokens and the
values of most headers do not get into the result: it refers to variables such as ${TARGET_SHOP_TOKEN}, which are listed,
too. docs/IMPORT.md says what carries over.

Exit status: 0 with a result, whatever the notes, 1 when it cannot be written, 2 when the input is unusable or the file of --secrets exists.";

/// Imports, prints the result, and says what is not in it.
///
/// # Errors
/// [`SettingsError`] for input that cannot be used; anything else could not be written.
pub(crate) fn run(args: &ImportArgs) -> anyhow::Result<()> {
    if args.modules.is_some() && args.tool != Tool::Blackbox {
        return Err(SettingsError::one("--modules goes with blackbox").into());
    }
    let imported = read(args).map_err(|error| {
        let mut problems = settings::Problems::new();
        problems.file(&error);
        match problems.finish() {
            Err(problems) => problems,
            Ok(()) => SettingsError::one(error),
        }
    })?;
    let secrets =
        args.secrets.as_deref().filter(|_| imported.variables.iter().any(|variable| variable.value.is_some()));
    // Before anything else is written, because it may be there already.
    if let Some(path) = secrets {
        write_secrets(path, &imported.variables)?;
    }
    match &args.output {
        Some(path) => {
            std::fs::write(path, &imported.yaml).with_context(|| format!("cannot write {}", path.display()))?;
        }
        None => match io::stdout().lock().write_all(imported.yaml.as_bytes()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            result => result.context("cannot write to standard output")?,
        },
    }
    let mut out = anstream::stderr().lock();
    // Nobody to tell is no failure.
    let _ = out.write_all(summary(&imported, args).as_bytes());
    Ok(())
}

fn read(args: &ImportArgs) -> Result<Imported, ConfigErrors> {
    let name = args.file.display().to_string();
    match args.tool {
        Tool::Gatus => import::gatus(&name, &bytes(&args.file)?),
        Tool::UptimeKuma => import::uptime_kuma(&args.file),
        Tool::Blackbox => {
            let text = bytes(&args.file)?;
            let modules = match &args.modules {
                Some(path) => Some((path.display().to_string(), bytes(path)?)),
                None => None,
            };
            let modules = modules.as_ref().map(|(name, text)| (name.as_str(), text.as_slice()));
            import::blackbox(&name, &text, modules)
        }
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>, ConfigErrors> {
    settings::file::bytes_of(path)
        .map_err(|error| ConfigErrors::whole(cannot_read(&path.display().to_string(), &error)))
}

/// What is not in the result, and what it needs.
fn summary(imported: &Imported, args: &ImportArgs) -> String {
    let mut text = imported.notes.to_string();
    let plural = if imported.targets == 1 { "" } else { "s" };
    text.push_str(&format!("{} target{plural} written\n", imported.targets));
    if !imported.variables.is_empty() {
        text.push_str(
            "Secrets are not in the result. It refers to these variables; set them where lookout runs, or write ${file:PATH}:\n",
        );
    }
    for variable in &imported.variables {
        text.push_str(&format!("  {}  {}\n", variable.name, variable.what));
    }
    let has_values = imported.variables.iter().any(|variable| variable.value.is_some());
    match &args.secrets {
        Some(path) if has_values => {
            text.push_str(&format!("The secrets found are in {}; do not commit it.\n", path.display()));
        }
        Some(path) => text.push_str(&format!("No secret was found, so {} was not written.\n", path.display())),
        None if has_values => text.push_str("With --secrets FILE their values are written there.\n"),
        None => {}
    }
    text
}

fn write_secrets(path: &Path, variables: &[Variable]) -> anyhow::Result<()> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = opened.map_err(|error| {
        let path = path.display();
        SettingsError::one(match error.kind() {
            ErrorKind::AlreadyExists => {
                format!("--secrets: {path} is there already and stays as it is; name a new file, or move that one away")
            }
            _ => format!("--secrets: cannot create {path}: {error}"),
        })
    })?;
    let mut text = String::new();
    for variable in variables {
        if let Some(value) = &variable.value {
            text.push_str(&format!("{}=\"{}\"\n", variable.name, escaped(value)));
        }
    }
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

/// A value between double quotes as dotenv reads it.
fn escaped(value: &str) -> String {
    let mut escaped = String::new();
    for c in value.chars() {
        match c {
            '\n' => escaped.push_str("\\n"),
            '\\' | '"' | '$' => escaped.extend(['\\', c]),
            c => escaped.push(c),
        }
    }
    escaped
}
