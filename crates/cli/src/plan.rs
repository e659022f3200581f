//! `lookout plan`: what a configuration file would change of what runs. It changes nothing.
//!
//! Postgres knows no value of a header, no body and no password, and this prints none: where
//! all that can be seen is the same, the digest that running workers report tells whether
//! those are.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use common::Source;
use serde::Serialize;
use settings::{DatabaseArgs, Problems, SettingsError, TargetArgs, TargetList};
use store::configured::{self, Promise};
use store::embedded::{self, Embedded};
use store::pool::{self, PoolSettings};
use store::{PgConnection, StoreError};

use crate::up::DATABASE;

/// There are differences.
const DIFFERENT: u8 = 3;

pub(crate) const EXAMPLES: &str = "\
Examples:
  lookout plan targets.yaml                        what would change; the database is DATABASE_URL, or that of lookout up
  lookout plan targets.yaml --format json | jq .removed

The file is read as a worker reads it: give POLLING_INTERVAL, secrets and so on as the worker has them.

Exit status: 0 nothing would change, 3 something would, 1 Postgres is away, 2 the file or the settings are unusable.";

#[derive(Debug, Clone, Args)]
pub(crate) struct PlanArgs {
    /// The file to compare [default: LOOKOUT_CONFIG]
    #[arg(value_name = "FILE")]
    file: Option<String>,

    /// How the differences are printed
    #[arg(long, value_enum, default_value = "text", value_name = "text|json")]
    format: Format,

