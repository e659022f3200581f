//! Clients that read slowly, or not at all, over real sockets. Nothing is stored: the test says
//! what is shown.

use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer, web};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use store::pool::{self, PoolSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use super::hub::Hub;
use super::views::members;
use crate::routes;
use crate::state::State;

const PATIENCE: Duration = Duration::from_secs(2);

/// An answer to a ping may be asked for so much later than the last one came.
const LATEST: Duration = Duration::from_millis(2_500);

/// What a machine with much else to do may add.
const SLACK: Duration = Duration::from_secs(2);

struct Server {
    hub: Hub,
    address: String,
    handle: ServerHandle,
}

impl Server {
    fn start() -> Self {
        let hub = Hub::new(PATIENCE);
        let pool = pool::lazy("postgres://127.0.0.1:1/nothing", &PoolSettings::API).unwrap();
        let state = web::Data::new(State { pool, migrated: Arc::default(), hub: hub.clone() });
        let server = HttpServer::new(move || App::new().app_data(state.clone()).configure(routes::configure))
            .on_connect(super::on_connect)
            .h1_write_buffer_size(super::PIECE)
            .workers(1)
            .disable_signals()
            .bind("127.0.0.1:0")
            .unwrap();
        let address = server.addrs()[0].to_string();
        let server = server.run();
        let handle = server.handle();
        tokio::spawn(server);
        Self { hub, address, handle }
    }

    /// A state of about so many bytes, another one each time.
    fn show(&self, bytes: usize) {
        let text: String = (0..bytes).map(|_| char::from(rand::random_range(b'a'..=b'z'))).collect();
        self.hub.show(members(&json!({ "text": text })));
    }

    /// A client that has said what it wants to see, and has read nothing since.
    async fn deaf(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        // As it is on a page that hangs: little room, and nobody who makes more.
        socket.set_recv_buffer_size(8 * 1024).unwrap();
        let mut stream = socket.connect(self.address.parse().unwrap()).await.unwrap();
        let head = format!(
            "GET /api/v1/live HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            self.address
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        let text = br#"{"subscribe":"overview"}"#;
        // The mask is four zeroes.
        let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
        frame.extend_from_slice(text);
        stream.write_all(&frame).await.unwrap();
        stream
    }
}

/// How long it takes until the other side ends this connection, of which nothing is read.
async fn until_cut(stream: &TcpStream) -> Duration {
    let begun = Instant::now();
    let cut = timeout(PATIENCE * 5, stream.ready(Interest::ERROR)).await;
    assert!(cut.expect("the connection is cut").unwrap().is_error());
    begun.elapsed()
}

#[tokio::test]
async fn who_does_not_read_is_cut_off_in_time_whether_much_is_sent_or_little() {
    let server = Server::start();
    server.show(100);
    let quiet = server.deaf().await;
    let waited = until_cut(&quiet).await;
    assert!((PATIENCE..LATEST + SLACK).contains(&waited), "only pings: {waited:?}");

    server.show(2_000_000);
    let busy = server.deaf().await;
    let (mut reader, _) = client_async(
        format!("ws://{}/api/v1/live", server.address),
        TcpStream::connect(&server.address).await.unwrap(),
    )
    .await
    .unwrap();
    reader.send(Message::text(r#"{"subscribe":"overview"}"#)).await.unwrap();
    let reading = tokio::spawn(async move {
        let mut longest = Duration::ZERO;
        let mut last = Instant::now();
        while let Some(Ok(message)) = reader.next().await {
            if message.is_text() {
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
        }
        longest
    });
    let showing = async {
        loop {
            sleep(Duration::from_millis(100)).await;
            server.show(20_000);
        }
    };
    let waited = tokio::select! {
        waited = until_cut(&busy) => waited,
        () = showing => unreachable!(),
    };
    assert!((PATIENCE..LATEST + SLACK).contains(&waited), "far more than is taken: {waited:?}");
    server.hub.stop();
    let longest = reading.await.unwrap();
    assert!(longest < Duration::from_secs(1), "who reads does not notice: {longest:?}");
    server.handle.stop(true).await;
}

#[tokio::test]
async fn who_reads_slowly_gets_it_all_although_that_takes_longer_than_we_wait_for_a_piece() {
    let server = Server::start();
    server.show(600_000);
    // 200 KB a second, and little that waits on the way.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let slow = listener.local_addr().unwrap();
    let upstream = server.address.clone();
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(8 * 1024).unwrap();
        let server = socket.connect(upstream.parse().unwrap()).await.unwrap();
        let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
            (client.into_split(), server.into_split());
        let up = tokio::io::copy(&mut from_client, &mut to_server);
        let down = async {
            let mut buffer = vec![0; 2_000];
            while let Ok(bytes @ 1..) = from_server.read(&mut buffer).await {
                to_client.write_all(&buffer[..bytes]).await.unwrap();
                sleep(Duration::from_millis(10)).await;
            }
        };
        let _ = tokio::join!(up, down);
    });
    let stream = TcpStream::connect(slow).await.unwrap();
    let (mut socket, _) = client_async(format!("ws://{slow}/api/v1/live"), stream).await.unwrap();
    let begun = Instant::now();
    socket.send(Message::text(r#"{"subscribe":"overview"}"#)).await.unwrap();
    let mut pings = 0;
    let whole = async {
        loop {
            match socket.next().await.expect("it is open").unwrap() {
                Message::Text(text) => return text,
                Message::Ping(_) => pings += 1,
                other => panic!("{other:?}"),
            }
        }
    };
    let whole = timeout(PATIENCE * 5, whole).await.expect("it comes");
    assert!(begun.elapsed() > PATIENCE, "the line is as slow as it should be: {:?}", begun.elapsed());
    let frame: Value = serde_json::from_str(&whole).unwrap();
    assert_eq!(frame["data"]["text"].as_str().unwrap().len(), 600_000);
    // And it is still there after the next two pings.
    let after = pings + 2;
    while pings < after {
        let message = timeout(PATIENCE + SLACK, socket.next()).await.expect("a ping").expect("it is open").unwrap();
        assert!(message.is_ping(), "{message:?}");
        pings += 1;
    }
    server.hub.stop();
    server.handle.stop(true).await;
}
