//! How a worker holds up: the highest rate it sustains, what becomes of its schedule and its
//! latencies below that, and what it does when it is asked for more.

use std::collections::HashMap;
use std::fmt;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use chrono::{DateTime, Utc};
use common::{Grid, Interval};
use sqlx::PgConnection;
use tokio::time::sleep;

use crate::clients::{self, KINDS};
use crate::lab::{Lab, Load, Worker};
use crate::machine;
use crate::results::{Aim, Section, median, quantile};
use crate::target::{DELAY, Stamp};

const WINDOW: Duration = Duration::from_secs(4);

/// A rate is sustained when no slot is missed and all but a hundredth start so soon.
const SUSTAINED_LAG_MS: f64 = 50.0;

/// What a run on targets at 1 s shows.
struct Run {
    per_second: f64,
    memory_mib: (f64, f64),
    kept: Schedule,
}

/// How a worker kept to its schedule, by what the target knows of it.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// Slots without a verdict.
    missed: i64,
    unaccounted: i64,
    lag_p50_ms: f64,
    lag_p99_ms: f64,
    drift_ms: f64,
    busiest: f64,
    /// Reported less true latency, milliseconds.
    surplus_p50_ms: f64,
    surplus_p99_ms: f64,
}

impl Schedule {
    /// Stops the worker and reads what came of it since the last measurement began.
    pub(crate) async fn of(lab: &mut Lab, worker: Worker) -> anyhow::Result<Self> {
        let interval = Interval::new(Duration::from_secs(worker.load.interval_s))?;
        let stamps = lab.stamps()?;
        let (accounted, mut connection, database) = lab.stop(worker).await?;
        let lags = lags(&stamps, interval);
        let surplus = surplus(&reported(&mut connection).await?, &stamps);
        drop(connection);
        lab.drop_database(&database).await?;
        let all: Vec<f64> = lags.values().flatten().copied().collect();
        Ok(Self {
            missed: accounted.missed + accounted.unknown,
            unaccounted: accounted.unaccounted,
            lag_p50_ms: quantile(&all, 0.5),
            lag_p99_ms: quantile(&all, 0.99),
            drift_ms: drift(&lags),
            busiest: busiest(&stamps),
            surplus_p50_ms: quantile(&surplus, 0.5),
            surplus_p99_ms: quantile(&surplus, 0.99),
        })
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} without a verdict, {} unaccounted for; start lag p50 {:.2} ms, p99 {:.2} ms; \
             reported less true latency p50 {:.2} ms, p99 {:.2} ms",
            self.missed, self.unaccounted, self.lag_p50_ms, self.lag_p99_ms, self.surplus_p50_ms, self.surplus_p99_ms
        )
    }
}

async fn run_once(lab: &mut Lab, load: Load, window: Duration) -> anyhow::Result<Run> {
    let worker = lab.start(load).await?;
    sleep(Duration::from_secs(3)).await;
    let measured = lab.measure(&worker, window).await?;
    let kept = Schedule::of(lab, worker).await?;
    Ok(Run { per_second: measured.per_second(), memory_mib: measured.memory_mib, kept })
}

/// How long after its slot each request arrived, by target, in order, milliseconds.
fn lags(stamps: &[Stamp], interval: Interval) -> HashMap<u32, Vec<f64>> {
    let mut lags: HashMap<u32, Vec<f64>> = HashMap::new();
    for stamp in stamps {
        let grid = Grid::new(&format!("t{}", stamp.target), interval);
        let slot = grid.at_or_after(stamp.came_us - grid.interval() + 1);
        lags.entry(stamp.target).or_default().push((stamp.came_us - slot.0) as f64 / 1000.0);
    }
    lags
}

/// By how much a target's lag grows from one slot to the next: the median over all.
fn drift(lags: &HashMap<u32, Vec<f64>>) -> f64 {
    let drifts: Vec<f64> = lags
        .values()
        .filter(|lags| lags.len() > 1)
        .map(|lags| (lags[lags.len() - 1] - lags[0]) / (lags.len() - 1) as f64)
        .collect();
    median(&drifts).abs()
}

