//! The answers that keep to HTTP.

use std::collections::BTreeMap;
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};

use super::hostile;
use super::route::Route;
use super::serve::{Shared, Switch};
use crate::http::{Connection, JSON, MAX_HEADERS, Next, Request, TEXT};

/// The whole answer of `/ok`, so that it costs one write and nothing else.
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nok\n";

/// What bodies are made of, in pieces of 64 KiB.
static FILLER: [u8; 64 * 1024] = [b'x'; 64 * 1024];

/// Answers one request whose body has been read.
pub(super) async fn answer<S>(
    connection: &mut Connection<S>,
    request: &Request,
    route: Option<Route>,
    shared: &Shared,
) -> io::Result<Next>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some(route) = route else {
        let hint = b"no such fault; `lookout demo faults --help` lists them\n";
        return connection.reply(request, 404, TEXT, hint).await;
    };
    match route {
        Route::Ok => ok(connection, request).await,
        Route::Delay(delay) => {
            tokio::time::sleep(delay).await;
            ok(connection, request).await
        }
        Route::Status(status) => reply_status(connection, request, status).await,
        Route::Flaky(percent) => {
            let status = if shared.fails(percent) { 500 } else { 200 };
            reply_status(connection, request, status).await
        }
        Route::Switch => match shared.switch() {
            Switch::Status(status) => reply_status(connection, request, status).await,
            Switch::Hang => connection.hang().await,
        },
        Route::Echo => echo(connection, request).await,
        Route::Redirect(0) => ok(connection, request).await,
        Route::Redirect(1) => redirect_within(connection, request, "/ok").await,
        Route::Redirect(hops) => redirect_within(connection, request, &format!("/redirect/{}", hops - 1)).await,
        Route::Loop => redirect_within(connection, request, "/loop").await,
        Route::RedirectTo => redirect_to(connection, request).await,
        Route::Body(length) => body(connection, request, length).await,
        Route::Gzip(length) => gzip(connection, request, length).await,
        Route::Log => log(connection, request, shared).await,
        Route::Stats => {
            let stats = serde_json::to_vec(&shared.stats())?;
            connection.reply(request, 200, JSON, &stats).await
        }
        // On the heap, for the sake of all the connections that never come here.
        fault => Box::pin(hostile::answer(connection, fault)).await,
    }
}

async fn ok<S>(connection: &mut Connection<S>, request: &Request) -> io::Result<Next>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if request.keep_alive && request.method != "HEAD" {
        connection.send(OK).await?;
        return Ok(Next::Keep);
    }
    connection.reply(request, 200, "content-type: text/plain\r\n", b"ok\n").await
}

async fn reply_status<S>(connection: &mut Connection<S>, request: &Request, status: u16) -> io::Result<Next>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let body = format!("{status}\n");
    connection.reply(request, status, TEXT, body.as_bytes()).await
}

/// Keeps the query, so that the hops of different targets can be told apart.
async fn redirect_within<S>(connection: &mut Connection<S>, request: &Request, path: &str) -> io::Result<Next>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let question_mark = if request.query().is_empty() { "" } else { "?" };
    let headers = format!("location: {path}{question_mark}{}\r\n", request.query());
    connection.reply(request, 302, &headers, b"").await
}

async fn redirect_to<S>(connection: &mut Connection<S>, request: &Request) -> io::Result<Next>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let parameters = request.query().split('&');
    let url = parameters
        .filter_map(|parameter| parameter.strip_prefix("url="))
        .find_map(percent_decode)
        // A line break would end the header.
        .filter(|url| !url.contains(char::is_control));
    match url {
        Some(url) => {
            let headers = format!("location: {url}\r\n");
            connection.reply(request, 302, &headers, b"").await
        }
        None => {
            let hint = b"give an address: /redirect-to?url=http%3A%2F%2F127.0.0.1%2F\n";
            connection.reply(request, 400, TEXT, hint).await
        }
    }
}

/// `None` if a `%` is not followed by two hexadecimal digits, or the result is
/// not UTF-8.
fn percent_decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let high = char::from(bytes.next()?).to_digit(16)?;
        let low = char::from(bytes.next()?).to_digit(16)?;
        decoded.push((high * 16 + low) as u8);
    }
    String::from_utf8(decoded).ok()
}

