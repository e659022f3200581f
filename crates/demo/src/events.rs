//! A recorded stream that never was: requests to several services, changes that
//! break them now and then, and changes that mend them.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// How many lines, about what.
#[derive(Debug, Clone, Args)]
pub struct EventsArgs {
    /// Start of the random numbers: the same seed gives the same stream
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    pub seed: u64,

    /// How many lines; the last one says that the stream ends
    #[arg(long, default_value_t = 10_000, value_name = "NUMBER")]
    pub lines: u64,

    /// How many endpoints the requests go to, up to 1000000
    #[arg(long, default_value_t = 12, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub endpoints: u32,

    /// Where to write the list of endpoints that goes with it
    #[arg(long, value_name = "FILE")]
    pub info: Option<PathBuf>,
}

/// One service has so many endpoints.
const ENDPOINTS_PER_SERVICE: u32 = 4;

/// When the stream begins, in seconds since the epoch.
const START_S: u64 = 1_543_443_091;

/// Times are in steps of 0.1 ms.
const STEPS_PER_S: u64 = 10_000;

/// Requests to each endpoint, on average.
const REQUESTS_PER_S: u64 = 5;

/// A stop is noticed after so many lines.
const LINES_AT_ONCE: u64 = 4_096;

const RESOURCES: [&str; 12] = [
    "orders", "cart", "users", "search", "prices", "stock", "login", "images", "mail", "reports", "events", "payments",
];
const VERBS: [&str; 8] = ["GET", "GET", "GET", "POST", "GET", "PUT", "GET", "DELETE"];

struct Service {
    name: String,
    /// Share of requests that fail.
    failing: f64,
    is_broken: bool,
    /// Requests until the next change.
    left: u32,
}

/// Writes the list of endpoints, then the stream to standard output, until it ends, nobody reads on or `stop` is
/// cancelled.
///
/// # Errors
/// The list or the stream cannot be written.
pub fn run(args: &EventsArgs, stop: &CancellationToken) -> anyhow::Result<()> {
    if let Some(path) = &args.info {
        let write = || {
            let mut file = BufWriter::new(File::create(path)?);
            write_info(&mut file, args)?;
            file.flush()
        };
        write().with_context(|| format!("cannot write {}", path.display()))?;
    }
    let mut out = BufWriter::with_capacity(1 << 18, io::stdout().lock());
    match write_stream(&mut out, args, stop).and_then(|()| out.flush()) {
        // Whoever stops reading has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write the stream"),
    }
}

fn verb_and_resource(endpoint: u32) -> (&'static str, String) {
    let (service, own) = (endpoint / ENDPOINTS_PER_SERVICE, endpoint % ENDPOINTS_PER_SERVICE);
    let resource = RESOURCES[service as usize % RESOURCES.len()];
    (
        VERBS[endpoint as usize % VERBS.len()],
        format!("/api/v{}/{resource}/{own}", service as usize / RESOURCES.len() + 1),
    )
}

fn service_name(service: u32) -> String {
    let number = service as usize / RESOURCES.len();
    let name = RESOURCES[service as usize % RESOURCES.len()];
    if number == 0 { name.to_owned() } else { format!("{name}-{}", number + 1) }
}

fn write_info(out: &mut impl Write, args: &EventsArgs) -> io::Result<()> {
    out.write_all(b"[")?;
    for endpoint in 0..args.endpoints {
        let service = service_name(endpoint / ENDPOINTS_PER_SERVICE);
        let (verb, resource) = verb_and_resource(endpoint);
        let slo = [0.99, 0.9, 0.999, 0.95][endpoint as usize % 4];
        let window = [60, 10, 30, 300, 5][endpoint as usize % 5];
        let entry = json!({
            "name": service,
            "email": format!("{service}@example.org"),
            "verb": verb,
            "resource": resource,
            "slo": slo,
            "window": window,
        });
        write!(out, "{}{entry}", if endpoint == 0 { "" } else { ",\n " })?;
    }
    out.write_all(b"]\n")
}

