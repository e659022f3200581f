//! What becomes of rows that Postgres refuses for what they say: they go, and all others are stored.
//!
//! A batch is one transaction, so one such row would hold up all others for ever. It is found by
//! halving the batch. Its slot is recorded as `unknown`, because the fault is ours.

use common::target::micros_to_utc;
use common::{Check, Outcome};
use store::batches::{Gap, GapReason};
use store::{PgConnection, StoreError};
use tracing::error;

use super::Recorder;

/// So many refused rows of a flush are told of, each on a line.
const TOLD: u64 = 10;

/// Part of a flush.
#[derive(Clone, Copy)]
struct Rows<'a> {
    checks: &'a [Check],
    gaps: &'a [Gap],
}

impl Rows<'_> {
    /// Checks apart from gaps, then halves; `None` of a single row.
    fn halves(self) -> Option<[Self; 2]> {
        if self.checks.len() + self.gaps.len() < 2 {
            return None;
        }
        let checks = if self.gaps.is_empty() { self.checks.len() / 2 } else { self.checks.len() };
        let gaps = if self.checks.is_empty() { self.gaps.len() / 2 } else { 0 };
        let (first, second) = self.checks.split_at(checks);
        let (third, fourth) = self.gaps.split_at(gaps);
        Some([Self { checks: first, gaps: third }, Self { checks: second, gaps: fourth }])
    }
}

impl Recorder {
    /// Stores checks and gaps, all that Postgres takes, in their order.
    ///
    /// # Errors
    /// Whatever is not about one of the rows. All of it can be written again then.
    pub(super) async fn flush(
        &self,
        connection: &mut PgConnection,
        checks: &[Check],
        gaps: &[Gap],
    ) -> Result<(), StoreError> {
        let mut refused = 0;
        let mut left = vec![Rows { checks, gaps }];
        while let Some(rows) = left.pop() {
            match self.flush_once(connection, rows.checks, rows.gaps).await {
                Err(refusal) if refusal.is_about_a_row() => match rows.halves() {
                    Some([first, second]) => left.extend([second, first]),
                    None => {
                        refused += 1;
                        self.refused(connection, rows, refused <= TOLD, &refusal).await?;
                    }
                },
                done => done?,
            }
        }
        if refused > TOLD {
            error!(refused, "postgres refuses results for what they say; their slots are recorded as unknown");
        }
        Ok(())
    }

    /// Accounts for a single row. Nothing of what it says is told: only where it belongs and the rule.
    async fn refused(
        &self,
        connection: &mut PgConnection,
        rows: Rows<'_>,
        is_told: bool,
        refusal: &StoreError,
    ) -> Result<(), StoreError> {
        self.stats.add_refused();
        let rule = refusal.rule();
        if let Some(gap) = rows.gaps.first()
            && is_told
        {
            let (from, to) = (micros_to_utc(gap.from_us), micros_to_utc(gap.to_us));
            error!(target.id = gap.target_id.0, "postgres refuses the gap from {from} to {to} for good: {rule}");
        }
        let Some(check) = rows.checks.first() else { return Ok(()) };
        if is_told {
            let slot = micros_to_utc(check.slot.0);
            error!(
                target.id = check.target_id.0,
                "postgres refuses the result of slot {slot} for good, which is recorded as unknown: {rule}"
            );
        }
        let unknown = Check { outcome: Outcome::Unknown, ..Check::missed(check.target_id, check.slot) };
        match self.flush_once(connection, &[unknown], &[]).await {
            Err(again) if again.is_about_a_row() => {
                let (from_us, to_us) = (check.slot.0, check.slot.0 + 1);
                // Not even that; no other reason comes nearer.
                let reason = GapReason::Overflow;
                self.intake.push_gap(Gap { target_id: check.target_id, from_us, to_us, reason });
                Ok(())
            }
            done => done,
        }
    }
}
