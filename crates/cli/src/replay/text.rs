//! The report for people: who did worst, when it broke, how long it took and
//! which commits went before.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use chrono::{DateTime, Utc};
use engine::{Incident, Nanos, Report, ServiceMonitor};

use crate::text::{align_right, counted, harmless, table};

/// Commits are told apart by fewer characters than they have.
const COMMIT_CHARS: usize = 12;

/// The longest bar of the histogram.
const BAR_CHARS: usize = 40;

/// How many rejected lines are named.
const NAMED_LINES: usize = 10;

const HEADING: Style = Style::new().bold();
const OPEN: Style = AnsiColor::Red.on_default();

/// Writes the report, with `notes` at its end.
pub(super) fn write(out: &mut dyn Write, report: &Report, notes: &[String]) -> io::Result<()> {
    let details = report.incident_details();
    let mut services: Vec<(&str, &Vec<&Incident>)> = details.iter().collect();
    // Most incidents first, then those that lasted longest.
    let closed = |incidents: &[&Incident]| -> u128 {
        incidents.iter().filter_map(|incident| incident.duration()).map(u128::from).sum()
    };
    services.sort_by_key(|(_, incidents)| std::cmp::Reverse((incidents.len(), closed(incidents))));

    let open = report.incidents().iter().filter(|incident| incident.end.is_none()).count();
    match report.incidents().len() {
        0 => writeln!(out, "No incidents.")?,
        all => writeln!(out, "{}, {open} of them open.", counted(all, "incident"))?,
    }
    match report.mttr() {
        Some(mttr) => writeln!(out, "Mean time to repair: {mttr} s.")?,
        None => writeln!(out, "Mean time to repair: none was repaired.")?,
    }
    let most = services.first().map_or(1, |(_, incidents)| incidents.len());
    if !services.is_empty() {
        writeln!(out)?;
        let mut table = table();
        for (service, incidents) in &services {
            let bar = "█".repeat((incidents.len() * BAR_CHARS).div_ceil(most).min(incidents.len()));
            table.add_row([harmless(service), incidents.len().to_string(), bar]);
        }
        align_right(&mut table, 1);
        writeln!(out, "{}", table.trim_fmt())?;
    }
    for (service, incidents) in &services {
        writeln!(out, "\n{HEADING}{}{HEADING:#}", harmless(service))?;
        let mut table = table();
        table.set_header(["start (UTC)", "lasted", "endpoint", "broken by", "fixed by"]);
        for incident in *incidents {
            let lasted = incident.duration().map_or_else(|| "open".to_owned(), lasted);
            let endpoint = harmless(&format!("{} {}", incident.verb, incident.resource));
            table.add_row([
                moment(incident.start),
                lasted,
                endpoint,
                commit(incident.breaking.as_deref()),
                commit(incident.fixing.as_deref()),
            ]);
        }
        align_right(&mut table, 1);
        // A line is a row, as no cell has a line break. Cells are measured, so colour comes afterwards.
        for (index, line) in table.lines().enumerate() {
            let is_open = index.checked_sub(1).is_some_and(|row| incidents[row].end.is_none());
            let style = if is_open { OPEN } else { Style::new() };
            writeln!(out, "{style}{}{style:#}", line.trim_end())?;
        }
    }
    if report.rejected().total() > 0 {
        writeln!(out, "\n{} left out:", counted(report.rejected().total() as usize, "line"))?;
        for line in report.rejected().first_in_words().take(NAMED_LINES) {
            writeln!(out, "  {}", harmless(&line))?;
        }
        let more = report.rejected().total().saturating_sub(NAMED_LINES as u64);
        if more > 0 {
            writeln!(out, "  and {more} more")?;
        }
    }
    if !notes.is_empty() {
        writeln!(out, "\n{}", notes.join("\n"))?;
    }
    Ok(())
}

/// To the millisecond; the JSON form has every digit.
fn moment(at: Nanos) -> String {
    let at: DateTime<Utc> = DateTime::from_timestamp_nanos(at.into());
    at.format("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

fn lasted(nanos: u64) -> String {
    const MINUTE: u64 = 60 * 1_000_000_000;
    if nanos < MINUTE {
        return format!("{}.{:03}s", nanos / 1_000_000_000, nanos / 1_000_000 % 1_000);
    }
    let seconds = nanos / 1_000_000_000;
    let (days, hours, minutes, seconds) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}m{seconds:02}s"),
        (0, _) => format!("{hours}h{minutes:02}m{seconds:02}s"),
        _ => format!("{days}d{hours:02}h{minutes:02}m"),
    }
}

fn commit(commit: Option<&str>) -> String {
    match commit {
        Some(commit) => harmless(&commit.chars().take(COMMIT_CHARS).collect::<String>()),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_repair_is_as_exact_as_it_is_short() {
        let second = 1_000_000_000;
        for (nanos, expected) in [
            (0, "0.000s"),
            (2_015_100_000, "2.015s"),
            (61 * second, "1m01s"),
            (3_600 * second, "1h00m00s"),
            (90_061 * second, "1d01h01m"),
        ] {
            assert_eq!(lasted(nanos), expected);
        }
    }
}
