//! Opaque cursors: where a list goes on.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::ApiError;

/// A cursor as text for people to hand back and not to read.
pub(crate) fn encode(position: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(position).unwrap_or_default())
}

/// A page of the rows that were read, one more than it holds, and the cursor of the next.
pub(crate) fn page<T, P: Serialize>(
    mut rows: Vec<T>,
    limit: i64,
    position: impl FnOnce(&T) -> P,
) -> (Vec<T>, Option<String>) {
    let has_more = rows.len() as i64 > limit;
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next = rows.last().filter(|_| has_more).map(|last| encode(&position(last)));
    (rows, next)
}

/// Reads a cursor handed back.
///
/// # Errors
/// 400 `invalid_cursor` for anything that [`encode`] did not make.
pub(crate) fn decode<T: DeserializeOwned>(text: &str) -> Result<T, ApiError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    // Postgres keeps no NUL in text, so none of ours has one.
    let bytes = bytes.filter(|bytes| !bytes.windows(6).any(|some| some == b"\\u0000"));
    bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).ok_or_else(invalid)
}

/// A cursor that does not belong here.
pub(crate) fn invalid() -> ApiError {
    ApiError::Parameter {
        name: "cursor",
        code: "invalid_cursor",
        message: "this cursor belongs to no such list: start again without it".to_owned(),
    }
}
