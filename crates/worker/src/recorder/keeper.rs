//! The spool at work: what the intake gives goes to disk, and comes back in order.
//!
//! Disks stand still now and then, so everything here happens on threads that may block.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::{Check, TargetId};
use store::{PgConnection, StoreError, targets};
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::Intake;
use crate::seldom::Seldom;
use crate::spool::{Appended, Batch, KeyHash, Names, Spool, SpoolSettings, Stored};
use crate::stats::Stats;

/// A loss of power loses no more than this.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// A disk that refused is asked again after this.
const RETRY_EVERY: Duration = Duration::from_secs(5);

/// What dead workers left is looked for this often, and who is dead.
const ADOPT_EVERY: Duration = Duration::from_secs(1);

/// The list of all keys is asked for no more often.
const ASK_EVERY: Duration = Duration::from_secs(10);

/// Keeps what Postgres does not take.
#[derive(Debug, Clone)]
pub struct Keeper {
    settings: SpoolSettings,
    names: Names,
    worker_id: String,
    /// `None` while the directory cannot be used.
    spool: Arc<Mutex<Option<Spool>>>,
    ended: Arc<Mutex<Ended>>,
}

/// Workers of the same directory that were found dead.
#[derive(Debug, Default)]
struct Ended {
    /// Their leases are to be ended.
    waiting: Vec<String>,
    /// They are; the spool may forget them.
    done: Vec<String>,
}

/// When what was done last, by the one task that keeps.
#[derive(Debug, Default)]
pub(super) struct Times {
    synced: Option<Instant>,
    adopted: Option<Instant>,
    refused: Option<Instant>,
    /// Whether to say that results were given up, and how many were since.
    pub(super) said: Seldom,
    pub(super) unsaid: u64,
}

impl Times {
    /// The same where nothing is put off any more.
    pub(super) fn at_once(&self) -> Self {
        Self { unsaid: self.unsaid, ..Self::default() }
    }
}

/// The keys of a database, and when they were asked for.
#[derive(Debug, Default)]
pub(super) struct Directory {
    ids: HashMap<KeyHash, TargetId>,
    asked: Option<Instant>,
}

/// A batch with the rows it belongs to.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) batch: Batch,
    pub(super) checks: Vec<Check>,
    /// Results of targets that this database does not have.
    pub(super) strange: usize,
}

impl Keeper {
    /// For the worker of that name: opens the spool, or says why there is none and tries again later. A worker
    /// works without one.
    pub fn new(settings: SpoolSettings, names: Names, worker_id: &str) -> Self {
        let worker_id = worker_id.to_owned();
        Self { settings, names, worker_id, spool: Arc::default(), ended: Arc::default() }
    }

    /// Workers of the same directory whose processes have ended and about whom nothing is
    /// [done](Self::done_with) yet. Never waits for the disk.
    pub(crate) fn ended(&self) -> Vec<String> {
        self.ended_ones().waiting.clone()
    }

    /// Everything has been done about these.
    pub(crate) fn done_with(&self, ended: &[String]) {
        let mut ones = self.ended_ones();
        ones.waiting.retain(|worker| !ended.contains(worker));
        ones.done.extend_from_slice(ended);
    }

    fn ended_ones(&self) -> MutexGuard<'_, Ended> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spool(&self) -> MutexGuard<'_, Option<Spool>> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One round: opens the spool where it is not, takes to disk what has to go there, and
    /// makes sure of it.
    pub(super) async fn round(&self, intake: &Arc<Intake>, stats: &Arc<Stats>, times: &mut Times) {
        let is_due = |last: Option<Instant>, every| last.is_none_or(|last: Instant| last.elapsed() >= every);
        if times.refused.is_some() && !is_due(times.refused, RETRY_EVERY) {
            return;
        }
        let adopt = is_due(times.adopted, ADOPT_EVERY);
        let sync = is_due(times.synced, SYNC_EVERY);
        let (keeper, intake, counts) = (self.clone(), Arc::clone(intake), Arc::clone(stats));
        let done = spawn_blocking(move || keeper.keep(&intake, &counts, adopt, sync)).await;
        match done.unwrap_or_else(|failed| Err(io::Error::other(failed))) {
            Ok(synced) => {
                if times.refused.take().is_some() {
                    stats.set_spool_usable(true);
                    info!("the spool in {} can be used again", self.settings.directory.display());
                }
                stats.set_spool_usable(true);
                if adopt {
                    times.adopted = Some(Instant::now());
                }
                if synced {
                    times.synced = Some(Instant::now());
                }
            }
            Err(problem) => {
                stats.set_spool_usable(false);
                stats.spool_failed();
                if times.refused.replace(Instant::now()).is_none() {
                    error!(
                        "the spool in {} cannot be used, results that Postgres does not take stay in memory: {problem}",
                        self.settings.directory.display()
                    );
                }
            }
        }
    }

