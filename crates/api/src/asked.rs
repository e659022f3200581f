//! What a request may ask that a route does not have: parameters, and other types of answers.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{Accept, CONTENT_TYPE, Header, QualityItem};
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

/// Whether one of the ranges holds the type (RFC 9110, 12.5.1); parameters such as a version are left out of it.
fn takes(accepted: &[QualityItem<Mime>], given: &Mime) -> bool {
    let holds = |range: &Mime| {
        (range.type_() == mime::STAR || range.type_() == given.type_())
            && (range.subtype() == mime::STAR || range.subtype() == given.subtype())
    };
    accepted.iter().any(|wanted| wanted.quality > actix_web::http::header::Quality::ZERO && holds(&wanted.item))
}
