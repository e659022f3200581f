use std::time::Duration;

use common::{Connection, EndpointSpec, Goal, Interval, Method, Source, StatusRange};
use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Result<TargetList, ConfigErrors> {
    parse("c.yaml", text.as_bytes(), Mode::Service, &Defaults::default())
}

fn list(text: &str) -> TargetList {
    read(text).unwrap_or_else(|errors| panic!("{text}\n{errors}"))
}

fn errors(text: &str) -> Vec<String> {
    match read(text) {
        Ok(list) => panic!("accepted: {list:?}"),
        Err(errors) => errors.lines().to_vec(),
    }
}

/// The errors of one otherwise good target with these fields.
fn target_errors(fields: &str) -> Vec<String> {
    errors(&format!("- {{name: a, url: \"http://a/\", {fields}}}"))
}

/// The one error of a target with these fields, without its place.
fn rule(fields: &str) -> String {
    let lines = target_errors(fields);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let (_, rule) = lines[0].split_once(": ").unwrap();
    rule.to_owned()
}

#[test]
fn a_target_with_every_field_is_read() {
    let list = list(
        r#"
version: 1
defaults: {interval: 30s, timeout: 20, degraded_after: 250ms}
targets:
  - key: orders
    name: Place an order
    url: https://shop.example/orders
    method: POST
    headers:
      X-Api-Key: s3cret
      Accept: application/json
    body: '{"id": 1}'
    interval: 1m
    timeout: 2.5
    degraded_after: 1s
    expect_status: [201, 300-399, "404,410"]
    connection: reuse
    service: shop
    labels: {team: no, version: 1.10}
  - name: 404
    url: http://a/
    interval: 5
"#,
    );
    assert!(list.warnings.is_empty(), "{:?}", list.warnings);
    let [orders, plain] = list.targets.as_slice() else { panic!("{list:?}") };
    assert_eq!((orders.key.as_str(), orders.name.as_str()), ("orders", "Place an order"));
    assert_eq!(orders.url.as_written(), "https://shop.example/orders");
    assert_eq!(orders.method, Method::Post);
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(orders.headers, [header("X-Api-Key", "s3cret"), header("Accept", "application/json")]);
    assert_eq!(orders.body.as_deref(), Some("{\"id\": 1}"));
    assert_eq!(orders.interval, Interval::new(Duration::from_secs(60)).unwrap());
    assert_eq!(orders.timeout, Duration::from_millis(2_500));
    assert_eq!(orders.degraded_after, Duration::from_secs(1));
    let ranges: Vec<_> = orders.expect_status.iter().map(ToString::to_string).collect();
    assert_eq!(ranges, ["201", "300-399", "404", "410"]);
    assert_eq!(orders.connection, Connection::Reuse);
    assert_eq!(orders.service.as_deref(), Some("shop"));
    assert_eq!(orders.labels["team"], "no");
    assert_eq!(orders.labels["version"], "1.10");
    assert_eq!(orders.source, Source::File);

    assert_eq!((plain.key.as_str(), plain.name.as_str()), ("404", "404"));
    assert_eq!(plain.timeout, Duration::from_secs(5), "clipped to the interval");
    assert_eq!(plain.degraded_after, Duration::from_millis(250));
    assert_eq!(plain.expect_status, [StatusRange::SUCCESS]);
    assert_eq!(plain.method, Method::Get);
}

