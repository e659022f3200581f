//! What may happen to Postgres.

use std::time::{Duration, Instant};

use anyhow::bail;
use rustix::process::Signal;
use sqlx::{Connection, PgConnection};

use super::{Play, end};
use crate::ask::{REFUSED, Regular, ask};
use crate::ground::{Ground, healthy, now_us};
use crate::running::Running;
use crate::table::Outcome;
use crate::wire::Wire;

const PATHS: &[&str] = &["/api/v1/overview", "/status?limit=10", "/api/v1/targets"];

pub(super) async fn restarts(play: &mut Play<'_>) -> anyhow::Result<Outcome> {
    let mut ground = Ground::new(play.cluster, &[healthy(play.pick(200, 50))]).await?;
    let url = play.cluster.url(&ground.database)?;
    let (_api, port) = ground.api(&url).await?;
    let worker = ground.worker(&url)?;
    ground.rounds(2, &worker).await?;
    let people = Regular::start(port, PATHS, Duration::from_millis(5));
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
    let heard = people.take();
    drop(people);
    let mut outcome = end(&mut ground, worker, Some(longest)).await?;
    outcome.recovers_within(5.0);
    let refused = heard.errors.iter().filter(|error| error.ends_with(REFUSED)).count();
    let others: Vec<_> = heard.errors.iter().filter(|error| !error.ends_with(REFUSED)).take(3).collect();
    outcome.must(&format!("the api answers 200, or 503 and when to come again, and not {others:?}"), others.is_empty());
    outcome.must(
        "the api refuses while Postgres is away, and answers when it is not",
        refused > 0 && heard.answered() > 0,
    );
    let (untold, blind) = (outcome.figures.untold, outcome.figures.blind_s);
    outcome.must("every answer is told", untold == 0);
    outcome.within("BLIND s", blind, 1.0);
    outcome.note = format!(
        "{times} restarts. Of {} questions to the api {refused} were answered with 503 and Retry-After, all others with 200.",
        heard.answered() + heard.errors.len()
    );
    Ok(outcome)
}

/// Results that a second must take from the disk to Postgres, once it is back.
const REPLAY_RATE: f64 = 20_000.0;

pub(super) async fn away(play: &mut Play<'_>, rate: usize) -> anyhow::Result<Outcome> {
    let mut ground = Ground::new(play.cluster, &[healthy(rate)]).await?;
    let url = play.cluster.url(&ground.database)?;
    let (_api, api_port) = ground.api(&url).await?;
    let (worker, worker_port) = ground.telling_worker(&url)?;
    ground.rounds(play.pick(10, 2), &worker).await?;
    let before_kib = worker.resident_kib();
    let asked = ground.server.log().len();
    let stored: i64 = sqlx::query_scalar(STORED).fetch_one(&ground.pool).await?;
    play.cluster.stop();
    let time = Duration::from_secs(play.pick(120, 5));
    ground.pass(time / 2, &[&worker]).await;
    let halfway_kib = worker.resident_kib();
    ground.pass(time / 2, &[&worker]).await;
    let told =
        [ask(worker_port, "/readyz").await?, ask(api_port, "/readyz").await?, ask(api_port, "/api/v1/system").await?];
    let away_kib = worker.resident_kib();
    let results = ground.server.log().len() - asked;
    let gone = Gone { stored: usize::try_from(stored)?, seen: Instant::now() };
    play.cluster.start_again()?;
    let (back_us, back) = (now_us(), Instant::now());
    let replay = watch_replay(&mut ground, &worker, api_port, &gone, results).await?;
    let recovery = ground.stored_since(back_us, Duration::from_secs(120)).await?.max(replay.ended - back);
    let mut outcome = end(&mut ground, worker, Some(recovery)).await?;
    outcome.recovers_within(play.pick(20.0, 5.0));
    let (untold, missed, blind) = (outcome.figures.untold, outcome.figures.missed, outcome.figures.blind_s);
    outcome.must("every answer is told", untold == 0);
    outcome.must("no slot is missed", missed == 0);
    outcome.within("BLIND s", blind, 1.0);
    let more_mib = away_kib.saturating_sub(before_kib) as f64 / 1024.0;
    outcome.within("more memory, MiB", more_mib, play.pick(16.0, 32.0));
    let later_mib = away_kib.saturating_sub(halfway_kib) as f64 / 1024.0;
    outcome.within("more memory in the second half, MiB", later_mib, play.pick(4.0, 32.0));
    let depth = told[0].text.rsplit_once("\r\n").map_or("", |(_, body)| body).trim();
    outcome.must(
        &format!("all say so: {:?}", told.each_ref().map(|one| one.status)),
        told.iter().all(|one| one.status == 503),
    );
    if !play.quick {
        outcome.must(&format!("the worker says how many wait: {depth}"), depth.contains("on disk"));
        // With fewer most of the time is the first transaction's, and all is in Postgres before anybody is told of it.
        if results > 100_000 {
            outcome.must("/api/v1/system says that results wait on disk", replay.is_shown);
            outcome.must(&format!("replay is at least {REPLAY_RATE} a second"), replay.rate >= REPLAY_RATE);
        }
    }
    outcome.note = format!(
        "{rate} a second: {results} results meanwhile, {:.0} a second afterwards from the disk to Postgres; {more_mib:.1} MiB more memory, \
         {later_mib:.1} of it in the second half. The worker said: {depth}.",
        replay.rate
    );
    Ok(outcome)
}

