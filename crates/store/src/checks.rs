//! Checks one by one, for rolling windows.

use chrono::{DateTime, Utc};
use common::{Outcome, TargetId};
use sqlx::PgConnection;

use crate::StoreError;

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
}

/// Slots in `(after, until]` in order, at most `limit`, beginning after the key
/// `(after, after_target)`. Of one target, or of all.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn window(
    connection: &mut PgConnection,
    target: Option<TargetId>,
    after: (DateTime<Utc>, TargetId),
    until: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<CheckRow>, StoreError> {
    // Index: check_result_pkey for one target, check_result_time for all.
    let rows = sqlx::query!(
        r#"select slot_at, target_id as "target_id: TargetId", started_at,
                  outcome::text as "outcome!", cause::text as cause, code, elapsed_us
           from check_result
           where (slot_at, target_id) > ($1, $2)
             and slot_at <= $3
             and ($4::int4 is null or target_id = $4)
           order by slot_at, target_id
           limit $5"#,
        after.0,
        after.1.0,
        until,
        target.map(|id| id.0),
        limit,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            let outcome = crate::outcome(&row.outcome, row.cause.as_deref())?;
            Ok(CheckRow {
                slot_at: row.slot_at,
                target_id: row.target_id,
                started_at: row.started_at,
                outcome,
                code: row.code,
                elapsed_us: row.elapsed_us,
            })
        })
        .collect()
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
