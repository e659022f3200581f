use common::TargetSpec;
use common::expect::as_is;

use crate::file::{self, ConfigErrors, Mode};
use crate::targets::{Defaults, TargetList};

fn read(text: &str) -> Result<TargetList, ConfigErrors> {
    file::parse("c.yaml", text.as_bytes(), Mode::Service, &Defaults::default())
}

/// The one target whose `expect:` this is.
fn target(expect: &str) -> TargetSpec {
    let text = format!("- {{name: a, url: \"http://a/\", expect: {expect}}}");
    let list = read(&text).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    assert!(list.warnings.is_empty(), "{:?}", list.warnings);
    list.targets.into_iter().next().unwrap()
}

/// What it asserts, in words.
fn described(expect: &str) -> Vec<String> {
    target(expect).expect.iter().map(|expectation| expectation.describe(&as_is)).collect()
}

/// Everything that is wrong with it, without line and column.
fn rules(expect: &str) -> Vec<String> {
    let text = format!("- {{name: a, url: \"http://a/\", expect: {expect}}}");
    let errors = match read(&text) {
        Err(errors) => errors,
        Ok(list) => panic!("accepted: {:?}", list.targets[0].expect),
    };
    let line = |line: &String| line.split_once(": [0].expect").map_or(line.clone(), |(_, rule)| rule.to_owned());
    errors.lines().iter().map(line).collect()
}

fn rule(expect: &str) -> String {
    let mut rules = rules(expect);
    assert_eq!(rules.len(), 1, "{rules:?}");
    rules.remove(0)
}

#[test]
fn a_mapping_is_every_assertion_in_it() {
    let short = r#"{status: 200-299, body: {contains: "ok"}, json: {"$.status": "up", "$.queue": {"<": 100}},
        header: {Content-Type: {contains: json}}, latency: 500ms}"#;
    assert_eq!(
        described(short),
        [
            r#"body contains "ok""#,
            r#"json $.status == "up""#,
            "json $.queue < 100",
            r#"header content-type contains "json""#,
            "latency within 500 ms",
        ]
    );
    assert_eq!(target(short).expect_status, [common::StatusRange::SUCCESS]);
}

#[test]
fn every_operator_is_read() {
    let all = r#"{body: {equals: a, contains: [b, c], not_contains: d, matches: 'e+', not_matches: 'f$'},
        header: {x-a: g, x-b: {equals: h, exists: true, not_matches: i}, x-c: {exists: false}},
        json: {"$.a": {"==": 1, "!=": two, "<": 3, "<=": 4.5, ">": -6, ">=": 7e2, exists: true, matches: h},
               "$.b": true, "$.c": ~, "$.d": "7", "$.e": {exists: false}}}"#;
    assert_eq!(
        described(all),
        [
            r#"body equals "a""#,
            r#"body contains "b""#,
            r#"body contains "c""#,
            r#"body not_contains "d""#,
            r#"body matches "e+""#,
            r#"body not_matches "f$""#,
            r#"header x-a equals "g""#,
            "header x-b exists",
            r#"header x-b equals "h""#,
            r#"header x-b not_matches "i""#,
            "header x-c is absent",
            "json $.a exists",
            "json $.a == 1",
            r#"json $.a != "two""#,
            "json $.a < 3",
            "json $.a <= 4.5",
            "json $.a > -6",
            "json $.a >= 700.0",
            r#"json $.a matches "h""#,
            "json $.b == true",
            "json $.c == null",
            r#"json $.d == "7""#,
            "json $.e does not exist",
        ]
    );
}

