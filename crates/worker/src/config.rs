//! What a worker is told: flags, with environment variables behind them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use clap::Args;
use common::{Reach, ServiceSpec, Source, TargetSpec};
use settings::{ConfigFile, DatabaseArgs, Problems, ReachArgs, TargetArgs, TargetList};

use crate::fair::Canaries;
use crate::housekeeping::Retention;
use crate::plan::Limits;
use crate::spool::{self, SpoolSettings};

/// Probes in flight at once, unless said otherwise.
pub const DEFAULT_WORKERS_COUNT: usize = 1_000;

/// Results kept in memory while Postgres is away: about 100 bytes each.
pub const DEFAULT_MAX_BUFFERED: usize = 1_000_000;

/// Flags of the `worker` binary and of `lookout up`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Probing")]
pub struct ProbeArgs {
    /// Probes in flight at once, from 1; half of them at most go to one server or to targets that hang [default: 1000]
    #[arg(long, env = "WORKERS_COUNT", value_name = "N")]
    pub workers_count: Option<String>,

    /// Results kept in memory while Postgres is away and the disk does not take them, about 100 bytes each [default: 1000000]
    #[arg(long, env = "MAX_BUFFERED", value_name = "N")]
    pub max_buffered: Option<String>,

    /// Results kept on disk while Postgres is away, 64 bytes each [default: 1000000]
    #[arg(long, env = "SPOOL_MAX", value_name = "N")]
    pub spool_max: Option<String>,

    /// Servers that tell whether our own network works, like 192.0.2.1:443, or off [default: the name servers of this machine]
    #[arg(long, env = "CANARIES", value_name = "SERVERS")]
    pub canaries: Option<String>,

    /// How long each check is kept, in days [default: 30]
    #[arg(long, env = "RETENTION_CHECKS", value_name = "DAYS")]
    pub retention_checks: Option<String>,

    /// How long minute roll-ups are kept, in days [default: 30]
    #[arg(long, env = "RETENTION_MINUTES", value_name = "DAYS")]
    pub retention_minutes: Option<String>,

    /// How long hour roll-ups are kept, in days; day roll-ups are kept for ever [default: 400]
    #[arg(long, env = "RETENTION_HOURS", value_name = "DAYS")]
    pub retention_hours: Option<String>,

    /// Where /healthz, /readyz and /metrics of the worker listen, e.g. 127.0.0.1:8081 [default: nowhere]
    #[arg(long, env = "WORKER_ADDR", value_name = "IP:PORT")]
    pub worker_addr: Option<String>,
}

/// Flags of the `worker` binary.
#[derive(Debug, Clone, Args)]
pub struct WorkerArgs {
    #[command(flatten)]
    targets: TargetArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    probes: ProbeArgs,
    #[command(flatten)]
    reach: ReachArgs,
    /// Where results are kept while Postgres is away, in a folder "spool"; without it they stay in memory
    #[arg(long, env = "LOOKOUT_DATA_DIR", value_name = "DIR", help_heading = "Probing")]
    data_dir: Option<PathBuf>,
}

/// A worker's configuration, validated.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where Postgres is.
    pub database_url: String,
    /// What to probe.
    pub targets: Vec<TargetSpec>,
    /// Who answers for what.
    pub services: Vec<ServiceSpec>,
    /// Digest of the list's meaning, the same for the same list.
    pub digest: u64,
    /// The file the list comes from, to be read again when it changes.
    pub file: Option<ConfigFile>,
    /// The sources the list speaks for: targets of these that it lacks are removed.
    pub sources: Vec<Source>,
    /// How many probes may be under way.
    pub limits: Limits,
    /// Results kept in memory at most.
    pub max_buffered: usize,
    /// Where results go while Postgres is away, if not to memory only.
    pub spool: Option<SpoolSettings>,
    /// Results kept on disk at most.
    pub spool_max: usize,
    /// Who tells whether our own network works.
    pub canaries: Canaries,
    /// Where health is served.
    pub listen: Option<SocketAddr>,
    /// How long what is kept.
    pub retention: Retention,
    /// How far targets that were made over the API reach.
    pub api_targets: Reach,
}

