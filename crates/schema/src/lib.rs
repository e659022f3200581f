//! Brings a database to the schema this binary was built for.
//!
//! The files of `/migrations` are embedded. Each runs in a transaction of its
//! own, forward only, and any number of processes may try at the same moment:
//! an advisory lock lets one through at a time.
//!
//! Two rules about a database that holds something else:
//! - Migrations it has and we do not know are fine: an older binary lives
//!   beside a newer schema.
//! - A migration that was applied in another wording, or that we have below its
//!   newest one and it never got, is an error: nobody knows what such a database
//!   holds, and carrying on would only hide it.

mod connect;
mod error;
mod tls;

use std::time::{Duration, Instant};

use refinery::{Runner, error::Kind};
use tokio::time::sleep;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tracing::{info, warn};

pub use error::SchemaError;

mod embedded {
    refinery::embed_migrations!("../../migrations");
}

/// Key of the advisory lock: "lookout" in ASCII and a 1. Any number would do
/// that other users of the same database are unlikely to pick.
const LOCK: i64 = 0x6c6f_6f6b_6f75_7401;

/// Between two attempts at a table that somebody else uses, everybody gets at it for so long.
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(1);

/// While a table is not to be had, say so this often.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// What [`migrate`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The migrations applied just now, in order, such as `V1__target`.
    pub names: Vec<String>,
    /// The newest migration the database has; above [`version`] when a newer
    /// lookout has been here.
    pub version: i32,
}

/// The newest migration this binary carries; 0 if it carries none.
pub fn version() -> i32 {
    let runner = runner();
    let versions = runner.get_migrations().iter().map(|one| one.version());
    versions.max().unwrap_or(0)
}

/// A number that changes whenever a migration is added, renamed or edited.
///
/// The same in every process built from the same files.
pub fn fingerprint() -> u64 {
    let runner = runner();
    let mut migrations: Vec<_> = runner.get_migrations().iter().collect();
    migrations.sort();
    // refinery's checksum is SipHash 1-3 of name, version and text.
    migrations.iter().fold(0, |hash, migration| {
        hash.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(migration.checksum())
    })
}

/// Applies every migration that the database at `url` lacks.
///
/// Waits, without limit, while another process migrates the same database. The
/// URL means what it means to `store`'s pool, `sslmode` included: `disable` and
/// `allow` stay in the clear, `prefer` (the default) encrypts if the server can,
/// `require` insists; like libpq, none of these checks who answers. `verify-ca`
/// checks the certificate's issuer and `verify-full` the host name too, against
/// `sslrootcert` if given, else the system's certificates, else Mozilla's.
/// On a unix socket `sslmode` is ignored. `PGHOST`, `PGPORT`, `PGUSER`,
/// `PGPASSWORD`, `PGDATABASE` and `PGSSLMODE` fill what the URL leaves out;
/// `~/.pgpass` is not read.
///
/// A table that somebody else holds is waited for less than a second at a time, because everybody else waits behind
/// us meanwhile; then it is tried again, without limit.
///
/// Dropping the future closes the connection, which frees the lock; the
/// migration under way is rolled back.
///
/// # Errors
/// [`SchemaError`] says what is wrong and, by [`SchemaError::is_retryable`],
/// whether trying again may help. No message shows the password.
pub async fn migrate(url: &str) -> Result<Applied, SchemaError> {
    apply(url, &runner()).await
}

/// Like [`migrate`], with one more migration than there is, such as `V99__later`: what a newer lookout would do.
///
/// # Errors
/// As [`migrate`].
///
/// # Panics
/// The name is none.
#[cfg(feature = "testing")]
pub async fn migrate_further(url: &str, name: &str, sql: &str) -> Result<Applied, SchemaError> {
    let mut migrations = runner().get_migrations().clone();
    migrations.push(refinery::Migration::unapplied(name, sql).expect("the name of a migration"));
    apply(url, &Runner::new(&migrations).set_abort_missing(false)).await
}

async fn apply(url: &str, runner: &Runner) -> Result<Applied, SchemaError> {
    let server = connect::Server::parse(url, |name| std::env::var(name).ok())?;
    let (mut client, connection) = server.connect().await?;
    let result = migrate_locked(&server, &mut client, runner).await;
    drop(client);
    // Wait until the socket is closed: a database that still has a visitor
    // cannot serve as a template.
    connection.await.ok();
    result
}

async fn migrate_locked(
    server: &connect::Server,
    client: &mut Client,
    runner: &Runner,
) -> Result<Applied, SchemaError> {
    // A limit set for the role or the database is meant for queries.
    client
        .batch_execute("set statement_timeout = 0; set lock_timeout = 0")
        .await
        .map_err(|error| server.query_error("preparing the session", &error))?;
    let row = client
        .query_one("select current_setting('server_version_num')::int, pg_try_advisory_lock($1)", &[&LOCK])
        .await
        .map_err(|error| server.query_error("taking the migration lock", &error))?;
    let server_version: i32 = row.get(0);
    if server_version < 150_000 {
        return Err(SchemaError::TooOld { server: server.name(), found: server_version / 10_000 });
    }
    if !row.get::<_, bool>(1) {
        info!("waiting for another process that is migrating the database");
        client
            .execute("select pg_advisory_lock($1)", &[&LOCK])
            .await
            .map_err(|error| server.query_error("taking the migration lock", &error))?;
    }
    let result = run(server, client, runner).await;
    // Closing the connection would free the lock as well, a moment later.
    let unlocked = client.execute("select pg_advisory_unlock($1)", &[&LOCK]).await;
    if let Err(error) = unlocked {
        warn!("could not free the migration lock: {error}");
    }
    result
}

