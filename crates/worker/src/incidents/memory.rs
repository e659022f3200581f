//! What the folder knows: the engine, and which row is which of its endpoints.
//!
//! All of it can be read again from the rows, and gives the same. So it holds only endpoints that there
//! is something new of: others are forgotten after a while, and met again with their next event.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use common::TargetId;
use engine::{ChangeId, EndpointId, Engine, Nanos, Objective, OpenIncident, ServiceId, Snapshot, Transition, Window};
use store::cursors::{self, Position};
use store::incidents::{self, Event, Finding, READER};
use store::services::{self, Goal};
use store::{PgConnection, StoreError};
use tokio::time::Instant;
use tracing::warn;

/// Endpoints whose windows are read by one statement.
const ENDPOINTS_AT_ONCE: usize = 1_000;

/// A change to an endpoint may commit this long after the moment it bears.
const OVERLAP: Duration = Duration::from_secs(60);

/// Endpoints nobody has heard of for so long are forgotten.
const SILENT: Duration = Duration::from_secs(600);

/// How often it is looked for those, and which share of all they have to be to be worth it.
const LOOK_EVERY: Duration = Duration::from_secs(60);
const SHARE: usize = 10;

/// The engine, and which row is which of its endpoints.
#[derive(Debug)]
pub(super) struct Memory {
    engine: Engine,
    /// How far the batches are followed.
    pub(super) position: Position,
    endpoints: HashMap<i32, EndpointId>,
    of_target: HashMap<TargetId, EndpointId>,
    services: HashMap<i32, ServiceId>,
    /// In the order of the engine's numbers.
    followed: Vec<Followed>,
    refreshed: Instant,
    /// When it was last looked for silent endpoints.
    looked: Instant,
}

/// An endpoint in memory.
#[derive(Debug)]
struct Followed {
    goal: Goal,
    /// When there last was something new of it.
    heard: Instant,
}

impl Memory {
    fn empty(position: Position) -> Self {
        Self {
            engine: Engine::new(),
            position,
            endpoints: HashMap::new(),
            of_target: HashMap::new(),
            services: HashMap::new(),
            followed: Vec::new(),
            refreshed: Instant::now(),
            looked: Instant::now(),
        }
    }

    /// The state as it was at the cursor, from the rows. Holds no lock, however long it takes.
    pub(super) async fn recall(connection: &mut PgConnection) -> Result<Self, StoreError> {
        let mut transaction = store::pool::begin_at_one_moment(connection).await?;
        let mut memory = Self::empty(cursors::position(&mut transaction, READER).await?);
        let not_yet = cursors::not_followed(&mut transaction, memory.position).await?;
        for (service_id, change_id) in incidents::newest_changes(&mut transaction, &not_yet).await? {
            let service = memory.service(service_id);
            memory.engine.recall_change(service, Some(ChangeId(change_id)));
        }
        let goals = services::goals(&mut transaction).await?;
        memory.learn(&mut transaction, goals, &not_yet).await?;
        Ok(memory)
    }

