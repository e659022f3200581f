//! `lookout replay`: finds the incidents in what was recorded.

mod text;

use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use engine::{Info, InfoError, InfoReason, Mode, Objective, RejectedLine, Replay, Report, Window};
use logs::{AccessLog, Goal, LogError, Merge, Outcome};
use serde::Serialize;
use settings::SettingsError;

use crate::input::{BLOCK, Input, Progress};

/// Flags of `lookout replay`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReplayArgs {
    /// The stream: a file, also gzipped; - or nothing for standard input
    #[arg(value_name = "STREAM", conflicts_with = "access_log")]
    stream: Option<PathBuf>,

    /// The endpoints: a list of objects with name (of the service), verb, resource, slo (0 to 1) and window (seconds)
    #[arg(long, value_name = "FILE", required_unless_present = "access_log")]
    info: Option<PathBuf>,

    /// End at the first line that is wrong (the default)
    #[arg(long, conflicts_with = "lenient")]
    strict: bool,

    /// Skip lines that are wrong, and count and list them
    #[arg(long)]
    lenient: bool,

    /// What is printed
    #[arg(long, value_enum, default_value_t = Format::Json, value_name = "FORMAT")]
    format: Format,

    /// An access log instead of a stream: Common or Combined Log Format, or JSON as Traefik, nginx and Caddy write
    /// it, also gzipped. May be given several times; the logs are merged by time
    #[arg(long, value_name = "FILE", help_heading = "Access logs")]
    access_log: Vec<PathBuf>,

    /// What was rolled out when: the output of git log --format='%H %cI %ae', or of plain git log
    #[arg(long, value_name = "FILE", help_heading = "Access logs")]
    changes: Option<PathBuf>,

    /// The service whose changes they are; without --info, also whose endpoints [default: the only one of --info, or app]
    #[arg(long, value_name = "NAME", help_heading = "Access logs")]
    service: Option<String>,

    /// Without --info: the share of good requests below which an endpoint is unhealthy [default: 0.9]
    #[arg(long, value_name = "SHARE", requires = "access_log", conflicts_with = "info", help_heading = "Access logs")]
    objective: Option<String>,

    /// Without --info: how far back requests count, such as 30s or 5m [default: 5m]
    #[arg(long, value_name = "TIME", requires = "access_log", conflicts_with = "info", help_heading = "Access logs")]
    window: Option<String>,
}

/// The forms of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One JSON object, for programs
    Json,
    /// Tables, for people
    Text,
}

pub(crate) const EXAMPLES: &str = r#"What is read, one event a line:
  {"type": "access", "value": "1543443091.2745 GET /api/orders 500"}
  {"type": "change", "value": "commit: 191b6ce2\nAuthor: <a@example.org>\nDate: 2018-11-28 14:11:31\nService: orders\n"}
  {"type": "end-of-stream"}
A status from 500 on is a failure. The same with Python's quotes and words is understood too.

The endpoints (--info):
  [{"name": "orders", "verb": "GET", "resource": "/api/orders", "slo": 0.999, "window": 60}]

An incident lasts from the request that takes an endpoint's share of good requests below its slo to the one that
brings it back. docs/SLO.md has every definition.

In an access log a request means the endpoint of --info with its query, else the one without; requests to others are
counted and left out. Without --info, each verb and path is an endpoint, without its query.

Examples:
  lookout replay --info info.json stream.jsonl
  zcat stream-*.gz | lookout replay --info info.json --lenient --format text
  git log --format='%H %cI %ae' > changes.txt
  lookout replay --access-log access.log.1 --access-log access.log --changes changes.txt --format text
  lookout demo events --lines 100000 --info info.json > stream.jsonl       something to try it with

Exit status: 0 with a report, 1 when a line is wrong (strict) or something cannot be read, 2 when the endpoints or
the command line are unusable. Without a report nothing is printed on standard output."#;

