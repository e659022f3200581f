//! Build, bind, run.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::middleware::{Compress, from_fn};
use actix_web::{App, HttpServer, web};
use schema::SchemaError;
use settings::SettingsError;
use store::pool::{self, PoolSettings};
use store::{PgPool, partitions};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::{Config, DEFAULT_MAX_CONNECTIONS};
use crate::guard::guard;
use crate::limits::Limits;
use crate::live::{self, Hub};
use crate::openapi::Document;
use crate::public::PublicPage;
use crate::routes;
use crate::state::State;
use crate::traces::traced;

/// While Postgres is away at the start, say so this often.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// On a clean stop, requests under way get this long.
const STOP_GRACE_SECONDS: u64 = 5;

/// Threads that answer.
const THREADS: usize = 2;

/// How long a client may take over the head of a request, how long it may ask nothing on an open
/// connection, and how long it may take to hang up. How long it may take over a body is up to
/// `post`, and how long it may not read to the kernel (`live::on_connect`).
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
const IDLE_DEADLINE: Duration = Duration::from_secs(10);
const GOODBYE: Duration = Duration::from_secs(2);

/// Descriptors that the rest of the process gets: Postgres, files, and in `lookout up` the probes.
const OTHER_DESCRIPTORS: u64 = 1_500;

/// An api that listens; [`Api::run`] makes it answer.
pub struct Api {
    server: Server,
    addr: SocketAddr,
    state: State,
    /// As the role that owns the schema.
    migration_url: String,
    migration_variable: &'static str,
}

impl Api {
    /// Binds the address. The server answers from now on, with 503 until
    /// [`Api::run`] has migrated the database.
    ///
    /// # Errors
    /// [`SettingsError`] when the address cannot be listened on or the URL is malformed.
    pub fn bind(config: Config) -> anyhow::Result<Self> {
        let Config { database_url, migration_database_url, listen } = config;
        let pool = pool::lazy(&database_url, &PoolSettings::API)
            .map_err(|error| SettingsError::one(format!("DATABASE_URL (--database-url): {error}")))?;
        let state = State { pool, migrated: Arc::default(), hub: Hub::new(live::CLIENT_PATIENCE) };
        let wanted = listen.addr;
        let document = web::Data::new(Document::new(&listen));
        let limits = web::Data::new(Limits::new(listen.rate_limit));
        let most = most_connections(listen.max_connections);
        let public = web::Data::new(PublicPage::default());
        let (shared, settings) = (web::Data::new(state.clone()), web::Data::new(listen));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(shared.clone())
                .app_data(settings.clone())
                .app_data(document.clone())
                .app_data(public.clone())
                .app_data(limits.clone())
                .wrap(Compress::default())
                .wrap(from_fn(guard))
                .wrap(from_fn(traced))
                .configure(routes::configure)
        })
        .on_connect(live::on_connect)
        // What it writes at once it keeps room for, in each connection.
        .h1_write_buffer_size(live::PIECE)
        .workers(THREADS)
        .max_connections(most.div_ceil(THREADS))
        .client_request_timeout(HEAD_DEADLINE)
        .keep_alive(IDLE_DEADLINE)
        .client_disconnect_timeout(GOODBYE)
        .disable_signals()
        .shutdown_timeout(STOP_GRACE_SECONDS)
        .bind(wanted)
        .map_err(|error| SettingsError::one(format!("API_ADDR (--api-addr): cannot listen on {wanted}: {error}")))?;
        let addr = server.addrs().first().copied().unwrap_or(wanted);
        let (migration_url, migration_variable) = match migration_database_url {
            Some(url) => (url, "MIGRATION_DATABASE_URL (--migration-database-url)"),
            None => (database_url, "DATABASE_URL (--database-url)"),
        };
        Ok(Self { server: server.run(), addr, state, migration_url, migration_variable })
    }

    /// Where it listens: the port that was taken where 0 was asked for.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Migrates the database and answers until `stop`; then finishes the requests under way.
    ///
    /// # Errors
    /// [`SettingsError`] when the database URL leads nowhere useful; a failed migration.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let handle = self.server.handle();
        let server = tokio::spawn(self.server);
        info!("answering on http://{}", self.addr);
        let migrated = tokio::select! {
            () = stop.cancelled() => Ok(()),
            migrated = migrate(&self.migration_url, self.migration_variable) => migrated,
        };
        let result = match migrated {
            Ok(()) => {
                if !stop.is_cancelled() {
                    make_partitions(&self.state.pool).await;
                    self.state.migrated.store(true, Ordering::Release);
                    let state = self.state.clone();
                    let live = tokio::spawn(async move { state.hub.run(state.clone()).await });
                    stop.cancelled().await;
                    // Before the server, which waits for every connection.
                    self.state.hub.stop();
                    let _ = live.await;
                }
                Ok(())
            }
            Err(error) => Err(error),
        };
        self.state.hub.stop();
        handle.stop(true).await;
        server.await??;
        self.state.pool.close().await;
        result
    }
}

/// Descriptors of a connection: its own, and the handle to cut it by (`live::Cord`).
const FOR_EACH: u64 = 2;

/// How many connections there may be at once. Each needs descriptors: the soft limit is raised as far
/// as allowed, and what still does not fit is taken off.
fn most_connections(wanted: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let needed = u64::try_from(wanted).unwrap_or(u64::MAX).saturating_mul(FOR_EACH).saturating_add(OTHER_DESCRIPTORS);
    let mut allowed = current.unwrap_or(u64::MAX);
    if allowed < needed {
        let raised = maximum.map_or(needed, |maximum| needed.min(maximum));
        if setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }).is_ok() {
            allowed = raised;
        }
    }
    if allowed >= needed {
        return wanted;
    }
    // With very few, half of them.
    let fits = allowed.saturating_sub(OTHER_DESCRIPTORS).max(allowed / 2) / FOR_EACH;
    // Nobody chose the usual number.
    if wanted != DEFAULT_MAX_CONNECTIONS {
        warn!("MAX_CONNECTIONS is {wanted} but only {allowed} descriptors are allowed: {fits} at once (see ulimit -n)");
    }
    usize::try_from(fits).unwrap_or(wanted)
}

/// Binds and runs in one call, for the `api` binary.
///
/// # Errors
/// As [`Api::bind`] and [`Api::run`].
pub async fn run(config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    Api::bind(config)?.run(stop).await
}

async fn migrate(database_url: &str, variable: &str) -> anyhow::Result<()> {
    // A server that starts beside us gets a moment before we complain.
    let mut said = Instant::now() - SAY_EVERY + Duration::from_secs(1);
    let mut failures = 0;
    loop {
        let error = match schema::migrate(database_url).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        match &error {
            SchemaError::Unreachable { .. } => {}
            SchemaError::Migration { .. } => return Err(error.into()),
            _ => return Err(SettingsError::one(format!("{variable}: {error}")).into()),
        }
        if said.elapsed() >= SAY_EVERY {
            said = Instant::now();
            warn!("waiting: {error}");
        }
        failures += 1;
        sleep(store::pool::retry_after(failures)).await;
    }
}

/// The first partitions, so that a worker started a moment later finds them; workers make the rest.
async fn make_partitions(pool: &PgPool) {
    if let Err(error) = partitions::ensure_around(pool, chrono::Utc::now()).await {
        warn!("cannot make partitions, leaving it to the worker: {error}");
    }
}
