//! Every path the api answers. One file a route; the SQL is in `store`.

mod checks;
mod docs;
mod health;
mod metrics;
mod parameters;
mod status;
mod summary;
mod system;
mod targets;

use actix_web::{FromRequest, Handler, Responder, guard, web};
use utoipa_actix_web::OpenApiFactory;

use crate::error::ApiError;

/// Every route, once: this line serves it and puts it into the document. What stands
/// first, with underscores, is what `utoipa::path` made of the handler's description.
pub(crate) fn each(routes: &mut impl Routes) {
    routes.read(status::__path_list, status::list);
    routes.read(checks::__path_list, checks::list);
    routes.read(summary::__path_get, summary::get);
    routes.read(targets::__path_list, targets::list);
    routes.read(targets::__path_get, targets::get);
    routes.read(system::__path_get, system::get);
    routes.read(metrics::__path_get, metrics::get);
    routes.read(health::__path_alive, health::alive);
    routes.read(health::__path_ready, health::ready);
    routes.read(docs::__path_document, docs::document);
    routes.read(docs::__path_page, docs::page);
    routes.read(docs::__path_part, docs::part);
    routes.read(docs::__path_without_slash, docs::without_slash);
}

/// Where routes go: an app that answers, or the document that tells of them.
pub(crate) trait Routes {
    /// A path that answers GET and HEAD.
    fn read<F, Args>(&mut self, description: impl Described, handler: F)
    where
        F: Handler<Args, Output: Responder + 'static>,
        Args: FromRequest + 'static;
}

/// The description of a handler: its path, and what the document says of it.
pub(crate) trait Described: utoipa::Path + OpenApiFactory {}

impl<T: utoipa::Path + OpenApiFactory> Described for T {}

/// Adds every route to an app.
pub(crate) fn configure(app: &mut web::ServiceConfig) {
    app.app_data(
        web::QueryConfig::default().error_handler(|error, _| ApiError::Query(parameters::explain(&error)).into()),
    );
    each(app);
    app.default_service(web::to(|| async { Err::<&str, _>(ApiError::NoRoute) }));
}

impl Routes for web::ServiceConfig {
    /// The path answers 405 to other methods.
    fn read<F, Args>(&mut self, description: impl Described, handler: F)
    where
        F: Handler<Args, Output: Responder + 'static>,
        Args: FromRequest + 'static,
    {
        self.service(
            web::resource(path(&description))
                .route(web::route().guard(guard::Any(guard::Get()).or(guard::Head())).to(handler))
                .default_service(web::to(|| async { Err::<&str, _>(ApiError::MethodNotAllowed) })),
        );
    }
}

fn path<D: Described>(_: &D) -> String {
    D::path()
}
