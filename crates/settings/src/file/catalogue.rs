//! The catalogue of bad configuration: what each mistake is answered with, a test a row.
//!
//! | row | where, or why not |
//! |---|---|
//! | C02, C08 | also by a real user and in a real process, in `cli/tests/catalogue.rs` |
//! | C28 | here for a file; for the API `common::address`, `api/tests/api/posted.rs` |
//! | C33, C34 | `expect/tests.rs` |
//! | C35, C37 | no windows of alerts and no thresholds: an objective has one window |
//! | C38, C42 (groups, notifiers), C43 | maintenance, groups, notifiers and dependencies do not exist |
//! | C40 | a secret may stand in the file; `${NAME}` and `${file:PATH}` keep it out (C39) |
//! | C41 | there are no client certificates |
//! | C39 | `expand/tests.rs`; C24 also in `targets.rs`, for `URLS` |
//! | C44 | `cli/tests/database.rs`, `store/tests/pool.rs`; the words also in `database.rs` |
//! | C45 | `cli/tests/up.rs`, `worker::run` |
//! | C46, C47 | `worker::config`; the descriptors in `worker/tests/limits.rs` |
//! | C48, C49 | `args.rs` |
//! | C50 | `worker/tests/reload.rs` |

use std::fs::File;
use std::io::{Error, ErrorKind};
use std::time::Duration;

use super::tests::{errors, list, rule, target_errors};
use super::*;
use crate::urls;

fn for_once(text: &str) -> Result<TargetList, ConfigErrors> {
    parse("c.yaml", text.as_bytes(), Mode::OneOff, &Defaults::default())
}

fn read_at(path: &FilePath) -> String {
    super::read(path, Mode::Service, &Defaults::default()).unwrap_err().to_string()
}

#[test]
fn c01_a_missing_file_is_named_with_the_variable() {
    assert_eq!(
        read_at(FilePath::new("/no/such/config.yaml")),
        "cannot read /no/such/config.yaml: not found (set LOOKOUT_CONFIG)"
    );
}

#[test]
fn c02_a_file_that_may_not_be_read_names_path_and_user() {
    // Whoever tests as root may read everything; `cli/tests/catalogue.rs` asks as somebody else.
    let line = no_config("config.yaml", &Error::from(ErrorKind::PermissionDenied)).to_string();
    let user = rustix::process::geteuid().as_raw();
    assert_eq!(line, format!("cannot read config.yaml: user {user} may not read it"));
}

#[test]
fn c03_a_directory_is_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    assert_eq!(read_at(path), format!("cannot read {}: is a directory", path.display()));
}

#[test]
fn c05_broken_yaml_is_shown_with_a_caret_and_without_what_may_be_secret() {
    assert_eq!(
        errors("- name: a\n  headers: {X-Key: \"s3cret\n"),
        ["c.yaml:2:20: not valid YAML: unclosed quote\n    headers: {·····: \"······\n                     ^"]
    );
    let tab = errors("- name: a\n\turl: s3cret\n");
    assert!(tab[0].starts_with("c.yaml:1:9: not valid YAML: while scanning a plain scalar, found a tab\n"), "{tab:?}");
    assert!(tab[0].ends_with("\n  - name: ·\n          ^"), "{tab:?}");
    let bracket = errors("targets: [{name: s3cret\n");
    assert!(bracket[0].starts_with("c.yaml:1:11: not valid YAML: unclosed bracket"), "{bracket:?}");
    let long = errors(&format!("- {{name: '{}', url: \"s3cret\n", "x".repeat(5_000)));
    assert!(long[0].len() < 600 && !long[0].contains("s3cret"), "{long:?}");
}

#[test]
fn c08_aliases_and_nesting_without_end_are_refused() {
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, of) in "bcdefghij".chars().zip("abcdefghi".chars()) {
        bomb.push_str(&format!("{name}: &{name} [{}]\n", format!("*{of},").repeat(10)));
    }
    for text in [bomb, "[".repeat(1_000), format!("targets: {}", "{a: ".repeat(1_000))] {
        // Unbounded, each would take hours and all memory.
        let lines = errors(&text);
        assert!(lines[0].contains("nested too deeply") || lines[0].contains("recursion limit"), "{lines:?}");
    }
}

