//! `GET /metrics`: every target and lookout itself, for Prometheus.
//!
//! Everything is read from Postgres at each scrape, so any number of apis say the
//! same. Cardinality is bounded: seven series a target for the first
//! [`MOST_TARGETS`] by key, nine a worker that was seen in the last ten minutes, two
//! a reader of batches, three an endpoint for the first [`MOST_ENDPOINTS`] by service, and
//! a handful besides; `lookout_targets` and
//! `lookout_targets_exported` tell when some are left out. Histograms of latency and
//! start lag are with each worker, which sees every single check.

use std::collections::HashMap;

use actix_web::{HttpResponse, web};
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use prometheus::core::Collector;
use prometheus::{Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};
use store::cursors::{self, Behind};
use store::incidents;
use store::leases;
use store::overview::{self, Overview, Verdicts};
use store::services;
use store::windows::{self, Which};
use store::workers::{self, Seen};

use super::targets::TargetState;
use crate::error::ApiError;
use crate::state::{PATIENCE, State, within};

/// Targets with series of their own at most.
const MOST_TARGETS: i64 = 10_000;

/// Endpoints with series of their own at most: each costs a read of its window.
const MOST_ENDPOINTS: i64 = 2_000;

/// Ratios are over this many whole minutes and the one under way.
const RATIO_MINUTES: i64 = 5;

/// Every target and lookout itself, for Prometheus
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "lookout",
    responses(
        (status = 200, description = "Prometheus text format, version 0.0.4", content_type = "text/plain", body = String),
        crate::openapi::AsksPostgres
    )
)]
pub(super) async fn get(state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    let now = Utc::now();
    let metrics = Metrics::new();
    within(PATIENCE, async {
        let mut connection = state.database().await?;
        let minute = now.duration_trunc(TimeDelta::minutes(1)).unwrap_or(now);
        let targets = overview::list(&mut connection, "", None, MOST_TARGETS).await?;
        let verdicts = overview::verdicts(&mut connection, minute - TimeDelta::minutes(RATIO_MINUTES)).await?;
        metrics.targets(&targets, &verdicts, now);
        metrics.workers(&workers::list(&mut connection).await?, now);
        metrics.objectives(&services::list(&mut connection, None, ("", "", ""), now, MOST_ENDPOINTS).await?);
        let open = i64::try_from(incidents::open(&mut connection, None).await?.len()).unwrap_or(i64::MAX);
        metrics.whole("incidents_open", "Incidents that are open, also of endpoints without series here", open);
        metrics.readers(&cursors::behind(&mut connection).await?, now);
        let active = windows::scope(&mut connection, Which::Fleet).await?.map_or(0, |scope| scope.active);
        metrics.whole("targets", "Targets that are probed", active);
        let exported = i64::try_from(targets.len()).unwrap_or(i64::MAX);
        metrics.whole("targets_exported", "Targets that have series of their own here", exported);
        let held = leases::held(&mut connection).await?;
        metrics.whole("shards_held", "Shards with a worker, of 256 in all; the rest is not probed", held.shards);
        metrics.counted("lease_epochs_total", "Times a shard changed hands, ever", held.epochs);
        if let Some(newest) = workers::newest_check(&mut connection).await? {
            let age = Gauge::new("newest_check_age_seconds", "Age of the newest slot that is stored");
            metrics.add(age).set(seconds(now - newest));
        }
        Ok(())
    })
    .await?;
    let idle = i64::try_from(state.pool.num_idle()).unwrap_or(i64::MAX);
    metrics.whole("api_pool_connections", "Open database connections of this api", i64::from(state.pool.size()));
    metrics.whole("api_pool_idle_connections", "Database connections of this api without work", idle);
    metrics.answer()
}

/// The registry of one scrape. Names and labels are constants, and no name comes twice.
struct Metrics(Registry);

impl Metrics {
    fn new() -> Self {
        Self(Registry::new_custom(Some("lookout".to_owned()), None).expect("the prefix is a name"))
    }

