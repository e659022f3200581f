//! The connection under a socket, to be held short and to be cut.

use std::any::Any;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::Extensions;
use actix_web::rt::{self, net, time::sleep};
#[cfg(target_os = "linux")]
use rustix::net::sockopt::set_tcp_user_timeout;
use rustix::net::sockopt::{set_socket_linger, set_socket_send_buffer_size};

/// Bytes that the kernel keeps for a client at most. What is in there cannot be taken back for
/// something newer, and what asks whether anybody reads waits behind it.
const KERNEL_KEEPS: usize = 32 * 1024;

/// A handle to the connection of a request.
#[derive(Clone)]
pub(crate) struct Cord(Arc<TcpStream>);

/// How long a client may take nothing of what it is sent. The kernel keeps count, over everything
/// that is written to the connection, and ends it.
const UNREAD: Duration = Duration::from_secs(10);

/// Keeps a handle to each connection, and gives it its deadline for what is written.
pub(crate) fn on_connect(connection: &dyn Any, extensions: &mut Extensions) {
    let socket = connection.downcast_ref::<net::TcpStream>();
    #[cfg(target_os = "linux")]
    if let Some(socket) = socket {
        // Where it cannot be had, a client that reads nothing stays until it hangs up.
        let _ = set_tcp_user_timeout(socket, UNREAD.as_millis() as u32);
    }
    if let Some(Ok(handle)) = socket.map(|socket| socket.as_fd().try_clone_to_owned()) {
        extensions.insert(Cord(Arc::new(handle.into())));
    }
}

impl Cord {
    pub(crate) fn of(request: &HttpRequest) -> Option<Self> {
        request.conn_data::<Self>().cloned()
    }

    /// Lets little wait between us and the client.
    pub(crate) fn shorten(&self) {
        // Where it cannot be had, more waits.
        let _ = set_socket_send_buffer_size(&self.0, KERNEL_KEEPS);
    }

    /// Ends the connection at once. What is not written is given up: it would keep the connection
    /// for as long as a client that does not read likes.
    pub(crate) fn cut(&self) {
        let _ = set_socket_linger(&self.0, Some(Duration::ZERO));
        let _ = self.0.shutdown(Shutdown::Both);
    }

    /// Ends the connection after `time`, where it is still there then; one that is over before is not kept.
    pub(crate) fn cut_after(&self, time: Duration) {
        let connection = Arc::downgrade(&self.0);
        rt::spawn(async move {
            sleep(time).await;
            if let Some(connection) = connection.upgrade() {
                Self(connection).cut();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[actix_web::test]
    async fn a_connection_that_is_over_is_not_kept_until_it_would_be_cut() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let cord = Cord(Arc::new(listener.accept().unwrap().0));
        cord.cut_after(Duration::from_secs(5));
        tokio::task::yield_now().await;
        let connection = Arc::downgrade(&cord.0);
        drop((cord, client));
        assert_eq!(connection.strong_count(), 0);
    }
}
