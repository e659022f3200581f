//! The judge: numbered endpoints and services, events in, transitions out.

use crate::goal::{Objective, Window};
use crate::time::Nanos;
use crate::window::Requests;

/// An endpoint of one [`Engine`], counted from 0 in the order they were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(u32);

/// A service of one [`Engine`], counted from 0 in the order they were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceId(u32);

/// A change, as whoever calls tells them apart. The engine only hands it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChangeId(pub i64);

impl EndpointId {
    /// Its place in the order of adding, for a caller who keeps a list beside the engine.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl ServiceId {
    /// Its place in the order of adding, for a caller who keeps a list beside the engine.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What happened, in the order in which it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A request to an endpoint.
    Access {
        /// To which one.
        endpoint: EndpointId,
        /// When, by its own timestamp.
        at: Nanos,
        /// Whether it was served well.
        ok: bool,
    },
    /// A change of a service was rolled out.
    Change {
        /// Of which one.
        service: ServiceId,
        /// Which change.
        change: ChangeId,
    },
}

/// What the engine says happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// An endpoint fell below its objective.
    Opened {
        /// Which one.
        endpoint: EndpointId,
        /// The endpoint's clock: the latest timestamp of a request to it.
        at: Nanos,
        /// The newest change of its service, if there was one.
        breaking: Option<ChangeId>,
        /// Good requests in the window.
        good: u64,
        /// All requests in the window.
        total: u64,
    },
    /// It met its objective again.
    Closed {
        /// Which one.
        endpoint: EndpointId,
        /// The endpoint's clock: the latest timestamp of a request to it.
        at: Nanos,
        /// The newest change of its service, if there was one; it may be the one that broke it.
        fixing: Option<ChangeId>,
        /// Good requests in the window.
        good: u64,
        /// All requests in the window.
        total: u64,
    },
}

/// An incident that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenIncident {
    /// The endpoint's clock when it opened.
    pub since: Nanos,
    /// The newest change of its service at that moment.
    pub breaking: Option<ChangeId>,
}

/// All there is to know of an endpoint, to be put back by [`Engine::restore`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// The latest timestamp so far; `None` before the first request.
    pub clock: Option<Nanos>,
    /// The requests inside the window and whether each was good, by time.
    pub requests: Vec<(Nanos, bool)>,
    /// Whether it is below its objective, and since when.
    pub incident: Option<OpenIncident>,
}

/// Judges endpoints by their requests. See the [crate] for what it promises.
#[derive(Debug, Clone, Default)]
pub struct Engine {
    endpoints: Vec<Endpoint>,
    /// The newest change of each service.
    services: Vec<Option<ChangeId>>,
}

#[derive(Debug, Clone)]
struct Endpoint {
    service: ServiceId,
    objective: Objective,
    window: Window,
    clock: Option<Nanos>,
    requests: Requests,
    incident: Option<OpenIncident>,
}

impl Engine {
    /// An engine that knows no endpoint yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a service that has seen no change.
    ///
    /// # Panics
    /// There are 2³² services already.
    pub fn add_service(&mut self) -> ServiceId {
        let id = u32::try_from(self.services.len()).expect("there are fewer than 2^32 services");
        self.services.push(None);
        ServiceId(id)
    }

    /// Adds an endpoint of a service, at any time.
    ///
    /// # Panics
    /// The service is of another engine, or there are 2³² endpoints already.
    pub fn add_endpoint(&mut self, service: ServiceId, objective: Objective, window: Window) -> EndpointId {
        assert!(service.index() < self.services.len(), "the service belongs to this engine");
        let id = u32::try_from(self.endpoints.len()).expect("there are fewer than 2^32 endpoints");
        let requests = Requests::default();
        self.endpoints.push(Endpoint { service, objective, window, clock: None, requests, incident: None });
        EndpointId(id)
    }

