//! Rows of checks on their way into their table.

use common::Check;
use sqlx::PgConnection;

use crate::StoreError;
use crate::copy::{END, EPOCH_US, HEAD};

/// Not a checked query, because `COPY` is none; the order is that of [`encode`].
const STATEMENT: &str = "copy check_result (slot_at, started_at, batch_id, target_id, elapsed_us, dns_us, connect_us, \
                         first_byte_us, outcome, cause, code, detail) from stdin (format binary)";

/// Fields in a row.
const FIELDS: i16 = 12;

/// What a row takes, about.
const ROW: usize = 110;

/// Adds rows, all of them new: one that is there already is an error, and ends the transaction.
pub(super) async fn insert(connection: &mut PgConnection, batch_id: i64, checks: &[&Check]) -> Result<(), StoreError> {
    let mut copy = connection.copy_in_raw(STATEMENT).await?;
    copy.send(encode(batch_id, checks)).await?;
    copy.finish().await?;
    Ok(())
}

fn encode(batch_id: i64, checks: &[&Check]) -> Vec<u8> {
    let mut data = Vec::with_capacity(checks.len() * ROW + 32);
    data.extend_from_slice(&HEAD);
    let mut row = Row(data);
    for check in checks {
        row.0.extend_from_slice(&FIELDS.to_be_bytes());
        row.moment(Some(check.slot.0));
        row.moment(check.started_us);
        row.field(&batch_id.to_be_bytes());
        row.field(&check.target_id.0.to_be_bytes());
        row.micros(check.elapsed_us);
        row.micros(check.phases.dns_us);
        row.micros(check.phases.connect_us);
        row.micros(check.phases.first_byte_us);
        row.field(check.outcome.label().as_bytes());
        row.optional(check.outcome.cause().map(|cause| cause.label().as_bytes()));
        row.optional(check.code.and_then(|code| i16::try_from(code).ok()).map(i16::to_be_bytes).as_ref());
        row.optional(check.detail.as_deref().map(str::as_bytes));
    }
    row.0.extend_from_slice(&END.to_be_bytes());
    row.0
}

struct Row(Vec<u8>);

impl Row {
    fn field(&mut self, bytes: &[u8]) {
        // No field comes near two gigabytes.
        self.0.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
        self.0.extend_from_slice(bytes);
    }

    fn optional(&mut self, bytes: Option<impl AsRef<[u8]>>) {
        match bytes {
            Some(bytes) => self.field(bytes.as_ref()),
            None => self.0.extend_from_slice(&(-1_i32).to_be_bytes()),
        }
    }

    fn moment(&mut self, us: Option<i64>) {
        self.optional(us.map(|us| (us - EPOCH_US).to_be_bytes()));
    }

    fn micros(&mut self, us: Option<u32>) {
        self.optional(us.map(|us| i32::try_from(us).unwrap_or(i32::MAX).to_be_bytes()));
    }
}
