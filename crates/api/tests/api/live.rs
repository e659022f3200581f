//! Live updates over real sockets: nobody polls, and the numbers move.

pub(crate) mod page;

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::Utc;
use common::{Cause, Check, Outcome};
use futures_util::SinkExt;
use serde_json::{Map, Value, json};
use store::testing::{Cable, TestDb};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::Message;

use self::page::{Page, close_code, connect, connect_with, hear, look, open, say};
use crate::support::{TOKEN, TestApi, check, store};

fn ago(seconds: i64) -> i64 {
    Utc::now().timestamp_micros() - seconds * 1_000_000
}

async fn write(db: &TestDb, checks: &[Check]) {
    let mut connection = db.pool.acquire().await.unwrap();
    store::batches::write_checks(&mut connection, "test", checks).await.unwrap();
}

#[tokio::test]
async fn numbers_move_after_a_batch_is_stored_without_anybody_asking() {
    let db = TestDb::new().await;
    store(&db, &[check(1, ago(1), Outcome::Up)]).await;
    let api = TestApi::start(&db.url).await;
    let (mut socket, mut page) = open(&api).await;
    assert_eq!(page.data["counts"], json!({"targets": 2, "up": 1, "degraded": 0, "down": 0, "unknown": 1}));
    assert_eq!(page.data["attention"][0]["key"], "b");

    let stored = Instant::now();
    write(&db, &[check(2, ago(0), Outcome::Down(Cause::Timeout))]).await;
    page.until(&mut socket, |data| data["attention"][0]["state"] == "down").await;
    assert!(stored.elapsed() < Duration::from_secs(2), "{:?}", stored.elapsed());
    assert_eq!(
        (&page.data["attention"][0]["key"], &page.data["attention"][0]["cause"]),
        (&json!("b"), &json!("timeout"))
    );
    assert_eq!(page.snapshots, 1, "the rest came as deltas");
    let row = page.data["targets"].as_array().unwrap().iter().find(|row| row["key"] == "b").unwrap();
    assert_eq!(row["failed_5m"], json!({"bad": 1, "total": 1}));

    // Silence makes it unknown, without anything being stored.
    page.until(&mut socket, |data| data["counts"]["unknown"] == 2).await;
    api.stop().await;
}

#[tokio::test]
async fn deltas_applied_to_a_snapshot_are_a_fresh_snapshot() {
    let db = TestDb::new().await;
    store(&db, &[check(1, ago(2), Outcome::Up)]).await;
    sqlx::query("update target set interval_ms = 60000, timeout_ms = 500").execute(&db.pool).await.unwrap();
    let api = TestApi::start(&db.url).await;
    let mut socket = look(&api).await;
    let mut page = Page::default();
    let outcomes =
        [Outcome::Up, Outcome::Down(Cause::Status), Outcome::Degraded, Outcome::Missed, Outcome::Down(Cause::Dns)];
    for round in 0..12 {
        page.take(&hear(&mut socket).await);
        let outcome = outcomes[rand::random_range(0..outcomes.len())];
        // Also late ones, and such as come twice.
        let slot = ago(rand::random_range(0..20));
        write(&db, &[check(rand::random_range(1..=2), slot, outcome)]).await;
        if round == 5 {
            sqlx::query(
                "insert into target (key, name, url, interval_ms, timeout_ms, degraded_ms, expect_status, source)
                 values ('c', 'c', 'http://example.org/c', 1000, 500, 500, '{200-299}', 'env')",
            )
            .execute(&db.pool)
            .await
            .unwrap();
        }
        if round == 9 {
            sqlx::query("update target set deleted_at = now(), updated_at = now() where key = 'c'")
                .execute(&db.pool)
                .await
                .unwrap();
        }
    }
    // Another api has seen none of it, and reads it all now.
    let other = TestApi::start(&db.url).await;
    let fresh = other.json("/api/v1/overview").await;
    let interesting = ["counts", "attention", "more_attention", "targets", "open_incidents", "newest_check"];
    let begun = Instant::now();
    loop {
        page.take(&hear(&mut socket).await);
        let mine = Page { data: page.data.clone(), ..Page::default() }.without_order();
        let counted = |data: &Map<String, Value>| {
            data["windows"].as_array().unwrap().iter().take(3).map(|one| one["counts"].clone()).collect::<Vec<_>>()
        };
        let is_same = interesting.iter().all(|name| mine[*name] == fresh[*name])
            && counted(&mine) == counted(fresh.as_object().unwrap());
        if is_same {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(8), "{mine:#?}\n{fresh:#?}");
    }
    assert_eq!(page.snapshots, 1);
    // And all of it is what the same api shows to somebody new at the same state.
    let (mut second, mut theirs) = open(&api).await;
    while page.seq != theirs.seq {
        if page.seq < theirs.seq {
            page.take(&hear(&mut socket).await);
        } else {
            theirs.take(&hear(&mut second).await);
        }
    }
    assert_eq!(page.without_order(), theirs.without_order());
    other.stop().await;
    api.stop().await;
}

