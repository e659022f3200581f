//! Who asks, and what they may: the token of a request, or a browser's login.
//!
//! There are three ways in. `API_TOKEN` may everything and lives in the settings. Tokens of
//! `lookout token` live in the database, as digests, and are asked for each time, so that
//! one that is revoked is no longer good. And where `DASHBOARD_LOGIN` is set, a browser's
//! user and password may read, like a token with the scope `read`. There are no cookies.

use std::sync::{Arc, Mutex, PoisonError};

use actix_web::HttpMessage;
use actix_web::HttpRequest;
use actix_web::dev::ServiceRequest;
use actix_web::http::header::{AUTHORIZATION, HeaderMap, SEC_WEBSOCKET_PROTOCOL};
use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use store::pool;
use store::tokens::{self, Scope};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use crate::config::ListenSettings;
use crate::error::ApiError;
use crate::state::State;

/// The path of the WebSocket, and the subprotocol that brings the token to it.
const LIVE: &str = "/api/v1/live";
const BEARER: &str = "lookout.bearer.";

/// What tokens of `lookout token` begin with, so that scanners for lost secrets know them.
const PREFIX: &str = "lookout_";

/// Passwords that are checked at once: each takes 20 MB and a tenth of a second.
static CHECKS: Semaphore = Semaphore::const_new(2);

/// SHA-256 of a token.
pub type TokenDigest = [u8; 32];

/// A new token, and what is kept of it. All of its 256 bits are random.
pub fn new_token() -> (String, TokenDigest) {
    let bytes: [u8; 32] = rand::random();
    let token = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes));
    let digest = Sha256::digest(&token).into();
    (token, digest)
}

/// What somebody may, and how they showed it.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) scope: Scope,
    pub(crate) bearer: Bearer,
}

/// How somebody showed that they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Bearer {
    /// With `API_TOKEN`.
    Configured,
    /// With a token of `lookout token`.
    Stored(TokenDigest),
    /// With the user and password of `DASHBOARD_LOGIN`.
    Login,
}

/// What a request shows.
pub(crate) enum Shown {
    Token(Vec<u8>),
    /// `user:password`.
    Password(Vec<u8>),
}

impl Shown {
    /// What a request shows; `None` where that is nothing, or nothing that is known here.
    pub(crate) fn of(request: &ServiceRequest) -> Option<Self> {
        let headers = request.headers();
        // Of two, nobody can say which is meant.
        if headers.get_all(AUTHORIZATION).nth(1).is_some() {
            return None;
        }
        match headers.get(AUTHORIZATION) {
            Some(value) => {
                let (scheme, rest) = value.as_bytes().split_at(value.as_bytes().iter().position(|byte| *byte == b' ')?);
                // The name of a scheme has no case (RFC 9110, 11.1).
                if scheme.eq_ignore_ascii_case(b"bearer") {
                    // After one space or more (RFC 9110, 11.4).
                    Some(Self::Token(rest.trim_ascii_start().to_vec()))
                } else if scheme.eq_ignore_ascii_case(b"basic") {
                    BASE64_STANDARD.decode(rest.trim_ascii()).ok().map(Self::Password)
                } else {
                    None
                }
            }
            None if request.path() == LIVE => offered(headers).map(Self::Token),
            None => None,
        }
    }
}

/// A page cannot set headers of a WebSocket; the names of subprotocols it can.
fn offered(headers: &HeaderMap) -> Option<Vec<u8>> {
    let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL).filter_map(|value| value.to_str().ok());
    let mut tokens = offers.flat_map(|offers| offers.split(',')).filter_map(|name| name.trim().strip_prefix(BEARER));
    // One is enough to look at: nobody has two.
    tokens.next().and_then(|token| BASE64_URL_SAFE_NO_PAD.decode(token).ok())
}

/// What the bearer of this token may. `None` for one that is wrong, revoked or over its time: nobody is
/// told which.
///
/// # Errors
/// 503 where it cannot be told, because Postgres is away.
pub(crate) async fn of_token(
    token: &[u8],
    settings: &ListenSettings,
    state: &State,
) -> Result<Option<Grant>, ApiError> {
    if settings.token.as_ref().is_some_and(|expected| token.ct_eq(expected.as_bytes()).into()) {
        return Ok(Some(Grant { scope: Scope::Admin, bearer: Bearer::Configured }));
    }
    if !token.starts_with(PREFIX.as_bytes()) {
        return Ok(None);
    }
    let digest: TokenDigest = Sha256::digest(token).into();
    let found = tokens::find(&mut *state.database().await?, &digest).await?;
    Ok(found.map(|found| Grant { scope: found.scope, bearer: Bearer::Stored(digest) }))
}

impl Bearer {
    /// Whether this is still good, as far as anybody can tell: where Postgres is away, it is.
    pub(crate) async fn holds(&self, state: &State) -> bool {
        let Self::Stored(digest) = self else { return true };
        let Ok(mut connection) = pool::acquire(&state.pool).await else { return true };
        !matches!(tokens::find(&mut connection, digest).await, Ok(None))
    }
}

