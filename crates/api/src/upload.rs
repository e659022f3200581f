//! The bodies of posts: whose are read, how large and how packed they may be, and how long they may take.

use std::future::{Ready, ready};
use std::io::{self, Read};
use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use actix_web::{FromRequest, HttpRequest, web};
use bytes::{Bytes, BytesMut};
use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use futures_util::StreamExt;
use store::tokens::Scope;
use tokio::time::{Instant, timeout_at};

use crate::access::may_write;
use crate::error::ApiError;

/// Bytes of a body at most, as it is sent and decompressed.
const MOST_BYTES: usize = 8 << 20;

/// The same of one target.
const MOST_OF_TARGET: usize = 1 << 20;

/// How long a body may take to arrive, at most.
const ARRIVAL: Duration = Duration::from_secs(30);

/// So long nothing of it has to come …
const STROLL: Duration = Duration::from_secs(10);

/// … and then so many bytes a second.
const PACE: usize = 1 << 10;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Identity,
    Gzip,
    /// The format of zlib (RFC 9110, section 8.4.1.2).
    Deflate,
}

/// A body on its way from somebody who may tell what happened. The token is looked at before the first byte.
pub(crate) struct Upload {
    bytes: Payload,
    coding: Coding,
    /// Bytes at most.
    most: usize,
    /// The header that says where the body ends.
    ends: &'static str,
    is_too_large: bool,
}

/// A body that did not arrive.
pub(crate) struct BrokenOff {
    /// What is there of it; nothing where it is not its end alone that is missing, nor of one that was packed.
    pub(crate) part: Bytes,
    pub(crate) error: ApiError,
}

/// The body of somebody who may tell what happened, decompressed.
pub(crate) struct Body(pub(crate) Bytes);

/// The body of somebody who may say what is watched.
pub(crate) struct AdminBody(pub(crate) Bytes);

/// The same with room for one target: what is made of it in memory is many times as large.
pub(crate) struct TargetBody(pub(crate) Bytes);

type Arriving<T> = Pin<Box<dyn Future<Output = Result<T, ApiError>>>>;

impl FromRequest for Upload {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        ready(Self::begin(request, payload, Scope::Write, MOST_BYTES))
    }
}

impl FromRequest for Body {
    type Error = ApiError;
    type Future = Arriving<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        whole(Upload::begin(request, payload, Scope::Write, MOST_BYTES), Self)
    }
}

impl FromRequest for AdminBody {
    type Error = ApiError;
    type Future = Arriving<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        whole(Upload::begin(request, payload, Scope::Admin, MOST_BYTES), Self)
    }
}

impl FromRequest for TargetBody {
    type Error = ApiError;
    type Future = Arriving<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        whole(Upload::begin(request, payload, Scope::Admin, MOST_OF_TARGET), Self)
    }
}

fn whole<T: 'static>(upload: Result<Upload, ApiError>, is: impl FnOnce(Bytes) -> T + 'static) -> Arriving<T> {
    Box::pin(async move { upload?.arrive().await.map(is).map_err(|broken| broken.error) })
}

impl Upload {
    fn begin(request: &HttpRequest, payload: &mut Payload, needs: Scope, most: usize) -> Result<Self, ApiError> {
        may_write(request, needs)?;
        let headers = request.headers();
        if headers.get_all(CONTENT_ENCODING).count() > 1 {
            return Err(ApiError::MediaType("send the body packed once, or not at all"));
        }
        let coding = headers.get(CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase());
        let coding = match coding.as_deref() {
            None | Some(b"identity") => Coding::Identity,
            Some(b"gzip") => Coding::Gzip,
            Some(b"deflate") => Coding::Deflate,
            Some(_) => return Err(ApiError::MediaType("send the body as it is, or with gzip or deflate")),
        };
        let is_chunked = headers.contains_key(TRANSFER_ENCODING);
        Ok(Self {
            bytes: payload.take(),
            coding,
            most,
            ends: if is_chunked { "transfer-encoding" } else { "content-length" },
            is_too_large: length(headers).is_some_and(|length| length > most as u64),
        })
    }

    /// Waits for the whole body.
    ///
    /// # Errors
    /// It is too large, too slow, or not what its headers say.
    pub(crate) async fn arrive(mut self) -> Result<Bytes, BrokenOff> {
        if self.is_too_large {
            return Err(too_large(self.most));
        }
        let (begun, mut body) = (Instant::now(), BytesMut::new());
        loop {
            match timeout_at(begun + patience(body.len()), self.bytes.next()).await {
                Ok(None) => break,
                Ok(Some(Ok(bytes))) if body.len() + bytes.len() > self.most => return Err(too_large(self.most)),
                Ok(Some(Ok(bytes))) => body.extend_from_slice(&bytes),
                Ok(Some(Err(error))) => {
                    let is_cut = matches!(error, PayloadError::Incomplete(None));
                    let message = "the body did not arrive as this header says".to_owned();
                    let error = ApiError::Header { name: self.ends, message };
                    return Err(BrokenOff { part: self.part(is_cut, body), error });
                }
                Err(_) => return Err(BrokenOff { part: self.part(true, body), error: ApiError::TooSlow }),
            }
        }
        let (coding, most, body) = (self.coding, self.most, body.freeze());
        if coding == Coding::Identity {
            return Ok(body);
        }
        // Not here, where others wait for their answers.
        match web::block(move || unpack(coding, &body, most)).await {
            Ok(Ok(plain)) if plain.len() > most => Err(too_large(most)),
            Ok(Ok(plain)) => Ok(plain.into()),
            Ok(Err(_)) | Err(_) => {
                let message = "the body is not packed as this header says".to_owned();
                Err(BrokenOff { part: Bytes::new(), error: ApiError::Header { name: "content-encoding", message } })
            }
        }
    }

