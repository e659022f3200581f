use std::time::Instant;

use common::expect::{JsonPath, Order, Pattern};
use common::{StatusRange, TargetUrl};
use http::HeaderValue;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn answer(body: &[u8]) -> Answer {
    Answer { status: 200, body: body.to_vec(), elapsed: Duration::from_millis(120), ..Answer::default() }
}

fn judge(expect: Vec<Expectation>) -> Judge {
    let url = TargetUrl::parse("http://a/").unwrap();
    Judge::new(&TargetSpec { expect, ..TargetSpec::new("a", url) }).unwrap()
}

fn verdict(expect: Expectation, answer: &Answer) -> Result<(), String> {
    judge(vec![expect]).judge(answer)
}

fn body(test: TextTest) -> Expectation {
    Expectation::Body(test)
}

fn contains(text: &str) -> TextTest {
    TextTest::Contains(text.to_owned())
}

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

fn path(path: &str, test: JsonTest) -> Expectation {
    Expectation::Json(JsonPath::parse(path).unwrap(), test)
}

/// What each test says of a text: nothing where it holds.
fn failures(answer: &Answer, expects: &[(Expectation, &str)]) {
    for (expect, expected) in expects {
        let said = verdict(expect.clone(), answer).err().unwrap_or_default();
        assert_eq!(said, *expected, "{expect:?}");
    }
}

