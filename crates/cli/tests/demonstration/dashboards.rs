//! The queries of Grafana's dashboards, held against a Prometheus that runs.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::config::{dashboards, every, files, yaml};
use crate::prometheus::Prometheus;
use crate::queries::{Series, complaints};

/// A query of a panel or of a variable.
struct Query {
    promql: String,
    /// Labels that the legend names.
    legend: Vec<String>,
}

/// Every query of a dashboard, with Grafana's variables replaced as they are when everything is chosen.
fn queries(dashboard: &Value) -> Vec<Query> {
    let mut variables = Vec::new();
    every("definition", dashboard, &mut variables);
    let chosen = |text: &str| {
        let names = variables.iter().filter_map(|(_, variable)| variable["name"].as_str());
        let text = names.fold(text.to_owned(), |text, name| {
            text.replace(&format!("${{{name}}}"), ".*").replace(&format!("${name}"), ".*")
        });
        ["$__rate_interval", "$__interval"].iter().fold(text, |text, interval| text.replace(interval, "1m"))
    };
    let mut panels = Vec::new();
    every("expr", dashboard, &mut panels);
    let of_panels = panels.iter().map(|(promql, panel)| Query {
        promql: chosen(promql.as_str().unwrap()),
        legend: named(panel["legendFormat"].as_str().unwrap_or_default()),
    });
    // label_values(metric, label)
    let of_variables = variables.iter().map(|(definition, _)| {
        let definition = definition.as_str().unwrap();
        let inner = definition.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let (metric, label) = inner.and_then(|inner| inner.rsplit_once(',')).unwrap_or_else(|| panic!("{definition}"));
        Query { promql: format!("group by ({}) ({})", label.trim(), chosen(metric)), legend: Vec::new() }
    });
    of_panels.chain(of_variables).collect()
}

/// The labels of `{{function}} {{code}}`.
fn named(legend: &str) -> Vec<String> {
    let parts = legend.split("{{").skip(1);
    parts.filter_map(|part| part.split_once("}}")).map(|(label, _)| label.trim().to_owned()).collect()
}

/// What is wrong with the dashboards and the alert rules where `prometheus` has what it has, in words.
/// A panel that shows nothing is wrong as well: in this demonstration each has something to show.
pub(crate) async fn all_complaints(prometheus: &Prometheus) -> Vec<String> {
    let series = prometheus.series().await;
    let mut found = Vec::new();
    for file in dashboards() {
        let dashboard = yaml(&file);
        let queries = queries(&dashboard);
        assert!(!queries.is_empty(), "{} asks nothing", file.display());
        for query in queries {
            let complaints = match complaints(&query.promql, &series) {
                none if none.is_empty() => result_complaints(prometheus, &query).await,
                some => some,
            };
            found.extend(told(&file, complaints));
        }
    }
    for file in files("deploy/prometheus", ".rules.yml") {
        let rules = yaml(&file);
        let mut asked = Vec::new();
        every("expr", &rules, &mut asked);
        for (promql, _) in asked {
            found.extend(told(&file, complaints(promql.as_str().unwrap(), &series)));
        }
    }
    found
}

fn told(file: &Path, complaints: Vec<String>) -> Vec<String> {
    let name = file.file_name().unwrap().to_string_lossy();
    complaints.into_iter().map(|complaint| format!("{name}: {complaint}")).collect()
}

async fn result_complaints(prometheus: &Prometheus, query: &Query) -> Vec<String> {
    let promql = &query.promql;
    match prometheus.query(promql).await {
        Err(error) => vec![format!("{promql}: {error}")],
        Ok(result) if result.is_empty() => vec![format!("{promql}: the answer is empty")],
        Ok(result) => {
            let lacks = |label: &&String| !result.iter().all(|series: &Series| series.contains_key(*label));
            let lacking = query.legend.iter().filter(lacks);
            lacking.map(|label| format!("{promql}: the legend names {label}, which the answer has not")).collect()
        }
    }
}

#[test]
fn every_panel_asks_a_data_source_that_is_provisioned() {
    let mut known = BTreeSet::new();
    for file in files("deploy/grafana/provisioning/datasources", ".yml") {
        let sources = yaml(&file);
        known.extend(sources["datasources"].as_array().unwrap().iter().map(|source| source["uid"].to_string()));
    }
    for file in dashboards() {
        let dashboard = yaml(&file);
        let mut asked = Vec::new();
        every("datasource", &dashboard, &mut asked);
        assert!(!asked.is_empty());
        for (source, _) in asked {
            assert!(known.contains(&source["uid"].to_string()), "{}: {source} is not among {known:?}", file.display());
        }
    }
}

#[test]
fn a_query_is_taken_from_a_panel_and_from_a_variable_with_everything_chosen() {
    let dashboard = serde_json::json!({
        "templating": {"list": [{"name": "function", "definition": "label_values(calls_total{code=\"200\"}, function)"}]},
        "panels": [{"targets": [{
            "expr": "rate(calls_total{function=~\"($function)@.*\"}[$__rate_interval])",
            "legendFormat": "{{function}} of {{ code }}",
        }]}],
    });
    let found = queries(&dashboard);
    assert_eq!(found[0].promql, "rate(calls_total{function=~\"(.*)@.*\"}[1m])");
    assert_eq!(found[0].legend, ["function", "code"]);
    assert_eq!(found[1].promql, "group by (function) (calls_total{code=\"200\"})");
}