#[test]
fn c09_a_file_that_is_too_large_is_refused_before_it_is_parsed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("big.yaml");
    File::create(&path).unwrap().set_len(100 * 1024 * 1024).unwrap();
    assert_eq!(read_at(&path), format!("{}: is over 16 MiB", path.display()));
}

#[test]
fn c10_a_header_given_twice_is_one_header_however_it_is_written() {
    assert_eq!(
        rule("headers: {X-A: s3cret, x-a: s3cret}"),
        "[0].headers.x-a: is given twice: header names are the same in any case"
    );
}

#[test]
fn c11_an_unknown_field_is_an_error_for_a_service_and_a_warning_for_once() {
    let text = "- {name: a, url: http://a/, intervall: 1m}\n";
    let line = "c.yaml:1:29: [0].intervall: unknown field; did you mean `interval`?";
    assert_eq!(errors(text), [line]);
    assert_eq!(for_once(text).unwrap().warnings, [line]);
    assert!(
        rule("colour: red").starts_with("[0].colour: unknown field; known are key, name, url, method, headers, body")
    );
    assert_eq!(
        errors("targets: []\ntarget: []\ndefaults: {method: GET, url: x}\n"),
        [
            "c.yaml:2:1: target: unknown field; did you mean `targets`?",
            "c.yaml:3:25: defaults.url: unknown field; known are interval, timeout, degraded_after, method, expect, \
             expect_status, connection",
        ]
    );
    // Other mistakes are no better for once, and warnings do not hide among them: they are told beside them.
    let errors = for_once("- {name: a, url: htp://a/, intervall: 1m}\n").unwrap_err();
    assert_eq!(errors.lines().len(), 1, "{errors}");
    assert_eq!(errors.warnings(), ["c.yaml:1:28: [0].intervall: unknown field; did you mean `interval`?"]);
    let mut problems = crate::Problems::new();
    problems.file(&errors);
    let told = problems.finish().unwrap_err();
    assert!(told.lines()[0].starts_with("warning: c.yaml:1:28: ") && told.lines().len() == 2, "{told}");
}

#[test]
fn c15_a_negative_or_zero_interval_names_the_minimum() {
    for text in ["-5", "0", "-1h", "0s"] {
        assert_eq!(rule(&format!("interval: {text}")), format!("[0].interval: \"{text}\" is below the minimum 1s"));
    }
    assert_eq!(rule("timeout: 0"), "[0].timeout: \"0\" is below the minimum 1ms");
}

#[test]
fn c16_a_duration_beyond_all_bounds_names_the_maximum() {
    for text in ["25h", "99999999999999999999999"] {
        assert_eq!(rule(&format!("interval: {text}")), format!("[0].interval: \"{text}\" is over the maximum 24h"));
    }
    assert_eq!(rule("degraded_after: 24h1ms"), "[0].degraded_after: \"24h1ms\" is over the maximum 24h");
}

#[test]
fn c17_an_interval_below_a_second_names_the_minimum() {
    assert_eq!(
        errors("targets:\n  - name: a\n    url: http://a/\n    interval: \"5ms\"\n"),
        ["c.yaml:4:15: targets[0].interval: \"5ms\" is below the minimum 1s"]
    );
    assert_eq!(rule("interval: 999ms"), "[0].interval: \"999ms\" is below the minimum 1s");
}

#[test]
fn c19_for_once_two_targets_of_one_name_are_a_warning() {
    let list = for_once("- {name: a, url: http://a/}\n- {name: a, url: http://b/}\n").unwrap();
    assert_eq!(list.targets.len(), 2);
    assert_eq!(
        list.warnings,
        ["c.yaml:2:3: [1]: the key \"a\" is taken: line 1 and line 2; give one of them another name or `key`"]
    );
}

