//! Whether lookout keeps its promises when things go wrong: each row breaks something, and an oracle
//! that knows every request which reached the targets compares them with what Postgres holds.
//!
//! The worker and the api are this very program again, as processes of their own, so that they can be killed.

mod ask;
mod ground;
mod oracle;
mod rows;
mod running;
mod table;
mod wire;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use ground::Cluster;
use settings::{LogArgs, Problems};
use tokio_util::sync::CancellationToken;

/// Runs rows of faults and prints what became of the promises.
#[derive(Debug, Parser)]
#[command(name = "bench-faults", args_conflicts_with_subcommands = true)]
struct Cli {
    /// Chance follows from this number
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The short rows only, each as short as it can be
    #[arg(long)]
    quick: bool,
    /// These rows only, like F1,F9
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// Write the table to this file, too, as Markdown
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    #[command(subcommand)]
    process: Option<Process>,
}

/// What is watched while it goes wrong.
#[derive(Debug, Subcommand)]
enum Process {
    /// The worker
    Worker {
        #[command(flatten)]
        args: Box<worker::config::WorkerArgs>,
        #[command(flatten)]
        log: LogArgs,
    },
    /// The api
    Api {
        #[command(flatten)]
        args: Box<api::config::ApiArgs>,
        #[command(flatten)]
        log: LogArgs,
    },
    /// The migrations of a newer release, which has one more
    Migrate {
        #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
        database_url: String,
        /// A file like V99__later.sql
        #[arg(long, env = "MIGRATION")]
        migration: PathBuf,
        #[command(flatten)]
        log: LogArgs,
    },
}

fn main() -> ExitCode {
    settings::process::exit_code(run(Cli::parse()))
}

fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.process {
        None => runtime()?.block_on(async {
            let stop = stop()?;
            // Dropped, a row takes its processes with it.
            tokio::select! {
                done = faults(&cli) => done,
                () = stop.cancelled() => bail!("interrupted"),
            }
        }),
        Some(Process::Worker { args, log }) => {
            let mut problems = Problems::new();
            log.init(&mut problems);
            let config = args.resolve(&mut problems);
            problems.finish()?;
            let config = config.context("no configuration")?;
            runtime()?.block_on(async { worker::run(config, stop()?).await })
        }
        Some(Process::Api { args, log }) => {
            let mut problems = Problems::new();
            log.init(&mut problems);
            let config = args.resolve(&mut problems);
            problems.finish()?;
            let config = config.context("no configuration")?;
            runtime()?.block_on(async { api::run(config, stop()?).await })
        }
        Some(Process::Migrate { database_url, migration, log }) => {
            let mut problems = Problems::new();
            log.init(&mut problems);
            problems.finish()?;
            let name = migration.file_stem().and_then(OsStr::to_str).context("a name")?;
            let sql = std::fs::read_to_string(&migration)?;
            runtime()?.block_on(schema::migrate_further(&database_url, name, &sql))?;
            Ok(())
        }
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

fn stop() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    settings::process::cancel_on_signal(stop.clone())?;
    Ok(stop)
}

async fn faults(cli: &Cli) -> anyhow::Result<()> {
    let wanted = |name: &str| {
        cli.rows.is_empty()
            || cli
                .rows
                .iter()
                .any(|row| name.split('/').any(|part| row.eq_ignore_ascii_case(part)) || row.eq_ignore_ascii_case(name))
    };
    let mut cluster = Cluster::start()?;
    let (commit, mut results) = (table::commit(), Vec::new());
    for row in rows::ALL {
        if !wanted(row.name) || cli.quick && !row.is_quick {
            continue;
        }
        eprintln!("{}: {} …", row.name, row.fault);
        let result = rows::play(row, &mut cluster, cli.seed, cli.quick).await;
        eprintln!("{}", table::line(&result));
        results.push(result);
        // After each: who loses patience has something.
        if let Some(path) = &cli.write {
            std::fs::write(path, table::markdown(&results, cli.seed, &commit))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    println!("{}", table::text(&results));
    if results.is_empty() {
        bail!("there is no such row");
    }
    if results.iter().any(table::RowResult::failed) {
        bail!("a promise was not kept");
    }
    Ok(())
}
