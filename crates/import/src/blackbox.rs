//! Prometheus with the blackbox exporter: `scrape_configs:`, and the exporter's `modules:` if they are given.
//!
//! Source: Prometheus, "Configuration"; blackbox_exporter, `CONFIGURATION.md`.

mod module;
mod relabel;

use std::collections::BTreeMap;
use std::time::Duration;

use settings::ConfigErrors;
use settings::file::{Fields, Node, Path, Report, Value};

use crate::Imported;
use crate::notes::Place;
use crate::source::{self, Typed};
use crate::target::{Endpoint, Output};
use crate::text::Text;
use module::Modules;
use relabel::{Labels, Rule};

/// What Prometheus does where nothing is said.
const INTERVAL: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(10);

/// How much of a scrape's time the exporter keeps to itself.
const TIMEOUT_OFFSET: Duration = Duration::from_millis(500);

/// Imports the probes of a Prometheus configuration. `modules` is the exporter's own file, with its name.
///
/// # Errors
/// A file is no YAML, no such configuration, or a field has the wrong type; with every place.
pub fn blackbox(name: &str, text: &[u8], modules: Option<(&str, &[u8])>) -> Result<Imported, ConfigErrors> {
    let root = source::document(name, text)?;
    let mut report = source::report(name);
    let mut output = Output::default();
    let modules_root = modules.map(|(name, text)| Ok((name, source::document(name, text)?))).transpose()?;
    let mut modules = Modules::default();
    if let Some((name, root)) = &modules_root {
        let mut report = source::report(name);
        modules = Modules::read(name, root, &mut output, &mut report);
        report.finish()?;
    }
    if let Some(fields) = Fields::of(&root, Path::root(), "a configuration of Prometheus", &mut report) {
        configuration(&fields, &modules, &mut output, &mut report);
    }
    report.finish()?;
    Ok(output.finish("blackbox", name))
}

fn configuration(fields: &Fields, modules: &Modules, output: &mut Output, report: &mut Report) {
    if fields.node("scrape_configs").is_none() {
        let message = "no `scrape_configs:`, so this is no configuration of Prometheus with something to watch";
        report.error(fields.node.at, &fields.path, message);
        return;
    }
    let mut times = Times { interval: INTERVAL, timeout: None };
    if let Some(global) = fields.map("global", report) {
        times = times.read(&global, report);
    }
    for (key, entry) in fields.entries() {
        if !["scrape_configs", "global"].contains(&key) {
            let place = Place::new("the whole file", entry.key_at.line);
            output.notes.not_carried(
                &place,
                key,
                "belongs to Prometheus, which can scrape the /metrics of lookout (docs/METRICS.md)",
            );
        }
    }
    let path = fields.path.field("scrape_configs");
    for (index, node) in fields.list("scrape_configs", report).iter().enumerate() {
        if let Some(fields) = Fields::of(node, path.index(index), "a scrape configuration", report) {
            job(&fields, &times, modules, output, report);
        }
    }
}

/// How often, and how long a scrape may take.
#[derive(Clone, Copy)]
struct Times {
    interval: Duration,
    timeout: Option<Duration>,
}

impl Times {
    fn read(self, fields: &Fields, report: &mut Report) -> Self {
        Self {
            interval: fields.duration("scrape_interval", report).unwrap_or(self.interval),
            timeout: fields.duration("scrape_timeout", report).or(self.timeout),
        }
    }

    /// How long the exporter gives a probe.
    fn probe(&self, module: Option<Duration>) -> Duration {
        let scrape = self.timeout.unwrap_or(TIMEOUT).min(self.interval);
        let probe = scrape.checked_sub(TIMEOUT_OFFSET).filter(|left| !left.is_zero()).unwrap_or(scrape);
        module.filter(|module| !module.is_zero()).map_or(probe, |module| module.min(probe))
    }
}

fn job(fields: &Fields, times: &Times, modules: &Modules, output: &mut Output, report: &mut Report) {
    let name = fields.text("job_name", report).unwrap_or("unnamed");
    let place = Place::new(name, fields.node.at.line);
    let times = times.read(fields, report);
    let mut base = Labels::new();
    base.insert("job".to_owned(), name.to_owned());
    base.insert("__metrics_path__".to_owned(), fields.text("metrics_path", report).unwrap_or("/metrics").to_owned());
    for (param, value) in params(fields, report) {
        base.insert(format!("__param_{param}"), value);
    }
    let Some(rules) = rules(fields, &place, output, report) else { return };
    let is_probe = base.keys().any(|label| label == "__param_target" || label == "__param_module")
        || rules.iter().any(|rule| rule.target_label == "__param_target")
        || base["__metrics_path__"] == "/probe";
    if !is_probe {
        output
            .notes
            .left_out(&place, "is a job without the blackbox exporter: lookout asks URLs, it collects no metrics");
        return;
    }
    other_fields(fields, &place, output);
    let path = fields.path.field("static_configs");
    for (index, node) in fields.list("static_configs", report).iter().enumerate() {
        let Some(group) = Fields::of(node, path.index(index), "a mapping with targets", report) else { continue };
        let mut labels = base.clone();
        labels.extend(
            group.pairs("labels", report).into_iter().map(|(name, value, _)| (name.to_owned(), value.to_owned())),
        );
        for (node, address) in group.texts("targets", report) {
            let mut labels = labels.clone();
            labels.insert("__address__".to_owned(), address.to_owned());
            let place = Place::new(address_shown(address), node.at.line);
            match relabel::apply(&rules, labels) {
                Some(labels) => target(&place, labels, &times, modules, output),
                None => output.notes.left_out(&place, "is dropped by relabel_configs"),
            }
        }
    }
}

