//! From batches to incidents: follows what is stored in commit order, and saves
//! what the engine makes of it.
//!
//! One worker does it: the one that holds a certain shard. Incidents and the cursor
//! are saved in one transaction, and whoever finds the cursor elsewhere than it left
//! it reads its state anew. So a crash anywhere, or two that believe it is theirs,
//! repeat and skip nothing.

use std::collections::HashMap;
use std::time::Duration;

use common::{Shard, TargetId};
use engine::{ChangeId, EndpointId, Engine, Nanos, Objective, OpenIncident, ServiceId, Snapshot, Transition, Window};
use store::cursors::{self, Batch, Position, Saved};
use store::incidents::{self, Event, Finding, READER, Wanted};
use store::services::{self, Goal};
use store::{PgConnection, PgPool, StoreError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::leases::Standing;

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

/// Endpoints whose windows are read by one statement.
const ENDPOINTS_AT_ONCE: usize = 1_000;

/// A change to an endpoint may commit this long after the moment it bears.
const OVERLAP: Duration = Duration::from_secs(60);

/// Follows the batches while it is ours to do, until `stop`.
pub async fn run(pool: PgPool, standing: watch::Receiver<Standing>, stop: CancellationToken) {
    let mut folder = Folder::new(pool);
    loop {
        let is_ours = standing.borrow().tenure.shards.contains(&FOLDER);
        let pause = if is_ours {
            tokio::select! {
                round = folder.round() => match round {
                    Ok(true) => Duration::ZERO,
                    Ok(false) => IDLE,
                    Err(error) => {
                        warn!("cannot follow the batches: {error}; trying again");
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

/// The engine, and which row is which of its endpoints.
#[derive(Debug)]
struct Memory {
    engine: Engine,
    position: Position,
    endpoints: HashMap<i32, EndpointId>,
    of_target: HashMap<TargetId, EndpointId>,
    services: HashMap<i32, ServiceId>,
    /// In the order of the engine's numbers.
    goals: Vec<Goal>,
    refreshed: Instant,
}

impl Memory {
    /// The state as it was at the cursor, from the rows. Holds no lock, however long it takes.
    async fn recall(connection: &mut PgConnection) -> Result<Self, StoreError> {
        let mut transaction = store::pool::begin_at_one_moment(connection).await?;
        let position = cursors::position(&mut transaction, READER).await?;
        let mut memory = Self {
            engine: Engine::new(),
            position,
            endpoints: HashMap::new(),
            of_target: HashMap::new(),
            services: HashMap::new(),
            goals: Vec::new(),
            refreshed: Instant::now(),
        };
        for goal in services::goals(&mut transaction, None).await? {
            memory.set(goal);
        }
        let not_yet = cursors::not_followed(&mut transaction, position).await?;
        for (service_id, change_id) in incidents::newest_changes(&mut transaction, &not_yet).await? {
            let service = memory.service(service_id);
            memory.engine.recall_change(service, Some(ChangeId(change_id)));
        }
        let ids: Vec<i32> = memory.goals.iter().map(|goal| goal.endpoint_id).collect();
        memory.recall_windows(&mut transaction, &ids, &not_yet).await?;
        for open in incidents::open(&mut transaction).await? {
            if let (Some(endpoint), Some(since)) = (memory.endpoints.get(&open.endpoint_id), moment(open.started_ns)) {
                let breaking = open.breaking_change_id.map(ChangeId);
                memory.engine.recall_incident(*endpoint, Some(OpenIncident { since, breaking }));
            }
        }
        Ok(memory)
    }

    /// Puts back the windows of these endpoints.
    async fn recall_windows(
        &mut self,
        connection: &mut PgConnection,
        ids: &[i32],
        not_yet: &[i64],
    ) -> Result<(), StoreError> {
        for some in ids.chunks(ENDPOINTS_AT_ONCE) {
            let take = |event| {
                if let Some(engine::Event::Access { endpoint, at, ok }) = self.event(&event) {
                    self.engine.recall(endpoint, at, ok);
                }
            };
            incidents::recall(connection, some, not_yet, take).await?;
        }
        Ok(())
    }

    /// Takes in endpoints that are new or have another goal. A window that grew is read
    /// anew: what had left the shorter one counts again.
    async fn refresh(&mut self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let now = Instant::now();
        let mut grown = Vec::new();
        for goal in services::goals(connection, Some(now - self.refreshed + OVERLAP)).await? {
            let known = self.endpoints.get(&goal.endpoint_id).copied();
            if let Some(endpoint) = known
                && self.goals[endpoint.index()].window_ns < goal.window_ns
            {
                grown.push(goal.endpoint_id);
                let snapshot = Snapshot { requests: Vec::new(), ..self.engine.snapshot(endpoint) };
                self.engine.restore(endpoint, &snapshot);
            }
            self.set(goal);
        }
        if !grown.is_empty() {
            let not_yet = cursors::not_followed(connection, self.position).await?;
            self.recall_windows(connection, &grown, &not_yet).await?;
        }
        self.refreshed = now;
        Ok(())
    }

    fn service(&mut self, service_id: i32) -> ServiceId {
        *self.services.entry(service_id).or_insert_with(|| self.engine.add_service())
    }

    fn set(&mut self, goal: Goal) {
        let known = self.endpoints.get(&goal.endpoint_id).copied();
        if known.is_some_and(|endpoint| self.goals[endpoint.index()] == goal) {
            return;
        }
        let objective = u32::try_from(goal.objective_nano).ok().and_then(|nano| Objective::from_billionths(nano).ok());
        let window = u64::try_from(goal.window_ns).ok().and_then(|nanos| Window::from_nanos(nanos).ok());
        let (Some(objective), Some(window)) = (objective, window) else {
            warn!(endpoint_id = goal.endpoint_id, "an endpoint has an objective or a window out of range");
            return;
        };
        let service = self.service(goal.service_id);
        let endpoint = match known {
            Some(endpoint) => {
                self.engine.change_goal(endpoint, service, objective, window);
                if let Some(before) = self.goals[endpoint.index()].target_id {
                    self.of_target.remove(&before);
                }
                self.goals[endpoint.index()] = goal;
                endpoint
            }
            None => {
                self.goals.push(goal);
                self.engine.add_endpoint(service, objective, window)
            }
        };
        self.endpoints.insert(goal.endpoint_id, endpoint);
        if let Some(target_id) = goal.target_id {
            self.of_target.insert(target_id, endpoint);
        }
    }

    /// An event in the engine's own numbers; `None` of an endpoint that is none.
    fn event(&mut self, event: &Event) -> Option<engine::Event> {
        Some(match *event {
            Event::Check { target_id, at_ns, ok } => {
                engine::Event::Access { endpoint: *self.of_target.get(&target_id)?, at: moment(at_ns)?, ok }
            }
            Event::Access { endpoint_id, at_ns, ok } => {
                engine::Event::Access { endpoint: *self.endpoints.get(&endpoint_id)?, at: moment(at_ns)?, ok }
            }
            Event::Change { service_id, change_id } => {
                engine::Event::Change { service: self.service(service_id), change: ChangeId(change_id) }
            }
        })
    }

    fn apply(&mut self, event: &Event) -> Option<Finding> {
        let event = self.event(event)?;
        let id = |endpoint: EndpointId| self.goals[endpoint.index()].endpoint_id;
        Some(match self.engine.apply(event)? {
            Transition::Opened { endpoint, at, breaking, good, total } => Finding::Opened {
                endpoint_id: id(endpoint),
                at_ns: at.get().cast_signed(),
                breaking_change_id: breaking.map(|change| change.0),
                good: good.cast_signed(),
                total: total.cast_signed(),
            },
            Transition::Closed { endpoint, at, fixing, .. } => Finding::Closed {
                endpoint_id: id(endpoint),
                at_ns: at.get().cast_signed(),
                fixing_change_id: fixing.map(|change| change.0),
            },
        })
    }
}

fn moment(ns: i64) -> Option<Nanos> {
    u64::try_from(ns).ok().and_then(Nanos::new)
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
            service = incident.service,
            change = commit(incident.breaking.as_ref()),
            "incident: {what} is below its objective since {}: {} of {} were good",
            incident.started_at,
            incident.good_count,
            incident.total_count,
        ),
        Some(ended_at) => info!(
            incident_id,
            service = incident.service,
            change = commit(incident.fixing.as_ref()),
            "incident over: {what} met its objective again at {ended_at}",
        ),
    }
    Ok(())
}
