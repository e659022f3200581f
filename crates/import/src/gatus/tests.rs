use super::*;

fn imported(text: &str) -> Imported {
    gatus("gatus.yaml", text.as_bytes()).unwrap()
}

/// The `expect:` that conditions become, and the notes.
fn expectation(conditions: &str) -> (String, String) {
    let imported = imported(&format!("endpoints: [{{name: a, url: 'http://a', conditions: [{conditions}]}}]"));
    let expect = imported.yaml.split_once("timeout: 10s\n").map(|(_, expect)| expect.to_owned()).unwrap_or_default();
    (expect, imported.notes.to_string())
}

#[test]
fn each_condition_becomes_what_means_the_same() {
    let status = "  expect:\n    status: 100-599\n";
    let cases = [
        ("'[STATUS] == 200'", "  expect:\n    status: 200\n"),
        ("'[STATUS] == any(200, 429)'", "  expect:\n    status: \"200,429\"\n"),
        ("'[STATUS] == pat(2*)'", ""),
        ("'[STATUS] < 300', '200 <= [status]'", ""),
        ("'[STATUS] != 500'", "  expect:\n    status: \"100-499,501-599\"\n"),
        (
            "'[RESPONSE_TIME] < 500', '[RESPONSE_TIME] <= 1s'",
            "  expect:\n    status: \"100-599\"\n    latency: 500ms\n",
        ),
        ("'[CONNECTED] == true'", "  expect:\n    status: \"100-599\"\n"),
    ];
    for (conditions, expected) in cases {
        let (expect, notes) = expectation(conditions);
        assert_eq!(
            expect.replace("\"100-599\"", "100-599").replace("\"200\"", "200"),
            expected.replace("\"100-599\"", "100-599"),
            "{conditions}"
        );
        assert_eq!(notes, "", "{conditions}");
    }
    let bodies = [
        ("'[BODY] == pat(*up.*)'", "body:\n      contains: up.\n"),
        ("'[BODY] != pat(*error*)'", "body:\n      not_contains: error\n"),
        ("'[BODY] != ok'", "body:\n      not_matches: \"^\\\\s*ok\\\\s*$\"\n"),
        ("'[BODY].items[*].id > 0'", "json:\n      \"$.items[*].id\":\n        \">\": 0\n"),
        ("'[BODY] == ok'", "body:\n      matches: \"^\\\\s*ok\\\\s*$\"\n"),
        ("'[BODY].status == UP'", "json:\n      \"$.status\":\n        \"==\": UP\n"),
        (
            "'[BODY].a.b[0] > 5', '[BODY].a.b[0] <= 7'",
            "json:\n      \"$.a.b[0]\":\n        \">\": 5\n        \"<=\": 7\n",
        ),
        (
            "'[BODY].n == 1', '[BODY].v != 1.0'",
            "json:\n      \"$.n\":\n        \"==\": 1\n      \"$.v\":\n        \"!=\": \"1.0\"\n",
        ),
        ("'[BODY].name == pat(john*)'", "json:\n      \"$.name\":\n        matches: \"^john\"\n"),
        ("'has([BODY].errors) == false'", "json:\n      \"$.errors\":\n        exists: false\n"),
        (
            "'[BODY].s == any(a, 1)'",
            "any:\n      - json:\n          \"$.s\":\n            \"==\": a\n      - json:\n          \"$.s\":\n            \"==\": 1\n",
        ),
    ];
    for (conditions, expected) in bodies {
        let (expect, notes) = expectation(conditions);
        assert_eq!(expect.replace("\"100-599\"", "100-599"), format!("{status}    {expected}"), "{conditions}");
        assert_eq!(notes, "", "{conditions}");
    }
}

