//! `/status`: every check with a verdict, oldest first, however many there are.
//!
//! Rows come in keyset pages over `(slot_at, target_id)`; no statement is long
//! and none holds more than a page. People read `date`, the moment a check
//! started, which may lie a little after its slot, so [`InStartOrder`] holds rows
//! back until no earlier start can follow.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use common::TargetId;
use common::target::micros_to_utc;
use sqlx::PgConnection;

use crate::StoreError;
use crate::copy::{self, EPOCH_US, Rows, fixed};

/// Rows a page holds.
pub const PAGE: i64 = 10_000;

/// A check with a verdict, as `/status` shows it. Ordered by start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatusRow {
    /// First network operation.
    pub started_at: DateTime<Utc>,
    /// Which target.
    pub target_id: TargetId,
    /// When it was due.
    pub slot_at: DateTime<Utc>,
    /// Up or degraded.
    pub ok: bool,
    /// Status code; `None` without a response.
    pub code: Option<i16>,
    /// To the response head, microseconds.
    pub elapsed_us: i32,
}

/// What narrows `/status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only these targets.
    pub targets: Option<Vec<i32>>,
    /// Started at or after.
    pub since: Option<DateTime<Utc>>,
    /// Nothing of an earlier slot started so late: see [`first_slot`].
    pub slots_from: Option<DateTime<Utc>>,
    /// Started before.
    pub until: Option<DateTime<Utc>>,
    /// Only this outcome: `up`, `degraded` or `down`.
    pub outcome: Option<&'static str>,
}

/// Where a reader stands: the key of the last row it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Slot of the last row.
    pub slot_at: DateTime<Utc>,
    /// Target of the last row.
    pub target_id: TargetId,
}

impl Position {
    /// Before the first row that `filter` can match.
    pub fn start(filter: &Filter) -> Self {
        Self { slot_at: filter.slots_from.unwrap_or(DateTime::UNIX_EPOCH), target_id: TargetId(0) }
    }
}

/// The first slot whose check may have started at `since` or later: a check starts within an interval of its slot, and
/// nobody's is longer than this one's. Where an interval was changed near `since`, that of a day, the longest there can be.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn first_slot(connection: &mut PgConnection, since: DateTime<Utc>) -> Result<DateTime<Utc>, StoreError> {
    let day = TimeDelta::from_std(common::Interval::MAX).unwrap_or_default();
    let longest = sqlx::query_scalar!(
        "select max(case when due_since > $1 and created_at < due_since - interval '5 seconds' then $2 else interval_ms end)
         from target",
        since.checked_sub_signed(day).unwrap_or(DateTime::UNIX_EPOCH),
        i32::try_from(day.num_milliseconds()).unwrap_or(i32::MAX),
    )
    .fetch_one(connection)
    .await?;
    let longest = longest.map_or(day, |millis| TimeDelta::milliseconds(millis.into()));
    Ok(since.checked_sub_signed(longest).unwrap_or(DateTime::UNIX_EPOCH))
}

/// The page after `position`, in order of slots.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn page(
    connection: &mut PgConnection,
    filter: &Filter,
    position: Position,
) -> Result<Vec<StatusRow>, StoreError> {
    // Index: check_result_time; check_result_pkey for a single target. Not a checked query, because `COPY` is
    // none, and takes no parameters: what is filled in are numbers, moments and words of ours.
    let Position { slot_at, target_id } = position;
    let mut narrowed = String::new();
    if let Some(targets) = &filter.targets {
        let targets = targets.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
        narrowed += &format!(" and target_id = any('{{{targets}}}'::int4[])");
    }
    if let Some(since) = filter.since {
        narrowed += &format!(" and started_at >= {}", literal(since));
    }
    if let Some(until) = filter.until.map(literal) {
        narrowed += &format!(" and slot_at < {until} and started_at < {until}");
    }
    if let Some(outcome) = filter.outcome {
        narrowed += &format!(" and outcome = '{outcome}'");
    }
    let statement = format!(
        "copy (select slot_at, started_at, target_id, outcome <> 'down', code, coalesce(elapsed_us, 0)
               from check_result
               where (slot_at, target_id) > ({}, {}) and outcome <= 'down' and started_at is not null{narrowed}
               order by slot_at, target_id limit {PAGE}) to stdout (format binary)",
        literal(slot_at),
        target_id.0,
    );
    let data = copy::read(connection, &statement, ROW_BYTES * PAGE as usize).await?;
    let mut rows = Rows::of(&data)?;
    let mut page = Vec::with_capacity(data.len() / ROW_BYTES);
    while let Some([slot_at, started_at, target_id, ok, code, elapsed_us]) = rows.next()? {
        let moment = |field| Ok::<_, StoreError>(micros_to_utc(i64::from_be_bytes(fixed(field)?) + EPOCH_US));
        page.push(StatusRow {
            started_at: moment(started_at)?,
            target_id: TargetId(i32::from_be_bytes(fixed(target_id)?)),
            slot_at: moment(slot_at)?,
            ok: fixed(ok)? != [0],
            code: code.map(|code| fixed(Some(code)).map(i16::from_be_bytes)).transpose()?,
            elapsed_us: i32::from_be_bytes(fixed(elapsed_us)?),
        });
    }
    Ok(page)
}

