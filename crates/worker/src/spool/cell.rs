//! How a result lies on disk: in cells of 64 bytes, each with a checksum of its own.
//!
//! All cells are of one size, so that whatever happens to one of them is no matter to the
//! others: there is no length whose loss would lose what comes behind it. What an assertion
//! saw follows its check in cells of its own.

use std::hash::Hasher;

use common::{Cause, Check, Outcome, Phases, Slot, TargetId};
use twox_hash::XxHash64;

/// Bytes of a cell. All of its numbers are little endian.
pub(super) const CELL: usize = 64;

/// Bytes of text in a cell of detail.
const TEXT: usize = CELL - 11;

/// Cells of detail behind a check, at most.
pub(super) const MOST_DETAILS: usize = 20;

const CHECK: u8 = 1;
const DETAIL: u8 = 2;

/// Stands for a number that there is not.
const NONE: u32 = u32::MAX;
const NEVER: i64 = i64::MIN;

/// What a target's key comes to on disk: enough to find the target again in any database
/// that has it, and nothing that could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub u64);

impl KeyHash {
    /// The hash of a key, the same for all times.
    pub fn of(key: &str) -> Self {
        Self(XxHash64::oneshot(0x6c6f_6f6b_6f75_7421, key.as_bytes()))
    }
}

/// A result as it was read: its check belongs to no row yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Which target.
    pub key: KeyHash,
    /// All the rest; its `target_id` says nothing.
    pub check: Check,
}

/// One cell that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// A check, and how many cells of detail follow it.
    Check(Stored, u8),
    /// A piece of what its assertion saw, and which.
    Detail(u8, Vec<u8>),
}

/// Appends the cells of a result, the first of which is number `index` of the file `seed`.
/// Gives back how many they are.
pub(super) fn write(bytes: &mut Vec<u8>, seed: u64, index: usize, key: KeyHash, check: &Check) -> usize {
    let detail = check.detail.as_deref().unwrap_or_default();
    let parts = detail.len().div_ceil(TEXT).min(MOST_DETAILS);
    let mut cell = [0; CELL];
    cell[8] = CHECK;
    cell[9] = number(check.outcome);
    cell[10..12].copy_from_slice(&check.code.unwrap_or(0).to_le_bytes());
    cell[12..16].copy_from_slice(&micros(check.elapsed_us));
    cell[16..24].copy_from_slice(&key.0.to_le_bytes());
    cell[24..32].copy_from_slice(&check.slot.0.to_le_bytes());
    cell[32..40].copy_from_slice(&check.started_us.unwrap_or(NEVER).to_le_bytes());
    cell[40..44].copy_from_slice(&micros(check.phases.dns_us));
    cell[44..48].copy_from_slice(&micros(check.phases.connect_us));
    cell[48..52].copy_from_slice(&micros(check.phases.first_byte_us));
    cell[52] = parts as u8;
    seal(bytes, seed, index, cell);
    for (part, text) in detail.as_bytes().chunks(TEXT).take(parts).enumerate() {
        let mut cell = [0; CELL];
        cell[8] = DETAIL;
        cell[9] = part as u8;
        cell[10] = text.len() as u8;
        cell[11..11 + text.len()].copy_from_slice(text);
        seal(bytes, seed, index + 1 + part, cell);
    }
    1 + parts
}

