//! The catalogue of bad requests: what each is answered with, a test a row.
//!
//! | row | where, or why not |
//! |---|---|
//! | A01, A02, A03, A23 | `access.rs` |
//! | A04 | there are no tenants |
//! | A13, A14, A21 | `posted.rs` |
//! | A15, A16, A17, A30 | `bytes.rs` |
//! | A19 | here for the api; `public.rs` (`names_are_escaped_…`) for the page, `dashboard/tests` and its strict content policy for the dashboard, `settings::log` for logs; nothing is exported as CSV |
//! | A28 | `live.rs` (`a28_…`); a client looks at one view at a time, so there are no 10,000 subscriptions of one |
//! | A29 | `live.rs` (`a29_…`) |
//! | E01–E20 | `stream.rs` |

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use store::testing::{Cable, TestDb};
use tokio::time::Instant;

use crate::bytes::{raw, status};
use crate::live::page::connect_with;
use crate::support::{NOON_US, TOKEN, TestApi, check, store};

pub(crate) async fn started() -> (TestDb, TestApi) {
    let db = TestDb::new().await;
    let api = TestApi::start(&db.url).await;
    (db, api)
}

/// The status of a path, and its problem.
async fn refused(api: &TestApi, path: &str) -> (u16, String) {
    let answer = api.get(path).await;
    let status = answer.status().as_u16();
    if status >= 400 {
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{path}");
    }
    let text = answer.text().await.unwrap();
    assert!(!text.contains("panicked") && !text.contains("select ") && !text.contains(".rs:"), "{text}");
    (status, text)
}

async fn all(api: &TestApi, status: u16, paths: &[&str]) {
    for path in paths {
        let (found, text) = refused(api, path).await;
        assert_eq!(found, status, "{path}: {text}");
    }
}

#[tokio::test]
async fn a05_unknown_paths_and_methods_are_told_apart() {
    let (_db, api) = started().await;
    all(&api, 404, &["/nothing", "/api/v1/nothing", "/api/v2/checks", "/status/"]).await;
    for (method, path, allowed) in [
        (Method::POST, "/status", "GET, HEAD"),
        (Method::DELETE, "/api/v1/overview", "GET, HEAD"),
        (Method::PATCH, "/api/v1/targets/a", "GET, HEAD, PUT, DELETE"),
        (Method::TRACE, "/api/v1/changes", "GET, HEAD, POST"),
    ] {
        let answer = api.request(method.clone(), path).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers()["allow"].to_str().unwrap()), (405, allowed), "{method}");
    }
    api.stop().await;
}

#[tokio::test]
async fn a06_an_unknown_parameter_is_named() {
    let (_db, api) = started().await;
    for path in
        ["/status", "/api/v1/checks", "/api/v1/summary", "/api/v1/table", "/api/v1/incidents", "/api/v1/changes"]
    {
        let (status, text) = refused(&api, &format!("{path}?intervall=1")).await;
        assert_eq!((status, text.contains("intervall")), (400, true), "{path}: {text}");
    }
    for path in
        ["/metrics", "/api/v1/system", "/api/v1/overview", "/api/v1/targets/a", "/badge/a/24h.svg", "/api/v1/live"]
    {
        let (status, text) = refused(&api, &format!("{path}?intervall=1&x")).await;
        assert_eq!((status, text.contains("intervall")), (400, true), "{path}: {text}");
    }
    assert_eq!(api.get("/readyz?x=1").await.status(), 200, "a load balancer may ask as it likes");
    api.stop().await;
}

#[tokio::test]
async fn a07_a_window_that_is_none_or_comes_twice_is_refused_with_the_grammar() {
    let (_db, api) = started().await;
    for query in ["window=5x", "window=-5m", "window=0s", "window=NaN", "window=401d", "window=", "window=1m&window=1m"]
    {
        for path in ["/api/v1/checks", "/api/v1/summary"] {
            let (status, text) = refused(&api, &format!("{path}?{query}")).await;
            assert_eq!((status, text.contains("window")), (400, true), "{path}?{query}: {text}");
        }
    }
    api.stop().await;
}

#[tokio::test]
async fn a08_a_limit_out_of_its_range_is_refused_with_the_range() {
    let (_db, api) = started().await;
    for limit in ["0", "-1", "1e9", "abc", "501", "99999999999999999999", "5.0", "+5", "%205"] {
        let (status, text) = refused(&api, &format!("/api/v1/checks?limit={limit}")).await;
        assert_eq!((status, text.contains("500")), (400, true), "{limit}: {text}");
    }
    api.stop().await;
}