async fn run(server: &connect::Server, client: &mut Client, runner: &Runner) -> Result<Applied, SchemaError> {
    client
        .batch_execute("set lock_timeout = '800ms'")
        .await
        .map_err(|error| server.query_error("preparing the session", &error))?;
    let names = run_patiently(server, client, runner).await?;
    let known =
        runner.get_applied_migrations_async(client).await.map_err(|error| migration_error(server, runner, &error))?;

    // With `set_abort_missing(false)` refinery skips a migration that is older
    // than the newest applied one, and only logs it.
    let lacks = |version| known.iter().all(|applied| applied.version() != version);
    if let Some(skipped) = runner.get_migrations().iter().find(|ours| lacks(ours.version())) {
        return Err(SchemaError::OutOfOrder { name: skipped.to_string() });
    }
    let applied = Applied { names, version: known.iter().map(|one| one.version()).max().unwrap_or(0) };
    // Also where nothing was applied: the roles may be newer than the tables.
    if let Err(error) = client.batch_execute("select grant_roles()").await {
        warn!("could not give the roles of api and worker their rights: {}", server.query_error("granting", &error));
    }
    if !applied.names.is_empty() {
        info!("applied migrations {}", applied.names.join(", "));
    }
    if applied.version > version() {
        warn!(
            "the schema is at version {}, made by a newer lookout: this one knows {} and leaves it as it is",
            applied.version,
            version()
        );
    }
    Ok(applied)
}

/// Runs what there is to run, again and again while somebody else holds a table; the names of what was applied.
async fn run_patiently(
    server: &connect::Server,
    client: &mut Client,
    runner: &Runner,
) -> Result<Vec<String>, SchemaError> {
    let names = |report: &refinery::Report| -> Vec<String> {
        report.applied_migrations().iter().map(ToString::to_string).collect()
    };
    let mut applied = Vec::new();
    let mut said: Option<Instant> = None;
    loop {
        let error = match runner.run_async(client).await {
            Ok(report) => {
                applied.extend(names(&report));
                return Ok(applied);
            }
            Err(error) if is_lock_timeout(&error) => error,
            Err(error) => return Err(migration_error(server, runner, &error)),
        };
        // Those before it stay.
        applied.extend(error.report().map(names).unwrap_or_default());
        if said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
            said = Some(Instant::now());
            info!("waiting for a table that somebody else holds: {}", migration_error(server, runner, &error));
        }
        sleep(BETWEEN_ATTEMPTS).await;
    }
}

fn is_lock_timeout(error: &refinery::Error) -> bool {
    let Kind::Connection(_, source) = error.kind() else { return false };
    let source = source.downcast_ref::<tokio_postgres::Error>();
    source.and_then(tokio_postgres::Error::code) == Some(&SqlState::LOCK_NOT_AVAILABLE)
}

fn runner() -> Runner {
    embedded::migrations::runner().set_abort_missing(false)
}

/// Says in our words which migration failed and where.
fn migration_error(server: &connect::Server, runner: &Runner, error: &refinery::Error) -> SchemaError {
    match error.kind() {
        Kind::DivergentVersion(applied, ours) => {
            SchemaError::Diverged { name: ours.to_string(), applied: applied.to_string() }
        }
        Kind::Connection(action, source) => {
            let Some(error) = source.downcast_ref::<tokio_postgres::Error>() else {
                return SchemaError::Database { server: server.name(), reason: format!("{action}: {source}") };
            };
            let name = action.strip_prefix("error applying migration ");
            match (server.query_error(action, error), name) {
                (SchemaError::Database { reason, .. }, Some(name)) => {
                    SchemaError::Migration { name: name.to_owned(), line: failed_line(runner, name, error), reason }
                }
                (other, _) => other,
            }
        }
        other => SchemaError::Database { server: server.name(), reason: other.to_string() },
    }
}

/// The line of the migration's text that Postgres pointed at.
fn failed_line(runner: &Runner, name: &str, error: &tokio_postgres::Error) -> Option<usize> {
    let position = match error.as_db_error()?.position()? {
        tokio_postgres::error::ErrorPosition::Original(position) => *position as usize,
        tokio_postgres::error::ErrorPosition::Internal { .. } => return None,
    };
    let migration = runner.get_migrations().iter().find(|one| one.to_string() == name)?;
    let before = migration.sql()?.chars().take(position);
    Some(before.filter(|&c| c == '\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_number_of_the_newest_file() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations");
        let newest = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| {
                let name = entry.unwrap().file_name().into_string().unwrap();
                let (number, _) = name.strip_prefix('V')?.split_once("__")?;
                number.parse::<i32>().ok()
            })
            .max();
        assert_eq!(version(), newest.unwrap_or(0));
    }

    #[test]
    fn the_fingerprint_is_the_same_every_time() {
        assert_eq!(fingerprint(), fingerprint());
    }
}