#[tokio::test]
async fn a29_a_client_that_comes_back_gets_what_it_missed_or_all_of_it() {
    let db = TestDb::new().await;
    store(&db, &[check(1, ago(1), Outcome::Up)]).await;
    let api = TestApi::start(&db.url).await;
    let (socket, mut page) = open(&api).await;
    drop(socket);
    sleep(Duration::from_millis(600)).await;

    let mut socket = connect(&api).await;
    say(&mut socket, json!({"subscribe": "overview", "since": page.seq})).await;
    page.take(&hear(&mut socket).await);
    assert_eq!(page.snapshots, 1, "deltas lead on from what it held");
    // On the same socket it may be a stranger: too old, or from a time that is yet to come.
    for since in [7, page.seq + 1_000_000, u64::MAX] {
        say(&mut socket, json!({"subscribe": "overview", "since": since})).await;
        let mut stranger = Page::default();
        loop {
            let frame = hear(&mut socket).await;
            if frame["type"] == "snapshot" {
                assert_eq!(frame["resync"], true, "{since}");
                stranger.take(&frame);
                break;
            }
        }
        assert!(stranger.seq >= page.seq && stranger.seq < since.max(page.seq + 1_000), "{since}");
    }
    // And it may look at something else.
    say(&mut socket, json!({"subscribe": "target", "key": "a"})).await;
    loop {
        let frame = hear(&mut socket).await;
        if frame["view"] == "target" {
            assert_eq!(
                (&frame["type"], &frame["key"], &frame["data"]["key"]),
                (&json!("snapshot"), &json!("a"), &json!("a"))
            );
            break;
        }
    }
    let delta = hear(&mut socket).await;
    assert_eq!((&delta["type"], &delta["view"]), (&json!("delta"), &json!("target")));
    // Postgres cannot be asked for the second one at all.
    for key in ["nobody", "no\0body"] {
        say(&mut socket, json!({"subscribe": "target", "key": key})).await;
        loop {
            let frame = hear(&mut socket).await;
            if frame["type"] == "error" {
                assert_eq!(frame["code"], "not_found", "{key:?}");
                break;
            }
        }
    }
    say(&mut socket, json!({"subscribe": "overview"})).await;
    assert_eq!(hear(&mut socket).await["view"], "overview", "after an error of that kind it goes on");
    api.stop().await;
}

