//! A worker from start to clean stop.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};
use chrono::{DateTime, Utc};
use settings::SettingsError;
use store::pool::PoolSettings;
use store::targets::Applied;
use store::{PgPool, StoreError, partitions, pool, targets, workers};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::config::Config;
use crate::fair::{Canaries, Fair};
use crate::health::{self, Health, Ready};
use crate::leases::{Leases, Roster, Standing};
use crate::plan::Limits;
use crate::posted::Posted;
use crate::probe::Prober;
use crate::recorder::{Intake, Keeper, Recorder};
use crate::reload::{self, Current, InUse, Reloader, names};
use crate::schedule::{Change, Schedule};
use crate::seldom::{SAY_EVERY, Seldom};
use crate::shared::Shared;
use crate::stats::Stats;
use crate::{descriptors, housekeeping, incidents};

/// On a clean stop, probes under way get this long.
const PROBE_GRACE: Duration = Duration::from_secs(4);

/// On a clean stop, writing what waits gets this long.
const WRITE_GRACE: Duration = Duration::from_secs(3);

/// Probes until `stop`, then ends cleanly: no new slots, probes under way
/// finished, everything written, shards given back.
///
/// # Errors
/// [`SettingsError`] when the database URL leads nowhere useful; anything else is
/// a failure of this machine, or results that could not be written at the end.
pub async fn run(mut config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    let worker_id = worker_id();
    let pool = pool::lazy(&config.database_url, &PoolSettings::WORKER)
        .map_err(|error| SettingsError::one(format!("DATABASE_URL (--database-url): {error}")))?;
    let keeping = pool::lazy(&config.database_url, &PoolSettings::KEEPER)
        .map_err(|error| SettingsError::one(format!("DATABASE_URL (--database-url): {error}")))?;
    let (stats, intake) = (Arc::new(Stats::default()), Arc::new(Intake::new(config.max_buffered)));
    let (ready, in_use) = (Ready::default(), InUse::default());
    let health = match config.listen {
        Some(address) => {
            let health = Health {
                ready: ready.clone(),
                in_use: in_use.clone(),
                stats: Arc::clone(&stats),
                intake: Arc::clone(&intake),
                pool: pool.clone(),
                stop: stop.clone(),
            };
            let (bound, server) = health::serve(address, health).map_err(|error| {
                SettingsError::one(format!("WORKER_ADDR (--worker-addr): cannot listen on {address}: {error}"))
            })?;
            info!("health and metrics are on http://{bound}");
            let handle = server.handle();
            tokio::spawn(server);
            Some(handle)
        }
        None => None,
    };
    let limits = match descriptors::fit(config.limits.total) {
        total if total < config.limits.total => Limits::for_total(total),
        _ => config.limits,
    };

    let first_report = workers::Report::first(&worker_id, Utc::now(), config.digest.cast_signed());
    let prepared = until(&stop, prepare(&keeping, &config, &first_report)).await;
    let Some((applied, posted)) = prepared.transpose()? else { return Ok(()) };
    say_applied(&config, &applied);

    let shared = Shared {
        clock: anchored_clock(&pool).await?,
        intake,
        stats,
        oldest_open_us: Arc::new(AtomicI64::new(i64::MAX)),
        adopted_round: Arc::default(),
        dropped_us: Arc::default(),
        changing_us: Arc::new(AtomicI64::new(i64::MAX)),
    };
    in_use.set(config.digest, &shared.stats);
    let (standing_sender, standing) = watch::channel(Standing::default());
    let current = Current::new(&mut config, applied);
    let probed = current.with(&posted);
    let targets = probed.len();
    let roster = Roster::new(reload::due(&probed));
    let spool = config.spool.as_ref().map(|spool| spool.directory.display().to_string());
    let keeper = config.spool.map(|spool| Keeper::new(spool, roster.names(), &worker_id));
    if keeper.is_none() {
        warn!("LOOKOUT_DATA_DIR is not set: while postgres is away results stay in memory, and end with this process");
    }
    let list = probed.into_iter().map(|(placed, target)| (placed.target_id, target.clone())).collect();
    let housekeeping = {
        let (pool, retention, standing) = (keeping.clone(), config.retention, standing.clone());
        let clock = shared.clock.clone();
        let now = move || common::target::micros_to_utc(clock.now_us());
        tokio::spawn(housekeeping::run(pool, retention, standing, now, stop.clone()))
    };
    let folding = tokio::spawn(incidents::run(keeping.clone(), standing.clone(), stop.clone()));
    let (changes, changed) = mpsc::unbounded_channel();
    let network = (config.api_targets, config.canaries);
    let schedule = start_schedule(&shared, limits, network, list, (standing, changed), stop.clone())?;

    // The recorder outlives the schedule: the last results need it.
    let schedule_ended = CancellationToken::new();
    let leases = Leases {
        pool: pool.clone(),
        worker_id: worker_id.clone(),
        shared: shared.clone(),
        targets: roster.clone(),
        keeper: keeper.clone(),
    };
    let lease_task = tokio::spawn(leases.run(standing_sender, stop.clone()));
    let reloader = Reloader {
        file: config.file,
        pool: keeping,
        worker_id: worker_id.clone(),
        sources: config.sources,
        retention: config.retention,
        shared: shared.clone(),
        roster,
        changes,
        in_use: in_use.clone(),
        current,
        posted,
    };
    let reload_task = tokio::spawn(reloader.run(stop.clone()));
    let record_task = {
        let Shared { intake, stats, .. } = shared.clone();
        let recorder = Recorder { pool: pool.clone(), worker_id: worker_id.clone(), intake, stats, keeper };
        tokio::spawn(recorder.run(schedule_ended.clone(), WRITE_GRACE))
    };
    let report_task = {
        let (pool, shared, ended) = (pool.clone(), shared.clone(), schedule_ended.clone());
        tokio::spawn(async move { report(&pool, &shared, first_report, &in_use, &ready, &ended).await })
    };
    info!(targets, in_flight = limits.total, worker_id, "probing");

    let schedule_result = schedule.await;
    if stop.is_cancelled() {
        info!("stopping: writing the last results");
    }
    reload_task.await.context("reading the configuration again failed")?;
    lease_task.await.context("the lease task failed")?;
    housekeeping.await.context("keeping house failed")?;
    folding.await.context("following the batches failed")?;
    schedule_ended.cancel();
    report_task.await.context("the report task failed")?;
    let left = record_task.await.context("the recorder failed")?;
    if let Some(health) = health {
        health.stop(false).await;
    }
    schedule_result.context("the probe thread failed")?;
    if left.on_disk > 0 {
        let place = spool.unwrap_or_default();
        info!(results = left.on_disk, "not written yet, and kept in {place} for the next worker there");
    }
    if left.in_memory > 0 {
        return Err(anyhow!("postgres is away: {} results could not be written and are lost", left.in_memory));
    }
    Ok(())
}