#[tokio::test]
async fn a09_a_cursor_that_was_made_up_or_belongs_elsewhere_is_refused() {
    let (db, api) = started().await;
    store(&db, &[check(1, NOON_US, common::Outcome::Up), check(2, NOON_US, common::Outcome::Up)]).await;
    let targets = api.json("/api/v1/targets?limit=1").await;
    let foreign = targets["next"].as_str().unwrap();
    for path in ["/api/v1/checks", "/api/v1/incidents", "/api/v1/changes", "/api/v1/services"] {
        for cursor in ["x", "%00", "e30", "bnVsbA", foreign, &"A".repeat(5_000)] {
            let (status, text) = refused(&api, &format!("{path}?cursor={cursor}")).await;
            assert_eq!(status, 400, "{path} {cursor}: {text}");
        }
    }
    api.stop().await;
}

#[tokio::test]
async fn a10_a_range_of_time_that_is_none_is_refused() {
    let (_db, api) = started().await;
    for query in [
        "since=2026-11-22T00:00:00Z&until=2026-11-21T00:00:00Z",
        "since=yesterday",
        "since=2026-11-21T10:00:00",
        "since=1795262400",
        "until=9999-01-01T00:00:00Z",
        "until=2026-13-01T00:00:00Z",
        "until=",
    ] {
        let (status, text) = refused(&api, &format!("/status?{query}")).await;
        assert_eq!(status, 400, "{query}: {text}");
    }
    let backwards = "from=2026-11-22T00:00:00Z&to=2026-11-21T00:00:00Z";
    for path in ["/api/v1/incidents", "/api/v1/changes", "/api/v1/reports/mttr"] {
        all(&api, 400, &[&format!("{path}?{backwards}"), &format!("{path}?from=yesterday")]).await;
    }
    let ahead = |minutes| (chrono::Utc::now() + chrono::TimeDelta::minutes(minutes)).format("%FT%TZ");
    for path in ["/status?since", "/api/v1/incidents?from", "/api/v1/changes?from", "/api/v1/reports/mttr?from"] {
        let (status, text) = refused(&api, &format!("{path}={}", ahead(60))).await;
        assert_eq!((status, text.contains("yet to come")), (400, true), "{path}: {text}");
    }
    // Clocks differ; and a range may end with a day that is not over.
    assert_eq!(api.json(&format!("/status?since={}&until={}", ahead(2), ahead(600))).await, json!([]));
    api.stop().await;
}

#[tokio::test]
async fn a11_more_points_than_are_drawn_are_refused_with_a_step_that_fits() {
    let (_db, api) = started().await;
    let (status, text) = refused(&api, "/api/v1/summary?window=24h&step=1s").await;
    let problem: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("query:step")));
    assert!(text.contains("600") && text.contains("fits"), "{text}");
    api.stop().await;
}

