//! One connection: read a request, log it, answer it, again.

use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::answers;
use super::log::{Log, Stats};
use super::route::Route;
use crate::http::{Connection, Next, Request};

/// What `/switch` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// Answers with this status code.
    Status(u16),
    /// Never answers. Requests that hang already stay so after the next change.
    Hang,
}

/// How a hanging switch is stored: no status code is 0.
const HANG: u16 = 0;

/// What all connections of a server share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) log: Log,
    switch: AtomicU16,
    /// Requests to `/flaky/<percent>`, for each percentage from 0 to 100.
    flaky: [AtomicU32; 101],
    connections: AtomicU64,
    open_connections: AtomicU64,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            log: Log::default(),
            switch: AtomicU16::new(200),
            flaky: std::array::from_fn(|_| AtomicU32::new(0)),
            connections: AtomicU64::new(0),
            open_connections: AtomicU64::new(0),
        }
    }
}

impl Shared {
    pub(super) fn set_switch(&self, switch: Switch) {
        let stored = match switch {
            Switch::Status(status) => status,
            Switch::Hang => HANG,
        };
        self.switch.store(stored, Relaxed);
    }

    pub(super) fn switch(&self) -> Switch {
        match self.switch.load(Relaxed) {
            HANG => Switch::Hang,
            status => Switch::Status(status),
        }
    }

    /// Whether the next request to `/flaky/<percent>` fails: `percent` of every
    /// 100 in a row do, scattered, and the same ones each time.
    pub(super) fn fails(&self, percent: u8) -> bool {
        let number = self.flaky.get(usize::from(percent)).map_or(0, |counter| counter.fetch_add(1, Relaxed));
        // 37 and 100 have no common factor, so this visits 0 to 99 once per hundred.
        (number % 100 * 37 + 50) % 100 < u32::from(percent)
    }

    pub(super) fn stats(&self) -> Stats {
        let (logged, unlogged) = self.log.counts();
        Stats {
            requests: logged + unlogged,
            unlogged,
            connections: self.connections.load(Relaxed),
            open_connections: self.open_connections.load(Relaxed),
        }
    }
}

/// Serves a TCP connection, the only kind that can be reset.
pub(super) async fn tcp(stream: TcpStream, shared: Arc<Shared>) {
    if let (stream, Next::Reset) = connection(stream, &shared).await {
        // Without time to linger, closing sends RST. Fails only if the peer was faster.
        let _ = stream.set_zero_linger();
    }
}

/// Serves a connection until it ends. Returns the stream and how it wants to end.
pub(super) async fn connection<S>(stream: S, shared: &Shared) -> (S, Next)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let _open = Open::new(&shared.open_connections);
    let id = shared.connections.fetch_add(1, Relaxed) + 1;
    let mut connection = Connection::new(stream);
    // A client that breaks off is everyday life here, not an error.
    let next = requests(&mut connection, id, shared).await.unwrap_or(Next::Close);
    if next != Next::Reset {
        connection.finish().await;
    }
    (connection.into_stream(), next)
}

async fn requests<S>(connection: &mut Connection<S>, id: u64, shared: &Shared) -> std::io::Result<Next>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = Request::default();
    while connection.read_head(&mut request).await? {
        let route = Route::parse(request.path());
        if !route.is_some_and(Route::is_about_the_server) {
            shared.log.push(id, &request.method, &request.target);
        }
        connection.read_body(&mut request).await?;
        let next = answers::answer(connection, &request, route, shared).await?;
        if next != Next::Keep {
            return Ok(next);
        }
        if !request.keep_alive {
            break;
        }
    }
    Ok(Next::Close)
}

/// Counts a connection as open for as long as it lives, also if its task is aborted.
struct Open<'a>(&'a AtomicU64);

impl<'a> Open<'a> {
    fn new(counter: &'a AtomicU64) -> Self {
        counter.fetch_add(1, Relaxed);
        Self(counter)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_asked_percentage_of_a_hundred_fails() {
        let shared = Shared::default();

        for percent in 0..=100 {
            let failed = (0..100).filter(|_| shared.fails(percent)).count();

            assert_eq!(failed, usize::from(percent));
        }
    }
}
