//! Flags and variables that several binaries share, as clap groups.
//!
//! Values arrive as raw text and are judged by `resolve`, so that a bad one is
//! answered with variable, flag and rule, together with all the others.

use std::collections::HashMap;
use std::fmt::{self, Display};
use std::path::Path;

use clap::Args;
use common::{Interval, Reach};

use crate::database::DatabaseUrl;
use crate::file::{self, ConfigFile, Mode};
use crate::problems::Problems;
use crate::rules::{self, AboveInterval};
use crate::targets::{Defaults, KEY_MAX_BYTES, TargetList};
use crate::urls;

/// What to watch, and how often.
#[derive(Clone, Default, Args)]
#[command(next_help_heading = "What to watch")]
pub struct TargetArgs {
    /// URLs to watch, separated by white space, or by a comma before http:// or https://.
    /// Ignored when LOOKOUT_CONFIG is set.
    #[arg(long, env = "URLS", value_name = "URLS", hide_env_values = true)]
    pub urls: Option<String>,

    /// How often each URL is requested: 500ms, 1s, 5m, 1h; a bare number is seconds.
    /// From 1s to 24h [default: 10s]
    #[arg(long, env = "POLLING_INTERVAL", value_name = "DURATION", allow_hyphen_values = true)]
    pub interval: Option<String>,

    /// How long one request may take, at most the interval
    /// [default: 5s, or the interval where that is shorter]
    #[arg(long, env = "REQUEST_TIMEOUT", value_name = "DURATION", allow_hyphen_values = true)]
    pub timeout: Option<String>,

    /// A success slower than this is degraded [default: 500ms]
    #[arg(long, env = "DEGRADED_AFTER", value_name = "DURATION", allow_hyphen_values = true)]
    pub degraded_after: Option<String>,

    /// A YAML file of targets, instead of URLS. The other settings are the defaults for its targets. When it
    /// changes, and on SIGHUP, it is read again
    #[arg(long, env = "LOOKOUT_CONFIG", value_name = "FILE")]
    pub config: Option<String>,

    /// Whether a LOOKOUT_CONFIG that has no targets any more is meant, when it is read again, and that there is
    /// neither it nor URLS: on or off [default: off]
    #[arg(long, env = "ALLOW_EMPTY", value_name = "on|off", num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    pub allow_empty: Option<String>,
}

/// How far targets that are made over the API reach.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "API")]
pub struct ReachArgs {
    /// Where targets made over the API may lead: public_only, or any (private addresses too). Give worker and
    /// api the same [default: public_only]
    #[arg(long, env = "API_TARGETS", value_name = "public_only|any")]
    pub api_targets: Option<String>,
}

impl ReachArgs {
    /// Validates the flag. Where it is wrong, which is noted, the narrow one stands in.
    pub fn resolve(&self, problems: &mut Problems) -> Reach {
        match self.api_targets.as_deref() {
            None | Some("public_only") => Reach::PublicOnly,
            Some("any") => Reach::Any,
            Some(raw) => {
                problems.value("API_TARGETS", "--api-targets", raw, "is neither public_only nor any");
                Reach::PublicOnly
            }
        }
    }
}

impl fmt::Debug for TargetArgs {
    /// URLs as written may hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TargetArgs")
            .field("urls", &self.urls.as_ref().map(|_| "***"))
            .field("interval", &self.interval)
            .field("timeout", &self.timeout)
            .field("degraded_after", &self.degraded_after)
            .field("config", &self.config)
            .field("allow_empty", &self.allow_empty)
            .finish()
    }
}

impl TargetArgs {
    /// Reads the list of targets from the file or from `URLS`; an empty list when
    /// neither is set.
    ///
    /// `None` when something is wrong; `problems` then says everything that is.
    pub fn resolve(&self, problems: &mut Problems) -> Option<TargetList> {
        let before = problems.len();
        let defaults = self.defaults(problems);
        self.allow_empty(problems);
        let list = match &self.config {
            Some(path) => self.read_file(path, &defaults, problems),
            None => self.read_urls(&defaults, problems),
        };
        list.filter(|_| problems.len() == before)
    }

