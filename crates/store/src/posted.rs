//! Targets that were posted over the API: putting and removing one, and reading all
//! of them for a worker.
//!
//! What was posted is kept as it came, because it holds what a worker needs and nobody
//! else may see. Each change takes the lock that lists are applied under, so that what is
//! looked at first still holds when it is written.

use chrono::{DateTime, Utc};
use common::{TargetId, TargetSpec};
use sqlx::{Acquire, PgConnection};

use crate::targets::{self, Placed};
use crate::{StoreError, bind};

/// What whoever writes knows of the target that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Nothing, and it is no matter.
    Whatever,
    /// Nothing; so nothing may be there.
    Nothing,
    /// That there is one.
    Any,
    /// It is at this version.
    Version(i64),
}

/// Why nothing was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// It belongs to this other source.
    Foreign(String),
    /// There is one, and nothing was known of it.
    Unseen,
    /// It is not at the version that was known, or not there.
    Stale,
    /// There is none to remove.
    Unknown,
}

/// What putting a target came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Put {
    /// Whether it was not there before.
    pub is_new: bool,
    /// The version of its configuration; the one before if nothing changed.
    pub version: i64,
}

/// Makes this the target of its key: a new one, one that comes back with its history, or
/// another configuration of the one there is. The same again changes nothing.
///
/// # Errors
/// Whatever Postgres reports; nothing is changed then. The inner error says what stands
/// against it.
pub async fn put(
    connection: &mut PgConnection,
    target: &TargetSpec,
    posted: &str,
    known: Known,
) -> Result<Result<Put, Refused>, StoreError> {
    let mut transaction = connection.begin().await?;
    let found = find(&mut transaction, &target.key).await?;
    let refused = match (&found, known) {
        (Some(found), _) if found.source != "api" => Some(Refused::Foreign(found.source.clone())),
        (Some(_), Known::Nothing) => Some(Refused::Unseen),
        (Some(found), Known::Version(version)) if found.version != version => Some(Refused::Stale),
        (None, Known::Any | Known::Version(_)) => Some(Refused::Stale),
        _ => None,
    };
    if let Some(refused) = refused {
        return Ok(Err(refused));
    }
    let keys = [target.key.clone()];
    targets::upsert(&mut transaction, std::slice::from_ref(target), &keys, Some(posted)).await?;
    let row = sqlx::query!(
        r#"select target_id as "target_id: TargetId", due_since, version from target where key = $1"#,
        target.key,
    )
    .fetch_one(&mut *transaction)
    .await?;
    let placed = Placed { target_id: row.target_id, due_since: row.due_since };
    bind::bind(&mut transaction, std::slice::from_ref(target), &[placed]).await?;
    if found.as_ref().is_some_and(Found::names_service) {
        bind::give_back(&mut transaction, std::iter::once(target)).await?;
    }
    transaction.commit().await?;
    Ok(Ok(Put { is_new: found.is_none(), version: row.version }))
}

/// Takes a target out of the schedule; its history stays, what was posted goes.
///
/// # Errors
/// Whatever Postgres reports; nothing is changed then. The inner error says what stands
/// against it.
pub async fn remove(connection: &mut PgConnection, key: &str, known: Known) -> Result<Result<(), Refused>, StoreError> {
    let mut transaction = connection.begin().await?;
    match (find(&mut transaction, key).await?, known) {
        (None, _) => return Ok(Err(Refused::Unknown)),
        (Some(found), _) if found.source != "api" => return Ok(Err(Refused::Foreign(found.source))),
        (Some(_), Known::Nothing) => return Ok(Err(Refused::Unseen)),
        (Some(found), Known::Version(version)) if found.version != version => return Ok(Err(Refused::Stale)),
        _ => {}
    }
    sqlx::query!(
        "update target set deleted_at = clock_timestamp(), updated_at = clock_timestamp(), posted = null, version = version + 1
         where key = $1",
        key,
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(Ok(()))
}

struct Found {
    source: String,
    version: i64,
    posted: Option<String>,
}

impl Found {
    /// Whether it was posted as one of a service's.
    fn names_service(&self) -> bool {
        let posted = self.posted.as_deref().and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
        posted.is_some_and(|posted| posted.get("service").is_some_and(|service| !service.is_null()))
    }
}

/// The target of this key, if it is probed; nobody else changes it until the end of the transaction.
async fn find(connection: &mut PgConnection, key: &str) -> Result<Option<Found>, StoreError> {
    sqlx::query!("select pg_advisory_xact_lock($1)", targets::LOCK).execute(&mut *connection).await?;
    // Index: target_key_unique.
    Ok(sqlx::query_as!(
        Found,
        r#"select source::text as "source!", version, posted from target where key = $1 and deleted_at is null for update"#,
        key,
    )
    .fetch_optional(connection)
    .await?)
}

/// A target as it was posted.
#[derive(Clone, PartialEq, Eq)]
pub struct Posted {
    /// Row id.
    pub target_id: TargetId,
    /// Stable identity.
    pub key: String,
    /// Since when the slots of its interval are due.
    pub due_since: DateTime<Utc>,
    /// Counts the changes of its configuration.
    pub version: i64,
    /// As it came, as JSON; may hold secrets.
    pub text: String,
}

/// A number that is another one once anything that is posted has changed.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn mark(connection: &mut PgConnection) -> Result<i64, StoreError> {
    // Index: target_posted, and nothing but it. A sum over hashes tells one set from another,
    // in whatever order their transactions ended, which the newest time would not.
    Ok(sqlx::query_scalar!(
        r#"select (coalesce(sum(hashint8extended(version, target_id)), 0) % 1000000000000000000)::int8 as "mark!"
           from target where source = 'api' and deleted_at is null"#,
    )
    .fetch_one(connection)
    .await?)
}

/// Every posted target that is to be probed, in order of ids.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn list(connection: &mut PgConnection) -> Result<Vec<Posted>, StoreError> {
    // Index: target_posted.
    Ok(sqlx::query_as!(
        Posted,
        r#"select target_id as "target_id: TargetId", key, due_since, version, posted as "text!"
           from target where source = 'api' and deleted_at is null and posted is not null order by target_id"#,
    )
    .fetch_all(connection)
    .await?)
}
