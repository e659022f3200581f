//! Every path of the fault server shows its behaviour to a plain TCP client.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use crate::support::{Client, get, get_raw, unchunk};
use demo::faults::{FaultServer, Switch};

#[tokio::test]
async fn ok_is_three_bytes() {
    let server = FaultServer::start().await.unwrap();

    let answer = get(server.addr(), "/ok").await;

    assert_eq!((answer.status, answer.body.len()), (200, 3));
    assert_eq!(server.url("/ok"), format!("http://{}/ok", server.addr()));
}

#[tokio::test]
async fn delay_comes_before_the_head() {
    let server = FaultServer::start().await.unwrap();

    let asked_at = Instant::now();
    let answer = get(server.addr(), "/delay/150").await;

    assert_eq!(answer.status, 200);
    assert!(asked_at.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn status_answers_any_code_and_unknown_paths_404() {
    let server = FaultServer::start().await.unwrap();

    for code in [200, 204, 301, 404, 418, 503, 599, 999] {
        assert_eq!(get(server.addr(), &format!("/status/{code}")).await.status, code);
    }
    assert_eq!(get(server.addr(), "/nothing").await.status, 404);
}

#[tokio::test]
async fn flaky_fails_the_same_quarter_every_time() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let server = FaultServer::start().await.unwrap();
        let mut client = Client::connect(server.addr()).await;
        let mut codes = Vec::new();
        for number in 0..200 {
            client.ask("GET", &format!("/flaky/25?t={number}")).await;
            codes.push(client.read_answer().await.status);
        }
        runs.push(codes);
    }

    assert_eq!(runs[0].iter().filter(|code| **code == 500).count(), 50);
    assert_eq!(runs[0], runs[1]);
}

#[tokio::test]
async fn hang_reads_the_request_and_never_answers() {
    let server = FaultServer::start().await.unwrap();
    let mut client = Client::connect(server.addr()).await;

    client.ask("GET", "/hang").await;
    wait_until(|| server.stats().requests == 1).await;

    assert!(client.hears_nothing_for(Duration::from_millis(200)).await);
    assert_eq!(server.log()[0].target, "/hang");
    assert_eq!(server.stats().open_connections, 1);
}

#[tokio::test]
async fn reset_breaks_off_and_close_says_goodbye() {
    let server = FaultServer::start().await.unwrap();

    let reset = get_raw(server.addr(), "/reset").await.unwrap_err();
    let closed = get_raw(server.addr(), "/close").await.unwrap();

    assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
    assert!(closed.is_empty());
}

#[tokio::test]
async fn redirects_count_down_to_ok_and_keep_the_query() {
    let server = FaultServer::start().await.unwrap();
    let mut path = "/redirect/3?t=17".to_owned();
    let mut visited = Vec::new();

    loop {
        let answer = get(server.addr(), &path).await;
        visited.push((answer.status, path));
        match answer.header("location") {
            Some(next) => path = next.to_owned(),
            None => break,
        }
    }

    let expected = [(302, "/redirect/3?t=17"), (302, "/redirect/2?t=17"), (302, "/redirect/1?t=17"), (200, "/ok?t=17")];
    assert_eq!(visited, expected.map(|(code, path)| (code, path.to_owned())));
}

#[tokio::test]
async fn a_redirect_goes_where_it_is_told_or_in_circles() {
    let server = FaultServer::start().await.unwrap();

    let told = get(server.addr(), "/redirect-to?t=1&url=http%3A%2F%2F169.254.169.254%2Fmeta").await;
    let smuggled = get(server.addr(), "/redirect-to?url=a%0d%0ax:%20y").await;
    let circle = get(server.addr(), "/loop").await;

    assert_eq!(told.status, 302);
    assert_eq!(told.header("location"), Some("http://169.254.169.254/meta"));
    assert_eq!(smuggled.status, 400);
    assert_eq!((circle.status, circle.header("location")), (302, Some("/loop")));
}

#[tokio::test]
async fn bodies_have_the_asked_length_plain_and_compressed() {
    let server = FaultServer::start().await.unwrap();

    let plain = get(server.addr(), "/body/10485760").await;
    let bomb = get(server.addr(), "/gzip/10485760").await;

    assert_eq!(plain.body.len(), 10_485_760);
    assert_eq!(plain.header("content-length"), Some("10485760"));
    assert_eq!(bomb.header("content-encoding"), Some("gzip"));
    assert!(bomb.body.len() < 20_000, "{} bytes", bomb.body.len());
    let mut decoded = Vec::new();
    flate2::read::GzDecoder::new(unchunk(&bomb.body).as_slice()).read_to_end(&mut decoded).unwrap();
    assert_eq!(decoded.len(), 10_485_760);
}

