use std::time::Duration;

use common::{Connection, EndpointSpec, Goal, Interval, Method, Source, StatusRange};
use proptest::prelude::*;

use super::*;

pub(super) fn read(text: &str) -> Result<TargetList, ConfigErrors> {
    parse("c.yaml", text.as_bytes(), Mode::Service, &Defaults::default())
}

pub(super) fn list(text: &str) -> TargetList {
    read(text).unwrap_or_else(|errors| panic!("{text}\n{errors}"))
}

pub(super) fn errors(text: &str) -> Vec<String> {
    match read(text) {
        Ok(list) => panic!("accepted: {list:?}"),
        Err(errors) => errors.lines().to_vec(),
    }
}

/// The errors of one otherwise good target with these fields.
pub(super) fn target_errors(fields: &str) -> Vec<String> {
    errors(&format!("- {{name: a, url: \"http://a/\", {fields}}}"))
}

/// The one error of a target with these fields, without its place.
pub(super) fn rule(fields: &str) -> String {
    let lines = target_errors(fields);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let (place, rule) = lines[0].split_once(": ").unwrap();
    // At the field or its value, or at the target where something of it is missing.
    let column: usize = place.strip_prefix("c.yaml:1:").unwrap().parse().unwrap();
    assert!(column >= "- {name: a, url: \"http://a/\", ".len(), "{lines:?}");
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
fn for_once_no_interval_clips_a_default_timeout() {
    let text = "- {name: a, url: http://a/, interval: 2s}\n- {name: b, url: http://b/, interval: 2s, timeout: 1s}\n";
    let list = parse("c.yaml", text.as_bytes(), Mode::OneOff, &Defaults::default()).unwrap();
    let timeouts: Vec<_> = list.targets.iter().map(|target| target.timeout).collect();
    assert_eq!(timeouts, [Defaults::TIMEOUT, Duration::from_secs(1)]);
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
fn ten_thousand_targets_fit() {
    let text: String = (0..10_000)
        .map(|n| format!("- name: target {n}\n  url: http://a/{n}\n  interval: 30s\n  labels: {{team: a}}\n"))
        .collect();
    assert_eq!(list(&text).targets.len(), 10_000);
}

#[test]
fn the_examples_for_a_service_are_read_without_a_doubt() {
    for (name, targets, services) in [("service.yaml", 3, 2), ("demo.yaml", 4, 4), ("demo-local.yaml", 4, 4)] {
        let path = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
        let list = super::read(&path, Mode::Service, &Defaults::default()).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(list.warnings, Vec::<String>::new(), "{name}");
        assert_eq!((list.targets.len(), list.services.len()), (targets, services), "{name}");
        assert!(list.targets.iter().all(|target| target.service.is_some()), "{name}");
    }
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
                "targets: ", "defaults: ", "services: ", "objective: ", "endpoints: ", "${", "}", "${A}", "$${", "labels: ", "expect_status: ", "expect: ", "json: ", "$.a", "any: ", "200-299", "|\n", ": ",
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
