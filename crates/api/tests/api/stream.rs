//! The catalogue of bad streams: what each line of `POST /api/v1/events` is answered with, a test a row.
//!
//! | row | where, or why not |
//! |---|---|
//! | E11 | nobody posts states: an incident opens and closes by the requests (`engine`) |
//! | E13 | there are no URLs and titles in a stream; texts of any script are kept |
//! | E15 | `broken_off.rs` |
//! | E17 | here for the token, which a hook shows: there are no signatures. A post that is repeated is E07 |
//! | E20 | `access.rs` (`e20_…`) |

use chrono::Utc;
use reqwest::Method;
use serde_json::{Value, json};
use store::testing::TestDb;

use crate::support::{TOKEN, TestApi};

pub(crate) async fn declared() -> (TestDb, TestApi) {
    let db = TestDb::new().await;
    let api = TestApi::start(&db.url).await;
    let services = r#"[{"name": "shop", "verb": "GET", "resource": "/", "slo": 0.9, "window": 10}]"#;
    let request = api.request(Method::PUT, "/api/v1/services").bearer_auth(TOKEN).body(services);
    assert_eq!(request.header("content-type", "application/json").send().await.unwrap().status(), 200);
    (db, api)
}

fn access(rest: &str) -> String {
    json!({"type": "access", "value": format!("{} {rest}", Utc::now().timestamp())}).to_string()
}

pub(crate) fn good() -> String {
    access("GET / 200")
}

