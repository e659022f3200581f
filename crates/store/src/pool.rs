//! Connecting: pools with stated sizes and deadlines, and waiting for Postgres.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgPool, Row};

use crate::StoreError;

/// A connection that comes back and says nothing for so long is closed.
const RETURN_DEADLINE: Duration = Duration::from_secs(2);

/// How a process uses its connections.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// Shown in `pg_stat_activity`.
    pub application: &'static str,
    /// Connections at most. All processes together share `max_connections`.
    pub max_connections: u32,
    /// How long to wait for a connection, ping included.
    pub acquire_timeout: Duration,
    /// Postgres ends a statement that takes longer.
    pub statement_timeout: Duration,
    /// Plan each execution anew, for statements whose filters are optional.
    pub custom_plans: bool,
}

impl PoolSettings {
    /// For what a worker does every second: few connections, plans kept. What writes results has
    /// [one of its own](crate::line).
    pub const WORKER: Self = Self {
        application: "lookout worker",
        max_connections: 2,
        acquire_timeout: Duration::from_secs(3),
        statement_timeout: Duration::from_secs(5),
        custom_plans: false,
    };

    /// For what takes its time: lists of targets, incidents, keeping house.
    pub const KEEPER: Self =
        Self { application: "lookout keeper", statement_timeout: Duration::from_secs(60), ..Self::WORKER };

    /// For the api: answers 503 within a second when Postgres is away.
    pub const API: Self = Self {
        application: "lookout api",
        max_connections: 10,
        acquire_timeout: Duration::from_millis(800),
        statement_timeout: Duration::from_secs(5),
        custom_plans: true,
    };
}

/// A pool that connects when it is first used.
///
/// # Errors
/// The URL is malformed.
pub fn lazy(url: &str, settings: &PoolSettings) -> Result<PgPool, StoreError> {
    let statement_timeout = settings.statement_timeout.as_millis().to_string();
    let plans = if settings.custom_plans { "force_custom_plan" } else { "auto" };
    let options = PgConnectOptions::from_str(url)?
        .application_name(settings.application)
        .options([("statement_timeout", statement_timeout.as_str()), ("plan_cache_mode", plans), ("timezone", "UTC")])
        // What is estimated to cost much, over many partitions, and takes milliseconds: compiling it takes a second.
        .options([("jit", "off")])
        // The server's end of a connection: it lets go of what we held when we are gone without a word. On
        // our end the driver sets nothing of the kind; there everything has a deadline.
        .options([
            ("tcp_keepalives_idle", "5"),
            ("tcp_keepalives_interval", "2"),
            ("tcp_keepalives_count", "3"),
            ("tcp_user_timeout", "10000"),
        ])
        .log_statements(tracing::log::LevelFilter::Off)
        .log_slow_statements(tracing::log::LevelFilter::Off, Duration::from_secs(2));
    Ok(PgPoolOptions::new()
        .max_connections(settings.max_connections)
        .acquire_timeout(settings.acquire_timeout)
        // Asks more than a ping would, and costs as much.
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(is_outside_transactions(connection)))
        // The pool asks a connection that comes back, too, and would wait for that without an end.
        .after_release(|connection, _| {
            Box::pin(async {
                let asked = tokio::time::timeout(RETURN_DEADLINE, is_outside_transactions(connection)).await;
                asked.unwrap_or(Err(sqlx::Error::PoolTimedOut))
            })
        })
        .connect_lazy_with(options))
}

/// Whether a connection answers, and is in no transaction; the pool closes one that is.
///
/// A caller that is cut off while its transaction begins leaves one behind that the
/// driver does not know of. Whatever came next would not be committed, and would hold
/// its locks. In a transaction of its own a statement begins with it, to the microsecond.
async fn is_outside_transactions(connection: &mut sqlx::PgConnection) -> Result<bool, sqlx::Error> {
    // Over the simple protocol, where a statement is one message.
    let row = sqlx::raw_sql("select now() = statement_timestamp()").fetch_one(connection).await?;
    row.try_get(0)
}

/// How long to wait before a Postgres that could not be reached so many times is asked again: a quarter of
/// a second at first and twice as long each time, up to two seconds, so that it is found soon after it is back.
pub fn retry_after(failures: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(250);
    const LONGEST: Duration = Duration::from_secs(2);
    FIRST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(LONGEST)
}

/// Host and port of the server, or its socket.
pub fn server(pool: &PgPool) -> String {
    let options = pool.connect_options();
    match options.get_socket() {
        Some(directory) => format!("{}/.s.PGSQL.{}", directory.display(), options.get_port()),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}

/// A refusal in words that name the server: those that whoever applies the migrations has, because the
/// two ask at the same time, and either may be the first to hear.
pub fn explain(pool: &PgPool, error: &StoreError) -> String {
    let server = server(pool);
    match error {
        StoreError::Login(reason) => format!("Postgres at {server} refuses the login: {reason}"),
        StoreError::NoDatabase(reason) => format!("Postgres at {server} has no such database: {reason}"),
        other => other.to_string(),
    }
}

/// One attempt to connect and ask something.
///
/// # Errors
/// A refusal ([`StoreError::is_refusal`]) will not go away by waiting;
/// [`StoreError::Unavailable`] may.
pub async fn ping(pool: &PgPool) -> Result<(), StoreError> {
    // Outside the pool, which would retry a refused connection until its deadline
    // and then hide the reason.
    let options = pool.connect_options();
    let attempt = async {
        let mut connection = options.connect().await?;
        sqlx::query("select 1").execute(&mut connection).await?;
        connection.close().await
    };
    match tokio::time::timeout(Duration::from_secs(5), attempt).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(StoreError::Unavailable(sqlx::Error::PoolTimedOut)),
    }
}

/// The newest migration applied; `None` before the first.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn schema_version(pool: &PgPool) -> Result<Option<i32>, StoreError> {
    // Not a checked query: refinery's own table is in none of our migrations.
    let history: Option<String> =
        sqlx::query_scalar("select to_regclass('refinery_schema_history')::text").fetch_one(pool).await?;
    if history.is_none() {
        return Ok(None);
    }
    Ok(sqlx::query_scalar("select max(version) from refinery_schema_history").fetch_one(pool).await?)
}

/// Whether Postgres answers on this connection.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn answers(connection: &mut sqlx::PgConnection) -> Result<(), StoreError> {
    sqlx::query("select 1").execute(connection).await?;
    Ok(())
}

/// A transaction whose statements all see the database as it is at one moment.
/// One that meets another's newer write fails with [`StoreError::Unavailable`], to be begun again.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn begin_at_one_moment(connection: &mut sqlx::PgConnection) -> Result<crate::Transaction<'_>, StoreError> {
    let mut transaction = connection.begin().await?;
    sqlx::query("set transaction isolation level repeatable read").execute(&mut *transaction).await?;
    Ok(transaction)
}

/// A connection from the pool, within its acquire timeout.
///
/// # Errors
/// [`StoreError::Unavailable`] when there is none in time.
pub async fn acquire(pool: &PgPool) -> Result<crate::PooledConnection, StoreError> {
    Ok(pool.acquire().await?)
}
