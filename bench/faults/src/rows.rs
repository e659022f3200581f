//! The rows: what is broken, for how long, and what has to hold.

mod clients;
mod database;
mod disk;
mod machine;
mod network;
mod pages;
mod process;
mod targets;
mod upgrade;

use std::fmt;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rustix::process::Signal;

use crate::ground::{Cluster, Ground, now_us};
use crate::oracle::{self, Figures};
use crate::running::Running;
use crate::table::{Outcome, Played, RowResult};

/// A row of the table.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// What is done.
    pub(crate) fault: &'static str,
    /// Whether it is worth its time in every run of the tests.
    pub(crate) is_quick: bool,
}

const fn row(name: &'static str, fault: &'static str) -> Row {
    Row { name, fault, is_quick: false }
}

const fn quick(name: &'static str, fault: &'static str) -> Row {
    Row { name, fault, is_quick: true }
}

/// All of them, in their order.
pub(crate) const ALL: &[Row] = &[
    quick("F1", "The worker is killed at random moments and started again"),
    row("F3", "Postgres is restarted, in turns fast and immediately"),
    quick("F4", "Postgres is away for two minutes"),
    row("F4/2000", "The same with ten times as many results"),
    row("F6", "Postgres is away, and the disk of the spool is full; then one byte of it is another"),
    row(
        "F6/read-only",
        "A worker dies and what it has on disk is cut off; the disk is read-only, for the next one and then under it",
    ),
    row("F7", "Every answer of Postgres takes a second, then five; then the table of checks is locked"),
    row("F8", "Others take every connection that Postgres has"),
    quick("F9", "Postgres says nothing more, and closes nothing"),
    row("F10", "The wall clock of the worker jumps by an hour and a day, forward and back"),
    row("F11", "Five workers; again and again one is killed, and one stopped for longer than its leases and waked"),
    row("F12", "The schema grows under load, a migration is killed and begun again, and programs older than it go on"),
    row("F13", "Every packet of the worker to the world is dropped"),
    row(
        "F14",
        "The name server says that names do not exist, then that none does, then that it failed, then nothing at all",
    ),
    row("F15", "Two hundred and fifty-six descriptors, and targets that would take more"),
    row("F16", "Two thousand targets accept and never answer"),
    row("F18", "Targets that answer with bombs, endless heads and bodies, and garbage"),
    row("F19", "Five thousand clients of the api dribble, read nothing, or say nothing"),
    row("F20", "A thousand pages follow the api, one reads nothing; then all of them come anew at once"),
    quick("F21", "The worker is asked to stop under load, also while Postgres is away"),
    row("F24", "Ten thousand targets"),
    row("F25", "The worker stands still, and others take the processors"),
];

/// What this machine cannot do.
#[derive(Debug)]
struct NotHere(String);

impl fmt::Display for NotHere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotHere {}

fn not_here(reason: &str) -> anyhow::Error {
    NotHere(reason.to_owned()).into()
}

/// What a row has to work with.
pub(crate) struct Play<'a> {
    cluster: &'a mut Cluster,
    chance: StdRng,
    quick: bool,
}

/// Plays a row, and leaves Postgres as it was.
pub(crate) async fn play(row: &'static Row, cluster: &mut Cluster, seed: u64, quick: bool) -> RowResult {
    let mut play = Play { cluster, chance: StdRng::seed_from_u64(seed), quick };
    let played = match row.name {
        "F1" => process::kills(&mut play).await,
        "F3" => database::restarts(&mut play).await,
        "F4" => {
            let rate = play.pick(200, 100);
            database::away(&mut play, rate).await
        }
        "F4/2000" => database::away(&mut play, 2_000).await,
        "F6" => disk::full(&mut play).await,
        "F6/read-only" => disk::read_only(&mut play).await,
        "F7" => database::slow(&mut play).await,
        "F8" => database::crowded(&mut play).await,
        "F9" => database::silent(&mut play).await,
        "F10" => machine::clock(&mut play).await,
        "F11" => process::several(&mut play).await,
        "F13" => network::cut(&mut play).await,
        "F14" => network::names(&mut play).await,
        "F15" => machine::descriptors(&mut play).await,
        "F16" => targets::hang(&mut play).await,
        "F18" => targets::hostile(&mut play).await,
        "F21" => process::stops(&mut play).await,
        "F24" => targets::many(&mut play).await,
        "F25" => process::stands_still(&mut play).await,
        "F12" => upgrade::upgrade(&mut play).await,
        "F19" => clients::dawdle(&mut play).await,
        "F20" => pages::follow(&mut play).await,
        other => Err(not_here(&format!("nobody plays {other}"))),
    };
    let _ = play.cluster.signal_all(Signal::CONT);
    if play.cluster.url("postgres").is_err() {
        let _ = play.cluster.start_again();
    }
    let played = match played {
        Ok(outcome) => Played::Ended(Box::new(outcome)),
        Err(error) => match error.downcast::<NotHere>() {
            Ok(reason) => Played::Left(reason.0),
            Err(error) => Played::Broken(format!("{error:#}")),
        },
    };
    RowResult { row, played }
}

impl Play<'_> {
    /// The first for a run by hand, the second for one of the tests.
    fn pick<T>(&self, usual: T, quick: T) -> T {
        if self.quick { quick } else { usual }
    }
}

/// Waits until everything up to now is settled, and judges it.
async fn settle(ground: &mut Ground, worker: &Running) -> anyhow::Result<(i64, Figures)> {
    // A lease runs out, a last holder's time to finish is over, an interval passes.
    let until_us = now_us();
    ground.pass(Duration::from_secs(2), &[worker]).await;
    let mut figures = oracle::judge(ground, until_us).await?;
    for _ in 0..80 {
        if figures.lost == 0 {
            break;
        }
        ground.pass(Duration::from_millis(500), &[worker]).await;
        figures = oracle::judge(ground, until_us).await?;
    }
    Ok((until_us, figures))
}

/// Settles, stops the worker, and judges by what holds in every row.
async fn end(ground: &mut Ground, worker: Running, recovery: Option<Duration>) -> anyhow::Result<Outcome> {
    let (until_us, _) = settle(ground, &worker).await?;
    worker.stop().await?;
    let figures = oracle::judge(ground, until_us).await?;
    let mut outcome = Outcome { figures, memory_kib: ground.most_memory_kib, recovery, ..Outcome::default() };
    outcome.must("no slot is lost", figures.lost == 0);
    outcome.must("no slot has two rows", figures.dup == 0);
    outcome.must("no healthy target is blamed", figures.blame == 0);
    outcome.must("no healthy target has an incident", figures.incidents == 0);
    outcome.must("something was due", figures.due > 0);
    Ok(outcome)
}

impl Outcome {
    fn must(&mut self, what: &str, holds: bool) {
        if !holds {
            self.broken.push(what.to_owned());
        }
    }

    fn within(&mut self, what: &str, found: f64, most: f64) {
        self.bars.push(format!("{what} at most {most}"));
        self.must(&format!("{what} {found:.1} is at most {most}"), found <= most);
    }

    fn recovers_within(&mut self, seconds: f64) {
        let took = self.recovery.map_or(f64::INFINITY, |time| time.as_secs_f64());
        self.within("recovery s", took, seconds);
    }
}