#[tokio::test]
async fn who_is_not_asked_in_gets_an_answer_that_says_why() {
    let db = TestDb::new().await;
    let api = TestApi::start(&db.url).await;
    let plain = api.get("/api/v1/live").await;
    assert_eq!((plain.status().as_u16(), &plain.headers()["upgrade"]), (426, &"websocket".parse().unwrap()));
    assert_eq!(plain.headers()["content-type"], "application/problem+json");
    let host = api.base.trim_start_matches("http://").to_owned();
    assert!(connect_with(&api, &[("origin", &format!("http://{host}"))]).await.is_ok());
    for origin in ["http://example.org", "null", "http://127.0.0.1", &format!("http://{host}.example.org")] {
        assert_eq!(connect_with(&api, &[("origin", origin)]).await.unwrap_err(), 403, "{origin}");
    }
    let response = connect_with(&api, &[("sec-websocket-protocol", "lookout.v1")]).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "lookout.v1");

    let old = connect_with(&api, &[("sec-websocket-version", "12")]).await;
    assert_eq!(old.unwrap_err(), 400);
    api.stop().await;
}

#[tokio::test]
async fn a_page_that_cannot_set_headers_brings_its_token_as_a_subprotocol() {
    let db = TestDb::new().await;
    let private = TestApi::start_with(&db.url, false).await;
    let bearer = |token: &str| format!("lookout.bearer.{}", BASE64_URL_SAFE_NO_PAD.encode(token));
    assert_eq!(connect_with(&private, &[]).await.unwrap_err(), 401);
    assert!(connect_with(&private, &[("authorization", &format!("Bearer {TOKEN}"))]).await.is_ok());
    for offer in [format!("lookout.v1, {}", bearer(TOKEN)), format!("{},lookout.v1", bearer(TOKEN))] {
        let response = connect_with(&private, &[("sec-websocket-protocol", &offer)]).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "lookout.v1", "the token is not said again");
    }
    let mut almost = TOKEN.to_owned();
    almost.pop();
    for wrong in [
        "lookout.v1".to_owned(),
        format!("lookout.v1, {}", bearer(&almost)),
        format!("lookout.v1, {}", bearer("")),
        format!("lookout.v1, lookout.bearer.{TOKEN}"),
        format!("lookout.v1, {}", bearer(TOKEN).to_uppercase()),
        "lookout.v1, lookout.bearer.%%%".to_owned(),
    ] {
        assert_eq!(connect_with(&private, &[("sec-websocket-protocol", &wrong)]).await.unwrap_err(), 401, "{wrong}");
    }
    // It is a problem like any other, and the token opens nothing else.
    let offer = format!("lookout.v1, {}", bearer("another-token-of-enough"));
    for (path, offer) in [("/api/v1/live", offer), ("/api/v1/overview", bearer(TOKEN))] {
        let request = private.request(reqwest::Method::GET, path).header("sec-websocket-protocol", &offer);
        let refused = request.header("upgrade", "websocket").send().await.unwrap();
        assert_eq!(refused.status(), 401, "{path}");
        assert_eq!(refused.headers()["content-type"], "application/problem+json");
        assert!(!refused.text().await.unwrap().contains(&offer));
    }
    private.stop().await;
}

