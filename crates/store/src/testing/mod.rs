//! A fresh database for every test.
//!
//! ```no_run
//! # async fn a_test() -> Result<(), sqlx::Error> {
//! let db = store::testing::TestDb::new().await;
//! sqlx::query("select 1").execute(&db.pool).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The server is the one of `TEST_DATABASE_URL`, whose account must be allowed
//! to create databases, or an embedded one that all tests share (see
//! [`shared_url`] and [`stop_shared`]). The migrations run once, into a template
//! that every database is a copy of.

mod cable;
mod server;
mod template;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tokio::sync::OnceCell;
use url::Url;

use crate::StoreError;
use crate::embedded::EmbeddedError;
use crate::pool::{self, PoolSettings};

pub use cable::Cable;
pub use server::{Stopped, shared_url, stop_shared};

/// Every test database begins with this, so that leftovers are recognised.
const PREFIX: &str = "lookout_test_";

/// How long a statement may take: dropping a database writes a checkpoint.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pool of a test: like everybody's, but patient.
const POOL: PoolSettings = PoolSettings {
    application: "lookout test",
    max_connections: 5,
    acquire_timeout: PATIENCE,
    statement_timeout: PATIENCE,
    custom_plans: false,
};

/// Why there is no test database.
#[derive(Debug, thiserror::Error)]
pub enum TestDbError {
    /// The shared server did not start.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// A directory or lock of the shared server could not be used.
    #[error("cannot use {path}: {source}")]
    Files {
        /// The directory or file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// `TEST_DATABASE_URL` cannot be read.
    #[error("TEST_DATABASE_URL is malformed: {0}")]
    Url(#[from] url::ParseError),
    /// The migrations failed.
    #[error(transparent)]
    Schema(#[from] schema::SchemaError),
    /// The pool could not be set up.
    #[error(transparent)]
    Pool(StoreError),
    /// Postgres refused something.
    #[error("the test server reports: {0}")]
    Database(#[from] sqlx::Error),
}

/// A database of one test, dropped with this value.
#[derive(Debug)]
pub struct TestDb {
    /// A pool of five connections on it.
    pub pool: PgPool,
    /// Its URL.
    pub url: String,
    name: String,
    admin: String,
}

impl TestDb {
    /// A new database with every migration applied.
    ///
    /// # Panics
    /// If there is no server or it refuses; the message says why.
    pub async fn new() -> Self {
        Self::try_new(true).await.unwrap_or_else(|error| panic!("no test database: {error}"))
    }

    /// A new database without any table, for tests of the migrations themselves.
    ///
    /// # Panics
    /// If there is no server or it refuses; the message says why.
    pub async fn empty() -> Self {
        Self::try_new(false).await.unwrap_or_else(|error| panic!("no test database: {error}"))
    }

    async fn try_new(migrated: bool) -> Result<Self, TestDbError> {
        let admin = admin_url().await?;
        let name = new_name();
        template::create(admin, &name, migrated).await?;
        let url = with_database(admin, &name)?;
        let pool = pool::lazy(&url, &POOL).map_err(TestDbError::Pool)?;
        Ok(Self { pool, url, name, admin: admin.to_owned() })
    }

    /// Its URL, for programs that connect by themselves.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Closes the pool and drops the database.
    ///
    /// Dropping the value drops the database as well, with connections open.
    pub async fn close(self) {
        self.pool.close().await;
    }
}

impl Drop for TestDb {
    /// As best it can: what stays behind goes when a template is made next.
    fn drop(&mut self) {
        let dropped = crate::embedded::blocking(PATIENCE, async {
            let mut admin = PgConnection::connect(&self.admin).await?;
            drop_database(&mut admin, &self.name).await?;
            admin.close().await
        });
        if let Err(error) = dropped {
            eprintln!("could not drop the test database {}: {error}", self.name);
        }
    }
}

/// The server of this process: looked for once.
async fn admin_url() -> Result<&'static str, TestDbError> {
    static ADMIN: OnceCell<String> = OnceCell::const_new();
    let url = ADMIN.get_or_try_init(|| async {
        match std::env::var("TEST_DATABASE_URL") {
            Ok(url) if !url.is_empty() => Ok(url),
            // Starting a server blocks for a second or more.
            _ => tokio::task::spawn_blocking(shared_url)
                .await
                .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())),
        }
    });
    url.await.map(String::as_str)
}

/// The same server, another database.
fn with_database(url: &str, database: &str) -> Result<String, TestDbError> {
    let mut url = Url::parse(url)?;
    url.set_path(database);
    Ok(url.into())
}

/// `lookout_test_<seconds since 1970>_<process>_<number>`: the age tells what a
/// crashed run left behind.
fn new_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    format!(
        "{PREFIX}{}_{}_{}",
        now.unwrap_or_default().as_secs(),
        std::process::id(),
        NUMBER.fetch_add(1, Ordering::Relaxed)
    )
}

async fn drop_database(admin: &mut PgConnection, name: &str) -> Result<(), sqlx::Error> {
    let drop = AssertSqlSafe(format!("drop database if exists {name} with (force)"));
    sqlx::query(drop).execute(admin).await?;
    Ok(())
}