#[test]
fn all_and_any_nest_and_a_status_within_them_is_an_assertion() {
    let target = target(
        r#"{status: "200,503", any: [{status: 200, all: [{body: {contains: a}}, {body: {contains: b}}]},
            {status: 503, body: {contains: c}}]}"#,
    );
    let json: Vec<_> = target.expect.iter().map(|expectation| expectation.to_json(&as_is).to_string()).collect();
    assert_eq!(
        json,
        [
            r#"{"any":[{"all":[{"status":"200"},{"all":[{"body":{"contains":"a"}},{"body":{"contains":"b"}}]}]},{"all":[{"status":"503"},{"body":{"contains":"c"}}]}]}"#
        ]
    );
    // What is kept of a target is read as what it was.
    assert_eq!(
        self::target(&format!(r#"{{status: "200,503", all: {}}}"#, json[0].replacen('{', "[{", 1) + "]")).expect[0],
        common::Expectation::All(target.expect)
    );
}

#[test]
fn the_defaults_of_a_file_are_taken_where_a_target_says_nothing() {
    let list = read(
        "defaults: {expect: {status: 200, latency: 1s}}\n\
         targets: [{name: a, url: http://a/}, {name: b, url: http://b/, expect: {body: {contains: x}}},\n\
         {name: c, url: http://c/, expect_status: 204}]",
    )
    .unwrap();
    let shown: Vec<_> = list
        .targets
        .iter()
        .map(|target| {
            let expect: Vec<_> = target.expect.iter().map(|expectation| expectation.describe(&as_is)).collect();
            format!("{} {}", target.expect_status[0], expect.join(", "))
        })
        .collect();
    assert_eq!(shown, ["200 latency within 1000 ms", r#"200 body contains "x""#, "204 latency within 1000 ms"]);
}

#[test]
fn the_digest_changes_with_an_assertion() {
    let digest = |expect: &str| read(&format!("- {{name: a, url: http://a/{expect}}}")).unwrap().digest;
    assert_eq!(digest(""), digest(", expect: {status: 200-299}"));
    let different = [
        digest(""),
        digest(", expect: {body: {contains: a}}"),
        digest(", expect: {body: {contains: b}}"),
        digest(", expect: {body: {equals: a}}"),
        digest(", expect: {latency: 1s}"),
        digest(r#", expect: {json: {"$.a": 1}}"#),
        digest(r#", expect: {json: {"$.a": "1"}}"#),
    ];
    let distinct: std::collections::HashSet<_> = different.iter().collect();
    assert_eq!(distinct.len(), different.len());
}

#[test]
fn expected_status_codes_show_the_grammar_c32() {
    for value in ["99", "600", "2xx-", "'200 , abc'"] {
        let shown = if value.contains("abc") { "abc" } else { value };
        let grammar = "is no status code or range: write 100 to 599, such as 200, 200-299 or 200-299,301";
        assert_eq!(rule(&format!("{{status: {value}}}")), format!(".status: {shown:?} {grammar}"));
        assert_eq!(rule(&format!("{{any: [{{status: {value}}}]}}")), format!(".any[0].status: {shown:?} {grammar}"));
    }
    let errors = read("- name: a\n  url: http://a/\n  expect_status: 200\n  expect: {status: 201}\n").unwrap_err();
    assert_eq!(errors.lines(), ["c.yaml:3:18: [0].expect_status: is given twice: here and as `expect.status`"]);
}

#[test]
fn c33_a_bad_pattern_is_named_by_line_and_column_and_by_its_own_column() {
    let errors = read("- name: a\n  url: http://a/\n  expect:\n    body:\n      matches: 'a(b'\n").unwrap_err();
    assert_eq!(
        errors.lines(),
        [r#"c.yaml:5:16: [0].expect.body.matches: "a(b" is no regular expression: column 2: unclosed group"#]
    );
    assert_eq!(
        rule(r"{header: {x: {not_matches: ['a', '(?=b)']}}}"),
        ".header.x.not_matches[1]: \"(?=b)\" is no regular expression: column 1: look-around, including \
         look-ahead and look-behind, is not supported"
    );
    assert_eq!(
        rule(r"{json: {$.a: {matches: '(a{1000}){1000}'}}}"),
        ".json.$.a.matches: \"(a{1000}){1000}\" is a regular expression too large to be kept: use smaller repetitions"
    );
    let megabyte = "a".repeat(1_000_000);
    assert_eq!(rule(&format!("{{body: {{matches: {megabyte}}}}}")), ".body.matches: is over 4096 bytes long");
    // What takes others exponential time is a pattern like any other.
    assert_eq!(described("{body: {matches: '^(a+)+$'}}"), [r#"body matches "^(a+)+$""#]);
}

#[test]
fn c34_a_bad_json_path_is_named_by_its_column_and_what_was_expected() {
    let errors =
        read("- name: a\n  url: http://a/\n  expect:\n    json:\n      $.a[x]: 1\n      status: up\n").unwrap_err();
    assert_eq!(
        errors.lines(),
        [
            "c.yaml:5:7: [0].expect.json: \"$.a[x]\" is no JSON path: column 5: expected a name in quotes, a number, \
             *, or a ?filter",
            "c.yaml:6:7: [0].expect.json: \"status\" is no JSON path: column 1: expected $",
        ]
    );
    let cases = [
        (r#"{"$.a": {"<": x}}"#, ".$.a.<: < compares numbers: expected one, found a text"),
        (r#"{"$.a": {">=": true}}"#, ".$.a.>=: >= compares numbers: expected one, found a true or false"),
        (r#"{"$.a": {"=": 1}}"#, ".$.a.=: unknown field; known are ==, !=, <, <=, >, >=, exists, matches"),
        (r#"{"$.a": {exist: true}}"#, ".$.a.exist: unknown field; did you mean `exists`?"),
        (r#"{"$.a": {exists: maybe}}"#, ".$.a.exists: \"maybe\" is neither true nor false"),
        (
            r#"{"$.a": yes}"#,
            ".$.a: \"yes\" is true or false for some and a text for others: write true, false or the text in quotes",
        ),
        (r#"{"$.a": 0x1F}"#, ".$.a: \"0x1F\" is no number that JSON has: write it in quotes to mean the text"),
        (r#"{"$.a": .nan}"#, ".$.a: \".nan\" is no number that JSON has: write it in quotes to mean the text"),
        (
            r#"{"$.a": [1]}"#,
            ".$.a: expected a text, number, true, false, null or a mapping such as {\"<\": 100}, found a list",
        ),
        (r#"{"$.a": {"==": [1]}}"#, ".$.a.==: expected a text, number, true, false or null, found a list"),
        (r#"{"$.a": {}}"#, ".$.a: is empty: write ==, !=, <, <=, >, >=, exists, matches"),
        (r#"{"$..a..b": 1}"#, ": \"$..a..b\" is a JSON path that may take very long: use .. once at most"),
        ("[a]", ": expected a mapping of JSON paths, found a list"),
    ];
    for (json, expected) in cases {
        assert_eq!(rule(&format!("{{json: {json}}}")), format!(".json{expected}"));
    }
}

#[test]
fn what_asserts_nothing_or_is_no_assertion_is_refused() {
    let cases = [
        ("[]", ": expected a mapping such as {status: 200-299, body: {contains: ok}}, found a list"),
        ("{bodi: {}}", ".bodi: unknown field; did you mean `body`?"),
        ("{body: ok}", ".body: expected a mapping such as {contains: \"ok\"}, found a text"),
        ("{body: {}}", ".body: is empty: write equals, contains, not_contains, matches, not_matches"),
        ("{body: {contains: ''}}", ".body.contains: is empty, which is in every text"),
        ("{body: {contains: []}}", ".body.contains: is an empty list"),
        ("{body: {contains: {}}}", ".body.contains: expected a text, found a mapping"),
        ("{header: {'x y': 1}}", ".header: \"x y\" is no header name: letters, digits and - without spaces"),
        ("{header: {x: ~}}", ".header.x: expected a text or a mapping such as {contains: json}, found nothing"),
        ("{latency: 1y}", ".latency: \"1y\" is not a duration: write 500ms, 1s, 5m or 1h; a bare number is seconds"),
        ("{latency: 0}", ".latency: \"0\" is below the minimum 1ms"),
        ("{any: {}}", ".any: expected a list of assertions, found a mapping"),
        ("{all: []}", ".all: is an empty list"),
        ("{all: [{}]}", ".all[0]: asserts nothing"),
        ("{all: [x]}", ".all[0]: expected a mapping such as {body: {contains: ok}}, found a text"),
    ];
    for (expect, expected) in cases {
        assert_eq!(rule(expect), expected, "{expect}");
    }
    assert_eq!(rules("{body: {contains: '', x: 1}, latency: z, any: []}").len(), 4, "every problem at once");
}

#[test]
fn how_deep_and_how_many_is_bounded() {
    let nested = |depth: usize| format!("{}{{latency: 1s}}{}", "{any: [".repeat(depth), "]}".repeat(depth));
    assert_eq!(target(&nested(8)).expect.len(), 1);
    assert!(rule(&nested(9)).ends_with("all and any stand more than 8 deep within each other"));
    let many = |count: usize| format!("{{all: [{}]}}", vec!["{latency: 1s}"; count].join(", "));
    assert_eq!(target(&many(99)).expect.len(), 1);
    assert_eq!(rule(&many(100)), ": has more than 100 assertions");
}

#[test]
fn what_no_answer_can_meet_is_a_warning() {
    let warnings = |fields: &str| read(&format!("- {{name: a, url: http://a/, {fields}}}")).unwrap().warnings;
    assert_eq!(
        warnings("expect: {any: [{status: 200}, {status: 503}]}"),
        ["c.yaml:1:37: [0].expect: an answer with the status 503 is down before: name it in `status` as well"]
    );
    assert_eq!(
        warnings("method: HEAD, expect: {body: {contains: a}}"),
        ["c.yaml:1:51: [0].expect: asks for a body, and an answer to HEAD has none"]
    );
    assert!(warnings("method: HEAD, expect: {latency: 1s}").is_empty());
    assert!(warnings("expect: {}")[0].contains("is empty"));
}

#[test]
fn what_is_expected_is_shown_to_people_and_takes_no_secret() {
    // PATH is set wherever tests run.
    for expect in ["{body: {contains: '${PATH}'}}", "{header: {x: '${PATH}'}}", "{json: {$.a: {matches: 'a${PATH}'}}}"]
    {
        let rule = rule(expect);
        assert!(rule.contains("is shown to people, so it takes no ${…}"), "{rule}");
        assert!(!rule.contains(&std::env::var("PATH").unwrap()));
    }
    assert_eq!(described("{body: {contains: '$${PATH}'}}"), [r#"body contains "${PATH}""#]);
}

#[test]
fn the_example_is_read() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/assertions.yaml");
    let list = file::read(&path, Mode::Service, &Defaults::default()).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(list.warnings.is_empty(), "{:?}", list.warnings);
    let counts: Vec<_> = list.targets.iter().map(|target| target.expect.len()).collect();
    assert_eq!(counts, [4, 4, 1]);
}
