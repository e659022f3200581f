//! What it reads: lists, flags, and results recorded elsewhere.

use std::fs;
use std::path::Path;
use std::process::Command;

use demo::faults::FaultServer;
use serde_json::{Value, json};

use crate::support::{List, assert_adds_up, lines, stderr, text};

#[test]
fn an_unusable_file_is_refused_with_all_its_problems_and_nothing_is_requested_c01_to_c29() {
    let server = FaultServer::start_on_thread().unwrap();
    let url = server.url("/ok");
    let refused = |yaml: &str, expected: &[&str]| {
        let list = List::new(yaml.replace("URL", &url));
        for arguments in ["-f 1 -r 1 list.yaml", "--validate list.yaml", "--results - list.yaml"] {
            list.assert_refused(arguments, expected);
        }
    };
    for empty in ["", "# nothing yet\n", "version: 1\n"] {
        refused(empty, &["no targets defined (an explicit [] is valid)"]);
    }
    refused(
        "- name: a\n  headers: {x: \"s3cret\n",
        &["list.yaml:2:16: not valid YAML: unclosed quote", "    headers: {·: \"······", "                 ^"],
    );
    refused("- {name: a, url: 'URL'}\n---\n- b\n", &["list.yaml:3:1: one document expected, second starts at line 2"]);
    refused("- {name: a, name: b, url: 'URL'}\n", &["list.yaml:1:13: [0].name: is given twice: line 1 and line 1"]);
    refused("oops", &["list.yaml:1:1: expected a list of targets, found a text"]);
    refused(
        "- {name: ok, url: 'URL'}\n- {name: a}\n- url: htp://me:s3cret@h/\n  name: ''\n- {name: b, url: 'http://:80'}\n\
         - {name: c, url: 'URL', method: GETT, timeout: 30sec, headers: {Host: s3cret}}\n",
        &[
            "warning: list.yaml:6:3: [4].url: the same URL is watched twice: line 1 and line 6",
            "list.yaml:2:3: [1].url: is missing",
            "list.yaml:3:8: [2].url: \"htp://***@h/\" has the scheme \"htp\": only http and https are probed",
            "list.yaml:4:9: [2].name: \"\" is blank",
            "list.yaml:5:18: [3].url: \"http://:80\" has no host",
            "[4].method: \"GETT\" is no method that is sent",
            "[4].timeout: \"30sec\" is not a duration",
            "[4].headers.Host: is set by the connection itself",
        ],
    );
    let list = List::new("[]");
    list.assert_refused("nowhere.yaml", &["cannot read nowhere.yaml: not found"]);
    list.assert_refused(".", &["cannot read .: is a directory"]);
    fs::write(list.0.path().join("latin1.yaml"), b"- \xff").unwrap();
    list.assert_refused("latin1.yaml", &["latin1.yaml: not UTF-8 at byte 2"]);
    assert!(server.log().is_empty(), "{:?}", server.log());
}

#[test]
fn unusable_flags_are_named_together_with_the_problems_of_the_file() {
    let list = List::new("- {name: a}\n");
    list.assert_refused(
        "-f 0 -r x --degraded-after -1 list.yaml",
        &[
            "--health-check-frequency (-f): \"0\" is below the minimum 1s",
            "--run-duration (-r): \"x\" is not a duration",
            "--degraded-after: \"-1\" is below the minimum 1ms",
            "list.yaml:1:3: [0].url: is missing",
        ],
    );
    for arguments in ["", "--format xml list.yaml", "--fail-on up list.yaml", "--results list.yaml", "a.yaml b.yaml"] {
        let output = list.lookout(arguments, b"");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments}");
    }
}

#[test]
fn what_a_service_would_refuse_is_a_warning_c11_c19_c20() {
    let server = FaultServer::start_on_thread().unwrap();
    let url = server.url("/ok");
    let list = List::new(format!("- {{name: a, url: '{url}', intervall: 1m}}\n- {{name: a, url: '{url}'}}\n"));
    let warnings = [
        "warning: list.yaml:1:",
        "[0].intervall: unknown field; did you mean `interval`?",
        "warning: list.yaml:2:3: [1]: the key \"a\" is taken: line 1 and line 2",
        "[1].url: the same URL is watched twice: line 1 and line 2",
    ];
    let valid = list.lookout("--validate list.yaml", b"");
    assert_eq!((valid.status.code(), text(&valid).as_str()), (Some(0), ""));
    assert!(server.log().is_empty(), "--validate asks nobody");
    assert!(stderr(&valid).ends_with("list.yaml: nothing is wrong; 2 endpoints\n"), "{}", stderr(&valid));
    let ran = list.lookout("-f 1 -r 1 --format json list.yaml", b"");
    assert_eq!(ran.status.code(), Some(0));
    for said in [stderr(&valid), stderr(&ran)] {
        assert_eq!(said.lines().count(), 4, "{said}");
        assert!(warnings.iter().all(|warning| said.contains(warning)), "{said}");
    }
    // Both are asked, and both count.
    assert_eq!(server.log().len(), 2);
    assert_adds_up(&lines(&ran)[1], 2);
}