/// Reads cell number `index` of the file `seed`; `None` where it is not as it was written.
pub(super) fn read(bytes: &[u8], seed: u64, index: usize) -> Option<Cell> {
    let cell: &[u8; CELL] = bytes.try_into().ok()?;
    if cell[..8] != checksum(seed, index, cell).to_le_bytes() {
        return None;
    }
    if cell[8] == DETAIL {
        let text = cell.get(11..11 + usize::from(cell[10]))?;
        return Some(Cell::Detail(cell[9], text.to_vec()));
    }
    if cell[8] != CHECK {
        return None;
    }
    let code = u16::from_le_bytes([cell[10], cell[11]]);
    let started_us = i64_at(cell, 32);
    let check = Check {
        target_id: TargetId(0),
        slot: Slot(i64_at(cell, 24)),
        started_us: (started_us != NEVER).then_some(started_us),
        outcome: outcome(cell[9])?,
        code: (code != 0).then_some(code),
        elapsed_us: micros_at(cell, 12),
        phases: Phases {
            dns_us: micros_at(cell, 40),
            connect_us: micros_at(cell, 44),
            first_byte_us: micros_at(cell, 48),
        },
        detail: None,
    };
    Some(Cell::Check(Stored { key: KeyHash(i64_at(cell, 16).cast_unsigned()), check }, cell[52]))
}

fn seal(bytes: &mut Vec<u8>, seed: u64, index: usize, mut cell: [u8; CELL]) {
    let sum = checksum(seed, index, &cell);
    cell[..8].copy_from_slice(&sum.to_le_bytes());
    bytes.extend_from_slice(&cell);
}

/// Of file and place, too: a cell that a disk brings back from elsewhere is none of ours.
fn checksum(seed: u64, index: usize, cell: &[u8; CELL]) -> u64 {
    let mut hasher = XxHash64::with_seed(seed);
    hasher.write_u64(index as u64);
    hasher.write(&cell[8..]);
    hasher.finish()
}

fn micros(value: Option<u32>) -> [u8; 4] {
    value.map_or(NONE, |value| value.min(NONE - 1)).to_le_bytes()
}

fn micros_at(cell: &[u8; CELL], at: usize) -> Option<u32> {
    let value = u32::from_le_bytes([cell[at], cell[at + 1], cell[at + 2], cell[at + 3]]);
    (value != NONE).then_some(value)
}

fn i64_at(cell: &[u8; CELL], at: usize) -> i64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&cell[at..at + 8]);
    i64::from_le_bytes(bytes)
}

/// On disk for good: a number that was given is never given to another.
fn number(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Up => 0,
        Outcome::Degraded => 1,
        Outcome::Missed => 2,
        Outcome::Unknown => 3,
        Outcome::Down(cause) => match cause {
            Cause::Dns => 16,
            Cause::Refused => 17,
            Cause::Timeout => 18,
            Cause::Reset => 19,
            Cause::Tls => 20,
            Cause::Protocol => 21,
            Cause::Body => 22,
            Cause::Redirect => 23,
            Cause::Status => 24,
            Cause::Assertion => 25,
        },
    }
}

/// `None` for one that a newer version has written.
fn outcome(found: u8) -> Option<Outcome> {
    let others = [Outcome::Up, Outcome::Degraded, Outcome::Missed, Outcome::Unknown];
    others.into_iter().chain(Cause::ALL.map(Outcome::Down)).find(|outcome| number(*outcome) == found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_comes_back_as_it_was() {
        let others = [Outcome::Up, Outcome::Degraded, Outcome::Missed, Outcome::Unknown];
        for expected in others.into_iter().chain(Cause::ALL.map(Outcome::Down)) {
            assert_eq!(outcome(number(expected)), Some(expected));
        }
        assert_eq!(outcome(255), None);
    }

    #[test]
    fn a_cell_is_read_at_its_own_place_only() {
        let check = Check::missed(TargetId(7), Slot(1));
        let mut bytes = Vec::new();
        assert_eq!(write(&mut bytes, 5, 3, KeyHash(9), &check), 1);
        let read_at = |seed, index| read(&bytes, seed, index);
        let expected = Check { target_id: TargetId(0), ..check };
        assert_eq!(read_at(5, 3), Some(Cell::Check(Stored { key: KeyHash(9), check: expected }, 0)));
        assert_eq!((read_at(5, 4), read_at(6, 3)), (None, None));
        assert_eq!(read(&[0; CELL], 0, 0), None, "a block of nothing is no result");
    }
}
