//! The little of HTTP/1.1 a server needs that wants to break it: read a request,
//! write bytes.
//!
//! Request, input and output buffers live as long as the connection, so that a
//! request on a kept-alive connection allocates nothing here.

use std::io::{self, Write};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Longest request head that is read; a longer one is answered 400.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Most headers a request may have; more are answered 400.
pub(crate) const MAX_HEADERS: usize = 128;
/// How much of a request's body is kept. The rest is read and forgotten.
const MAX_KEPT_BODY_BYTES: usize = 1024 * 1024;

/// What happens to a connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Read another request, if the client asked to keep the connection.
    Keep,
    /// Say goodbye (FIN), then close.
    Close,
    /// Break off (RST).
    Reset,
}

/// One request, reused for the next one of its connection.
#[derive(Debug, Default)]
pub(crate) struct Request {
    /// `GET`, as it was sent.
    pub(crate) method: String,
    /// Path and query, as they were sent.
    pub(crate) target: String,
    /// Whether the client wants to use the connection again.
    pub(crate) keep_alive: bool,
    /// The whole head, for the few answers that look at headers.
    pub(crate) head: Vec<u8>,
    /// The first [`MAX_KEPT_BODY_BYTES`] of the body.
    pub(crate) body: Vec<u8>,
    content_length: u64,
}

impl Request {
    /// The path without its query.
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The query without its question mark, empty if there is none.
    pub(crate) fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// Reads a head from the start of `input`. `None` if it is not complete yet.
    fn parse(&mut self, input: &[u8]) -> Result<Option<usize>, &'static str> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        let length = match parsed.parse(input) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if input.len() < MAX_HEAD_BYTES => return Ok(None),
            Ok(httparse::Status::Partial) => return Err("the head is too long"),
            Err(_) => return Err("this is not HTTP/1"),
        };
        self.method.clear();
        self.method.push_str(parsed.method.unwrap_or_default());
        self.target.clear();
        self.target.push_str(parsed.path.unwrap_or_default());
        self.keep_alive = parsed.version == Some(1);
        self.content_length = 0;
        for header in parsed.headers.iter() {
            let value = header.value.trim_ascii();
            if header.name.eq_ignore_ascii_case("connection") {
                if value.eq_ignore_ascii_case(b"close") {
                    self.keep_alive = false;
                } else if value.eq_ignore_ascii_case(b"keep-alive") {
                    self.keep_alive = true;
                }
            } else if header.name.eq_ignore_ascii_case("content-length") {
                self.content_length = std::str::from_utf8(value)
                    .ok()
                    .and_then(|digits| digits.parse().ok())
                    .ok_or("the content-length is not a number")?;
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                return Err("a request body needs a content-length here");
            }
        }
        self.head.clear();
        self.head.extend_from_slice(&input[..length]);
        Ok(Some(length))
    }
}

/// A connection to a client: bytes in, bytes out.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    stream: S,
    input: BytesMut,
    output: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, input: BytesMut::new(), output: Vec::new() }
    }

    /// The stream, to end it in a way of one's own.
    pub(crate) fn into_stream(self) -> S {
        self.stream
    }

    /// Reads the next head into `request`. False when the client is done; a
    /// head that makes no sense is answered 400 and ends the connection too.
    pub(crate) async fn read_head(&mut self, request: &mut Request) -> io::Result<bool> {
        loop {
            // An empty input parses as incomplete, it need not be tried.
            if !self.input.is_empty() {
                match request.parse(&self.input) {
                    Ok(Some(length)) => {
                        self.input.advance(length);
                        return Ok(true);
                    }
                    Ok(None) => {}
                    Err(problem) => {
                        request.keep_alive = false;
                        self.reply(request, 400, TEXT, format!("{problem}\n").as_bytes()).await?;
                        self.finish().await;
                        return Ok(false);
                    }
                }
            }
            if !self.fill().await? {
                return Ok(false);
            }
        }
    }

    /// Reads the body the head announced.
    pub(crate) async fn read_body(&mut self, request: &mut Request) -> io::Result<()> {
        request.body.clear();
        let mut missing = request.content_length;
        while missing > 0 {
            if self.input.is_empty() && !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let length = self.input.len().min(usize::try_from(missing).unwrap_or(usize::MAX));
            let kept = length.min(MAX_KEPT_BODY_BYTES - request.body.len());
            request.body.extend_from_slice(&self.input[..kept]);
            self.input.advance(length);
            missing -= length as u64;
        }
        Ok(())
    }

    /// Answers with `body` in a single write. `headers` are complete lines, each
    /// with its `\r\n`. A HEAD request gets the head only, and so do the codes
    /// that have no body: 1xx, 204 and 304.
    pub(crate) async fn reply(
        &mut self,
        request: &Request,
        status: u16,
        headers: &str,
        body: &[u8],
    ) -> io::Result<Next> {
        let bodiless = status < 200 || status == 204 || status == 304;
        self.output.clear();
        write!(self.output, "HTTP/1.1 {status} {}\r\n{headers}", reason(status))?;
        if !bodiless {
            write!(self.output, "content-length: {}\r\n", body.len())?;
        }
        if !request.keep_alive {
            self.output.extend_from_slice(b"connection: close\r\n");
        }
        self.output.extend_from_slice(b"\r\n");
        if !bodiless && request.method != "HEAD" {
            self.output.extend_from_slice(body);
        }
        self.stream.write_all(&self.output).await?;
        self.stream.flush().await?;
        Ok(Next::Keep)
    }

    /// Writes `bytes` as they are.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        // Does nothing on TCP; a TLS stream keeps what it was given until then.
        self.stream.flush().await
    }

    /// Writes one chunk of a chunked body; an empty one ends the body.
    pub(crate) async fn send_chunk(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.clear();
        write!(self.output, "{:x}\r\n", bytes.len())?;
        self.output.extend_from_slice(bytes);
        self.output.extend_from_slice(b"\r\n");
        self.stream.write_all(&self.output).await?;
        self.stream.flush().await
    }

    /// Answers nothing, and returns when the client has given up.
    pub(crate) async fn hang(&mut self) -> io::Result<Next> {
        loop {
            self.input.clear();
            if !self.fill().await? {
                return Ok(Next::Close);
            }
        }
    }

    /// Tells the client that no more will come. It may have gone; that is fine.
    pub(crate) async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Reads more input. False at its end.
    async fn fill(&mut self) -> io::Result<bool> {
        self.input.reserve(1024);
        Ok(self.stream.read_buf(&mut self.input).await? > 0)
    }
}

/// The header of a plain text answer, for [`Connection::reply`].
pub(crate) const TEXT: &str = "content-type: text/plain; charset=utf-8\r\n";
/// The header of a JSON answer, for [`Connection::reply`].
pub(crate) const JSON: &str = "content-type: application/json\r\n";

/// The words beside a status code; clients ignore them, people read them.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        418 => "I'm a teapot",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}