#[test]
fn a_mapping_with_targets_is_the_same_list_and_an_explicit_empty_one_is_valid() {
    let server = FaultServer::start_on_thread().unwrap();
    let list =
        List::new(format!("version: 1\ntargets:\n  - {{name: a, url: '{}'}}\nservices: []\n", server.url("/ok")));
    let output = list.lookout("-f 1 -r 1 --format json list.yaml", b"");
    assert_adds_up(&lines(&output)[1], 1);
    let empty = List::new("[]").lookout("-f 1 -r 1 --format json list.yaml", b"");
    assert_eq!(empty.status.code(), Some(0), "{}", stderr(&empty));
    assert_eq!(lines(&empty)[1]["domains"], json!({}));
}

#[test]
fn secrets_are_sent_and_never_shown() {
    let server = FaultServer::start_on_thread().unwrap();
    let url = server.url("/status/401").replace("http://", "http://me:s3cret@");
    let list =
        List::new(format!("- {{name: a, url: '{url}', headers: {{x-key: s3cret}}, method: POST, body: s3cret}}\n"));
    for format in ["text", "json"] {
        let mut running = Command::new(env!("CARGO_BIN_EXE_lookout"));
        let arguments = ["check", "-f", "1", "-r", "1", "--format", format, "list.yaml", "--log-level", "trace"];
        let output = running.env_clear().args(arguments).current_dir(list.0.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output).contains("127.0.0.1"));
        let all = format!("{}{}", text(&output), stderr(&output));
        // bWU6czNjcmV0 is me:s3cret as it travels.
        assert!(!all.contains("s3cret") && !all.contains("bWU6czNjcmV0"), "{all}");
    }
}

const RESULTS: &str = r#"{"url": "https://svc.example.org:8443/x", "status": 200, "elapsed_ms": 12.5}
{"url": "https://svc.example.org:8443/x", "status": 200, "elapsed_ms": 500.5}

{"url": "https://elsewhere.example.org/", "status": null, "elapsed_ms": null}
"#;

#[test]
fn recorded_results_are_reported_by_the_same_rules_and_nothing_is_requested() {
    let list =
        List::new("- {name: a, url: 'https://svc.example.org:8443/x', more: [1]}\n- {name: b, url: 'http://[::1]/'}\n");
    fs::write(list.0.path().join("results.jsonl"), RESULTS).unwrap();
    let expected = json!({
        "domains": {
            "svc.example.org": {"up": 1, "degraded": 1, "down": 0, "total": 2, "availability": 50},
            "[::1]": {"up": 0, "degraded": 0, "down": 0, "total": 0, "availability": null},
        },
        "classification": ["UP", "DEGRADED", "DOWN"],
        "ignored": [2],
    });
    let reports = [
        list.lookout("--results results.jsonl list.yaml --format json", b""),
        list.lookout("--results - list.yaml --format json --fail-on down", RESULTS.as_bytes()),
    ];
    for output in reports {
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), expected);
    }
    let slower = list.lookout("--results results.jsonl --degraded-after 501 --format json list.yaml", b"");
    assert_eq!(lines(&slower)[0]["classification"], json!(["UP", "UP", "DOWN"]));
    let failed = list.lookout("--results results.jsonl --fail-on degraded list.yaml", b"");
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed).ends_with("\n3 results, 1 of them to URLs that are not in the list.\n"), "{}", text(&failed));

    fs::write(list.0.path().join("results.jsonl"), format!("{RESULTS}nonsense\n[]\n")).unwrap();
    list.assert_refused(
        "--results results.jsonl --format json list.yaml",
        &[
            "warning: list.yaml:1:",
            "results.jsonl:5: not JSON: ",
            "results.jsonl:6: expected a result such as {\"url\": ",
        ],
    );
    for (path, reason) in [("nowhere", "not found"), (".", "is a directory")] {
        let output = list.lookout(&format!("--results {path} list.yaml"), b"");
        let said = stderr(&output);
        assert_eq!((output.status.code(), text(&output).as_str()), (Some(2), ""), "{said}");
        assert_eq!(said.lines().nth(1), Some(format!("--results: cannot read {path}: {reason}").as_str()));
    }
}

#[test]
fn the_example_is_a_file_that_both_check_and_the_service_take_without_a_warning() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/check.yaml");
    let list = List::new(fs::read(&path).unwrap());
    let output = list.lookout("--validate list.yaml", b"");
    let said = "list.yaml: nothing is wrong; 4 endpoints\n";
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), said));
    let service = settings::file::read(&path, settings::Mode::Service, &settings::Defaults::default()).unwrap();
    assert_eq!((service.targets.len(), service.warnings), (4, vec![]));
}

#[test]
fn help_teaches_every_option_with_an_example() {
    let output = List::new("").lookout("--help", b"");
    let help = text(&output);
    assert!(output.status.success());
    for part in [
        "-f, --health-check-frequency <SECONDS>",
        "[default: 15]",
        "-r, --run-duration <SECONDS>",
        "--degraded-after <MILLISECONDS>",
        "[default: 500]",
        "--format <FORMAT>",
        "--fail-on <STATUS>",
        "--results <FILE>",
        "--validate",
        "[env: WORKERS_COUNT",
        "lookout check -f 5 -r 60 --fail-on down endpoints.yaml",
        "Exit status: 0",
    ] {
        assert!(help.contains(part), "{part} is not in {help}");
    }
}