    fn add<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let metric = made.expect("a constant name");
        self.0.register(Box::new(metric.clone())).expect("no name comes twice");
        metric
    }

    fn whole(&self, name: &str, help: &str, value: i64) {
        self.add(IntGauge::new(name, help)).set(value);
    }

    fn counted(&self, name: &str, help: &str, value: i64) {
        self.add(IntCounter::new(name, help)).inc_by(u64::try_from(value).unwrap_or(0));
    }

    fn by(&self, label: &str, name: &str, help: &str) -> GaugeVec {
        self.add(GaugeVec::new(Opts::new(name, help), &[label]))
    }

    fn counted_by(&self, label: &str, name: &str, help: &str) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), &[label]))
    }

    fn targets(&self, targets: &[Overview], verdicts: &[Verdicts], now: DateTime<Utc>) {
        let gauge = |name, help| self.by("target", name, help);
        let up =
            gauge("target_up", "1 while the target is up or degraded, 0 while it is down, absent while it is unknown");
        let degraded = gauge("target_degraded", "1 while the target is degraded, absent while it is unknown");
        let code = gauge("target_status_code", "Status code of the newest verdict, 0 without a response");
        let elapsed = gauge("target_last_elapsed_seconds", "Time to the response head of the newest verdict");
        let checked = gauge("target_checked_timestamp_seconds", "When the check of the newest verdict started");
        let failures = gauge("target_failure_ratio", "Failed share of the verdicts of the last five minutes");
        let coverage = gauge("target_coverage_ratio", "Share of the last five minutes' slots with a verdict");
        let verdicts: HashMap<_, _> = verdicts.iter().map(|verdicts| (verdicts.target_id, verdicts)).collect();
        for target in targets {
            let label = [target.key.as_str()];
            let often = (target.interval_ms, target.timeout_ms);
            let state = TargetState::new(target.outcome.as_deref(), target.checked_at, often, now);
            // Silence is never good news, and no bad news of the target either.
            if state != TargetState::Unknown {
                up.with_label_values(&label).set(f64::from(u8::from(state != TargetState::Down)));
                degraded.with_label_values(&label).set(f64::from(u8::from(state == TargetState::Degraded)));
            }
            if let Some(checked_at) = target.checked_at {
                code.with_label_values(&label).set(f64::from(target.code.unwrap_or(0)));
                elapsed.with_label_values(&label).set(f64::from(target.elapsed_us.unwrap_or(0)) / 1e6);
                checked.with_label_values(&label).set(checked_at.timestamp_micros() as f64 / 1e6);
            }
            if let Some(seen) = verdicts.get(&target.target_id) {
                let total = seen.good + seen.bad;
                if total > 0 {
                    failures.with_label_values(&label).set(seen.bad as f64 / total as f64);
                }
                if total + seen.unseen > 0 {
                    coverage.with_label_values(&label).set(total as f64 / (total + seen.unseen) as f64);
                }
            }
        }
    }

    fn workers(&self, workers: &[Seen], now: DateTime<Utc>) {
        let gauge = |name, help| self.by("worker", name, help);
        let seen = gauge("worker_report_age_seconds", "Time since the worker last reported");
        let shards = gauge("worker_shards", "Shards the worker holds a lease on, of 256 in all");
        let lag = gauge("worker_start_lag_seconds", "Largest lateness of a start in the last second");
        let in_flight = gauge("worker_probes_in_flight", "Probes under way");
        let queue = gauge("worker_queue_depth", "Results that wait for Postgres in the worker's memory");
        let spool = gauge("worker_spool_depth", "Results that wait for Postgres on the worker's disk");
        let usable = gauge("worker_spool_usable", "1 while results can go to the worker's disk, else 0");
        let offline = gauge("worker_offline", "1 while the worker's own network or name server is gone, else 0");
        let count = |name, help| self.counted_by("worker", name, help);
        let missed = count("worker_missed_slots_total", "Slots missed since the worker started");
        let unknown = count("worker_unknown_slots_total", "Slots lost to the worker's own faults since it started");
        for worker in workers.iter().filter(|worker| worker.stopped_at.is_none()) {
            let label = [worker.worker_id.as_str()];
            seen.with_label_values(&label).set(seconds(now - worker.seen_at));
            shards.with_label_values(&label).set(worker.shards as f64);
            lag.with_label_values(&label).set(worker.lag_us as f64 / 1e6);
            in_flight.with_label_values(&label).set(f64::from(worker.in_flight));
            queue.with_label_values(&label).set(worker.queue_depth as f64);
            spool.with_label_values(&label).set(worker.spool_depth as f64);
            usable.with_label_values(&label).set(f64::from(u8::from(worker.spool_usable)));
            offline.with_label_values(&label).set(f64::from(u8::from(worker.offline_since.is_some())));
            missed.with_label_values(&label).inc_by(u64::try_from(worker.missed).unwrap_or(0));
            unknown.with_label_values(&label).inc_by(u64::try_from(worker.unknown).unwrap_or(0));
        }
    }

    fn objectives(&self, endpoints: &[services::Shown]) {
        let gauge = |name, help| self.add(GaugeVec::new(Opts::new(name, help), &["service", "endpoint"]));
        let open = gauge("incident_open", "1 while the endpoint is below its objective since a request");
        let sli = gauge("sli_ratio", "Good share of the requests in the window that ends now");
        let objective = gauge("slo_objective", "Smallest healthy share of good requests");
        for endpoint in endpoints {
            let name = format!("{} {}", endpoint.verb, endpoint.resource);
            let label = [endpoint.service.as_str(), name.as_str()];
            open.with_label_values(&label).set(f64::from(u8::from(endpoint.incident_id.is_some())));
            objective.with_label_values(&label).set(endpoint.objective_nano as f64 / 1e9);
            if let Some(ratio) = super::services::sli(endpoint) {
                sli.with_label_values(&label).set(ratio);
            }
        }
    }

    fn readers(&self, readers: &[Behind], now: DateTime<Utc>) {
        let batches = self.by("reader", "reader_batches_behind", "Batches the reader has not followed, up to 100,000");
        let age = self.by("reader", "reader_lag_seconds", "Age of the oldest batch the reader has not followed");
        for reader in readers {
            let label = [reader.reader.as_str()];
            batches.with_label_values(&label).set(reader.batches as f64);
            age.with_label_values(&label).set(reader.oldest_at.map_or(0.0, |oldest_at| seconds(now - oldest_at)));
        }
    }

    fn answer(&self) -> Result<HttpResponse, ApiError> {
        let text = TextEncoder::new().encode_to_string(&self.0.gather()).map_err(|error| {
            tracing::error!("the metrics could not be written: {error}");
            ApiError::Unavailable("the metrics could not be written")
        })?;
        Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text))
    }
}

fn seconds(span: TimeDelta) -> f64 {
    span.num_milliseconds().max(0) as f64 / 1000.0
}
