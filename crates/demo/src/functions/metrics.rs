//! What the functions tell Prometheus about themselves.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder};

use super::Function;

/// From ten microseconds, what a call takes, to ten seconds, what a broken one may.
const BUCKETS: [f64; 13] = [1e-5, 2.5e-5, 1e-4, 2.5e-4, 1e-3, 2.5e-3, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0];

/// Codes that are counted: each has its series from the start, so that a first error is a rise from 0.
const CODES: [&str; 3] = ["200", "400", "500"];

#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    calls: HistogramVec,
    requests: IntCounterVec,
}

impl Metrics {
    /// Series for the functions that are served.
    pub(super) fn new(only: Option<Function>) -> Self {
        let calls = HistogramOpts::new(
            "function_call_duration_seconds",
            "Time that calls of the function itself took, without network and proxies",
        );
        let requests = Opts::new("function_requests_total", "Requests for the function, by status code");
        let made = "the names and labels are valid";
        let metrics = Self {
            registry: Registry::new(),
            calls: HistogramVec::new(calls.buckets(BUCKETS.to_vec()), &["function"]).expect(made),
            requests: IntCounterVec::new(requests, &["function", "code"]).expect(made),
        };
        metrics.registry.register(Box::new(metrics.calls.clone())).expect(made);
        metrics.registry.register(Box::new(metrics.requests.clone())).expect(made);
        for function in Function::ALL.into_iter().filter(|function| only.is_none_or(|only| only == *function)) {
            metrics.calls.with_label_values(&[function.name()]);
            for code in CODES {
                metrics.requests.with_label_values(&[function.name(), code]);
            }
        }
        metrics
    }

    pub(super) fn called(&self, function: Function, status: u16, took: Duration) {
        self.calls.with_label_values(&[function.name()]).observe(took.as_secs_f64());
        self.requests.with_label_values(&[function.name(), &status.to_string()]).inc();
    }

    pub(super) fn refused(&self, function: Function) {
        self.requests.with_label_values(&[function.name(), "400"]).inc();
    }

    /// In Prometheus text format.
    pub(super) fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}
