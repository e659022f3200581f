//! How a worker holds up: the highest rate it sustains, what becomes of its schedule and its
//! latencies below that, and what it does when it is asked for more.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use common::{Grid, Interval};
use sqlx::PgConnection;
use tokio::time::sleep;

use crate::clients::{self, KINDS};
use crate::lab::{Lab, Load};
use crate::results::{Aim, Section, median, quantile};
use crate::target::{DELAY, Stamp};

const WINDOW: Duration = Duration::from_secs(4);

/// A rate is sustained when no slot is missed and all but a hundredth start so soon.
const SUSTAINED_LAG_MS: f64 = 50.0;

/// What a run on targets at 1 s shows.
struct Run {
    per_second: f64,
    missed: i64,
    unaccounted: i64,
    lag_p99_ms: f64,
    drift_ms: f64,
    busiest: f64,
    /// Reported less true latency, milliseconds.
    surplus_p50_ms: f64,
    surplus_p99_ms: f64,
    memory_mib: (f64, f64),
}

async fn run_once(lab: &mut Lab, load: Load, window: Duration) -> anyhow::Result<Run> {
    let worker = lab.start(load).await?;
    sleep(Duration::from_secs(3)).await;
    let measured = lab.measure(&worker, window).await?;
    let stamps = lab.stamps()?;
    let (accounted, mut connection, database) = lab.stop(worker).await?;
    let interval = Interval::new(Duration::from_secs(load.interval_s))?;
    let lags = lags(&stamps, interval);
    let surplus = surplus(&mut connection, &stamps).await?;
    drop(connection);
    lab.drop_database(&database).await?;
    let all: Vec<f64> = lags.values().flatten().copied().collect();
    Ok(Run {
        per_second: measured.per_second(),
        missed: accounted.missed + accounted.unknown,
        unaccounted: accounted.unaccounted,
        lag_p99_ms: quantile(&all, 0.99),
        drift_ms: drift(&lags),
        busiest: busiest(&stamps),
        surplus_p50_ms: quantile(&surplus, 0.5),
        surplus_p99_ms: quantile(&surplus, 0.99),
        memory_mib: measured.memory_mib,
    })
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

/// What a worker reported less what the target knows, of each request, milliseconds.
async fn surplus(connection: &mut PgConnection, stamps: &[Stamp]) -> anyhow::Result<Vec<f64>> {
    let mut by_target: HashMap<u32, Vec<&Stamp>> = HashMap::new();
    for stamp in stamps {
        by_target.entry(stamp.target).or_default().push(stamp);
    }
    let rows: Vec<(String, DateTime<Utc>, i32)> = sqlx::query_as(
        "select key, started_at, elapsed_us from check_result join target using (target_id)
         where code = 200 and started_at is not null",
    )
    .fetch_all(connection)
    .await?;
    let mut surplus = Vec::with_capacity(stamps.len());
    for (key, started_at, elapsed_us) in rows {
        let target = key.trim_start_matches('t').parse()?;
        let started_us = started_at.timestamp_micros();
        let near = by_target.get(&target).into_iter().flatten();
        let Some(stamp) = near.min_by_key(|stamp| (stamp.came_us - started_us).abs()) else { continue };
        // The worker's clock is that of the database, which is this machine's, give or take a little.
        if (stamp.came_us - started_us).abs() < 400_000 {
            surplus.push((i64::from(elapsed_us) - (stamp.answered_us - stamp.came_us)) as f64 / 1000.0);
        }
    }
    Ok(surplus)
}

/// The highest rate at which nothing is missed, found in steps of a twentieth.
async fn highest(lab: &mut Lab) -> anyhow::Result<f64> {
    let bare = clients::measure(KINDS[0], Duration::from_secs(1), &lab.target.ports)?.per_cpu_second();
    let mut rate = bare;
    loop {
        let run = run_once(lab, Load { delayed: true, ..Load::per_second(rate) }, Duration::from_secs(3)).await?;
        println!("{rate:.0} a second: {:.0} done, {} missed, lag {:.1} ms", run.per_second, run.missed, run.lag_p99_ms);
        if run.missed == 0 && run.lag_p99_ms <= SUSTAINED_LAG_MS {
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
    for round in 0..rounds {
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
    for (name, runs, lag, surplus) in [("50 %", half, 10.0, 1.0), ("90 %", most, 50.0, 3.0)] {
        section.add(format!("start lag at {name}, p99"), of(runs, |run| run.lag_p99_ms), Aim::AtMost(lag), "ms");
        section.add(format!("drift per slot at {name}"), of(runs, |run| run.drift_ms), Aim::AtMost(0.1), "ms");
        section.add(format!("busiest second ÷ mean at {name}"), of(runs, |run| run.busiest), Aim::AtMost(1.5), "");
        section.add(
            format!("slots without a verdict at {name}"),
            of(runs, |run| run.missed as f64),
            Aim::AtMost(0.0),
            "",
        );
        let (p50, p99) = (of(runs, |run| run.surplus_p50_ms), of(runs, |run| run.surplus_p99_ms));
        section.add(format!("reported − true latency at {name}, p50"), p50, Aim::None, "ms");
        section.add(format!("reported − true latency at {name}, p99"), p99, Aim::AtMost(surplus), "ms");
    }
    for (name, runs) in [("2 ×", twice), ("10 ×", tenfold)] {
        let goodput = runs.iter().map(|run| run.per_second / highest).collect();
        section.add(format!("asked for {name} the highest rate: done ÷ that rate"), goodput, Aim::AtLeast(0.95), "");
        let unaccounted = of(runs, |run| run.unaccounted.abs() as f64);
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
         and reported less true holds what connecting and the way back take.",
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
