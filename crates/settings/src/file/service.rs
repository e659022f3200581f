//! `services:` of the file: who answers for what, and what was promised.

use std::collections::HashMap;
use std::time::Duration;

use common::{EndpointSpec, Goal, Method, ServiceSpec, TargetSpec};

use super::Placed;
use super::fields::{Fields, closest, open_text, quoted};
use super::report::{Path, Report};
use super::target::{label, one_line, required};
use super::tree::{Node, Value};
use crate::percent;
use crate::rules;

pub(super) const SERVICE_FIELDS: [&str; 5] = ["name", "owner", "objective", "window", "endpoints"];
pub(super) const ENDPOINT_FIELDS: [&str; 4] = ["verb", "resource", "objective", "window"];

/// The longest name and verb in bytes, as over the API.
const NAME_MAX_BYTES: usize = 200;
const VERB_MAX_BYTES: usize = 50;

/// Reads every service, and joins targets and services: an endpoint that is a target's
/// (its method, its key) makes the target one of the service.
pub(crate) fn services(
    node: &Node,
    path: &Path,
    targets: &mut [TargetSpec],
    places: &[Placed],
    report: &mut Report,
) -> Vec<ServiceSpec> {
    let Value::List(items) = &node.value else {
        report.error(node.at, path, format_args!("expected a list of services, found {}", node.value.kind()));
        return Vec::new();
    };
    let by_endpoint: HashMap<(String, String), usize> = targets
        .iter()
        .enumerate()
        .map(|(index, target)| ((target.method.as_str().to_owned(), target.key.clone()), index))
        .collect();
    let mut lines = HashMap::new();
    let mut endpoint_lines = HashMap::new();
    let mut services: Vec<ServiceSpec> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = path.index(index);
        let Some(service) = service(item, path.clone(), report) else { continue };
        let line = item.at.line;
        if let Some(first) = lines.insert(service.spec.name.clone(), line) {
            report.strict(
                item.at,
                &path,
                format_args!("the service {} is given twice: line {first} and line {line}", quoted(&service.spec.name)),
            );
        }
        for (endpoint, (at, path)) in service.spec.endpoints.iter().zip(&service.places) {
            let whole = (endpoint.verb.clone(), endpoint.resource.clone());
            let shown = quoted(&format!("{} {}", endpoint.verb, endpoint.resource));
            if let Some(target) = by_endpoint.get(&whole).and_then(|index| targets.get_mut(*index)) {
                let of = target.service.get_or_insert_with(|| service.spec.name.clone());
                if *of != service.spec.name {
                    report.error(
                        *at,
                        path,
                        format_args!("{shown} is a target, and that names the service {}", quoted(of)),
                    );
                }
            }
            if let Some(first) = endpoint_lines.insert(whole, at.line) {
                let line = at.line;
                report.strict(*at, path, format_args!("{shown} is given twice: line {first} and line {line}"));
            }
        }
        services.push(service.spec);
    }
    let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
    for (target, (at, path)) in targets.iter().zip(places) {
        if let Some(name) = target.service.as_deref().filter(|name| !names.contains(name)) {
            let hint =
                closest(name, &names).map_or_else(String::new, |known| format!("; did you mean {}?", quoted(known)));
            report.warning(
                *at,
                &path.field("service"),
                format_args!("{} is none of `services:` and gets the usual objective{hint}", quoted(name)),
            );
        }
    }
    services
}

/// A service with where its endpoints stand.
struct Read {
    spec: ServiceSpec,
    places: Vec<Placed>,
}