#[tokio::test]
async fn a12_a_body_of_another_type_is_refused_and_so_is_who_accepts_another_answer() {
    let (_db, api) = started().await;
    for (path, kind) in [("/api/v1/targets", "text/plain"), ("/api/v1/changes", "image/png"), ("/api/v1/events", "")] {
        let request = api.request(Method::POST, path).bearer_auth(TOKEN).header("content-type", kind);
        let answer = request.body("{}").send().await.unwrap();
        assert_eq!(answer.status(), 415, "{path}");
    }
    // A type has no case, and may have parameters; a list is no object, whatever is in it.
    let request = api.request(Method::POST, "/api/v1/changes").bearer_auth(TOKEN);
    let request = request.header("content-type", "Application/JSON; charset=UTF-8");
    let answer = request.body(r#"["none", "abc"]"#).send().await.unwrap();
    assert_eq!(answer.status(), 422);
    assert!(answer.text().await.unwrap().contains("expected an object, found a list"));
    for (accept, path, status) in [
        ("image/png", "/api/v1/overview", 406),
        ("text/csv", "/status", 406),
        ("application/json;q=0, text/html", "/status", 406),
        ("application/json", "/metrics", 406),
        ("application/json;q=0, */*", "/status", 406),
        ("application/json", "/status", 200),
        ("text/html,application/xml;q=0.9,*/*;q=0.8", "/status", 200),
        ("application/*", "/api/v1/checks", 200),
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", "/metrics", 200),
        ("nonsense", "/status", 200),
        ("", "/status", 200),
        ("image/png", "/healthz", 200),
    ] {
        let answer = api.request(Method::GET, path).header("accept", accept).send().await.unwrap();
        assert_eq!(answer.status(), status, "{accept} {path}");
        if status == 406 {
            assert!(answer.text().await.unwrap().contains("accept that"));
        }
    }
    api.stop().await;
}

#[tokio::test]
async fn a18_bytes_that_are_no_name_are_refused_or_found_nowhere() {
    let (_db, api) = started().await;
    all(&api, 400, &["/status?url=%00", "/api/v1/targets/%00"]).await;
    let paths = [
        "/api/v1/targets/..%2f..%2fetc%2fpasswd",
        "/api/v1/targets/%2e%2e",
        "/api/v1/targets/%c0%ae%c0%ae",
        "/api/v1/targets/a%0d%0aX:%20y",
        "/api/v1/targets/%1b[31m",
        "/assets/..%2f..%2fCargo.toml",
        "/assets/%2e%2e/%2e%2e/Cargo.toml",
    ];
    for path in paths {
        // As it is written: a client of HTTP would tidy it up.
        let (answer, _) =
            raw(&api, format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes()).await;
        assert!(["400", "404"].contains(&status(&answer)), "{path}: {answer}");
        assert!(!answer.to_lowercase().contains("\r\nx: y") && !answer.contains('\u{1b}'), "{answer:?}");
    }
    for line in ["GET /status\0 HTTP/1.1", "GET /status\r HTTP/1.1", "GET /st\u{1b}atus HTTP/1.1"] {
        let (answer, closed) = raw(&api, format!("{line}\r\nhost: localhost\r\n\r\n").as_bytes()).await;
        assert_eq!((status(&answer), closed), ("400", true), "{line:?}: {answer}");
    }
    api.stop().await;
}

#[tokio::test]
async fn a18_what_is_not_utf_8_is_no_path_and_no_parameter() {
    let (_db, api) = started().await;
    all(&api, 400, &["/api/v1/targets/%ff", "/api/v1/targets/%c0%ae", "/status?url=%ff", "/status?url=%ed%a0%80"])
        .await;
    for method in [Method::PUT, Method::DELETE] {
        let request = api.request(method, "/api/v1/targets/%ff").bearer_auth(TOKEN);
        let request = request.header("content-type", "application/json").body(r#"{"url": "https://example.org/"}"#);
        assert_eq!(request.send().await.unwrap().status(), 400);
    }
    all(&api, 404, &["/api/v1/targets/%c3%a9"]).await;
    api.stop().await;
}

#[tokio::test]
async fn a19_what_stands_in_a_name_is_text_and_nothing_else() {
    let (db, api) = started().await;
    for name in ["'; drop table target; --", "<script>alert(1)</script>", "=cmd|' /C calc'!A0", "$(reboot)", "{{7*7}}"]
    {
        let body = json!({"name": name, "url": "http://example.org/"}).to_string();
        let request = api.request(Method::POST, "/api/v1/targets").bearer_auth(TOKEN);
        let made = request.header("content-type", "application/json").body(body).send().await.unwrap();
        assert_eq!(made.status(), 201, "{name}");
        let path = made.headers()["location"].to_str().unwrap().to_owned();
        assert_eq!(api.json(&path).await["name"], name);
    }
    let body = json!({"name": "\u{1b}[31mred", "url": "http://example.org/"}).to_string();
    let request = api.request(Method::POST, "/api/v1/targets").bearer_auth(TOKEN);
    let steering = request.header("content-type", "application/json").body(body).send().await.unwrap();
    assert_eq!(steering.status(), 422, "what steers a terminal is no name");
    let public = api.get("/public").await.text().await.unwrap();
    assert!(public.contains("&lt;script&gt;") || public.contains("&#60;script&#62;"), "{public}");
    assert!(!public.contains("<script"));
    let rows: i64 = sqlx::query_scalar("select count(*) from target").fetch_one(&db.pool).await.unwrap();
    assert_eq!(rows, 5);
    api.stop().await;
}

#[tokio::test]
async fn a20_an_id_that_is_none_is_refused() {
    let (_db, api) = started().await;
    let ids = ["x", "-", "1.5", "9223372036854775808", "99999999999999999999", "00000000-0000-0000-0000-000000000000"];
    for id in ids {
        all(&api, 400, &[&format!("/api/v1/incidents/{id}")]).await;
    }
    all(&api, 404, &["/api/v1/incidents/9223372036854775807"]).await;
    api.stop().await;
}

#[tokio::test]
async fn a22_an_idempotency_key_with_another_body_is_a_conflict() {
    let (_db, api) = started().await;
    let services = r#"[{"name": "shop", "verb": "GET", "resource": "/", "slo": 0.9, "window": 10}]"#;
    let request = api.request(Method::PUT, "/api/v1/services").bearer_auth(TOKEN).body(services);
    assert_eq!(request.header("content-type", "application/json").send().await.unwrap().status(), 200);
    let post = async |commit: &str, key: &str| {
        let body = json!({"service": "shop", "commit": commit}).to_string();
        let request = api.request(Method::POST, "/api/v1/changes").bearer_auth(TOKEN).header("idempotency-key", key);
        request.header("content-type", "application/json").body(body).send().await.unwrap()
    };
    assert_eq!(post("abc", "k").await.status(), 201);
    let again = post("abc", "k").await;
    assert_eq!((again.status().as_u16(), again.headers().contains_key("idempotency-replayed")), (201, true));
    assert_eq!(post("def", "k").await.status(), 409);
    for key in ["", &"k".repeat(201)] {
        assert_eq!(post("abc", key).await.status(), 400);
    }
    // Two keys are none.
    let request = api
        .request(Method::POST, "/api/v1/changes")
        .bearer_auth(TOKEN)
        .json(&json!({"service": "shop", "commit": "abc"}));
    let twice = request.header("idempotency-key", "k").header("idempotency-key", "l").send().await.unwrap();
    assert_eq!(twice.status(), 400);
    assert!(twice.text().await.unwrap().contains("one idempotency key"));
    api.stop().await;
}

#[tokio::test]
async fn a24_without_postgres_the_answer_is_503_with_retry_after_and_soon() {
    let db = TestDb::new().await;
    let cable = Cable::to(&db).await;
    let api = TestApi::start(cable.url()).await;
    for cut in [Cable::cut, Cable::freeze] {
        cut(&cable);
        for path in ["/status", "/api/v1/checks", "/api/v1/targets/a", "/readyz"] {
            let begun = Instant::now();
            let answer = api.get(path).await;
            assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (503, &"1".parse().unwrap()));
            assert!(begun.elapsed() < Duration::from_secs(7), "{path}: {:?}", begun.elapsed());
        }
        cable.mend();
    }
    api.stop().await;
}

#[tokio::test]
async fn a25_no_other_origin_may_read() {
    let (_db, api) = started().await;
    for origin in ["http://example.org", "null", "http://localhost:1"] {
        for method in [Method::GET, Method::OPTIONS] {
            let request = api.request(method, "/api/v1/overview").header("origin", origin);
            let answer = request.header("access-control-request-method", "GET").send().await.unwrap();
            assert!(answer.headers().keys().all(|name| !name.as_str().starts_with("access-control-")), "{origin}");
        }
    }
    api.stop().await;
}

#[tokio::test]
async fn a26_no_cookie_lets_anybody_write() {
    let (_db, api) = started().await;
    for cookie in [format!("token={TOKEN}"), format!("session={TOKEN}; authorization=Bearer {TOKEN}")] {
        let request = api.request(Method::POST, "/api/v1/changes").header("cookie", cookie);
        let answer = request.header("origin", &api.base).body("{}").send().await.unwrap();
        assert_eq!(answer.status(), 401);
        assert!(!answer.headers().contains_key("set-cookie"));
    }
    api.stop().await;
}

#[tokio::test]
async fn a27_a_socket_that_is_not_asked_for_rightly_is_refused() {
    let db = TestDb::new().await;
    let api = TestApi::start(&db.url).await;
    all(&api, 426, &["/api/v1/live"]).await;
    assert_eq!(connect_with(&api, &[("sec-websocket-version", "12")]).await.unwrap_err(), 400);
    assert_eq!(connect_with(&api, &[("origin", "http://example.org")]).await.unwrap_err(), 403);
    let private = TestApi::start_with(&db.url, false).await;
    assert_eq!(connect_with(&private, &[]).await.unwrap_err(), 401);
    private.stop().await;
    api.stop().await;
}