/// Bytes of a row on its way, about.
const ROW_BYTES: usize = 64;

/// A moment, to the microsecond, as Postgres reads it in every setting.
fn literal(moment: DateTime<Utc>) -> String {
    format!("'{}'::timestamptz", moment.to_rfc3339_opts(SecondsFormat::Micros, true))
}

/// Where the newest `count` rows begin, so that pages from there hold just those.
///
/// `None` when there are not that many: begin at the start.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn newest(
    connection: &mut PgConnection,
    filter: &Filter,
    count: i64,
) -> Result<Option<Position>, StoreError> {
    // Index: check_result_time, read backwards; check_result_pkey for a single target.
    // The row just before the newest ones is where their first page starts after.
    let row = sqlx::query!(
        r#"select slot_at, target_id as "target_id: TargetId"
           from check_result
           where outcome <= 'down'
             and started_at is not null
             and ($1::int4[] is null or target_id = any($1))
             and ($2::timestamptz is null or started_at >= $2)
             and ($6::timestamptz is null or slot_at >= $6)
             and ($3::timestamptz is null or (slot_at < $3 and started_at < $3))
             and ($4::text is null or outcome = $4::outcome)
           order by slot_at desc, target_id desc
           offset $5 limit 1"#,
        filter.targets.as_deref(),
        filter.since,
        filter.until,
        filter.outcome,
        count,
        filter.slots_from,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| Position { slot_at: row.slot_at, target_id: row.target_id }))
}

/// Turns rows in order of slots into rows in order of starts.
///
/// No check starts before its slot. So once the reader has reached slot `s`, a
/// held row that started at or before `s` has no earlier one behind it. What is
/// held are the rows that started late: as many as were late at once.
#[derive(Debug, Default)]
pub struct InStartOrder {
    held: Vec<StatusRow>,
}

impl InStartOrder {
    /// Takes a page and gives back what is settled.
    pub fn settle(&mut self, page: Vec<StatusRow>) -> Vec<StatusRow> {
        let Some(reached) = page.last().map(|row| row.slot_at) else {
            return Vec::new();
        };
        self.held.extend(page);
        // Nearly sorted already, which takes little more than a look at each.
        self.held.sort();
        let settled = self.held.partition_point(|row| row.started_at <= reached);
        let rest = self.held.split_off(settled);
        std::mem::replace(&mut self.held, rest)
    }

    /// The rest, when there is no further page.
    pub fn finish(self) -> Vec<StatusRow> {
        // Sorted by the last page that came.
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(slot_ms: i64, late_ms: i64) -> StatusRow {
        let at = |ms| DateTime::from_timestamp_millis(ms).unwrap();
        StatusRow {
            slot_at: at(slot_ms),
            started_at: at(slot_ms + late_ms),
            target_id: TargetId(1),
            ok: true,
            code: Some(200),
            elapsed_us: 1,
        }
    }

    #[test]
    fn late_starts_come_out_in_order_of_starts_whatever_the_pages() {
        let rows = [row(0, 500), row(10, 0), row(20, 30), row(30, 0), row(40, 0), row(600, 0), row(610, 5)];
        let mut expected: Vec<_> = rows.to_vec();
        expected.sort();
        for size in 1..=rows.len() {
            let mut order = InStartOrder::default();
            let mut out = Vec::new();
            for page in rows.chunks(size) {
                out.extend(order.settle(page.to_vec()));
            }
            out.extend(order.finish());
            assert_eq!(out, expected, "pages of {size}");
        }
    }

    #[test]
    fn only_late_rows_are_held_back() {
        let mut order = InStartOrder::default();
        let page: Vec<_> = (0..1000).map(|n| row(n, 0)).collect();
        assert_eq!(order.settle(page).len(), 1000);
    }
}
