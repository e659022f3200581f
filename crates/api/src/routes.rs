//! Every path the api answers. One file a route; the SQL is in `store`.

mod badge;
mod changes;
mod checks;
mod days;
mod docs;
mod events;
mod health;
pub(crate) mod incidents;
mod latency;
mod live;
mod metrics;
mod overview;
mod parameters;
mod posted;
mod public;
mod reports;
mod services;
mod status;
mod summary;
mod system;
mod table;
pub(crate) mod targets;

use std::collections::BTreeMap;
use std::future::ready;

use actix_web::middleware::from_fn;
use actix_web::{FromRequest, Handler, Responder, guard, web};
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::{HttpMethod, RefOr};
use utoipa_actix_web::OpenApiFactory;

use crate::asked::{acceptable, without_parameters};
use crate::error::ApiError;
use crate::guard::UNLIMITED;

/// Every route, once: this line serves it and puts it into the document. What stands
/// first, with underscores, is what `utoipa::path` made of the handler's description.
pub(crate) fn each(routes: &mut impl Routes) {
    routes.add(status::__path_list, status::list);
    routes.add(checks::__path_list, checks::list);
    routes.add(summary::__path_get, summary::get);
    routes.add(overview::__path_get, overview::get);
    routes.add(table::__path_get, table::get);
    routes.add(table::__path_map, table::map);
    routes.add(live::__path_get, live::get);
    routes.add(targets::__path_list, targets::list);
    routes.add(targets::__path_get, targets::get);
    routes.add(posted::__path_post, posted::post);
    routes.add(posted::__path_put, posted::put);
    routes.add(posted::__path_delete, posted::delete);
    routes.add(days::__path_get, days::get);
    routes.add(latency::__path_get, latency::get);
    routes.add(incidents::__path_list, incidents::list);
    routes.add(incidents::__path_get, incidents::get);
    routes.add(services::__path_list, services::list);
    routes.add(services::__path_declare, services::declare);
    routes.add(changes::__path_list, changes::list);
    routes.add(changes::__path_post, changes::post);
    routes.add(events::__path_post, events::post);
    routes.add(reports::__path_mttr, reports::mttr);
    routes.add(reports::__path_histogram, reports::histogram);
    routes.add(reports::__path_details, reports::details);
    routes.add(system::__path_get, system::get);
    routes.add(public::__path_get, public::get);
    routes.add(badge::__path_get, badge::get);
    routes.add(metrics::__path_get, metrics::get);
    routes.add(health::__path_alive, health::alive);
    routes.add(health::__path_ready, health::ready);
    routes.add(docs::__path_document, docs::document);
    routes.add(docs::__path_page, docs::page);
    routes.add(docs::__path_part, docs::part);
    routes.add(docs::__path_without_slash, docs::without_slash);
}

/// Where routes go: an app that answers, or the document that tells of them.
pub(crate) trait Routes {
    /// A path and the method that its description says; one that reads answers HEAD too.
    fn add<F, Args>(&mut self, description: impl Described, handler: F)
    where
        F: Handler<Args, Output: Responder + 'static>,
        Args: FromRequest + 'static;
}

/// The description of a handler: its path, and what the document says of it.
pub(crate) trait Described: utoipa::Path + OpenApiFactory {}

impl<T: utoipa::Path + OpenApiFactory> Described for T {}

/// Adds every route to an app. A path answers 405 to the methods it does not have.
pub(crate) fn configure(app: &mut web::ServiceConfig) {
    app.app_data(
        web::QueryConfig::default().error_handler(|error, _| ApiError::Query(parameters::explain(&error)).into()),
    );
    let mut served = Served { app, methods: BTreeMap::new() };
    each(&mut served);
    let Served { app, methods } = served;
    for (path, methods) in methods {
        let allowed = methods.join(", ");
        let refuse = move || ready(Err::<&str, _>(ApiError::MethodNotAllowed(allowed.clone())));
        app.service(web::resource(path).default_service(web::to(refuse)));
    }
    app.default_service(web::to(crate::public::answer));
}

/// Routes that an app answers, and the methods of each path.
struct Served<'a> {
    app: &'a mut web::ServiceConfig,
    methods: BTreeMap<String, Vec<&'static str>>,
}

impl Routes for Served<'_> {
    fn add<F, Args>(&mut self, description: impl Described, handler: F)
    where
        F: Handler<Args, Output: Responder + 'static>,
        Args: FromRequest + 'static,
    {
        let (path, method) = place(&description);
        let (names, answers): (&[_], _) = match method {
            HttpMethod::Post => (&["POST"], guard::Any(guard::Post())),
            HttpMethod::Put => (&["PUT"], guard::Any(guard::Put())),
            HttpMethod::Delete => (&["DELETE"], guard::Any(guard::Delete())),
            _ => (&["GET", "HEAD"], guard::Any(guard::Get()).or(guard::Head())),
        };
        let resource = web::resource(path.as_str()).guard(answers).route(web::route().to(handler));
        // A load balancer may add what it likes, and a page is not picky either.
        let is_easy = UNLIMITED.contains(&path.as_str()) || path.starts_with(docs::PAGE);
        if is_easy {
            self.app.service(resource);
        } else if has_parameters(&description) {
            self.app.service(resource.wrap(from_fn(acceptable)));
        } else {
            self.app.service(resource.wrap(from_fn(acceptable)).wrap(from_fn(without_parameters)));
        }
        self.methods.entry(path).or_default().extend(names);
    }
}

/// Whether anything stands behind the `?`. Handlers refuse what is none of theirs.
fn has_parameters<D: Described>(_: &D) -> bool {
    let is_query = |parameter: &RefOr<Parameter>| matches!(parameter, RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query);
    D::operation().parameters.iter().flatten().any(is_query)
}

fn place<D: Described>(_: &D) -> (String, HttpMethod) {
    (D::path(), D::methods().into_iter().next().unwrap_or(HttpMethod::Get))
}