#[test]
fn lengths_become_elements_that_are_there_or_not() {
    let exists = |path: &str, is: bool| format!("      \"{path}\":\n        exists: {is}\n");
    let cases = [
        ("> 0", exists("$.a[0]", true)),
        (">= 2", exists("$.a[1]", true)),
        ("< 3", exists("$.a[2]", false)),
        ("== 1", exists("$.a[0]", true) + &exists("$.a[1]", false)),
        ("== 0", exists("$.a[0]", false)),
    ];
    for (comparison, expected) in cases {
        let (expect, notes) = expectation(&format!("'len([BODY].a) {comparison}'"));
        assert!(expect.ends_with(&format!("json:\n{expected}")), "{comparison}: {expect}");
        assert!(notes.contains("element at that index"), "{notes}");
    }
    assert!(expectation("'len([BODY]) >= 1'").0.contains("\"$[0]\""));
}

#[test]
fn conditions_without_a_counterpart_are_noted_with_their_line() {
    for (condition, advice) in [
        ("[CERTIFICATE_EXPIRATION] > 48h", "down (tls)"),
        ("[DOMAIN_EXPIRATION] > 720h", "expires"),
        ("[IP] == 127.0.0.1", "addresses"),
        ("[BODY].a != pat(*x*)", "must not match"),
        ("[BODY].s == ${WANTED}", "compares with a variable"),
        ("[BODY] == $WANTED", "compares with a variable"),
        ("len([BODY].items[*].a) > 0", "every element"),
        ("[BODY].a == [BODY].b", "with each other"),
        ("[BODY].items[a=1].id > 0", "paths of names and numbers"),
        ("[RESPONSE_TIME] > 5", "from above"),
        ("[STATUS] == abc", "not understood"),
        ("[FOO] == 1", "no part of the answer"),
        ("nonsense", "VALUE OPERATOR VALUE"),
    ] {
        let (_, notes) = expectation(&format!("'{condition}'"));
        assert!(notes.starts_with("Not carried over:\n  condition "), "{condition}: {notes}");
        assert!(notes.contains(advice) && notes.contains("\"a\" (line 1)"), "{condition}: {notes}");
    }
    for condition in ["[CONNECTED] == false", "[STATUS] > 700", "len([BODY].a) < 0"] {
        let (yaml, notes) = expectation(&format!("'{condition}'"));
        assert_eq!(yaml, "");
        assert!(notes.starts_with("Left out:\n  condition "), "{condition}: {notes}");
    }
}

#[test]
fn what_is_no_http_or_switched_off_is_left_out() {
    let imported = imported(
        "endpoints:\n\
         - {name: off, url: 'http://a', enabled: false, conditions: []}\n\
         - {name: db, url: 'tcp://a:5432', conditions: ['[CONNECTED] == true']}\n\
         - {name: name, url: 'https://8.8.8.8', dns: {query-name: a, query-type: A}, conditions: []}\n\
         - {name: socket, url: 'wss://a', conditions: []}\n\
         external-endpoints:\n- {name: job, token: s3cret}\n\
         suites:\n- {name: tour, endpoints: []}\n",
    );
    assert!(imported.yaml.ends_with("\n[]\n"), "{}", imported.yaml);
    let notes = imported.notes.to_string();
    for part in
        ["\"off\" (line 2)", "is tcp://", "is a DNS query", "is wss://", "\"job\" (line 7)", "\"tour\" (line 9)"]
    {
        assert!(notes.contains(part), "{part}: {notes}");
    }
    assert!(!notes.contains("s3cret"));
}

#[test]
fn variables_are_passed_on_and_secrets_become_some() {
    let imported = imported(
        "endpoints:\n\
         - name: a\n  url: https://${HOST}/x\n  method: post\n  body: '{\"by\": \"[ENDPOINT_NAME]\", \"password\": \"pa55\"}'\n\
         \x20 headers: {Authorization: 'Bearer $TOKEN', X-Key: s3cret, Content-Type: application/json}\n  conditions: ['[STATUS] == 200']\n\
         - name: b\n  url: https://b\n  graphql: true\n  body: '{ user(name: \"${WHO}\") { id } }'\n  conditions: ['[STATUS] == 200']\n",
    );
    for part in [
        "https://${HOST}/x",
        "Bearer ${TOKEN}",
        "${TARGET_A_X_KEY}",
        "${TARGET_A_BODY}",
        r#"user(name: \\\"${WHO}\\\")"#,
    ] {
        assert!(imported.yaml.contains(part), "{part}: {}", imported.yaml);
    }
    for secret in ["s3cret", "pa55"] {
        assert!(!imported.yaml.contains(secret) && !imported.notes.to_string().contains(secret));
    }
    let values: Vec<_> = imported.variables.iter().map(|v| (v.name.as_str(), v.value.as_deref())).collect();
    assert_eq!(
        values,
        [
            ("HOST", None),
            ("TOKEN", None),
            ("TARGET_A_X_KEY", Some("s3cret")),
            ("TARGET_A_BODY", Some("{\"by\": \"a\", \"password\": \"pa55\"}")),
            ("WHO", None),
        ]
    );
}