    /// The interval, timeout and limit for targets that set none of their own.
    /// Where a value is wrong, which is noted, the usual one stands in.
    pub fn defaults(&self, problems: &mut Problems) -> Defaults {
        let base = Defaults::default();
        let interval = read(problems, ("POLLING_INTERVAL", "--interval"), self.interval.as_deref(), rules::interval);
        let timeout = read(problems, ("REQUEST_TIMEOUT", "--timeout"), self.timeout.as_deref(), rules::limit);
        let degraded_after =
            read(problems, ("DEGRADED_AFTER", "--degraded-after"), self.degraded_after.as_deref(), rules::limit);
        // A wrong interval says nothing about the timeout.
        let is_interval_known = self.interval.is_none() || interval.is_some();
        let interval = interval.unwrap_or(base.interval);
        match timeout {
            Some(timeout) if is_interval_known && timeout > interval.duration() => {
                self.timeout_above(interval, problems);
            }
            _ => {}
        }
        Defaults {
            interval,
            timeout: timeout.unwrap_or(base.timeout),
            degraded_after: degraded_after.unwrap_or(base.degraded_after),
            ..base
        }
    }

    /// Where the list is, if it is a file; to be read again later. Problems were noted by
    /// [`TargetArgs::resolve`].
    pub fn file(&self) -> Option<ConfigFile> {
        let mut noted = Problems::new();
        Some(ConfigFile {
            path: self.config.as_ref()?.into(),
            defaults: self.defaults(&mut noted),
            allow_empty: self.allow_empty(&mut noted),
        })
    }

    /// Whether a list without targets is meant. Problems were noted by [`TargetArgs::resolve`].
    pub fn is_empty_meant(&self) -> bool {
        self.allow_empty(&mut Problems::new())
    }

    fn allow_empty(&self, problems: &mut Problems) -> bool {
        match self.allow_empty.as_deref() {
            None | Some("off") => false,
            Some("on") => true,
            Some(raw) => {
                problems.value("ALLOW_EMPTY", "--allow-empty", raw, "is neither on nor off");
                false
            }
        }
    }

    fn timeout_above(&self, interval: Interval, problems: &mut Problems) {
        let origin = if self.interval.is_some() {
            "of POLLING_INTERVAL (--interval)"
        } else {
            "that holds without POLLING_INTERVAL (--interval)"
        };
        problems.value(
            "REQUEST_TIMEOUT",
            "--timeout",
            self.timeout.as_deref().unwrap_or_default(),
            format_args!("{} {origin}", AboveInterval(interval)),
        );
    }

    fn read_file(&self, path: &str, defaults: &Defaults, problems: &mut Problems) -> Option<TargetList> {
        match file::read(Path::new(path), Mode::Service, defaults) {
            Ok(mut list) => {
                if self.urls.is_some() {
                    list.warnings.push("URLS (--urls) is ignored, because LOOKOUT_CONFIG is set".to_owned());
                }
                Some(list)
            }
            Err(errors) => {
                problems.file(&errors);
                None
            }
        }
    }

    fn read_urls(&self, defaults: &Defaults, problems: &mut Problems) -> Option<TargetList> {
        let (var, flag) = ("URLS", "--urls");
        let before = problems.len();
        let (urls, wrong) = urls::parse(self.urls.as_deref().unwrap_or_default());
        for (shown, rule) in wrong {
            problems.value(var, flag, &shown, rule);
        }
        let mut seen = HashMap::new();
        for url in &urls {
            if *seen.entry(url.as_written()).or_insert_with(|| url.whole()) != url.whole() {
                let rule =
                    "comes twice, each time with another secret (not shown): give them names in a LOOKOUT_CONFIG file";
                problems.value(var, flag, url.as_written(), rule);
            }
            if let Err(denied) = Reach::Any.allows_url(url.url()) {
                problems.value(var, flag, url.as_written(), format_args!("is refused: {denied}"));
            }
            if url.as_written().len() > KEY_MAX_BYTES {
                problems.value(
                    var,
                    flag,
                    url.as_written(),
                    "is over 2000 bytes long: give it a name in a LOOKOUT_CONFIG file",
                );
            }
        }
        (problems.len() == before).then(|| TargetList::from_urls(urls, defaults))
    }
}