/// All rows there are: batches are few, results many.
const STORED: &str = "select coalesce(sum(rows), 0)::int8 from batch";

/// How what was on disk came to Postgres.
struct Replay {
    /// Rows a second, from the last look that found none of them to the first that found all.
    rate: f64,
    /// When nothing was left.
    ended: Instant,
    /// `/api/v1/system` told of results on disk.
    is_shown: bool,
}

/// Postgres, as it was when it went.
struct Gone {
    /// Rows.
    stored: usize,
    /// When it was still gone.
    seen: Instant,
}

/// Waits until `results` more rows are stored than there were when Postgres went.
async fn watch_replay(
    ground: &mut Ground,
    worker: &Running,
    api_port: u16,
    gone: &Gone,
    results: usize,
) -> anyhow::Result<Replay> {
    let deadline = Instant::now() + Duration::from_secs(120);
    let (mut begun, mut is_shown) = (gone.seen, false);
    loop {
        let system = ask(api_port, "/api/v1/system").await.map(|answer| answer.text).unwrap_or_default();
        let depth = system.split("\"spool_depth\":").nth(1).and_then(|rest| rest.split([',', '}']).next());
        is_shown |= depth.is_some_and(|depth| depth != "0");
        let stored: Result<i64, _> = sqlx::query_scalar(STORED).fetch_one(&ground.pool).await;
        if let Ok(stored) = stored {
            let now = Instant::now();
            let more = usize::try_from(stored).unwrap_or(0).saturating_sub(gone.stored);
            if more >= results {
                let rate = more as f64 / (now - begun).as_secs_f64();
                return Ok(Replay { rate, ended: now, is_shown });
            }
            if more == 0 {
                begun = now;
            }
        }
        if Instant::now() > deadline {
            bail!("what was on disk does not come to Postgres:\n{}", worker.log());
        }
        ground.pass(Duration::from_millis(20), &[worker]).await;
    }
}

pub(super) async fn slow(play: &mut Play<'_>) -> anyhow::Result<Outcome> {
    let mut ground = Ground::new(play.cluster, &[healthy(500)]).await?;
    let wire = Wire::to(play.cluster.socket()?).await?;
    let worker = ground.worker(&wire.url(&ground.database))?;
    ground.rounds(2, &worker).await?;
    // The longer one is over every deadline of a statement.
    for delay in [Duration::from_secs(1), Duration::from_secs(5)] {
        wire.delay(delay);
        ground.pass(Duration::from_secs(20), &[&worker]).await;
    }
    wire.delay(Duration::ZERO);
    ground.stored_since(now_us(), Duration::from_secs(60)).await?;
    let mut locking = ground.pool.begin().await?;
    sqlx::query("lock table check_result").execute(&mut *locking).await?;
    ground.pass(Duration::from_secs(30), &[&worker]).await;
    locking.rollback().await?;
    let over_us = now_us();
    let recovery = ground.stored_since(over_us, Duration::from_secs(60)).await?;
    let mut outcome = end(&mut ground, worker, Some(recovery)).await?;
    outcome.recovers_within(15.0);
    let (lag, missed) = (outcome.figures.lag_p99_ms, outcome.figures.missed);
    outcome.within("lag p99 ms", lag, 1_000.0);
    outcome.must("no slot is missed", missed == 0);
    outcome.note = "20 s of each, and then 30 s of a lock on the table of checks.".to_owned();
    Ok(outcome)
}

