//! `GET /metrics`: every target and lookout itself, for Prometheus.
//!
//! Everything is read from Postgres at each scrape, so any number of apis say the
//! same. Cardinality is bounded: seven series a target for the first
//! [`MOST_TARGETS`] by key, six a worker that was seen in the last ten minutes, and a
//! handful besides; `lookout_targets` and `lookout_targets_exported` tell when some
//! are left out.

use std::collections::HashMap;
use std::fmt;

use actix_web::{HttpResponse, web};
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeGaugeValue, EncodeLabelSet};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use store::overview::{self, Overview, Verdicts};
use store::windows::{self, Which};
use store::workers::{self, Seen};

use crate::error::ApiError;
use crate::state::{PATIENCE, State, within};

/// Targets with series of their own at most.
const MOST_TARGETS: i64 = 10_000;

/// Ratios are over this many whole minutes and the one under way.
const RATIO_MINUTES: i64 = 5;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTarget {
    target: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfWorker {
    worker: String,
}

type Float<L> = Family<L, Gauge<f64, std::sync::atomic::AtomicU64>>;
type Whole<L> = Family<L, Gauge>;

pub(super) async fn get(state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    let now = Utc::now();
    let registry = within(PATIENCE, async {
        let mut connection = state.database().await?;
        let minute = now.duration_trunc(TimeDelta::minutes(1)).unwrap_or(now);
        let mut registry = Registry::with_prefix("lookout");
        let targets = overview::list(&mut connection, "", None, MOST_TARGETS).await?;
        let verdicts = overview::verdicts(&mut connection, minute - TimeDelta::minutes(RATIO_MINUTES)).await?;
        register_targets(&mut registry, &targets, &verdicts);
        register_workers(&mut registry, &workers::list(&mut connection).await?, now);
        let active = windows::scope(&mut connection, Which::Fleet).await?.map_or(0, |scope| scope.active);
        gauge(&mut registry, "targets", "Targets that are probed", active);
        let exported = i64::try_from(targets.len()).unwrap_or(i64::MAX);
        gauge(&mut registry, "targets_exported", "Targets that have series of their own here", exported);
        if let Some(newest) = workers::newest_check(&mut connection).await? {
            let age = (now - newest).num_milliseconds().max(0) as f64 / 1000.0;
            gauge(&mut registry, "newest_check_age_seconds", "Age of the newest slot that is stored", age);
        }
        Ok(registry)
    })
    .await?;
    let mut registry = registry;
    let pool = &state.pool;
    gauge(&mut registry, "api_pool_connections", "Open database connections of this api", i64::from(pool.size()));
    let idle = i64::try_from(pool.num_idle()).unwrap_or(i64::MAX);
    gauge(&mut registry, "api_pool_idle_connections", "Database connections of this api without work", idle);
    text(&registry)
}

fn text(registry: &Registry) -> Result<HttpResponse, ApiError> {
    let mut body = String::new();
    let fmt::Result::Ok(()) = encode(&mut body, registry) else {
        return Err(ApiError::Unavailable("the metrics could not be written"));
    };
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(classic(&body)))
}