/// Runs the command and says on standard error why it failed, if it did: `line 7: bad-status: …`.
pub(crate) fn main(args: &ReplayArgs) -> ExitCode {
    match run(args) {
        Err(error) if error.is::<RejectedLine>() || matches!(error.downcast_ref(), Some(LogError::Rejected(_))) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
        result => settings::process::exit_code(result),
    }
}

/// Reads everything and prints the report at the end.
///
/// # Errors
/// [`SettingsError`] for unusable endpoints or flags, [`RejectedLine`] or [`LogError`] for a wrong line in a strict
/// run; anything else cannot be read or written.
fn run(args: &ReplayArgs) -> anyhow::Result<()> {
    let mode = if args.lenient { Mode::Lenient } else { Mode::Strict };
    // Said here and not by clap: what a log needs conflicts with a stream, and clap then asks for nothing.
    if args.access_log.is_empty() && (args.changes.is_some() || args.service.is_some()) {
        let message = "--changes and --service go with --access-log; a stream has its changes in it";
        return Err(SettingsError::one(message).into());
    }
    let info = args.info.as_deref().map(read_info).transpose()?;
    match info {
        Some(info) if args.access_log.is_empty() => {
            let report = replay_stream(&info, mode, args.stream.as_deref())?;
            print(args.format, &report, |out| text::write(out, &report, &[]))
        }
        info => {
            let outcome = replay_logs(info.as_ref(), mode, args)?;
            let notes = notes(&outcome);
            let answer = LogReport {
                report: &outcome.report,
                requests: Requests {
                    judged: outcome.judged,
                    unlisted: outcome.unlisted,
                    no_request: outcome.no_request,
                },
            };
            print(args.format, &answer, |out| text::write(out, &outcome.report, &notes))
        }
    }
}

fn read_info(path: &Path) -> anyhow::Result<Info> {
    let mut text = Vec::new();
    let read = Input::open(path, &Progress::none()).and_then(|mut input| input.read_to_end(&mut text));
    let info = match read {
        Ok(_) => Info::parse(&text),
        Err(error) => {
            let explanation = format!("cannot read {}: {error}", path.display());
            Err(InfoError { reason: InfoReason::BadInfo, explanation })
        }
    };
    info.map_err(|error| SettingsError::one(format_args!("info: {error}")).into())
}

fn replay_stream(info: &Info, mode: Mode, path: Option<&Path>) -> anyhow::Result<Report> {
    let path = path.unwrap_or(Path::new("-"));
    let progress = Progress::of(&[path]);
    let mut input = open(path, &progress)?;
    let mut replay = Replay::new(info, mode);
    let mut block = vec![0; BLOCK];
    loop {
        let length = match input.read(&mut block) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        if !replay.feed(&block[..length])? {
            break;
        }
    }
    Ok(replay.finish()?)
}

fn open(path: &Path, progress: &Progress) -> anyhow::Result<Input> {
    Input::open(path, progress)
        .map_err(|error| SettingsError::one(format_args!("cannot read {}: {error}", path.display())).into())
}

fn replay_logs(info: Option<&Info>, mode: Mode, args: &ReplayArgs) -> anyhow::Result<Outcome> {
    let service = service(info, args)?;
    let mut merge = match info {
        Some(info) => Merge::of_listed(info, mode),
        None => {
            let goal = Goal { service: service.clone(), objective: objective(args)?, window: window(args)? };
            eprintln!(
                "without --info: each verb and path is an endpoint of {:?} with objective {} over {} s",
                goal.service, goal.objective, goal.window
            );
            Merge::of_all(goal, mode)
        }
    };
    if let Some(path) = &args.changes {
        let mut text = Vec::new();
        open(path, &Progress::none())?
            .read_to_end(&mut text)
            .with_context(|| format!("cannot read {}", path.display()))?;
        merge
            .changes(&service, &path.display().to_string(), &String::from_utf8_lossy(&text))
            .map_err(LogError::from)?;
    }
    let paths: Vec<&Path> = args.access_log.iter().map(PathBuf::as_path).collect();
    let progress = Progress::of(&paths);
    let mut logs = Vec::new();
    for path in paths {
        let reader = io::BufReader::with_capacity(BLOCK, open(path, &progress)?);
        logs.push(AccessLog::new(path.display().to_string(), reader));
    }
    Ok(merge.run(logs)?)
}