/// The error of a target with this URL.
fn url_error(url: &str) -> String {
    let lines = errors(&format!("- {{name: a, url: '{url}'}}"));
    assert_eq!(lines.len(), 1, "{lines:?}");
    let rule = lines[0].strip_prefix(&format!("c.yaml:1:18: [0].url: {:?} ", urls::redact(url)));
    rule.unwrap_or_else(|| panic!("{lines:?}")).to_owned()
}

#[test]
fn c22_other_schemes_are_refused_with_those_that_are_probed() {
    for (url, scheme) in [
        ("htp://a/", "htp"),
        ("ftp://a/", "ftp"),
        ("file:///etc/passwd", "file"),
        ("javascript:alert(1)", "javascript"),
    ] {
        assert_eq!(url_error(url), format!("has the scheme {scheme:?}: only http and https are probed"));
    }
    assert_eq!(url_error("a.example"), "has no scheme: write http:// or https:// in front");
}

#[test]
fn c23_a_host_or_port_that_is_none_is_named() {
    assert_eq!(url_error("http://:80"), "has no host");
    assert_eq!(url_error("http://"), "has no host");
    assert_eq!(url_error("http://a:0"), "has port 0, which no server listens on");
    assert_eq!(url_error("http://a:70000"), "has a port outside 1 to 65535");
}

#[test]
fn c25_host_names_are_normalised_or_refused_by_length() {
    assert!(list("- {name: a, url: 'http://bücher.example./'}").warnings.is_empty());
    assert!(list("- {name: a, url: 'http://xn--bcher-kva.example/'}").warnings.is_empty());
    let rule = "has a host label over 63 characters or a host over 253";
    assert_eq!(url_error(&format!("http://{}.org/", "a".repeat(64))), rule);
    let long = format!("- {{name: a, url: 'http://{}org/'}}", "abc.".repeat(75));
    assert!(errors(&long)[0].ends_with(rule));
}

#[test]
fn c26_an_address_without_brackets_or_with_a_zone_is_shown_the_form() {
    assert_eq!(url_error("http://::1/"), "has an IPv6 address without brackets: write it like http://[::1]/");
    assert!(url_error("http://[fe80::1%25eth0]/").ends_with("write it without a zone, like http://[::1]/"));
}

#[test]
fn problems_of_every_kind_are_reported_at_once() {
    let text = "\
version: 2
defaults: {interval: 1d}
services: [{name: shop, objective: 0.999}]
targets:
  - {name: a, url: 'htp://a/', method: GETT, expect_status: 99}
  - {name: a, url: 'http://a/', headers: {'X A': 1, Host: x}, timeout: 1h}
";
    let places: Vec<String> =
        errors(text).iter().map(|line| line.splitn(5, ':').skip(1).take(3).collect::<Vec<_>>().join(":")).collect();
    assert_eq!(
        places,
        [
            "1:10: version",
            "2:22: defaults.interval",
            "3:36: services[0].objective",
            "5:20: targets[0].url",
            "5:40: targets[0].method",
            "5:61: targets[0].expect_status",
            "6:43: targets[1].headers",
            "6:53: targets[1].headers.Host",
            "6:72: targets[1].timeout",
        ]
    );
}

#[test]
fn c04_an_empty_file_has_no_targets_but_an_explicit_empty_list_is_valid() {
    for text in ["", "# nothing yet\n", "---\n", "version: 1\n", "targets:\n", "{}"] {
        let errors = errors(text);
        assert!(errors[0].contains("no targets defined"), "{errors:?}");
    }
    assert!(list("[]").targets.is_empty());
    assert!(list("version: 1\ntargets: []\n").targets.is_empty());
}

#[test]
fn c06_a_second_document_is_refused() {
    assert_eq!(
        errors("- {name: a, url: http://a/}\n---\n- b\n"),
        ["c.yaml:3:1: one document expected, second starts at line 2"]
    );
}