/// Reads one value if it is set; a wrong one is noted and reads as unset.
fn read<T, E: Display>(
    problems: &mut Problems,
    (var, flag): (&str, &str),
    raw: Option<&str>,
    rule: impl FnOnce(&str) -> Result<T, E>,
) -> Option<T> {
    let raw = raw?;
    rule(raw).map_err(|error| problems.value(var, flag, raw, error)).ok()
}

/// Where the data is kept.
#[derive(Clone, Default, Args)]
#[command(next_help_heading = "Database")]
pub struct DatabaseArgs {
    /// Postgres 15 or newer, as postgres://user:password@host:5432/database; a direct
    /// connection, not through a transaction pooler
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<String>,
}

impl DatabaseArgs {
    /// The address of Postgres. `None` when it is not set, or wrong, which is noted.
    pub fn resolve(&self, problems: &mut Problems) -> Option<DatabaseUrl> {
        let raw = self.database_url.as_deref()?;
        DatabaseUrl::parse(raw).map_err(|error| problems.secret("DATABASE_URL", "--database-url", error)).ok()
    }

    /// The address, where a process cannot do without one.
    pub fn require(&self, problems: &mut Problems) -> Option<DatabaseUrl> {
        if self.database_url.is_none() {
            problems.line("DATABASE_URL (--database-url): not set; write postgres://user:password@host:5432/database");
        }
        self.resolve(problems)
    }
}

impl fmt::Debug for DatabaseArgs {
    /// The raw text may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.database_url.as_ref().map(|_| "***");
        f.debug_struct("DatabaseArgs").field("database_url", &shown).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn lines(args: &TargetArgs) -> Vec<String> {
        let mut problems = Problems::new();
        assert!(args.resolve(&mut problems).is_none());
        problems.finish().unwrap_err().lines().to_vec()
    }

    fn list(args: &TargetArgs) -> TargetList {
        let mut problems = Problems::new();
        let list = args.resolve(&mut problems);
        problems.finish().unwrap();
        list.unwrap()
    }

    #[test]
    fn without_any_setting_the_list_is_empty_and_the_defaults_hold() {
        let args = TargetArgs::default();
        assert!(list(&args).targets.is_empty());
        assert_eq!(args.defaults(&mut Problems::new()), Defaults::default());
    }

    #[test]
    fn urls_and_durations_become_targets() {
        let list = list(&TargetArgs {
            urls: text("http://a/,http://b/"),
            interval: text("2"),
            degraded_after: text("100ms"),
            ..TargetArgs::default()
        });
        assert_eq!(list.targets.len(), 2);
        let target = &list.targets[0];
        assert_eq!((target.key.as_str(), target.name.as_str()), ("http://a/", "http://a/"));
        assert_eq!(target.timeout, Duration::from_secs(2), "clipped to the interval");
        assert_eq!(target.degraded_after, Duration::from_millis(100));
        assert_eq!(target.source, common::Source::Env);
    }

