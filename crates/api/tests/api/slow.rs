//! Clients that take their time: each has a deadline, and nobody else waits for them.

use std::time::Duration;

use common::Outcome;
use futures_util::future::join_all;
use store::testing::TestDb;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use crate::stream::{declared, good, stored};
use crate::support::{NOON_US, TOKEN, TestApi, check, store};

/// Every deadline for heads and idle connections, and some for a busy machine.
const PATIENCE: Duration = Duration::from_secs(15);

async fn connect(api: &TestApi) -> TcpStream {
    TcpStream::connect(api.base.trim_start_matches("http://")).await.unwrap()
}

/// How long until the other side hangs up, while `what` is said every second.
async fn until_closed(mut stream: TcpStream, what: &[u8]) -> Duration {
    let begun = Instant::now();
    let mut buffer = [0; 1024];
    while begun.elapsed() < PATIENCE {
        match timeout(Duration::from_secs(1), stream.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => return begun.elapsed(),
            Ok(Ok(_)) => {}
            Err(_) if stream.write_all(what).await.is_err() => return begun.elapsed(),
            Err(_) => {}
        }
    }
    panic!("still open after {:?}", begun.elapsed());
}

#[tokio::test]
async fn heads_that_never_end_and_connections_without_requests_are_closed_and_hold_up_nobody() {
    let db = TestDb::new().await;
    let api = TestApi::start(&db.url).await;
    let begun = Instant::now();
    let dribbling = (0..200).map(async |_| {
        let mut stream = connect(&api).await;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-slow: ").await.unwrap();
        until_closed(stream, b"y").await
    });
    let silent = (0..200).map(async |_| until_closed(connect(&api).await, b"").await);
    let idle = (0..200).map(async |_| {
        let mut stream = connect(&api).await;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        until_closed(stream, b"").await
    });
    let asked = async {
        // Meanwhile everybody else is answered.
        while begun.elapsed() < Duration::from_secs(5) {
            assert_eq!(api.get("/healthz").await.status(), 200);
            sleep(Duration::from_millis(50)).await;
        }
    };
    let (dribbling, silent, idle, ()) = tokio::join!(join_all(dribbling), join_all(silent), join_all(idle), asked);
    for took in dribbling.into_iter().chain(silent).chain(idle) {
        assert!(took < PATIENCE, "{took:?}");
    }
    api.stop().await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_of_a_long_answer_is_let_go() {
    let db = TestDb::new().await;
    // Tens of megabytes: more than buffers between us hold.
    let slots = 100_000;
    let checks: Vec<_> = (0..slots).map(|slot| check(1, NOON_US + slot * 1_000_000, Outcome::Up)).collect();
    for checks in checks.chunks(20_000) {
        store(&db, checks).await;
    }
    let api = TestApi::start(&db.url).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    let mut stream = socket.connect(api.base.trim_start_matches("http://").parse().unwrap()).await.unwrap();
    stream
        .write_all(
            format!("GET /status HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n\r\n").as_bytes(),
        )
        .await
        .unwrap();
    sleep(PATIENCE + Duration::from_secs(5)).await;
    // What is in the buffers comes, and then the end that is none: not the last chunk.
    let mut answer = Vec::new();
    let end = timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.expect("an end");
    assert!(end.is_err() || !answer.ends_with(b"0\r\n\r\n"), "{} bytes came", answer.len());
    assert!(answer.len() < 8 * 1024 * 1024, "{} bytes came", answer.len());
    api.stop().await;
}

#[tokio::test]
async fn a_body_that_dribbles_is_given_up_after_its_deadline() {
    let db = TestDb::new().await;
    let api = TestApi::start(&db.url).await;
    let mut stream = connect(&api).await;
    let head = format!(
        "POST /api/v1/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n\
         content-type: application/x-ndjson\r\ncontent-length: 1000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let begun = Instant::now();
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        assert!(begun.elapsed() < Duration::from_secs(25), "{}", String::from_utf8_lossy(&answer));
        match timeout(Duration::from_secs(1), stream.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(count)) => answer.extend_from_slice(&buffer[..count]),
            Err(_) => {
                let _ = stream.write_all(b"x").await;
            }
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(begun.elapsed() >= Duration::from_secs(9), "{:?}", begun.elapsed());
    api.stop().await;
}

#[tokio::test]
async fn what_is_under_way_when_a_stop_comes_is_answered_and_nothing_new_begins() {
    let (db, api) = declared().await;
    let line = format!("{}\n", good());
    let head = format!(
        "POST /api/v1/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\nexpect: 100-continue\r\n\
         content-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
        line.len()
    );
    let address = api.base.trim_start_matches("http://").to_owned();
    let mut streams = Vec::new();
    for _ in 0..10 {
        let mut stream = connect(&api).await;
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut asked_for_more = [0; 25];
        stream.read_exact(&mut asked_for_more).await.unwrap();
        assert_eq!(&asked_for_more, b"HTTP/1.1 100 Continue\r\n\r\n");
        streams.push(stream);
    }
    let stopping = tokio::spawn(api.stop());
    // From now on nobody is let in.
    let begun = Instant::now();
    while TcpStream::connect(&address).await.is_ok() {
        assert!(begun.elapsed() < PATIENCE, "it still listens");
        sleep(Duration::from_millis(10)).await;
    }
    for stream in &mut streams {
        stream.write_all(line.as_bytes()).await.unwrap();
    }
    for mut stream in streams {
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 207"), "{answer}");
    }
    stopping.await.unwrap();
    assert_eq!(stored(&db).await, 10);
}