#[test]
fn notes_show_no_text_that_an_answer_is_compared_with() {
    for (condition, shown) in [
        ("[BODY].token != pat(*s3cret*)", "[BODY].token != pat(…)"),
        ("[FOO] == s3cret", "… == …"),
        ("s3cret", "…"),
        ("[CERTIFICATE_EXPIRATION] > 48h", "[CERTIFICATE_EXPIRATION] > 48h"),
        ("[STATUS] == s3cret", "[STATUS] == …"),
    ] {
        let (_, notes) = expectation(&format!("'{condition}'"));
        assert!(notes.contains(&format!("condition \"{shown}\": ")), "{condition}: {notes}");
        assert!(!notes.contains("s3cret"), "{condition}: {notes}");
    }
}

#[test]
fn secrets_beside_variables_are_hidden_and_a_dollar_before_one_is_noted() {
    let imported = imported(
        "endpoints:\n\
         - name: a\n  url: 'http://u:pa55a@h:${PORT}/x?token=pa55b&id=${ID}'\n  method: POST\n  conditions: []\n\
         \x20 headers: {X-Price: '5 $$${X}', X-Key: 'pa55c-${Y}'}\n  body: '{\"password\": \"pa55d\", \"id\": ${ID}}'\n",
    );
    assert_eq!(imported.targets, 1, "{}", imported.notes);
    assert!(!imported.yaml.contains("pa55") && !imported.notes.to_string().contains("pa55"), "{}", imported.yaml);
    assert!(imported.yaml.contains("http://h:${PORT}/x?token=${TARGET_A_TOKEN}&id=${ID}"), "{}", imported.yaml);
    let notes = imported.notes.to_string();
    assert!(notes.contains("header X-Price: has a $ right before a variable"), "{notes}");
}

#[test]
fn a_file_that_is_none_of_gatus_says_so_with_the_place() {
    for (text, expected) in [
        ("", "g.yaml:1:1: expected a configuration of gatus"),
        ("- a", "g.yaml:1:1: expected a configuration of gatus, with `endpoints:`, found a list"),
        ("scrape_configs: []", "g.yaml:1:1: no `endpoints:`"),
        ("endpoints: {a: b}", "g.yaml:1:12: endpoints: expected a list, found a mapping"),
        (
            "endpoints:\n- name: a\n  url: http://a\n  interval: [30]",
            "g.yaml:4:13: endpoints[0].interval: expected a duration, found a list",
        ),
        (
            "endpoints:\n- name: a\n  url: http://a\n  interval: 30",
            "g.yaml:4:13: endpoints[0].interval: \"30\" is not a duration such as 30s",
        ),
        ("endpoints:\n- name: a\n  url: {}", "g.yaml:3:8: endpoints[0].url: expected a text, found a mapping"),
        ("endpoints:\n- url: http://a", "g.yaml:2:3: endpoints[0].name: is missing"),
        ("endpoints: [\"", "g.yaml:1:13: not valid YAML"),
        ("endpoints: 1\nendpoints: 2", "is given twice"),
    ] {
        let error = gatus("g.yaml", text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    assert!(gatus("g", b"\xff\xfe").unwrap_err().to_string().contains("not UTF-8"));
    let huge = vec![b' '; settings::file::MAX_BYTES + 1];
    assert!(gatus("g", &huge).unwrap_err().to_string().contains("over 16 MiB"));
}
