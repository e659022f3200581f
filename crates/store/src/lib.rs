//! The only crate that contains SQL. One file per family of tables; functions
//! take an executor or a connection, so that the caller decides on transactions.

pub mod batches;
mod bind;
pub mod checks;
pub mod configured;
mod copy;
pub mod cursors;
pub mod days;
pub mod doorbell;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod error;
pub mod events;
pub mod fleet;
pub mod incidents;
pub mod latency;
pub mod leases;
pub mod line;
pub mod overview;
pub mod partitions;
pub mod pool;
pub mod posted;
pub mod rollups;
pub mod services;
pub mod status;
pub mod targets;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tokens;
pub mod windows;
pub mod workers;

pub use error::StoreError;
pub use sqlx::{PgConnection, PgPool};

/// A transaction that is rolled back unless it is committed.
pub type Transaction<'c> = sqlx::Transaction<'c, sqlx::Postgres>;

/// A connection lent by a pool.
pub type PooledConnection = sqlx::pool::PoolConnection<sqlx::Postgres>;

/// The newest migration this code was written for.
///
/// `worker` waits for it; a test holds it against the migrations themselves.
pub const SCHEMA_VERSION: i32 = 27;

/// Puts an outcome together from the labels of its two columns.
fn outcome(label: &str, cause: Option<&str>) -> Result<common::Outcome, StoreError> {
    common::Outcome::from_labels(label, cause).ok_or_else(|| {
        StoreError::Database(sqlx::Error::Decode(format!("outcome {label:?} with cause {cause:?}").into()))
    })
}