/// From OpenMetrics to the older text format, which every scraper and `promtool`
/// read: there a counter is described under its full name, with `_total`.
///
/// Source: Prometheus documentation, "Exposition formats".
fn classic(open_metrics: &str) -> String {
    let lines: Vec<&str> = open_metrics.lines().filter(|line| *line != "# EOF").collect();
    let counters: Vec<&str> =
        lines.iter().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut text = String::with_capacity(open_metrics.len() + 64);
    for line in lines {
        let described = ["# HELP ", "# TYPE "].into_iter().find_map(|kind| Some((kind, line.strip_prefix(kind)?)));
        match described.and_then(|(kind, rest)| Some((kind, rest.split_once(' ')?))) {
            Some((kind, (name, rest))) if counters.contains(&name) => {
                text.push_str(&format!("{kind}{name}_total {rest}\n"));
            }
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

fn gauge<N>(registry: &mut Registry, name: &str, help: &str, value: N)
where
    N: EncodeGaugeValue + fmt::Debug + Send + Sync + 'static,
{
    registry.register(name, help, ConstGauge::new(value));
}

fn register_targets(registry: &mut Registry, targets: &[Overview], verdicts: &[Verdicts]) {
    let up = Whole::<OfTarget>::default();
    let degraded = Whole::<OfTarget>::default();
    let code = Whole::<OfTarget>::default();
    let elapsed = Float::<OfTarget>::default();
    let checked = Float::<OfTarget>::default();
    let failures = Float::<OfTarget>::default();
    let coverage = Float::<OfTarget>::default();
    let verdicts: HashMap<_, _> = verdicts.iter().map(|verdicts| (verdicts.target_id, verdicts)).collect();
    for target in targets {
        let label = OfTarget { target: target.key.clone() };
        if let (Some(outcome), Some(checked_at)) = (&target.outcome, target.checked_at) {
            up.get_or_create(&label).set(i64::from(outcome != "down"));
            degraded.get_or_create(&label).set(i64::from(outcome == "degraded"));
            code.get_or_create(&label).set(i64::from(target.code.unwrap_or(0)));
            elapsed.get_or_create(&label).set(f64::from(target.elapsed_us.unwrap_or(0)) / 1e6);
            checked.get_or_create(&label).set(checked_at.timestamp_micros() as f64 / 1e6);
        }
        if let Some(seen) = verdicts.get(&target.target_id) {
            let total = seen.good + seen.bad;
            if total > 0 {
                failures.get_or_create(&label).set(seen.bad as f64 / total as f64);
            }
            if total + seen.unseen > 0 {
                coverage.get_or_create(&label).set(total as f64 / (total + seen.unseen) as f64);
            }
        }
    }
    registry.register("target_up", "1 while the newest verdict is up or degraded, 0 while it is down", up);
    registry.register("target_degraded", "1 while the newest verdict is degraded", degraded);
    registry.register("target_status_code", "Status code of the newest verdict, 0 without a response", code);
    registry.register("target_elapsed_seconds", "Time to the response head of the newest verdict", elapsed);
    registry.register("target_checked_timestamp_seconds", "When the check of the newest verdict started", checked);
    registry.register("target_failure_ratio", "Failed share of the verdicts of the last five minutes", failures);
    registry.register("target_coverage_ratio", "Share of the last five minutes' slots with a verdict", coverage);
}

fn register_workers(registry: &mut Registry, workers: &[Seen], now: DateTime<Utc>) {
    let seen = Float::<OfWorker>::default();
    let shards = Whole::<OfWorker>::default();
    let lag = Float::<OfWorker>::default();
    let missed = Family::<OfWorker, Counter>::default();
    let in_flight = Whole::<OfWorker>::default();
    let queue = Whole::<OfWorker>::default();
    for worker in workers.iter().filter(|worker| worker.stopped_at.is_none()) {
        let label = OfWorker { worker: worker.worker_id.clone() };
        seen.get_or_create(&label).set((now - worker.seen_at).num_milliseconds() as f64 / 1000.0);
        shards.get_or_create(&label).set(worker.shards);
        lag.get_or_create(&label).set(worker.lag_us as f64 / 1e6);
        missed.get_or_create(&label).inc_by(u64::try_from(worker.missed).unwrap_or(0));
        in_flight.get_or_create(&label).set(i64::from(worker.in_flight));
        queue.get_or_create(&label).set(worker.queue_depth);
    }
    registry.register("worker_report_age_seconds", "Time since the worker last reported", seen);
    registry.register("worker_shards", "Shards the worker holds a lease on, of 256 in all", shards);
    registry.register("worker_start_lag_seconds", "Largest lateness of a start in the last second", lag);
    registry.register("worker_missed_slots", "Slots missed since the worker started", missed);
    registry.register("worker_probes_in_flight", "Probes under way", in_flight);
    registry.register("worker_queue_depth", "Results that wait for Postgres in the worker's memory", queue);
}
