//! The answers that do not keep to HTTP, or would never end.
//!
//! Those without an end stop when the client closes: the next write fails.

use std::io::{self, Write};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::route::Route;
use crate::http::{Connection, Next};

/// Sixteen KiB is written at a time where the amount is what hurts.
const BLOCK_BYTES: usize = 16 * 1024;

const TRUNCATED: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nonly this";

const BAD_CHUNK: &[u8] =
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nthis is no size\r\nabc\r\n0\r\n\r\n";

const BAD_GZIP: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 16\r\n\r\nthis is not gzip";

const INFORMATIONAL: &str = "HTTP/1.1 100 Continue\r\n\r\n\
                             HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n";

/// Misbehaves as asked.
pub(super) async fn answer<S>(connection: &mut Connection<S>, fault: Route) -> io::Result<Next>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match fault {
        Route::Hang => return connection.hang().await,
        Route::Reset => return Ok(Next::Reset),
        Route::Truncate => connection.send(TRUNCATED).await?,
        Route::BadChunk => connection.send(BAD_CHUNK).await?,
        Route::BadGzip => {
            connection.send(BAD_GZIP).await?;
            return Ok(Next::Keep);
        }
        Route::Garbage => connection.send(&garbage()).await?,
        Route::SlowBody(pause) => {
            // No length and no chunks: the body ends when the connection does.
            let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
            drip(connection, head, b'.', pause).await?;
        }
        Route::DripHead(pause) => {
            drip(connection, b"HTTP/1.1 200 OK\r\nx-drip: ", b'a', pause).await?;
        }
        Route::EndlessHeaders => {
            connection.send(b"HTTP/1.1 200 OK\r\n").await?;
            flood(connection, "x-endless: and another one\r\n").await?;
        }
        Route::Informational => flood(connection, INFORMATIONAL).await?,
        Route::ManyHeaders(count) => {
            many_headers(connection, count).await?;
            return Ok(Next::Keep);
        }
        Route::BigHeader(length) => {
            big_header(connection, length).await?;
            return Ok(Next::Keep);
        }
        // Closing is all that `/close` does. The rest is answered elsewhere.
        _ => {}
    }
    Ok(Next::Close)
}

/// Four KiB that begin neither like HTTP nor like TLS, the same each time.
fn garbage() -> Vec<u8> {
    (0..4096u32).map(|n| (n * n * 31 + n * 7 + 0xA5) as u8).collect()
}

/// Sends `start` and then one byte at a time for ever.
async fn drip<S>(connection: &mut Connection<S>, start: &[u8], byte: u8, pause: Duration) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    connection.send(start).await?;
    loop {
        tokio::time::sleep(pause).await;
        connection.send(&[byte]).await?;
    }
}

/// Sends `text` over and over, as fast as it is taken.
async fn flood<S>(connection: &mut Connection<S>, text: &str) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let block = text.repeat(BLOCK_BYTES / text.len());
    loop {
        connection.send(block.as_bytes()).await?;
    }
}

async fn many_headers<S>(connection: &mut Connection<S>, count: u64) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut block = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n".to_vec();
    for number in 0..count {
        write!(block, "x-header-{number}: {number}\r\n")?;
        if block.len() > BLOCK_BYTES {
            connection.send(&block).await?;
            block.clear();
        }
    }
    block.extend_from_slice(b"\r\n");
    connection.send(&block).await
}

async fn big_header<S>(connection: &mut Connection<S>, length: u64) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let start = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-big: ";
    connection.send(start).await?;
    let block = [b'b'; 1024];
    let mut missing = length;
    while missing > 0 {
        let piece = missing.min(block.len() as u64) as usize;
        connection.send(&block[..piece]).await?;
        missing -= piece as u64;
    }
    connection.send(b"\r\n\r\n").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_not_http() {
        let mut headers = [httparse::EMPTY_HEADER; 16];

        let parsed = httparse::Response::new(&mut headers).parse(&garbage());

        assert!(parsed.is_err(), "{parsed:?}");
    }
}