#[test]
fn texts_are_compared_as_they_are() {
    let text = |text: &str| text.to_owned();
    failures(
        &answer(b"all is well"),
        &[
            (body(TextTest::Equals(text("all is well"))), ""),
            (body(TextTest::Equals(text("all"))), r#"body equals "all": is "all is well""#),
            (body(contains("is")), ""),
            (body(contains("IS")), r#"body contains "IS": is "all is well""#),
            (body(TextTest::NotContains(text("error"))), ""),
            (body(TextTest::NotContains(text("well"))), r#"body not_contains "well": found "well" at byte 7"#),
            (body(TextTest::Matches(pattern("^all .* well$"))), ""),
            (body(TextTest::Matches(pattern("^well"))), r#"body matches "^well": is "all is well""#),
            (body(TextTest::NotMatches(pattern("fail"))), ""),
            (body(TextTest::NotMatches(pattern("w.l+"))), r#"body not_matches "w.l+": found "well" at byte 7"#),
        ],
    );
    failures(&answer(b""), &[(body(contains("a")), r#"body contains "a": is empty"#)]);
}

#[test]
fn json_values_are_compared_by_type_and_value() {
    let body = json!({
        "status": "up", "queue": 250, "load": 0.5, "big": 9_007_199_254_740_993_i64, "ok": true, "none": null,
        "items": [{"n": 1}, {"n": 2}], "word": "12",
    });
    let equals = |value: Value| JsonTest::Equals(value);
    let order = |order: Order, than: f64| JsonTest::Compare(order, Number::from_f64(than).unwrap());
    failures(
        &answer(body.to_string().as_bytes()),
        &[
            (path("$.status", equals("up".into())), ""),
            (path("$.status", equals("down".into())), r#"json $.status == "down": is "up""#),
            (path("$.queue", equals(250.0.into())), ""),
            (path("$.queue", equals("250".into())), r#"json $.queue == "250": is 250"#),
            (path("$.ok", equals(true.into())), ""),
            (path("$.ok", equals(false.into())), "json $.ok == false: is true"),
            (path("$.none", equals(Value::Null)), ""),
            (path("$.big", equals(9_007_199_254_740_993_i64.into())), ""),
            (
                path("$.big", equals(9_007_199_254_740_992_i64.into())),
                "json $.big == 9007199254740992: is 9007199254740993",
            ),
            (path("$.status", JsonTest::NotEquals("down".into())), ""),
            (path("$.status", JsonTest::NotEquals("up".into())), r#"json $.status != "up": is "up""#),
            (path("$.queue", order(Order::Below, 250.5)), ""),
            (path("$.queue", order(Order::Below, 250.0)), "json $.queue < 250.0: is 250"),
            (path("$.queue", order(Order::AtMost, 250.0)), ""),
            (path("$.queue", order(Order::AtMost, 249.9)), "json $.queue <= 249.9: is 250"),
            (path("$.load", order(Order::Above, 0.4)), ""),
            (path("$.load", order(Order::Above, 0.5)), "json $.load > 0.5: is 0.5"),
            (path("$.load", order(Order::AtLeast, 0.5)), ""),
            (path("$.load", order(Order::AtLeast, 0.6)), "json $.load >= 0.6: is 0.5"),
            (path("$.status", JsonTest::Matches(pattern("^u"))), ""),
            (path("$.status", JsonTest::Matches(pattern("^d"))), r#"json $.status matches "^d": is "up""#),
            (path("$.ok", JsonTest::Exists(true)), ""),
            (path("$.gone", JsonTest::Exists(true)), "json $.gone exists: there is none"),
            (path("$.gone", JsonTest::Exists(false)), ""),
            (path("$.none", JsonTest::Exists(false)), "json $.none does not exist: is null"),
        ],
    );
}

#[test]
fn a_value_of_another_type_fails_and_says_so() {
    let body = json!({"word": "12", "list": [1], "object": {"a": 1}});
    let below = || JsonTest::Compare(Order::Below, 100.into());
    failures(
        &answer(body.to_string().as_bytes()),
        &[
            (path("$.word", below()), r#"json $.word < 100: is "12", which is no number"#),
            (path("$.list", below()), "json $.list < 100: is [1], which is no number"),
            (
                path("$.object", JsonTest::Matches(pattern("a"))),
                r#"json $.object matches "a": is {"a":1}, which is no text"#,
            ),
            (path("$.list", JsonTest::Equals(1.into())), "json $.list == 1: is [1]"),
            (path("$.gone", below()), "json $.gone < 100: there is none"),
            (path("$.gone", JsonTest::Equals(Value::Null)), "json $.gone == null: there is none"),
            (path("$.gone", JsonTest::NotEquals(1.into())), "json $.gone != 1: there is none"),
        ],
    );
}

#[test]
fn a_path_that_selects_many_is_held_against_each() {
    let answer = answer(br#"{"items": [{"n": 1}, {"n": 2}, {"n": 3}]}"#);
    let at_most = |most: u32| path("$.items[*].n", JsonTest::Compare(Order::AtMost, most.into()));
    assert_eq!(verdict(at_most(3), &answer), Ok(()));
    assert_eq!(verdict(at_most(2), &answer).unwrap_err(), "json $.items[*].n <= 2: value 3 of 3 is 3");
}

#[test]
fn headers_are_found_whatever_their_case_and_each_value_counts() {
    let mut answer = answer(b"");
    answer.headers.append("Content-Type", HeaderValue::from_static("text/html"));
    answer.headers.append("set-cookie", HeaderValue::from_static("a=1"));
    answer.headers.append("set-cookie", HeaderValue::from_static("b=2"));
    answer.headers.append("odd", HeaderValue::from_bytes(b"\xff\xfe").unwrap());
    let header = |name: &str, test| Expectation::Header(name.to_owned(), test);
    let text = HeaderTest::Text;
    failures(
        &answer,
        &[
            (header("content-type", text(TextTest::Equals("text/html".to_owned()))), ""),
            (header("content-type", text(contains("json"))), r#"header content-type contains "json": is "text/html""#),
            (header("content-type", text(TextTest::Matches(pattern("^text/")))), ""),
            (header("set-cookie", text(contains("="))), ""),
            (header("set-cookie", text(contains("a="))), r#"header set-cookie contains "a=": is "b=2""#),
            (header("x-id", text(contains("a"))), r#"header x-id contains "a": there is none"#),
            (
                header("x-id", text(TextTest::NotContains("a".to_owned()))),
                r#"header x-id not_contains "a": there is none"#,
            ),
            (header("x-id", HeaderTest::Exists(true)), "header x-id exists: there is none"),
            (header("x-id", HeaderTest::Exists(false)), ""),
            (header("content-type", HeaderTest::Exists(false)), r#"header content-type is absent: is "text/html""#),
            (header("odd", text(contains("a"))), "header odd contains \"a\": is \"\u{fffd}\u{fffd}\""),
        ],
    );
}

#[test]
fn latency_and_status_are_what_the_probe_measured() {
    let within = |ms| Expectation::Latency(Duration::from_millis(ms));
    let status = |from, to| Expectation::Status(vec![StatusRange { from, to }]);
    failures(
        &answer(b""),
        &[
            (within(120), ""),
            (within(119), "latency within 119 ms: took 120 ms"),
            (status(200, 299), ""),
            (status(301, 301), "status 301: is 200"),
        ],
    );
}

#[test]
fn all_of_and_any_of_say_which_failed() {
    let one = |text: &str| body(contains(text));
    let (all, any) = (Expectation::All, Expectation::Any);
    failures(
        &answer(b"a b"),
        &[
            (all(vec![one("a"), one("b")]), ""),
            (all(vec![one("a"), one("x"), one("y")]), r#"body contains "x": is "a b""#),
            (any(vec![one("x"), one("b")]), ""),
            (any(vec![one("x"), one("y")]), r#"none of 2: body contains "x": is "a b"; body contains "y": is "a b""#),
            (any(vec![all(vec![one("a"), one("x")]), all(vec![one("b")])]), ""),
        ],
    );
}

#[test]
fn a_body_that_was_cut_is_said_to_be() {
    let cut = Answer { is_cut: true, ..answer(&b"{\"a\":1}".repeat(MAX_BODY / 7)) };
    failures(
        &cut,
        &[
            (body(contains("a")), ""),
            (body(TextTest::NotContains("x".to_owned())), ""),
            (
                path("$.a", JsonTest::Equals(1.into())),
                "json $.a == 1: the body is over 64 KiB, which is too long to be read as JSON",
            ),
            (body(TextTest::Equals("x".to_owned())), "body equals \"x\": is over 64 KiB long"),
        ],
    );
    let missing = verdict(body(contains("x")), &cut).unwrap_err();
    assert!(
        missing.starts_with(r#"body contains "x": not within the first 64 KiB, which begin "{"a":1}{"#),
        "{missing}"
    );
}

#[test]
fn a_body_that_is_no_json_or_no_utf8_is_said_to_be() {
    let up = || path("$.a", JsonTest::Exists(true));
    failures(
        &answer(b"<html>\xff\r\n\x1b[2J"),
        &[
            (up(), "json $.a exists: the body is not JSON (line 1 column 1), it is \"<html>\u{fffd}\\r\\n\\u{1b}[2J\""),
            (body(contains("<html>")), ""),
            (body(TextTest::Matches(pattern("^<html>."))), ""),
        ],
    );
    failures(&answer(b""), &[(up(), r#"json $.a exists: the body is not JSON (line 1 column 0), it is """#)]);
    failures(&answer(b"\xef\xbb\xbf{\"a\": 1}"), &[(up(), "")]);
    let deep = "[".repeat(60_000);
    assert!(verdict(up(), &answer(deep.as_bytes())).unwrap_err().contains("not JSON"));
}

#[test]
fn what_is_said_is_short_whatever_was_seen() {
    let long = "é\u{0}".repeat(20_000);
    let seen = verdict(body(contains(&"x".repeat(4_000))), &answer(long.as_bytes())).unwrap_err();
    assert!(seen.chars().count() <= 310 && !seen.chars().any(char::is_control), "{seen}");
    let many = Expectation::Any(vec![body(contains("x")); 99]);
    let seen = verdict(many, &answer(long.as_bytes())).unwrap_err();
    assert!(seen.chars().count() <= DETAIL_CHARS + 1, "{}", seen.chars().count());
}

#[test]
fn no_secret_of_the_target_is_said() {
    let url = TargetUrl::parse("http://joe:canary-password@a/?token=canary-query").unwrap();
    let spec = |expect| TargetSpec {
        headers: vec![("X-Key".to_owned(), "canary-header".to_owned())],
        body: Some("canary-body".to_owned()),
        expect: vec![expect],
        ..TargetSpec::new("a", url.clone())
    };
    let echo = r#"{"key": "canary-header", "auth": "canary-password", "all": ["canary-query", "canary-body"]}"#;
    let mut answer = answer(echo.as_bytes());
    answer.headers.insert("x-echo", HeaderValue::from_static("canary-header"));
    let pieces = "canary-header".to_owned();
    let tests = [
        body(contains("x!")),
        body(TextTest::NotContains(pieces.clone())),
        body(TextTest::NotMatches(pattern("a[n]ary-head"))),
        body(TextTest::NotMatches(pattern("c.n.ry"))),
        body(TextTest::Equals(pieces.clone())),
        path("$.key", JsonTest::Equals("x".into())),
        path("$.key", JsonTest::NotEquals(pieces.clone().into())),
        path("$", JsonTest::Matches(pattern("x"))),
        path("$.all", JsonTest::Exists(false)),
        path("$['canary-header']", JsonTest::Exists(true)),
        Expectation::Header("x-echo".to_owned(), HeaderTest::Exists(false)),
        Expectation::Header("x-echo".to_owned(), HeaderTest::Text(contains("x!"))),
        Expectation::Any(vec![body(contains("x!")), path("$.auth", JsonTest::Exists(false))]),
    ];
    for test in tests {
        let said = Judge::new(&spec(test.clone())).unwrap().judge(&answer).unwrap_err();
        assert!(!said.contains("anar"), "{said}");
        assert!(said.contains("***"), "{said}");
    }
    let not_json = Answer { body: b"canary-header canary-password".to_vec(), ..Answer::default() };
    let said = Judge::new(&spec(path("$.a", JsonTest::Exists(true)))).unwrap().judge(&not_json).unwrap_err();
    assert!(!said.contains("canary"), "{said}");
}

#[test]
fn a_pattern_that_takes_others_for_ever_takes_no_time_here() {
    let hostile = Answer { body: "a".repeat(MAX_BODY - 1).into_bytes(), ..Answer::default() };
    for text in ["^(a+)+$b", "(a|aa)+b", "(a*)*b", "(.*)*x$", "(a|a|a|a)*b", "(?:a?){200}a{200}b", r"(\w+\s?)*!"] {
        let judge = judge(vec![body(TextTest::Matches(pattern(text)))]);
        let begun = Instant::now();
        assert!(judge.judge(&hostile).is_err());
        assert!(begun.elapsed() < Duration::from_secs(5), "{text}: {:?}", begun.elapsed());
    }
}

#[test]
fn a_path_over_the_worst_document_takes_no_time() {
    let wide = format!("[{}0]", "[0],".repeat(MAX_BODY / 4 - 1));
    let deep = format!("{}{}", "[".repeat(127), "]".repeat(127));
    let deep_and_wide = format!("[{}0]", format!("{deep},").repeat(MAX_BODY / 256));
    for document in [wide, deep_and_wide] {
        for selector in ["$..x", "$..*", "$..[0]", "$..[?@[0] == 1]", "$[?@..x]", "$[?count(@..*) > 5]", "$[*][*][*]"] {
            let judge = judge(vec![path(selector, JsonTest::Exists(true))]);
            let begun = Instant::now();
            let _ = judge.judge(&answer(document.as_bytes()));
            assert!(begun.elapsed() < Duration::from_secs(5), "{selector}: {:?}", begun.elapsed());
        }
    }
}

/// One of every test there is.
fn every() -> Vec<Expectation> {
    let texts = || {
        let text = "a".to_owned();
        [
            TextTest::Equals(text.clone()),
            TextTest::Contains(text.clone()),
            TextTest::NotContains(text),
            TextTest::Matches(pattern("(?s)^.*[a-z]+$")),
            TextTest::NotMatches(pattern("[[:cntrl:]]")),
        ]
    };
    let jsons = || {
        let orders = Order::ALL.map(|order| JsonTest::Compare(order, 1.into()));
        let others = [
            JsonTest::Exists(true),
            JsonTest::Exists(false),
            JsonTest::Equals("a".into()),
            JsonTest::NotEquals(Value::Null),
            JsonTest::Matches(pattern("a")),
        ];
        orders.into_iter().chain(others)
    };
    let header = |test| Expectation::Header("x".to_owned(), test);
    let mut every: Vec<_> = texts().into_iter().map(Expectation::Body).collect();
    every.extend(texts().into_iter().map(HeaderTest::Text).map(header));
    every.extend([true, false].map(HeaderTest::Exists).map(header));
    for selector in ["$", "$.a", "$[0]", "$[-1]", "$..a", "$[*]", "$[?@.a > 1]", "$[1:2:3]"] {
        every.extend(jsons().map(|test| path(selector, test)));
    }
    every.push(Expectation::Any(every.clone()));
    every
}

proptest! {
    #[test]
    fn no_answer_makes_the_judge_panic_or_say_much(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..400),
            r#"[\[\]{},:"a0-9.eE\\u\- ]{0,80}"#.prop_map(String::into_bytes),
            "\\PC{0,200}".prop_map(String::into_bytes),
        ],
        header in prop::collection::vec(any::<u8>(), 0..40),
        is_cut in any::<bool>(),
    ) {
        let mut answer = Answer { is_cut, ..answer(&bytes) };
        if let Ok(value) = HeaderValue::from_bytes(&header) {
            answer.headers.append("x", value);
        }
        for expect in every() {
            if let Err(said) = verdict(expect, &answer) {
                prop_assert!(said.chars().count() <= DETAIL_CHARS + 1);
                prop_assert!(!said.chars().any(char::is_control));
            }
        }
    }
}
