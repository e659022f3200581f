//! The `worker` binary: flags in, exit status out.

use std::process::ExitCode;

use clap::Parser;
use settings::{LogArgs, Problems, SettingsError, TraceArgs};
use tokio_util::sync::CancellationToken;
use worker::config::WorkerArgs;

/// Gives memory back that a burst of checks or answers took, which the one of the C library seldom does.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Probes targets on time and stores every slot. Waits for Postgres and for api to apply the migrations.
#[derive(Debug, Parser)]
#[command(
    name = "worker",
    version,
    after_help = "\
Exit status: 0 after a clean stop (Ctrl-C, SIGTERM), 1 when something failed, 2 when the settings are unusable.

Example:
  DATABASE_URL=postgres://lookout@localhost/lookout worker --urls 'https://example.org https://example.com' --interval 30s"
)]
struct Cli {
    #[command(flatten)]
    worker: WorkerArgs,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    traces: TraceArgs,
    /// Ask the worker that runs with these settings whether it is alive, and exit 0 if it is
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
    let _traces = cli.log.init_with_traces(&traces, "lookout-worker", &mut problems);
    let config = cli.worker.resolve(&mut problems);
    problems.finish()?;
    let Some(config) = config else { return Ok(()) };
    if cli.healthcheck {
        let address = config
            .listen
            .ok_or_else(|| SettingsError::one("WORKER_ADDR (--worker-addr): not set, so there is nobody to ask"))?;
        return settings::process::ask_health(address, "/healthz");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .on_thread_start(worker::come_after_probes)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        settings::process::cancel_on_signal(stop.clone())?;
        worker::run(config, stop).await
    })
}
