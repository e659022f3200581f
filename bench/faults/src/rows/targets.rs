//! What targets may do.

use std::time::Duration;

use super::{Play, end};
use crate::ground::{Ground, Watched, healthy};
use crate::table::Outcome;

fn hostile_kind(path: &str, count: usize) -> Watched<'_> {
    Watched { path, is_healthy: false, ..healthy(count) }
}

pub(super) async fn hang(play: &mut Play<'_>) -> anyhow::Result<Outcome> {
    let hanging = Watched {
        path: "/hang",
        count: 2_000,
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        is_healthy: false,
    };
    let mut ground = Ground::new(play.cluster, &[healthy(100), hanging]).await?;
    let url = play.cluster.url(&ground.database)?;
    let worker = ground.worker(&url)?;
    ground.rounds(5, &worker).await?;
    ground.pass(Duration::from_secs(30), &[&worker]).await;
    let mut outcome = end(&mut ground, worker, None).await?;
    let lag = outcome.figures.lag_p99_ms;
    outcome.within("lag p99 ms", lag, 1_000.0);
    outcome.note = "100 healthy targets beside them, on the same server.".to_owned();
    Ok(outcome)
}

pub(super) async fn hostile(play: &mut Play<'_>) -> anyhow::Result<Outcome> {
    let kinds = [
        "/gzip/1073741824",
        "/body/10737418240",
        "/slow-body/50",
        "/drip-head/50",
        "/endless-headers",
        "/many-headers/10000",
        "/big-header/1048576",
        "/bad-chunk",
        "/informational",
        "/loop",
        "/close",
        "/garbage",
    ];
    let mut watched = vec![healthy(20)];
    watched.extend(kinds.map(|kind| hostile_kind(kind, 4)));
    let mut ground = Ground::new(play.cluster, &watched).await?;
    let url = play.cluster.url(&ground.database)?;
    let worker = ground.worker(&url)?;
    ground.rounds(5, &worker).await?;
    ground.pass(Duration::from_secs(20), &[&worker]).await;
    let mut outcome = end(&mut ground, worker, None).await?;
    outcome.within("memory, MB", ground.most_memory_kib as f64 / 1024.0, 128.0);
    let lag = outcome.figures.lag_p99_ms;
    outcome.within("lag p99 ms", lag, 1_000.0);
    outcome.note = format!("{} kinds, four of each every second, beside 20 healthy targets.", kinds.len());
    Ok(outcome)
}

pub(super) async fn many(play: &mut Play<'_>) -> anyhow::Result<Outcome> {
    let ten_seconds =
        Watched { count: 10_000, interval: Duration::from_secs(10), timeout: Duration::from_secs(5), ..healthy(0) };
    let mut ground = Ground::new(play.cluster, &[ten_seconds]).await?;
    let url = play.cluster.url(&ground.database)?;
    let worker = ground.worker(&url)?;
    ground.rounds(3, &worker).await?;
    let mut outcome = end(&mut ground, worker, None).await?;
    outcome.within("memory, MB", ground.most_memory_kib as f64 / 1024.0, 256.0);
    outcome.note =
        "Every ten seconds, a thousand checks a second; measured, not limited by a control group.".to_owned();
    Ok(outcome)
}