#[tokio::test]
async fn a_truncated_body_is_shorter_than_announced() {
    let server = FaultServer::start().await.unwrap();

    let answer = get(server.addr(), "/truncate").await;

    let announced: usize = answer.header("content-length").unwrap().parse().unwrap();
    assert!(answer.body.len() < announced);
}

#[tokio::test]
async fn slow_bodies_and_heads_come_one_byte_at_a_time() {
    let server = FaultServer::start().await.unwrap();
    for (path, start) in [
        ("/slow-body/20", "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"),
        ("/drip-head/20", "HTTP/1.1 200 OK\r\nx-drip: "),
    ] {
        let mut client = Client::connect(server.addr()).await;

        let asked_at = Instant::now();
        client.ask("GET", path).await;
        let head = client.read(start.len()).await.unwrap();
        let dripped = client.read(5).await.unwrap();

        assert_eq!(String::from_utf8(head).unwrap(), start);
        assert_eq!(dripped.len(), 5);
        assert!(asked_at.elapsed() >= Duration::from_millis(100), "{path}");
    }
}

#[tokio::test]
async fn garbage_is_not_http() {
    let server = FaultServer::start().await.unwrap();

    let bytes = get_raw(server.addr(), "/garbage").await.unwrap();

    assert!(!bytes.is_empty());
    assert!(!bytes.starts_with(b"HTTP"));
}

#[tokio::test]
async fn floods_do_not_end_until_the_client_leaves() {
    let server = FaultServer::start().await.unwrap();
    for (path, repeated) in [("/endless-headers", "\r\nx-endless: "), ("/informational", "HTTP/1.1 103 ")] {
        let mut client = Client::connect(server.addr()).await;

        client.ask("GET", path).await;
        let bytes = client.read(4_000_000).await.unwrap();

        assert_eq!(bytes.len(), 4_000_000, "{path}");
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.matches(repeated).count() > 10_000, "{path}");
    }
    wait_until(|| server.stats().open_connections == 0).await;
}

#[tokio::test]
async fn heads_can_have_many_headers_or_a_big_one() {
    let server = FaultServer::start().await.unwrap();

    let many = get(server.addr(), "/many-headers/10000").await;
    let big = get(server.addr(), "/big-header/1048576").await;

    assert_eq!(many.head.matches("\r\nx-header-").count(), 10_000);
    assert_eq!(big.header("x-big").unwrap().len(), 1_048_576);
}

#[tokio::test]
async fn broken_encodings_claim_what_they_are_not() {
    let server = FaultServer::start().await.unwrap();

    let chunked = get(server.addr(), "/bad-chunk").await;
    let gzipped = get(server.addr(), "/bad-gzip").await;

    assert_eq!(chunked.header("transfer-encoding"), Some("chunked"));
    assert!(chunked.text().contains("this is no size"));
    assert_eq!(gzipped.header("content-encoding"), Some("gzip"));
    assert!(!gzipped.body.starts_with(&[0x1f, 0x8b]));
}

#[tokio::test]
async fn echo_shows_the_request() {
    let server = FaultServer::start().await.unwrap();
    let mut client = Client::connect(server.addr()).await;

    client.send("POST /echo?a=b HTTP/1.1\r\nHost: x\r\nX-Two: 1\r\nx-two: 2\r\nContent-Length: 5\r\n\r\nhello").await;
    let seen: serde_json::Value = serde_json::from_slice(&client.read_answer().await.body).unwrap();

    assert_eq!(seen["method"], "POST");
    assert_eq!(seen["target"], "/echo?a=b");
    assert_eq!(seen["headers"]["host"], "x");
    assert_eq!(seen["headers"]["x-two"], "1, 2");
    assert_eq!(seen["body"], "hello");
}

#[tokio::test]
async fn the_switch_changes_while_the_server_runs() {
    let server = FaultServer::start().await.unwrap();

    assert_eq!(get(server.addr(), "/switch").await.status, 200);
    server.set_switch(Switch::Status(503));
    assert_eq!(get(server.addr(), "/switch").await.status, 503);
    server.set_switch(Switch::Hang);
    let mut client = Client::connect(server.addr()).await;
    client.ask("GET", "/switch").await;
    assert!(client.hears_nothing_for(Duration::from_millis(200)).await);
    server.set_switch(Switch::Status(200));
    assert_eq!(get(server.addr(), "/switch").await.status, 200);
}

/// Waits for something that another task is about to do.
async fn wait_until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it never happened");
}