/// Unique for each process on each machine.
fn worker_id() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}-{}-{:08x}", std::process::id(), rand::random::<u32>())
}

/// The result, or `None` when `stop` comes first.
async fn until<T>(stop: &CancellationToken, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        () = stop.cancelled() => None,
        done = work => Some(done),
    }
}

/// Waits for Postgres and the schema, makes partitions, applies the target list.
async fn prepare(pool: &PgPool, config: &Config, report: &workers::Report) -> anyhow::Result<(Applied, Posted)> {
    // An api that starts beside us gets a moment to migrate before we complain.
    let mut said = Seldom::after(Duration::from_secs(1));
    let mut failures = 0;
    loop {
        let waiting_for = match attempt(pool, config, report).await {
            Ok(Ok(prepared)) => return Ok(prepared),
            Ok(Err(waiting_for)) => waiting_for,
            Err(error) if error.is_refusal() => {
                let reason = pool::explain(pool, &error);
                return Err(SettingsError::one(format!("DATABASE_URL (--database-url): {reason}")).into());
            }
            Err(StoreError::Unavailable(reason)) => {
                format!("cannot reach Postgres at {}: {reason}", pool::server(pool))
            }
            Err(error) => return Err(error.into()),
        };
        if said.is_due() {
            warn!("waiting: {waiting_for}");
        }
        failures += 1;
        sleep(pool::retry_after(failures)).await;
    }
}

/// One attempt; the inner error says what there is to wait for.
async fn attempt(
    pool: &PgPool,
    config: &Config,
    report: &workers::Report,
) -> Result<Result<(Applied, Posted), String>, StoreError> {
    pool::ping(pool).await?;
    let version = pool::schema_version(pool).await?.unwrap_or(0);
    if version < store::SCHEMA_VERSION {
        return Ok(Err(format!(
            "the schema is at version {version} and has to be at {}; api applies the migrations",
            store::SCHEMA_VERSION
        )));
    }
    if version > store::SCHEMA_VERSION {
        info!(
            "the schema is at version {version}, made by a newer lookout: this worker knows {}",
            store::SCHEMA_VERSION
        );
    }
    partitions::ensure_around(pool, Utc::now()).await?;
    let mut connection = store::pool::acquire(pool).await?;
    // Before anything else the others learn that there is one more to share with.
    workers::report(&mut connection, report).await?;
    let Config { sources, targets: list, services, .. } = config;
    let applied = targets::apply(&mut connection, &report.worker_id, sources, list, report.config_digest).await?;
    store::services::apply(&mut connection, &report.worker_id, services, list, report.config_digest).await?;
    let posted = Posted::default().read_again(&mut connection).await?;
    Ok(Ok((applied, posted)))
}

