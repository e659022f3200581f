//! What may be wrong with the machine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use super::{Play, end, not_here};
use crate::ask::Regular;
use crate::ground::{Ground, Watched, healthy};
use crate::table::Outcome;

/// The library that lies about time to the program that loads it.
fn faketime() -> Option<PathBuf> {
    let below = |parent: &str| Path::new(parent).read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let places = below("/usr/lib").chain(["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from));
    places.map(|place| place.join("faketime/libfaketime.so.1")).find(|library| library.exists())
}

pub(super) async fn clock(play: &mut Play<'_>) -> anyhow::Result<Outcome> {
    let library = faketime().ok_or_else(|| not_here("libfaketime is not installed"))?;
    let mut ground = Ground::new(play.cluster, &[healthy(50)]).await?;
    let (file, next) = (ground.path("clock"), ground.path("clock.new"));
    let text = |path: &Path| path.to_str().map(str::to_owned).context("a path that can be written");
    std::fs::write(&file, "+0")?;
    ground.environment = vec![
        ("LD_PRELOAD".to_owned(), text(&library)?),
        ("FAKETIME_TIMESTAMP_FILE".to_owned(), text(&file)?),
        ("FAKETIME_NO_CACHE".to_owned(), "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC".to_owned(), "1".to_owned()),
    ];
    let url = play.cluster.url(&ground.database)?;
    let worker = ground.worker(&url)?;
    ground.rounds(3, &worker).await?;
    let jumps = ["+3600", "-3600", "+86400", "-86400", "+0"];
    for jump in jumps {
        // At once: half a line is another time.
        std::fs::write(&next, jump)?;
        std::fs::rename(&next, &file)?;
        ground.rounds(3, &worker).await?;
    }
    let mut outcome = end(&mut ground, worker, None).await?;
    let (blind, missed) = (outcome.figures.blind_s, outcome.figures.missed);
    outcome.within("BLIND s", blind, 1.0);
    outcome.must("no slot is missed", missed == 0);
    outcome.note = format!("{} jumps.", jumps.len());
    Ok(outcome)
}

pub(super) async fn descriptors(play: &mut Play<'_>) -> anyhow::Result<Outcome> {
    let hanging = Watched { path: "/hang", count: 5_000, is_healthy: false, ..healthy(0) };
    let mut ground = Ground::new(play.cluster, &[healthy(20), hanging]).await?;
    let url = play.cluster.url(&ground.database)?;
    let few = ["prlimit", "--nofile=256:256"];
    let worker = ground.wrapped_worker(&url, &few).map_err(|_| not_here("there is no prlimit"))?;
    let (_api, port) = ground.wrapped_api(&url, &few).await?;
    ground.rounds(4, &worker).await?;
    let people = Regular::start(port, &["/api/v1/overview", "/status?limit=10"], Duration::from_millis(20));
    let before = worker.busy();
    ground.pass(Duration::from_secs(15), &[&worker]).await;
    let heard = people.take();
    drop(people);
    let busy = (worker.busy() - before).as_secs_f64() / 15.0;
    let says = worker.log().contains("descriptors");
    let mut outcome = end(&mut ground, worker, None).await?;
    outcome.must("the log says how few probes that allows", says);
    outcome.within("processor, %", busy * 100.0, 50.0);
    outcome.must(&format!("the api answers, and not {:?}", heard.errors.first()), heard.errors.is_empty());
    outcome.note = format!(
        "5,000 targets hang; {:.0} % of a processor. {} questions to an api with as few were answered.",
        busy * 100.0,
        heard.answered()
    );
    Ok(outcome)
}