#[tokio::test]
async fn a28_a_message_that_is_not_understood_closes_the_line_with_a_reason() {
    let db = TestDb::new().await;
    let api = TestApi::start(&db.url).await;
    let binary = Message::binary(vec![1, 2]);
    for (message, code, error) in [
        (Message::text("{"), 1008, Some("bad_message")),
        (Message::text(r#"{"subscribe": "everything"}"#), 1008, Some("bad_message")),
        (Message::text(r#"{"subscribe": "overview", "color": 1}"#), 1008, Some("bad_message")),
        (Message::text(r#"{"subscribe": "target"}"#), 1008, Some("bad_message")),
        (Message::text(r#"{"subscribe": "overview", "since": -1}"#), 1008, Some("bad_message")),
        (Message::text(r#"{"subscribe": "overview", "since": 1e300}"#), 1008, Some("bad_message")),
        (binary, 1003, Some("not_text")),
        (Message::text("x".repeat(5_000)), 1009, Some("too_large")),
    ] {
        let mut socket = connect(&api).await;
        socket.send(message.clone()).await.unwrap();
        assert_eq!(close_code(&mut socket).await, (code, error.map(str::to_owned)), "{:.60}", message.to_string());
    }
    for message in [Message::text(r#"{"subscribe": "overview"}"#), Message::Ping("x".into())] {
        let mut socket = connect(&api).await;
        for _ in 0..100 {
            socket.feed(message.clone()).await.unwrap();
        }
        socket.flush().await.unwrap();
        assert_eq!(close_code(&mut socket).await, (1008, Some("too_many".to_owned())), "{message:?}");
    }
    // One that announces four gigabytes is refused before they come.
    let mut socket = connect(&api).await;
    socket.get_mut().write_all(b"\x81\xff\0\0\0\x01\0\0\0\0\x01\x02\x03\x04 and so on").await.unwrap();
    assert_eq!(close_code(&mut socket).await, (1009, Some("too_large".to_owned())));
    // A frame without a mask, which no client of its own would send.
    let mut socket = connect(&api).await;
    socket.get_mut().write_all(b"\x81\x02{}").await.unwrap();
    assert_eq!(close_code(&mut socket).await, (1002, Some("no_frame".to_owned())));
    api.stop().await;
}

#[tokio::test]
async fn a_stop_closes_every_line_at_once_and_says_so() {
    let db = TestDb::new().await;
    let api = TestApi::start(&db.url).await;
    let mut sockets = Vec::new();
    for _ in 0..5 {
        sockets.push(open(&api).await.0);
    }
    // One that would not notice.
    let deaf = connect(&api).await;
    let begun = Instant::now();
    let closing = tokio::spawn(async move {
        let mut codes = Vec::new();
        for socket in &mut sockets {
            codes.push(close_code(socket).await.0);
        }
        codes
    });
    api.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(closing.await.unwrap(), [1001; 5]);
    drop(deaf);
}

#[tokio::test]
async fn the_overview_goes_on_when_postgres_comes_back() {
    let db = TestDb::new().await;
    store(&db, &[check(1, ago(1), Outcome::Up)]).await;
    sqlx::query("update target set interval_ms = 60000").execute(&db.pool).await.unwrap();
    let cable = Cable::to(&db).await;
    let api = TestApi::start(cable.url()).await;
    let (mut socket, mut page) = open(&api).await;
    cable.cut();
    loop {
        let frame = hear(&mut socket).await;
        if frame["type"] == "stale" {
            break;
        }
        page.take(&frame);
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(api.get("/api/v1/overview").await.status(), 503);
    // Nobody hears of this one.
    write(&db, &[check(2, ago(0), Outcome::Degraded)]).await;
    cable.mend();
    let begun = Instant::now();
    while page.data["counts"]["degraded"] != 1 {
        assert!(begun.elapsed() < Duration::from_secs(8));
        let frame = hear(&mut socket).await;
        if frame["type"] != "stale" {
            page.take(&frame);
        }
    }
    assert_eq!(page.snapshots, 1);
    api.stop().await;
}

#[tokio::test]
async fn a_state_that_is_known_is_not_sent_again() {
    let db = TestDb::new().await;
    store(&db, &[check(1, ago(1), Outcome::Up)]).await;
    let api = TestApi::start(&db.url).await;
    // A second passes now and then between two requests.
    for _ in 0..5 {
        let first = api.get("/api/v1/overview").await;
        let tag = first.headers()["etag"].clone();
        assert!(tag.to_str().unwrap().starts_with('"'), "{tag:?}");
        let request = api.request(reqwest::Method::GET, "/api/v1/overview").header("if-none-match", tag.clone());
        let second = request.send().await.unwrap();
        if second.status() == 304 {
            assert_eq!(second.headers()["etag"], tag);
            assert_eq!(second.text().await.unwrap(), "");
            let request = api.request(reqwest::Method::GET, "/api/v1/overview").header("if-none-match", "\"other\"");
            assert_eq!(request.send().await.unwrap().status(), 200);
            api.stop().await;
            return;
        }
    }
    panic!("no state lasted for two requests");
}

/// Bytes that travel, head and all; the client of the other tests unpacks what it gets.
async fn bytes_of_overview(api: &TestApi) -> usize {
    let mut stream = TcpStream::connect(api.base.trim_start_matches("http://")).await.unwrap();
    let request =
        b"GET /api/v1/overview HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let head = String::from_utf8_lossy(&answer[..500.min(answer.len())]).to_lowercase();
    assert!(head.starts_with("http/1.1 200") && head.contains("content-encoding: gzip"), "{head}");
    answer.len()
}

#[tokio::test]
async fn the_overview_stays_small_with_five_hundred_targets_and_with_many_more() {
    let db = TestDb::new().await;
    for (upto, most) in [(500, 20 * 1024), (5_000, 120 * 1024)] {
        sqlx::query(
            "insert into target (key, name, url, interval_ms, timeout_ms, degraded_ms, expect_status, source)
             select 'service-' || n, 'Service number ' || n, 'http://host-' || n % 700 || '.example.org/' || n, 10000, 500, 500, '{200-299}', 'env'
             from generate_series(1, $1) n on conflict do nothing",
        )
        .bind(upto)
        .execute(&db.pool)
        .await
        .unwrap();
        let checks: Vec<_> = (1..=upto)
            .map(|target| {
                let outcome = if target % 20 == 0 { Outcome::Down(Cause::Status) } else { Outcome::Up };
                let slot = ago(2) - i64::from(rand::random::<u16>()) * 100;
                Check { elapsed_us: Some(rand::random_range(500..900_000)), ..check(target, slot, outcome) }
            })
            .collect();
        let today = Utc::now().date_naive();
        store::partitions::ensure(&db.pool, today.pred_opt().unwrap(), today).await.unwrap();
        write(&db, &checks).await;
        let api = TestApi::start(&db.url).await;
        let bytes = bytes_of_overview(&api).await;
        println!("{upto} targets: {bytes} bytes gzipped");
        assert!(bytes <= most, "{upto} targets: {bytes} bytes");
        let overview = api.json("/api/v1/overview").await;
        assert_eq!(overview["counts"]["targets"], upto);
        assert_eq!(overview["targets"].is_null(), upto > 500);
        assert!(overview["attention"].as_array().unwrap().len() <= 50);
        if upto > 500 {
            let groups = overview["groups"].as_array().unwrap();
            assert_eq!(groups.len(), 200);
            let n: i64 = groups.iter().map(|group| group["n"].as_i64().unwrap()).sum();
            assert_eq!(n, i64::from(upto), "what has no tile of its own is in the last");
        }
        api.stop().await;
    }
}

#[tokio::test]
async fn an_open_incident_is_shown_however_many_have_come_and_gone_since() {
    let db = TestDb::new().await;
    for sql in [
        "insert into service (name) values ('shop')",
        "insert into endpoint (service_id, verb, resource) values (1, 'GET', '/open'), (1, 'GET', '/flaps')",
        "insert into incident (endpoint_id, started_at, started_ns, good_count, total_count)
         values (1, now() - interval '3 days', 0, 0, 1)",
        "insert into incident (endpoint_id, started_at, started_ns, ended_at, ended_ns, good_count, total_count)
         select 2, now() - n * interval '10 seconds', n, now() - n * interval '10 seconds' + interval '5 seconds', n, 0, 1
         from generate_series(1, 150) n",
    ] {
        sqlx::query(sql).execute(&db.pool).await.unwrap();
    }
    let api = TestApi::start(&db.url).await;

    let overview = api.json("/api/v1/overview").await;

    let shown = overview["incidents"].as_array().unwrap();
    assert_eq!((shown.len(), &overview["open_incidents"]), (100, &json!(1)));
    assert_eq!(shown[0]["resource"], "/flaps", "the newest first");
    assert_eq!((&shown[99]["resource"], &shown[99]["ended_at"]), (&json!("/open"), &Value::Null));
    api.stop().await;
}
