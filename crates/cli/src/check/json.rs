//! The report for programs: an object a line.

use std::io::{self, Write};

use chrono::SecondsFormat;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::run::Report;
use super::tally::{Counts, EndpointLine, Status, Tally};

#[derive(Serialize)]
struct Line<'a> {
    cycle: u32,
    at: String,
    #[serde(rename = "final")]
    is_final: bool,
    domains: Domains<'a>,
    endpoints: Vec<Endpoint<'a>>,
}

#[derive(Serialize)]
struct Endpoint<'a> {
    name: &'a str,
    domain: &'a str,
    status: Option<Status>,
    code: Option<u16>,
    cause: Option<&'static str>,
    elapsed_ms: Option<f64>,
    up: u64,
    degraded: u64,
    down: u64,
}

/// The domains in the order of the file.
pub(super) struct Domains<'a>(pub(super) &'a Tally);

#[derive(Serialize)]
struct Domain {
    availability: Option<u64>,
    up: u64,
    degraded: u64,
    down: u64,
    total: u64,
}

impl Serialize for Domains<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, counts) in self.0.domains() {
            let Counts { up, degraded, down } = counts;
            let domain = Domain { availability: counts.availability(), up, degraded, down, total: counts.total() };
            map.serialize_entry(name, &domain)?;
        }
        map.end()
    }
}

impl<'a> From<EndpointLine<'a>> for Endpoint<'a> {
    fn from(line: EndpointLine<'a>) -> Self {
        let Counts { up, degraded, down } = line.counts;
        Self {
            name: line.name,
            domain: line.domain,
            status: line.last.map(|last| last.status),
            code: line.last.and_then(|last| last.code),
            cause: line.last.and_then(|last| last.cause),
            elapsed_ms: line.last.and_then(|last| last.elapsed_us).map(|elapsed| f64::from(elapsed) / 1_000.0),
            up,
            degraded,
            down,
        }
    }
}

/// Writes the report and a line break.
pub(super) fn write(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let line = Line {
        cycle: report.cycle,
        at: report.at.to_rfc3339_opts(SecondsFormat::Millis, true),
        is_final: report.is_final,
        domains: Domains(&report.tally),
        endpoints: report.tally.endpoints().map(Endpoint::from).collect(),
    };
    line_of(out, &line)
}

/// Writes anything as one line.
pub(super) fn line_of(mut out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut out, value)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::super::tally::Verdict;
    use super::*;

    #[test]
    fn a_report_is_one_line_in_the_order_of_the_file() {
        let pair = |name: &str, domain: &str| (name.to_owned(), domain.to_owned());
        let mut tally = Tally::new([pair("z", "z.example"), pair("a\n", "a.example"), pair("never", "a.example")]);
        let up = Verdict { status: Status::Up, code: Some(200), cause: None, elapsed_us: Some(41_300) };
        let down = Verdict { status: Status::Down, code: None, cause: Some("timeout"), elapsed_us: Some(1_900_007) };
        for verdict in [down, up] {
            tally.add(0, verdict);
        }
        tally.add(1, down);
        let at = DateTime::from_timestamp_millis(1_795_256_430_120).unwrap();
        let mut out = Vec::new();
        write(&mut out, &Report { cycle: 2, at, is_final: false, tally }).unwrap();
        let expected = r#"{"cycle":2,"at":"2026-11-21T10:20:30.120Z","final":false,"domains":{"#.to_owned()
            + r#""z.example":{"availability":50,"up":1,"degraded":0,"down":1,"total":2},"#
            + r#""a.example":{"availability":0,"up":0,"degraded":0,"down":1,"total":1}},"endpoints":["#
            + r#"{"name":"z","domain":"z.example","status":"UP","code":200,"cause":null,"elapsed_ms":41.3,"up":1,"degraded":0,"down":1},"#
            + r#"{"name":"a\n","domain":"a.example","status":"DOWN","code":null,"cause":"timeout","elapsed_ms":1900.007,"up":0,"degraded":0,"down":1},"#
            + r#"{"name":"never","domain":"a.example","status":null,"code":null,"cause":null,"elapsed_ms":null,"up":0,"degraded":0,"down":0}]}"#
            + "\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