/// Whose the changes are.
fn service(info: Option<&Info>, args: &ReplayArgs) -> Result<String, SettingsError> {
    let Some(info) = info else {
        return Ok(args.service.clone().unwrap_or_else(|| "app".to_owned()));
    };
    let mut services: Vec<&str> = info.endpoints().iter().map(|endpoint| endpoint.service.as_str()).collect();
    services.sort_unstable();
    services.dedup();
    match (&args.service, services.as_slice()) {
        (Some(name), services) if services.contains(&name.as_str()) => Ok(name.clone()),
        (Some(name), _) => Err(SettingsError::one(format_args!("--service: no endpoint belongs to {name:?}"))),
        (None, [only]) => Ok((*only).to_owned()),
        (None, _) if args.changes.is_some() => {
            Err(SettingsError::one("--changes: say with --service whose they are, --info has more than one service"))
        }
        (None, _) => Ok(String::new()),
    }
}

fn objective(args: &ReplayArgs) -> Result<Objective, SettingsError> {
    let text = args.objective.as_deref().unwrap_or("0.9");
    Objective::parse(text).map_err(|error| SettingsError::one(format_args!("--objective: {text:?} {error}")))
}

fn window(args: &ReplayArgs) -> Result<Window, SettingsError> {
    let text = args.window.as_deref().unwrap_or("5m");
    let wrong = |rule: String| SettingsError::one(format_args!("--window: {text:?} {rule}"));
    let length = settings::duration::parse(text).map_err(|error| wrong(error.to_string()))?;
    u64::try_from(length.as_nanos())
        .ok()
        .and_then(|nanos| Window::from_nanos(nanos).ok())
        .ok_or_else(|| wrong("is 0 or longer than 9000000000 seconds".to_owned()))
}

/// A report on logs also says what became of the requests in them.
#[derive(Serialize)]
struct LogReport<'a> {
    #[serde(flatten)]
    report: &'a Report,
    requests: Requests,
}

#[derive(Serialize)]
struct Requests {
    judged: u64,
    unlisted: u64,
    no_request: u64,
}

fn notes(outcome: &Outcome) -> Vec<String> {
    let plural = |count: u64, one: &'static str, many: &'static str| match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {many}"),
    };
    let endpoints = plural(outcome.endpoints as u64, "endpoint", "endpoints");
    let mut notes =
        vec![format!("{} {endpoints}.", plural(outcome.judged, "request was judged, of", "requests were judged, of"))];
    if outcome.unlisted > 0 {
        let unlisted = plural(outcome.unlisted, "request was", "requests were");
        notes.push(format!("{unlisted} to endpoints that are not in the list."));
    }
    if outcome.no_request > 0 {
        notes.push(format!("{} no request for anything.", plural(outcome.no_request, "line was", "lines were")));
    }
    notes
}

/// Prints in the wanted form. Whoever stops reading has seen enough: that is no failure.
fn print(
    format: Format,
    answer: &impl Serialize,
    text: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> anyhow::Result<()> {
    let result = match format {
        Format::Json => {
            let mut out = BufWriter::new(io::stdout().lock());
            serde_json::to_writer_pretty(&mut out, answer).map_err(io::Error::from).and_then(|()| {
                out.write_all(b"\n")?;
                out.flush()
            })
        }
        Format::Text => {
            // Takes the colours out unless a terminal shows them and NO_COLOR is not set.
            let mut out = BufWriter::new(anstream::AutoStream::auto(io::stdout()));
            text(&mut out).and_then(|()| out.flush())
        }
    };
    match result {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| anyhow!("cannot write the report: {error}")),
    }
}
