//! What may happen to the process of a worker.

use std::time::Duration;

use rand::Rng;
use rustix::process::Signal;

use super::{Play, end};
use crate::ground::{Ground, healthy, now_us};
use crate::running::Running;
use crate::table::Outcome;

/// How long the leases of a worker that is gone last.
const LEASE_S: f64 = 5.0;

/// Of all targets here.
const INTERVAL_S: f64 = 1.0;

pub(super) async fn kills(play: &mut Play<'_>) -> anyhow::Result<Outcome> {
    let mut ground = Ground::new(play.cluster, &[healthy(play.pick(200, 20))]).await?;
    let url = play.cluster.url(&ground.database)?;
    let times = play.pick(50, 2);
    let mut worker = ground.worker(&url)?;
    ground.rounds(2, &worker).await?;
    for _ in 0..times {
        let moment = Duration::from_millis(play.chance.random_range(0..2_000));
        ground.pass(moment, &[&worker]).await;
        worker.kill();
        worker = ground.worker(&url)?;
    }
    let over_us = now_us();
    let recovery = ground.stored_since(over_us, Duration::from_secs(20)).await?;
    ground.rounds(2, &worker).await?;
    let mut outcome = end(&mut ground, worker, Some(recovery)).await?;
    let blind = outcome.figures.blind_s;
    outcome.within("BLIND s", blind, LEASE_S + INTERVAL_S);
    outcome.note = format!(
        "Killed {times} times, each worker within two seconds of its start. The next one on the same directory does not wait for \
         the leases of the last."
    );
    Ok(outcome)
}

pub(super) async fn several(play: &mut Play<'_>) -> anyhow::Result<Outcome> {
    let mut ground = Ground::new(play.cluster, &[healthy(100)]).await?;
    let url = play.cluster.url(&ground.database)?;
    let mut workers: Vec<Running> = Vec::new();
    for _ in 0..5 {
        workers.push(ground.worker_elsewhere(&url)?);
    }
    ground.rounds(8, &workers[0]).await?;
    let handovers = 3;
    for _ in 0..handovers {
        let victim = play.chance.random_range(0..workers.len());
        workers.swap_remove(victim).kill();
        ground.pass(Duration::from_secs(7), &workers.iter().collect::<Vec<_>>()).await;
        let sleeper = play.chance.random_range(0..workers.len());
        workers[sleeper].signal(Signal::STOP)?;
        ground.pass(Duration::from_secs(7), &workers.iter().collect::<Vec<_>>()).await;
        workers[sleeper].signal(Signal::CONT)?;
        workers.push(ground.worker_elsewhere(&url)?);
        ground.pass(Duration::from_secs(5), &workers.iter().collect::<Vec<_>>()).await;
    }
    let last = workers.pop().ok_or_else(|| anyhow::anyhow!("no worker"))?;
    for worker in workers {
        worker.stop().await?;
    }
    ground.rounds(3, &last).await?;
    let mut outcome = end(&mut ground, last, None).await?;
    let (blind, twice) = (outcome.figures.blind_s, outcome.figures.asked_twice);
    outcome.within("BLIND s", blind, LEASE_S + INTERVAL_S);
    outcome.within("asked twice", twice as f64, f64::from(2 * handovers));
    outcome.note = format!(
        "Five workers, each with a directory of its own, as on five machines: {handovers} killed, {handovers} stopped for 7 s and waked."
    );
    Ok(outcome)
}

pub(super) async fn stops(play: &mut Play<'_>) -> anyhow::Result<Outcome> {
    let mut ground = Ground::new(play.cluster, &[healthy(play.pick(500, 50))]).await?;
    let url = play.cluster.url(&ground.database)?;
    let times = play.pick(19, 1);
    let mut longest = Duration::ZERO;
    for _ in 0..times {
        let worker = ground.worker(&url)?;
        ground.rounds(2, &worker).await?;
        let moment = Duration::from_millis(play.chance.random_range(0..1_000));
        ground.pass(moment, &[&worker]).await;
        longest = longest.max(worker.stop().await?);
    }
    // And once with nobody to tell.
    let worker = ground.worker(&url)?;
    ground.rounds(2, &worker).await?;
    play.cluster.stop();
    ground.pass(Duration::from_secs(2), &[&worker]).await;
    longest = longest.max(worker.stop().await?);
    play.cluster.start_again()?;
    let worker = ground.worker(&url)?;
    ground.rounds(2, &worker).await?;
    let mut outcome = end(&mut ground, worker, None).await?;
    outcome.within("the longest stop, s", longest.as_secs_f64(), 10.0);
    let untold = outcome.figures.untold;
    outcome.must("every answer is told", untold == 0);
    outcome.note = format!("{} stops, the longest took {:.1} s.", times + 1, longest.as_secs_f64());
    Ok(outcome)
}

pub(super) async fn stands_still(play: &mut Play<'_>) -> anyhow::Result<Outcome> {
    let mut ground = Ground::new(play.cluster, &[healthy(50)]).await?;
    let url = play.cluster.url(&ground.database)?;
    let worker = ground.worker(&url)?;
    ground.rounds(2, &worker).await?;
    worker.signal(Signal::STOP)?;
    ground.pass(Duration::from_secs(play.pick(30, 4)), &[&worker]).await;
    worker.signal(Signal::CONT)?;
    let over_us = now_us();
    let recovery = ground.stored_since(over_us, Duration::from_secs(20)).await?;
    if !play.quick {
        // Stolen in slices, shorter than any timeout.
        for _ in 0..20 {
            worker.signal(Signal::STOP)?;
            ground.pass(Duration::from_millis(400), &[&worker]).await;
            worker.signal(Signal::CONT)?;
            ground.pass(Duration::from_millis(200), &[&worker]).await;
        }
    }
    ground.rounds(2, &worker).await?;
    let mut outcome = end(&mut ground, worker, Some(recovery)).await?;
    outcome.recovers_within(5.0);
    Ok(outcome)
}
