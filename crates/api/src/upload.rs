//! The bodies of posts: whose are read, how large and how packed they may be, and how long they may take.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::{Decompress, Payload};
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use actix_web::{FromRequest, HttpRequest};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use store::tokens::Scope;
use tokio::time::{Instant, timeout_at};

use crate::access::may_write;
use crate::error::ApiError;

/// Bytes of a body at most, decompressed.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// How a body may be packed.
const CODINGS: [&[u8]; 3] = [b"gzip", b"deflate", b"identity"];

/// How long a body may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(30);

/// A body on its way from somebody who may tell what happened. The token is looked at before the first byte.
pub(crate) struct Upload {
    bytes: Decompress<Payload>,
    /// The header that says where the body ends, or how it is packed.
    header: &'static str,
    is_packed: bool,
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

type Arriving<T> = Pin<Box<dyn Future<Output = Result<T, ApiError>>>>;

impl FromRequest for Upload {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        ready(Self::begin(request, payload, Scope::Write))
    }
}

impl FromRequest for Body {
    type Error = ApiError;
    type Future = Arriving<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let upload = Upload::begin(request, payload, Scope::Write);
        Box::pin(async move { upload?.arrive().await.map(Self).map_err(|broken| broken.error) })
    }
}

impl FromRequest for AdminBody {
    type Error = ApiError;
    type Future = Arriving<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let upload = Upload::begin(request, payload, Scope::Admin);
        Box::pin(async move { upload?.arrive().await.map(Self).map_err(|broken| broken.error) })
    }
}

impl Upload {
    fn begin(request: &HttpRequest, payload: &mut Payload, needs: Scope) -> Result<Self, ApiError> {
        may_write(request, needs)?;
        let headers = request.headers();
        if headers.get_all(CONTENT_ENCODING).count() > 1 {
            return Err(ApiError::MediaType("send the body packed once, or not at all"));
        }
        let coding = headers.get(CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase());
        if coding.as_ref().is_some_and(|coding| !CODINGS.contains(&coding.as_slice())) {
            return Err(ApiError::MediaType("send the body as it is, or with gzip or deflate"));
        }
        let is_packed = coding.is_some_and(|coding| coding != b"identity");
        Ok(Self {
            bytes: Decompress::from_headers(payload.take(), headers),
            header: match (is_packed, headers.contains_key(TRANSFER_ENCODING)) {
                (true, _) => "content-encoding",
                (false, true) => "transfer-encoding",
                (false, false) => "content-length",
            },
            is_packed,
            is_too_large: length(headers).is_some_and(|length| length > MOST_BYTES as u64),
        })
    }

    /// Waits for the whole body.
    ///
    /// # Errors
    /// It is too large, too slow, or not what its headers say.
    pub(crate) async fn arrive(mut self) -> Result<Bytes, BrokenOff> {
        let too_large = || BrokenOff {
            part: Bytes::new(),
            error: ApiError::TooLarge(format!("a body has at most {} MiB", MOST_BYTES >> 20)),
        };
        if self.is_too_large {
            return Err(too_large());
        }
        let (deadline, mut body) = (Instant::now() + ARRIVAL, BytesMut::new());
        loop {
            match timeout_at(deadline, self.bytes.next()).await {
                Ok(None) => return Ok(body.freeze()),
                Ok(Some(Ok(bytes))) if body.len() + bytes.len() > MOST_BYTES => return Err(too_large()),
                Ok(Some(Ok(bytes))) => body.extend_from_slice(&bytes),
                Ok(Some(Err(error))) => {
                    let is_cut = matches!(error, PayloadError::Incomplete(None));
                    let error = ApiError::Header {
                        name: self.header,
                        message: "the body did not arrive as this header says, or not packed as content-encoding says"
                            .to_owned(),
                    };
                    return Err(BrokenOff { part: self.part(is_cut, body), error });
                }
                Err(_) => return Err(BrokenOff { part: self.part(true, body), error: ApiError::TooSlow }),
            }
        }
    }

    /// What may be used of a body: whether it was packed right, only its end says.
    fn part(&self, is_cut: bool, body: BytesMut) -> Bytes {
        if is_cut && !self.is_packed { body.freeze() } else { Bytes::new() }
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
