//! Reading the configuration file again while the worker runs: when it changes, and on
//! SIGHUP. And what is posted over the API, when that changes.
//!
//! A good file is applied as at the start, and then told to leases and schedule as a
//! change, so that targets which are in both keep their slots. A bad one changes nothing
//! but what is said of it: in the log, `/readyz`, `/api/v1/system` and metrics.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::io::IsTerminal;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::Utc;
use common::{Shard, Source, TargetId, TargetSpec};
use settings::file::Watch;
use settings::{ConfigFile, TargetList};
use store::targets::{Applied, Placed};
use store::{PgPool, StoreError, services, targets};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::backfill::Due;
use crate::config::{self, Config};
use crate::housekeeping::Retention;
use crate::leases::Roster;
use crate::posted::Posted;
use crate::schedule::Change;
use crate::shared::Shared;
use crate::spool::KeyHash;
use crate::stats::Stats;

/// The file is looked at this often, and read once it is the same at two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Reading what is posted takes no longer, or Postgres counts as being away.
const POSTED_DEADLINE: Duration = Duration::from_secs(5);

/// Problems of one file that the log names; and how much of them others are told, in bytes.
const MOST_PROBLEMS: usize = 100;
const MOST_TOLD: usize = 4_000;

/// What there is to say about the configuration in use. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct InUse(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    digest: u64,
    error: Option<String>,
}

impl InUse {
    /// The digest of the list in use.
    pub fn digest(&self) -> u64 {
        self.lock().digest
    }

    /// Why a newer configuration is not in use. Holds no secret.
    pub fn error(&self) -> Option<String> {
        self.lock().error.clone()
    }

    /// From now on this list is in use, and it is the newest.
    pub fn set(&self, digest: u64, stats: &Stats) {
        *self.lock() = State { digest, error: None };
        stats.set_config(Some(Utc::now().timestamp()));
    }