    #[command(flatten)]
    targets: TargetArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    /// Without DATABASE_URL: where `lookout up` keeps its private Postgres, which has to run [default: as for up]
    #[arg(long, env = "LOOKOUT_DATA_DIR", value_name = "DIR", help_heading = "Database")]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Prints the differences; the exit status says whether there are any.
pub(crate) fn main(args: &PlanArgs) -> ExitCode {
    match run(args) {
        Ok(true) => ExitCode::from(DIFFERENT),
        Ok(false) => ExitCode::SUCCESS,
        Err(error) => settings::process::exit_code(Err(error)),
    }
}

fn run(args: &PlanArgs) -> anyhow::Result<bool> {
    let mut problems = Problems::new();
    let mut targets = args.targets.clone();
    if args.file.is_some() {
        targets.config.clone_from(&args.file);
        targets.urls = None;
    }
    let list = targets.resolve(&mut problems);
    let database_url = database_url(args, &mut problems);
    if targets.config.is_none() && targets.urls.is_none() {
        problems.line("nothing to compare: name a FILE, or set LOOKOUT_CONFIG (--config)");
    }
    problems.finish()?;
    let (Some(list), Some(database_url)) = (list, database_url) else { return Ok(false) };
    for warning in &list.warnings {
        writeln!(std::io::stderr(), "warning: {warning}")?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let difference = runtime.block_on(async {
        let wrong = |reason: String| SettingsError::one(format!("DATABASE_URL (--database-url): {reason}"));
        let pool = pool::lazy(&database_url, &PoolSettings::WORKER).map_err(|error| wrong(error.to_string()))?;
        match pool::ping(&pool).await {
            Err(error) if error.is_refusal() => return Err(wrong(pool::explain(&pool, &error)).into()),
            other => other.with_context(|| format!("cannot reach Postgres at {}", pool::server(&pool)))?,
        }
        let version = pool::schema_version(&pool).await?.unwrap_or(0);
        anyhow::ensure!(
            version >= store::SCHEMA_VERSION,
            "the schema is at version {version} and has to be at {}; api applies the migrations",
            store::SCHEMA_VERSION
        );
        let mut connection = pool::acquire(&pool).await?;
        Ok(compare(&mut connection, &list).await?)
    })?;
    let text = match args.format {
        Format::Text => difference.text(),
        Format::Json => format!("{}\n", serde_json::to_string(&difference)?),
    };
    std::io::stdout().write_all(text.as_bytes()).context("writing the differences")?;
    Ok(difference.different)
}

/// Where Postgres is: that of DATABASE_URL, else the private one of a `lookout up` that runs.
fn database_url(args: &PlanArgs, problems: &mut Problems) -> Option<String> {
    if args.database.database_url.is_some() {
        return args.database.resolve(problems).map(|url| url.as_str().to_owned());
    }
    let dir = args.data_dir.clone().unwrap_or_else(embedded::default_data_dir);
    match Embedded::running(&dir, DATABASE) {
        Ok(Some(url)) => return Some(url),
        Ok(None) => problems.line(format_args!(
            "DATABASE_URL (--database-url): not set, and no lookout runs on {}: set it, or start `lookout up`, \
             or say in LOOKOUT_DATA_DIR (--data-dir) where that one keeps its data",
            dir.display()
        )),
        Err(error) => problems.line(error),
    }
    None
}

/// What would change.
#[derive(Debug, Default, Serialize)]
struct Difference {
    different: bool,
    /// Keys of targets.
    added: Vec<String>,
    changed: Vec<Changed>,
    /// Their history stays.
    removed: Vec<String>,
    unchanged: usize,
    endpoints: Vec<ChangedEndpoint>,
    /// Services whose owner would be another.
    owners: Vec<String>,
    /// Whether values of headers, bodies or passwords are others: null where that cannot be
    /// told, because other things differ or no worker runs.
    secrets_differ: Option<bool>,
}

#[derive(Debug, Serialize)]
struct Changed {
    key: String,
    fields: Vec<Field>,
}

#[derive(Debug, Serialize)]
struct Field {
    field: &'static str,
    /// Null for headers and assertions.
    from: Option<String>,
    to: Option<String>,
}

#[derive(Debug, Serialize)]
struct ChangedEndpoint {
    endpoint: String,
    /// Null for one that is new.
    from: Option<Goal>,
    to: Goal,
}

#[derive(Debug, Serialize)]
struct Goal {
    service: String,
    objective_percent: f64,
    window_seconds: f64,
}

async fn compare(connection: &mut PgConnection, list: &TargetList) -> Result<Difference, StoreError> {
    let mut present: BTreeMap<String, configured::Target> =
        configured::targets(connection).await?.into_iter().map(|target| (target.key.clone(), target)).collect();
    let mut difference = Difference::default();
    for target in &list.targets {
        let Some(mut now) = present.remove(&target.key) else {
            difference.added.push(target.key.clone());
            continue;
        };
        let mut then = configured::fields(target, &list.services, &now);
        now.fields.insert("source", now.source);
        then.insert("source", target.source.label().to_owned());
        let fields: Vec<Field> = then
            .into_iter()
            .filter(|(name, value)| now.fields.get(name) != Some(value))
            .map(|(field, to)| match field {
                "headers" | "expect" => Field { field, from: None, to: None },
                _ => Field { field, from: now.fields.get(field).cloned(), to: Some(to) },
            })
            .collect();
        if fields.is_empty() {
            difference.unchanged += 1;
        } else {
            difference.changed.push(Changed { key: target.key.clone(), fields });
        }
    }
    // What came over the API is not the list's to remove.
    let ours = [Source::Env.label(), Source::File.label()];
    difference.removed = present
        .into_values()
        .filter(|target| ours.contains(&target.source.as_str()))
        .map(|target| target.key)
        .collect();
    let promised = configured::promised(connection, &list.services, &list.targets).await?;
    difference.endpoints = promised.into_iter().map(ChangedEndpoint::from).collect();
    difference.owners = configured::owners(connection, &list.services).await?;

    let is_visible = !(difference.added.is_empty()
        && difference.changed.is_empty()
        && difference.removed.is_empty()
        && difference.endpoints.is_empty()
        && difference.owners.is_empty());
    let digests = configured::digests(connection).await?;
    difference.secrets_differ =
        (!is_visible && !digests.is_empty()).then(|| !digests.contains(&list.digest.cast_signed()));
    difference.different = is_visible || difference.secrets_differ == Some(true);
    Ok(difference)
}

impl From<Promise> for ChangedEndpoint {
    fn from(promise: Promise) -> Self {
        let goal = |(service, objective_nano, window_ns): (String, i64, i64)| Goal {
            service,
            objective_percent: objective_nano as f64 / 1e7,
            window_seconds: window_ns as f64 / 1e9,
        };
        Self { endpoint: promise.endpoint, from: promise.now.map(goal), to: goal(promise.then) }
    }
}

impl Difference {
    /// A line each: `+` for what comes, `~` for what changes, `-` for what goes.
    fn text(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        lines.extend(self.added.iter().map(|key| format!("+ target {}", shown(key))));
        for Changed { key, fields } in &self.changed {
            let fields: Vec<_> = fields
                .iter()
                .map(|Field { field, from, to }| match to {
                    None => format!("{field} changed"),
                    Some(to) => format!("{field} {} → {}", shown(from.as_deref().unwrap_or_default()), shown(to)),
                })
                .collect();
            lines.push(format!("~ target {}: {}", shown(key), fields.join(", ")));
        }
        lines.extend(self.removed.iter().map(|key| format!("- target {} (its history stays)", shown(key))));
        for ChangedEndpoint { endpoint, from, to } in &self.endpoints {
            let endpoint = shown(endpoint);
            match from {
                None => lines.push(format!("+ endpoint {endpoint}: {to}")),
                Some(from) if from.service == to.service => {
                    lines.push(format!("~ endpoint {endpoint}: {} → {to}", from.promise()));
                }
                Some(from) => lines.push(format!("~ endpoint {endpoint}: {from} → {to}")),
            }
        }
        lines.extend(self.owners.iter().map(|name| format!("~ service {}: owner changed", shown(name))));
        if self.secrets_differ == Some(true) {
            lines.push(
                "~ something secret changed: the value of a header, a body, or a password or parameter in a URL"
                    .to_owned(),
            );
        }
        let (added, changed, removed, unchanged) =
            (self.added.len(), self.changed.len(), self.removed.len(), self.unchanged);
        lines.push(format!("targets: {added} added, {changed} changed, {removed} removed, {unchanged} unchanged"));
        lines.join("\n") + "\n"
    }
}

/// Over the API anything may have got into the database.
fn shown(text: &str) -> String {
    if text.is_empty() { "(none)".to_owned() } else { text.replace(char::is_control, " ") }
}

impl Goal {
    fn promise(&self) -> String {
        let window = settings::duration::format(Duration::from_secs_f64(self.window_seconds.max(0.0)));
        format!("{} % over {window}", self.objective_percent)
    }
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, of {}", self.promise(), shown(&self.service))
    }
}
