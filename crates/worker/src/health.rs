//! `/healthz`, `/readyz` and `/metrics` of a worker, where `WORKER_ADDR` is set.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::dev::Server;
use actix_web::{App, HttpResponse, HttpServer, web};
use store::PgPool;
use tokio_util::sync::CancellationToken;

use crate::recorder::Intake;
use crate::reload::InUse;
use crate::stats::Stats;

/// Whether Postgres took the worker's last report.
#[derive(Debug, Clone, Default)]
pub struct Ready(Arc<AtomicBool>);

impl Ready {
    /// Sets the state.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    /// Reads the state.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What there is to tell.
#[derive(Debug, Clone)]
pub struct Health {
    /// For `/readyz`.
    pub ready: Ready,
    /// Whether the configuration is the newest.
    pub in_use: InUse,
    /// For `/metrics`.
    pub stats: Arc<Stats>,
    /// Whose depth `/metrics` tells.
    pub intake: Arc<Intake>,
    /// Whose use `/metrics` tells.
    pub pool: PgPool,
    /// The worker begins nothing any more, and ends when what is under way is done.
    pub stop: CancellationToken,
}

/// Binds the server, which answers once it is awaited, and says where it listens.
///
/// # Errors
/// The address is taken or not ours.
pub fn serve(address: SocketAddr, health: Health) -> std::io::Result<(SocketAddr, Server)> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(health.clone()))
            .route("/healthz", web::get().to(|| async { "ok\n" }))
            .route("/readyz", web::get().to(ready))
            .route("/metrics", web::get().to(metrics))
    })
    .workers(1)
    .disable_signals()
    .bind(address)?;
    let bound = server.addrs().first().copied().unwrap_or(address);
    Ok((bound, server.run()))
}

async fn ready(health: web::Data<Health>) -> HttpResponse {
    let (memory, disk) = (health.intake.depth(), health.intake.spool_depth());
    let spool = if health.stats.is_spool_usable() { "" } else { ", which cannot be used" };
    let waiting = format!("{memory} results wait in memory, {disk} on disk{spool}\n");
    let refused = |why: &str| {
        let body = format!("{why}; {waiting}");
        HttpResponse::ServiceUnavailable().insert_header(("retry-after", "1")).body(body)
    };
    if health.stop.is_cancelled() {
        return refused("stopping");
    }
    if !health.ready.get() {
        return refused("waiting for postgres");
    }
    if health.stats.is_failing() {
        return refused("postgres does not take results");
    }
    // A worker with an old configuration does its work: nobody should send it away.
    match health.in_use.error() {
        None if health.stats.is_offline() => {
            HttpResponse::Ok().body("ready, but offline: our own network or name server is gone\n")
        }
        None if disk > 0 => HttpResponse::Ok().body(format!("ready, writing {disk} results from disk\n")),
        None => HttpResponse::Ok().body("ready\n"),
        Some(error) => HttpResponse::Ok()
            .content_type("text/plain; charset=utf-8")
            .body(format!("ready, with the last good configuration\n{error}\n")),
    }
}

async fn metrics(health: web::Data<Health>) -> HttpResponse {
    match health.stats.text(health.intake.depth(), health.intake.spool_depth(), &health.pool) {
        Ok(text) => HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text),
        Err(error) => {
            tracing::error!("the metrics could not be written: {error}");
            HttpResponse::InternalServerError().body("the metrics could not be written\n")
        }
    }
}