#[test]
fn c07_only_utf8_is_read_with_or_without_a_byte_order_mark() {
    let defaults = Defaults::default();
    let bytes = |text: &[u8]| parse("c.yaml", text, Mode::Service, &defaults).map_err(|e| e.to_string());
    assert_eq!(bytes(b"- \xff").unwrap_err(), "c.yaml: not UTF-8 at byte 2");
    assert_eq!(bytes(b"\xff\xfe-\0").unwrap_err(), "c.yaml: not UTF-8 at byte 0");
    assert!(bytes(b"\xef\xbb\xbf- {name: a, url: http://a/}").is_ok());
}

#[test]
fn c10_a_key_given_twice_names_both_lines() {
    assert_eq!(
        errors("- name: a\n  url: http://a/\n  name: b\n"),
        ["c.yaml:3:3: [0].name: is given twice: line 1 and line 3"]
    );
    assert_eq!(rule("headers: {X-A: s3cret, X-A: s3cret}"), "[0].headers.X-A: is given twice: line 1 and line 1");
}

#[test]
fn c12_a_value_of_the_wrong_type_says_what_is_expected() {
    let cases = [
        ("interval: [30]", "[0].interval: expected a duration, found a list"),
        ("timeout: {a: 1}", "[0].timeout: expected a duration, found a mapping"),
        ("interval: ", "[0].interval: expected a duration, found nothing"),
        ("headers: [a]", "[0].headers: expected a mapping of texts, found a list"),
        ("headers: {X-A: [s3cret]}", "[0].headers.X-A: expected a text, found a list"),
        ("body: {s3cret: 1}", "[0].body: expected a text (quote it, or write it as a block after |), found a mapping"),
        ("labels: {a: ~}", "[0].labels.a: expected a text, found nothing"),
        ("[a]: 1", "[0]: expected a text as a key"),
        (
            "interval: true",
            "[0].interval: \"true\" is not a duration: write 500ms, 1s, 5m or 1h; \
          a bare number is seconds",
        ),
    ];
    for (fields, expected) in cases {
        assert_eq!(rule(fields), expected);
    }
    assert_eq!(errors("7"), ["c.yaml:1:1: expected a list of targets, found a number"]);
    assert_eq!(errors("targets: 7"), ["c.yaml:1:10: targets: expected a list of targets, found a number"]);
    assert_eq!(
        errors("{targets: [], services: x, version: 2}"),
        [
            "c.yaml:1:25: services: expected a list of services, found a text",
            "c.yaml:1:37: version: \"2\" is no version this release reads: write 1",
        ]
    );
}

#[test]
fn c13_a_number_without_a_unit_is_seconds() {
    let list = list("- {name: a, url: http://a/, interval: 30, timeout: 0.5}");
    assert_eq!(list.targets[0].interval.duration(), Duration::from_secs(30));
    assert_eq!(list.targets[0].timeout, Duration::from_millis(500));
}

#[test]
fn c14_what_is_no_duration_shows_the_grammar() {
    for text in ["30sec", "1h-5m", "NaN", ".nan", "1e9h", "1e999"] {
        assert_eq!(
            rule(&format!("interval: {text}")),
            format!(
                "[0].interval: \"{text}\" is not a duration: write 500ms, 1s, 5m or 1h; \
                 a bare number is seconds"
            )
        );
    }
}

#[test]
fn c18_an_explicit_timeout_above_the_interval_is_refused_and_a_default_one_clipped() {
    assert_eq!(rule("interval: 5s, timeout: 6s"), "[0].timeout: \"6s\" is above the interval 5s");
    assert_eq!(rule("timeout: 30s"), "[0].timeout: \"30s\" is above the interval 10s");
    let errors = errors("defaults: {interval: 5s, timeout: 6s}\ntargets: []");
    assert_eq!(errors, ["c.yaml:1:35: defaults.timeout: \"6s\" is above the interval 5s"]);
    let clipped = list("- {name: a, url: http://a/, interval: 2s}");
    assert_eq!(clipped.targets[0].timeout, Duration::from_secs(2));
    let longer = list("defaults: {timeout: 30s}\ntargets: [{name: a, url: \"http://a/\", interval: 1m}]");
    assert_eq!(longer.targets[0].timeout, Duration::from_secs(30));
}