    /// There is a newer one that is no good.
    pub fn refuse(&self, mut problems: String, stats: &Stats) {
        if let Some((cut, _)) = problems.char_indices().find(|(at, _)| *at >= MOST_TOLD) {
            problems.truncate(cut);
            problems.push('…');
        }
        self.lock().error = Some(problems);
        stats.set_config(None);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The list in use, with the row of each target.
#[derive(Debug)]
pub struct Current {
    list: TargetList,
    placed: Vec<Placed>,
}

impl Current {
    /// What was applied at the start. It takes the list out of the configuration: with many targets
    /// there is no room for two.
    pub fn new(config: &mut Config, applied: Applied) -> Self {
        let list = TargetList {
            targets: std::mem::take(&mut config.targets),
            services: std::mem::take(&mut config.services),
            digest: config.digest,
            ..TargetList::default()
        };
        Self { list, placed: applied.placed }
    }

    fn by_id(&self) -> HashMap<TargetId, &TargetSpec> {
        self.placed.iter().map(|placed| placed.target_id).zip(&self.list.targets).collect()
    }

    /// What there is to probe: the list, and what is posted besides it.
    pub(crate) fn with<'l>(&'l self, posted: &'l Posted) -> Vec<(Placed, &'l TargetSpec)> {
        posted.besides(&self.list.targets, &self.placed)
    }
}

/// Keeps a worker's list what its file says, and what is posted.
#[derive(Debug)]
pub struct Reloader {
    /// The file, if there is one.
    pub file: Option<ConfigFile>,
    /// Connections.
    pub pool: PgPool,
    /// Who we are.
    pub worker_id: String,
    /// What the list speaks for.
    pub sources: Vec<Source>,
    /// No window may be longer.
    pub retention: Retention,
    /// What we share with the schedule.
    pub shared: Shared,
    /// What the leases know of targets.
    pub roster: Roster,
    /// To the schedule.
    pub changes: mpsc::UnboundedSender<Change>,
    /// What others are told.
    pub in_use: InUse,
    /// The list in use.
    pub current: Current,
    /// What is posted, as it is in use.
    pub posted: Posted,
}

impl Reloader {
    /// Watches file and database until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        if let Some(file) = self.file.clone() {
            self.watch(file, &stop).await;
        }
        // Without a file, or where watching it has failed.
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.look_at_posted() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Watches the file until `stop`. A hang-up asks for it to be read at once; that of the
    /// terminal we were started from is a request to stop.
    async fn watch(&mut self, file: ConfigFile, stop: &CancellationToken) {
        let mut hangups = match signal(SignalKind::hangup()) {
            Ok(hangups) => hangups,
            Err(error) => {
                error!("the configuration is not read again: no handler for SIGHUP: {error}");
                return;
            }
        };
        let has_terminal = std::io::stdin().is_terminal();
        let mut watch = Watch::new(vec![file.path.clone()]);
        // What changed since it was read for the start is read now.
        let mut at_once = true;
        let mut waiting = None;
        loop {
            let read_from = file.clone();
            let looked = tokio::task::spawn_blocking(move || {
                let is_new = watch.look() || at_once;
                let read = is_new.then(|| {
                    watch.reading();
                    read_from.read()
                });
                if let Some(Ok(list)) = &read {
                    watch.set([vec![read_from.path.clone()], list.secret_files.clone()].concat());
                }
                (watch, read)
            });
            let Ok((watched, read)) = looked.await else {
                error!("reading the configuration failed; it is not read again. This is a bug in lookout");
                return;
            };
            watch = watched;
            match read {
                Some(Ok(list)) => waiting = self.judge(&file, list).or(waiting),
                Some(Err(errors)) => {
                    for warning in errors.warnings() {
                        warn!("{warning}");
                    }
                    self.refuse(errors.lines());
                }
                None => {}
            }
            if let Some(list) = waiting.take() {
                waiting = tokio::select! {
                    () = stop.cancelled() => return,
                    waiting = self.apply(list) => waiting,
                };
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.look_at_posted() => {}
            }
            at_once = tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(LOOK_EVERY) => false,
                _ = hangups.recv() => {
                    if has_terminal && !std::io::stdin().is_terminal() {
                        info!("the terminal is gone: stopping");
                        stop.cancel();
                        return;
                    }
                    info!("asked to read the configuration again");
                    true
                }
            };
        }
    }

    /// The list if it is to be applied. One that is in use already is not, and one that must
    /// not be is refused.
    fn judge(&self, file: &ConfigFile, list: TargetList) -> Option<TargetList> {
        if list.targets.is_empty() && !self.current.list.targets.is_empty() && !file.allow_empty {
            self.refuse(&[format!(
                "{}: no targets are left of {}; if that is meant, start with ALLOW_EMPTY=on (--allow-empty)",
                file.path.display(),
                self.current.list.targets.len(),
            )]);
            return None;
        }
        if let Some(problem) = config::longest_window(&list.services, self.retention) {
            self.refuse(&[problem]);
            return None;
        }
        if list.digest == self.current.list.digest {
            if self.in_use.error().is_some() {
                info!("the configuration is again the one in use");
            }
            self.in_use.set(list.digest, &self.shared.stats);
            return None;
        }
        for warning in &list.warnings {
            warn!("{warning}");
        }
        Some(list)
    }

    fn refuse(&self, problems: &[String]) {
        error!(problems = problems.len(), "the configuration was not applied; the last good one stays in use");
        for line in problems.iter().take(MOST_PROBLEMS).flat_map(|problem| problem.lines()) {
            error!("{line}");
        }
        if problems.len() > MOST_PROBLEMS {
            error!("and {} problems more", problems.len() - MOST_PROBLEMS);
        }
        self.in_use.refuse(problems.join("\n"), &self.shared.stats);
    }

    /// Applies the list, or gives it back to be tried again while Postgres is away.
    async fn apply(&mut self, list: TargetList) -> Option<TargetList> {
        // From here on a slot of a new target may be due before the schedule knows of it.
        let now_us = self.shared.clock.now_us();
        self.shared.changing_us.store(now_us, Ordering::Release);
        let applied = self.write(&list).await;
        let waiting = match applied {
            Ok(applied) => {
                self.adopt(list, &applied, now_us).await;
                None
            }
            Err(StoreError::Unavailable(reason)) => {
                let told = format!("the new configuration waits for Postgres: {reason}");
                if self.in_use.error().as_ref() != Some(&told) {
                    warn!("{told}");
                    self.in_use.refuse(told, &self.shared.stats);
                }
                Some(list)
            }
            Err(error) => {
                self.refuse(&[format!("Postgres refused the new configuration: {error}")]);
                None
            }
        };
        self.shared.changing_us.store(i64::MAX, Ordering::Release);
        waiting
    }

    async fn write(&self, list: &TargetList) -> Result<Applied, StoreError> {
        let mut connection = store::pool::acquire(&self.pool).await?;
        let digest = list.digest.cast_signed();
        let applied = targets::apply(&mut connection, &self.worker_id, &self.sources, &list.targets, digest).await?;
        services::apply(&mut connection, &self.worker_id, &list.services, &list.targets, digest).await?;
        Ok(applied)
    }

    /// Works on what is posted, if that has changed. While Postgres is away nothing has.
    async fn look_at_posted(&mut self) {
        let read = timeout(POSTED_DEADLINE, async {
            let mut connection = store::pool::acquire(&self.pool).await?;
            if !self.posted.is_old(&mut connection).await? {
                return Ok(None);
            }
            let now_us = self.shared.clock.now_us();
            self.shared.changing_us.store(now_us, Ordering::Release);
            let posted = self.posted.read_again(&mut connection).await?;
            Ok::<_, StoreError>(Some((posted, now_us)))
        });
        match read.await {
            Ok(Ok(Some((posted, now_us)))) => drop(self.turn(None, Some(posted), now_us).await),
            Ok(Err(error)) if !error.is_transient() => warn!("cannot read what is posted: {error}"),
            _ => {}
        }
        self.shared.changing_us.store(i64::MAX, Ordering::Release);
    }

    async fn adopt(&mut self, list: TargetList, applied: &Applied, now_us: i64) {
        let digest = list.digest;
        let next = Current { list, placed: applied.placed.clone() };
        if let Some(old) = self.turn(Some(next), None, now_us).await {
            say(&old, &self.current, applied);
        }
        self.in_use.set(digest, &self.shared.stats);
    }

    /// Tells leases and schedule of another list or of what else is posted, and waits until
    /// they work on it. Returns the list there was, if it is another one now.
    async fn turn(&mut self, next: Option<Current>, posted: Option<Posted>, now_us: i64) -> Option<Current> {
        let (sender, done) = oneshot::channel();
        let change = {
            let before = self.current.with(&self.posted);
            let (own, posted) = (next.as_ref().unwrap_or(&self.current), posted.as_ref().unwrap_or(&self.posted));
            let after = own.with(posted);
            self.roster.set(due(&after));
            difference(&before, &after, now_us, sender)
        };
        if self.changes.send(change).is_ok() {
            // Only a schedule that has ended does not answer.
            let _ = done.await;
        }
        if let Some(posted) = posted {
            self.posted = posted;
        }
        next.map(|next| std::mem::replace(&mut self.current, next))
    }
}