    /// Gives an endpoint another service, objective or window.
    ///
    /// Nothing is judged: its next request is the first to be measured by the new
    /// goal. Requests that had left a shorter window stay out of a longer one.
    ///
    /// # Panics
    /// Endpoint or service are of another engine.
    pub fn change_goal(&mut self, endpoint: EndpointId, service: ServiceId, objective: Objective, window: Window) {
        assert!(service.index() < self.services.len(), "the service belongs to this engine");
        let endpoint = &mut self.endpoints[endpoint.index()];
        endpoint.service = service;
        endpoint.objective = objective;
        endpoint.window = window;
    }

    /// Takes the next event. At most one thing follows from it: the endpoint's
    /// incident opens, or it closes.
    ///
    /// # Panics
    /// The event names an endpoint or a service of another engine.
    #[inline]
    pub fn apply(&mut self, event: Event) -> Option<Transition> {
        match event {
            Event::Access { endpoint, at, ok } => {
                self.recall(endpoint, at, ok);
                self.judge(endpoint)
            }
            Event::Change { service, change } => {
                self.services[service.index()] = Some(change);
                None
            }
        }
    }

    #[inline]
    fn judge(&mut self, id: EndpointId) -> Option<Transition> {
        let endpoint = &mut self.endpoints[id.index()];
        let at = endpoint.clock?;
        let (good, total) = (endpoint.requests.good(), endpoint.requests.total());
        // Only a state put back without its requests has none here.
        if total == 0 || endpoint.objective.is_met(good, total) == endpoint.incident.is_none() {
            return None;
        }
        let change = self.services[endpoint.service.index()];
        if endpoint.incident.take().is_some() {
            return Some(Transition::Closed { endpoint: id, at, fixing: change, good, total });
        }
        endpoint.incident = Some(OpenIncident { since: at, breaking: change });
        Some(Transition::Opened { endpoint: id, at, breaking: change, good, total })
    }

    /// Puts back a request that was judged before: it moves clock and window as
    /// [`Engine::apply`] does, and nothing follows from it.
    ///
    /// # Panics
    /// The endpoint is of another engine.
    #[inline]
    pub fn recall(&mut self, endpoint: EndpointId, at: Nanos, ok: bool) {
        let endpoint = &mut self.endpoints[endpoint.index()];
        let clock = endpoint.clock.map_or(at, |clock| clock.max(at));
        endpoint.clock = Some(clock);
        endpoint.requests.slide(endpoint.window, clock, at, ok);
    }

    /// Puts back whether an endpoint has an open incident. Its clock had reached the
    /// beginning, also where the requests of that time are not there to be put back.
    ///
    /// # Panics
    /// The endpoint is of another engine.
    pub fn recall_incident(&mut self, endpoint: EndpointId, incident: Option<OpenIncident>) {
        let endpoint = &mut self.endpoints[endpoint.index()];
        endpoint.incident = incident;
        if let Some(OpenIncident { since, .. }) = incident {
            endpoint.clock = Some(endpoint.clock.map_or(since, |clock| clock.max(since)));
        }
    }

    /// Puts back the newest change of a service.
    ///
    /// # Panics
    /// The service is of another engine.
    pub fn recall_change(&mut self, service: ServiceId, newest: Option<ChangeId>) {
        self.services[service.index()] = newest;
    }

    /// Puts back all of an endpoint's state, in place of what it has. Requests may
    /// come in any order; what is outside the window is left out. The default
    /// snapshot makes the endpoint as if it were new, and gives its memory back.
    ///
    /// # Panics
    /// The endpoint is of another engine.
    pub fn restore(&mut self, endpoint: EndpointId, snapshot: &Snapshot) {
        let state = &mut self.endpoints[endpoint.index()];
        state.requests = Requests::default();
        state.clock = snapshot.clock;
        state.incident = snapshot.incident;
        for &(at, ok) in &snapshot.requests {
            self.recall(endpoint, at, ok);
        }
    }

    /// Reads out all of an endpoint's state. Its goal and its service are not part of it.
    ///
    /// # Panics
    /// The endpoint is of another engine.
    pub fn snapshot(&self, endpoint: EndpointId) -> Snapshot {
        let state = &self.endpoints[endpoint.index()];
        Snapshot { clock: state.clock, requests: state.requests.list(), incident: state.incident }
    }