#[test]
fn c19_two_targets_of_one_key_name_both_lines() {
    assert_eq!(
        errors("- {name: a, url: http://a/}\n- {name: b, key: a, url: http://b/}\n"),
        ["c.yaml:2:3: [1]: the key \"a\" is taken: line 1 and line 2; give one of them another name or `key`"]
    );
    assert_eq!(
        errors("- {name: a, url: http://a/}\n- {name: a, key: b, url: http://b/}\n"),
        ["c.yaml:2:3: [1]: the name \"a\" is taken: line 1 and line 2; give one of them another"]
    );
}

#[test]
fn c20_the_same_url_twice_is_a_warning() {
    let twice = list("- {name: a, url: http://a/}\n- {name: b, url: http://a/}\n");
    assert_eq!(twice.warnings, ["c.yaml:2:3: [1].url: the same URL is watched twice: line 1 and line 2"]);
    let methods = list("- {name: a, url: http://a/}\n- {name: b, url: http://a/, method: POST}\n");
    assert!(methods.warnings.is_empty());
}

#[test]
fn c21_a_missing_or_blank_name_or_url_names_the_field() {
    assert_eq!(errors("- {key: k}"), ["c.yaml:1:3: [0].name: is missing", "c.yaml:1:3: [0].url: is missing"]);
    assert_eq!(
        errors("- {name: ' ', url: ''}\n- {name: a, url: 'http://a b/'}\n"),
        [
            "c.yaml:1:10: [0].name: \" \" is blank",
            "c.yaml:1:20: [0].url: \"\" is empty",
            "c.yaml:2:18: [1].url: \"http://a b/\" contains white space",
        ]
    );
    assert_eq!(
        errors("- {name: \"a\\0b\", url: http://a/}"),
        ["c.yaml:1:10: [0].name: \"a\\0b\" has a line break or another control character"]
    );
    assert_eq!(
        errors("- {name: a, url: http://a/, method: 'http://me:s3cret@b/?token=s3cret'}")[0].matches("s3cret").count(),
        0,
        "a URL in the wrong place"
    );
    assert_eq!(
        errors("- {name: .., key: ., url: http://a/}"),
        [
            "c.yaml:1:10: [0].name: \"..\" is a step in a path, so no address of it would work",
            "c.yaml:1:19: [0].key: \".\" is a step in a path, so no address of it would work",
        ]
    );
}

#[test]
fn c24_a_password_in_a_url_is_accepted_with_a_warning_and_never_shown() {
    let list = list("- {name: a, url: 'http://me:s3cret@a/'}");
    assert_eq!(list.targets[0].url.credentials(), Some(("me", "s3cret")));
    assert!(list.warnings[0].contains("`headers:` is a better place"));
    assert!(!format!("{list:?}").contains("s3cret"));
}

#[test]
fn c27_an_address_in_an_unusual_form_is_shown_in_its_usual_one() {
    let list = list("- {name: a, url: 'http://0177.1/'}");
    assert_eq!(list.warnings, ["c.yaml:1:18: [0].url: is the address 127.0.0.1"]);
}

#[test]
fn c28_where_a_cloud_gives_away_credentials_is_never_asked_and_a_file_may_name_private_addresses() {
    for host in ["169.254.169.254", "0xA9FEA9FE", "[fd00:ec2::254]", "168.63.129.16"] {
        let found = errors(&format!("- {{name: a, url: 'http://{host}/latest'}}"));
        assert!(found.len() == 1 && found[0].contains("never probed"), "{host}: {found:?}");
    }
    list("- {name: a, url: 'http://10.0.0.1/'}\n- {name: b, url: 'http://localhost/'}");
}

