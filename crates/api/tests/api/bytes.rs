//! Requests as bytes on the wire: too long, ambiguous, packed, or of another protocol.

use std::time::Duration;

use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::catalogue::started;
use crate::support::{TOKEN, TestApi};

/// What comes back for these bytes, until the other side closes or says nothing for a while; and whether it closed.
pub(crate) async fn raw(api: &TestApi, bytes: &[u8]) -> (String, bool) {
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

pub(crate) fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("nothing")
}

fn post(path: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n{headers}\r\n{body}")
        .into_bytes()
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
