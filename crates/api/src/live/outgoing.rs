//! What goes out over a socket: piece by piece.
//!
//! The server copies what a socket is sent into a buffer of each connection, which grows to
//! the largest piece it ever held and stays so. A state is up to a hundred times what a
//! connection needs otherwise. So it goes out in fragments, each made from the bytes that
//! all clients share, and only when the server has taken the one before: it takes one when
//! it has written what it had.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_ws::{CloseReason, Closed, Item, Message, Session};
use bytes::Bytes;
use futures_util::SinkExt;
use tokio::sync::mpsc;

/// Bytes that the server writes at once: a fragment and its head.
pub(crate) const PIECE: usize = 8 * 1024;

/// What a fragment of this size has before its payload.
const HEAD: usize = 4;

/// The end at which we write.
pub(super) struct Outgoing {
    session: Session,
    /// Holds an entry while a message waits to be taken.
    under_way: mpsc::Sender<()>,
}

/// The body of the answer: what the server takes from it, there is room for again.
struct Taken {
    body: BoxBody,
    under_way: mpsc::Receiver<()>,
}

impl Outgoing {
    /// Puts itself between a session and the answer that it is written to.
    pub(super) fn new(response: HttpResponse, session: Session) -> (HttpResponse, Self) {
        let (sender, receiver) = mpsc::channel(1);
        let response = response.map_body(|_, body| BoxBody::new(Taken { body, under_way: receiver }));
        (response, Self { session, under_way: sender })
    }

    /// Waits until the message before is taken.
    pub(super) async fn room(&self) -> Result<(), Closed> {
        self.under_way.reserve().await.map(drop).map_err(|_| Closed)
    }

    /// Sends a message for which there is room.
    pub(super) async fn send(&mut self, message: Message) -> Result<(), Closed> {
        self.under_way.send(()).await.map_err(|_| Closed)?;
        self.session.send(message).await
    }

    /// Sends the last message, and waits until it is written and the connection has ended.
    pub(super) async fn close(self, reason: CloseReason) {
        let _ = self.session.close(Some(reason)).await;
        self.under_way.closed().await;
    }
}

impl MessageBody for Taken {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let next = Pin::new(&mut self.body).poll_next(context);
        if next.is_ready() {
            let _ = self.under_way.try_recv();
        }
        next
    }
}

/// A text as the messages that carry it: itself, or fragments of it.
pub(super) fn pieces(text: Bytes) -> impl Iterator<Item = Message> {
    let (size, end) = (PIECE - HEAD, text.len());
    (0..end.max(1)).step_by(size).map(move |begin| {
        let piece = text.slice(begin..end.min(begin + size));
        match (begin, begin + size >= end) {
            (0, true) => match piece.try_into() {
                Ok(text) => Message::Text(text),
                Err(_) => Message::Nop,
            },
            (0, false) => Message::Continuation(Item::FirstText(piece)),
            (_, false) => Message::Continuation(Item::Continue(piece)),
            (_, true) => Message::Continuation(Item::Last(piece)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_goes_out_whole_or_in_fragments_that_are_the_text() {
        for length in [0, 1, PIECE - HEAD, PIECE - HEAD + 1, 2 * (PIECE - HEAD), 100_000] {
            let text = Bytes::from("ä".repeat(length.div_ceil(2)).into_bytes()).slice(..length & !1);
            let mut kinds = String::new();
            let mut all = Vec::new();
            for message in pieces(text.clone()) {
                let (kind, bytes) = match message {
                    Message::Text(text) => ('t', text.into_bytes()),
                    Message::Continuation(Item::FirstText(bytes)) => ('f', bytes),
                    Message::Continuation(Item::Continue(bytes)) => ('c', bytes),
                    Message::Continuation(Item::Last(bytes)) => ('l', bytes),
                    other => panic!("{other:?}"),
                };
                assert!(bytes.len() <= PIECE - HEAD);
                kinds.push(kind);
                all.extend_from_slice(&bytes);
            }
            assert_eq!(all, text);
            let middle = text.len().div_ceil(PIECE - HEAD).saturating_sub(2);
            let expected =
                if text.len() <= PIECE - HEAD { "t".to_owned() } else { format!("f{}l", "c".repeat(middle)) };
            assert_eq!(kinds, expected, "{length}");
        }
    }
}