    /// Takes in endpoints that are not known, as they were at the cursor.
    async fn learn(
        &mut self,
        connection: &mut PgConnection,
        goals: Vec<Goal>,
        not_yet: &[i64],
    ) -> Result<(), StoreError> {
        let ids: Vec<i32> = goals.iter().map(|goal| goal.endpoint_id).collect();
        for goal in goals {
            self.set(goal);
        }
        self.recall_windows(connection, &ids, not_yet).await?;
        for open in incidents::open(connection, Some(&ids)).await? {
            if let (Some(endpoint), Some(since)) = (self.endpoints.get(&open.endpoint_id), moment(open.started_ns)) {
                let breaking = open.breaking_change_id.map(ChangeId);
                self.engine.recall_incident(*endpoint, Some(OpenIncident { since, breaking }));
            }
        }
        Ok(())
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
    pub(super) async fn refresh(&mut self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let now = Instant::now();
        let (mut new, mut grown) = (Vec::new(), Vec::new());
        for goal in services::goals_changed(connection, now - self.refreshed + OVERLAP).await? {
            let Some(endpoint) = self.endpoints.get(&goal.endpoint_id).copied() else {
                new.push(goal);
                continue;
            };
            if self.followed[endpoint.index()].goal.window_ns < goal.window_ns {
                grown.push(goal.endpoint_id);
                let snapshot = Snapshot { requests: Vec::new(), ..self.engine.snapshot(endpoint) };
                self.engine.restore(endpoint, &snapshot);
            }
            self.set(goal);
        }
        if !new.is_empty() || !grown.is_empty() {
            let not_yet = cursors::not_followed(connection, self.position).await?;
            self.recall_windows(connection, &grown, &not_yet).await?;
            self.learn(connection, new, &not_yet).await?;
        }
        self.refreshed = now;
        Ok(())
    }

    /// Takes in those of the endpoints of these events that are not known.
    pub(super) async fn meet(&mut self, connection: &mut PgConnection, events: &[Event]) -> Result<(), StoreError> {
        let (mut targets, mut endpoints) = (HashSet::new(), HashSet::new());
        for event in events {
            match event {
                Event::Check { target_id, .. } if !self.of_target.contains_key(target_id) => {
                    targets.insert(target_id.0);
                }
                Event::Access { endpoint_id, .. } if !self.endpoints.contains_key(endpoint_id) => {
                    endpoints.insert(*endpoint_id);
                }
                _ => {}
            }
        }
        if targets.is_empty() && endpoints.is_empty() {
            return Ok(());
        }
        let (targets, endpoints): (Vec<i32>, Vec<i32>) = (Vec::from_iter(targets), Vec::from_iter(endpoints));
        let goals = services::goals_of(connection, &targets, &endpoints).await?;
        // One whose target is new is known, and what it remembers with it.
        let (known, new): (Vec<_>, Vec<_>) =
            goals.into_iter().partition(|goal| self.endpoints.contains_key(&goal.endpoint_id));
        known.into_iter().for_each(|goal| self.set(goal));
        let not_yet = cursors::not_followed(connection, self.position).await?;
        self.learn(connection, new, &not_yet).await
    }

    /// How many endpoints are known.
    pub(super) fn endpoints(&self) -> usize {
        self.followed.len()
    }

    /// Forgets the endpoints that have met their objective and been silent for a while, if there are many.
    pub(super) fn forget_silent(&mut self, now: Instant) {
        if now.duration_since(self.looked) < LOOK_EVERY {
            return;
        }
        self.looked = now;
        let stays = |endpoint: &EndpointId| {
            let heard = self.followed[endpoint.index()].heard;
            now.duration_since(heard) < SILENT || self.engine.open_incident(*endpoint).is_some()
        };
        let mut staying: Vec<EndpointId> = self.endpoints.values().copied().filter(stays).collect();
        if (self.followed.len() - staying.len()) * SHARE <= self.followed.len() {
            return;
        }
        staying.sort_unstable();
        let mut next = Self { refreshed: self.refreshed, looked: now, ..Self::empty(self.position) };
        for before in staying {
            let Followed { goal, heard } = &self.followed[before.index()];
            next.set(*goal);
            let Some(endpoint) = next.endpoints.get(&goal.endpoint_id).copied() else { continue };
            next.engine.restore(endpoint, &self.engine.snapshot(before));
            next.followed[endpoint.index()].heard = *heard;
        }
        for (service_id, service) in &self.services {
            if let Some(change) = self.engine.newest_change(*service) {
                let service = next.service(*service_id);
                next.engine.recall_change(service, Some(change));
            }
        }
        *self = next;
    }

    fn service(&mut self, service_id: i32) -> ServiceId {
        *self.services.entry(service_id).or_insert_with(|| self.engine.add_service())
    }

    fn set(&mut self, goal: Goal) {
        let known = self.endpoints.get(&goal.endpoint_id).copied();
        if known.is_some_and(|endpoint| self.followed[endpoint.index()].goal == goal) {
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
                let followed = &mut self.followed[endpoint.index()];
                if let Some(before) = followed.goal.target_id {
                    self.of_target.remove(&before);
                }
                followed.goal = goal;
                endpoint
            }
            None => {
                self.followed.push(Followed { goal, heard: Instant::now() });
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

    /// What follows from the next event.
    pub(super) fn apply(&mut self, event: &Event) -> Option<Finding> {
        let event = self.event(event)?;
        if let engine::Event::Access { endpoint, .. } = event {
            self.followed[endpoint.index()].heard = self.refreshed;
        }
        let id = |endpoint: EndpointId| self.followed[endpoint.index()].goal.endpoint_id;
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
