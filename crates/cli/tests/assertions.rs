//! `lookout check` holds answers against the same assertions as the service.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::{Command, Output};

use demo::faults::FaultServer;
use serde_json::Value;

/// Runs `lookout check` on a file with this text.
fn check(text: &str, options: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("targets.yaml"), text).unwrap();
    Command::new(env!("CARGO_BIN_EXE_lookout"))
        .env_clear()
        .env("LOG_LEVEL", "debug")
        .arg("check")
        .args(options)
        .arg("targets.yaml")
        .current_dir(directory.path())
        .output()
        .unwrap()
}

#[test]
fn a_failed_assertion_is_down_with_its_cause() {
    let server = FaultServer::start_on_thread().unwrap();
    let text = format!(
        "- {{name: fine, url: '{0}', expect: {{body: {{contains: ok}}}}}}\n\
         - {{name: wrong, url: '{0}', headers: {{x-key: canary}}, expect: {{json: {{$.method: GET, \"$.headers['x-key']\": x}}}}}}\n",
        server.url("/echo?ok")
    );
    let output = check(&text, &["-f", "1", "-r", "1", "--format", "json", "--fail-on", "down"]);
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let last: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    let of = |name: &str| {
        let endpoints = last["endpoints"].as_array().unwrap();
        let endpoint = endpoints.iter().find(|endpoint| endpoint["name"] == name).unwrap();
        (endpoint["status"].clone(), endpoint["cause"].clone())
    };
    assert_eq!(of("fine"), ("UP".into(), Value::Null));
    assert_eq!(of("wrong"), ("DOWN".into(), "assertion".into()));
    assert!(stderr.contains(r#"json $.headers['x-key'] == "x": is "***""#), "{stderr}");
    assert!(!stdout.contains("canary") && !stderr.contains("canary"), "{stdout}{stderr}");
}

#[test]
fn a_mistake_in_an_assertion_ends_it_before_anything_is_asked() {
    let text = "- name: a\n  url: http://127.0.0.1:1/\n  expect:\n    body: {matches: '('}\n    json: {'$.a[': 1}\n";
    let output = check(text, &["--validate"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains(
            r#"targets.yaml:4:21: [0].expect.body.matches: "(" is no regular expression: column 1: unclosed group"#
        ),
        "{stderr}"
    );
    assert!(
        stderr.contains(
            "targets.yaml:5:12: [0].expect.json: \"$.a[\" is no JSON path: column 5: expected a name in quotes"
        ),
        "{stderr}"
    );
}
