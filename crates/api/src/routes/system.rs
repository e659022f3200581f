//! `GET /api/v1/system`: how lookout itself does.

use actix_web::{HttpResponse, web};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use store::windows::{self, Which};
use store::workers::{self, Seen};
use utoipa::ToSchema;

use crate::answer::Moment;
use crate::error::ApiError;
use crate::openapi::AsksPostgres;
use crate::state::{PATIENCE, State, within};

/// A worker that reported longer ago than this is not there any more.
const ALIVE: TimeDelta = TimeDelta::seconds(5);

/// Workers, and what they share.
#[derive(Serialize, ToSchema)]
#[schema(as = System)]
pub(super) struct Answer {
    /// The version of this api.
    #[schema(example = "0.1.0")]
    version: &'static str,
    schema: Schema,
    /// How many targets are probed.
    targets: i64,
    /// Slots due in a second, all targets together.
    checks_per_second: f64,
    /// The newest slot that is stored; null when there is none of the last day.
    newest_check: Option<Moment>,
    /// Every hour before this is rolled up; null before the first.
    rolled_up_until: Option<Moment>,
    /// Running workers with different target lists delete nothing of each other's.
    lists_differ: bool,
    /// Shards that a worker holds a lease on, of 256 in all; the rest is not probed.
    shards_held: i64,
    /// How often a shard changed hands, ever.
    lease_epochs: i64,
    /// Who follows the batches, and how far.
    readers: Vec<Reader>,
    /// Those that reported in the last ten minutes, the newest start first.
    workers: Vec<Worker>,
}

/// A follower of the batches: hour roll-ups, incidents.
#[derive(Serialize, ToSchema)]
struct Reader {
    #[schema(example = "incidents")]
    name: String,
    /// Batches not followed yet, up to 100,000.
    batches_behind: i64,
    /// Age of the oldest of them; 0 when there is none.
    lag_seconds: f64,
}

/// The tables, by number of the last migration.
#[derive(Serialize, ToSchema)]
struct Schema {
    /// What the database has.
    version: i32,
    /// What this api was written for.
    expected: i32,
}

/// What a worker says of itself, once a second.
#[derive(Serialize, ToSchema)]
struct Worker {
    /// Its name, new at each start.
    id: String,
    state: WorkerState,
    /// The version of its program.
    version: String,
    started_at: Moment,
    /// Its last report.
    seen_at: Moment,
    /// The shards it probes, of 256.
    shards: i64,
    /// The largest lateness of a start since the report before, in milliseconds.
    lag_ms: f64,
    /// Slots missed since it started.
    missed: i64,
    /// Slots lost to its own faults since it started.
    unknown: i64,
    /// Probes under way.
    in_flight: i32,
    /// Results in its memory that wait for Postgres.
    queue_depth: i64,
    /// Results on its disk that wait for Postgres.
    spool_depth: i64,
    /// Whether results can go to its disk; where they cannot (full, read-only, no `LOOKOUT_DATA_DIR`), what Postgres does not
    /// take is in memory only, and ends with the worker.
    spool_usable: bool,
    own_network: OwnNetwork,
    /// Since when its own network or name server is gone; null while they are there.
    offline_since: Option<Moment>,
    /// What is wrong with its configuration file, one problem a line, while it works on with the last good one; null
    /// when that is the newest.
    config_error: Option<String>,
}

/// `gone` while the network or the name server of the worker itself is gone: what fails then is unknown, not down.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum OwnNetwork {
    Ok,
    Gone,
}

/// `stopped` is a clean stop; `gone` means no report for 5 s, or found dead by another worker of its directory.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum WorkerState {
    Running,
    Stopped,
    Gone,
}

/// How lookout itself does
///
/// Its workers, the shards they probe, how late they are and what waits to be stored.
#[utoipa::path(
    get,
    path = "/api/v1/system",
    operation_id = "system",
    tag = "lookout",
    responses((status = 200, description = "Workers and what they share", body = Answer), AsksPostgres)
)]
pub(super) async fn get(state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    within(PATIENCE, answer(&state, Utc::now())).await.map(|answer| HttpResponse::Ok().json(answer))
}

async fn answer(state: &State, now: DateTime<Utc>) -> Result<Answer, ApiError> {
    let mut connection = state.database().await?;
    let seen = workers::list(&mut connection).await?;
    let scope = windows::scope(&mut connection, Which::Fleet).await?;
    let newest_check = workers::newest_check(&mut connection).await?;
    let rolled_up_until = store::rollups::done_until(&mut connection).await?;
    let held = store::leases::held(&mut connection).await?;
    let readers = store::cursors::behind(&mut connection).await?;
    let version = store::pool::schema_version(&state.pool).await?.unwrap_or(0);

    let is_running = |worker: &&Seen| worker.stopped_at.is_none() && now - worker.seen_at <= ALIVE;
    let mut digests = seen.iter().filter(is_running).map(|worker| worker.config_digest);
    let first = digests.next();
    Ok(Answer {
        version: env!("CARGO_PKG_VERSION"),
        schema: Schema { version, expected: store::SCHEMA_VERSION },
        targets: scope.as_ref().map_or(0, |scope| scope.active),
        checks_per_second: scope.map_or(0.0, |scope| scope.rate),
        newest_check: newest_check.map(Moment::from),
        rolled_up_until: rolled_up_until.map(Moment::from),
        lists_differ: digests.any(|digest| Some(digest) != first),
        shards_held: held.shards,
        lease_epochs: held.epochs,
        readers: readers
            .into_iter()
            .map(|behind| Reader {
                lag_seconds: behind
                    .oldest_at
                    .map_or(0.0, |oldest_at| (now - oldest_at).num_milliseconds().max(0) as f64 / 1000.0),
                name: behind.reader,
                batches_behind: behind.batches,
            })
            .collect(),
        workers: seen
            .iter()
            .map(|worker| Worker {
                id: worker.worker_id.clone(),
                state: if worker.stopped_at.is_some() && !worker.crashed {
                    WorkerState::Stopped
                } else if is_running(&worker) {
                    WorkerState::Running
                } else {
                    WorkerState::Gone
                },
                version: worker.version.clone(),
                started_at: worker.started_at.into(),
                seen_at: worker.seen_at.into(),
                shards: worker.shards,
                lag_ms: worker.lag_us as f64 / 1000.0,
                missed: worker.missed,
                unknown: worker.unknown,
                in_flight: worker.in_flight,
                queue_depth: worker.queue_depth,
                spool_depth: worker.spool_depth,
                spool_usable: worker.spool_usable,
                own_network: worker.offline_since.map_or(OwnNetwork::Ok, |_| OwnNetwork::Gone),
                offline_since: worker.offline_since.map(Moment::from),
                config_error: worker.config_error.clone(),
            })
            .collect(),
    })
}
