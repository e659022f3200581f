//! A span of every request, for whoever sends traces to a collector. It says which route, not which
//! path or query: a stranger may have written a secret there.

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use settings::traces::TARGET;
use tracing::field::Empty;
use tracing::{Instrument, Span, info_span};

/// From the request's head to the answer's; what is streamed after it is not timed.
pub(crate) async fn traced(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let span = begin(&request);
    let answered = next.call(request).instrument(span.clone()).await;
    if !span.is_disabled() {
        end(&span, &answered);
    }
    answered
}

fn begin(request: &ServiceRequest) -> Span {
    // Read where a span is made, and nowhere else.
    let route = || request.match_pattern().unwrap_or_else(|| "elsewhere".to_owned());
    let method = method(request.method());
    info_span!(
        target: TARGET,
        "request",
        otel.name = format!("{method} {}", route()),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route(),
        http.response.status_code = Empty,
        lookout.request_id = Empty,
    )
}

fn end(span: &Span, answered: &Result<ServiceResponse<impl MessageBody>, Error>) {
    let status = match answered {
        Ok(response) => {
            let id = response.headers().get("x-request-id").and_then(|id| id.to_str().ok());
            span.record("lookout.request_id", id.unwrap_or_default());
            response.status()
        }
        Err(error) => error.as_response_error().status_code(),
    };
    span.record("http.response.status_code", status.as_u16());
    if status >= StatusCode::INTERNAL_SERVER_ERROR {
        span.record("otel.status_code", "ERROR");
    }
}

/// Source: OpenTelemetry, "Semantic Conventions for HTTP Spans": methods that are unknown are not told apart.
fn method(method: &Method) -> &str {
    match method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" | "CONNECT" | "TRACE") => known,
        _ => "_OTHER",
    }
}
