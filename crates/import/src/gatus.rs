//! gatus: `endpoints:` of its YAML.
//!
//! Source: the README of gatus, "Configuration" and "Conditions".

mod condition;
mod environment;

use std::time::Duration;

use settings::ConfigErrors;
use settings::file::{Fields, Path, Report};

use crate::Imported;
use crate::notes::Place;
use crate::source::{self, Typed};
use crate::target::{Endpoint, Output};
use crate::text::Text;
use condition::{Conditions, Met};

/// What gatus does where nothing is said.
const INTERVAL: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(10);

/// Imports a configuration of gatus. `name` is that of the file.
///
/// # Errors
/// The file is no YAML, no configuration of gatus, or a field has the wrong type; with every place.
pub fn gatus(name: &str, text: &[u8]) -> Result<Imported, ConfigErrors> {
    let root = source::document(name, text)?;
    let mut report = source::report(name);
    let mut output = Output::default();
    output.secrets.reserve(environment::names(&String::from_utf8_lossy(text)));
    if let Some(fields) = Fields::of(&root, Path::root(), "a configuration of gatus, with `endpoints:`", &mut report) {
        configuration(&fields, &mut output, &mut report);
    }
    report.finish()?;
    Ok(output.finish("gatus", name))
}

fn configuration(fields: &Fields, output: &mut Output, report: &mut Report) {
    if fields.node("endpoints").is_none() && fields.node("suites").is_none() {
        let message = "no `endpoints:`, so this is no configuration of gatus with something to watch";
        report.error(fields.node.at, &fields.path, message);
        return;
    }
    let path = fields.path.field("endpoints");
    for (index, node) in fields.list("endpoints", report).iter().enumerate() {
        if let Some(fields) = Fields::of(node, path.index(index), "an endpoint", report) {
            endpoint(&fields, output, report);
        }
    }
    for (list, reason) in [
        ("external-endpoints", "is told of by others (external-endpoints); post its results to /api/v1/events instead"),
        ("suites", "is a suite of requests that follow each other; lookout makes each request on its own"),
    ] {
        let path = fields.path.field(list);
        for (index, node) in fields.list(list, report).iter().enumerate() {
            if let Some(fields) = Fields::of(node, path.index(index), "a mapping", report) {
                let place = place(&fields, report);
                output.notes.left_out(&place, reason);
            }
        }
    }
    for (key, entry) in fields.entries() {
        let advice = match key {
            "endpoints" | "external-endpoints" | "suites" => continue,
            "alerting" => ALERTS,
            "maintenance" => MAINTENANCE,
            "storage" => "lookout keeps its checks in Postgres (DATABASE_URL)",
            "web" => "where lookout listens is API_ADDR",
            "security" => "who may read and write is set with PUBLIC_READ and API_TOKEN",
            "metrics" => "lookout always has /metrics (docs/METRICS.md)",
            "concurrency" | "disable-monitoring-lock" => "lookout checks targets side by side; WORKERS_COUNT bounds it",
            "ui"
            | "announcements"
            | "connectivity"
            | "remote"
            | "tunneling"
            | "debug"
            | "skip-invalid-config-update" => "belongs to gatus itself and has no counterpart",
            _ => "is nothing this importer knows; only what is used through an anchor was read",
        };
        output.notes.not_carried(&Place::new("the whole file", entry.key_at.line), key, advice);
    }
}

const ALERTS: &str = "lookout sends no alerts itself; let Prometheus alert on its /metrics (docs/METRICS.md)";
const MAINTENANCE: &str = "lookout has no maintenance windows; silence the alerts for that time";

/// The name an endpoint has in notes, and its line.
fn place(fields: &Fields, report: &mut Report) -> Place {
    let name = fields.text("name", report).unwrap_or("unnamed");
    Place::new(name, fields.node.at.line)
}

fn endpoint(fields: &Fields, output: &mut Output, report: &mut Report) {
    let place = place(fields, report);
    if fields.node("name").is_none() {
        source::missing(fields, "name", report);
    }
    let Some(url) = fields.text("url", report) else {
        if fields.node("url").is_none() {
            source::missing(fields, "url", report);
        }
        return;
    };
    let name = environment::expand(fields.text("name", report).unwrap_or_default());
    let group = fields.text("group", report).map(environment::expand);
    let timeout = client(fields, &place, output, report);
    let mut endpoint = Endpoint {
        url: environment::expand(url),
        method: fields.text("method", report).map(str::to_owned),
        interval: fields.duration("interval", report).unwrap_or(INTERVAL),
        timeout,
        labels: group.iter().map(|group| ("group".to_owned(), group.clone())).collect(),
        ..Endpoint::default()
    };
    for (name, value, _) in fields.pairs("headers", report) {
        endpoint.headers.push((name.to_owned(), environment::expand(value)));
    }
    for (name, value, _) in fields.pairs("extra-labels", report) {
        endpoint.labels.push((name.to_owned(), environment::expand(value)));
    }
    let graphql = fields.flag("graphql", report).unwrap_or(false);
    if let Some(body) = fields.text("body", report) {
        let body = with_placeholders(environment::expand(body), &name, group.as_ref(), url);
        set_body(&mut endpoint, body, graphql, &place.at(fields.line("body")), output);
    }
    endpoint.name = name;
    endpoint.group = group;
    let mut conditions = Conditions::default();
    let mut unfit = None;
    for (node, condition) in fields.texts("conditions", report) {
        let place = place.at(node.at.line);
        let field = format!("condition {}", condition::shown(condition));
        match conditions.add(condition) {
            Met::Carried => {}
            Met::Changed(how) => output.notes.changed(&place, &field, how),
            Met::NotCarried(advice) => output.notes.not_carried(&place, &field, advice),
            Met::Unfit(reason) => unfit = unfit.or(Some(format!("{field}: {reason}"))),
        }
    }
    endpoint.expect = conditions.finish();
    other_fields(fields, &place, output);
    let is_off = fields.flag("enabled", report) == Some(false);
    let reason = match (kind(fields, url), unfit) {
        _ if is_off => "is switched off (enabled: false)".to_owned(),
        (Some(kind), _) => format!("{kind}; lookout watches http and https"),
        (None, Some(unfit)) => unfit,
        (None, None) => {
            pass_on(&endpoint, output);
            output.add(&place, endpoint);
            return;
        }
    };
    output.notes.left_out(&place, reason);
}