/// A target without what may be a secret.
fn address_shown(address: &str) -> String {
    let address = address.split(['?', '#']).next().unwrap_or_default();
    match address.rsplit_once('@') {
        Some((before, host)) => format!("{}{host}", before.find("://").map_or("", |at| &before[..at + 3])),
        None => address.to_owned(),
    }
}

/// The first value of each parameter.
fn params(fields: &Fields, report: &mut Report) -> Vec<(String, String)> {
    let Some(params) = fields.map("params", report) else { return Vec::new() };
    let names: Vec<&str> = params.entries().map(|(name, _)| name).collect();
    let first = |name: &str| params.texts(name, report).first().map(|(_, value)| (*value).to_owned());
    let firsts: Vec<_> = names.iter().copied().map(first).collect();
    names.into_iter().zip(firsts).filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// The relabelling; `None` if there is a rule that cannot be followed, which is noted.
fn rules(fields: &Fields, place: &Place, output: &mut Output, report: &mut Report) -> Option<Vec<Rule>> {
    let path = fields.path.field("relabel_configs");
    let mut rules = Vec::new();
    for (index, node) in fields.list("relabel_configs", report).iter().enumerate() {
        let fields = Fields::of(node, path.index(index), "a mapping", report)?;
        match Rule::read(&fields, report) {
            Ok(rule) => rules.push(rule),
            Err(reason) => {
                output
                    .notes
                    .left_out(&place.at(node.at.line), format_args!("has a rule in relabel_configs that {reason}"));
                return None;
            }
        }
    }
    Some(rules)
}

fn other_fields(fields: &Fields, place: &Place, output: &mut Output) {
    for (key, entry) in fields.entries() {
        let advice = match key {
            "job_name" | "metrics_path" | "params" | "static_configs" | "relabel_configs" | "scrape_interval"
            | "scrape_timeout" => continue,
            key if key.ends_with("_sd_configs") => {
                "finds targets while it runs, which lookout leaves to others: have them POST each to /api/v1/targets \
                 (docs/CONFIGURATION.md), or write them down"
            }
            "metric_relabel_configs" | "sample_limit" | "honor_labels" | "honor_timestamps" => {
                "is about metrics, of which lookout collects none"
            }
            _ => "is about how Prometheus reaches the exporter, which lookout does not need",
        };
        output.notes.not_carried(&place.at(entry.key_at.line), key, advice);
    }
}

fn target(place: &Place, mut labels: Labels, times: &Times, modules: &Modules, output: &mut Output) {
    let Some(url) = labels.remove("__param_target").filter(|url| !url.is_empty()) else {
        output.notes.left_out(place, "sends no parameter `target` to the exporter, so nothing says what to ask");
        return;
    };
    let module = labels.remove("__param_module").filter(|module| !module.is_empty());
    let module = module.unwrap_or_else(|| "http_2xx".to_owned());
    // The exporter takes what has no scheme for http.
    let is_http = url.starts_with("http://") || url.starts_with("https://");
    let url = if is_http { url } else { format!("http://{url}") };
    let mut endpoint = Endpoint { url: Text::literal(&url), interval: times.interval, ..Endpoint::default() };
    let timeout = match modules.apply(&module, is_http, place, &mut endpoint, output) {
        Ok(timeout) => timeout,
        Err(reason) => {
            output.notes.left_out(place, reason);
            return;
        }
    };
    endpoint.timeout = times.probe(timeout);
    if let Some(hostname) = labels.remove("__param_hostname") {
        let advice = format!("asked for as {hostname:?}: use a URL with that host; lookout sends no other Host");
        output.notes.not_carried(place, "parameter hostname", advice);
    }
    for (label, value) in &labels {
        if let Some(param) = label.strip_prefix("__param_") {
            output.notes.not_carried(
                place,
                &format!("parameter {param}"),
                format_args!("{value:?} is nothing lookout knows"),
            );
        }
    }
    endpoint.group = labels.get("job").map(|job| Text::literal(format!("{job}, {module}")));
    let instance = labels.remove("instance").filter(|instance| !instance.is_empty());
    endpoint.name = Text::literal(address_shown(&instance.unwrap_or(url)));
    let visible: BTreeMap<_, _> = labels.into_iter().filter(|(name, _)| !name.starts_with("__")).collect();
    endpoint.labels = visible.into_iter().map(|(name, value)| (name, Text::literal(value))).collect();
    output.add(place, endpoint);
}

/// Whether a node says `false`.
fn is_false(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar(text, _) if text == "false")
}

#[cfg(test)]
mod tests;
