//! Log lines: which ones, in which form. They go to standard error, so that
//! standard output stays free for answers.

use std::io::IsTerminal;

use clap::Args;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::problems::Problems;
use crate::traces::{self, TraceArgs, Traces};

/// What is logged, and how.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Logs")]
pub struct LogArgs {
    /// Least important line that is logged: error, warn, info, debug, trace or off; also
    /// directives by module, such as worker=debug,info [default: info]
    #[arg(long, env = "LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// Form of log lines: text, or json with one object a line [default: text]
    #[arg(long, env = "LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<String>,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    Json,
}

/// It has an error to tell of every malformed request, and so whoever sends them decides how much is logged.
const ANYBODY: &str = "actix_http::h1::dispatcher";

/// It shows the values of parameters of a database URL that it does not know, and they may be secrets.
const TELLTALE: &str = "sqlx_postgres::options::parse";

/// Dependencies that tell more at `info` or `debug` than anybody wants; a directive
/// of their own still shows it.
const NOISY: [&str; 14] = [
    "actix_http",
    "actix_server",
    "h2",
    "hickory_net",
    "hickory_proto",
    "hickory_resolver",
    "hyper",
    "hyper_util",
    "mio",
    "refinery_core",
    "reqwest",
    "rustls",
    "sqlx",
    "tokio_postgres",
];

const LEVEL_RULE: &str =
    "is no log level: write error, warn, info, debug, trace or off, or directives such as worker=debug,info";

impl LogArgs {
    /// Sets up logging for the whole process: to standard error, coloured on a
    /// terminal unless `NO_COLOR` is set, JSON with the fields at the top level.
    ///
    /// Values that are wrong are noted, and the defaults stand in for them. Where
    /// logging is set up already, as in tests, it stays as it is.
    pub fn init(&self, problems: &mut Problems) {
        drop(self.init_with_traces(&TraceArgs::default(), "lookout", problems));
    }

    /// As [`LogArgs::init`], and sends spans where `traces` name a collector, for `service`. To be called
    /// outside of a runtime; what it returns is to be dropped last, and sends what is left.
    pub fn init_with_traces(&self, traces: &TraceArgs, service: &'static str, problems: &mut Problems) -> Traces {
        let filter = self.filter(problems);
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let lines = match self.format(problems) {
            Format::Text => lines.with_ansi(wants_colour()).boxed(),
            Format::Json => lines.json().flatten_event(true).with_ansi(false).boxed(),
        };
        let (traces, spans) = traces.start(service, problems);
        // The one error is that logging is set up already.
        let _ = match spans {
            // A filter for everything is the cheaper one.
            None => tracing_subscriber::registry().with(lines).with(filter).try_init(),
            Some(spans) => tracing_subscriber::registry().with(lines.with_filter(filter)).with(spans).try_init(),
        };
        traces
    }

    fn filter(&self, problems: &mut Problems) -> Targets {
        let Some(raw) = self.log_level.as_deref() else {
            return filter("info").unwrap_or_default();
        };
        filter(raw).unwrap_or_else(|| {
            problems.value("LOG_LEVEL", "--log-level", raw, LEVEL_RULE);
            filter("info").unwrap_or_default()
        })
    }

    fn format(&self, problems: &mut Problems) -> Format {
        match self.log_format.as_deref() {
            None | Some("text") => Format::Text,
            Some("json") => Format::Json,
            Some(raw) => {
                problems.value("LOG_FORMAT", "--log-format", raw, "is neither text nor json");
                Format::Text
            }
        }
    }
}

/// Reads a level or directives, separated by commas.
///
/// Stricter than the parser of tracing-subscriber, which takes the misspelt level
/// `inof` for a module to be logged in full.
fn filter(text: &str) -> Option<Targets> {
    let mut default = None;
    let mut modules = Vec::new();
    for directive in text.split(',') {
        match directive.split_once('=') {
            None => {
                if default.replace(level(directive)?).is_some() {
                    return None;
                }
            }
            Some((module, directive)) => {
                let module = module.trim();
                let is_module = |c: char| c.is_ascii_alphanumeric() || "_:.-".contains(c);
                if module.is_empty() || !module.chars().all(is_module) {
                    return None;
                }
                modules.push((module.to_owned(), level(directive)?));
            }
        }
    }
    let default = default.unwrap_or(LevelFilter::INFO);
    let quiet = default.min(LevelFilter::WARN);
    let noisy = NOISY.map(|module| (module, quiet)).into_iter().chain([(ANYBODY, LevelFilter::OFF)]);
    // Spans for a collector are no lines, and not part of any.
    let never = [traces::TARGET, TELLTALE].map(|module| (module, LevelFilter::OFF));
    Some(Targets::new().with_default(default).with_targets(noisy).with_targets(modules).with_targets(never))
}

fn level(text: &str) -> Option<LevelFilter> {
    Some(match text.trim().to_ascii_lowercase().as_str() {
        "off" => LevelFilter::OFF,
        "error" => LevelFilter::ERROR,
        "warn" => LevelFilter::WARN,
        "info" => LevelFilter::INFO,
        "debug" => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        _ => return None,
    })
}

/// Source: no-color.org, "when present and not an empty string".
fn wants_colour() -> bool {
    let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !is_refused && std::io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn noisy_dependencies_are_quiet_unless_asked_for() {
        let debug = filter("debug").unwrap();
        assert!(debug.would_enable("worker::schedule", &Level::DEBUG));
        assert!(!debug.would_enable("hyper::client", &Level::INFO));
        assert!(debug.would_enable("hyper::client", &Level::WARN));
        let asked = filter("hyper=trace,info").unwrap();
        assert!(asked.would_enable("hyper::client", &Level::TRACE));
        assert!(!filter("error").unwrap().would_enable("hyper", &Level::WARN));
    }

    #[test]
    fn spans_for_a_collector_are_in_no_log() {
        for text in ["info", "trace", "traces=trace,info"] {
            assert!(!filter(text).unwrap().would_enable(traces::TARGET, &Level::ERROR), "{text}");
        }
    }

    #[test]
    fn what_shows_parameters_of_a_database_url_is_in_no_log() {
        for text in ["info", "trace", "sqlx_postgres=trace,info", "sqlx_postgres::options::parse=warn"] {
            assert!(!filter(text).unwrap().would_enable("sqlx_postgres::options::parse", &Level::WARN), "{text}");
        }
    }

    #[test]
    fn directives_hold_for_their_module_and_the_level_for_the_rest() {
        let filter = filter(" worker=debug , WARN ").unwrap();
        assert!(filter.would_enable("worker::probe", &Level::DEBUG));
        assert!(!filter.would_enable("api", &Level::INFO));
    }

    #[test]
    fn a_misspelt_level_or_format_is_a_problem() {
        for text in ["inof", "5", "info,debug", "worker=", "=info", "worker=5", "a b=info", ","] {
            assert!(filter(text).is_none(), "{text}");
        }
        let args = LogArgs { log_level: Some("inof".into()), log_format: Some("xml".into()) };
        let mut problems = Problems::new();
        args.init(&mut problems);
        let lines = problems.finish().unwrap_err().to_string();
        assert!(lines.contains("LOG_LEVEL (--log-level): \"inof\" is no log level"));
        assert!(lines.contains("LOG_FORMAT (--log-format): \"xml\" is neither text nor json"));
    }
}
