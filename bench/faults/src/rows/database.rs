//! What may happen to Postgres.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::Signal;
use sqlx::{Connection, PgConnection};

use super::{Play, end, not_here};
use crate::ground::{Ground, healthy, now_us};
use crate::table::Outcome;
use crate::wire::Wire;

pub(super) async fn restarts(play: &mut Play<'_>) -> anyhow::Result<Outcome> {
    let mut ground = Ground::new(play.cluster, &[healthy(play.pick(200, 50))]).await?;
    let url = play.cluster.url(&ground.database)?;
    let worker = ground.worker(&url)?;
    ground.rounds(2, &worker).await?;
    let times = play.pick(20, 2);
    let mut longest = Duration::ZERO;
    for number in 0..times {
        if number % 2 == 0 {
            play.cluster.stop()
        } else {
            play.cluster.crash()?
        }
        play.cluster.start_again()?;
        let over_us = now_us();
        longest = longest.max(ground.stored_since(over_us, Duration::from_secs(30)).await?);
    }
    let mut outcome = end(&mut ground, worker, Some(longest)).await?;
    outcome.recovers_within(5.0);
    let (untold, blind) = (outcome.figures.untold, outcome.figures.blind_s);
    outcome.must("every answer is told", untold == 0);
    outcome.within("BLIND s", blind, 1.0);
    outcome.note = format!("{times} restarts.");
    Ok(outcome)
}

pub(super) async fn away(play: &mut Play<'_>) -> anyhow::Result<Outcome> {
    // Without optimisation a thousand a second are more than a processor's worth.
    let usual = if cfg!(debug_assertions) { 200 } else { 1_000 };
    let mut ground = Ground::new(play.cluster, &[healthy(play.pick(usual, 100))]).await?;
    let url = play.cluster.url(&ground.database)?;
    let worker = ground.worker(&url)?;
    ground.rounds(2, &worker).await?;
    let before_kib = ground.most_memory_kib;
    play.cluster.stop();
    let asked = ground.server.log().len();
    ground.pass(Duration::from_secs(play.pick(120, 5)), &[&worker]).await;
    let results = ground.server.log().len() - asked;
    play.cluster.start_again()?;
    let over_us = now_us();
    let recovery = ground.stored_since(over_us, Duration::from_secs(120)).await?;
    let mut outcome = end(&mut ground, worker, Some(recovery)).await?;
    outcome.recovers_within(play.pick(20.0, 5.0));
    let (untold, missed, blind) = (outcome.figures.untold, outcome.figures.missed, outcome.figures.blind_s);
    outcome.must("every answer is told", untold == 0);
    outcome.must("no slot is missed", missed == 0);
    outcome.within("BLIND s", blind, 1.0);
    let more_mib = ground.most_memory_kib.saturating_sub(before_kib) as f64 / 1024.0;
    outcome.within("more memory, MiB", more_mib, 32.0);
    outcome.note = format!("{results} results meanwhile, {more_mib:.0} MiB more memory.");
    Ok(outcome)
}

/// A disk of its own, gone with it.
struct Mount<'a>(&'a Path);

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

fn runs(command: &[&str]) -> bool {
    Command::new(command[0]).args(&command[1..]).output().is_ok_and(|output| output.status.success())
}