/// Arrivals in the busiest whole second over those of all on average.
fn busiest(stamps: &[Stamp]) -> f64 {
    let (Some(first), Some(last)) =
        (stamps.iter().map(|it| it.came_us).min(), stamps.iter().map(|it| it.came_us).max())
    else {
        return f64::NAN;
    };
    let mut seconds: HashMap<i64, f64> = HashMap::new();
    for stamp in stamps {
        *seconds.entry((stamp.came_us - first) / 1_000_000).or_default() += 1.0;
    }
    // The last one is not whole.
    seconds.remove(&((last - first) / 1_000_000));
    let most = seconds.values().copied().fold(0.0, f64::max);
    most / (seconds.values().sum::<f64>() / seconds.len() as f64)
}

/// A request as who made it saw it.
struct Asked {
    target: u32,
    started_us: i64,
    elapsed_us: i64,
}

/// What was reported less what the target knows, of each request, milliseconds.
fn surplus(asked: &[Asked], stamps: &[Stamp]) -> Vec<f64> {
    let mut by_target: HashMap<u32, Vec<&Stamp>> = HashMap::new();
    for stamp in stamps {
        by_target.entry(stamp.target).or_default().push(stamp);
    }
    let mut surplus = Vec::with_capacity(stamps.len());
    for Asked { target, started_us, elapsed_us } in asked {
        let near = by_target.get(target).into_iter().flatten();
        let Some(stamp) = near.min_by_key(|stamp| (stamp.came_us - started_us).abs()) else { continue };
        // The worker's clock is that of the database, which is this machine's, give or take a little.
        if (stamp.came_us - started_us).abs() < 400_000 {
            surplus.push((elapsed_us - (stamp.answered_us - stamp.came_us)) as f64 / 1000.0);
        }
    }
    surplus
}

/// What a worker reported.
async fn reported(connection: &mut PgConnection) -> anyhow::Result<Vec<Asked>> {
    let rows: Vec<(String, DateTime<Utc>, i32)> = sqlx::query_as(
        "select key, started_at, elapsed_us from check_result join target using (target_id)
         where code = 200 and started_at is not null",
    )
    .fetch_all(connection)
    .await?;
    let asked = |(key, started_at, elapsed_us): (String, DateTime<Utc>, i32)| {
        let target = key.trim_start_matches('t').parse()?;
        Ok(Asked { target, started_us: started_at.timestamp_micros(), elapsed_us: elapsed_us.into() })
    };
    rows.into_iter().map(asked).collect()
}

/// What this machine adds to a latency that nobody else has a part in: the surplus of threads that
/// each make one blocking request after the other, 640 a second in all.
fn machine_surplus(lab: &mut Lab, time: Duration) -> anyhow::Result<Vec<f64>> {
    fn ask(target: u32, port: u16, end: Instant) -> anyhow::Result<Vec<Asked>> {
        machine::pin(machine::MEASURED);
        let mut asked = Vec::new();
        while Instant::now() < end {
            let (started_us, begun) = (Utc::now().timestamp_micros(), Instant::now());
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.set_nodelay(true)?;
            stream.write_all(format!("GET /d/{target} HTTP/1.1\r\nconnection: close\r\n\r\n").as_bytes())?;
            stream.read_exact(&mut [0])?;
            let elapsed_us = begun.elapsed().as_micros().try_into()?;
            asked.push(Asked { target, started_us, elapsed_us });
            // To its end, so that the target closes.
            stream.read_to_end(&mut Vec::new())?;
        }
        Ok(asked)
    }
    lab.target.reset()?;
    let end = Instant::now() + time;
    let threads: Vec<_> = (0..32)
        .map(|target| {
            let port = lab.target.ports[target % lab.target.ports.len()];
            thread::spawn(move || ask(target as u32, port, end))
        })
        .collect();
    let mut asked = Vec::new();
    for thread in threads {
        asked.extend(thread.join().map_err(|_| anyhow!("a thread failed"))??);
    }
    Ok(surplus(&asked, &lab.stamps()?))
}