/// What the schedule has to be told.
fn difference(
    before: &[(Placed, &TargetSpec)],
    after: &[(Placed, &TargetSpec)],
    now_us: i64,
    done: oneshot::Sender<()>,
) -> Change {
    let known: HashMap<TargetId, &TargetSpec> =
        before.iter().map(|(placed, target)| (placed.target_id, *target)).collect();
    let stay: HashSet<TargetId> = after.iter().map(|(placed, _)| placed.target_id).collect();
    let mut change = Change { removed: Vec::new(), set: Vec::new(), done };
    for (placed, target) in after {
        if known.get(&placed.target_id) != Some(target) {
            // One that another source had before may be due for long.
            let since_us = placed.due_since.timestamp_micros().max(now_us);
            change.set.push((placed.target_id, (*target).clone(), since_us));
        }
    }
    change.removed = known.into_keys().filter(|id| !stay.contains(id)).collect();
    change
}

/// What leases know of these targets.
pub(crate) fn due(list: &[(Placed, &TargetSpec)]) -> Vec<Due> {
    let due = |(placed, target): &(Placed, &TargetSpec)| Due {
        target_id: placed.target_id,
        key: KeyHash::of(&target.key),
        shard: Shard::of(&target.key),
        grid: target.grid(),
        timeout: target.timeout,
        since_us: placed.due_since.timestamp_micros(),
    };
    list.iter().map(due).collect()
}

/// A line for each difference, and one for all.
fn say(before: &Current, after: &Current, applied: &Applied) {
    let (old, new) = (&before.list, &after.list);
    let (before, after) = (before.by_id(), after.by_id());
    let (mut added, mut changed, mut removed) = (0, 0, 0);
    for (target, placed) in new.targets.iter().zip(&applied.placed) {
        let name = common::name_for_log(&target.name);
        match before.get(&placed.target_id) {
            None => {
                added += 1;
                info!("target added: {name}");
            }
            Some(before) if *before != target => {
                changed += 1;
                info!("target changed: {name} ({})", before.changed_fields(target).join(", "));
            }
            Some(_) => {}
        }
    }
    for (_, target) in before.iter().filter(|(id, _)| !after.contains_key(id)) {
        removed += 1;
        info!("target removed, its history stays: {}", common::name_for_log(&target.name));
    }
    if !applied.kept.is_empty() {
        info!(
            targets = applied.kept.len(),
            "kept for other workers until they have the same list: {}",
            names(&applied.kept)
        );
    }
    let old_services: HashMap<&str, _> = old.services.iter().map(|service| (service.name.as_str(), service)).collect();
    for service in &new.services {
        match old_services.get(service.name.as_str()) {
            None => info!("service added: {}", service.name),
            Some(before) if *before != service => {
                info!("service changed: {} ({})", service.name, before.changed_fields(service).join(", "));
            }
            Some(_) => {}
        }
    }
    for service in old.services.iter().filter(|old| new.services.iter().all(|new| new.name != old.name)) {
        info!("service removed, the usual objective holds: {}", service.name);
    }
    info!(added, changed, removed, unchanged = new.targets.len() - added - changed, "the configuration was applied");
}

/// Keys for the log.
pub(crate) fn names(keys: &[String]) -> impl Display {
    keys.iter().map(|key| common::name_for_log(key)).collect::<Vec<_>>().join(", ")
}
