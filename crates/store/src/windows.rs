//! Counts over a window of time, in steps: from rows where they are few enough to be
//! exact about every status code, else from the roll-up that is fine enough.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use common::Outcome;
use common::status::COUNTS;
use serde_json::json;
use sqlx::postgres::types::PgInterval;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::StoreError;

/// Which targets a window is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Scope {
    /// Row ids; `None` for the whole fleet, also targets no longer probed.
    pub targets: Option<Vec<i32>>,
    /// How many are probed now.
    pub active: i64,
    /// Slots due in a second, all targets together.
    pub rate: f64,
}

impl Scope {
    /// A fleet without a target.
    pub fn nothing() -> Self {
        Self { targets: None, active: 0, rate: 0.0 }
    }
}

/// The targets a request means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which<'a> {
    /// All of them.
    Fleet,
    /// The one with this key.
    Key(&'a str),
    /// Those with this label.
    Label(&'a str, &'a str),
}

/// Finds the targets a request means; `None` where there is none.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn scope(connection: &mut PgConnection, which: Which<'_>) -> Result<Option<Scope>, StoreError> {
    let (key, label) = match which {
        Which::Fleet => (None, None),
        Which::Key(key) => (Some(key), None),
        Which::Label(name, value) => (None, Some(json!({ name: value }))),
    };
    let row = sqlx::query!(
        r#"select array_agg(target_id) as ids,
                  count(*) filter (where deleted_at is null) as "active!",
                  coalesce(sum(1000.0 / interval_ms) filter (where deleted_at is null), 0)::float8 as "rate!"
           from target
           where ($1::text is null or key = $1) and ($2::jsonb is null or labels @> $2)"#,
        key,
        label,
    )
    .fetch_one(connection)
    .await?;
    Ok(match (which, row.ids) {
        (Which::Fleet, _) => Some(Scope { targets: None, active: row.active, rate: row.rate }),
        (_, Some(ids)) => Some(Scope { targets: Some(ids), active: row.active, rate: row.rate }),
        (_, None) => None,
    })
}

/// Where counts come from, from fine to coarse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Every check: exact bounds, every status code.
    Rows,
    /// The fleet's seconds, every status code.
    Second,
    /// Minutes of each target.
    Minute,
    /// Hours of each target.
    Hour,
    /// Days of each target.
    Day,
}

impl Source {
    /// How the API calls it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// The length of its buckets; rows have none.
    pub fn bucket(self) -> TimeDelta {
        match self {
            Self::Rows => TimeDelta::zero(),
            Self::Second => TimeDelta::seconds(1),
            Self::Minute => TimeDelta::minutes(1),
            Self::Hour => TimeDelta::hours(1),
            Self::Day => TimeDelta::days(1),
        }
    }
}

/// A stretch of time read from one source, `[from, to)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Where from.
    pub source: Source,
    /// First moment.
    pub from: DateTime<Utc>,
    /// First moment after it.
    pub to: DateTime<Utc>,
}

/// Counts in the order of the roll-up tables, and status codes where they are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bucket {
    /// As [`common::Tally::counts`].
    pub counts: [i64; COUNTS],
    /// Checks by status code; empty from roll-ups that are coarser than seconds.
    pub codes: BTreeMap<i16, i64>,
}

impl Bucket {
    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        for (sum, count) in self.counts.iter_mut().zip(other.counts) {
            *sum += count;
        }
        for (code, count) in &other.codes {
            *self.codes.entry(*code).or_default() += count;
        }
    }
}

/// Adds what `segment` holds to `into`, by steps counted from `origin`.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn read(
    connection: &mut PgConnection,
    scope: &Scope,
    segment: Segment,
    origin: DateTime<Utc>,
    step: TimeDelta,
    into: &mut BTreeMap<DateTime<Utc>, Bucket>,
) -> Result<(), StoreError> {
    let step = PgInterval { months: 0, days: 0, microseconds: step.num_microseconds().unwrap_or(i64::MAX) };
    let table = match segment.source {
        Source::Rows => return read_rows(connection, scope, segment, origin, step, into).await,
        Source::Second => "rollup_second",
        Source::Minute => "rollup_minute",
        Source::Hour => "rollup_hour",
        Source::Day => "rollup_day",
    };
    let filter = if scope.targets.is_some() { "target_id = any($5)" } else { "$5::int4[] is null" };
    // Index: the primary key for some targets, the one on time for the fleet. Not a
    // checked query, because the table varies; its name is one of the four above.
    let sql = format!(
        "select date_bin($1, bucket_at, $2) as at, array[
                coalesce(sum(up), 0)::int8, coalesce(sum(degraded), 0)::int8, coalesce(sum(missed), 0)::int8,
                coalesce(sum(unknown), 0)::int8, coalesce(sum(down_dns), 0)::int8,
                coalesce(sum(down_refused), 0)::int8, coalesce(sum(down_timeout), 0)::int8,
                coalesce(sum(down_reset), 0)::int8, coalesce(sum(down_tls), 0)::int8,
                coalesce(sum(down_protocol), 0)::int8, coalesce(sum(down_body), 0)::int8,
                coalesce(sum(down_redirect), 0)::int8, coalesce(sum(down_status), 0)::int8,
                coalesce(sum(down_assertion), 0)::int8, coalesce(sum(class_1xx), 0)::int8,
                coalesce(sum(class_2xx), 0)::int8, coalesce(sum(class_3xx), 0)::int8,
                coalesce(sum(class_4xx), 0)::int8, coalesce(sum(class_5xx), 0)::int8
         ] as counts
         from {table} where bucket_at >= $3 and bucket_at < $4 and {filter} group by 1"
    );
    let rows: Vec<(DateTime<Utc>, Vec<i64>)> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(step)
        .bind(origin)
        .bind(segment.from)
        .bind(segment.to)
        .bind(scope.targets.as_deref())
        .fetch_all(&mut *connection)
        .await?;
    for (at, counts) in rows {
        let counts = counts.try_into().unwrap_or([0; COUNTS]);
        into.entry(at).or_default().add(&Bucket { counts, codes: BTreeMap::new() });
    }
    if segment.source == Source::Second {
        read_codes(connection, segment, origin, step, into).await?;
    }
    Ok(())
}

