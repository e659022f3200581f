//! An HTTP client that hides nothing: bytes out, bytes in.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Far longer than anything here takes; a test that hangs fails instead.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a server sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find_map(|(known, value)| known.eq_ignore_ascii_case(name).then_some(value))
    }
}

/// A connection that asks and reads.
pub(crate) struct Client {
    stream: TcpStream,
}

impl Client {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Sends a request that keeps the connection open.
    pub(crate) async fn ask(&mut self, method: &str, target: &str) {
        self.send(&format!("{method} {target} HTTP/1.1\r\nhost: test\r\n\r\n")).await;
    }

    /// Reads `length` bytes, or what there is before the end.
    pub(crate) async fn read(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        timeout(PATIENCE, async { (&mut self.stream).take(length as u64).read_to_end(&mut bytes).await })
            .await
            .expect("the server took too long")?;
        Ok(bytes)
    }

    /// Reads until the server closes.
    pub(crate) async fn read_all(&mut self) -> io::Result<Vec<u8>> {
        self.read(usize::MAX).await
    }

    /// Reads one answer with a content-length and leaves the connection open.
    pub(crate) async fn read_answer(&mut self) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = self.read(1).await.unwrap();
            assert!(!byte.is_empty(), "the server closed after {head:?}");
            head.extend(byte);
        }
        let mut answer = parse(&head);
        let length = answer.header("content-length").unwrap_or("0");
        answer.body = self.read(length.parse().unwrap()).await.unwrap();
        answer
    }

    /// Whether the server stays silent, and keeps the connection, for as long.
    pub(crate) async fn hears_nothing_for(&mut self, time: Duration) -> bool {
        timeout(time, self.stream.read_u8()).await.is_err()
    }
}

/// Sends a request on a connection of its own and reads until the server closes.
pub(crate) async fn get_raw(addr: SocketAddr, target: &str) -> io::Result<Vec<u8>> {
    let mut client = Client::connect(addr).await;
    client.send(&format!("GET {target} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")).await;
    client.read_all().await
}

/// Like [`get_raw`], split into head and body.
pub(crate) async fn get(addr: SocketAddr, target: &str) -> Answer {
    parse(&get_raw(addr, target).await.unwrap())
}

/// Splits an answer that was read completely.
fn parse(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("there is a head");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: bytes[end + 4..].to_vec() }
}

/// Undoes the chunked encoding; panics if it is broken or has no end.
pub(crate) fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = bytes.iter().position(|byte| *byte == b'\r').unwrap();
        let size = std::str::from_utf8(&bytes[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let start = line + 2;
        body.extend_from_slice(&bytes[start..start + size]);
        assert_eq!(&bytes[start + size..start + size + 2], b"\r\n");
        bytes = &bytes[start + size + 2..];
        if size == 0 {
            assert!(bytes.is_empty(), "bytes after the last chunk");
            return body;
        }
    }
}
