//! `GET /status`: every check with a verdict, oldest first, as one JSON array.
//!
//! Streamed page by page: memory stays the same however many rows there are. The
//! first page is read before the answer begins, so that a missing database is a
//! 503 and not half an answer.

use std::collections::HashMap;
use std::sync::Arc;

use actix_web::{HttpResponse, web};
use bytes::Bytes;
use common::TargetId;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::status::{self, Filter, InStartOrder, PAGE, Position, StatusRow};
use store::targets;
use tokio_util::task::AbortOnDropHandle;
use utoipa::{IntoParams, ToSchema};

use super::parameters;
use crate::answer::Moment;
use crate::error::ApiError;
use crate::openapi::AsksPostgres;
use crate::state::{PATIENCE, State, within};

/// More rows than anybody has: `limit` is there to ask for few.
const MAX_LIMIT: i64 = 1_000_000_000;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Only checks of this URL, as it was configured.
    url: Option<String>,
    /// Only checks that started at this moment or later, like `2026-11-21T06:00:00Z`.
    #[param(format = DateTime)]
    since: Option<String>,
    /// Only checks that started before this moment, like `2026-11-21T07:00:00Z`.
    #[param(format = DateTime)]
    until: Option<String>,
    /// Only checks that ended so.
    #[param(value_type = Verdict, inline, required = false)]
    outcome: Option<String>,
    /// Only the newest so many; still the oldest of them first.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 1_000_000_000_i64, example = 3)]
    limit: Option<String>,
}

/// How a check ended that tells something about its target.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "for the document: what the parameter `outcome` may be")]
enum Verdict {
    Up,
    Degraded,
    Down,
}

/// A check with a verdict.
#[derive(Serialize, ToSchema)]
#[schema(as = StatusRow)]
pub(super) struct Row<'a> {
    /// Up or degraded.
    ok: bool,
    /// The status code of the answer; 0 without one.
    #[schema(example = 200)]
    code: i16,
    /// From the first network operation to the response head, or how long was waited for it, in seconds.
    #[schema(example = 0.000462)]
    elapsed: f64,
    /// When it started.
    date: Moment,
    /// What was asked, as it was configured.
    #[schema(value_type = String, example = "https://example.org/")]
    url: &'a RawValue,
}

/// Every check with a verdict, the oldest first
///
/// The answer is streamed, however long it is.
#[utoipa::path(
    get,
    path = "/status",
    operation_id = "status",
    tag = "Checks",
    params(Query),
    responses((status = 200, description = "In the order in which they started", body = [Row]), AsksPostgres)
)]
pub(super) async fn list(state: web::Data<State>, query: web::Query<Query>) -> Result<HttpResponse, ApiError> {
    let limit = parameters::limit(query.limit.as_deref(), MAX_LIMIT)?;
    let mut filter = Filter {
        targets: None,
        slots_from: None,
        since: parameters::begin("since", query.since.as_deref())?,
        until: parameters::date("until", query.until.as_deref())?,
        outcome: outcome(query.outcome.as_deref())?,
    };
    if let (Some(since), Some(until)) = (filter.since, filter.until)
        && since > until
    {
        return Err(ApiError::Parameter {
            name: "since",
            code: "out_of_order",
            message: "since lies after until".to_owned(),
        });
    }
    let position = within(PATIENCE, begin(&state, query.url.as_deref(), limit, &mut filter)).await?;
    let mut reader = Reader {
        state: state.get_ref().clone(),
        position: position.unwrap_or_else(|| Position::start(&filter)),
        filter: Arc::new(filter),
        left: limit.unwrap_or(i64::MAX),
        order: Some(InStartOrder::default()),
        coming: None,
        urls: HashMap::new(),
        rows_written: 0,
    };
    let first = within(PATIENCE, reader.next_chunk()).await?;
    let rest = stream::try_unfold(reader, |mut reader| async move {
        if reader.order.is_none() {
            return Ok::<_, ApiError>(None);
        }
        let chunk = within(PATIENCE, reader.next_chunk()).await?;
        Ok(Some((chunk, reader)))
    });
    let body = stream::once(async { Ok::<_, ApiError>(first) });
    Ok(HttpResponse::Ok().content_type("application/json").streaming(futures_util::StreamExt::chain(body, rest)))
}

