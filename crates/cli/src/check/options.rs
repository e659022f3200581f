//! What the command line says, judged all at once.

use std::fmt::Display;
use std::time::Duration;

use settings::duration::{self, DurationError};
use settings::{Problems, rules};

use super::CheckArgs;
use super::grid::Grid;

const SHORTEST_RUN: Duration = Duration::from_secs(1);
const LONGEST_RUN: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The options, validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) grid: Grid,
    pub(super) degraded_after: Duration,
    pub(super) at_once: usize,
}

impl Options {
    /// Reads the flags. Where a value is wrong, which is noted, any other stands in.
    pub(super) fn read(args: &CheckArgs, problems: &mut Problems) -> Self {
        let mut read = |flag: &str, raw: &str, rule: &dyn Fn(&str) -> Result<Duration, String>| {
            rule(raw).map_err(|rule| problems.line(format_args!("{flag}: {raw:?} {rule}"))).unwrap_or(SHORTEST_RUN)
        };
        let frequency = read("--health-check-frequency (-f)", &args.health_check_frequency, &|raw| {
            rules::interval(raw).map(|interval| interval.duration()).map_err(in_words)
        });
        let run = args.run_duration.as_deref().map(|raw| read("--run-duration (-r)", raw, &run_duration));
        let degraded_after =
            read("--degraded-after", &args.degraded_after, &|raw| rules::limit(&milliseconds(raw)).map_err(in_words));
        let at_once = worker::config::workers_count(problems, args.workers_count.as_deref());
        Self { grid: Grid::new(frequency, run), degraded_after, at_once }
    }
}

fn in_words(error: impl Display) -> String {
    error.to_string()
}

fn run_duration(raw: &str) -> Result<Duration, String> {
    match duration::parse(raw) {
        Ok(run) if run < SHORTEST_RUN => Err("is below the minimum 1s".to_owned()),
        Ok(run) if run > LONGEST_RUN => Err("is over the maximum 8760h".to_owned()),
        Ok(run) => Ok(run),
        Err(DurationError::Negative) => Err("is below the minimum 1s".to_owned()),
        Err(DurationError::TooLong) => Err("is over the maximum 8760h".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// A bare number is milliseconds here.
fn milliseconds(raw: &str) -> String {
    let raw = raw.trim();
    let is_bare = raw.strip_prefix('-').unwrap_or(raw).bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_bare { format!("{raw}ms") } else { raw.to_owned() }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        check: CheckArgs,
    }

    fn read(arguments: &str) -> Result<Options, Vec<String>> {
        let arguments = ["check"].into_iter().chain(arguments.split_whitespace()).chain(["endpoints.yaml"]);
        let cli = settings::cli::try_parse_from::<Cli>(arguments, |_| None).unwrap();
        let mut problems = Problems::new();
        let options = Options::read(&cli.check, &mut problems);
        problems.finish().map(|()| options).map_err(|error| error.lines().to_vec())
    }

    #[test]
    fn without_a_flag_a_cycle_starts_every_15_s_for_ever_and_500_ms_are_in_time() {
        let expected = Options {
            grid: Grid::new(Duration::from_secs(15), None),
            degraded_after: Duration::from_millis(500),
            at_once: worker::config::DEFAULT_WORKERS_COUNT,
        };
        assert_eq!(read(""), Ok(expected));
    }

    #[test]
    fn bare_numbers_have_the_unit_of_their_flag() {
        let options = read("-f 2 -r 10 --degraded-after 250").unwrap();
        assert_eq!(options.grid, Grid::new(Duration::from_secs(2), Some(Duration::from_secs(10))));
        assert_eq!(options.degraded_after, Duration::from_millis(250));
        let units = read("--health-check-frequency 1500ms --run-duration 1h --degraded-after 1s").unwrap();
        assert_eq!(units.grid, Grid::new(Duration::from_millis(1_500), Some(Duration::from_secs(3_600))));
        assert_eq!(units.degraded_after, Duration::from_secs(1));
    }

    #[test]
    fn everything_that_is_wrong_is_named_with_its_flag_and_rule() {
        assert_eq!(
            read("-f 0.5 -r 0 --degraded-after 0 --workers-count 0").unwrap_err(),
            [
                "--health-check-frequency (-f): \"0.5\" is below the minimum 1s",
                "--run-duration (-r): \"0\" is below the minimum 1s",
                "--degraded-after: \"0\" is below the minimum 1ms",
                "WORKERS_COUNT (--workers-count): \"0\" is no whole number from 1 to 10000000",
            ]
        );
        let rule = "is not a duration: write 500ms, 1s, 5m or 1h; a bare number is seconds";
        assert_eq!(read("-f abc").unwrap_err(), [format!("--health-check-frequency (-f): \"abc\" {rule}")]);
        assert_eq!(read("-f -1").unwrap_err(), ["--health-check-frequency (-f): \"-1\" is below the minimum 1s"]);
        assert_eq!(read("-r 99999h").unwrap_err(), ["--run-duration (-r): \"99999h\" is over the maximum 8760h"]);
        assert_eq!(read("--degraded-after -5").unwrap_err(), ["--degraded-after: \"-5\" is below the minimum 1ms"]);
        assert!(read("--degraded-after x").unwrap_err()[0].starts_with("--degraded-after: \"x\" is not a duration"));
    }
}
