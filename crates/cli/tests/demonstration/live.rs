//! The demonstration and its neighbours, from the first scrape to an alert that comes and goes.

use std::time::Duration;

use crate::program::{lookout, succeed};
use crate::queries::Series;
use crate::stack::{Stack, eventually};
use crate::{config, dashboards};

/// All in one, because each step needs what the one before it left behind.
#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_and_alerts_traefik_routes_and_grafana_would_show_it() {
    let stack = Stack::start().await;
    everything_is_scraped(&stack).await;
    traffic_goes_through_traefik_and_its_cost_is_told(&stack).await;
    a_broken_function_fires_its_alerts(&stack).await;
    // Now, while there is an incident to show.
    every_query_of_the_dashboards_and_rules_asks_for_what_exists(&stack).await;
    stack.let_fibonacci_fail(0.0).await;
    let is_quiet = async || !is_firing(&stack, "TargetDown", "target", "fibonacci").await;
    assert!(eventually(is_quiet).await, "the alert stays: {:?}", stack.prometheus.firing().await);
}

async fn everything_is_scraped(stack: &Stack) {
    let is_scraped = async || {
        let targets = stack.prometheus.targets().await;
        !targets.is_empty() && targets.iter().all(|(_, _, health)| health.is_ok())
    };
    assert!(eventually(is_scraped).await, "not everything is scraped: {:?}", stack.prometheus.targets().await);
    let jobs: Vec<_> = stack.prometheus.targets().await.into_iter().map(|(job, _, _)| job).collect();
    for job in config::jobs() {
        assert!(jobs.contains(&job), "{job} is not among {jobs:?}");
    }
}

async fn traffic_goes_through_traefik_and_its_cost_is_told(stack: &Stack) {
    let mut traffic = lookout();
    traffic.args(["demo", "traffic", "--rate", "100", "--duration", "2s", "--seed", "7", "--url", &stack.entry]);
    let said = tokio::task::spawn_blocking(move || succeed(&mut traffic)).await.unwrap();
    assert_eq!(said.matches("unanswered × 0, unexpected × 0").count(), 3, "{said}");
    for label in ["in all", "function", "around it"] {
        assert_eq!(said.lines().filter(|line| line.trim_start().starts_with(label)).count(), 3, "{said}");
    }
    // Traefik counted the same calls, each for its own service, and both kinds.
    let counted = async || {
        let calls = r#"sum by (service, code) (traefik_service_requests_total{code=~"200|400"}) > 5"#;
        stack.prometheus.query(calls).await.unwrap().len() == 6
    };
    assert!(eventually(counted).await, "{:?}", stack.prometheus.query("traefik_service_requests_total").await);
}

async fn a_broken_function_fires_its_alerts(stack: &Stack) {
    stack.let_fibonacci_fail(1.0).await;
    let fires = async || {
        is_firing(stack, "TargetDown", "target", "fibonacci").await
            && is_firing(stack, "ServiceBelowObjective", "service", "fibonacci").await
    };
    assert!(eventually(fires).await, "fibonacci is broken, and what fires is {:?}", stack.prometheus.firing().await);
    for other in ["ackermann", "factorial", "fantastic"] {
        assert!(!is_firing(stack, "TargetDown", "target", other).await, "{other} works");
    }
}

async fn is_firing(stack: &Stack, alert: &str, label: &str, value: &str) -> bool {
    let has = |series: &Series, name: &str, value: &str| series.get(name).is_some_and(|found| found == value);
    let firing = stack.prometheus.firing().await;
    firing.iter().any(|labels| has(labels, "alertname", alert) && has(labels, label, value))
}

async fn every_query_of_the_dashboards_and_rules_asks_for_what_exists(stack: &Stack) {
    let mut complaints = Vec::new();
    // A rate needs two scrapes.
    for _ in 0..10 {
        complaints = dashboards::all_complaints(&stack.prometheus).await;
        if complaints.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("{}", complaints.join("\n"));
}