async fn echo<S>(connection: &mut Connection<S>, request: &Request) -> io::Result<Next>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut room = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut room);
    // It parsed when it was read, so it does so again.
    let _ = parsed.parse(&request.head);
    let mut headers = BTreeMap::<String, String>::new();
    for header in parsed.headers.iter() {
        let value = String::from_utf8_lossy(header.value);
        headers
            .entry(header.name.to_ascii_lowercase())
            .and_modify(|all| *all = format!("{all}, {value}"))
            .or_insert_with(|| value.to_string());
    }
    let seen = json!({
        "method": request.method,
        "target": request.target,
        "headers": headers,
        "body": String::from_utf8_lossy(&request.body),
    });
    connection.reply(request, 200, JSON, seen.to_string().as_bytes()).await
}

async fn body<S>(connection: &mut Connection<S>, request: &Request, length: u64) -> io::Result<Next>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let head = format!("HTTP/1.1 200 OK\r\n{TEXT}content-length: {length}\r\n\r\n");
    connection.send(head.as_bytes()).await?;
    if request.method != "HEAD" {
        for piece in pieces(length) {
            connection.send(piece).await?;
        }
    }
    Ok(Next::Keep)
}

async fn gzip<S>(connection: &mut Connection<S>, request: &Request, length: u64) -> io::Result<Next>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let head = format!("HTTP/1.1 200 OK\r\n{TEXT}content-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n");
    connection.send(head.as_bytes()).await?;
    if request.method == "HEAD" {
        return Ok(Next::Keep);
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    for piece in pieces(length) {
        encoder.write_all(piece)?;
        if !encoder.get_ref().is_empty() {
            connection.send_chunk(encoder.get_ref()).await?;
            encoder.get_mut().clear();
        }
        // Compressing needs no I/O to wait for; let the other connections go on.
        tokio::task::yield_now().await;
    }
    connection.send_chunk(&encoder.finish()?).await?;
    connection.send_chunk(b"").await?;
    Ok(Next::Keep)
}

/// Slices of the filler that are `length` bytes together.
fn pieces(length: u64) -> impl Iterator<Item = &'static [u8]> {
    let mut missing = length;
    std::iter::from_fn(move || {
        let piece = usize::try_from(missing).unwrap_or(usize::MAX).min(FILLER.len());
        missing -= piece as u64;
        (piece > 0).then(|| &FILLER[..piece])
    })
}

async fn log<S>(connection: &mut Connection<S>, request: &Request, shared: &Shared) -> io::Result<Next>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match request.method.as_str() {
        "GET" => {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n\
                        transfer-encoding: chunked\r\n\r\n";
            connection.send(head.as_bytes()).await?;
            for block in shared.log.blocks() {
                let mut lines = Vec::new();
                for entry in block.iter() {
                    serde_json::to_writer(&mut lines, entry)?;
                    lines.push(b'\n');
                }
                // An empty chunk would end the body early.
                if !lines.is_empty() {
                    connection.send_chunk(&lines).await?;
                }
            }
            connection.send_chunk(b"").await?;
            Ok(Next::Keep)
        }
        "DELETE" => {
            shared.log.clear();
            connection.reply(request, 204, "", b"").await
        }
        _ => {
            let headers = "allow: GET, DELETE\r\n";
            connection.reply(request, 405, headers, b"").await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_signs_are_decoded_or_refused() {
        assert_eq!(percent_decode("http%3A%2F%2Fa.example%2f"), Some("http://a.example/".to_owned()));
        assert_eq!(percent_decode("plain"), Some("plain".to_owned()));
        for wrong in ["%", "%2", "%zz", "%ff"] {
            assert_eq!(percent_decode(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn pieces_add_up() {
        for length in [0, 1, 65_535, 65_536, 65_537, 1_000_000] {
            let total: usize = pieces(length).map(<[u8]>::len).sum();

            assert_eq!(total as u64, length);
        }
    }
}
