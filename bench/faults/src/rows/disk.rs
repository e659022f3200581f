//! What may happen to the disk that keeps what Postgres does not take.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::{Play, end, not_here};
use crate::ground::{Ground, healthy, now_us};
use crate::table::Outcome;

/// A disk of its own, gone with it.
struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    fn new(at: &'a Path, what: &[&str]) -> anyhow::Result<Self> {
        std::fs::create_dir_all(at)?;
        mount(what, at)?;
        Ok(Self(at))
    }
}

fn mount(what: &[&str], at: &Path) -> anyhow::Result<()> {
    let output = Command::new("mount").args(what).arg(at).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(not_here(&format!("a disk cannot be mounted, which takes root: {}", said.trim())));
    }
    Ok(())
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

pub(super) async fn full(play: &mut Play<'_>) -> anyhow::Result<Outcome> {
    let mut ground = Ground::new(play.cluster, &[healthy(200)]).await?;
    let disk = ground.path("data");
    let _disk = Mount::new(&disk, &["-t", "tmpfs", "-o", "size=96k", "tmpfs"])?;
    let url = play.cluster.url(&ground.database)?;
    let worker = ground.worker(&url)?;
    ground.rounds(2, &worker).await?;
    play.cluster.stop();
    ground.pass(Duration::from_secs(3), &[&worker]).await;
    let flipped = flip_a_byte(&disk)?;
    ground.pass(Duration::from_secs(17), &[&worker]).await;
    play.cluster.start_again()?;
    let over_us = now_us();
    let recovery = ground.stored_since(over_us, Duration::from_secs(30)).await?;
    let alarms = worker.log().lines().filter(|line| line.contains("the spool in")).count();
    let mut outcome = end(&mut ground, worker, Some(recovery)).await?;
    outcome.recovers_within(10.0);
    outcome.must("the log says that the disk is full", alarms > 0);
    outcome.must("a record was broken", flipped);
    let missed = outcome.figures.missed;
    outcome.within("missed", missed as f64, 1.0);
    outcome.note = format!("96 KiB of disk for 20 s of 200 results; {missed} record broken and recorded as missed.");
    Ok(outcome)
}

/// The files of results on a disk.
fn spooled(disk: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let files: Result<Vec<_>, _> = std::fs::read_dir(disk.join("spool/0"))?.map(|entry| Ok(entry?.path())).collect();
    let is_spool = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "spool1");
    files
        .map(|files: Vec<_>| files.into_iter().filter(is_spool).collect())
        .map_err(|error: std::io::Error| error.into())
}

/// What a result takes of a file.
const CELL: u64 = 64;

fn flip_a_byte(disk: &Path) -> anyhow::Result<bool> {
    for path in spooled(disk)? {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        if file.metadata()?.len() > 10 * CELL {
            let mut byte = [0];
            file.read_exact_at(&mut byte, CELL * 5 + 24)?;
            file.write_all_at(&[byte[0] ^ 1], CELL * 5 + 24)?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// Leaves half of what is there, and a quarter of a result; how many results were in the other half.
fn cut_off(disk: &Path) -> anyhow::Result<u64> {
    let mut cut = 0;
    for path in spooled(disk)? {
        let file = OpenOptions::new().write(true).open(path)?;
        let (before, left) = (file.metadata()?.len() / CELL, file.metadata()?.len() / CELL / 2);
        file.set_len(left * CELL + CELL / 4)?;
        cut += before - left;
    }
    Ok(cut)
}

pub(super) async fn read_only(play: &mut Play<'_>) -> anyhow::Result<Outcome> {
    let rate = 200;
    let mut ground = Ground::new(play.cluster, &[healthy(rate)]).await?;
    let disk = ground.path("data");
    let _disk = Mount::new(&disk, &["-t", "tmpfs", "-o", "size=8m", "tmpfs"])?;
    let url = play.cluster.url(&ground.database)?;

    // Results on disk, and their worker is gone; some of them are, too, and nothing can be written there.
    let first = ground.worker(&url)?;
    ground.rounds(2, &first).await?;
    play.cluster.stop();
    ground.pass(Duration::from_secs(5), &[&first]).await;
    first.kill();
    let cut = cut_off(&disk)?;
    mount(&["-o", "remount,ro"], &disk)?;
    play.cluster.start_again()?;
    let worker = ground.worker(&url)?;
    ground.stored_since(now_us(), Duration::from_secs(30)).await?;

    // It works on, also without Postgres for a while: what waits is in memory.
    play.cluster.stop();
    ground.pass(Duration::from_secs(8), &[&worker]).await;
    play.cluster.start_again()?;
    ground.stored_since(now_us(), Duration::from_secs(30)).await?;
    let (left, says) = (spooled(&disk)?.len(), worker.log());

    // The disk can be written again: what the first one left comes to Postgres.
    mount(&["-o", "remount,rw"], &disk)?;
    let begun = Instant::now();
    while !spooled(&disk)?.is_empty() && begun.elapsed() < Duration::from_secs(30) {
        ground.pass(Duration::from_millis(50), &[&worker]).await;
    }
    let replayed = begun.elapsed();

    // And it turns read-only while in use.
    let place = disk.to_str().context("a path that can be written")?.to_owned();
    let cover = Mount::new(&disk, &["--bind", &place])?;
    mount(&["-o", "remount,bind,ro"], &disk)?;
    play.cluster.stop();
    ground.pass(Duration::from_secs(8), &[&worker]).await;
    let says_again = worker.log();
    play.cluster.start_again()?;
    let over_us = now_us();
    let recovery = ground.stored_since(over_us, Duration::from_secs(30)).await?;
    drop(cover);

    let mut outcome = end(&mut ground, worker, Some(recovery)).await?;
    outcome.recovers_within(5.0);
    outcome.must("there were results to be cut off", cut > 0);
    outcome.must("what the first one left stays while nothing can be written", left > 0);
    let alarms =
        |log: &str| log.lines().filter(|line| line.contains("the spool in") && line.contains("Read-only")).count();
    outcome.must("the log says that the disk is read-only", alarms(&says) > 0);
    outcome.must("and says so again", alarms(&says_again) > alarms(&says));
    outcome.within("what was left comes to Postgres within s", replayed.as_secs_f64(), 10.0);
    let (missed, untold) = (outcome.figures.missed, outcome.figures.untold);
    // Beyond what was cut off: a kill loses what was not on disk yet, a round of requests and answers at most.
    outcome.within("answers that are not told", untold as f64, cut as f64 + rate as f64);
    outcome.note = format!(
        "{cut} results cut off, {missed} slots recorded as missed. What was left came to Postgres {:.1} s after the disk could be written.",
        replayed.as_secs_f64()
    );
    Ok(outcome)
}