fn service(node: &Node, path: Path, report: &mut Report) -> Option<Read> {
    let fields = Fields::of(node, path, "a mapping with name", report)?;
    fields.refuse_unknown(&SERVICE_FIELDS, report);
    let name = required(&fields, "name", report).and_then(|_| label(&fields, "name", report)).filter(|name| {
        let fits = name.len() <= NAME_MAX_BYTES;
        if !fits {
            report.error(node.at, &fields.path.field("name"), "is over 200 bytes long");
        }
        fits
    });
    let (owner_name, owner_email) = owner(&fields, report);
    let goal = goal(&fields, report);
    let mut endpoints = Vec::new();
    let mut places = Vec::new();
    let path = fields.path.field("endpoints");
    match fields.get("endpoints") {
        None | Some(Node { value: Value::Null, .. }) => {}
        Some(Node { value: Value::List(items), .. }) => {
            for (index, item) in items.iter().enumerate() {
                let path = path.index(index);
                if let Some(endpoint) = endpoint(item, path.clone(), goal, report) {
                    endpoints.push(endpoint);
                    places.push((item.at, path));
                }
            }
        }
        Some(other) => {
            report.error(other.at, &path, format_args!("expected a list of endpoints, found {}", other.value.kind()));
        }
    }
    Some(Read { spec: ServiceSpec { name: name?, owner_name, owner_email, goal, endpoints }, places })
}

fn owner(fields: &Fields, report: &mut Report) -> (Option<String>, Option<String>) {
    let Some(node) = fields.get("owner").filter(|node| node.value != Value::Null) else { return (None, None) };
    let Some(owner) = Fields::of(node, fields.path.field("owner"), "a mapping with name and email", report) else {
        return (None, None);
    };
    owner.refuse_unknown(&["name", "email"], report);
    let email = owner.open_value("email", "an address", report, |text| {
        let is_address = text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty());
        if !is_address || text.contains(char::is_whitespace) {
            return Err("is no address: write one like team@example.org");
        }
        one_line(text)
    });
    (label(&owner, "name", report), email)
}

fn goal(fields: &Fields, report: &mut Report) -> Goal {
    Goal {
        objective_nano: fields.value("objective", "a percentage", report, percent::objective),
        window: fields.value::<Duration, _>("window", "a duration", report, rules::window),
    }
}

/// `{verb: GET, resource: /cart}`, with a promise of its own or that of the service, or
/// short `GET /cart`.
fn endpoint(node: &Node, path: Path, of_service: Goal, report: &mut Report) -> Option<EndpointSpec> {
    if let Value::Scalar(..) = &node.value {
        let text = open_text(node, &path, "an endpoint", report)?;
        let Some((verb, resource)) = text.split_once(' ') else {
            report.error(node.at, &path, format_args!("{} is no endpoint: write one like GET /cart", quoted(text)));
            return None;
        };
        let (verb, resource) = (verb.to_owned(), resource.trim().to_owned());
        let problem =
            [word(&verb).err(), blank(&resource).err(), one_line(&resource).err()].into_iter().flatten().next();
        if let Some(problem) = problem {
            report.error(node.at, &path, format_args!("{} {problem}", quoted(text)));
            return None;
        }
        return Some(EndpointSpec { verb, resource, goal: of_service });
    }
    let fields = Fields::of(node, path, "a mapping with verb and resource, or a text like GET /cart", report)?;
    fields.refuse_unknown(&ENDPOINT_FIELDS, report);
    let verb = match fields.get("verb") {
        Some(_) => fields.open_value("verb", "a text", report, |text| word(text).map(|()| text.to_owned())),
        None => Some(Method::default().as_str().to_owned()),
    };
    let resource = required(&fields, "resource", report).and_then(|_| label(&fields, "resource", report));
    let goal = goal(&fields, report).or(of_service);
    Some(EndpointSpec { verb: verb?, resource: resource?, goal })
}

fn word(verb: &str) -> Result<(), &'static str> {
    if verb.is_empty() || verb.contains(|c: char| c.is_whitespace() || c.is_control()) {
        Err("has no verb: write one like GET")
    } else if verb.len() > VERB_MAX_BYTES {
        Err("has a verb over 50 bytes long")
    } else {
        Ok(())
    }
}

fn blank(text: &str) -> Result<(), &'static str> {
    if text.is_empty() { Err("has no resource: write one like GET /cart") } else { Ok(()) }
}
