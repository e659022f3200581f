//! What a request may ask that a route does not have: parameters, and other types of answers.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{Accept, CONTENT_TYPE, Header, Quality, QualityItem};
use actix_web::middleware::Next;
use actix_web::mime::{self, Mime};
use actix_web::web::Query;
use actix_web::{Error, ResponseError};

use crate::error::ApiError;

/// Refuses every parameter, by its name: for routes that have none.
pub(crate) async fn without_parameters(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let given = Query::<Vec<(String, String)>>::from_query(request.query_string());
    if let Some((name, _)) = given.iter().flat_map(|given| given.iter()).next() {
        let problem = ApiError::Query(format!("unknown field `{name}`: this path takes no parameters"));
        return Ok(request.into_response(problem.error_response()).map_into_right_body());
    }
    Ok(next.call(request).await?.map_into_left_body())
}

/// Refuses to read for who accepts none of the type that there is.
pub(crate) async fn acceptable(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let is_reading = [Method::GET, Method::HEAD].contains(request.method());
    // What nobody can read is as good as not said.
    let accepted = Accept::parse(&request).ok().filter(|accepted| is_reading && !accepted.is_empty());
    let response = next.call(request).await?;
    let given = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()?.parse::<Mime>().ok());
    match (accepted, given) {
        (Some(accepted), Some(given)) if response.status().is_success() && !takes(&accepted, &given) => {
            let problem = ApiError::NotAcceptable(format!("the answer is {}: accept that", given.essence_str()));
            Ok(response.into_response(problem.error_response()).map_into_right_body())
        }
        _ => Ok(response.map_into_left_body()),
    }
}

/// Whether the type is wanted: the narrowest range that holds it says so (RFC 9110, 12.5.1). Parameters such as a version
/// are left out of it.
fn takes(accepted: &[QualityItem<Mime>], given: &Mime) -> bool {
    let width = |range: &Mime| match (range.type_(), range.subtype()) {
        (kind, of) if kind == given.type_() && of == given.subtype() => Some(0),
        (kind, mime::STAR) if kind == given.type_() => Some(1),
        (mime::STAR, mime::STAR) => Some(2),
        _ => None,
    };
    let widths = accepted.iter().filter_map(|wanted| Some((width(&wanted.item)?, wanted.quality)));
    widths.min_by_key(|(width, _)| *width).is_some_and(|(_, quality)| quality > Quality::ZERO)
}
