//! Tokens for the API: making, listing and revoking them, and recognising one.
//!
//! Here are digests only. Whoever calls made the token, or was brought it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::postgres::types::PgInterval;

use crate::StoreError;

/// What a token may do; each may what the one before may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Read everything.
    Read,
    /// Tell what happened: changes and events.
    Write,
    /// Say what is watched: targets and services.
    Admin,
}

impl Scope {
    /// The word for it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// A word that is no scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is none of read, write and admin")]
pub struct NoScope;

impl FromStr for Scope {
    type Err = NoScope;

    fn from_str(word: &str) -> Result<Self, NoScope> {
        [Self::Read, Self::Write, Self::Admin].into_iter().find(|scope| scope.label() == word).ok_or(NoScope)
    }
}

/// A token that is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// Row id.
    pub token_id: i32,
    /// What it may do.
    pub scope: Scope,
}

/// What is known of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Who has it.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Until when it is good; `None` for ever.
    pub expires_at: Option<DateTime<Utc>>,
    /// Since when it is no longer good.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was last brought, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// Whether its time is over.
    pub is_expired: bool,
}

/// Keeps a token by its digest; `lifetime` is from now on. `None` when there is one of this name.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn create(
    connection: &mut PgConnection,
    name: &str,
    scope: Scope,
    digest: &[u8; 32],
    lifetime: Option<Duration>,
) -> Result<Option<Token>, StoreError> {
    let lifetime = lifetime.map(|lifetime| PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(lifetime.as_micros()).unwrap_or(i64::MAX),
    });
    // Index: api_token_name.
    let row = sqlx::query_as!(
        Row,
        r#"insert into api_token (name, scope, digest, expires_at)
           values ($1, $2::text::token_scope, $3, clock_timestamp() + $4::interval)
           on conflict (name) where revoked_at is null do nothing
           returning name, scope::text as "scope!", created_at, expires_at, revoked_at, last_used_at,
                     false as "is_expired!""#,
        name,
        scope.label(),
        digest,
        lifetime as Option<PgInterval>,
    )
    .fetch_optional(connection)
    .await?;
    row.map(Token::try_from).transpose()
}

/// Every token there was, the newest first.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn list(connection: &mut PgConnection) -> Result<Vec<Token>, StoreError> {
    // As many rows as people made by hand.
    let rows = sqlx::query_as!(
        Row,
        r#"select name, scope::text as "scope!", created_at, expires_at, revoked_at, last_used_at,
                  coalesce(expires_at <= clock_timestamp(), false) as "is_expired!"
           from api_token order by api_token_id desc"#,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(Token::try_from).collect()
}

/// Ends a token. `false` when there is none of this name that was not ended before.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn revoke(connection: &mut PgConnection, name: &str) -> Result<bool, StoreError> {
    // Index: api_token_name.
    let done = sqlx::query!(
        "update api_token set revoked_at = clock_timestamp() where name = $1 and revoked_at is null",
        name,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The good token of this digest, and notes that it was brought. One that is wrong, revoked or over
/// its time is the same: `None`.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn find(connection: &mut PgConnection, digest: &[u8; 32]) -> Result<Option<Granted>, StoreError> {
    // Index: api_token_digest. Whoever chooses a token cannot choose its digest, so how long the
    // index takes tells nothing of others. At most one write a minute for each token.
    let row = sqlx::query!(
        r#"with found as (
               select api_token_id, scope, last_used_at from api_token
               where digest = $1 and revoked_at is null and (expires_at is null or expires_at > clock_timestamp())
           ), used as (
               update api_token set last_used_at = clock_timestamp() from found
               where api_token.api_token_id = found.api_token_id
                 and (found.last_used_at is null or found.last_used_at < clock_timestamp() - interval '1 minute')
           )
           select api_token_id, scope::text as "scope!" from found"#,
        digest,
    )
    .fetch_optional(connection)
    .await?;
    row.map(|row| Ok(Granted { token_id: row.api_token_id, scope: scope(&row.scope)? })).transpose()
}

struct Row {
    name: String,
    scope: String,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
    is_expired: bool,
}

impl TryFrom<Row> for Token {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let Row { name, scope: label, created_at, expires_at, revoked_at, last_used_at, is_expired } = row;
        Ok(Self { name, scope: scope(&label)?, created_at, expires_at, revoked_at, last_used_at, is_expired })
    }
}

fn scope(label: &str) -> Result<Scope, StoreError> {
    label.parse().map_err(|_| StoreError::Database(sqlx::Error::Decode(format!("scope {label:?}").into())))
}