#[test]
fn every_problem_of_a_file_is_reported_with_its_place() {
    let text = "\
targets:
  - name: a
    url: htp://me:s3cret@h/
    intervall: 1m
  - {name: b, url: http://b/, interval: 5ms}
  - url: http://c/
    headers: {Authorization: s3cret, Host: x}
  - oops
";
    assert_eq!(
        errors(text),
        [
            "c.yaml:3:10: targets[0].url: \"htp://***@h/\" has the scheme \"htp\": \
             only http and https are probed",
            "c.yaml:4:5: targets[0].intervall: unknown field; did you mean `interval`?",
            "c.yaml:5:41: targets[1].interval: \"5ms\" is below the minimum 1s",
            "c.yaml:6:5: targets[2].name: is missing",
            "c.yaml:7:38: targets[2].headers.Host: is set by the connection itself and cannot be given",
            "c.yaml:8:5: targets[3]: expected a mapping with name and url, found a text",
        ]
    );
}

#[test]
fn a_missing_file_is_named_with_the_variable_c01() {
    let errors = super::read(FilePath::new("/no/such/config.yaml"), Mode::Service, &Defaults::default());
    assert_eq!(errors.unwrap_err().to_string(), "cannot read /no/such/config.yaml: not found (set LOOKOUT_CONFIG)");
}

#[test]
fn a_directory_is_no_file_c03() {
    let directory = tempfile::tempdir().unwrap();
    let errors = super::read(directory.path(), Mode::Service, &Defaults::default()).unwrap_err();
    assert!(errors.to_string().ends_with("is a directory"), "{errors}");
}

#[test]
fn an_empty_file_has_no_targets_but_an_explicit_empty_list_is_valid_c04() {
    for text in ["", "# nothing yet\n", "---\n", "version: 1\n", "targets:\n", "{}"] {
        let errors = errors(text);
        assert!(errors[0].contains("no targets defined"), "{errors:?}");
    }
    assert!(list("[]").targets.is_empty());
    assert!(list("version: 1\ntargets: []\n").targets.is_empty());
}

#[test]
fn broken_yaml_is_named_by_line_and_column_without_its_text_c05() {
    let errors = errors("- name: a\n  headers: {X-Key: \"s3cret\n");
    assert_eq!(errors, ["c.yaml:2:20: not valid YAML: unclosed quote"]);
}

#[test]
fn a_second_document_is_refused_c06() {
    assert_eq!(
        errors("- {name: a, url: http://a/}\n---\n- b\n"),
        ["c.yaml:3:1: one document expected, second starts at line 2"]
    );
}

#[test]
fn only_utf8_is_read_with_or_without_a_byte_order_mark_c07() {
    let defaults = Defaults::default();
    let bytes = |text: &[u8]| parse("c.yaml", text, Mode::Service, &defaults).map_err(|e| e.to_string());
    assert_eq!(bytes(b"- \xff").unwrap_err(), "c.yaml: not UTF-8 at byte 2");
    assert_eq!(bytes(b"\xff\xfe-\0").unwrap_err(), "c.yaml: not UTF-8 at byte 0");
    assert!(bytes(b"\xef\xbb\xbf- {name: a, url: http://a/}").is_ok());
}

#[test]
fn a_file_that_is_too_large_is_refused_before_it_is_parsed_c09() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("big.yaml");
    File::create(&path).unwrap().set_len(100 * 1024 * 1024).unwrap();
    let errors = super::read(&path, Mode::Service, &Defaults::default()).unwrap_err();
    assert!(errors.to_string().ends_with("is over 16 MiB"), "{errors}");
}

#[test]
fn a_key_given_twice_names_both_lines_c10() {
    assert_eq!(
        errors("- name: a\n  url: http://a/\n  name: b\n"),
        ["c.yaml:3:3: [0].name: is given twice: line 1 and line 3"]
    );
    assert_eq!(rule("headers: {X-A: s3cret, X-A: s3cret}"), "[0].headers.X-A: is given twice: line 1 and line 1");
}

#[test]
fn unknown_fields_are_errors_everywhere_c11() {
    assert_eq!(
        rule("colour: red"),
        "[0].colour: unknown field; known are key, name, url, method, headers, body, interval, \
         timeout, degraded_after, expect_status, connection, service, labels"
    );
    let errors = errors("targets: []\ntarget: []\ndefaults: {method: GET, url: x}\n");
    assert_eq!(
        errors,
        [
            "c.yaml:2:1: target: unknown field; did you mean `targets`?",
            "c.yaml:3:25: defaults.url: unknown field; known are interval, timeout, \
             degraded_after, method, expect_status, connection",
        ]
    );
}

