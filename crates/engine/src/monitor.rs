//! The engine with names around it: endpoints by verb and resource, services by
//! name, changes by commit, and the incidents so far.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;

use crate::engine::{ChangeId, EndpointId, Engine, Event, ServiceId, Transition};
use crate::goal::{Objective, Window};
use crate::info::{EndpointInfo, Info};
use crate::line::{Access, Change, Envelope, Reason, Rejection, Status, shown, trim};
use crate::report::{Incident, ServiceMonitor};
use crate::time::Nanos;

/// Takes requests and changes by name and keeps the incidents.
#[derive(Debug, Clone, Default)]
pub struct Monitor {
    engine: Engine,
    endpoints: Vec<Endpoint>,
    by_key: HashMap<Box<[u8]>, Known, RandomState>,
    services: Vec<Service>,
    by_name: HashMap<Arc<str>, ServiceId, RandomState>,
    incidents: Vec<Incident>,
    /// Verb and resource of the request at hand.
    key: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Endpoint {
    service: ServiceId,
    verb: Arc<str>,
    resource: Arc<str>,
    /// Where its open incident is in the list.
    open: Option<usize>,
}

#[derive(Debug, Clone)]
struct Service {
    name: Arc<str>,
    /// Its newest commit.
    commit: Option<Arc<str>>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    id: EndpointId,
    /// Its key stands for itself in a line: there is nothing in it to be escaped.
    is_plain: bool,
}

/// Which change it is, the services tell: an incident opens and closes with
/// the newest one.
const NEWEST: ChangeId = ChangeId(0);

impl Monitor {
    /// A monitor of the endpoints in the list.
    pub fn new(info: &Info) -> Self {
        let mut monitor = Self::default();
        for endpoint in info.endpoints() {
            monitor.add(endpoint);
        }
        monitor
    }

    /// Adds an endpoint at any time; of two with the same verb and resource the first is kept.
    pub fn add(&mut self, endpoint: &EndpointInfo) {
        let EndpointInfo { service, verb, resource, objective, window } = endpoint;
        let service = self.add_service(service);
        self.add_endpoint(service, verb, resource, *objective, *window);
    }

    fn add_service(&mut self, name: &str) -> ServiceId {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let id = self.engine.add_service();
        let name: Arc<str> = name.into();
        self.services.push(Service { name: name.clone(), commit: None });
        self.by_name.insert(name, id);
        id
    }

    fn add_endpoint(&mut self, service: ServiceId, verb: &str, resource: &str, objective: Objective, window: Window) {
        let key = format!("{verb} {resource}").into_bytes().into_boxed_slice();
        // A field of a request never holds one of these, so no request can mean this endpoint.
        let is_separator = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        if verb.bytes().chain(resource.bytes()).any(|byte| is_separator(&byte)) || self.by_key.contains_key(&key) {
            return;
        }
        let id = self.engine.add_endpoint(service, objective, window);
        let is_plain = !key.iter().any(|byte| byte.is_ascii_control() || matches!(byte, b'"' | b'\'' | b'\\'));
        self.endpoints.push(Endpoint { service, verb: verb.into(), resource: resource.into(), open: None });
        self.by_key.insert(key, Known { id, is_plain });
    }

    /// Whether requests to this verb and resource are known.
    pub fn knows(&mut self, verb: &str, resource: &str) -> bool {
        self.find(verb, resource).is_some()
    }

