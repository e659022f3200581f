//! Spans of what a worker does, for whoever sends traces to a collector. They say which target,
//! how long and how it ended: no URL, header or error text, for those may hold a secret.

use common::Outcome;
use settings::traces::TARGET;
use tracing::field::Empty;
use tracing::{Span, info_span};

use crate::probe::Probed;

/// The span of one check; `name` as it may be logged.
pub(crate) fn check(name: &str, method: &http::Method) -> Span {
    info_span!(
        target: TARGET,
        "check",
        otel.kind = "client",
        otel.status_code = Empty,
        lookout.target = name,
        lookout.outcome = Empty,
        error.r#type = Empty,
        http.request.method = method.as_str(),
        http.response.status_code = Empty,
    )
}

/// Writes into it how the check ended.
pub(crate) fn checked(span: &Span, probed: &Probed) {
    if span.is_disabled() {
        return;
    }
    span.record("lookout.outcome", probed.outcome.label());
    if let Some(code) = probed.code {
        span.record("http.response.status_code", code);
    }
    if let Outcome::Down(cause) = probed.outcome {
        span.record("error.type", cause.label());
    }
    if !probed.outcome.is_success() {
        span.record("otel.status_code", "ERROR");
    }
}

/// The span of one flush to Postgres.
pub(crate) fn flush(checks: usize, gaps: usize) -> Span {
    info_span!(
        target: TARGET,
        "flush",
        otel.status_code = Empty,
        db.system.name = "postgresql",
        lookout.checks = checks,
        lookout.gaps = gaps,
    )
}

/// Writes into it that the flush failed.
pub(crate) fn failed(span: &Span) {
    span.record("otel.status_code", "ERROR");
}