    /// Blocks. Whether everything is safe on disk now.
    pub(crate) fn keep(&self, intake: &Intake, stats: &Stats, adopt: bool, sync: bool) -> io::Result<bool> {
        let mut spool = self.spool();
        let spool = match &mut *spool {
            Some(spool) => spool,
            none => {
                let opened = none.insert(Spool::open(self.settings.clone(), &self.worker_id)?);
                if opened.depth() > 0 {
                    info!(results = opened.depth(), "results wait on disk from before; writing them first");
                }
                opened
            }
        };
        if adopt {
            spool.take_over_orphans();
        }
        let done = std::mem::take(&mut self.ended_ones().done);
        spool.forget(&done);
        let mut ended = self.ended_ones();
        ended.waiting = spool.ended().iter().filter(|worker| !ended.done.contains(worker)).cloned().collect();
        drop(ended);
        let going = intake.begin_spooling();
        let mut result = Ok(());
        if going.is_empty() {
            intake.note_spool(spool.depth(), spool.oldest_us());
        } else {
            let named = going.iter().map(|check| (self.names.key(check.target_id), check));
            // A target without a name cannot be; a result must not get lost over it.
            let named: Vec<_> = named.map(|(key, check)| (key.unwrap_or(KeyHash::of("")), check.clone())).collect();
            let Appended { count, error, dropped, dropped_bad } = spool.append(&named);
            self.account_for(&dropped, dropped_bad, intake, stats);
            intake.spooled(count, spool.depth(), spool.oldest_us());
            result = error.map_or(Ok(()), Err);
        }
        result?;
        if sync && spool.is_unsynced() {
            spool.sync()?;
            return Ok(true);
        }
        Ok(false)
    }

    fn account_for(&self, dropped: &[Stored], bad: usize, intake: &Intake, stats: &Stats) {
        if dropped.is_empty() && bad == 0 {
            return;
        }
        stats.add_spool_bad(bad as u64);
        stats.add_spool_dropped((dropped.len() + bad) as u64);
        // Of targets we do not know, others left the results and account for the slots.
        intake.give_up(dropped.iter().filter_map(|stored| Some((self.names.id(stored.key)?, stored.check.slot.0))));
    }

    /// Blocks. The next batch from disk.
    pub(crate) fn next(&self, most: usize) -> io::Result<Option<Batch>> {
        self.spool().as_mut().map_or(Ok(None), |spool| spool.next(most))
    }

    /// Blocks. A batch is stored.
    pub(crate) fn done(&self, batch: &Batch, intake: &Intake, stats: &Stats) {
        if batch.bad > 0 {
            stats.add_spool_bad(batch.bad as u64);
            warn!(records = batch.bad, "skipped records of the spool that are not as they were written");
        }
        if let Some((first, last)) = batch.suspect {
            // Before they leave the spool, so that the slot is always open in one of them.
            intake.suspect(first, last);
        }
        if let Some(spool) = &mut *self.spool() {
            spool.done(batch);
            intake.note_spool(spool.depth(), spool.oldest_us());
        }
    }

    pub(super) async fn next_batch(&self, most: usize) -> io::Result<Option<Batch>> {
        let keeper = self.clone();
        // It fails only when the runtime ends.
        spawn_blocking(move || keeper.next(most)).await.unwrap_or(Ok(None))
    }

    pub(super) async fn finished(&self, batch: Batch, intake: &Arc<Intake>, stats: &Arc<Stats>) {
        let (keeper, intake, stats) = (self.clone(), Arc::clone(intake), Arc::clone(stats));
        let _ = spawn_blocking(move || keeper.done(&batch, &intake, &stats)).await;
    }

    /// Finds the rows of a batch.
    pub(super) async fn resolve(
        &self,
        connection: &mut PgConnection,
        batch: Batch,
        directory: &mut Directory,
    ) -> Result<Replay, StoreError> {
        let is_known = |directory: &Directory, key| self.names.id(key).is_some() || directory.ids.contains_key(&key);
        if batch.results.iter().any(|stored| !is_known(directory, stored.key))
            && directory.asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY)
        {
            let all = targets::keys(connection).await?;
            directory.ids = all.into_iter().map(|(id, key)| (KeyHash::of(&key), id)).collect();
            directory.asked = Some(Instant::now());
        }
        let mut replay = Replay { checks: Vec::with_capacity(batch.results.len()), strange: 0, batch };
        for stored in &replay.batch.results {
            match self.names.id(stored.key).or_else(|| directory.ids.get(&stored.key).copied()) {
                Some(target_id) => replay.checks.push(Check { target_id, ..stored.check.clone() }),
                None => replay.strange += 1,
            }
        }
        Ok(replay)
    }

    /// Blocks. Rows by the keys that are known here; for tests of what comes of it.
    #[cfg(test)]
    pub(crate) fn placed(&self, batch: &Batch) -> Vec<Check> {
        let check = |stored: &Stored| Some(Check { target_id: self.names.id(stored.key)?, ..stored.check.clone() });
        batch.results.iter().filter_map(check).collect()
    }
}
