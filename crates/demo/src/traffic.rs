//! Calls of the functions, good and bad ones, at a steady rate, and how long they took.
//!
//! Every answer of [`functions`](crate::functions) says how long the function itself took;
//! the rest of the time a caller waits is the network and whatever proxy stands in front.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use clap::Args;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::fantastic::share;
use crate::functions::Function;

/// Calls under way at most: what waits longer than its caller is not asked again.
const MOST_UNDER_WAY: usize = 200;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is called, how often and for how long.
#[derive(Debug, Clone, Args)]
pub struct TrafficArgs {
    /// Where the functions are, or a proxy in front of them (http only)
    #[arg(long, default_value = "http://127.0.0.1:8001", value_parser = base)]
    pub url: String,

    /// Call this function alone
    #[arg(long, value_name = "FUNCTION")]
    pub only: Option<Function>,

    /// Calls a second, from 1 to 1000
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rate: u32,

    /// How long, at most 1h; Ctrl-C ends it sooner
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = duration)]
    pub duration: Duration,

    /// Share of the calls that no function takes and that should be refused with 400
    #[arg(long, default_value_t = 0.2, value_name = "SHARE", value_parser = share)]
    pub invalid: f64,

    /// Start of the random numbers: the same seed makes the same calls
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
}

/// Reads where something is, without a slash at the end.
pub(crate) fn base(text: &str) -> Result<String, String> {
    match text.strip_prefix("http://") {
        Some(rest) if !rest.is_empty() => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err("write a URL such as http://127.0.0.1:8001".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let longest = Duration::from_secs(60 * 60);
    if duration <= longest { Ok(duration) } else { Err("is over the maximum 1h".to_owned()) }
}

/// Calls until the time is over or `stop` is cancelled.
///
/// # Errors
/// No client can be made, or nothing answered at all.
pub async fn run(args: &TrafficArgs, stop: &CancellationToken) -> anyhow::Result<Summary> {
    let client = crate::client::client(PATIENCE)?;
    let mut random = match args.seed {
        Some(seed) => StdRng::seed_from_u64(seed),
        None => StdRng::from_os_rng(),
    };
    let mut summary = Summary::default();
    let mut under_way = JoinSet::new();
    let mut ticks = interval(Duration::from_secs(1) / args.rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let calls = args.duration.as_secs_f64() * f64::from(args.rate);
    let mut left = calls as u64;
    while left > 0 {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(done) = under_way.join_next() => summary.take(done?),
            _ = ticks.tick() => {
                left -= 1;
                let (function, path, is_valid) = call(&mut random, args);
                if under_way.len() >= MOST_UNDER_WAY {
                    summary.not_sent += 1;
                    continue;
                }
                let request = client.get(format!("{}{path}", args.url));
                under_way.spawn(async move { Called { function, is_valid, got: ask(request).await } });
            }
        }
    }
    while let Some(done) = under_way.join_next().await {
        summary.take(done?);
    }
    let answered = summary.functions.values().any(|seen| seen.answered() > 0);
    anyhow::ensure!(answered || summary.functions.is_empty(), "{} did not answer a single call", args.url);
    Ok(summary)
}

/// A function, a path that calls it, and whether it can answer that.
fn call(random: &mut StdRng, args: &TrafficArgs) -> (Function, String, bool) {
    let function = args.only.unwrap_or_else(|| Function::ALL[random.random_range(0..Function::ALL.len())]);
    let name = function.name();
    let is_valid = !random.random_bool(args.invalid);
    let path = match (function, is_valid) {
        (Function::Ackermann, true) => {
            format!("/{name}/{}/{}/", random.random_range(0..=3), random.random_range(0..=4))
        }
        (_, true) => format!("/{name}/{}/", random.random_range(0..=400)),
        (_, false) => {
            let wrong = ["-1/", "401/401/401/", "1.5/2/3/", "abc/", "9999999999999999999999/", ""];
            format!("/{name}/{}", wrong[random.random_range(0..wrong.len())])
        }
    };
    (function, path, is_valid)
}

/// What a call got: the status, how long it took, and how long the function says that it took itself.
type Got = Option<(u16, Duration, Option<Duration>)>;

async fn ask(request: reqwest::RequestBuilder) -> Got {
    let begun = Instant::now();
    let answer = request.send().await.ok()?;
    let took = begun.elapsed();
    let status = answer.status().as_u16();
    let timing = answer.headers().get("server-timing").and_then(|value| value.to_str().ok());
    let own = timing.and_then(|text| text.strip_prefix("function;dur=")).and_then(|ms| ms.parse::<f64>().ok());
    let own = own.and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok());
    // Read to its end, so that the connection can be used again.
    answer.bytes().await.ok()?;
    Some((status, took, own))
}

struct Called {
    function: Function,
    is_valid: bool,
    got: Got,
}

/// What the calls got.
#[derive(Debug, Default)]
pub struct Summary {
    functions: BTreeMap<&'static str, Seen>,
    /// Calls that were left out, because too many were under way.
    pub not_sent: u64,
}

#[derive(Debug, Default)]
struct Seen {
    codes: BTreeMap<u16, u64>,
    unanswered: u64,
    /// Valid calls not answered with 200, others not with 400.
    unexpected: u64,
    /// Of calls with a result: in all, of the function itself, and around it.
    took: [Vec<Duration>; 3],
}

impl Seen {
    fn answered(&self) -> u64 {
        self.codes.values().sum()
    }
}

impl Summary {
    fn take(&mut self, called: Called) {
        let seen = self.functions.entry(called.function.name()).or_default();
        let Some((status, took, own)) = called.got else {
            seen.unanswered += 1;
            return;
        };
        *seen.codes.entry(status).or_default() += 1;
        seen.unexpected += u64::from(status != if called.is_valid { 200 } else { 400 });
        if let Some(own) = own {
            for (list, time) in seen.took.iter_mut().zip([took, own, took.saturating_sub(own)]) {
                list.push(time);
            }
        }
    }

    /// Calls of a function by status code; empty if it was not called.
    pub fn codes(&self, function: Function) -> BTreeMap<u16, u64> {
        self.functions.get(function.name()).map(|seen| seen.codes.clone()).unwrap_or_default()
    }

    /// Calls that were answered otherwise than they should have been.
    pub fn unexpected(&self) -> u64 {
        self.functions.values().map(|seen| seen.unexpected).sum()
    }
}

/// The value below which a share of the times is, in milliseconds, by the nearest rank.
fn quantile(times: &[Duration], share: f64) -> Option<f64> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).map(|time| time.as_secs_f64() * 1000.0)
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, seen) in &self.functions {
            let calls = seen.answered() + seen.unanswered;
            let codes: Vec<String> = seen.codes.iter().map(|(code, n)| format!("{code} × {n}")).collect();
            writeln!(
                f,
                "{name:<10} {calls:>6} calls: {}, unanswered × {}, unexpected × {}",
                codes.join(", "),
                seen.unanswered,
                seen.unexpected
            )?;
            for (label, times) in ["in all", "function", "around it"].into_iter().zip(&seen.took) {
                if let (Some(p50), Some(p95), Some(most)) =
                    (quantile(times, 0.5), quantile(times, 0.95), quantile(times, 1.0))
                {
                    writeln!(f, "  {label:<10} p50 {p50:>9.3} ms   p95 {p95:>9.3} ms   max {most:>9.3} ms")?;
                }
            }
        }
        if self.not_sent > 0 {
            writeln!(f, "{} calls were left out: {MOST_UNDER_WAY} others were under way", self.not_sent)?;
        }
        writeln!(f, "“around it” is network and proxy: the whole time less what the function itself took.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let times: Vec<_> = (1..=20).rev().map(Duration::from_millis).collect();
        assert_eq!(quantile(&times, 0.5), Some(10.0));
        assert_eq!(quantile(&times, 0.95), Some(19.0));
        assert_eq!(quantile(&times, 1.0), Some(20.0));
        assert_eq!(quantile(&times[..1], 0.5), Some(20.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn addresses_and_times_are_judged_before_anything_is_called() {
        assert_eq!(base("http://127.0.0.1:8000/"), Ok("http://127.0.0.1:8000".to_owned()));
        for wrong in ["https://example.org", "127.0.0.1:8000", "http://", ""] {
            assert!(base(wrong).is_err(), "{wrong}");
        }
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        for wrong in ["2h", "-1s", "soon"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