    /// The latest timestamp of a request to the endpoint.
    pub fn clock(&self, endpoint: EndpointId) -> Option<Nanos> {
        self.endpoints[endpoint.index()].clock
    }

    /// Good and all requests in the endpoint's window, as of its last request.
    pub fn counts(&self, endpoint: EndpointId) -> (u64, u64) {
        let requests = &self.endpoints[endpoint.index()].requests;
        (requests.good(), requests.total())
    }

    /// The endpoint's incident, if one is open.
    pub fn open_incident(&self, endpoint: EndpointId) -> Option<OpenIncident> {
        self.endpoints[endpoint.index()].incident
    }

    /// The newest change of a service.
    pub fn newest_change(&self, service: ServiceId) -> Option<ChangeId> {
        self.services[service.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Nanos {
        Nanos::new(nanos).unwrap()
    }

    fn engine(objective: &str, window: u64) -> (Engine, ServiceId, EndpointId) {
        let mut engine = Engine::new();
        let service = engine.add_service();
        let objective = Objective::parse(objective).unwrap();
        let endpoint = engine.add_endpoint(service, objective, Window::from_nanos(window).unwrap());
        (engine, service, endpoint)
    }

    #[test]
    fn an_idle_endpoint_takes_less_than_200_bytes() {
        assert!(size_of::<Endpoint>() <= 200, "{}", size_of::<Endpoint>());
        assert_eq!(Requests::default().list().capacity(), 0);
    }

    #[test]
    fn a_new_goal_counts_from_the_next_request_on() {
        let (mut engine, service, endpoint) = engine("0.5", 100);
        for (nanos, ok) in [(1, true), (2, false)] {
            assert_eq!(engine.apply(Event::Access { endpoint, at: at(nanos), ok }), None);
        }
        engine.change_goal(endpoint, service, Objective::parse("1").unwrap(), Window::from_nanos(10).unwrap());
        assert_eq!(engine.open_incident(endpoint), None);
        let opened = engine.apply(Event::Access { endpoint, at: at(11), ok: true });
        assert_eq!(opened, Some(Transition::Opened { endpoint, at: at(11), breaking: None, good: 1, total: 2 }));
    }

    #[test]
    fn a_request_too_late_to_count_is_judged_by_those_that_do() {
        let (mut engine, service, endpoint) = engine("0", 100);
        engine.apply(Event::Access { endpoint, at: at(500), ok: false });
        engine.change_goal(endpoint, service, Objective::parse("1").unwrap(), Window::from_nanos(10).unwrap());
        let opened = engine.apply(Event::Access { endpoint, at: at(1), ok: true });
        assert_eq!(opened, Some(Transition::Opened { endpoint, at: at(500), breaking: None, good: 0, total: 1 }));
    }

    #[test]
    fn an_incident_never_ends_before_it_began() {
        let (mut engine, _, endpoint) = engine("0.9", 10);
        engine.recall_incident(endpoint, Some(OpenIncident { since: at(100), breaking: None }));
        assert_eq!(engine.apply(Event::Access { endpoint, at: at(50), ok: true }), None, "long before");
        let closed = engine.apply(Event::Access { endpoint, at: at(95), ok: true });
        assert_eq!(closed, Some(Transition::Closed { endpoint, at: at(100), fixing: None, good: 1, total: 1 }));
    }

    #[test]
    fn an_incident_put_back_without_requests_closes_with_the_next_good_one() {
        let (mut engine, service, endpoint) = engine("0.9", 10);
        engine.recall_change(service, Some(ChangeId(7)));
        let incident = OpenIncident { since: at(5), breaking: Some(ChangeId(6)) };
        engine.restore(endpoint, &Snapshot { clock: Some(at(20)), requests: vec![], incident: Some(incident) });
        assert_eq!(engine.apply(Event::Access { endpoint, at: at(3), ok: true }), None);
        let closed = engine.apply(Event::Access { endpoint, at: at(19), ok: true });
        let fixing = Some(ChangeId(7));
        assert_eq!(closed, Some(Transition::Closed { endpoint, at: at(20), fixing, good: 1, total: 1 }));
    }
}
