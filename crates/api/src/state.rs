//! What every handler can reach, and for how long it may wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use store::{PgPool, PooledConnection, pool};

use crate::error::ApiError;
use crate::live::Hub;

/// What every handler can reach.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) pool: PgPool,
    /// Set once the migrations are applied.
    pub(crate) migrated: Arc<AtomicBool>,
    /// What is shown live.
    pub(crate) hub: Hub,
}

impl State {
    /// A connection to a database that is up to date.
    ///
    /// # Errors
    /// 503 within a second when Postgres is away or the migrations still run.
    pub(crate) async fn database(&self) -> Result<PooledConnection, ApiError> {
        self.is_ready()?;
        Ok(pool::acquire(&self.pool).await?)
    }

    /// Whether the database is up to date.
    ///
    /// # Errors
    /// 503 while the migrations still run.
    pub(crate) fn is_ready(&self) -> Result<(), ApiError> {
        if self.migrated.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(ApiError::Unavailable("starting: the database is not migrated yet"))
    }
}

/// Ends work on the database that takes longer than `patience`: a connection whose
/// other end vanished would otherwise hang for as long as the network likes.
///
/// # Errors
/// 503 when it takes longer.
pub(crate) async fn within<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    tokio::time::timeout(patience, work)
        .await
        .unwrap_or(Err(ApiError::Unavailable("the database did not answer in time")))
}

/// How long one statement of a request may take, a little over Postgres's own limit.
pub(crate) const PATIENCE: Duration = Duration::from_millis(5_500);
