//! Every path the api answers. One file a route; the SQL is in `store`.

mod checks;
mod health;
mod metrics;
mod parameters;
mod status;
mod summary;
mod system;
mod targets;

use actix_web::{guard, web};

use crate::error::ApiError;

/// Adds every route to an app.
pub(crate) fn configure(app: &mut web::ServiceConfig) {
    app.app_data(
        web::QueryConfig::default().error_handler(|error, _| ApiError::Query(parameters::explain(&error)).into()),
    );
    read(app, "/status", status::list);
    read(app, "/api/v1/checks", checks::list);
    read(app, "/api/v1/summary", summary::get);
    read(app, "/api/v1/targets", targets::list);
    read(app, "/api/v1/targets/{key}", targets::get);
    read(app, "/api/v1/system", system::get);
    read(app, "/metrics", metrics::get);
    read(app, "/healthz", health::alive);
    read(app, "/readyz", health::ready);
    app.default_service(web::to(|| async { Err::<&str, _>(ApiError::NoRoute) }));
}

/// A path that answers GET and HEAD, and 405 to the rest.
fn read<F, Args>(app: &mut web::ServiceConfig, path: &str, handler: F)
where
    F: actix_web::Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    F::Output: actix_web::Responder + 'static,
{
    let get_or_head = guard::Any(guard::Get()).or(guard::Head());
    app.service(
        web::resource(path)
            .route(web::route().guard(get_or_head).to(handler))
            .default_service(web::to(|| async { Err::<&str, _>(ApiError::MethodNotAllowed) })),
    );
}
