//! The catalogue of bad requests: what each is answered with, a test a row.
//!
//! | row | where, or why not |
//! |---|---|
//! | A01, A02, A03, A23 | `access.rs` |
//! | A04 | there are no tenants |
//! | A13, A14, A21 | `posted.rs` |
//! | A19 | here for the api; `public.rs` (`names_are_escaped_…`) for the page, `dashboard/tests` and its strict content policy for the dashboard, `settings::log` for logs; nothing is exported as CSV |
//! | A28 | `live.rs` (`a28_…`); a client looks at one view at a time, so there are no 10,000 subscriptions of one |
//! | A29 | `live.rs` (`a29_…`) |
//! | E01–E20 | `stream.rs` |

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use store::testing::{Cable, TestDb};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::live::page::connect_with;
use crate::support::{NOON_US, TOKEN, TestApi, check, store};

async fn started() -> (TestDb, TestApi) {
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

/// What comes back for these bytes, until the other side closes or says nothing for a while; and whether it closed.
async fn raw(api: &TestApi, bytes: &[u8]) -> (String, bool) {
    raw_in_pieces(api, &[bytes]).await
}

async fn raw_in_pieces(api: &TestApi, pieces: &[&[u8]]) -> (String, bool) {
    let mut stream = TcpStream::connect(api.base.trim_start_matches("http://")).await.unwrap();
    for (index, piece) in pieces.iter().enumerate() {
        if index > 0 {
            // Whatever it does, it has begun by now.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // It may hang up while we speak.
        let _ = stream.write_all(piece).await;
    }
    let mut answer = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        match timeout(Duration::from_secs(12), stream.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => return (String::from_utf8_lossy(&answer).into_owned(), true),
            Ok(Ok(count)) => answer.extend_from_slice(&buffer[..count]),
            Err(_) => return (String::from_utf8_lossy(&answer).into_owned(), false),
        }
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("nothing")
}

fn post(path: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n{headers}\r\n{body}")
        .into_bytes()
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
async fn a15_a_body_over_the_limit_is_refused_by_its_size_unpacked_and_the_connection_ends() {
    // Before anything is asked: a connection may be given up while this takes its time.
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..64 {
        std::io::Write::write_all(&mut packer, &vec![b'x'; 1024 * 1024]).unwrap();
    }
    let bomb = packer.finish().unwrap();
    assert!(bomb.len() < 1024 * 1024);
    let (_db, api) = started().await;
    let said = format!("content-type: application/x-ndjson\r\ncontent-length: {}\r\n", 9 * 1024 * 1024);
    let (answer, closed) = raw(&api, &post("/api/v1/events", &said, "")).await;
    assert_eq!((status(&answer), closed), ("413", true), "{answer}");
    let chunk = format!("{:x}\r\n{}\r\n", 1024 * 1024, "x".repeat(1024 * 1024));
    let chunked = "content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n";
    let (answer, closed) = raw(&api, &post("/api/v1/events", chunked, &chunk.repeat(9))).await;
    assert!(closed && (status(&answer) == "413" || answer.is_empty()), "{answer}");
    let request = api.request(Method::POST, "/api/v1/events").bearer_auth(TOKEN).header("content-encoding", "gzip");
    let begun = Instant::now();
    let answer = request.header("content-type", "application/x-ndjson").body(bomb).send().await.unwrap();
    assert_eq!(answer.status(), 413);
    assert!(begun.elapsed() < Duration::from_secs(10));
    api.stop().await;
}

#[tokio::test]
async fn a15_a_target_has_less_room_and_takes_no_time_however_it_fills_it() {
    let (_db, api) = started().await;
    let labels: Vec<String> = (0..75_000).map(|number| format!("\"{number}\":\"\"")).collect();
    let target = format!("{{\"name\":\"a\",\"url\":\"http://a/\",\"labels\":{{{}}}}}", labels.join(","));
    assert!(target.len() > 800_000 && target.len() < 1024 * 1024);
    let send = async |method, path, body| {
        let request = api.request(method, path).bearer_auth(TOKEN).header("content-type", "application/json");
        let answer = request.body(body).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let begun = Instant::now();
    let (status, said) = send(Method::POST, "/api/v1/targets", target.clone()).await;
    assert!(status == 422 && said.contains("has 75000 fields, and 1000 at most"), "{status}: {said}");
    // It would be minutes.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let larger = format!("{target}{}", " ".repeat(1024 * 1024));
    for (method, path) in [(Method::POST, "/api/v1/targets"), (Method::PUT, "/api/v1/targets/a")] {
        let (status, said) = send(method, path, larger.clone()).await;
        assert!(status == 413 && said.contains("a body has at most 1 MiB"), "{status}: {said}");
    }
    api.stop().await;
}

#[tokio::test]
async fn who_knows_no_chunks_is_answered_without_them() {
    let (_db, api) = started().await;
    for (path, expected) in [("/status", "[]"), ("/api/v1/targets/none", "\"status\":404"), ("/healthz", "")] {
        let request = format!("GET {path} HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
        let (answer, closed) = raw(&api, request.as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(closed && !head.to_lowercase().contains("transfer-encoding"), "{path}: {head}");
        assert!(body.contains(expected) && !body.contains("\r\n"), "{path}: {body}");
    }
    api.stop().await;
}

#[tokio::test]
async fn a16_a_request_whose_end_can_be_read_in_two_ways_is_refused_and_the_connection_ends() {
    let (_db, api) = started().await;
    let kind = "content-type: application/json\r\n";
    for headers in [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: -1\r\n",
        "content-length: +5\r\n",
        "content-length: 5x\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: xchunked\r\n",
    ] {
        let smuggled = "0\r\n\r\nGET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let (answer, closed) = raw(&api, &post("/api/v1/changes", &format!("{kind}{headers}"), smuggled)).await;
        assert_eq!((status(&answer), closed), ("400", true), "{headers}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{headers}: {answer}");
    }
    for body in ["x\r\n{}\r\n", "-1\r\n{}\r\n", "fffffffffffffffff\r\n", "2\r\n{}xx\r\n0\r\n\r\n"] {
        let chunked = format!("{kind}transfer-encoding: chunked\r\n");
        let begun = Instant::now();
        let (answer, closed) = raw(&api, &post("/api/v1/changes", &chunked, body)).await;
        assert_eq!((status(&answer), closed), ("400", true), "{body}: {answer}");
        assert!(begun.elapsed() < Duration::from_secs(4), "{body}: it waits for a rest that it does not read");
        let (answer, closed) = raw_in_pieces(&api, &[&post("/api/v1/changes", &chunked, ""), body.as_bytes()]).await;
        assert_eq!((status(&answer), closed), ("400", true), "{body}: {answer}");
        assert!(answer.contains("header:transfer-encoding"), "{answer}");
        // Also to who is still to be asked for in Postgres.
        let stored = String::from_utf8(post("/api/v1/changes", &chunked, body)).unwrap().replace(TOKEN, "lookout_x");
        let (answer, closed) = raw(&api, stored.as_bytes()).await;
        assert_eq!((status(&answer), closed), ("400", true), "{body}: {answer}");
    }
    // Whole ones are put together again, however they come.
    let body = r#"{"service": "none", "commit": "abc"}"#;
    let (first, second) = body.split_at(9);
    let chunks = format!("{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n", first.len(), second.len());
    let head = post("/api/v1/changes", &format!("{kind}transfer-encoding: chunked\r\nconnection: close\r\n"), "");
    let (begun, rest) = chunks.split_at(15);
    for pieces in
        [vec![[&head[..], chunks.as_bytes()].concat()], vec![[&head[..], begun.as_bytes()].concat(), rest.into()]]
    {
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let (answer, _) = raw_in_pieces(&api, &pieces).await;
        assert!(status(&answer) == "422" && answer.contains("no endpoint belongs to a service"), "{answer}");
    }
    api.stop().await;
}

#[tokio::test]
async fn a17_a_head_that_is_too_long_is_refused() {
    let (_db, api) = started().await;
    let get =
        |path: &str, headers: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n").into_bytes();
    let many = "x: y\r\n".repeat(120);
    let large = format!("x: {}\r\n", "y".repeat(64 * 1024));
    let endless = "x".repeat(300 * 1024);
    let path = format!("/status?url={}", "x".repeat(8 * 1024));
    for (bytes, expected) in [
        (get("/healthz", &many), ["431", "400"]),
        (get("/healthz", &large), ["431", "431"]),
        (get("/healthz", &endless), ["431", "400"]),
        (get(&path, ""), ["414", "414"]),
    ] {
        let (answer, closed) = raw(&api, &bytes).await;
        assert!(closed, "{:.200}", answer);
        assert!(expected.contains(&status(&answer)), "{expected:?}: {:.200}", answer);
    }
    let (answer, _) = raw(&api, &get("/healthz", &format!("x: {}\r\nconnection: close\r\n", "y".repeat(30_000)))).await;
    assert_eq!(status(&answer), "200");
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

#[tokio::test]
async fn a30_only_http_1_is_spoken() {
    let (_db, api) = started().await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let (answer, closed) = raw(&api, preface).await;
    assert!(closed && (answer.is_empty() || status(&answer) == "400"), "{answer:?}");
    let upgrade = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade, http2-settings, close\r\nupgrade: h2c\r\nhttp2-settings: \r\n\r\n";
    let (answer, _) = raw(&api, upgrade).await;
    assert_eq!(status(&answer), "200", "{answer}");
    api.stop().await;
}