impl WorkerArgs {
    /// Validates everything and reports all problems at once. `None` when there are any.
    pub fn resolve(&self, problems: &mut Problems) -> Option<Config> {
        let database_url = self.database.require(problems);
        let targets = self.targets.resolve(problems);
        let probes = self.probes.resolve(problems);
        let api_targets = self.reach.resolve(problems);
        let targets = targets?;
        let is_listed = !targets.targets.is_empty() || self.targets.config.is_some();
        if !is_listed {
            tracing::warn!(
                "no targets of its own: name some in URLS (--urls) or in a file (LOOKOUT_CONFIG, --config); \
                 meanwhile what is posted to /api/v1/targets is probed"
            );
        }
        for warning in &targets.warnings {
            tracing::warn!("{warning}");
        }
        let (database_url, probes) = (database_url?, probes?);
        let config = Config::new(database_url.as_str().to_owned(), targets, probes, problems)?;
        // A variable that somebody forgot must not take out what is watched.
        let sources = if is_listed || self.targets.is_empty_meant() { config.sources } else { Vec::new() };
        Some(Config { file: self.targets.file(), sources, api_targets, ..config }.keeping(self.data_dir.as_deref()))
    }
}

/// What [`ProbeArgs`] come to.
#[derive(Debug, Clone)]
pub struct ProbeSettings {
    /// How many probes may be under way.
    pub limits: Limits,
    /// Results kept in memory at most.
    pub max_buffered: usize,
    /// Results kept on disk at most.
    pub spool_max: usize,
    /// Who tells whether our own network works.
    pub canaries: Canaries,
    /// Where health is served.
    pub listen: Option<SocketAddr>,
    /// How long what is kept.
    pub retention: Retention,
}

impl ProbeArgs {
    /// Validates the flags and reports all problems at once. `None` when there are any.
    pub fn resolve(&self, problems: &mut Problems) -> Option<ProbeSettings> {
        let before = problems.len();
        let keep = Retention::default();
        let mut days =
            |variable, flag, raw: &Option<String>, default| days(problems, variable, flag, raw.as_deref(), default);
        let retention = Retention {
            checks: days("RETENTION_CHECKS", "--retention-checks", &self.retention_checks, keep.checks),
            minutes: days("RETENTION_MINUTES", "--retention-minutes", &self.retention_minutes, keep.minutes),
            hours: days("RETENTION_HOURS", "--retention-hours", &self.retention_hours, keep.hours),
        };
        let total = workers_count(problems, self.workers_count.as_deref());
        let max_buffered =
            count(problems, "MAX_BUFFERED", "--max-buffered", self.max_buffered.as_deref(), DEFAULT_MAX_BUFFERED);
        let spool_max = count(problems, "SPOOL_MAX", "--spool-max", self.spool_max.as_deref(), spool::DEFAULT_MAX);
        let listen = self.worker_addr.as_deref().and_then(|raw| {
            raw.parse()
                .map_err(|_| problems.value("WORKER_ADDR", "--worker-addr", raw, "is no address like 127.0.0.1:8081"))
                .ok()
        });
        let canaries = Canaries::parse(self.canaries.as_deref()).unwrap_or_else(|problem| {
            problems.line(format!("CANARIES (--canaries): {problem}"));
            Canaries::Nobody
        });
        (problems.len() == before).then(|| ProbeSettings {
            limits: Limits::for_total(total),
            max_buffered,
            spool_max,
            canaries,
            listen,
            retention,
        })
    }
}

/// How many probes may be under way at once. Where the value is wrong, which is noted, the usual number stands in.
pub fn workers_count(problems: &mut Problems, raw: Option<&str>) -> usize {
    count(problems, "WORKERS_COUNT", "--workers-count", raw, DEFAULT_WORKERS_COUNT)
}

fn count(problems: &mut Problems, variable: &str, flag: &str, raw: Option<&str>, default: usize) -> usize {
    let Some(raw) = raw else { return default };
    match raw.trim().parse::<usize>() {
        Ok(count @ 1..=10_000_000) => count,
        _ => {
            problems.value(variable, flag, raw, "is no whole number from 1 to 10000000");
            default
        }
    }
}

fn days(problems: &mut Problems, variable: &str, flag: &str, raw: Option<&str>, default: TimeDelta) -> TimeDelta {
    let Some(raw) = raw else { return default };
    match raw.trim().parse::<i64>() {
        Ok(days @ 1..=36_500) => TimeDelta::days(days),
        _ => {
            problems.value(variable, flag, raw, "is no whole number of days from 1 to 36500");
            default
        }
    }
}