#[test]
fn a_value_of_the_wrong_type_says_what_is_expected_c12() {
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
fn a_number_without_a_unit_is_seconds_c13() {
    let list = list("- {name: a, url: http://a/, interval: 30, timeout: 0.5}");
    assert_eq!(list.targets[0].interval.duration(), Duration::from_secs(30));
    assert_eq!(list.targets[0].timeout, Duration::from_millis(500));
}

#[test]
fn what_is_no_duration_shows_the_grammar_c14() {
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
fn intervals_outside_the_limits_name_the_limit_c15_c16_c17() {
    for text in ["-5", "0", "999ms"] {
        assert_eq!(rule(&format!("interval: {text}")), format!("[0].interval: \"{text}\" is below the minimum 1s"));
    }
    for text in ["25h", "99999999999999999999999"] {
        assert_eq!(rule(&format!("interval: {text}")), format!("[0].interval: \"{text}\" is over the maximum 24h"));
    }
    assert_eq!(rule("timeout: 0"), "[0].timeout: \"0\" is below the minimum 1ms");
}

#[test]
fn an_explicit_timeout_above_the_interval_is_refused_and_a_default_one_clipped_c18() {
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
fn for_once_no_interval_clips_a_default_timeout() {
    let text = "- {name: a, url: http://a/, interval: 2s}\n- {name: b, url: http://b/, interval: 2s, timeout: 1s}\n";
    let list = parse("c.yaml", text.as_bytes(), Mode::OneOff, &Defaults::default()).unwrap();
    let timeouts: Vec<_> = list.targets.iter().map(|target| target.timeout).collect();
    assert_eq!(timeouts, [Defaults::TIMEOUT, Duration::from_secs(1)]);
}

#[test]
fn two_targets_of_one_key_name_both_lines_c19() {
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
fn for_once_an_unknown_field_and_a_name_given_twice_are_warnings_c11_c19() {
    let text = "- {name: a, url: http://a/, colour: red}\n- {name: a, url: http://b/}\n";
    let list = parse("c.yaml", text.as_bytes(), Mode::OneOff, &Defaults::default()).unwrap();
    assert_eq!(list.targets.len(), 2);
    let [unknown, twice] = list.warnings.as_slice() else { panic!("{:?}", list.warnings) };
    assert!(unknown.starts_with("c.yaml:1:29: [0].colour: unknown field; known are key"), "{unknown}");
    assert!(twice.starts_with("c.yaml:2:3: [1]: the key \"a\" is taken: line 1 and line 2"), "{twice}");

    let text = "- {name: a, url: htp://a/, colour: red}\n";
    let errors = parse("c.yaml", text.as_bytes(), Mode::OneOff, &Defaults::default()).unwrap_err();
    assert_eq!(errors.lines().len(), 1, "{errors}");
}

#[test]
fn the_same_url_twice_is_a_warning_c20() {
    let twice = list("- {name: a, url: http://a/}\n- {name: b, url: http://a/}\n");
    assert_eq!(twice.warnings, ["c.yaml:2:3: [1].url: the same URL is watched twice: line 1 and line 2"]);
    let methods = list("- {name: a, url: http://a/}\n- {name: b, url: http://a/, method: POST}\n");
    assert!(methods.warnings.is_empty());
}

#[test]
fn a_missing_or_blank_name_or_url_names_the_field_c21() {
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
}

#[test]
fn urls_are_refused_by_the_part_that_is_wrong_c22_c23_c25_c26() {
    let cases = [
        ("ftp://a/", "has the scheme \"ftp\": only http and https are probed"),
        ("file:///etc/passwd", "has the scheme \"file\": only http and https are probed"),
        ("javascript:alert(1)", "has the scheme \"javascript\": only http and https are probed"),
        ("a.example", "has no scheme: write http:// or https:// in front"),
        ("http://:80", "has no host"),
        ("http://a:0", "has port 0, which no server listens on"),
        ("http://a:70000", "has a port outside 1 to 65535"),
        ("http://::1/", "has an IPv6 address without brackets: write it like http://[::1]/"),
    ];
    for (url, expected) in cases {
        let lines = errors(&format!("- {{name: a, url: '{url}'}}"));
        assert_eq!(lines, [format!("c.yaml:1:18: [0].url: {url:?} {expected}")]);
    }
    let long = format!("- {{name: a, url: 'http://{}.org/'}}", "a".repeat(64));
    assert!(errors(&long)[0].ends_with("has a host label over 63 characters or a host over 253"));
    assert!(errors("- {name: a, url: 'http://[fe80::1%25eth0]/'}")[0].contains("http://[::1]/"));
    assert!(list("- {name: a, url: 'http://bücher.example./'}").warnings.is_empty());
}

#[test]
fn a_password_in_a_url_is_accepted_with_a_warning_and_never_shown_c24() {
    let list = list("- {name: a, url: 'http://me:s3cret@a/'}");
    assert_eq!(list.targets[0].url.credentials(), Some(("me", "s3cret")));
    assert!(list.warnings[0].contains("`headers:` is a better place"));
    assert!(!format!("{list:?}").contains("s3cret"));
}

#[test]
fn an_address_in_an_unusual_form_is_shown_in_its_usual_one_c27() {
    let list = list("- {name: a, url: 'http://0177.1/'}");
    assert_eq!(list.warnings, ["c.yaml:1:18: [0].url: is the address 127.0.0.1"]);
}

#[test]
fn only_methods_that_are_sent_are_accepted_c29() {
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
fn headers_that_break_a_request_are_refused_and_their_values_not_shown_c30() {
    let cases = [
        ("'X A': s3cret", ": \"X A\" is no header name: letters, digits and - without spaces"),
        ("'X:A': s3cret", ": \"X:A\" is no header name: letters, digits and - without spaces"),
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
fn a_body_with_get_is_a_warning_c31() {
    let list = list("- {name: a, url: http://a/, body: s3cret}");
    assert_eq!(list.warnings, ["c.yaml:1:35: [0].body: many servers ignore or refuse a body with GET"]);
    assert!(!format!("{list:?}").contains("s3cret"));
}

#[test]
fn expected_status_codes_show_the_grammar_c32() {
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
fn aliases_and_merge_keys_share_fields() {
    let list = list("- &base {name: a, url: http://a/, interval: 30s}\n- {<<: *base, name: b, url: http://b/}\n");
    assert_eq!(list.targets[1].name, "b");
    assert_eq!(list.targets[1].interval.duration(), Duration::from_secs(30));
}

#[test]
fn services_say_who_answers_and_what_was_promised() {
    let list = list(
        r#"
services:
  - name: shop
    owner: {name: Shop team, email: shop@example.org}
    objective: 99.9
    window: 1h
    endpoints:
      - POST /orders
      - {resource: cart, objective: 99.5%}
  - name: search
targets:
  - {name: cart, url: http://a/}
  - {name: find, url: http://b/, service: search}
"#,
    );
    assert!(list.warnings.is_empty(), "{:?}", list.warnings);
    let [shop, search] = list.services.as_slice() else { panic!("{list:?}") };
    assert_eq!(shop.owner_name.as_deref(), Some("Shop team"));
    assert_eq!(shop.owner_email.as_deref(), Some("shop@example.org"));
    let goal = |objective, hours: u64| Goal {
        objective_nano: Some(objective),
        window: Some(Duration::from_secs(hours * 3_600)),
    };
    assert_eq!(shop.goal, goal(999_000_000, 1));
    let endpoint =
        |verb: &str, resource: &str, goal| EndpointSpec { verb: verb.into(), resource: resource.into(), goal };
    assert_eq!(
        shop.endpoints,
        [endpoint("POST", "/orders", goal(999_000_000, 1)), endpoint("GET", "cart", goal(995_000_000, 1))]
    );
    assert_eq!((search.goal, search.endpoints.len()), (Goal::default(), 0));
    assert_eq!(list.targets[0].service.as_deref(), Some("shop"), "its endpoint is listed there");
    assert_eq!(list.targets[1].service.as_deref(), Some("search"));
}

#[test]
fn every_problem_of_services_is_reported_with_its_place() {
    let text = "\
targets:
  - {name: cart, url: http://a/, service: search}
  - {name: b, url: http://b/, service: serach}
services:
  - {name: shop, owner: {email: nobody}, window: 0, endpoints: [GET, \"GET cart\", {verb: GET}, 7]}
  - {name: shop, objektive: 99}
  - {name: search, window: 9601h, endpoints: [\"GET /x\", {resource: /x}]}
  - shop
";
    assert_eq!(
        errors(text),
        [
            "c.yaml:5:33: services[0].owner.email: \"nobody\" is no address: write one like team@example.org",
            "c.yaml:5:50: services[0].window: \"0\" is below the minimum 1s",
            "c.yaml:5:65: services[0].endpoints[0]: \"GET\" is no endpoint: write one like GET /cart",
            "c.yaml:5:70: services[0].endpoints[1]: \"GET cart\" is a target, and that names the service \"search\"",
            "c.yaml:5:82: services[0].endpoints[2].resource: is missing",
            "c.yaml:5:95: services[0].endpoints[3]: \"7\" is no endpoint: write one like GET /cart",
            "c.yaml:6:5: services[1]: the service \"shop\" is given twice: line 5 and line 6",
            "c.yaml:6:18: services[1].objektive: unknown field; did you mean `objective`?",
            "c.yaml:7:28: services[2].window: \"9601h\" is over the maximum 9600h",
            "c.yaml:7:57: services[2].endpoints[1]: \"GET /x\" is given twice: line 7 and line 7",
            "c.yaml:8:5: services[3]: expected a mapping with name, found a text",
        ]
    );
}

#[test]
fn a_target_of_a_service_that_is_not_listed_is_a_warning_c42() {
    let list = list("services: [{name: search}]\ntargets: [{name: a, url: http://a/, service: serach}]\n");
    assert_eq!(
        list.warnings,
        ["c.yaml:2:11: targets[0].service: \"serach\" is none of `services:` and gets the usual objective; \
          did you mean \"search\"?"]
    );
}

#[test]
fn objectives_are_percentages_c36() {
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

#[test]
fn ten_thousand_targets_fit() {
    let text: String = (0..10_000)
        .map(|n| format!("- name: target {n}\n  url: http://a/{n}\n  interval: 30s\n  labels: {{team: a}}\n"))
        .collect();
    assert_eq!(list(&text).targets.len(), 10_000);
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse("c.yaml", &bytes, Mode::Service, &Defaults::default());
    }

    #[test]
    fn no_text_like_a_file_makes_the_reader_panic(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "- ", "name: ", "url: ", "http://a/", "interval: ", "5s", "-1", "headers: ", "{",
                "}", "[", "]", ", ", "\n", "  ", "\t", "\"", "'", "&a ", "*a", "<<: ", "!!int ",
                "targets: ", "defaults: ", "services: ", "objective: ", "endpoints: ", "${", "}", "${A}", "$${", "labels: ", "expect_status: ", "200-299", "|\n", ": ",
                "# ", "---\n", "é", "\u{0}", "~", "body: ", "key: ", "timeout: ", ".nan", "? ",
            ]),
            0..40,
        )
    ) {
        let _ = parse("c.yaml", pieces.concat().as_bytes(), Mode::OneOff, &Defaults::default());
    }

    #[test]
    fn no_mistake_shows_a_header_or_a_body(
        before in "[-a-z:{}\\[\\]\"', \n]{0,12}",
        after in "[-a-z:{}\\[\\]\"',\n]{0,12}",
    ) {
        for field in ["headers: {X-Key: ", "headers:\n    X-Key: ", "body: "] {
            let text = format!("- name: a\n  url: http://a/\n  {field}{before}s3cret{after}");
            if let Err(errors) = read(&text) {
                // Quotes and braces can turn the value into a key, and keys are shown.
                let is_key = !before.trim().is_empty() || after.contains([':', '}', ',']);
                prop_assert!(is_key || !errors.to_string().contains("s3cret"), "{text}\n{errors}");
            }
        }
    }
}
