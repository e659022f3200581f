//! `lookout`: the command people type. It wires the parts together and prints;
//! it holds no logic of its own.

mod check;
mod import;
mod input;
mod plan;
mod replay;
mod text;
mod token;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use settings::process::exit_code;
use settings::{LogArgs, Problems, SettingsError, TraceArgs};
use tokio_util::sync::CancellationToken;

use check::CheckArgs;
use import::ImportArgs;
use plan::PlanArgs;
use replay::ReplayArgs;
use token::TokenArgs;
use up::UpArgs;

/// Gives memory back that a burst of checks or answers took, which the one of the C library seldom does.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Watches URLs and APIs, keeps every check in Postgres, and shows what is up.
///
/// Without a subcommand it runs `up`: everything in one process.
#[derive(Debug, Parser)]
#[command(name = "lookout", version, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    up: UpArgs,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    traces: TraceArgs,
}

const EXAMPLES: &str = "\
Examples:
  lookout                                          watch a service made up for the occasion
  lookout --urls 'https://example.org' --interval 30s
  lookout --config targets.yaml --api-addr 127.0.0.1:9090
  curl 'http://127.0.0.1:8080/status?limit=3'      what it has seen

Exit status: 0 after a clean stop (Ctrl-C, SIGTERM), 1 when something failed, 2 when the settings are unusable.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in one process: worker, api and, without DATABASE_URL, a private Postgres
    #[command(after_help = EXAMPLES)]
    Up {
        #[command(flatten)]
        up: Box<UpArgs>,
        #[command(flatten)]
        log: LogArgs,
        #[command(flatten)]
        traces: TraceArgs,
    },
    /// Ask the endpoints of a YAML file again and again, and report by domain; no database, no server
    #[command(after_help = check::EXAMPLES)]
    Check(Box<CheckArgs>),
    /// Print what a configuration file would change of what runs, and change nothing
    #[command(after_help = plan::EXAMPLES)]
    Plan(Box<PlanArgs>),
    /// Find the incidents in a recorded stream of requests and changes, or in access logs
    #[command(after_help = replay::EXAMPLES)]
    Replay(Box<ReplayArgs>),
    /// Write a file of targets from a configuration of gatus, uptime-kuma or Prometheus with the blackbox exporter
    #[command(after_help = import::EXAMPLES)]
    Import(ImportArgs),
    /// Make, list and revoke tokens for the API
    #[command(after_help = token::EXAMPLES)]
    Token(TokenArgs),
    /// Print the hash of a password, read from standard input, for DASHBOARD_LOGIN
    #[command(after_help = token::HASH_EXAMPLES)]
    HashPassword,
    /// Start something to watch, a service that fails now and then or on request; or write a stream for replay
    Demo {
        #[command(flatten)]
        log: LogArgs,
        #[command(subcommand)]
        what: demo::Command,
    },
}

fn main() -> ExitCode {
    let cli: Cli = settings::cli::parse();
    match cli.command {
        None => exit_code(up::run(&cli.up, &cli.log, &cli.traces)),
        Some(Command::Up { up, log, traces }) => exit_code(up::run(&up, &log, &traces)),
        Some(Command::Check(args)) => check::main(&args),
        Some(Command::Plan(args)) => plan::main(&args),
        Some(Command::Replay(args)) => replay::main(&args),
        Some(Command::Import(args)) => exit_code(import::run(&args)),
        Some(Command::Token(args)) => exit_code(token::run(&args)),
        Some(Command::HashPassword) => exit_code(token::hash_password()),
        Some(Command::Demo { log, what }) => exit_code(run_demo(&log, what)),
    }
}

fn run_demo(log: &LogArgs, what: demo::Command) -> anyhow::Result<()> {
    let mut problems = Problems::new();
    log.init(&mut problems);
    problems.finish()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        settings::process::cancel_on_signal(stop.clone())?;
        // What stops one that serves is an address that cannot be had; the others may fail at what they do.
        let serves = !matches!(what, demo::Command::Traffic(_) | demo::Command::Story(_) | demo::Command::Events(_));
        demo::run(what, stop)
            .await
            .map_err(|error| if serves { SettingsError::one(format!("{error:#}")).into() } else { error })
    })
}
