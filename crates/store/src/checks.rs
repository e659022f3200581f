//! Checks one by one, for rolling windows.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use common::{Outcome, TargetId};
use sqlx::PgConnection;

use crate::StoreError;
use crate::windows::Scope;

/// One slot as `/api/v1/checks` shows it; unlike `/status` also those without a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRow {
    /// When it was due.
    pub slot_at: DateTime<Utc>,
    /// Which target.
    pub target_id: TargetId,
    /// First network operation; `None` when it never started.
    pub started_at: Option<DateTime<Utc>>,
    /// How it ended.
    pub outcome: Outcome,
    /// Status code; `None` without a response.
    pub code: Option<i16>,
    /// To the response head, microseconds.
    pub elapsed_us: Option<i32>,
    /// Which assertion failed and what was seen, where that is the cause.
    pub detail: Option<String>,
}

/// A row before its two labels are an outcome.
struct Raw {
    slot_at: DateTime<Utc>,
    target_id: TargetId,
    started_at: Option<DateTime<Utc>>,
    outcome: String,
    cause: Option<String>,
    code: Option<i16>,
    elapsed_us: Option<i32>,
    detail: Option<String>,
}

impl TryFrom<Raw> for CheckRow {
    type Error = StoreError;

    fn try_from(row: Raw) -> Result<Self, StoreError> {
        Ok(Self {
            slot_at: row.slot_at,
            target_id: row.target_id,
            started_at: row.started_at,
            outcome: crate::outcome(&row.outcome, row.cause.as_deref())?,
            code: row.code,
            elapsed_us: row.elapsed_us,
            detail: row.detail,
        })
    }
}

/// Up to this many targets are read one by one; more are looked for among all checks first.
const FEW: usize = 1_000;

/// Checks of anybody that are looked through at a time, at most.
const MOST_AT_ONCE: i64 = 32_000;

/// Slots in `(after, until]` in order, at most `limit`, beginning after the key
/// `(after, after_target)`. Of the targets in `scope`, or of all.
///
/// What it costs depends on `limit` and on how many targets are asked for, not on how
/// many checks there are.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn window(
    connection: &mut PgConnection,
    scope: Option<&Scope>,
    after: (DateTime<Utc>, TargetId),
    until: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<CheckRow>, StoreError> {
    let Some((targets, rate)) = scope.and_then(|scope| Some((scope.targets.as_deref()?, scope.rate))) else {
        return in_order(connection, after, until, limit).await;
    };
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut after = after;
    let mut rows = Vec::new();
    if targets.len() > FEW {
        // Many targets are a good part of the fleet, so every few checks one is theirs.
        // Unless the window begins before they did: that is what the end of this is for.
        let wanted: HashSet<i32> = targets.iter().copied().collect();
        let mut at_once = limit;
        while at_once <= MOST_AT_ONCE {
            let read = in_order(connection, after, until, at_once).await?;
            let is_end = (read.len() as i64) < at_once;
            after = read.last().map_or(after, |last| (last.slot_at, last.target_id));
            rows.extend(read.into_iter().filter(|row| wanted.contains(&row.target_id.0)));
            if is_end || rows.len() >= most {
                rows.truncate(most);
                return Ok(rows);
            }
            at_once *= 4;
        }
    }
    // A stretch that should hold twice what is wanted. Where there are fewer checks than
    // there should be, on to the next one there is, and longer and longer stretches.
    let mut stretch =
        if rate > 0.0 { TimeDelta::milliseconds((2000.0 * limit as f64 / rate) as i64 + 1) } else { until - after.0 };
    loop {
        let end = after.0.checked_add_signed(stretch).map_or(until, |end| end.min(until));
        let left = limit - rows.len() as i64;
        rows.extend(of_each(connection, targets, after, end, left).await?);
        if rows.len() >= most || end >= until {
            return Ok(rows);
        }
        let Some(next) = first_after(connection, targets, end, until).await? else { return Ok(rows) };
        after = (next - TimeDelta::microseconds(1), TargetId(i32::MAX));
        stretch = stretch.checked_mul(8).unwrap_or(until - end);
    }
}

