//! From batches to incidents: follows what is stored in commit order, and saves
//! what the engine makes of it.
//!
//! One worker does it: the one that holds a certain shard. Incidents and the cursor
//! are saved in one transaction, and whoever finds the cursor elsewhere than it left
//! it reads its state anew. So a crash anywhere, or two that believe it is theirs,
//! repeat and skip nothing.

mod memory;

use std::time::Duration;

use common::Shard;
use store::cursors::{self, Batch, Saved};
use store::incidents::{self, Finding, READER, Wanted};
use store::{PgConnection, PgPool, StoreError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::memory::Memory;
use crate::leases::Standing;
use crate::seldom::Seldom;

/// Whoever holds this shard follows the batches. Not the one that keeps house, so
/// that two workers share the work.
const FOLDER: Shard = Shard(128);

/// With nothing to do, look again after this time.
const IDLE: Duration = Duration::from_millis(250);

/// After a failure, and while somebody else does it.
const PAUSE: Duration = Duration::from_secs(1);

/// Batches looked at and rows folded in one transaction, at most; one batch at least.
const BATCHES_AT_ONCE: i64 = 200;
const ROWS_AT_ONCE: i64 = 20_000;

/// Follows the batches while it is ours to do, until `stop`.
pub async fn run(pool: PgPool, standing: watch::Receiver<Standing>, stop: CancellationToken) {
    let mut folder = Folder::new(pool);
    let mut failed = Seldom::default();
    loop {
        let is_ours = standing.borrow().tenure.shards.contains(&FOLDER);
        let pause = if is_ours {
            folder.forget_silent(Instant::now());
            tokio::select! {
                round = folder.round() => match round {
                    Ok(true) => Duration::ZERO,
                    Ok(false) => IDLE,
                    Err(error) => {
                        if failed.is_due() {
                            warn!("cannot follow the batches: {error}; trying again");
                        }
                        PAUSE
                    }
                },
                // What is not saved by then is done by the next one.
                () = stop.cancelled() => return,
            }
        } else {
            folder.forget();
            PAUSE
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Follows the batches, round by round.
#[derive(Debug)]
pub struct Folder {
    pool: PgPool,
    memory: Option<Memory>,
}

impl Folder {
    /// A folder that reads its state when it first needs it.
    pub fn new(pool: PgPool) -> Self {
        Self { pool, memory: None }
    }

    /// Where it reads and writes.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Gives the memory back; the next round reads the state anew.
    pub fn forget(&mut self) {
        self.memory = None;
    }

    /// Gives the memory of endpoints back that nobody has heard of for a while before `now`.
    pub fn forget_silent(&mut self, now: Instant) {
        if let Some(memory) = &mut self.memory {
            memory.forget_silent(now);
        }
    }

    /// How many endpoints are in memory.
    pub fn endpoints(&self) -> usize {
        self.memory.as_ref().map_or(0, Memory::endpoints)
    }

    /// Folds some batches. True when there may be more.
    ///
    /// # Errors
    /// Whatever Postgres reports; nothing is saved then, and the next round begins anew.
    pub async fn round(&mut self) -> Result<bool, StoreError> {
        let mut connection = store::pool::acquire(&self.pool).await?;
        // Taken, so that a round that fails half way leaves nothing behind.
        let mut memory = match self.memory.take() {
            Some(memory) => memory,
            None => {
                cursors::begin(&mut connection, READER).await?;
                Memory::recall(&mut connection).await?
            }
        };
        if cursors::batches(&mut connection, memory.position, 1).await?.is_empty() {
            self.memory = Some(memory);
            return Ok(false);
        }
        // Without, somebody else has followed them; what we know is of no use any more.
        let Some(saved) = fold(&mut connection, &mut memory).await? else { return Ok(true) };
        self.memory = Some(memory);
        for incident_id in &saved {
            tell(&mut connection, *incident_id).await?;
        }
        Ok(true)
    }
}

/// One transaction: reads the next batches, and saves what follows from them. `None`
/// when the cursor is not where this memory ends.
async fn fold(connection: &mut PgConnection, memory: &mut Memory) -> Result<Option<Vec<i64>>, StoreError> {
    // What counts as followed and what is read have to be seen at one moment.
    let mut transaction = store::pool::begin_at_one_moment(connection).await?;
    let Saved { position, state } = cursors::lock(&mut transaction, READER).await?;
    if memory.position != position {
        return Ok(None);
    }
    memory.refresh(&mut transaction).await?;
    let mut batches = cursors::batches(&mut transaction, position, BATCHES_AT_ONCE).await?;
    batches.truncate(some_rows(&batches));
    let events = incidents::events(&mut transaction, &batches).await?;
    memory.meet(&mut transaction, &events).await?;
    let findings: Vec<Finding> = events.iter().filter_map(|event| memory.apply(event)).collect();
    let saved = incidents::save(&mut transaction, &findings).await?;
    if let Some(last) = batches.last() {
        memory.position = last.position;
    }
    cursors::save(&mut transaction, READER, &Saved { position: memory.position, state }).await?;
    transaction.commit().await?;
    Ok(Some(saved))
}

/// How many of the batches make up a transaction.
fn some_rows(batches: &[Batch]) -> usize {
    let mut rows = 0;
    let fits = batches.iter().take_while(|batch| {
        rows += i64::from(batch.rows);
        rows <= ROWS_AT_ONCE
    });
    fits.count().max(1)
}

/// A log line for an incident that opened or closed.
async fn tell(connection: &mut PgConnection, incident_id: i64) -> Result<(), StoreError> {
    let wanted = Wanted { incident_id: Some(incident_id), ..Wanted::ALL };
    let Some(incident) = incidents::list(connection, wanted, 1).await?.pop() else { return Ok(()) };
    let what = format!("{} {}", incident.verb, common::name_for_log(&incident.resource));
    let commit =
        |suspect: Option<&incidents::Suspect>| suspect.map_or("none known", |suspect| &suspect.commit).to_owned();
    match incident.ended_at {
        None => warn!(
            incident_id,
            service = common::name_for_log(&incident.service),
            change = commit(incident.breaking.as_ref()),
            "incident: {what} is below its objective since {}: {} of {} were good",
            incident.started_at,
            incident.good_count,
            incident.total_count,
        ),
        Some(ended_at) => info!(
            incident_id,
            service = common::name_for_log(&incident.service),
            change = commit(incident.fixing.as_ref()),
            "incident over: {what} met its objective again at {ended_at}",
        ),
    }
    Ok(())
}
