//! The fault server itself: connections, log, life and death.

use std::time::{Duration, SystemTime};

use crate::support::{Client, get, unchunk};
use demo::faults::{FaultArgs, FaultServer};

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request() {
    let server = FaultServer::start().await.unwrap();
    let mut client = Client::connect(server.addr()).await;

    for path in ["/ok", "/status/500", "/body/100000", "/bad-gzip", "/nothing", "/ok"] {
        client.ask("GET", path).await;
        client.read_answer().await;
    }

    assert_eq!(server.stats().requests, 6);
    assert_eq!(server.stats().connections, 1);
}

#[tokio::test]
async fn pipelined_requests_and_bodies_are_told_apart() {
    let server = FaultServer::start().await.unwrap();
    let mut client = Client::connect(server.addr()).await;

    client
        .send("POST /ok HTTP/1.1\r\ncontent-length: 20\r\n\r\nGET /no HTTP/1.1\r\n\r\nGET /status/418 HTTP/1.1\r\n\r\n")
        .await;

    assert_eq!(client.read_answer().await.status, 200);
    assert_eq!(client.read_answer().await.status, 418);
    let targets: Vec<_> = server.log().into_iter().map(|r| r.target).collect();
    assert_eq!(targets, ["/ok", "/status/418"]);
}

#[tokio::test]
async fn a_request_in_pieces_is_read_and_logged_once_it_is_complete() {
    let server = FaultServer::start().await.unwrap();
    let mut client = Client::connect(server.addr()).await;

    client.send("GET /ok?t=17 HT").await;
    assert!(client.hears_nothing_for(Duration::from_millis(50)).await);
    let before = SystemTime::now();
    client.send("TP/1.1\r\nhost: a\r\n\r\n").await;

    assert_eq!(client.read_answer().await.status, 200);
    let log = server.log();
    assert_eq!((log.len(), log[0].target.as_str()), (1, "/ok?t=17"));
    assert!(log[0].at >= before);
}

#[tokio::test]
async fn a_client_that_asks_for_it_is_closed() {
    let server = FaultServer::start().await.unwrap();
    for request in ["GET /ok HTTP/1.1\r\nConnection: Close\r\n\r\n", "GET /ok HTTP/1.0\r\n\r\n"] {
        let mut client = Client::connect(server.addr()).await;

        client.send(request).await;
        let bytes = client.read_all().await.unwrap();

        assert!(bytes.ends_with(b"\r\n\r\nok\n"), "{request}");
    }
}

#[tokio::test]
async fn a_head_request_gets_no_body() {
    let server = FaultServer::start().await.unwrap();
    let mut client = Client::connect(server.addr()).await;

    for path in ["/ok", "/body/1000", "/gzip/1000", "/status/404"] {
        client.send(&format!("HEAD {path} HTTP/1.1\r\n\r\n")).await;
    }
    client.send("HEAD /ok HTTP/1.1\r\nconnection: close\r\n\r\n").await;

    let text = String::from_utf8(client.read_all().await.unwrap()).unwrap();
    assert_eq!(text.matches("HTTP/1.1 ").count(), 5, "{text}");
    assert!(text.split("\r\n\r\n").all(|head| head.is_empty() || head.starts_with("HTTP/1.1 ")));
}

#[tokio::test]
async fn what_is_no_request_is_answered_400() {
    let server = FaultServer::start().await.unwrap();
    // As long as the server reads, and not a byte more: closing with input unread
    // resets the connection, and the answer may be lost.
    let start = "GET / HTTP/1.1\r\nx: ";
    let long = format!("{start}{}", "y".repeat(64 * 1024 - start.len()));
    for request in [
        "\u{16}\u{3}\u{1}not http\r\n\r\n",
        "POST /ok HTTP/1.1\r\ncontent-length: many\r\n\r\n",
        "POST /ok HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
        &long,
    ] {
        let mut client = Client::connect(server.addr()).await;

        client.send(request).await;

        assert_eq!(client.read_answer().await.status, 400, "{request:.40}");
    }
    assert_eq!(server.log(), []);
}

