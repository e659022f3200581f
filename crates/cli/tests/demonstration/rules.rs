//! What Prometheus itself says of its configuration, the alert rules and their tests.

use crate::config::files;
use crate::program::{succeed, tool};

#[test]
fn prometheus_takes_its_configuration_and_the_rules_it_names() {
    for file in files("deploy/prometheus", "prometheus.yml") {
        let said = succeed(tool("promtool").args(["check", "config"]).arg(&file));
        assert!(said.contains("SUCCESS"), "{said}");
    }
    for file in files("deploy/prometheus", ".rules.yml") {
        let said = succeed(tool("promtool").args(["check", "rules"]).arg(&file));
        assert!(said.contains("rules found"), "{said}");
    }
}

#[test]
fn the_alert_rules_fire_when_they_should_and_not_before() {
    let tests = files("deploy/prometheus", ".rules.test.yml");
    let rules = files("deploy/prometheus", ".rules.yml");
    assert_eq!(tests.len(), rules.len(), "a file of rules has no tests: {rules:?}");
    for file in tests {
        let said = succeed(tool("promtool").args(["test", "rules"]).arg(&file));
        assert!(said.contains("SUCCESS"), "{said}");
    }
}
