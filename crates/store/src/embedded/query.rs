//! Short questions to a server, from code that is not async.

use std::future::Future;
use std::io;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// How long `select 1` may take.
const QUICK: Duration = Duration::from_secs(5);

/// How long making a database may take on a busy machine.
const SLOW: Duration = Duration::from_secs(60);

/// What a server said to `select 1`.
#[derive(Debug)]
pub(super) enum Answer {
    /// It answers queries.
    Ready,
    /// It is there, but still recovering, or has no connection left.
    Starting,
    /// Nobody listens.
    Silent,
    /// It answered with an error that waiting does not cure.
    Refused(String),
}

/// Connects and asks. An open socket proves nothing: during recovery a server
/// accepts connections and sends an error.
pub(super) fn ask(url: &str) -> Answer {
    let answer = blocking(QUICK, async {
        let mut connection = PgConnection::connect(url).await?;
        sqlx::query("select 1").execute(&mut connection).await?;
        connection.close().await
    });
    match answer {
        Ok(()) => Answer::Ready,
        Err(sqlx::Error::Database(error)) => match error.code().as_deref() {
            // cannot_connect_now, admin_shutdown, too_many_connections
            Some("57P03" | "57P01" | "53300") => Answer::Starting,
            _ => Answer::Refused(error.message().to_owned()),
        },
        Err(sqlx::Error::Io(error)) if error.kind() == io::ErrorKind::TimedOut => Answer::Starting,
        Err(sqlx::Error::Io(_) | sqlx::Error::Protocol(_)) => Answer::Silent,
        Err(error) => Answer::Refused(error.to_string()),
    }
}

/// Creates the database `name` unless it exists.
pub(super) fn create_database(url: &str, name: &'static str) -> Result<(), sqlx::Error> {
    blocking(SLOW, async {
        let mut connection = PgConnection::connect(url).await?;
        let exists = sqlx::query("select 1 from pg_database where datname = $1")
            .bind(name)
            .fetch_optional(&mut connection)
            .await?
            .is_some();
        if !exists {
            let create = AssertSqlSafe(format!("create database {name}"));
            sqlx::query(create).execute(&mut connection).await?;
        }
        connection.close().await
    })
}

/// Runs `work` to its end on a thread and a runtime of its own: the caller may
/// well be inside a runtime, where blocking on a future panics.
///
/// `TimedOut` of [`sqlx::Error::Io`] when it takes longer than `patience`.
pub(crate) fn blocking<T: Send>(
    patience: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>> + Send,
) -> Result<T, sqlx::Error> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                match tokio::time::timeout(patience, work).await {
                    Ok(result) => result,
                    Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
                }
            })
        });
        let panicked = |_| Err(sqlx::Error::WorkerCrashed);
        thread.join().unwrap_or_else(panicked)
    })
}
