use super::*;

const RELABEL: &str = "
  relabel_configs:
  - {source_labels: [__address__], target_label: __param_target}
  - {source_labels: [__param_target], target_label: instance}
  - {target_label: __address__, replacement: 'blackbox:9115'}
";

fn prometheus(job: &str, modules: Option<&str>) -> Imported {
    let text = format!("scrape_configs:\n- job_name: web\n  metrics_path: /probe\n{job}{RELABEL}");
    blackbox("p.yml", text.as_bytes(), modules.map(|text| ("b.yml", text.as_bytes()))).unwrap()
}

/// What a target of a module `m` becomes, and the notes.
fn with_module(http: &str) -> (String, String) {
    let imported = prometheus(
        "  params: {module: [m]}\n  static_configs: [{targets: ['https://a']}]",
        Some(&format!("modules: {{m: {{prober: http, http: {{{http}}}}}}}")),
    );
    (imported.yaml.clone(), imported.notes.to_string())
}

#[test]
fn the_usual_relabelling_gives_url_name_and_labels() {
    let imported = prometheus(
        "  scrape_interval: 30s\n  params: {module: [http_2xx]}\n  static_configs:\n  - targets: [https://a/x, 'b:8080']\n    labels: {team: shop, __tmp: x}",
        None,
    );
    let body = imported.yaml.split_once('\n').unwrap().1;
    assert_eq!(
        body,
        "- name: https://a/x\n  url: https://a/x\n  interval: 30s\n  timeout: 9s500ms\n  labels:\n    job: web\n    team: shop\n\
         - name: b:8080\n  url: http://b:8080\n  interval: 30s\n  timeout: 9s500ms\n  labels:\n    job: web\n    team: shop\n"
    );
    assert!(imported.notes.is_empty(), "{}", imported.notes);
}

#[test]
fn other_relabelling_is_followed_too() {
    let text = "scrape_configs:
- job_name: web
  metrics_path: /probe
  static_configs: [{targets: ['https://a;http_post_2xx;Shop', 'https://b;http_2xx;Test', 'c;tcp_connect;Db']}]
  relabel_configs:
  - {source_labels: [__address__], regex: '(.*);(.*);(.*)', target_label: __param_target, replacement: '$1'}
  - {source_labels: [__address__], regex: '(.*);(.*);(.*)', target_label: __param_module, replacement: '${2}'}
  - {source_labels: [__address__], regex: '(.*);(.*);(.*)', target_label: name, replacement: '$3'}
  - {source_labels: [name], action: lowercase, target_label: instance}
  - {source_labels: [name], regex: Test, action: drop}
  - {regex: na.*, action: labeldrop}
";
    let imported = blackbox("p.yml", text.as_bytes(), None).unwrap();
    assert!(imported.yaml.contains("- name: shop\n  url: https://a\n  method: POST\n"), "{}", imported.yaml);
    assert_eq!(imported.targets, 1);
    let notes = imported.notes.to_string();
    assert!(notes.contains("is dropped by relabel_configs") && notes.contains("module tcp_connect"), "{notes}");
}

#[test]
fn jobs_that_are_no_probes_and_rules_that_cannot_be_followed_are_left_out() {
    let text = "scrape_configs:\n- job_name: node\n  static_configs: [{targets: ['a:9100']}]\n\
                - job_name: odd\n  metrics_path: /probe\n  relabel_configs: [{action: hashmod, modulus: 2}]\n\
                - job_name: found\n  metrics_path: /probe\n  file_sd_configs: [{files: [x]}]\n";
    let imported = blackbox("p.yml", text.as_bytes(), None).unwrap();
    let notes = imported.notes.to_string();
    for part in ["\"node\" (line 2)", "the action \"hashmod\"", "file_sd_configs: finds targets while it runs"] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
}

