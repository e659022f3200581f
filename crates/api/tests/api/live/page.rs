//! What a page does: connects, listens, and puts together what it hears.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Map, Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message, http};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::support::TestApi;

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub(crate) fn address(api: &TestApi) -> String {
    format!("{}/api/v1/live", api.base.replace("http", "ws"))
}

pub(crate) async fn connect(api: &TestApi) -> Socket {
    connect_async(address(api)).await.unwrap().0
}

/// A socket that a token opened.
pub(crate) async fn connect_as(api: &TestApi, token: &str) -> Socket {
    let mut request = address(api).into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    connect_async(request).await.unwrap().0
}

pub(crate) async fn connect_with(api: &TestApi, headers: &[(&'static str, &str)]) -> Result<http::Response<()>, u16> {
    let mut request = address(api).into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    match connect_async(request).await {
        Ok((_, response)) => Ok(response.map(|_| ())),
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

/// A socket that looks at the overview.
pub(crate) async fn look(api: &TestApi) -> Socket {
    let mut socket = connect(api).await;
    say(&mut socket, json!({"subscribe": "overview"})).await;
    socket
}

/// A page that shows the overview, and the socket it comes by.
pub(crate) async fn open(api: &TestApi) -> (Socket, Page) {
    let mut socket = look(api).await;
    let mut page = Page::default();
    page.take(&hear(&mut socket).await);
    (socket, page)
}

pub(crate) async fn say(socket: &mut Socket, message: Value) {
    socket.send(Message::text(message.to_string())).await.unwrap();
}

/// The next frame with something in it.
pub(crate) async fn hear(socket: &mut Socket) -> Value {
    loop {
        let message = timeout(Duration::from_secs(10), socket.next()).await.expect("a frame within 10 s");
        match message.unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Close(frame) => panic!("closed: {frame:?}"),
            _ => {}
        }
    }
}

/// The code with which the other side closes, and the last error before.
pub(crate) async fn close_code(socket: &mut Socket) -> (u16, Option<String>) {
    let mut error = None;
    loop {
        let message = timeout(Duration::from_secs(5), socket.next()).await.expect("an end within 5 s");
        match message {
            Some(Ok(Message::Text(text))) => {
                let frame: Value = serde_json::from_str(&text).unwrap();
                if frame["type"] == "error" {
                    error = frame["code"].as_str().map(str::to_owned);
                }
            }
            Some(Ok(Message::Close(frame))) => return (frame.unwrap().code.into(), error),
            Some(Ok(_)) => {}
            other => panic!("no close frame but {other:?}"),
        }
    }
}

/// What a page does with frames.
#[derive(Default)]
pub(crate) struct Page {
    pub(crate) seq: u64,
    pub(crate) data: Map<String, Value>,
    pub(crate) snapshots: usize,
}

impl Page {
    pub(crate) fn take(&mut self, frame: &Value) {
        match frame["type"].as_str().unwrap() {
            "snapshot" => {
                self.data = frame["data"].as_object().unwrap().clone();
                self.snapshots += 1;
            }
            "delta" => {
                assert_eq!(frame["base"], self.seq, "a delta leads on from what the client holds");
                for (name, value) in frame["set"].as_object().unwrap() {
                    self.data.insert(name.clone(), value.clone());
                }
                for (name, changes) in frame["rows"].as_object().unwrap() {
                    let by = if ["targets", "rows"].contains(&name.as_str()) { "key" } else { "name" };
                    let rows = self.data[name].as_array_mut().unwrap();
                    rows.retain(|row| !changes["gone"].as_array().unwrap().contains(&row[by]));
                    for put in changes["put"].as_array().unwrap() {
                        match rows.iter_mut().find(|row| row[by] == put[by]) {
                            Some(row) => *row = put.clone(),
                            None => rows.push(put.clone()),
                        }
                    }
                }
            }
            other => panic!("{other}"),
        }
        self.seq = frame["seq"].as_u64().unwrap();
    }

    pub(crate) async fn until(&mut self, socket: &mut Socket, what: impl Fn(&Map<String, Value>) -> bool) {
        let begun = Instant::now();
        while !what(&self.data) {
            assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", self.data);
            self.take(&hear(socket).await);
        }
    }

    pub(crate) fn without_order(mut self) -> Map<String, Value> {
        if let Some(Value::Array(rows)) = self.data.get_mut("targets") {
            rows.sort_by_key(|row| row["key"].to_string());
        }
        self.data
    }
}
