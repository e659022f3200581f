//! The report for people: the worst domain first, and each endpoint with its last result.

use std::cmp::Ordering;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use chrono::SecondsFormat;
use comfy_table::Table;

use super::run::Report;
use super::tally::{Counts, EndpointLine, Status, Tally};
use crate::text::{align_right, counted, harmless, table};

const HEADING: Style = Style::new().bold();
const NOTHING: Style = Style::new();

/// Writes the report of a cycle, or the last one, as a block that ends with an empty line.
pub(super) fn write(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let at = report.at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let title = match report.is_final {
        true => format!("Final report after {}", counted(report.cycle as usize, "cycle")),
        false => format!("Cycle {}", report.cycle),
    };
    writeln!(out, "{HEADING}{title}{HEADING:#} at {at}: {}", summary(&report.tally))?;
    if report.tally.len() > 0 {
        writeln!(out)?;
        domains(out, &report.tally)?;
        writeln!(out)?;
        endpoints(out, &report.tally)?;
    }
    writeln!(out)
}

/// How the endpoints are now: `3 up, 1 degraded, 1 down`.
fn summary(tally: &Tally) -> String {
    let count =
        |status: Option<Status>| tally.endpoints().filter(|line| line.last.map(|last| last.status) == status).count();
    let [up, degraded, down] = [Status::Up, Status::Degraded, Status::Down].map(|status| count(Some(status)));
    let mut text = format!("{up} up, {degraded} degraded, {down} down");
    match count(None) {
        0 => {}
        unknown => text.push_str(&format!(", {unknown} without a result")),
    }
    text
}

/// A table of the domains, the worst first.
pub(super) fn domains(out: &mut dyn Write, tally: &Tally) -> io::Result<()> {
    let mut rows: Vec<(&str, Counts)> = tally.domains().collect();
    rows.sort_by(|(_, a), (_, b)| by_availability(*a, *b));
    let mut table = table();
    table.set_header(["availability", "domain", "up", "degraded", "down", "total"]);
    for (domain, counts) in &rows {
        let availability = counts.availability().map_or_else(|| "-".to_owned(), |percent| format!("{percent} %"));
        let counted = [counts.up, counts.degraded, counts.down, counts.total()].map(|count| count.to_string());
        table.add_row([availability, harmless(domain)].into_iter().chain(counted));
    }
    for column in [0, 2, 3, 4, 5] {
        align_right(&mut table, column);
    }
    print(out, &table, |row| {
        let counts = rows[row].1;
        match counts {
            Counts { down: 1.., .. } => style(Some(Status::Down)),
            Counts { degraded: 1.., .. } => style(Some(Status::Degraded)),
            Counts { up: 1.., .. } => style(Some(Status::Up)),
            _ => NOTHING,
        }
    })
}

/// A table of the endpoints: those of the worst domain first, and of a domain the worst.
fn endpoints(out: &mut dyn Write, tally: &Tally) -> io::Result<()> {
    let domains: std::collections::HashMap<&str, Counts> = tally.domains().collect();
    let of = |line: &EndpointLine| domains.get(line.domain).copied().unwrap_or_default();
    let mut rows: Vec<EndpointLine> = tally.endpoints().collect();
    rows.sort_by(|a, b| {
        let domains = by_availability(of(a), of(b)).then_with(|| a.domain.cmp(b.domain));
        domains.then_with(|| by_availability(a.counts, b.counts))
    });
    let mut table = table();
    table.set_header(["last", "endpoint", "domain", "code", "cause", "elapsed", "up", "degraded", "down"]);
    for line in &rows {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let last = line.last;
        table.add_row([
            or_dash(last.map(|last| last.status.label().to_owned())),
            harmless(line.name),
            harmless(line.domain),
            or_dash(last.and_then(|last| last.code).map(|code| code.to_string())),
            or_dash(last.and_then(|last| last.cause).map(str::to_owned)),
            or_dash(last.and_then(|last| last.elapsed_us).map(milliseconds)),
            line.counts.up.to_string(),
            line.counts.degraded.to_string(),
            line.counts.down.to_string(),
        ]);
    }
    for column in [5, 6, 7, 8] {
        align_right(&mut table, column);
    }
    print(out, &table, |row| style(rows[row].last.map(|last| last.status)))
}

