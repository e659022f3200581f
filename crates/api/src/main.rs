//! The `api` binary: flags in, exit status out.

use std::process::ExitCode;

use api::config::ApiArgs;
use clap::Parser;
use settings::{LogArgs, Problems, TraceArgs};
use tokio_util::sync::CancellationToken;

/// Gives memory back that a burst of checks or answers took, which the one of the C library seldom does.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Applies the migrations, then answers HTTP; /api/docs/ tells what.
#[derive(Debug, Parser)]
#[command(
    name = "api",
    version,
    after_help = "\
Exit status: 0 after a clean stop (Ctrl-C, SIGTERM), 1 when something failed, 2 when the settings are unusable.

Example:
  DATABASE_URL=postgres://lookout@localhost/lookout api --api-addr 127.0.0.1:8080
  curl 'http://127.0.0.1:8080/status?limit=3'"
)]
struct Cli {
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    traces: TraceArgs,
    /// Ask the api that runs with these settings whether it is alive, and exit 0 if it is
    #[arg(long, help_heading = "Health")]
    healthcheck: bool,
}

fn main() -> ExitCode {
    settings::process::exit_code(run())
}

fn run() -> anyhow::Result<()> {
    let cli: Cli = settings::cli::parse();
    let mut problems = Problems::new();
    // A health check is nothing to be traced. It goes last, when nothing makes spans any more.
    let traces = if cli.healthcheck { TraceArgs::default() } else { cli.traces };
    let _traces = cli.log.init_with_traces(&traces, "lookout-api", &mut problems);
    let config = cli.api.resolve(&mut problems);
    problems.finish()?;
    let Some(config) = config else { return Ok(()) };
    if cli.healthcheck {
        return settings::process::ask_health(config.listen.addr, "/healthz");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        settings::process::cancel_on_signal(stop.clone())?;
        api::run(config, stop).await
    })
}