/// Narrows the filter to the targets of a URL, and finds where the newest rows begin.
async fn begin(
    state: &State,
    url: Option<&str>,
    limit: Option<i64>,
    filter: &mut Filter,
) -> Result<Option<Position>, ApiError> {
    if url.is_none() && limit.is_none() && filter.since.is_none() {
        return Ok(None);
    }
    let mut connection = state.database().await?;
    if let Some(since) = filter.since {
        filter.slots_from = Some(status::first_slot(&mut connection, since).await?);
    }
    if let Some(url) = url {
        let ids = targets::of_url(&mut connection, url).await?;
        filter.targets = Some(ids.into_iter().map(|id| id.0).collect());
    }
    Ok(match limit {
        Some(limit) => status::newest(&mut connection, filter, limit).await?,
        None => None,
    })
}

fn outcome(raw: Option<&str>) -> Result<Option<&'static str>, ApiError> {
    let Some(raw) = raw else { return Ok(None) };
    ["up", "degraded", "down"].into_iter().find(|label| *label == raw).map(Some).ok_or_else(|| ApiError::Parameter {
        name: "outcome",
        code: "unknown_value",
        message: "outcome is up, degraded or down".to_owned(),
    })
}

/// A page, or why there is none.
type Page = Result<Vec<StatusRow>, ApiError>;

/// Reads page after page, the next one while the last is written: Postgres and we work at once.
struct Reader {
    state: State,
    filter: Arc<Filter>,
    position: Position,
    /// Rows that may still be read.
    left: i64,
    /// `None` when the array is closed.
    order: Option<InStartOrder>,
    /// The page after `position`, on its way.
    coming: Option<AbortOnDropHandle<Page>>,
    /// URLs as JSON strings, ready to be written.
    urls: HashMap<TargetId, Box<RawValue>>,
    rows_written: u64,
}

impl Reader {
    /// Reads the page after the position we have got to. What comes back has a connection, and asks when it is polled.
    async fn read(&self) -> Result<impl Future<Output = Page> + use<>, ApiError> {
        let (filter, position) = (Arc::clone(&self.filter), self.position);
        let mut connection = self.state.database().await?;
        Ok(async move { Ok(status::page(&mut connection, &filter, position).await?) })
    }

    /// The next piece of the array; the last one closes it.
    async fn next_chunk(&mut self) -> Result<Bytes, ApiError> {
        let mut page = match self.coming.take() {
            Some(coming) => coming.await.unwrap_or(Err(ApiError::Unavailable("the rows could not be read")))?,
            None => self.read().await?.await?,
        };
        let is_last = (page.len() as i64) < PAGE.min(self.left);
        page.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= page.len() as i64;
        if let Some(last) = page.last() {
            self.position = Position { slot_at: last.slot_at, target_id: last.target_id };
        }
        self.learn_urls(&page).await?;
        let is_last = is_last || self.left == 0;
        if !is_last {
            let read = self.read().await?;
            self.coming = Some(AbortOnDropHandle::new(tokio::spawn(within(PATIENCE, read))));
            // It asks Postgres before we go on, and Postgres works while we write.
            tokio::task::yield_now().await;
        }

        let mut chunk = Vec::with_capacity(page.len() * 160 + 16);
        if self.rows_written == 0 {
            chunk.push(b'[');
        }
        let mut order = self.order.take().unwrap_or_default();
        let rows = order.settle(page);
        self.write(&mut chunk, &rows);
        if is_last {
            self.write(&mut chunk, &order.finish());
            chunk.extend_from_slice(b"]\n");
        } else {
            self.order = Some(order);
        }
        Ok(chunk.into())
    }

    /// Reads the URLs of targets that come for the first time.
    async fn learn_urls(&mut self, page: &[StatusRow]) -> Result<(), ApiError> {
        let mut unknown: Vec<i32> =
            page.iter().map(|row| row.target_id).filter(|id| !self.urls.contains_key(id)).map(|id| id.0).collect();
        unknown.sort_unstable();
        unknown.dedup();
        if !unknown.is_empty() {
            let mut connection = self.state.database().await?;
            for target in targets::shown(&mut connection, Some(&unknown)).await? {
                self.urls.insert(target.target_id, json_string(&target.url));
            }
        }
        Ok(())
    }

    fn write(&mut self, chunk: &mut Vec<u8>, rows: &[StatusRow]) {
        let unknown = RawValue::NULL;
        for row in rows {
            if self.rows_written > 0 {
                chunk.extend_from_slice(b",\n");
            }
            self.rows_written += 1;
            let row = Row {
                ok: row.ok,
                code: row.code.unwrap_or(0),
                elapsed: f64::from(row.elapsed_us) / 1e6,
                date: row.started_at.into(),
                url: self.urls.get(&row.target_id).map_or(unknown, |url| url),
            };
            // Writing plain numbers and strings into memory does not fail.
            let _ = serde_json::to_writer(&mut *chunk, &row);
        }
    }
}

fn json_string(text: &str) -> Box<RawValue> {
    serde_json::value::to_raw_value(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}