pub(super) async fn silent(play: &mut Play<'_>) -> anyhow::Result<Outcome> {
    let mut ground = Ground::new(play.cluster, &[healthy(50)]).await?;
    let url = play.cluster.url(&ground.database)?;
    let (worker, port) = ground.telling_worker(&url)?;
    ground.rounds(2, &worker).await?;
    play.cluster.signal_all(Signal::STOP)?;
    let begun = Instant::now();
    let (mut noticed, mut given_up) = (None, None);
    let silence = Duration::from_secs(play.pick(300, 8));
    while begun.elapsed() < silence {
        ground.pass(Duration::from_millis(100), &[&worker]).await;
        if noticed.is_none() && ask(port, "/readyz").await?.status == 503 {
            noticed = Some(begun.elapsed());
        }
        if given_up.is_none() && worker.log().contains("cannot write results") {
            given_up = Some(begun.elapsed());
        }
    }
    play.cluster.signal_all(Signal::CONT)?;
    let over_us = now_us();
    let recovery = ground.stored_since(over_us, Duration::from_secs(30)).await?;
    let mut outcome = end(&mut ground, worker, Some(recovery)).await?;
    outcome.recovers_within(5.0);
    let seconds = |time: Option<Duration>| time.map_or(f64::INFINITY, |time| time.as_secs_f64());
    let (noticed, given_up) = (seconds(noticed), seconds(given_up));
    outcome.within("noticed after s", noticed, 5.0);
    // A server that takes five seconds over an answer is slow and not gone; one flush is under way by then.
    outcome.within("the connection that writes given up after s", given_up, 6.0);
    let missed = outcome.figures.missed;
    outcome.must("no slot is missed", missed == 0);
    outcome.note = format!(
        "Silent for {} s; /readyz of the worker said so after {noticed:.1} s, the connection that writes was given up after {given_up:.1} s.",
        silence.as_secs()
    );
    Ok(outcome)
}

pub(super) async fn crowded(play: &mut Play<'_>) -> anyhow::Result<Outcome> {
    let mut ground = Ground::new(play.cluster, &[healthy(100)]).await?;
    let url = play.cluster.url(&ground.database)?;
    let worker = ground.worker(&url)?;
    ground.rounds(3, &worker).await?;
    // What the api asks takes Postgres its time.
    let wire = Wire::to(play.cluster.socket()?).await?;
    let (_api, port) = ground.api(&wire.url(&ground.database)).await?;
    // Ours is there before them.
    sqlx::query("select 1").execute(&ground.pool).await?;
    let mut hogs = Vec::new();
    while let Ok(hog) = PgConnection::connect(&url).await {
        hogs.push(hog);
    }
    let begun_us = now_us();
    wire.delay(Duration::from_millis(100));
    let asking: Vec<_> = (0..500).map(|_| tokio::spawn(ask(port, "/api/v1/summary?window=1h"))).collect();
    let mut answers = Vec::new();
    for answer in asking {
        answers.push(answer.await??);
    }
    wire.delay(Duration::ZERO);
    ground.pass(Duration::from_secs(8), &[&worker]).await;
    // The one connection of ours is from before.
    let stored = ground.stored_since(begun_us + 6_000_000, Duration::from_secs(5)).await;
    let hogged = hogs.len();
    for hog in hogs {
        hog.close().await?;
    }
    let mut outcome = end(&mut ground, worker, None).await?;
    outcome.must("results are stored all the time", stored.is_ok());
    let of = |status: u16| answers.iter().filter(move |answer| answer.status == status).map(|answer| answer.took);
    let (shed, served) = (of(503).count(), of(200).count());
    let slowest = |status| of(status).max().unwrap_or_default().as_secs_f64();
    outcome.must("every question is answered, or refused for now", shed + served == answers.len());
    outcome.must("some are refused", shed > 0);
    let quick = crate::ask::quantile_ms(&of(503).collect::<Vec<_>>(), 0.99) / 1000.0;
    outcome.within("a refusal, p99 s", quick, 1.0);
    // Who has a connection and is told nothing on it is refused in the end, too.
    outcome.within("the slowest answer of any kind, s", slowest(200).max(slowest(503)), 3.0);
    outcome.note = format!(
        "{hogged} connections taken, a tenth of a second for every piece that Postgres answers; of 500 questions at once {served} answered, \
         the slowest after {:.1} s, and {shed} refused, p99 after {quick:.2} s, the slowest after {:.2} s.",
        slowest(200),
        slowest(503)
    );
    Ok(outcome)
}