pub(crate) async fn post(api: &TestApi, body: impl Into<reqwest::Body>) -> (u16, Value) {
    let request = api.request(Method::POST, "/api/v1/events").bearer_auth(TOKEN);
    let answer = request.header("content-type", "application/x-ndjson").body(body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// The reason and the explanation for a line that is rejected.
async fn rejected(api: &TestApi, line: &str) -> (String, String) {
    let (status, body) = post(api, format!("{}\n{line}\n", good())).await;
    assert_eq!((status, &body["accepted"], &body["rejected"]), (207, &json!(1), &json!(1)), "{line}: {body}");
    let result = &body["results"][1];
    assert_eq!((&result["line"], &result["status"]), (&json!(2), &json!(422)), "{body}");
    let text = |name: &str| result[name].as_str().unwrap().to_owned();
    (text("reason"), text("explanation"))
}

pub(crate) async fn stored(db: &TestDb) -> i64 {
    sqlx::query_scalar("select count(*) from access_event").fetch_one(&db.pool).await.unwrap()
}

#[tokio::test]
async fn e01_one_bad_line_among_a_thousand_is_named_and_the_others_are_stored() {
    let (db, api) = declared().await;
    let mut lines = vec![good(); 1_000];
    lines[499] = "nonsense".to_owned();
    let (status, body) = post(&api, lines.join("\n")).await;
    assert_eq!((status, &body["accepted"], &body["rejected"]), (207, &json!(999), &json!(1)));
    assert_eq!((&body["results"][499]["line"], &body["results"][499]["status"]), (&json!(500), &json!(422)));
    assert_eq!(stored(&db).await, 999);
    api.stop().await;
}

#[tokio::test]
async fn e02_nothing_is_refused_blank_lines_are_skipped_and_the_last_needs_no_end() {
    let (db, api) = declared().await;
    for nothing in ["", "\n\n", " \r\n\t\n"] {
        assert_eq!(post(&api, nothing).await.0, 400, "{nothing:?}");
    }
    let (status, body) = post(&api, format!("\n{}\n\n{}", good(), good())).await;
    assert_eq!((status, &body["accepted"], &body["rejected"]), (207, &json!(2), &json!(0)), "{body}");
    assert_eq!(stored(&db).await, 2);
    api.stop().await;
}

#[tokio::test]
async fn e03_a_line_that_is_too_long_is_an_error_of_that_line() {
    let (_db, api) = declared().await;
    let (_, explanation) = rejected(&api, &"x".repeat(64 * 1024 + 1)).await;
    assert!(explanation.contains("64 KiB"), "{explanation}");
    assert_eq!(post(&api, "x".repeat(10 * 1024 * 1024)).await.0, 413, "one line, and more than is ever read");
    api.stop().await;
}

#[tokio::test]
async fn e04_an_unknown_type_is_told_which_there_are() {
    let (_db, api) = declared().await;
    let (reason, explanation) = rejected(&api, r#"{"type": "news", "value": "x"}"#).await;
    assert_eq!(reason, "unknown-type");
    assert!(explanation.contains("access") && explanation.contains("change"), "{explanation}");
    api.stop().await;
}

#[tokio::test]
async fn e05_a_field_that_is_missing_null_or_of_another_type_is_an_error_of_that_line() {
    let (_db, api) = declared().await;
    for line in [
        r#"{"type": "access"}"#,
        r#"{"value": "1 GET / 200"}"#,
        r#"{"type": "access", "value": null}"#,
        r#"{"type": "access", "value": 7}"#,
        r#"{"type": "access", "value": ["1 GET / 200"]}"#,
        r#"{"type": "access", "value": "1 GET /"}"#,
        r#"{"type": "access", "value": ""}"#,
        r#"["access"]"#,
        "null",
        "7",
    ] {
        let (_, explanation) = rejected(&api, line).await;
        assert!(!explanation.is_empty(), "{line}");
        let pointer = &post(&api, line.to_owned()).await.1["results"][0]["pointer"];
        let place = match line {
            r#"{"value": "1 GET / 200"}"# => json!("/type"),
            _ if line.starts_with('{') => json!("/value"),
            _ => Value::Null,
        };
        assert_eq!(pointer, &place, "{line}");
    }
    api.stop().await;
}

#[tokio::test]
async fn e06_a_time_that_is_none_or_ahead_is_an_error_of_that_line() {
    let (db, api) = declared().await;
    let now = Utc::now().timestamp();
    let milliseconds = format!("{now}000");
    let ahead = (now + 400).to_string();
    for at in [
        "",
        "now",
        "-1",
        "NaN",
        "1e400",
        "2026-11-21T10:00:00",
        &milliseconds,
        &ahead,
        "99999999999999999999",
        "0",
        "5",
        "946684799",
    ] {
        let line = json!({"type": "access", "value": format!("{at} GET / 200")}).to_string();
        rejected(&api, &line).await;
    }
    // A time long ago counts for a time long ago; when it came is kept beside it.
    let old = json!({"type": "access", "value": "1543443091.27 GET / 200"}).to_string();
    let before = stored(&db).await;
    assert_eq!(post(&api, old).await.1["accepted"], 1);
    assert_eq!(stored(&db).await, before + 1);
    api.stop().await;
}

#[tokio::test]
async fn e06_a_date_that_there_is_not_is_an_error_of_that_line() {
    let (_db, api) = declared().await;
    let dates = ["2026-02-30 00:00:00", "2026-11-31 10:00:00", "Wed Feb 30 14:11:31 PST 2018", "1969-01-01 00:00:00"];
    for date in dates {
        let text = format!("commit: x\nAuthor: <a>\nDate: {date}\nService: shop");
        let (reason, _) = rejected(&api, &json!({"type": "change", "value": text}).to_string()).await;
        assert_eq!(reason, "bad-date", "{date}");
        let request = api.request(Method::POST, "/api/v1/changes").bearer_auth(TOKEN);
        let answer = request.header("content-type", "text/plain").body(text).send().await.unwrap();
        assert_eq!(answer.status(), 422, "{date}");
    }
    let text = "commit: x\nAuthor: <a>\nDate: Wed Nov 28 14:11:31 PST 2018\nService: shop";
    assert_eq!(post(&api, json!({"type": "change", "value": text}).to_string()).await.1["accepted"], 1);
    assert_eq!(api.json("/api/v1/changes").await["changes"][0]["at"], "2018-11-28T22:11:31.000000Z");
    api.stop().await;
}

pub(crate) async fn post_with_key(api: &TestApi, body: String) -> (u16, bool) {
    let request = api.request(Method::POST, "/api/v1/events").bearer_auth(TOKEN).header("idempotency-key", "k");
    let answer = request.header("content-type", "application/x-ndjson").body(body).send().await.unwrap();
    (answer.status().as_u16(), answer.headers().contains_key("idempotency-replayed"))
}

#[tokio::test]
async fn e07_the_same_post_twice_is_stored_once() {
    let (db, api) = declared().await;
    let body = good();
    assert_eq!(post_with_key(&api, body.clone()).await, (207, false));
    assert_eq!(post_with_key(&api, body).await, (207, true));
    assert_eq!(stored(&db).await, 1);
    api.stop().await;
}

#[tokio::test]
async fn e08_another_post_under_the_same_key_is_a_conflict() {
    let (db, api) = declared().await;
    assert_eq!(post_with_key(&api, good()).await, (207, false));
    assert_eq!(post_with_key(&api, access("GET / 500")).await.0, 409);
    assert_eq!(stored(&db).await, 1);
    api.stop().await;
}

/// A line with this id.
pub(crate) fn named(id: &str, text: &str) -> String {
    json!({"id": id, "type": "access", "value": format!("{}.5 {text}", Utc::now().timestamp() - 60)}).to_string()
}

/// What became of each line: its status and the reason.
pub(crate) fn outcomes(body: &Value) -> Vec<(u64, &str)> {
    let results = body["results"].as_array().unwrap().iter();
    results.map(|line| (line["status"].as_u64().unwrap(), line["reason"].as_str().unwrap_or_default())).collect()
}

#[tokio::test]
async fn e07_the_same_event_twice_is_a_duplicate_and_stored_once() {
    let (db, api) = declared().await;
    let (one, two) = (named("one", "GET / 200"), named("two", "GET / 200"));
    let change = json!({
        "type": "change", "id": "three",
        "value": "commit: x\nAuthor: <a>\nDate: 2026-11-20 10:00:00\nService: shop"
    });
    let (status, body) = post(&api, format!("{one}\n{}\n{one}\n{change}", good())).await;
    assert_eq!(status, 207);
    assert_eq!(outcomes(&body), [(201, ""), (201, ""), (200, "duplicate"), (201, "")]);
    assert_eq!((&body["accepted"], &body["duplicates"], &body["rejected"]), (&json!(3), &json!(1), &json!(0)));
    // The members in another order say the same.
    let value = serde_json::from_str::<Value>(&one).unwrap()["value"].clone();
    let reordered = format!(r#"{{"value": {value},  "type": "access", "id": "one", "host": "b"}}"#);
    let (_, body) = post(&api, format!("{change}\n{two}\n{reordered}")).await;
    assert_eq!(outcomes(&body), [(200, "duplicate"), (201, ""), (200, "duplicate")]);
    assert_eq!(stored(&db).await, 3);
    assert_eq!(api.json("/api/v1/changes").await["changes"].as_array().unwrap().len(), 1);
    api.stop().await;
}

#[tokio::test]
async fn e07_an_event_that_was_rejected_leaves_its_id_free_and_so_does_a_day() {
    let (db, api) = declared().await;
    let (wrong, right) = (named("one", "GET /nowhere 200"), named("one", "GET / 200"));
    assert_eq!(outcomes(&post(&api, wrong).await.1), [(422, "unknown-endpoint")]);
    assert_eq!(outcomes(&post(&api, right.clone()).await.1), [(201, "")]);
    assert_eq!(outcomes(&post(&api, right.clone()).await.1), [(200, "duplicate")]);
    sqlx::query("update event_id set created_at = now() - interval '25 hours'").execute(&db.pool).await.unwrap();
    assert_eq!(outcomes(&post(&api, right).await.1), [(201, "")]);
    api.stop().await;
}

#[tokio::test]
async fn e07_posts_with_the_same_events_at_once_store_each_of_them_once() {
    let (db, api) = declared().await;
    let mut lines: Vec<_> = (0..200).map(|number| named(&number.to_string(), "GET / 200")).collect();
    let forwards = lines.join("\n");
    lines.reverse();
    let backwards = lines.join("\n");
    let (one, two) = tokio::join!(post(&api, forwards), post(&api, backwards));
    let count = |name: &str| one.1[name].as_u64().unwrap() + two.1[name].as_u64().unwrap();
    assert_eq!((count("accepted"), count("duplicates"), count("rejected")), (200, 200, 0));
    assert_eq!(stored(&db).await, 200);
    api.stop().await;
}

#[tokio::test]
async fn e08_another_event_under_the_same_id_is_a_conflict_of_its_line() {
    let (db, api) = declared().await;
    let (status, body) = post(&api, format!("{}\n{}", named("one", "GET / 200"), named("one", "GET / 500"))).await;
    assert_eq!((status, outcomes(&body)), (207, vec![(201, ""), (409, "id-taken")]));
    assert_eq!(body["results"][1]["pointer"], "/id");
    let (_, body) = post(&api, format!("{}\n{}", named("one", "GET / 404"), named("two", "GET / 200"))).await;
    assert_eq!(outcomes(&body), [(409, "id-taken"), (201, "")]);
    assert_eq!((&body["accepted"], &body["duplicates"], &body["rejected"]), (&json!(1), &json!(0), &json!(1)));
    assert_eq!(stored(&db).await, 2);
    api.stop().await;
}

#[tokio::test]
async fn e18_an_id_is_a_text_because_numbers_lose_digits() {
    let (db, api) = declared().await;
    let too_long = "é".repeat(201);
    for id in [json!(9_007_199_254_740_993_u64), json!(null), json!(""), json!("a\u{0}b"), json!(too_long)] {
        let line = json!({"type": "access", "value": "1543443091.27 GET / 200", "id": id}).to_string();
        let (reason, explanation) = rejected(&api, &line).await;
        assert_eq!((reason.as_str(), explanation.contains("\"id\"")), ("bad-id", true), "{line}: {explanation}");
    }
    let before = stored(&db).await;
    let longest = named(&"é".repeat(200), "GET / 200");
    assert_eq!(outcomes(&post(&api, longest).await.1), [(201, "")]);
    assert_eq!(stored(&db).await, before + 1);
    api.stop().await;
}

#[tokio::test]
async fn e09_requests_out_of_order_are_taken() {
    let (db, api) = declared().await;
    let now = Utc::now().timestamp();
    let lines: Vec<_> = [3, 1, 2]
        .map(|ago| json!({"type": "access", "value": format!("{} GET / 200", now - ago)}).to_string())
        .into_iter()
        .collect();
    assert_eq!(post(&api, lines.join("\n")).await.1["accepted"], 3);
    assert_eq!(stored(&db).await, 3);
    api.stop().await;
}

#[tokio::test]
async fn e10_a_name_that_is_not_declared_is_an_error_of_that_line() {
    let (_db, api) = declared().await;
    for line in [
        access("GET /nowhere?token=s3cret 200"),
        access("GET http://me:s3cret@h/ 200"),
        "Authorization: Bearer s3cret".to_owned(),
        "{\"token\": \"s3cret\"".to_owned(),
        "{\"type\": \"access\", \"value\": \"GET /?key=s3cret 200\"}".to_owned(),
    ] {
        let (_, explanation) = rejected(&api, &line).await;
        assert!(explanation.contains("***") && !explanation.contains("s3cret"), "{line}: {explanation}");
    }
    let (reason, explanation) = rejected(&api, &access("GET /nowhere 200")).await;
    assert_eq!(reason, "unknown-endpoint");
    assert!(explanation.contains("GET /nowhere") && explanation.contains("/api/v1/services"), "{explanation}");
    let change = r#"{"type": "change", "value": "commit: x\nAuthor: <a>\nDate: 2026-11-21 10:00:00\nService: none"}"#;
    assert_eq!(rejected(&api, change).await.0, "unknown-service");
    api.stop().await;
}

#[tokio::test]
async fn e12_too_many_lines_or_bytes_are_refused_whole() {
    let (db, api) = declared().await;
    let (status, body) = post(&api, vec![good(); 10_001].join("\n")).await;
    assert_eq!((status, body["detail"].as_str().unwrap().contains("10000")), (413, true), "{body}");
    let (status, body) = post(&api, format!("{}\n{}", good(), " ".repeat(8 * 1024 * 1024))).await;
    assert_eq!((status, body["detail"].as_str().unwrap().contains("8 MiB")), (413, true), "{body}");
    assert_eq!(stored(&db).await, 0);
    api.stop().await;
}

#[tokio::test]
async fn e13_e14_text_of_any_script_is_kept_as_it_is_and_stays_text() {
    let (_db, api) = declared().await;
    for author in ["\u{202e}evil", "zero\u{200b}width", "🚀", "<script>alert(1)</script>", "**[x](javascript:y)**"] {
        let body = json!({"service": "shop", "commit": "abc", "author": author}).to_string();
        let request = api.request(Method::POST, "/api/v1/changes").bearer_auth(TOKEN);
        let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
        assert_eq!(answer.status(), 201, "{author}");
        assert_eq!(answer.json::<Value>().await.unwrap()["author"], author);
    }
    let text = "commit: a\u{7}bc\nAuthor: <e\u{1b}[31mve>\nDate: 2026-11-20 10:00:00\nService: shop";
    let line = json!({"type": "change", "value": text}).to_string();
    assert_eq!(post(&api, line).await.1["accepted"], 1);
    let body = json!({"service": "shop", "commit": "a\0b\u{85}c", "author": "e\u{1b}[31mve\r\n"}).to_string();
    let request = api.request(Method::POST, "/api/v1/changes").bearer_auth(TOKEN);
    assert_eq!(
        request.header("content-type", "application/json").body(body).send().await.unwrap().status(),
        422,
        "U+0085 is white space"
    );
    let body = json!({"service": "shop", "commit": "a\0b\u{9c}c", "author": "e\u{1b}[31mve\r\n"}).to_string();
    let request = api.request(Method::POST, "/api/v1/changes").bearer_auth(TOKEN);
    assert_eq!(request.header("content-type", "application/json").body(body).send().await.unwrap().status(), 201);
    let kept = api.json("/api/v1/changes?limit=7").await;
    let with_control: Vec<_> =
        kept["changes"].as_array().unwrap().iter().filter(|change| change["author"] == "e[31mve").collect();
    assert_eq!(with_control.len(), 2, "{kept}");
    assert!(with_control.iter().all(|change| change["commit"] == "abc"), "{kept}");
    for text in [
        format!("commit: {}\nAuthor: <a>\nDate: 2026-11-20 10:00:00\nService: shop", "x".repeat(201)),
        "commit: x\nAuthor: <a>\nDate: 9999-01-01 00:00:00\nService: shop".to_owned(),
    ] {
        rejected(&api, &json!({"type": "change", "value": text}).to_string()).await;
    }
    let long = json!({"service": "shop", "commit": "x".repeat(5_000)}).to_string();
    let request = api.request(Method::POST, "/api/v1/changes").bearer_auth(TOKEN);
    assert_eq!(request.header("content-type", "application/json").body(long).send().await.unwrap().status(), 422);
    api.stop().await;
}

#[tokio::test]
async fn e16_a_byte_order_mark_and_carriage_returns_are_fine_and_what_is_not_utf_8_is_an_error_of_its_line() {
    let (db, api) = declared().await;
    let mut body = b"\xef\xbb\xbf".to_vec();
    body.extend(format!("{}\r\n", good()).bytes());
    body.extend(b"{\"type\": \"access\", \"value\": \"1 GET /\xff 200\"}\r\n");
    body.extend(format!("{}\r\n", good()).bytes());
    let (status, body) = post(&api, body).await;
    assert_eq!((status, &body["accepted"], &body["rejected"]), (207, &json!(2), &json!(1)), "{body}");
    assert_eq!(body["results"][1]["line"], 2);
    assert_eq!(stored(&db).await, 2);
    api.stop().await;
}

#[tokio::test]
async fn e17_a_hook_without_a_good_token_stores_nothing() {
    let (db, api) = declared().await;
    for header in ["", "Bearer", "Bearer wrong", "Basic eDp5"] {
        for (path, kind) in [("/api/v1/events", "application/x-ndjson"), ("/api/v1/changes", "application/json")] {
            let request = api.request(Method::POST, path).header("authorization", header).header("content-type", kind);
            // What a hook would sign with elsewhere opens nothing here.
            let request = request.header("x-hub-signature-256", format!("sha256={}", "0".repeat(64)));
            assert_eq!(request.body(good()).send().await.unwrap().status(), 401, "{path} {header:?}");
        }
    }
    assert_eq!(stored(&db).await, 0);
    let changes: i64 = sqlx::query_scalar("select count(*) from change").fetch_one(&db.pool).await.unwrap();
    assert_eq!(changes, 0);
    api.stop().await;
}

#[tokio::test]
async fn e18_no_digit_of_a_time_is_lost() {
    let (db, api) = declared().await;
    let line = json!({"type": "access", "value": "1543443091.123456789 GET / 200"}).to_string();
    assert_eq!(post(&api, line).await.1["accepted"], 1);
    let at: i64 = sqlx::query_scalar("select at_ns from access_event").fetch_one(&db.pool).await.unwrap();
    assert_eq!(at, 1_543_443_091_123_456_789);
    api.stop().await;
}

#[tokio::test]
async fn e19_when_it_came_is_kept_beside_when_its_sender_says_it_was() {
    let (_db, api) = declared().await;
    let body = json!({"service": "shop", "commit": "abc", "at": "2020-01-01T00:00:00Z"}).to_string();
    let request = api.request(Method::POST, "/api/v1/changes").bearer_auth(TOKEN);
    assert_eq!(request.header("content-type", "application/json").body(body).send().await.unwrap().status(), 201);
    let change = &api.json("/api/v1/changes").await["changes"][0];
    assert_eq!(change["at"], "2020-01-01T00:00:00.000000Z");
    assert!(change["received_at"].as_str().unwrap() > "2026", "{change}");
    api.stop().await;
}