    /// What may be used of a body: whether it was packed right, only its end says.
    fn part(&self, is_cut: bool, body: BytesMut) -> Bytes {
        if is_cut && self.coding == Coding::Identity { body.freeze() } else { Bytes::new() }
    }
}

/// How long a body may have been on its way of which so many bytes are here.
fn patience(bytes: usize) -> Duration {
    (STROLL + Duration::from_secs(bytes as u64) / PACE as u32).min(ARRIVAL)
}

fn too_large(most: usize) -> BrokenOff {
    BrokenOff { part: Bytes::new(), error: ApiError::TooLarge(format!("a body has at most {} MiB", most >> 20)) }
}

/// The body as it was before it was packed, or its first `most` bytes and one more.
fn unpack(coding: Coding, packed: &[u8], most: usize) -> io::Result<Vec<u8>> {
    let (mut plain, mut rest, most) = (Vec::new(), packed, most as u64 + 1);
    match coding {
        Coding::Identity => return Ok(packed.to_vec()),
        Coding::Gzip => MultiGzDecoder::new(&mut rest).take(most).read_to_end(&mut plain)?,
        Coding::Deflate => ZlibDecoder::new(&mut rest).take(most).read_to_end(&mut plain)?,
    };
    if !rest.is_empty() && (plain.len() as u64) < most {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(plain)
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use futures_util::Stream;

    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(plain).unwrap();
        packer.finish().unwrap()
    }

    fn deflate(plain: &[u8]) -> Vec<u8> {
        let mut packer = ZlibEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(plain).unwrap();
        packer.finish().unwrap()
    }

    /// A body of pieces of so many bytes, each so many seconds after the one before; for how many tenths of a
    /// second was waited for it, and whether it was too slow.
    async fn wait_for(bytes: usize, seconds: u64, pieces: u32) -> (u128, bool) {
        let pieces = futures_util::stream::iter(0..pieces).then(move |_| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Ok(Bytes::from(vec![b'x'; bytes]))
        });
        let payload: Pin<Box<dyn Stream<Item = _>>> = Box::pin(pieces);
        let bytes = Payload::Stream { payload };
        let (coding, most, ends, is_too_large) = (Coding::Identity, MOST_BYTES, "content-length", false);
        let begun = Instant::now();
        let arrived = Upload { bytes, coding, most, ends, is_too_large }.arrive().await;
        let is_slow = arrived.is_err_and(|broken| matches!(broken.error, ApiError::TooSlow));
        (begun.elapsed().as_millis() / 100, is_slow)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_dribbles_is_waited_for_ten_seconds_and_one_that_comes_steadily_for_thirty() {
        assert_eq!(wait_for(1, 1, 1_000).await, (100, true));
        assert_eq!(wait_for(PACE / 2, 1, 1_000).await, (195, true));
        assert_eq!(wait_for(PACE, 1, 1_000).await, (300, true));
        assert_eq!(wait_for(PACE, 1, 29).await, (290, false));
        assert_eq!(wait_for(1, 1, 9).await, (90, false));
        // Who begins fast and then says nothing has used up what that was good for.
        assert_eq!(wait_for(5 * PACE, 12, 2).await, (100, true));
        assert_eq!(wait_for(5 * PACE, 9, 2).await, (150, true));
        assert_eq!(wait_for(64 * PACE, 9, 4).await, (300, true));
    }

    #[test]
    fn a_body_is_unpacked_to_the_limit_and_no_further() {
        let bomb = vec![b'x'; 4 * MOST_BYTES];
        for (coding, packed) in [(Coding::Gzip, gzip(&bomb)), (Coding::Deflate, deflate(&bomb))] {
            let plain = unpack(coding, &packed, MOST_BYTES).unwrap();
            assert_eq!(plain.len(), MOST_BYTES + 1, "{coding:?}");
            assert!(plain.capacity() <= 2 * MOST_BYTES + 2, "{coding:?}: {}", plain.capacity());
        }
    }

    #[test]
    fn what_is_packed_in_pieces_is_whole_and_what_is_damaged_or_followed_by_something_is_not() {
        let (one, two) = (b"one\n".repeat(500), b"two\n".repeat(500));
        let pieces = [gzip(&one), gzip(&two)].concat();
        assert_eq!(unpack(Coding::Gzip, &pieces, MOST_BYTES).unwrap(), [one.clone(), two].concat());
        assert_eq!(unpack(Coding::Deflate, &deflate(&one), MOST_BYTES).unwrap(), one);
        for (coding, packed) in [(Coding::Gzip, gzip(&one)), (Coding::Deflate, deflate(&one))] {
            for end in 0..packed.len() {
                let cut = unpack(coding, &packed[..end], MOST_BYTES);
                assert!(cut.is_err(), "{coding:?} cut at {end}");
            }
            let more = [packed.as_slice(), b"more"].concat();
            assert!(unpack(coding, &more, MOST_BYTES).is_err(), "{coding:?}");
            let mut damaged = packed.clone();
            let last = damaged.len() - 1;
            damaged[last] ^= 1;
            assert!(unpack(coding, &damaged, MOST_BYTES).is_err(), "{coding:?}");
        }
    }
}