fn say_applied(config: &Config, applied: &Applied) {
    if !applied.removed.is_empty() {
        info!(targets = applied.removed.len(), "no longer configured, history kept: {}", names(&applied.removed));
    }
    if !applied.kept.is_empty() {
        warn!(
            targets = applied.kept.len(),
            "another worker runs with a different list of targets; these are not in ours ({} targets) and were kept: {}",
            config.targets.len(),
            names(&applied.kept)
        );
    }
}

async fn anchored_clock(pool: &PgPool) -> Result<Clock, StoreError> {
    let mut connection = store::pool::acquire(pool).await?;
    let now: DateTime<Utc> = store::leases::database_time(&mut connection).await?;
    Ok(Clock::starting_at(now.timestamp_micros()))
}

/// Lets the calling thread come after probes for a processor; for those of the runtime that [`run`]
/// uses. Elsewhere than on Linux it does nothing.
///
/// Writing a flush takes milliseconds, and an answer that comes meanwhile would seem so much later.
/// A quarter of a processor is left to it where probes take all they get.
pub fn come_after_probes() {
    // On Linux this is of the thread alone.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(5);
}

/// Starts the probe thread; the receiver resolves when it has ended.
fn start_schedule(
    shared: &Shared,
    limits: Limits,
    (api_targets, canaries): (common::Reach, Canaries),
    list: Vec<(common::TargetId, common::TargetSpec)>,
    (standing, changes): (watch::Receiver<Standing>, mpsc::UnboundedReceiver<Change>),
    stop: CancellationToken,
) -> anyhow::Result<oneshot::Receiver<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let shared = shared.clone();
    let (ended_sender, ended) = oneshot::channel();
    let (ready_sender, prober_made) = std::sync::mpsc::channel();
    thread::Builder::new().name("probes".to_owned()).spawn(move || {
        runtime.block_on(async move {
            // Within the runtime: the resolver wants one.
            let prober = match Prober::reaching(api_targets) {
                Ok(prober) => {
                    let _ = ready_sender.send(Ok(()));
                    prober
                }
                Err(error) => {
                    let _ = ready_sender.send(Err(error));
                    return;
                }
            };
            let prober = Fair::new(prober, canaries, Arc::clone(&shared.stats));
            Schedule::new(shared, prober, limits, list, standing, changes).run(stop, PROBE_GRACE).await;
        });
        let _ = ended_sender.send(());
    })?;
    prober_made.recv().context("the probe thread failed")??;
    Ok(ended)
}

/// Says once a second how this worker does, and in the log when slots were missed.
async fn report(
    pool: &PgPool,
    shared: &Shared,
    mut report: workers::Report,
    in_use: &InUse,
    ready: &Ready,
    stop: &CancellationToken,
) {
    let mut tick = interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut said, mut may_say) = (Lost::default(), Seldom::after(SAY_EVERY));
    while until(stop, tick.tick()).await.is_some() {
        report.lag_us = shared.stats.take_max_lag_us();
        report.missed = i64::try_from(shared.stats.missed()).unwrap_or(i64::MAX);
        report.unknown = i64::try_from(shared.stats.unknown()).unwrap_or(i64::MAX);
        report.in_flight = i32::try_from(shared.stats.in_flight()).unwrap_or(i32::MAX);
        let now = common::target::micros_to_utc(shared.clock.now_us());
        report.offline_since = shared.stats.is_offline().then(|| report.offline_since.unwrap_or(now));
        report.config_digest = in_use.digest().cast_signed();
        report.config_error = in_use.error();
        report.spool_depth = i64::try_from(shared.intake.spool_depth()).unwrap_or(i64::MAX);
        report.spool_usable = shared.stats.is_spool_usable();
        report.queue_depth = i64::try_from(shared.intake.depth()).unwrap_or(i64::MAX);
        let written = tokio::time::timeout(Duration::from_secs(2), write_report(pool, &report)).await;
        ready.set(matches!(written, Ok(Ok(()))));

        let lost = Lost { missed: shared.stats.missed(), unknown: shared.stats.unknown() };
        if lost != said && may_say.is_due() {
            warn!(
                missed = lost.missed - said.missed,
                unknown = lost.unknown - said.unknown,
                in_flight = report.in_flight,
                "slots without a verdict since the last such line"
            );
            said = lost;
        }
    }
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Lost {
    missed: u64,
    unknown: u64,
}

async fn write_report(pool: &PgPool, report: &workers::Report) -> Result<(), StoreError> {
    let mut connection = store::pool::acquire(pool).await?;
    workers::report(&mut connection, report).await
}