impl Config {
    /// Puts a configuration together. `None` when its parts do not fit each other, which is noted.
    pub fn new(database_url: String, list: TargetList, probes: ProbeSettings, problems: &mut Problems) -> Option<Self> {
        let ProbeSettings { limits, max_buffered, spool_max, canaries, listen, retention } = probes;
        if let Some(problem) = longest_window(&list.services, retention) {
            problems.line(problem);
            return None;
        }
        Some(Self {
            database_url,
            file: None,
            digest: list.digest,
            targets: list.targets,
            services: list.services,
            // One list at a time: moving from URLS to a file takes the old ones out.
            sources: vec![Source::Env, Source::File],
            limits,
            max_buffered,
            spool: None,
            spool_max,
            canaries,
            listen,
            retention,
            api_targets: Reach::default(),
        })
    }

    /// The same, with results kept below this directory while Postgres is away.
    pub fn keeping(self, data_dir: Option<&Path>) -> Self {
        let spool = data_dir.map(|dir| SpoolSettings { directory: dir.join("spool"), max: self.spool_max });
        Self { spool, ..self }
    }
}

/// What is wrong with the windows of services: one that is longer than checks are kept
/// would always look at less than was promised.
pub(crate) fn longest_window(services: &[ServiceSpec], retention: Retention) -> Option<String> {
    let windows = services.iter().flat_map(|service| {
        let goals = service.endpoints.iter().map(|endpoint| endpoint.goal).chain([service.goal]);
        goals.filter_map(|goal| Some((goal.window?, service.name.as_str())))
    });
    let (window, service) = windows.max()?;
    (window > retention.checks.to_std().unwrap_or_default()).then(|| {
        format!(
            "LOOKOUT_CONFIG (--config): the window {} of the service {service:?} is longer than checks are kept: \
             RETENTION_CHECKS (--retention-checks) is {} days",
            settings::duration::format(window),
            retention.checks.num_days(),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::{EndpointSpec, Goal};

    use super::*;

    /// The problem of flags that are otherwise not set.
    fn problem(args: ProbeArgs) -> String {
        let mut problems = Problems::new();
        assert!(args.resolve(&mut problems).is_none());
        problems.finish().unwrap_err().to_string()
    }

    fn nothing() -> ProbeArgs {
        ProbeArgs {
            workers_count: None,
            max_buffered: None,
            spool_max: None,
            canaries: None,
            retention_checks: None,
            retention_minutes: None,
            retention_hours: None,
            worker_addr: None,
        }
    }

    #[test]
    fn c46_a_window_longer_than_checks_are_kept_names_both() {
        let service = |hours: u64, of_endpoint: Option<u64>| {
            let goal = |hours: u64| Goal { objective_nano: None, window: Some(Duration::from_secs(hours * 3_600)) };
            let endpoint = |hours| EndpointSpec { verb: "GET".into(), resource: "/".into(), goal: goal(hours) };
            ServiceSpec {
                name: "shop".to_owned(),
                owner_name: None,
                owner_email: None,
                goal: goal(hours),
                endpoints: of_endpoint.map(endpoint).into_iter().collect(),
            }
        };
        let kept = Retention { checks: TimeDelta::days(7), ..Retention::default() };
        assert_eq!(longest_window(&[service(168, None)], kept), None);
        assert_eq!(longest_window(&[], kept), None);
        for services in [[service(169, None)], [service(1, Some(169))]] {
            assert_eq!(
                longest_window(&services, kept).unwrap(),
                "LOOKOUT_CONFIG (--config): the window 169h of the service \"shop\" is longer than checks are kept: \
                 RETENTION_CHECKS (--retention-checks) is 7 days"
            );
        }
    }

    #[test]
    fn c47_no_probe_at_all_at_once_is_refused_with_the_range() {
        assert_eq!(
            problem(ProbeArgs { workers_count: Some("0".to_owned()), ..nothing() }),
            "WORKERS_COUNT (--workers-count): \"0\" is no whole number from 1 to 10000000"
        );
    }

    #[test]
    fn c49_a_variable_of_the_wrong_type_is_named() {
        let args = ProbeArgs {
            workers_count: Some("many".to_owned()),
            retention_checks: Some("1w".to_owned()),
            worker_addr: Some("here".to_owned()),
            ..nothing()
        };
        assert_eq!(
            problem(args).lines().collect::<Vec<_>>(),
            [
                "RETENTION_CHECKS (--retention-checks): \"1w\" is no whole number of days from 1 to 36500",
                "WORKERS_COUNT (--workers-count): \"many\" is no whole number from 1 to 10000000",
                "WORKER_ADDR (--worker-addr): \"here\" is no address like 127.0.0.1:8081",
            ]
        );
    }
}