/// Slots of all targets, in one walk along an index that ends after `limit` rows.
async fn in_order(
    connection: &mut PgConnection,
    after: (DateTime<Utc>, TargetId),
    until: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<CheckRow>, StoreError> {
    // Index: check_result_time, which is in this order.
    let rows = sqlx::query_as!(
        Raw,
        r#"select slot_at, target_id as "target_id: TargetId", started_at,
                  outcome::text as "outcome!", cause::text as cause, code, elapsed_us, detail
           from check_result
           where slot_at >= $1 and slot_at <= $3 and (slot_at, target_id) > ($1, $2)
           order by slot_at, target_id
           limit $4"#,
        after.0,
        after.1.0,
        until,
        limit,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(CheckRow::try_from).collect()
}

/// Slots of some targets: a short walk for each, then the first `limit` of all. Never
/// reads a check of another target, however many there are.
async fn of_each(
    connection: &mut PgConnection,
    targets: &[i32],
    after: (DateTime<Utc>, TargetId),
    until: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<CheckRow>, StoreError> {
    // Index: check_result_pkey, once for each target.
    let rows = sqlx::query_as!(
        Raw,
        r#"select slot_at as "slot_at!", target_id as "target_id!: TargetId", started_at,
                  outcome::text as "outcome!", cause::text as cause, code, elapsed_us, detail
           from unnest($1::int4[]) as wanted (id)
           cross join lateral (
               select slot_at, target_id, started_at, outcome, check_result.cause, code, elapsed_us, detail
               from check_result
               where target_id = wanted.id and slot_at >= $2 and slot_at <= $4
                 and (slot_at, target_id) > ($2, $3)
               order by slot_at limit $5
           ) as own
           order by slot_at, target_id
           limit $5"#,
        targets,
        after.0,
        after.1.0,
        until,
        limit,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(CheckRow::try_from).collect()
}

/// The first slot of any of these targets in `(after, until]`.
async fn first_after(
    connection: &mut PgConnection,
    targets: &[i32],
    after: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    // Index: check_result_pkey, once for each target.
    Ok(sqlx::query_scalar!(
        "select min(slot_at)
         from unnest($1::int4[]) as wanted (id)
         cross join lateral (
             select slot_at from check_result
             where target_id = wanted.id and slot_at > $2 and slot_at <= $3
             order by slot_at limit 1
         ) as own",
        targets,
        after,
        until,
    )
    .fetch_one(connection)
    .await?)
}

/// A slot with where its time went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimedCheck {
    /// The slot.
    pub check: CheckRow,
    /// Name lookup, microseconds; `None` where it did not happen.
    pub dns_us: Option<i32>,
    /// TCP connect with the TLS handshake, microseconds.
    pub connect_us: Option<i32>,
    /// From the connected socket to the response head, microseconds.
    pub first_byte_us: Option<i32>,
}

/// The newest slots of one target, the newest first.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn newest(
    connection: &mut PgConnection,
    target: TargetId,
    limit: i64,
) -> Result<Vec<TimedCheck>, StoreError> {
    // Index: check_result_pkey backwards, from the newest partition on until there are enough.
    let rows = sqlx::query!(
        r#"select slot_at, target_id as "target_id: TargetId", started_at, outcome::text as "outcome!",
                  cause::text as cause, code, elapsed_us, detail, dns_us, connect_us, first_byte_us
           from check_result
           where target_id = $1
           order by slot_at desc
           limit $2"#,
        target.0,
        limit,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            let (dns_us, connect_us, first_byte_us) = (row.dns_us, row.connect_us, row.first_byte_us);
            let check = Raw {
                slot_at: row.slot_at,
                target_id: row.target_id,
                started_at: row.started_at,
                outcome: row.outcome,
                cause: row.cause,
                code: row.code,
                elapsed_us: row.elapsed_us,
                detail: row.detail,
            };
            Ok(TimedCheck { check: check.try_into()?, dns_us, connect_us, first_byte_us })
        })
        .collect()
}

/// Those of these targets whose slot, named beside it, has a row, whatever its outcome.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn recorded(
    connection: &mut PgConnection,
    slots: &[(TargetId, DateTime<Utc>)],
) -> Result<Vec<TargetId>, StoreError> {
    let (Some(from), Some(until)) = (slots.iter().map(|slot| slot.1).min(), slots.iter().map(|slot| slot.1).max())
    else {
        return Ok(Vec::new());
    };
    let (targets, times): (Vec<i32>, Vec<_>) = slots.iter().map(|(target, slot_at)| (target.0, *slot_at)).unzip();
    // Index: check_result_pkey, once for each.
    Ok(sqlx::query_scalar!(
        r#"select wanted.target_id as "target_id!: TargetId"
           from unnest($1::int4[], $2::timestamptz[]) as wanted (target_id, slot_at)
           where exists (select from check_result c
                         where c.target_id = wanted.target_id and c.slot_at = wanted.slot_at
                           and c.slot_at between $3 and $4)"#,
        &targets,
        &times,
        from,
        until,
    )
    .fetch_all(connection)
    .await?)
}

/// The slots in `[from, until)` of these targets that have a row, whatever its outcome.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn recorded_slots(
    connection: &mut PgConnection,
    targets: &[TargetId],
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<(TargetId, DateTime<Utc>)>, StoreError> {
    let targets: Vec<i32> = targets.iter().map(|target| target.0).collect();
    // Index: check_result_time.
    let rows = sqlx::query!(
        r#"select target_id as "target_id: TargetId", slot_at from check_result
           where slot_at >= $2 and slot_at < $3 and target_id = any($1)"#,
        &targets,
        from,
        until,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.target_id, row.slot_at)).collect())
}