/// The fleet's status codes, which the seconds keep apart from their counts.
async fn read_codes(
    connection: &mut PgConnection,
    segment: Segment,
    origin: DateTime<Utc>,
    step: PgInterval,
    into: &mut BTreeMap<DateTime<Utc>, Bucket>,
) -> Result<(), StoreError> {
    // Index: rollup_second_pkey.
    let rows = sqlx::query!(
        r#"select date_bin($1, bucket_at, $2) as "at!", c.key::int2 as "code!", sum(c.value::int8)::int8 as "count!"
           from rollup_second cross join jsonb_each_text(codes) as c
           where bucket_at >= $3 and bucket_at < $4
           group by 1, 2"#,
        step,
        origin,
        segment.from,
        segment.to,
    )
    .fetch_all(connection)
    .await?;
    for row in rows {
        *into.entry(row.at).or_default().codes.entry(row.code).or_default() += row.count;
    }
    Ok(())
}

async fn read_rows(
    connection: &mut PgConnection,
    scope: &Scope,
    segment: Segment,
    origin: DateTime<Utc>,
    step: PgInterval,
    into: &mut BTreeMap<DateTime<Utc>, Bucket>,
) -> Result<(), StoreError> {
    // Index: check_result_pkey for some targets, check_result_time for the fleet.
    let rows = sqlx::query!(
        r#"select date_bin($1, slot_at, $2) as "at!", outcome::text as "outcome!", cause::text as cause, code,
                  count(*) as "count!"
           from check_result
           where slot_at >= $3 and slot_at < $4 and ($5::int4[] is null or target_id = any($5))
           group by 1, outcome, check_result.cause, code"#,
        step,
        origin,
        segment.from,
        segment.to,
        scope.targets.as_deref(),
    )
    .fetch_all(connection)
    .await?;
    for row in rows {
        let bucket = into.entry(row.at).or_default();
        let place = match crate::outcome(&row.outcome, row.cause.as_deref())? {
            Outcome::Up => 0,
            Outcome::Degraded => 1,
            Outcome::Missed => 2,
            Outcome::Unknown => 3,
            Outcome::Down(cause) => 4 + cause as usize,
        };
        bucket.counts[place] += row.count;
        if let Some(code) = row.code {
            let class = usize::try_from(code / 100).unwrap_or(0);
            if (1..=5).contains(&class) {
                bucket.counts[COUNTS - 6 + class] += row.count;
            }
            *bucket.codes.entry(code).or_default() += row.count;
        }
    }
    Ok(())
}

/// Slots in `[from, to)` that lie in gaps and have no row, for each of these `from`.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn gap_slots(
    connection: &mut PgConnection,
    scope: &Scope,
    from: &[DateTime<Utc>],
    to: DateTime<Utc>,
) -> Result<Vec<i64>, StoreError> {
    // Gaps that overlap, as two workers may write them, count once; so does a slot whose
    // verdict came late. A gap begins on a slot, so those before a moment are counted by
    // rounding up. Index: gap_pkey for some targets; check_result_pkey, for each gap.
    Ok(sqlx::query_scalar!(
        r#"with silence as (
               select target_id, interval_ms, unnest(range_agg(tstzrange(from_at, to_at))) as span
               from gap join target using (target_id)
               where from_at < $2 and to_at > (select min(begin_at) from unnest($1::timestamptz[]) as begin_at)
                 and ($3::int4[] is null or target_id = any($3))
               group by target_id, interval_ms
           )
           select coalesce(sum(
                   ceil(extract(epoch from least(upper(span), $2) - lower(span)) * 1000 / interval_ms)
                 - ceil(extract(epoch from greatest(lower(span), begin_at) - lower(span)) * 1000 / interval_ms)
                 - (select count(*) from check_result c
                    where c.target_id = silence.target_id
                      and c.slot_at >= greatest(lower(span), begin_at) and c.slot_at < least(upper(span), $2))
               ), 0)::int8 as "slots!"
           from unnest($1::timestamptz[]) with ordinality as asked (begin_at, place)
           left join silence on upper(span) > begin_at
           group by place
           order by place"#,
        from,
        to,
        scope.targets.as_deref(),
    )
    .fetch_all(connection)
    .await?)
}