/// The highest rate at which nothing is missed, found in steps of a twentieth.
async fn highest(lab: &mut Lab) -> anyhow::Result<f64> {
    let bare = clients::measure(KINDS[0], Duration::from_secs(1), &lab.target.ports)?.per_cpu_second();
    let mut rate = bare;
    loop {
        let run = run_once(lab, Load { delayed: true, ..Load::per_second(rate) }, Duration::from_secs(3)).await?;
        println!(
            "{rate:.0} a second: {:.0} done, {} missed, lag {:.1} ms",
            run.per_second, run.kept.missed, run.kept.lag_p99_ms
        );
        if run.kept.missed == 0 && run.kept.lag_p99_ms <= SUSTAINED_LAG_MS {
            return Ok(rate);
        }
        // What came through when it was too much tells about how much is not.
        rate = (rate * 0.95).min(run.per_second.max(rate * 0.5) * 1.05);
    }
}

pub(crate) async fn run(lab: &mut Lab, rounds: usize) -> anyhow::Result<Section> {
    let mut section = Section::new("On time, and too much of it");
    let highest = highest(lab).await?;
    section.add("highest sustained rate, 50 ms targets at 1 s", vec![highest], Aim::None, "checks/s");
    let mut runs: Vec<Vec<Run>> = (0..4).map(|_| Vec::new()).collect();
    let (mut alone_p50, mut alone_p99) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let alone = machine_surplus(lab, WINDOW)?;
        alone_p50.push(quantile(&alone, 0.5));
        alone_p99.push(quantile(&alone, 0.99));
        for (share, runs) in [0.5, 0.9, 2.0, 10.0].into_iter().zip(&mut runs) {
            // The last two take longer, and vary less.
            if share < 1.0 || round < rounds.min(3) {
                runs.push(run_once(lab, Load { delayed: true, ..Load::per_second(share * highest) }, WINDOW).await?);
            }
        }
        println!("round {} of {rounds}", round + 1);
    }
    let of = |runs: &[Run], what: fn(&Run) -> f64| runs.iter().map(what).collect::<Vec<f64>>();
    let [half, most, twice, tenfold] = runs.as_slice() else { anyhow::bail!("there are four loads") };
    section.add("blocking sockets, 640 requests/s: reported − true latency, p50", alone_p50, Aim::None, "ms");
    section.add("blocking sockets, 640 requests/s: reported − true latency, p99", alone_p99, Aim::None, "ms");
    for (name, runs, lag, surplus) in [("50 %", half, 10.0, 1.0), ("90 %", most, 50.0, 3.0)] {
        section.add(format!("start lag at {name}, p99"), of(runs, |run| run.kept.lag_p99_ms), Aim::AtMost(lag), "ms");
        section.add(format!("drift per slot at {name}"), of(runs, |run| run.kept.drift_ms), Aim::AtMost(0.1), "ms");
        section.add(format!("busiest second ÷ mean at {name}"), of(runs, |run| run.kept.busiest), Aim::AtMost(1.5), "");
        section.add(
            format!("slots without a verdict at {name}"),
            of(runs, |run| run.kept.missed as f64),
            Aim::AtMost(0.0),
            "",
        );
        let (p50, p99) = (of(runs, |run| run.kept.surplus_p50_ms), of(runs, |run| run.kept.surplus_p99_ms));
        section.add(format!("reported − true latency at {name}, p50"), p50, Aim::None, "ms");
        section.add(format!("reported − true latency at {name}, p99"), p99, Aim::AtMost(surplus), "ms");
    }
    for (name, runs) in [("2 ×", twice), ("10 ×", tenfold)] {
        let goodput = runs.iter().map(|run| run.per_second / highest).collect();
        section.add(format!("asked for {name} the highest rate: done ÷ that rate"), goodput, Aim::AtLeast(0.95), "");
        let unaccounted = of(runs, |run| run.kept.unaccounted.abs() as f64);
        section.add(
            format!("asked for {name}: slots that are neither a verdict nor missed"),
            unaccounted,
            Aim::AtMost(0.0),
            "",
        );
        let growth = of(runs, |run| run.memory_mib.1 / run.memory_mib.0);
        section.add(
            format!("asked for {name}: memory after {} s ÷ before", WINDOW.as_secs()),
            growth,
            Aim::AtMost(1.1),
            "",
        );
    }
    hanging(lab, &mut section).await?;
    many(lab, &mut section).await?;
    section.note(format!(
        "Arrivals and true latencies are the target's own stamps: answers come {} ms after the connection was accepted, \
         and reported less true holds what connecting and the way back take. What blocking sockets, an idle thread for each, \
         report beyond the truth at 640 requests a second is this machine's own. Pairs of stamps more than 400 ms apart are left out.",
        DELAY.as_millis()
    ));
    Ok(section)
}

