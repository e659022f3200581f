//! `lookout check`: asks the endpoints of a file again and again, without a database or a server.

mod domain;
mod file;
mod grid;
mod json;
mod options;
mod print;
mod results;
mod run;
mod tally;
mod text;

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use chrono::Utc;
use clap::{Args, ValueEnum};
use common::TargetSpec;
use settings::file::cannot_read;
use settings::{LogArgs, Problems, SettingsError};
use tokio_util::sync::CancellationToken;
use worker::fair::{Canaries, Fair};
use worker::probe::{Prepared, Prober};

use crate::input::{BLOCK, Input, Progress};
use domain::domain;
use options::Options;
use print::Printer;
use run::{End, Endpoint, Plan};
use tally::{Status, Tally};

/// Flags of `lookout check`.
#[derive(Debug, Clone, Args)]
pub(crate) struct CheckArgs {
    /// The endpoints: a YAML list, each with name and url
    #[arg(value_name = "CONFIG_FILE")]
    file: PathBuf,

    /// Start a cycle every so often
    #[arg(short = 'f', long, value_name = "SECONDS", default_value = "15", allow_hyphen_values = true)]
    health_check_frequency: String,

    /// Stop after so long; without it, Ctrl-C
    #[arg(short = 'r', long, value_name = "SECONDS", allow_hyphen_values = true)]
    run_duration: Option<String>,

    /// A slower success is DEGRADED
    #[arg(long, value_name = "MILLISECONDS", default_value = "500", allow_hyphen_values = true)]
    degraded_after: String,

    /// What a cycle prints
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Text)]
    format: Format,

    /// Exit with 1 when an endpoint ends so, or worse
    #[arg(long, value_enum, value_name = "STATUS", default_value_t = FailOn::Never)]
    fail_on: FailOn,

    /// Request nothing: report on recorded results, also gzipped (- is standard input)
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,

    /// Read the file, report every problem, start nothing
    #[arg(long)]
    validate: bool,

    /// Requests under way at once, from 1 [default: 1000]
    #[arg(long, env = "WORKERS_COUNT", value_name = "N", help_heading = "Probing")]
    workers_count: Option<String>,

    #[command(flatten)]
    log: LogArgs,
}

/// The forms of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Tables, for people
    Text,
    /// One JSON object a line, for programs
    Json,
}

/// The last result of an endpoint that makes a run a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Its last result is DOWN
    Down,
    /// Its last result is DEGRADED or DOWN
    Degraded,
    /// Whatever the results
    Never,
}

