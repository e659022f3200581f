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

use crate::config::Config;
use crate::guard::guard;
use crate::live::{self, Hub};
use crate::openapi::Document;
use crate::public::PublicPage;
use crate::routes;
use crate::state::State;
use crate::traces::traced;

/// While Postgres is away at the start, try this often and say so every [`SAY_EVERY`].
const RETRY_EVERY: Duration = Duration::from_millis(500);
const SAY_EVERY: Duration = Duration::from_secs(10);

/// On a clean stop, requests under way get this long.
const STOP_GRACE_SECONDS: u64 = 5;

/// An api that listens; [`Api::run`] makes it answer.
pub struct Api {
    server: Server,
    addr: SocketAddr,
    state: State,
    database_url: String,
}

impl Api {
    /// Binds the address. The server answers from now on, with 503 until
    /// [`Api::run`] has migrated the database.
    ///
    /// # Errors
    /// [`SettingsError`] when the address cannot be listened on or the URL is malformed.
    pub fn bind(config: Config) -> anyhow::Result<Self> {
        let Config { database_url, listen } = config;
        let pool = pool::lazy(&database_url, &PoolSettings::API)
            .map_err(|error| SettingsError::one(format!("DATABASE_URL (--database-url): {error}")))?;
        let state = State { pool, migrated: Arc::default(), hub: Hub::new(live::CLIENT_PATIENCE) };
        let wanted = listen.addr;
        let document = web::Data::new(Document::new(listen.public_read, listen.public_page));
        let public = web::Data::new(PublicPage::default());
        let (shared, settings) = (web::Data::new(state.clone()), web::Data::new(listen));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(shared.clone())
                .app_data(settings.clone())
                .app_data(document.clone())
                .app_data(public.clone())
                .wrap(Compress::default())
                .wrap(from_fn(guard))
                .wrap(from_fn(traced))
                .configure(routes::configure)
        })
        .on_connect(live::on_connect)
        // What it writes at once it keeps room for, in each connection.
        .h1_write_buffer_size(live::PIECE)
        .workers(2)
        .disable_signals()
        .shutdown_timeout(STOP_GRACE_SECONDS)
        .bind(wanted)
        .map_err(|error| SettingsError::one(format!("API_ADDR (--api-addr): cannot listen on {wanted}: {error}")))?;
        let addr = server.addrs().first().copied().unwrap_or(wanted);
        Ok(Self { server: server.run(), addr, state, database_url })
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
            migrated = migrate(&self.database_url) => migrated,
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

/// Binds and runs in one call, for the `api` binary.
///
/// # Errors
/// As [`Api::bind`] and [`Api::run`].
pub async fn run(config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    Api::bind(config)?.run(stop).await
}

async fn migrate(database_url: &str) -> anyhow::Result<()> {
    // A server that starts beside us gets a moment before we complain.
    let mut said = Instant::now() - SAY_EVERY + Duration::from_secs(1);
    loop {
        let error = match schema::migrate(database_url).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        match &error {
            SchemaError::Unreachable { .. } => {}
            SchemaError::Migration { .. } => return Err(error.into()),
            _ => return Err(SettingsError::one(format!("DATABASE_URL (--database-url): {error}")).into()),
        }
        if said.elapsed() >= SAY_EVERY {
            said = Instant::now();
            warn!("waiting: {error}");
        }
        sleep(RETRY_EVERY).await;
    }
}

/// The first partitions, so that a worker started a moment later finds them; workers make the rest.
async fn make_partitions(pool: &PgPool) {
    if let Err(error) = partitions::ensure_around(pool, chrono::Utc::now()).await {
        warn!("cannot make partitions, leaving it to the worker: {error}");
    }
}
