//! What a client sends over its socket, followed from frame to frame: one that is too large is noticed by its head.
//!
//! The parser behind compares sizes when all of a frame is there, so whoever announces four gigabytes would have
//! us keep all that comes of them.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::Stream;

/// Passes frames on until one announces more than so many bytes. In its place comes one that has a byte more than
/// is allowed, which the parser refuses as too large, and then nothing.
pub(super) struct Frames<S> {
    inner: S,
    most: u16,
    /// Bytes of the frame under way that are still to come.
    left: usize,
    /// What there is of the next one's head.
    head: Vec<u8>,
    is_over: bool,
}

impl<S> Frames<S> {
    pub(super) fn new(inner: S, most: u16) -> Self {
        Self { inner, most, left: 0, head: Vec::new(), is_over: false }
    }

    /// What of these bytes goes on: whole heads, and what follows them.
    fn pass(&mut self, mut bytes: &[u8]) -> Bytes {
        let mut passed = Vec::with_capacity(bytes.len());
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let (payload, rest) = bytes.split_at(self.left.min(bytes.len()));
                passed.extend_from_slice(payload);
                (self.left, bytes) = (self.left - payload.len(), rest);
                continue;
            }
            self.head.push(*first);
            bytes = rest;
            let Some(length) = payload_length(&self.head) else { continue };
            if length > self.most.into() {
                let too_many = self.most + 1;
                passed.extend_from_slice(&[self.head[0], MASKED | 126]);
                passed.extend_from_slice(&too_many.to_be_bytes());
                // The mask, and what it hides.
                passed.resize(passed.len() + 4 + usize::from(too_many), 0);
                self.is_over = true;
                break;
            }
            passed.append(&mut self.head);
            self.left = usize::try_from(length).unwrap_or(usize::MAX);
        }
        passed.into()
    }
}

const MASKED: u8 = 0x80;

/// The length of the payload that follows this head, once the head is whole. Source: RFC 6455, section 5.2.
fn payload_length(head: &[u8]) -> Option<u64> {
    let second = *head.get(1)?;
    let extended = match second & !MASKED {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if second & MASKED == 0 { 0 } else { 4 };
    if head.len() < 2 + extended + mask {
        return None;
    }
    let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    Some(if extended == 0 { (second & !MASKED).into() } else { number(&head[2..2 + extended]) })
}

impl<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin> Stream for Frames<S> {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while !self.is_over {
            match ready!(Pin::new(&mut self.inner).poll_next(context)) {
                Some(Ok(bytes)) => {
                    let passed = self.pass(&bytes);
                    if !passed.is_empty() {
                        return Poll::Ready(Some(Ok(passed)));
                    }
                }
                other => return Poll::Ready(other),
            }
        }
        // The refusal is on its way, and ends the line. Its end here would come before that.
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    /// A frame of a client, by its length in one of the three ways.
    fn frame(length: u64, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x81];
        match length {
            0..=125 => frame.push(MASKED | length as u8),
            126..=0xffff => {
                frame.push(MASKED | 126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                frame.push(MASKED | 127);
                frame.extend_from_slice(&length.to_be_bytes());
            }
        }
        frame.extend_from_slice(&[1, 2, 3, 4]);
        frame.extend_from_slice(payload);
        frame
    }

    /// What goes on of bytes that come in pieces of this size.
    fn passed(bytes: &[u8], size: usize) -> Vec<u8> {
        let mut frames = Frames::new((), 1_000);
        let mut passed = Vec::new();
        for piece in bytes.chunks(size) {
            if !frames.is_over {
                passed.extend_from_slice(&frames.pass(piece));
            }
        }
        passed
    }

    #[test]
    fn frames_go_on_as_they_are_whatever_the_pieces() {
        let sent = [frame(0, b""), frame(5, b"hello"), frame(126, &[7; 126]), frame(1_000, &[9; 1_000])].concat();
        for size in [1, 2, 3, 5, 7, 64, 4_096] {
            assert_eq!(passed(&sent, size), sent, "pieces of {size}");
        }
        // Without a mask, which the parser behind does not take.
        assert_eq!(passed(b"\x81\x02{}", 1), b"\x81\x02{}");
    }

    #[test]
    fn one_that_announces_too_much_is_refused_by_its_head() {
        for length in [1_001, 0xffff, 0x1_0000_0000, u64::MAX] {
            let sent = [frame(2, b"ok"), frame(length, &[5; 3_000])].concat();
            let expected = [frame(2, b"ok"), vec![0x81, MASKED | 126, 3, 0xe9, 0, 0, 0, 0], vec![0; 1_001]].concat();
            for size in [1, 3, 4_096] {
                assert_eq!(passed(&sent, size), expected, "{length} in pieces of {size}");
            }
        }
    }

    #[tokio::test]
    async fn nothing_is_read_any_more_after_it() {
        let pieces = futures_util::stream::repeat_with(|| Ok(Bytes::from(frame(1 << 32, &[0; 64]))));
        let mut frames = Frames::new(pieces, 1_000);
        assert_eq!(frames.next().await.unwrap().unwrap().len(), 8 + 1_001);
        assert!(futures_util::poll!(frames.next()).is_pending());
    }
}
