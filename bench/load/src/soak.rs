//! An hour of 10,000 targets of which a hundred change every minute: does anything grow?
//!
//! The whole of lookout in one process, api included, because what leaks in either counts.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, interval, sleep};

use crate::clients::reqwest_client;
use crate::lab::{self, Lab, Started};
use crate::machine;

const TARGETS: usize = 10_000;
const INTERVAL_S: u64 = 30;

/// Of these, one is gone and another there after each minute.
const ONE_OF: usize = 100;

/// What a minute showed.
struct Minute {
    memory_mib: f64,
    descriptors: usize,
    starts: f64,
    /// Upper bound of the bucket of the 99th percentile, seconds.
    lag_p99_s: f64,
}

/// Runs it and prints a line a minute, and a summary.
pub(crate) async fn run(lab: &mut Lab, minutes: usize) -> anyhow::Result<()> {
    let (database, url) = lab.database().await?;
    let list = lab.files.join("soak.yaml");
    let mut yaml = yaml(0, &lab.target.ports);
    fs::write(&list, &yaml)?;
    let mut lookout = start(&url, &list, &lab.files)?;
    let pid = lookout.process.child.id();
    println!("process {pid}, {TARGETS} targets at {INTERVAL_S} s, {} of them changed every minute", TARGETS / ONE_OF);
    let mut before = lookout.buckets().await?;
    let mut seen: Vec<Minute> = Vec::new();
    let mut clock = interval(Duration::from_secs(60));
    clock.tick().await;
    for minute in 1..=minutes {
        clock.tick().await;
        let now = lookout.buckets().await?;
        let told = Minute {
            memory_mib: machine::resident_mib(pid)?,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
            starts: starts(&now) - starts(&before),
            lag_p99_s: percentile_99(&before, &now),
        };
        println!(
            "{minute:3} min: {:5.1} MiB, {:3} descriptors, {:6.0} starts, lag p99 at most {} s",
            told.memory_mib, told.descriptors, told.starts, told.lag_p99_s
        );
        seen.push(told);
        before = now;
        yaml = self::yaml(minute, &lab.target.ports);
        replace(&list, &yaml)?;
        // What has arrived is of no use here, and takes room.
        lab.target.reset()?;
    }
    lookout.process.stop().await?;
    let mut connection = PgConnection::connect(&url).await?;
    let accounted = lab::account(&mut connection).await?;
    println!("{accounted:?}");
    connection.close().await?;
    lab.drop_database(&database).await?;
    summary(&seen);
    Ok(())
}

/// The list after so many minutes: the target of a number is another one each hundred minutes.
fn yaml(minute: usize, ports: &[u16]) -> String {
    let mut yaml = format!("defaults: {{interval: {INTERVAL_S}s, timeout: 5s}}\ntargets:\n");
    for n in 0..TARGETS {
        let age = (minute + ONE_OF - n % ONE_OF) / ONE_OF;
        let port = ports[n / 10 % ports.len()];
        yaml.push_str(&format!("- {{name: t{n}-{age}, url: \"http://127.0.0.1:{port}/t/{n}\"}}\n"));
    }
    yaml
}

/// Puts the file in place in one step, as an editor does.
fn replace(list: &Path, yaml: &str) -> anyhow::Result<()> {
    let new = list.with_extension("new");
    fs::write(&new, yaml)?;
    Ok(fs::rename(new, list)?)
}

struct Lookout {
    process: Started,
    metrics: String,
    client: reqwest::Client,
}

fn start(url: &str, list: &Path, files: &Path) -> anyhow::Result<Lookout> {
    let program = std::env::current_exe()?.with_file_name("lookout");
    ensure!(program.exists(), "there is no {}: cargo build --release -p cli", program.display());
    let free = || anyhow::Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?);
    let (api, worker) = (free()?.to_string(), free()?.to_string());
    let data = files.join("soak.data");
    let _ = fs::remove_dir_all(&data);
    let log = File::create(files.join("soak.log"))?;
    let child = Command::new(program)
        .arg("up")
        .env_clear()
        .env("DATABASE_URL", url)
        .env("LOOKOUT_CONFIG", list)
        .env("LOOKOUT_DATA_DIR", data)
        .env("API_ADDR", &api)
        .env("WORKER_ADDR", &worker)
        .env("LOG_LEVEL", "warn")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot start lookout")?;
    Ok(Lookout {
        process: Started { child },
        metrics: format!("http://{worker}/metrics"),
        client: reqwest_client(true)?,
    })
}

impl Lookout {
    /// Starts so far by upper bound of their lag, microseconds. Waits until it answers.
    async fn buckets(&mut self) -> anyhow::Result<BTreeMap<u64, f64>> {
        let begun = Instant::now();
        loop {
            let answer = self.client.get(&self.metrics).send().await;
            if let Ok(answer) = answer.and_then(reqwest::Response::error_for_status) {
                return Ok(answer.text().await?.lines().filter_map(bucket).collect());
            }
            ensure!(self.process.child.try_wait()?.is_none(), "lookout ended");
            ensure!(begun.elapsed() < Duration::from_secs(60), "lookout does not answer");
            sleep(Duration::from_millis(100)).await;
        }
    }
}

fn bucket(line: &str) -> Option<(u64, f64)> {
    let (bound, count) = line.strip_prefix("lookout_start_lag_seconds_bucket{le=\"")?.split_once("\"} ")?;
    let bound: f64 = if bound == "+Inf" { 1e9 } else { bound.parse().ok()? };
    Some(((bound * 1e6) as u64, count.parse().ok()?))
}

/// Buckets are cumulative.
fn starts(buckets: &BTreeMap<u64, f64>) -> f64 {
    buckets.values().copied().fold(0.0, f64::max)
}

fn percentile_99(before: &BTreeMap<u64, f64>, now: &BTreeMap<u64, f64>) -> f64 {
    let wanted = 0.99 * (starts(now) - starts(before));
    let reached = now.iter().find(|(bound, count)| *count - before.get(bound).unwrap_or(&0.0) >= wanted);
    reached.map_or(f64::NAN, |(bound, _)| *bound as f64 / 1e6)
}

/// Slopes over what follows the first quarter, by least squares.
fn summary(seen: &[Minute]) {
    let settled = &seen[seen.len() / 4..];
    let slope = |of: fn(&Minute) -> f64| {
        let count = settled.len() as f64;
        let (middle, mean) = ((count - 1.0) / 2.0, settled.iter().map(of).sum::<f64>() / count);
        let (mut up, mut down) = (0.0, 0.0);
        for (place, minute) in settled.iter().enumerate() {
            let x = place as f64 - middle;
            up += x * (of(minute) - mean);
            down += x * x;
        }
        60.0 * up / down
    };
    let largest = |of: fn(&Minute) -> f64| settled.iter().map(of).fold(0.0, f64::max);
    println!(
        "after the first quarter: memory {:+.2} MiB an hour (at most {:.1}), descriptors {:+.2} an hour (at most {:.0}), \
         lag p99 at most {} s",
        slope(|minute| minute.memory_mib),
        largest(|minute| minute.memory_mib),
        slope(|minute| minute.descriptors as f64),
        largest(|minute| minute.descriptors as f64),
        largest(|minute| minute.lag_p99_s),
    );
}