/// The grant of a request that passed the guard.
pub(crate) fn grant(request: &HttpRequest) -> Option<Grant> {
    request.extensions().get::<Grant>().cloned()
}

/// Writing needs a token with the scope for it, always: whoever takes a body asks here first.
///
/// # Errors
/// 401 without a token, 403 with one of another scope.
pub(crate) fn may_write(request: &HttpRequest, needs: Scope) -> Result<(), ApiError> {
    match grant(request) {
        Some(grant) if grant.scope >= needs => Ok(()),
        Some(grant) => Err(ApiError::Scope { needs, has: grant.scope }),
        None => Err(ApiError::Unauthorized),
    }
}

/// A user and the hash of a password, for browsers.
#[derive(Clone)]
pub struct Login {
    user: String,
    /// In the form of PHC, `$argon2id$…`.
    hash: String,
    /// Digest of what was right before: an Argon2 for each request would be a way to keep us busy.
    known: Arc<Mutex<Option<TokenDigest>>>,
}

/// Why a text is no login. Reads on from the value, which is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// No user, or no hash.
    #[error("is not of the form user:hash; `lookout hash-password` makes a hash")]
    Form,
    /// Not a hash of Argon2.
    #[error(
        "has no Argon2 hash after the user (is a $ of it lost? quote it with single quotes); `lookout hash-password` makes one"
    )]
    Hash,
}

impl Login {
    /// Reads `user:hash`.
    ///
    /// # Errors
    /// [`LoginError`] says what is missing.
    pub fn parse(text: &str) -> Result<Self, LoginError> {
        let (user, hash) = text.split_once(':').filter(|(user, _)| !user.is_empty()).ok_or(LoginError::Form)?;
        let is_argon2 = PasswordHash::new(hash).is_ok_and(|hash| hash.algorithm.as_str().starts_with("argon2"));
        if !is_argon2 {
            return Err(LoginError::Hash);
        }
        Ok(Self { user: user.to_owned(), hash: hash.to_owned(), known: Arc::default() })
    }

    /// Whether these were right before, which costs nothing.
    pub(crate) fn is_known(&self, shown: &[u8]) -> bool {
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.is_some_and(|known| bool::from(known.ct_eq(&<[u8; 32]>::from(Sha256::digest(shown)))))
    }

    /// Whether user and password are right. Takes as long for a wrong user as for a wrong password.
    pub(crate) async fn is_right(&self, shown: &[u8]) -> bool {
        // It is never closed, so this only waits for a place.
        let _place = CHECKS.acquire().await;
        let (login, shown) = (self.clone(), shown.to_vec());
        let check = move || {
            let colon = shown.iter().position(|byte| *byte == b':').unwrap_or(shown.len());
            let (user, password) = (&shown[..colon], shown.get(colon + 1..).unwrap_or_default());
            let is_user: bool = user.ct_eq(login.user.as_bytes()).into();
            let is_password = PasswordHash::new(&login.hash)
                .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok());
            if is_user && is_password {
                *login.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(Sha256::digest(&shown).into());
            }
            is_user && is_password
        };
        tokio::task::spawn_blocking(check).await.unwrap_or(false)
    }
}

/// The hash of a password, as [`Login::parse`] reads it.
///
/// # Errors
/// The system has no random numbers for a salt.
pub fn hash_password(password: &[u8]) -> Result<String, argon2::password_hash::Error> {
    use argon2::password_hash::PasswordHasher;
    Ok(Argon2::default().hash_password(password)?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_token_is_long_random_and_known_by_its_digest_alone() {
        let (first, digest) = new_token();
        let (second, _) = new_token();
        assert_ne!(first, second);
        assert_eq!(first.len(), PREFIX.len() + 43);
        assert_eq!(digest, <[u8; 32]>::from(Sha256::digest(&first)));
    }

    #[tokio::test]
    async fn a_login_is_right_with_its_user_and_password_and_nothing_else() {
        let hash = hash_password(b"correct horse").unwrap();
        let login = Login::parse(&format!("me:{hash}")).unwrap();
        assert!(!login.is_known(b"me:correct horse"));
        for wrong in ["me:wrong", "you:correct horse", "me", "me:", ":correct horse", ""] {
            assert!(!login.is_right(wrong.as_bytes()).await, "{wrong}");
        }
        assert!(login.is_right(b"me:correct horse").await);
        assert!(login.is_known(b"me:correct horse") && !login.is_known(b"me:wrong"));
    }

    #[test]
    fn what_is_no_login_says_what_is_missing() {
        let hash = hash_password(b"x").unwrap();
        for (text, error) in [
            ("me".to_owned(), LoginError::Form),
            (format!(":{hash}"), LoginError::Form),
            ("me:password".to_owned(), LoginError::Hash),
            (format!("me:{}", hash.replace('$', "")), LoginError::Hash),
        ] {
            assert_eq!(Login::parse(&text).err(), Some(error), "{text}");
        }
    }
}