impl FailOn {
    fn exit_code(self, tally: &Tally) -> ExitCode {
        let limit = match self {
            Self::Down => Status::Down,
            Self::Degraded => Status::Degraded,
            Self::Never => return ExitCode::SUCCESS,
        };
        if tally.worst_last() >= Some(limit) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

pub(crate) const EXAMPLES: &str = r#"The file:
  - name: home
    url: https://example.org/
  - name: orders
    url: https://api.example.org/orders
    method: POST                                # default: GET
    headers: {authorization: Bearer abc}
    body: '{"probe": true}'                     # sent as application/json, unless a header says otherwise
    timeout: 2s                                 # default: until a tenth of a second before the next cycle
    degraded_after: 800ms                       # default: --degraded-after
The service takes the same file (lookout --config FILE) and more in it; README.md has every field.

In each cycle all endpoints are asked at once. UP is a status from 200 to 299 in time, DEGRADED the same but slower,
DOWN any other status or no complete response; its cause is status, dns, refused, timeout, reset, tls, protocol, body,
redirect, or unknown when the reason is on this machine. Cycles start on time however slowly anybody answers.
Availability is the share of UP since the start, by domain, in whole percent with the decimals dropped.

Examples:
  lookout check endpoints.yaml                                     every 15 s until Ctrl-C
  lookout check -f 5 -r 60 --fail-on down endpoints.yaml           a smoke test of a minute
  lookout check --format json endpoints.yaml | jq -c .domains
  lookout check --validate endpoints.yaml                          is the file right?
  lookout check --results results.jsonl --format json endpoints.yaml
    where a line of results.jsonl is {"url": "https://example.org/", "status": 200, "elapsed_ms": 12.5}

Ctrl-C and SIGTERM print the final report of all that was measured; a second Ctrl-C ends at once.

Exit status: 0 the run ended, also by Ctrl-C; 1 --fail-on was met, or something failed here; 2 the command line or the
file is unusable, with every problem on a line of its own and nothing requested."#;

/// Runs the command.
pub(crate) fn main(args: &CheckArgs) -> ExitCode {
    run(args).unwrap_or_else(|error| settings::process::exit_code(Err(error)))
}

fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let mut problems = Problems::new();
    args.log.init(&mut problems);
    let options = Options::read(args, &mut problems);
    let targets = file::read(&args.file, options.degraded_after, &mut problems);
    problems.finish()?;
    let targets = targets.context("the file was refused without a reason; this is a bug in lookout")?;
    if args.validate {
        let count = crate::text::counted(targets.len(), "endpoint");
        eprintln!("{}: nothing is wrong; {count}", args.file.display());
        return Ok(ExitCode::SUCCESS);
    }
    let tally = match &args.results {
        Some(path) => report_on(path, &targets, &options, args.format)?,
        None => watch(&targets, &options, args.format)?,
    };
    Ok(args.fail_on.exit_code(&tally))
}

/// Classifies what was recorded elsewhere.
fn report_on(path: &Path, targets: &[TargetSpec], options: &Options, format: Format) -> anyhow::Result<Tally> {
    let name = path.display().to_string();
    let unreadable = |error: io::Error| SettingsError::one(format_args!("--results: {}", cannot_read(&name, &error)));
    let input = Input::open(path, &Progress::of(&[path])).map_err(unreadable)?;
    let input = io::BufReader::with_capacity(BLOCK, input);
    let recorded = results::read(input, &name, targets, options.degraded_after).map_err(|error| match error {
        results::ReadError::Io(error) => unreadable(error),
        results::ReadError::Lines(error) => error,
    })?;
    let printed = print::print(format, |out| match format {
        Format::Text => recorded.write_text(out),
        Format::Json => recorded.write_json(out),
    });
    written(printed)?;
    Ok(recorded.tally)
}

/// Runs cycles until the end or a signal.
fn watch(targets: &[TargetSpec], options: &Options, format: Format) -> anyhow::Result<Tally> {
    let plan = Plan {
        grid: options.grid,
        // More than there are endpoints are never under way, except where a cycle begins while the last one ends.
        at_once: worker::descriptors::fit(options.at_once.min(2 * targets.len().max(1))),
        endpoints: targets
            .iter()
            .map(|target| Endpoint {
                name: common::name_for_log(&target.name),
                timeout: target.timeout,
                degraded_after: target.degraded_after,
            })
            .collect(),
    };
    let tally = Tally::new(targets.iter().map(|target| (target.name.clone(), domain(target.url.as_written()))));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let stop = CancellationToken::new();
        settings::process::cancel_on_signal(stop.clone())?;
        let prober = Prober::new()?;
        // It watches over the thread of the probes, whom others must not keep busy.
        let _watch = Fair::new(prober.clone(), Canaries::Nobody, Arc::default());
        let prepared: Arc<[Prepared]> = targets.iter().map(Prepared::new).collect();
        let ask = move |endpoint: usize, within| {
            let (prober, prepared) = (prober.clone(), Arc::clone(&prepared));
            async move { prober.check_within(&prepared[endpoint], within).await }
        };
        let mut printer = Printer::start(format, targets.len(), stop.clone())?;
        let (end, report) = run::run(&plan, tally, ask, Utc::now, &mut printer, &stop).await;
        let tally = report.tally.clone();
        // A reader who takes his time must not keep a second Ctrl-C from ending all this.
        let printed = tokio::task::spawn_blocking(move || printer.finish(report)).await?;
        let is_read = written(printed)?;
        anyhow::Ok((end, is_read, tally))
    });
    runtime.shutdown_background();
    let (end, is_read, tally) = outcome?;
    match end {
        End::Stopped if is_read => eprintln!("Monitoring stopped by user."),
        End::Stopped => {}
        End::Complete => eprintln!("Run complete!"),
    }
    Ok(tally)
}

/// Whether somebody read what was written. Whoever stops reading has seen enough: that is no failure.
fn written(result: io::Result<()>) -> anyhow::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(anyhow!("cannot write the report: {error}")),
    }
}