/// The lower share of successes first; what has no result yet comes last.
fn by_availability(a: Counts, b: Counts) -> Ordering {
    // a.up / a.total < b.up / b.total, without a division.
    let (share_a, share_b) = (u128::from(a.up) * u128::from(b.total()), u128::from(b.up) * u128::from(a.total()));
    let is_empty = (a.total() == 0).cmp(&(b.total() == 0));
    is_empty.then(share_a.cmp(&share_b)).then(b.down.cmp(&a.down))
}

fn milliseconds(elapsed_us: u32) -> String {
    let tenths = (u64::from(elapsed_us) + 50) / 100;
    format!("{}.{} ms", tenths / 10, tenths % 10)
}

fn style(status: Option<Status>) -> Style {
    match status {
        Some(Status::Up) => AnsiColor::Green.on_default(),
        Some(Status::Degraded) => AnsiColor::Yellow.on_default(),
        Some(Status::Down) => AnsiColor::Red.on_default(),
        None => NOTHING,
    }
}

/// Prints a table with a header. A line is a row, as no cell has a line break; cells are measured, so colour comes
/// afterwards.
fn print(out: &mut dyn Write, table: &Table, style: impl Fn(usize) -> Style) -> io::Result<()> {
    for (index, line) in table.lines().enumerate() {
        let style = index.checked_sub(1).map_or(NOTHING, &style);
        writeln!(out, "{style}{}{style:#}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::super::tally::Verdict;
    use super::*;

    fn tally() -> Tally {
        let pair = |name: &str, domain: &str| (name.to_owned(), domain.to_owned());
        let mut tally = Tally::new([
            pair("home", "example.com"),
            pair("cart", "example.com"),
            pair("api \u{1b}[31m", "api.example"),
            pair("never", "never.example"),
        ]);
        let verdict = |status, code, cause, elapsed_us| Verdict { status, code, cause, elapsed_us: Some(elapsed_us) };
        for _ in 0..3 {
            tally.add(0, verdict(Status::Up, Some(200), None, 41_250));
        }
        tally.add(1, verdict(Status::Up, Some(204), None, 500_000));
        tally.add(1, verdict(Status::Degraded, Some(200), None, 700_000));
        tally.add(2, verdict(Status::Down, None, Some("timeout"), 1_900_049));
        tally
    }

    fn shown(cycle: u32, is_final: bool, tally: Tally) -> String {
        let at = DateTime::from_timestamp_millis(1_795_256_430_000).unwrap();
        let mut out = anstream::StripStream::new(Vec::new());
        write(&mut out, &Report { cycle, at, is_final, tally }).unwrap();
        String::from_utf8(out.into_inner()).unwrap()
    }

    #[test]
    fn the_worst_domain_comes_first_and_columns_are_aligned() {
        let expected = "\
Cycle 2 at 2026-11-21T10:20:30.000Z: 1 up, 1 degraded, 1 down, 1 without a result

 availability  domain         up  degraded  down  total
          0 %  api.example     0         0     1      1
         80 %  example.com     4         1     0      5
            -  never.example   0         0     0      0

 last      endpoint        domain         code  cause      elapsed  up  degraded  down
 DOWN      api \\u{1b}[31m  api.example    -     timeout  1900.0 ms   0         0     1
 DEGRADED  cart            example.com    200   -         700.0 ms   1         1     0
 UP        home            example.com    200   -          41.3 ms   3         0     0
 -         never           never.example  -     -                -   0         0     0

";
        assert_eq!(shown(2, false, tally()), expected);
    }

    #[test]
    fn the_last_report_says_so_and_an_empty_list_has_no_tables() {
        assert!(shown(5, true, tally()).starts_with("Final report after 5 cycles at 2026-11-21T10:20:30.000Z: 1 up,"));
        let nothing = shown(1, true, Tally::new([]));
        assert_eq!(nothing, "Final report after 1 cycle at 2026-11-21T10:20:30.000Z: 0 up, 0 degraded, 0 down\n\n");
    }
}