/// What an endpoint is, if it is no HTTP.
fn kind(fields: &Fields, url: &str) -> Option<String> {
    if fields.node("dns").is_some() {
        return Some("is a DNS query".to_owned());
    }
    let (scheme, _) = url.split_once("://")?;
    let is_http = ["http", "https"].contains(&scheme) || scheme.contains('$');
    (!is_http).then(|| format!("is {scheme}://"))
}

/// Lists the variables an endpoint refers to.
fn pass_on(endpoint: &Endpoint, output: &mut Output) {
    let texts = [&endpoint.url].into_iter().chain(&endpoint.body);
    let headers = endpoint.headers.iter().map(|(_, value)| value);
    for name in texts.chain(headers).flat_map(Text::references) {
        output.secrets.passed_on(name, "as in gatus".to_owned());
    }
}

fn other_fields(fields: &Fields, place: &Place, output: &mut Output) {
    for (key, entry) in fields.entries() {
        let advice = match key {
            "enabled" | "name" | "group" | "url" | "method" | "conditions" | "interval" | "graphql" | "body"
            | "headers" | "extra-labels" | "client" | "dns" | "ssh" => continue,
            "alerts" => ALERTS,
            "maintenance-windows" => MAINTENANCE,
            "ui" => "lookout has no display settings of a target; its URLs are shown without user, password and query",
            "store" | "always-run" => "only means something within a suite",
            _ => "is no field of an endpoint this importer knows",
        };
        output.notes.not_carried(&place.at(entry.key_at.line), key, advice);
    }
}

/// gatus fills these into bodies.
fn with_placeholders(body: Text, name: &Text, group: Option<&Text>, url: &str) -> Text {
    let mut filled = Text::default();
    let replacements = [
        ("[ENDPOINT_NAME]", name.clone()),
        ("[ENDPOINT_GROUP]", group.cloned().unwrap_or_default()),
        ("[ENDPOINT_URL]", environment::expand(url)),
    ];
    let Some(literal) = body.as_literal() else { return body };
    let mut rest = literal;
    while let Some((at, (mark, text))) =
        replacements.iter().filter_map(|pair| Some((rest.find(pair.0)?, pair))).min_by_key(|(at, _)| *at)
    {
        filled = filled.and(&rest[..at]).join(text.clone());
        rest = &rest[at + mark.len()..];
    }
    filled.and(rest)
}

fn set_body(endpoint: &mut Endpoint, body: Text, graphql: bool, place: &Place, output: &mut Output) {
    let sample = body.sample();
    if sample.contains("[RANDOM_STRING_") {
        output.notes.changed(
            place,
            "body",
            "[RANDOM_STRING_n] is sent as it is written: lookout sends the same body each time",
        );
    }
    if ["[ENDPOINT_NAME]", "[ENDPOINT_GROUP]", "[ENDPOINT_URL]"].iter().any(|mark| sample.contains(mark)) {
        output.notes.changed(
            place,
            "body",
            "[ENDPOINT_…] is sent as it is written, because the body has variables too",
        );
    }
    let has_type = endpoint.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    if graphql {
        // The text of a JSON string; variables are filled in later, as gatus does before it reads the file.
        let query = body.map(|literal| {
            let quoted = serde_json::Value::String(literal).to_string();
            quoted[1..quoted.len() - 1].to_owned()
        });
        endpoint.body = Some(Text::literal("{\"query\":\"").join(query).and("\"}"));
    } else {
        if !has_type && !sample.is_empty() {
            output.notes.changed(place, "body", "is sent as application/json, where gatus sends no content-type; give the header if it is something else");
        }
        endpoint.body = (!sample.is_empty()).then_some(body);
    }
}

/// `client:`, of which the timeout is used.
fn client(fields: &Fields, place: &Place, output: &mut Output, report: &mut Report) -> Duration {
    let Some(client) = fields.map("client", report) else { return TIMEOUT };
    let timeout = client.duration("timeout", report).filter(|timeout| *timeout >= Duration::from_millis(1));
    for (key, entry) in client.entries() {
        let place = place.at(entry.key_at.line);
        let is_false = matches!(&entry.value.value, settings::file::Value::Scalar(text, _) if text == "false");
        let advice = match key {
            "timeout" => continue,
            "insecure" | "ignore-redirect" | "store-cookies" if is_false => continue,
            "insecure" => "lookout always checks certificates; add their CA to those of the system",
            "ignore-redirect" => {
                "lookout follows up to five redirects and judges the last answer; a status of 300 to 399 is never seen"
            }
            "oauth2" | "identity-aware-proxy" => "lookout fetches no tokens; give one in a header",
            "tls" => "lookout has no client certificates",
            "proxy-url" | "tunnel" => "lookout connects directly",
            "dns-resolver" => "lookout asks the name servers of the system",
            "store-cookies" => "lookout keeps no cookies",
            "network" => "only means something for icmp",
            _ => "is no field of a client this importer knows",
        };
        output.notes.not_carried(&place, &format!("client.{key}"), advice);
    }
    timeout.unwrap_or(TIMEOUT)
}

#[cfg(test)]
mod tests;