    #[test]
    fn c49_everything_that_is_wrong_is_reported_at_once() {
        assert_eq!(
            lines(&TargetArgs {
                urls: text("htp://me:s3cret@h http://a:0/"),
                interval: text("abc"),
                timeout: text("-1s"),
                degraded_after: text("48h"),
                config: None,
                allow_empty: text("yes"),
            }),
            [
                "POLLING_INTERVAL (--interval): \"abc\" is not a duration: write 500ms, 1s, 5m or 1h; \
                 a bare number is seconds",
                "REQUEST_TIMEOUT (--timeout): \"-1s\" is below the minimum 1ms",
                "DEGRADED_AFTER (--degraded-after): \"48h\" is over the maximum 24h",
                "ALLOW_EMPTY (--allow-empty): \"yes\" is neither on nor off",
                "URLS (--urls): \"htp://***@h\" has the scheme \"htp\": only http and https are probed",
                "URLS (--urls): \"http://a:0/\" has port 0, which no server listens on",
            ]
        );
    }

    #[test]
    fn a_timeout_above_the_interval_names_both() {
        assert_eq!(
            lines(&TargetArgs { interval: text("5s"), timeout: text("6s"), ..TargetArgs::default() }),
            ["REQUEST_TIMEOUT (--timeout): \"6s\" is above the interval 5s of POLLING_INTERVAL (--interval)"]
        );
        let without = lines(&TargetArgs { timeout: text("30s"), ..TargetArgs::default() });
        assert!(without[0].contains("above the interval 10s that holds without POLLING_INTERVAL"));
    }

    #[test]
    fn urls_that_differ_in_a_secret_alone_are_refused_because_one_would_not_be_probed() {
        let urls =
            text("http://a/?token=s3cret http://a/?token=other http://me:1@b/ http://me:2@b/ http://c/ http://c/");
        assert_eq!(
            lines(&TargetArgs { urls, ..TargetArgs::default() }),
            ["http://a/?token=***", "http://b/"].map(|url| format!(
                "URLS (--urls): {url:?} comes twice, each time with another secret (not shown): give them names in a \
                 LOOKOUT_CONFIG file"
            ))
        );
    }

    #[test]
    fn c28_all_that_is_wrong_with_urls_is_said_at_once() {
        let urls = text("htp://a/ http://169.254.169.254/latest/meta-data http://me:1@b/ http://me:2@b/");
        let lines = lines(&TargetArgs { urls, ..TargetArgs::default() });
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].contains("only http and https"), "{lines:?}");
        assert!(lines[1].contains("is refused: the address 169.254.169.254"), "{lines:?}");
        assert!(lines[2].contains("comes twice"), "{lines:?}");
    }

    #[test]
    fn a_url_too_long_for_a_key_is_refused() {
        let lines =
            lines(&TargetArgs { urls: Some(format!("http://a/{}", "x".repeat(2_000))), ..TargetArgs::default() });
        assert!(lines[0].ends_with("is over 2000 bytes long: give it a name in a LOOKOUT_CONFIG file"));
    }

    #[test]
    fn c48_a_file_wins_over_urls_with_a_warning() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.yaml");
        std::fs::write(&path, "- {name: a, url: http://a/}").unwrap();
        let mut args = TargetArgs {
            urls: text("http://b/"),
            interval: text("3s"),
            config: Some(path.display().to_string()),
            ..TargetArgs::default()
        };
        let list = list(&args);
        assert_eq!(list.targets[0].key, "a");
        assert_eq!(list.targets[0].timeout, Duration::from_secs(3));
        assert_eq!(list.warnings, ["URLS (--urls) is ignored, because LOOKOUT_CONFIG is set"]);

        std::fs::write(&path, "- {name: a}\n- {url: http://a/}").unwrap();
        args.interval = text("x");
        let lines = lines(&args);
        assert_eq!(lines.len(), 3, "{lines:?}");
    }

    #[test]
    fn a_wrong_database_url_is_not_shown() {
        let args = DatabaseArgs { database_url: text("mysql://me:s3cret@h/x") };
        let mut problems = Problems::new();
        assert!(args.resolve(&mut problems).is_none());
        let line = problems.finish().unwrap_err().to_string();
        assert!(line.starts_with("DATABASE_URL (--database-url): the value (not shown) is no database URL"));
        assert!(!format!("{line}{args:?}").contains("s3cret"));
    }
}