#[tokio::test]
async fn the_log_has_every_request_with_increasing_time() {
    let server = FaultServer::start_on_thread().unwrap();
    let started_at = SystemTime::now();

    let clients = (0..20).map(|client| {
        let addr = server.addr();
        tokio::spawn(async move {
            let mut connection = Client::connect(addr).await;
            for number in 0..50 {
                connection.ask("GET", &format!("/ok?t={client}-{number}")).await;
                connection.read_answer().await;
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }

    let log = server.log();
    assert_eq!(log.len(), 1000);
    assert!(log.is_sorted_by_key(|request| request.at));
    assert!(log[0].at >= started_at && log[999].at <= SystemTime::now());
    let mut connections: Vec<_> = log.iter().map(|request| request.connection).collect();
    let mut targets: Vec<_> = log.into_iter().map(|request| request.target).collect();
    connections.sort_unstable();
    connections.dedup();
    targets.sort_unstable();
    targets.dedup();
    assert_eq!((connections.len(), targets.len()), (20, 1000));
}

#[tokio::test]
async fn the_log_is_read_and_cleared_over_http() {
    let server = FaultServer::start().await.unwrap();
    get(server.addr(), "/ok?t=1").await;
    get(server.addr(), "/status/500").await;

    let log = get(server.addr(), "/_log").await;
    let stats = get(server.addr(), "/_stats").await;
    let mut client = Client::connect(server.addr()).await;
    client.ask("DELETE", "/_log").await;
    let cleared = client.read_answer().await;

    let lines = String::from_utf8(unchunk(&log.body)).unwrap();
    let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["target"], "/ok?t=1");
    assert_eq!(lines[0]["method"], "GET");
    assert_eq!(lines[1]["connection"], 2);
    assert!(lines[0]["at_us"].as_i64() <= lines[1]["at_us"].as_i64());
    let stats: serde_json::Value = serde_json::from_slice(&stats.body).unwrap();
    assert_eq!((&stats["requests"], &stats["unlogged"]), (&2.into(), &0.into()));
    assert_eq!(cleared.status, 204);
    assert_eq!(server.log(), []);
}

#[tokio::test]
async fn the_log_file_gets_every_request() {
    let file = std::env::temp_dir().join(format!("lookout-demo-log-{}.ndjson", std::process::id()));
    let args = FaultArgs { host: "127.0.0.1".to_owned(), port: 0, log: Some(file.clone()) };
    let server = FaultServer::open(&args).await.unwrap();

    get(server.addr(), "/ok?t=1").await;
    get(server.addr(), "/ok?t=2").await;
    server.flush_log().unwrap();

    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let logged: Vec<_> = text.lines().map(str::to_owned).collect();
    let known = server.log();
    let known: Vec<_> = known.iter().map(|r| serde_json::to_string(r).unwrap()).collect();
    assert_eq!(logged, known);
}

#[tokio::test]
async fn a_dropped_server_is_gone() {
    let on_thread = FaultServer::start_on_thread().unwrap();
    let mut hanging = Client::connect(on_thread.addr()).await;
    hanging.ask("GET", "/hang").await;
    assert!(hanging.hears_nothing_for(Duration::from_millis(50)).await);
    let addr = on_thread.addr();

    drop(on_thread);

    assert!(matches!(hanging.read_all().await.as_deref(), Ok([]) | Err(_)));
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_cause() {
    let first = FaultServer::start().await.unwrap();

    let error = FaultServer::bind("127.0.0.1", first.addr().port()).await.unwrap_err();

    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&first.addr().to_string()), "{error}");
}

#[tokio::test]
async fn a_stream_somebody_else_accepted_gets_the_same_answers() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = FaultServer::start().await.unwrap();

    for (path, expected) in [("/ok", "ok\n"), ("/reset", ""), ("/close", "")] {
        let (mut ours, theirs) = tokio::io::duplex(64);
        let serving = tokio::spawn(server.serve_connection(theirs));
        ours.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        ours.read_to_string(&mut answer).await.unwrap();
        serving.await.unwrap();

        assert!(answer.ends_with(expected), "{answer}");
        assert_eq!(answer.is_empty(), expected.is_empty());
    }
    assert_eq!(server.log().len(), 3);
}
