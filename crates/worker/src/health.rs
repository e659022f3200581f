//! `/healthz` and `/readyz` of a worker, where `WORKER_ADDR` is set.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::dev::Server;
use actix_web::{App, HttpResponse, HttpServer, web};

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

/// Binds the server; it answers once it is awaited.
///
/// # Errors
/// The address is taken or not ours.
pub fn serve(address: SocketAddr, ready: Ready) -> std::io::Result<Server> {
    Ok(HttpServer::new(move || {
        App::new().app_data(web::Data::new(ready.clone())).route("/healthz", web::get().to(|| async { "ok\n" })).route(
            "/readyz",
            web::get().to(|ready: web::Data<Ready>| async move {
                if ready.get() {
                    HttpResponse::Ok().body("ready\n")
                } else {
                    HttpResponse::ServiceUnavailable()
                        .insert_header(("retry-after", "1"))
                        .body("waiting for postgres\n")
                }
            }),
        )
    })
    .workers(1)
    .disable_signals()
    .bind(address)?
    .run())
}
