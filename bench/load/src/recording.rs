//! Recording checks beside a bare binary `COPY` into the same table.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use common::{Check, Outcome, Phases, Slot, TargetId};
use sqlx::{Connection, PgConnection};
use store::batches;

use crate::lab::Lab;
use crate::results::{Aim, Section};

/// How long each candidate goes on in a round.
const TIME: Duration = Duration::from_millis(1500);

/// Rows of one bare `COPY`.
const COPIED: usize = 10_000;

/// Microseconds from the Unix epoch to that of Postgres, 1 January 2000.
const EPOCH_US: i64 = 946_684_800_000_000;

/// A flush of so many targets with so many rows each, one a second, from `at_us` on.
fn checks(targets: i32, each: i64, at_us: i64) -> Vec<Check> {
    (0..each).flat_map(|second| checks_from(1, targets, at_us + second * 1_000_000)).collect()
}

/// A check of each of `count` targets, the first of which is `first`.
pub(crate) fn checks_from(first: i32, count: i32, at_us: i64) -> Vec<Check> {
    (first..first + count)
        .map(|target| {
            let slot = Slot(at_us + i64::from(target % 100_000) * 7);
            let elapsed_us = 400 + target.unsigned_abs() % 1000;
            Check {
                target_id: TargetId(target),
                slot,
                started_us: Some(slot.0 + 150),
                outcome: Outcome::Up,
                code: Some(200),
                elapsed_us: Some(elapsed_us),
                phases: Phases { dns_us: None, connect_us: Some(120), first_byte_us: Some(elapsed_us - 120) },
                detail: None,
            }
        })
        .collect()
}

/// Writes flushes one after the other; rows a second.
async fn record(connection: &mut PgConnection, targets: i32, each: i64, at_us: &mut i64) -> anyhow::Result<f64> {
    let (begun, mut rows, mut written) = (Instant::now(), 0, Duration::ZERO);
    while begun.elapsed() < TIME {
        let flush = checks(targets, each, *at_us);
        *at_us += each * 1_000_000;
        let from = Instant::now();
        rows += batches::write_checks(connection, "bench", &flush).await?.inserted;
        written += from.elapsed();
    }
    Ok(rows as f64 / written.as_secs_f64())
}

/// The same rows by binary `COPY`, and nothing else.
async fn copy(connection: &mut PgConnection, at_us: &mut i64) -> anyhow::Result<f64> {
    // Enums are text on the wire.
    let (begun, mut rows, mut written) = (Instant::now(), 0, Duration::ZERO);
    while begun.elapsed() < TIME {
        let flush = checks(1000, (COPIED / 1000) as i64, *at_us);
        *at_us += 10_000_000;
        let from = Instant::now();
        let mut data = Vec::with_capacity(flush.len() * 100);
        data.extend_from_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
        for check in &flush {
            data.extend_from_slice(&9_i16.to_be_bytes());
            let mut field = |bytes: &[u8]| {
                data.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
                data.extend_from_slice(bytes);
            };
            field(&(check.slot.0 - EPOCH_US).to_be_bytes());
            field(&(check.started_us.unwrap_or_default() - EPOCH_US).to_be_bytes());
            field(&1_i64.to_be_bytes());
            field(&check.target_id.0.to_be_bytes());
            field(&(check.elapsed_us.unwrap_or_default() as i32).to_be_bytes());
            field(&(check.phases.connect_us.unwrap_or_default() as i32).to_be_bytes());
            field(&(check.phases.first_byte_us.unwrap_or_default() as i32).to_be_bytes());
            field(b"up");
            field(&200_i16.to_be_bytes());
        }
        data.extend_from_slice(&(-1_i16).to_be_bytes());
        let mut into = connection
            .copy_in_raw(
                "copy check_result (slot_at, started_at, batch_id, target_id, elapsed_us, connect_us, first_byte_us, outcome, code)
                 from stdin (format binary)",
            )
            .await?;
        into.send(data).await?;
        rows += into.finish().await?;
        written += from.elapsed();
    }
    Ok(rows as f64 / written.as_secs_f64())
}

pub(crate) async fn run(lab: &mut Lab, rounds: usize) -> anyhow::Result<Section> {
    let mut section = Section::new("Recording");
    let (database, url) = lab.database().await?;
    let mut connection = PgConnection::connect(&url).await?;
    // Of its own day each, so that nobody meets another's rows, and all grow alike.
    let midnight = |days: i64| {
        let day: DateTime<Utc> = Utc::now() + chrono::TimeDelta::days(days);
        day.timestamp_micros() / 86_400_000_000 * 86_400_000_000
    };
    let (mut bare_us, mut few_us, mut many_us) = (midnight(1), midnight(2), midnight(3));
    let (mut bare, mut few, mut many) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        bare.push(copy(&mut connection, &mut bare_us).await?);
        few.push(record(&mut connection, 1000, 10, &mut few_us).await?);
        many.push(record(&mut connection, 5000, 1, &mut many_us).await?);
    }
    let ratio = |rows: &[f64]| rows.iter().zip(&bare).map(|(rows, bare)| rows / bare).collect::<Vec<f64>>();
    let (of_few, of_many) = (ratio(&few), ratio(&many));
    section.add("bare binary COPY in 10,000s", bare, Aim::None, "rows/s");
    section.add("recording, 1,000 targets × 10 rows a flush", few, Aim::None, "rows/s");
    section.add("recording, 5,000 targets × 1 row a flush", many, Aim::None, "rows/s");
    section.add("recording ÷ bare COPY, 1,000 × 10", of_few, Aim::AtLeast(0.5), "");
    section.add("recording ÷ bare COPY, 5,000 × 1", of_many, Aim::AtLeast(0.35), "");
    section.note("One connection; rows, second and minute roll-ups, batch and notification in one transaction a flush, with synchronous commit.");
    connection.close().await?;
    lab.drop_database(&database).await?;
    Ok(section)
}