    /// Whether some endpoint belongs to this service.
    pub fn knows_service(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    fn find(&mut self, verb: &str, resource: &str) -> Option<EndpointId> {
        self.key.clear();
        self.key.extend_from_slice(verb.as_bytes());
        self.key.push(b' ');
        self.key.extend_from_slice(resource.as_bytes());
        self.by_key.get(self.key.as_slice()).map(|known| known.id)
    }

    /// Takes a line of a stream. Whether the stream goes on: nothing after
    /// `end-of-stream` matters.
    ///
    /// # Errors
    /// The first reason why the line is rejected; it then had no effect.
    #[inline]
    pub fn line(&mut self, line: &[u8]) -> Result<bool, Rejection> {
        if let Some((endpoint, at, status)) = self.usual(trim(line)) {
            self.request(endpoint, at, status);
            return Ok(true);
        }
        self.unusual(line)
    }

    /// Sees at once what nearly every line says: a request to a known endpoint, in
    /// one of the shapes that programs write. `None` is no verdict.
    #[inline]
    fn usual(&self, line: &[u8]) -> Option<(EndpointId, Nanos, Status)> {
        const SHAPES: [(&[u8], &[u8]); 3] = [
            (br#"{"type": "access", "value": ""#, br#""}"#),
            (br#"{"type":"access","value":""#, br#""}"#),
            (b"{'type': 'access', 'value': '", b"'}"),
        ];
        let value = SHAPES.iter().find_map(|(start, end)| line.strip_prefix(*start)?.strip_suffix(*end))?;
        let (at, length) = Nanos::scan(value)?;
        let rest = value[length..].strip_prefix(b" ")?;
        let (key, status) = rest.split_at_checked(rest.len().checked_sub(4)?)?;
        let status = Status::parse(status.strip_prefix(b" ")?)?;
        // A key that is plain has one space and no quote, escape or control character; it
        // is UTF-8, as the line then is. So there is nothing that another look could find.
        let known = self.by_key.get(key)?;
        known.is_plain.then_some((known.id, at, status))
    }

    #[cold]
    fn unusual(&mut self, line: &[u8]) -> Result<bool, Rejection> {
        match Envelope::parse(line)? {
            None => {}
            Some(Envelope::EndOfStream) => return Ok(false),
            Some(Envelope::Access(value)) => self.access(&Access::parse(&value)?)?,
            Some(Envelope::Change(value)) => self.change(&Change::parse(&value)?)?,
        }
        Ok(true)
    }

    /// Takes a request.
    ///
    /// # Errors
    /// `unknown-endpoint`.
    pub fn access(&mut self, access: &Access<'_>) -> Result<(), Rejection> {
        let Some(endpoint) = self.find(access.verb, access.resource) else {
            let name = format!("{} {}", access.verb, access.resource);
            let explanation = format!("{} is not in the list of endpoints", shown(&name));
            return Err(Rejection::new(Reason::UnknownEndpoint, explanation));
        };
        self.request(endpoint, access.at, access.status);
        Ok(())
    }

    /// Takes a change.
    ///
    /// # Errors
    /// `unknown-service`.
    pub fn change(&mut self, change: &Change<'_>) -> Result<(), Rejection> {
        if !self.knows_service(change.service) {
            let explanation = format!("no endpoint belongs to a service {}", shown(change.service));
            return Err(Rejection::new(Reason::UnknownService, explanation));
        }
        self.add_change(change);
        Ok(())
    }

    /// Takes a change of a service, even if none of its endpoints has been seen yet.
    pub fn add_change(&mut self, change: &Change<'_>) {
        let service = self.add_service(change.service);
        self.services[service.index()].commit = Some(change.commit.into());
        self.engine.apply(Event::Change { service, change: NEWEST });
    }

    #[inline]
    fn request(&mut self, endpoint: EndpointId, at: Nanos, status: Status) {
        if let Some(transition) = self.engine.apply(Event::Access { endpoint, at, ok: status.is_success() }) {
            self.note(transition);
        }
    }

    #[cold]
    fn note(&mut self, transition: Transition) {
        match transition {
            Transition::Opened { endpoint: id, at, .. } => {
                let endpoint = &mut self.endpoints[id.index()];
                endpoint.open = Some(self.incidents.len());
                let service = &self.services[endpoint.service.index()];
                self.incidents.push(Incident {
                    service: service.name.clone(),
                    verb: endpoint.verb.clone(),
                    resource: endpoint.resource.clone(),
                    start: at,
                    end: None,
                    breaking: service.commit.clone(),
                    fixing: None,
                });
            }
            Transition::Closed { endpoint: id, at, .. } => {
                let endpoint = &mut self.endpoints[id.index()];
                if let Some(open) = endpoint.open.take() {
                    self.incidents[open].end = Some(at);
                    self.incidents[open].fixing = self.services[endpoint.service.index()].commit.clone();
                }
            }
        }
    }

    /// Ends it and keeps the incidents, in the order in which they opened.
    pub fn into_incidents(self) -> Vec<Incident> {
        self.incidents
    }
}

impl ServiceMonitor for Monitor {
    fn incidents(&self) -> &[Incident] {
        &self.incidents
    }
}