#[test]
fn c29_only_methods_that_are_sent_are_accepted() {
    for method in ["GETT", "get", "CONNECT", "TRACE", ""] {
        assert_eq!(
            rule(&format!("method: '{method}'")),
            format!(
                "[0].method: {method:?} is no method that is sent: write one of \
                 GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
            )
        );
    }
}

#[test]
fn c30_headers_that_break_a_request_are_refused_and_their_values_not_shown() {
    let cases = [
        ("'X A': s3cret", ": \"X A\" is no header name: letters, digits and - without spaces"),
        ("'X:A': s3cret", ": \"X\" and more is no header name: letters, digits and - without spaces"),
        (
            "X-A: \"s3cret\\r\\nHost: x\"",
            ".X-A: the value (not shown) has a line break, which would begin another header",
        ),
        ("X-A: \"s3cret\\0\"", ".X-A: the value (not shown) has a control character"),
        ("Host: s3cret", ".Host: is set by the connection itself and cannot be given"),
        ("content-length: 5", ".content-length: is set by the connection itself and cannot be given"),
        ("Transfer-Encoding: x", ".Transfer-Encoding: is set by the connection itself and cannot be given"),
    ];
    for (header, expected) in cases {
        assert_eq!(rule(&format!("headers: {{{header}}}")), format!("[0].headers{expected}"));
    }
}

#[test]
fn c31_a_body_with_get_is_a_warning() {
    let list = list("- {name: a, url: http://a/, body: s3cret}");
    assert_eq!(list.warnings, ["c.yaml:1:35: [0].body: many servers ignore or refuse a body with GET"]);
    assert!(!format!("{list:?}").contains("s3cret"));
}

#[test]
fn c32_expected_status_codes_show_the_grammar() {
    for (value, shown) in
        [("99", "99"), ("600", "600"), ("2xx-", "2xx-"), ("'200 , abc'", "abc"), ("299-200", "299-200"), ("''", "")]
    {
        assert_eq!(
            rule(&format!("expect_status: {value}")),
            format!(
                "[0].expect_status: {shown:?} is no status code or range: write 100 to 599, \
                 such as 200, 200-299 or 200-299,301"
            )
        );
    }
    assert_eq!(target_errors("expect_status: [200, 7, 8]").len(), 2, "every entry that is wrong");
    assert!(rule("expect_status: []").contains("empty list"));
    assert!(rule("expect_status: {a: 1}").contains("found a mapping"));
}

#[test]
fn c42_a_target_of_a_service_that_is_not_listed_is_a_warning() {
    let list = list("services: [{name: search}]\ntargets: [{name: a, url: http://a/, service: serach}]\n");
    assert_eq!(
        list.warnings,
        ["c.yaml:2:11: targets[0].service: \"serach\" is none of `services:` and gets the usual objective; \
          did you mean \"search\"?"]
    );
}

#[test]
fn c36_objectives_are_percentages() {
    for (written, problem) in [
        ("0", "\"0\" promises nothing: write more than 0 and less than 100 percent, such as 99.9"),
        ("100", "\"100\" leaves no room for one failure: write more than 0 and less than 100 percent, such as 99.9"),
        ("101", "\"101\" is over 100 percent: write more than 0 and less than 100, such as 99.9"),
        ("'99,9'", "\"99,9\" has a decimal comma: write 99.9"),
        ("0.999", "\"0.999\" is a share, and objectives are in percent: write 99.9"),
        ("abc", "\"abc\" is no percentage: write one like 99.9"),
        ("[99]", "expected a percentage, found a list"),
    ] {
        assert_eq!(
            errors(&format!("targets: []\nservices:\n  - {{name: shop, objective: {written}}}\n")),
            [format!("c.yaml:3:29: services[0].objective: {problem}")]
        );
    }
    for written in ["99.9", "99.9%", "'99.9 %'"] {
        let list = list(&format!("targets: []\nservices: [{{name: shop, objective: {written}}}]\n"));
        assert_eq!(list.services[0].goal.objective_nano, Some(999_000_000), "{written}");
    }
}
