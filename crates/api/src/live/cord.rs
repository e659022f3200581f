//! The connection under a socket, to be held short and to be cut.

use std::any::Any;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::Extensions;
use actix_web::rt::net;
use rustix::net::sockopt::{set_socket_linger, set_socket_send_buffer_size};

/// Bytes that the kernel keeps for a client at most. What is in there cannot be taken back for
/// something newer, and what asks whether anybody reads waits behind it.
const KERNEL_KEEPS: usize = 32 * 1024;

/// A handle to the connection of a request.
#[derive(Clone)]
pub(crate) struct Cord(Arc<TcpStream>);

/// Keeps a handle to each connection.
pub(crate) fn on_connect(connection: &dyn Any, extensions: &mut Extensions) {
    let socket = connection.downcast_ref::<net::TcpStream>();
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
}
