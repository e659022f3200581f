//! `lookout import` as people run it: what it writes, says and exits with.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use demo::faults::FaultServer;
use serde_json::{Value, json};

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/import").join(name)
}

fn lookout(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lookout"));
    command.args(arguments).envs(variables.iter().copied()).env_remove("LOOKOUT_CONFIG");
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn every_sample_becomes_a_file_that_check_finds_nothing_wrong_with() {
    let directory = tempfile::tempdir().unwrap();
    let modules = sample("blackbox.yml").display().to_string();
    for (tool, name, more) in [
        ("gatus", "gatus.yaml", vec![]),
        ("uptime-kuma", "kuma-backup.json", vec![]),
        ("blackbox", "prometheus.yml", vec!["--modules", &modules]),
    ] {
        let (output, secrets) =
            (directory.path().join(format!("{tool}.yaml")), directory.path().join(format!("{tool}.env")));
        let (output, secrets) = (output.display().to_string(), secrets.display().to_string());
        let file = sample(name).display().to_string();
        let mut arguments = vec!["import", tool, &file, "-o", &output, "--secrets", &secrets];
        arguments.extend(more);
        let ran = lookout(&arguments, &[]);
        let said = text(&ran.stderr);
        assert!(ran.status.success() && ran.stdout.is_empty(), "{said}");
        assert!(said.contains("Left out:") && said.contains(" targets written\n"), "{said}");
        assert!(!said.contains("not-a-real") && !fs::read_to_string(&output).unwrap().contains("not-a-real"), "{said}");

        assert_eq!(fs::metadata(&secrets).unwrap().permissions().mode() & 0o777, 0o600);
        let found: Vec<(String, String)> = dotenvy::from_path_iter(&secrets).unwrap().map(Result::unwrap).collect();
        assert!(!found.is_empty());
        let mut variables: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        variables.push(("ORDERS_TOKEN", "t"));
        let checked = lookout(&["check", "--validate", &output], &variables);
        assert!(checked.status.success(), "{}", text(&checked.stderr));
        let complaints = text(&checked.stderr);
        assert_eq!(complaints.lines().count(), 1, "{complaints}");
        assert!(complaints.contains(": nothing is wrong; "), "{complaints}");

        let again = lookout(&arguments, &[]);
        assert_eq!(again.status.code(), Some(2), "secrets are not written over a file");
        assert!(text(&again.stderr).contains("is there already and stays as it is; name a new file"));
    }
}

#[test]
fn no_file_of_secrets_is_made_where_there_are_none() {
    let directory = tempfile::tempdir().unwrap();
    let (output, secrets) = (directory.path().join("targets.yaml"), directory.path().join("env"));
    let (output, path) = (output.display().to_string(), secrets.display().to_string());
    let file = sample("prometheus.yml").display().to_string();
    let ran = lookout(&["import", "blackbox", &file, "-o", &output, "--secrets", &path], &[]);
    let said = text(&ran.stderr);
    assert!(ran.status.success() && !secrets.exists(), "{said}");
    assert!(said.contains(&format!("No secret was found, so {path} was not written.\n")), "{said}");
}

#[test]
fn what_gatus_watched_is_watched_by_check() {
    let server = FaultServer::start_on_thread().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (file, output) = (directory.path().join("gatus.yaml"), directory.path().join("targets.yaml"));
    let port = server.addr().port();
    fs::write(
        &file,
        format!(
            r#"
default-endpoint: &defaults
  group: core
  interval: 5m
  client: {{timeout: 10s}}
  alerts: [{{type: slack, send-on-resolved: true}}]
endpoints:
  - name: front-end
    <<: *defaults
    url: "http://127.0.0.1:${{PORT}}/echo?token=canary-1"
    headers: {{X-Probe: canary-2}}
    conditions: ["[STATUS] == 200", "[BODY].method == GET", "[CERTIFICATE_EXPIRATION] > 48h"]
  - name: back-end
    <<: *defaults
    url: "http://me:canary-3@127.0.0.1:{port}/ok"
    conditions: ["[STATUS] < 300", "[BODY] == pat(*nothing of the kind*)", "canary-4"]
  - name: gone
    url: "http://127.0.0.1:{port}/status/404"
    conditions: ["[STATUS] == any(200, 204)"]
  - {{name: ping, url: "icmp://127.0.0.1", conditions: ["[CONNECTED] == true"]}}
"#
        ),
    )
    .unwrap();
    let (file, output) = (file.display().to_string(), output.display().to_string());
    let secrets = directory.path().join("env");
    let ran = lookout(&["import", "gatus", &file, "-o", &output, "--secrets", secrets.to_str().unwrap()], &[]);
    let said = text(&ran.stderr);
    assert!(ran.status.success() && said.contains("3 targets written"), "{said}");

    let port = port.to_string();
    let found: Vec<(String, String)> = dotenvy::from_path_iter(&secrets).unwrap().map(Result::unwrap).collect();
    let mut variables: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    variables.push(("PORT", &port));
    let checked = lookout(&["check", "-f", "1", "-r", "1", "--format", "json", &output], &variables);
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    let report: Value = serde_json::from_str(text(&checked.stdout).lines().last().unwrap()).unwrap();
    let of = |name: &str| {
        let endpoints = report["endpoints"].as_array().unwrap();
        let endpoint = endpoints.iter().find(|endpoint| endpoint["name"] == name).unwrap();
        (endpoint["status"].clone(), endpoint["code"].clone(), endpoint["cause"].clone())
    };
    assert_eq!(of("front-end"), (json!("UP"), json!(200), Value::Null));
    assert_eq!(of("back-end"), (json!("DOWN"), json!(200), json!("assertion")));
    assert_eq!(of("gone"), (json!("DOWN"), json!(404), json!("status")));
    // The secrets got where they belong, and nowhere else.
    assert!(server.log().iter().any(|request| request.target == "/echo?token=canary-1"));
    for shown in [said, fs::read_to_string(&output).unwrap(), text(&checked.stdout), text(&checked.stderr)] {
        assert!(!shown.contains("canary-"), "{shown}");
    }
}

#[test]
fn secrets_are_read_back_as_they_were() {
    let directory = tempfile::tempdir().unwrap();
    let (file, secrets) = (directory.path().join("gatus.yaml"), directory.path().join("env"));
    let secret = r#"a"b\c'd `e` #f $$HOME é"#;
    fs::write(
        &file,
        format!("endpoints: [{{name: a, url: 'http://a', headers: {{X-Key: {}}}}}]", serde_json::json!(secret)),
    )
    .unwrap();
    let ran = lookout(&["import", "gatus", file.to_str().unwrap(), "--secrets", secrets.to_str().unwrap()], &[]);
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    assert!(text(&ran.stdout).contains("${TARGET_A_X_KEY}"), "{}", text(&ran.stdout));
    let found: Vec<_> = dotenvy::from_path_iter(&secrets).unwrap().map(Result::unwrap).collect();
    assert_eq!(found, [("TARGET_A_X_KEY".to_owned(), secret.replace("$$", "$"))]);
}

#[test]
fn unusable_input_exits_with_2_and_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let bad = directory.path().join("bad.yaml");
    fs::write(&bad, "endpoints:\n- name: a\n  url: [x]\n- url: http://b\n").unwrap();
    let output = directory.path().join("out.yaml");
    let ran = lookout(&["import", "gatus", bad.to_str().unwrap(), "-o", output.to_str().unwrap()], &[]);
    assert_eq!(ran.status.code(), Some(2));
    let said = text(&ran.stderr);
    assert!(said.contains("bad.yaml:3:8: endpoints[0].url: expected a text, found a list"), "{said}");
    assert!(said.contains("bad.yaml:4:3: endpoints[1].name: is missing"), "{said}");
    assert!(!output.exists());

    for arguments in [
        ["import", "gatus", "/no/such/file"].as_slice(),
        &["import", "gatus", directory.path().to_str().unwrap()],
        &["import", "uptime-kuma", "/no/such/file"],
        &["import", "nagios", "x"],
        &["import", "gatus", "x", "--modules", "y"],
    ] {
        let ran = lookout(arguments, &[]);
        assert_eq!(ran.status.code(), Some(2), "{arguments:?}: {}", text(&ran.stderr));
        assert!(ran.stdout.is_empty());
    }
}