#[test]
fn what_a_module_asks_and_expects_is_carried_over() {
    let cases = [
        ("valid_status_codes: [200, 201, 401]", "status: \"200-201,401\""),
        ("valid_status_codes: []", "labels:"),
        (
            "method: POST, body: 'a=1', headers: {Content-Type: x/y}",
            "method: POST\n  headers:\n    Content-Type: x/y\n  body: a=1",
        ),
        (
            "fail_if_body_matches_regexp: ['Could not connect', 'Err.r']",
            "not_contains: Could not connect\n      not_matches: Err.r",
        ),
        ("fail_if_body_not_matches_regexp: [ok]", "body:\n      contains: ok"),
        (
            "fail_if_header_not_matches: [{header: Content-Type, regexp: json}]",
            "header:\n      content-type:\n        matches: json",
        ),
        (
            "fail_if_header_matches: [{header: A, regexp: b, allow_missing: true}]",
            "any:\n      - header:\n          a:\n            exists: false\n      - header:\n          a:\n            not_matches: b",
        ),
        ("authorization: {credentials_file: /run/t}", "authorization: \"Bearer ${file:/run/t}\""),
        ("http_headers: {X-Key: {secrets: [k3y]}}", "X-Key: \"${TARGET_HTTPS_A_X_KEY}\""),
        ("basic_auth: {username: u, password: s3cret}", "authorization: \"Basic ${TARGET_HTTPS_A_BASIC}\""),
        ("fail_if_not_ssl: true, tls_config: {insecure_skip_verify: false}", "https://a"),
    ];
    for (http, expected) in cases {
        let (yaml, notes) = with_module(http);
        assert!(yaml.contains(expected), "{http}: {yaml}");
        assert_eq!(notes, "", "{http}");
        assert!(!yaml.contains("k3y") && !yaml.contains("s3cret"));
    }
}

#[test]
fn what_a_module_has_besides_is_noted_with_its_place() {
    for (http, expected) in [
        ("no_follow_redirects: true", "300 to 399"),
        ("preferred_ip_protocol: ip4", "connects first"),
        ("tls_config: {insecure_skip_verify: true}", "tls_config.insecure_skip_verify"),
        ("basic_auth: {username: u, password_file: f}", "in files"),
        ("fail_if_ssl: true", "must not have TLS"),
        ("fail_if_body_matches_regexp: ['(?!a)']", "not understood"),
        ("proxy_url: 'http://p'", "connects directly"),
        ("nonsense: 1", "no field of an http module"),
    ] {
        let (_, notes) = with_module(http);
        assert!(notes.contains(expected), "{http}: {notes}");
    }
    assert!(with_module("no_follow_redirects: true").1.contains("\"module m in b.yml\" (line 1)"));
    let icmp =
        prometheus("  params: {module: [i]}\n  static_configs: [{targets: [a]}]", Some("modules: {i: {prober: icmp}}"));
    assert!(icmp.notes.to_string().contains("is probed with icmp"), "{}", icmp.notes);
    let none = prometheus("  params: {module: [gone]}\n  static_configs: [{targets: [a]}]", Some("modules: {}"));
    assert!(none.notes.to_string().contains("does not have"), "{}", none.notes);
    let guessed = prometheus("  params: {module: [http_login]}\n  static_configs: [{targets: [a]}]", None);
    assert!(guessed.notes.to_string().contains("--modules"), "{}", guessed.notes);
}

#[test]
fn secrets_in_targets_are_not_shown() {
    let imported = prometheus("  static_configs: [{targets: ['https://me:s3cret@a/x?token=t0ken']}]", None);
    for text in [&imported.yaml, &imported.notes.to_string()] {
        assert!(!text.contains("s3cret") && !text.contains("t0ken"), "{text}");
    }
    assert!(imported.yaml.contains("name: https://a/x\n"), "{}", imported.yaml);
}

#[test]
fn files_of_the_wrong_kind_say_so_with_the_place() {
    for (text, modules, expected) in [
        ("", None, "p.yml:1:1: expected a configuration of Prometheus, found nothing"),
        ("endpoints: []", None, "p.yml:1:1: no `scrape_configs:`"),
        ("scrape_configs: 5", None, "p.yml:1:17: scrape_configs: expected a list, found a number"),
        (
            "scrape_configs: [{job_name: a, metrics_path: [b]}]",
            None,
            "scrape_configs[0].metrics_path: expected a text, found a list",
        ),
        ("scrape_configs: []", Some("a: b"), "b.yml:1:1: no `modules:`"),
        (
            "scrape_configs: []",
            Some("modules: {m: {prober: http, timeout: soon}}"),
            "modules.m.timeout: \"soon\" is not a duration",
        ),
        (
            "scrape_configs: []",
            Some("modules: {m: {prober: http, http: {valid_status_codes: [2xx]}}}"),
            "\"2xx\" is no status code",
        ),
        ("scrape_configs: [", None, "p.yml:1:17: not valid YAML"),
    ] {
        let modules = modules.map(|text| ("b.yml", text.as_bytes()));
        let error = blackbox("p.yml", text.as_bytes(), modules).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}