fn write_stream(out: &mut impl Write, args: &EventsArgs, stop: &CancellationToken) -> io::Result<()> {
    let mut random = StdRng::seed_from_u64(args.seed);
    let keys: Vec<String> = (0..args.endpoints)
        .map(|endpoint| {
            let (verb, resource) = verb_and_resource(endpoint);
            format!("{verb} {resource}")
        })
        .collect();
    let mut services: Vec<Service> = (0..args.endpoints.div_ceil(ENDPOINTS_PER_SERVICE))
        .map(|service| Service {
            name: service_name(service),
            failing: 0.0002,
            is_broken: false,
            left: random.random_range(50..800),
        })
        .collect();
    let longest_gap = (2 * STEPS_PER_S / (u64::from(args.endpoints) * REQUESTS_PER_S)).max(1);
    let mut now = START_S * STEPS_PER_S;
    for line in 1..args.lines {
        if line % LINES_AT_ONCE == 0 && stop.is_cancelled() {
            return Ok(());
        }
        now += random.random_range(0..=longest_gap);
        // Some endpoints are asked for more often than others.
        let endpoint = random.random_range(0..args.endpoints).min(random.random_range(0..args.endpoints));
        let service = &mut services[(endpoint / ENDPOINTS_PER_SERVICE) as usize];
        if service.left == 0 {
            change(out, service, now, &mut random)?;
            continue;
        }
        service.left -= 1;
        let status = match random.random::<f64>() {
            share if share < service.failing => [500, 502, 503, 504][(share * 4e6) as usize % 4],
            share if share > 0.98 => 404,
            share if share > 0.96 => 302,
            _ => 200,
        };
        // A few requests are written down late.
        let late = if random.random_range(0..100) == 0 { random.random_range(0..2 * STEPS_PER_S) } else { 0 };
        let at = now - late;
        writeln!(
            out,
            "{{\"type\": \"access\", \"value\": \"{}.{:04} {} {status}\"}}",
            at / STEPS_PER_S,
            at % STEPS_PER_S,
            keys[endpoint as usize]
        )?;
    }
    if args.lines > 0 { writeln!(out, "{{\"type\": \"end-of-stream\"}}") } else { Ok(()) }
}

/// Rolls out a change: it mends what is broken, and of the others every second breaks something.
fn change(out: &mut impl Write, service: &mut Service, now: u64, random: &mut StdRng) -> io::Result<()> {
    service.is_broken = !service.is_broken && random.random_bool(0.5);
    (service.failing, service.left) = if service.is_broken {
        (random.random_range(0.05..0.9), random.random_range(30..600))
    } else {
        (0.0002, random.random_range(500..5_000))
    };
    let date = date(now / STEPS_PER_S);
    let value = format!(
        "commit: {:032x}\nAuthor: <{}@example.org>\nDate: {date}\nService: {}\n",
        random.random::<u128>(),
        service.name,
        service.name
    );
    writeln!(out, "{}", json!({"type": "change", "value": value}))
}

/// `2018-11-28 22:11:31`, in UTC.
fn date(seconds: u64) -> String {
    let stamp = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    let text = humantime::format_rfc3339_seconds(stamp).to_string();
    text.replace('T', " ").replace('Z', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(seed: u64, lines: u64, endpoints: u32) -> String {
        let mut out = Vec::new();
        let args = EventsArgs { seed, lines, endpoints, info: None };
        write_stream(&mut out, &args, &CancellationToken::new()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_same_seed_gives_the_same_stream_of_so_many_lines() {
        for (lines, endpoints) in [(0, 1), (1, 1), (2, 3), (5_000, 1), (5_000, 30)] {
            let text = stream(7, lines, endpoints);
            assert_eq!(text.lines().count() as u64, lines);
            assert_eq!(text, stream(7, lines, endpoints));
        }
        assert_ne!(stream(7, 100, 3), stream(8, 100, 3));
    }

    #[test]
    fn it_has_failures_changes_and_an_end() {
        let text = stream(1, 20_000, 12);
        assert!(text.ends_with("{\"type\": \"end-of-stream\"}\n"));
        assert!(text.lines().filter(|line| line.contains("\"change\"")).count() > 5);
        assert!(text.contains(" 503\"}") && text.contains("Date: 2018-11-28 22:1"));
    }

    #[test]
    fn a_stop_ends_it_early() {
        let stop = CancellationToken::new();
        stop.cancel();
        let mut out = Vec::new();
        let args = EventsArgs { seed: 1, lines: u64::MAX, endpoints: 3, info: None };
        write_stream(&mut out, &args, &stop).unwrap();
        assert!(out.len() < 1_000_000);
    }
}