/// 10,000 targets at 10 s, three of ten hanging.
async fn hanging(lab: &mut Lab, section: &mut Section) -> anyhow::Result<()> {
    let load = Load { interval_s: 10, hanging: 3, ..Load::per_second(10_000.0) };
    let worker = lab.start(load).await?;
    // Who hangs is learnt by the first probe, and 3,000 of those take all places for 15 s.
    sleep(Duration::from_secs(30)).await;
    lab.measure(&worker, Duration::from_secs(20)).await?;
    let stamps: Vec<Stamp> = lab.stamps()?.into_iter().filter(|stamp| !load.hangs(stamp.target as usize)).collect();
    let (accounted, mut connection, database) = lab.stop(worker).await?;
    let missed: i64 = sqlx::query_scalar(
        "select count(*) from check_result join target using (target_id)
         where outcome in ('missed', 'unknown') and url not like '%/h/%'",
    )
    .fetch_one(&mut connection)
    .await?;
    drop(connection);
    lab.drop_database(&database).await?;
    let lags = lags(&stamps, Interval::new(Duration::from_secs(load.interval_s))?);
    let all: Vec<f64> = lags.values().flatten().copied().collect();
    section.add(
        "10,000 targets at 10 s, 30 % hanging: healthy slots missed",
        vec![missed as f64],
        Aim::AtMost(0.0),
        "",
    );
    let lag = vec![quantile(&all, 0.99)];
    section.add("10,000 targets at 10 s, 30 % hanging: start lag of healthy ones, p99", lag, Aim::AtMost(50.0), "ms");
    let missed = vec![accounted.missed as f64];
    section.add("10,000 targets at 10 s, 30 % hanging: slots of hanging ones missed", missed, Aim::None, "");
    Ok(())
}

/// 50,000 targets at 60 s: how large, and whether everybody is on the grid within an interval.
async fn many(lab: &mut Lab, section: &mut Section) -> anyhow::Result<()> {
    let load = Load { interval_s: 60, ..Load::per_second(50_000.0) };
    let worker = lab.start(load).await?;
    let begun = lab.measure(&worker, Duration::from_secs(60)).await?;
    let stamps = lab.stamps()?;
    let seen: std::collections::HashSet<u32> = stamps.iter().map(|stamp| stamp.target).collect();
    section.add("50,000 targets at 60 s: memory of the worker", vec![begun.memory_mib.1], Aim::AtMost(130.0), "MiB");
    let late = (load.targets - seen.len()) as f64;
    section.add("50,000 targets at 60 s: not probed within an interval of the start", vec![late], Aim::AtMost(0.0), "");
    let lags = lags(&stamps, Interval::new(Duration::from_secs(load.interval_s))?);
    let all: Vec<f64> = lags.values().flatten().copied().collect();
    section.add("50,000 targets at 60 s: start lag, p99", vec![quantile(&all, 0.99)], Aim::None, "ms");
    lab.discard(worker).await?;
    Ok(())
}