pub(super) async fn full_disk(play: &mut Play<'_>) -> anyhow::Result<Outcome> {
    let mut ground = Ground::new(play.cluster, &[healthy(200)]).await?;
    let disk = ground.path("data");
    std::fs::create_dir_all(&disk)?;
    let place = disk.to_str().context("a path that can be written")?.to_owned();
    if !runs(&["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", &place]) {
        return Err(not_here("a disk of 96 KiB cannot be mounted: it takes root"));
    }
    let _mount = Mount(&disk);
    let url = play.cluster.url(&ground.database)?;
    let worker = ground.worker(&url)?;
    ground.rounds(2, &worker).await?;
    play.cluster.stop();
    ground.pass(Duration::from_secs(3), &[&worker]).await;
    let flipped = flip_a_byte(&disk.join("spool/0"))?;
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

fn flip_a_byte(folder: &Path) -> anyhow::Result<bool> {
    use std::os::unix::fs::FileExt;
    for entry in std::fs::read_dir(folder)?.flatten() {
        if entry.file_name() != "lock" && entry.metadata()?.len() > 1_000 {
            let file = std::fs::OpenOptions::new().read(true).write(true).open(entry.path())?;
            let mut byte = [0];
            file.read_exact_at(&mut byte, 64 * 5 + 24)?;
            file.write_all_at(&[byte[0] ^ 1], 64 * 5 + 24)?;
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) async fn slow(play: &mut Play<'_>) -> anyhow::Result<Outcome> {
    let mut ground = Ground::new(play.cluster, &[healthy(500)]).await?;
    let wire = Wire::to(play.cluster.socket()?).await?;
    let worker = ground.worker(&wire.url(&ground.database))?;
    ground.rounds(2, &worker).await?;
    wire.delay(Duration::from_secs(1));
    ground.pass(Duration::from_secs(30), &[&worker]).await;
    wire.delay(Duration::ZERO);
    let over_us = now_us();
    let recovery = ground.stored_since(over_us, Duration::from_secs(60)).await?;
    let mut outcome = end(&mut ground, worker, Some(recovery)).await?;
    outcome.recovers_within(15.0);
    let (lag, missed) = (outcome.figures.lag_p99_ms, outcome.figures.missed);
    outcome.within("lag p99 ms", lag, 1_000.0);
    outcome.must("no slot is missed", missed == 0);
    Ok(outcome)
}

pub(super) async fn silent(play: &mut Play<'_>) -> anyhow::Result<Outcome> {
    let mut ground = Ground::new(play.cluster, &[healthy(50)]).await?;
    let url = play.cluster.url(&ground.database)?;
    let worker = ground.worker(&url)?;
    ground.rounds(2, &worker).await?;
    play.cluster.signal_all(Signal::STOP)?;
    let begun = Instant::now();
    let mut noticed = None;
    let silence = Duration::from_secs(play.pick(30, 8));
    while begun.elapsed() < silence {
        ground.pass(Duration::from_millis(100), &[&worker]).await;
        if noticed.is_none() && worker.log().contains("cannot write results") {
            noticed = Some(begun.elapsed());
        }
    }
    play.cluster.signal_all(Signal::CONT)?;
    let over_us = now_us();
    let recovery = ground.stored_since(over_us, Duration::from_secs(30)).await?;
    let mut outcome = end(&mut ground, worker, Some(recovery)).await?;
    outcome.recovers_within(5.0);
    let noticed = noticed.map_or(f64::INFINITY, |time| time.as_secs_f64());
    outcome.within("noticed after s", noticed, 6.0);
    let missed = outcome.figures.missed;
    outcome.must("no slot is missed", missed == 0);
    outcome.note = format!("Silent for {} s, noticed after {noticed:.1} s.", silence.as_secs());
    Ok(outcome)
}

/// One request over a connection of its own: its status, and how long that took.
fn ask(port: u16, path: &str) -> std::io::Result<(u16, Duration)> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(15)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Ok((status, begun.elapsed()))
}

pub(super) async fn crowded(play: &mut Play<'_>) -> anyhow::Result<Outcome> {
    let mut ground = Ground::new(play.cluster, &[healthy(100)]).await?;
    let url = play.cluster.url(&ground.database)?;
    let worker = ground.worker(&url)?;
    ground.rounds(3, &worker).await?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut api = Command::new(std::env::current_exe()?)
        .args(["api", "--api-addr", &format!("127.0.0.1:{port}")])
        .env("DATABASE_URL", &url)
        .env("LOG_LEVEL", "off")
        .spawn()?;
    let deadline = Instant::now() + Duration::from_secs(20);
    while ask(port, "/readyz").map_or(0, |(status, _)| status) != 200 && Instant::now() < deadline {
        ground.pass(Duration::from_millis(100), &[&worker]).await;
    }
    // Ours is there before them.
    sqlx::query("select 1").execute(&ground.pool).await?;
    let mut hogs = Vec::new();
    while let Ok(hog) = PgConnection::connect(&url).await {
        hogs.push(hog);
    }
    let begun_us = now_us();
    let asking: Vec<_> =
        (0..50).map(|_| tokio::task::spawn_blocking(move || ask(port, "/api/v1/summary?window=1h"))).collect();
    let mut answers = Vec::new();
    for answer in asking {
        answers.push(answer.await??);
    }
    ground.pass(Duration::from_secs(8), &[&worker]).await;
    // The one connection of ours is from before.
    let stored = ground.stored_since(begun_us + 6_000_000, Duration::from_secs(5)).await;
    let hogged = hogs.len();
    for hog in hogs {
        hog.close().await?;
    }
    let _ = api.kill();
    let _ = api.wait();
    let mut outcome = end(&mut ground, worker, None).await?;
    outcome.must("results are stored all the time", stored.is_ok());
    let shed = answers.iter().filter(|(status, _)| *status == 503).count();
    let served = answers.iter().filter(|(status, _)| *status == 200).count();
    let slowest = answers.iter().map(|(_, time)| *time).max().unwrap_or_default();
    outcome.must("every question is answered, or refused for now", shed + served == answers.len());
    outcome.within("the slowest answer, s", slowest.as_secs_f64(), 5.0);
    outcome.note = format!(
        "{hogged} connections taken; of 50 questions {served} answered and {shed} refused, the slowest after {:.1} s.",
        slowest.as_secs_f64()
    );
    Ok(outcome)
}
