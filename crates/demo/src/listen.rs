//! Listening and accepting, the same for every server here.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::task::JoinSet;

/// Connections the kernel keeps until they are accepted. Linux trims this to
/// `net.core.somaxconn`. Ten thousand probes may start at the same moment, and a
/// full queue costs a connection a second: its SYN is dropped and sent again.
const BACKLOG: u32 = 16_384;

/// How long accepting rests after an error such as "too many open files", which
/// would otherwise return at once and keep a processor busy.
const REST_AFTER_ERROR: Duration = Duration::from_millis(20);

/// Listens on the first address of `host` that can be had. Port 0 takes a free one.
///
/// # Errors
/// The error keeps its kind and names the address beside the cause.
pub(crate) async fn listen(host: &str, port: u16) -> io::Result<TcpListener> {
    let explain = |cause: io::Error| io::Error::new(cause.kind(), format!("cannot listen on {host}:{port}: {cause}"));
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for addr in lookup_host((host, port)).await.map_err(explain)? {
        match listen_on(addr) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(explain(last))
}

fn listen_on(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A server that was just stopped leaves connections in TIME_WAIT; they must
    // not keep the next one from starting.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// Accepts for ever and gives every connection a task of its own. Dropping the
/// future ends all of them.
pub(crate) async fn accept<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Fails only when the peer has gone already, which serving notices.
                    let _ = stream.set_nodelay(true);
                    connections.spawn(serve(stream));
                }
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(REST_AFTER_ERROR).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}
