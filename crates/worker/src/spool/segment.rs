//! One file of the spool: written once from front to end, read from front to end, deleted.

use std::fs::{File, OpenOptions};
use std::hash::Hasher;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use common::Check;
use twox_hash::XxHash64;

use super::cell::{self, CELL, Cell, KeyHash, MOST_DETAILS, Stored};

/// Says which version of the format a file has.
pub(super) const SUFFIX: &str = ".spool1";

/// What was read of a segment.
#[derive(Debug, Default)]
pub(super) struct Piece {
    pub(super) results: Vec<Stored>,
    /// Cells that are not as they were written.
    pub(super) bad: usize,
    /// The cell after the last one of them.
    pub(super) end: usize,
}

#[derive(Debug)]
pub(super) struct Segment {
    path: PathBuf,
    seed: u64,
    /// Whole cells there are.
    pub(super) cells: usize,
    /// Cells that are done with.
    pub(super) done: usize,
    /// Results that are not done with; bad ones count until they are found out.
    pub(super) results: usize,
    /// The slots of what we wrote into it ourselves, first and last.
    pub(super) slots: Option<(i64, i64)>,
    /// Only of the one that is written.
    file: Option<File>,
    unsynced: bool,
}

/// The checksums of a file go with its name, so that it may be moved but not mistaken.
fn seed_of(path: &Path) -> u64 {
    let mut hasher = XxHash64::with_seed(1);
    hasher.write(path.file_name().unwrap_or_default().as_encoded_bytes());
    hasher.finish()
}

impl Segment {
    /// A new file, which must not exist.
    pub(super) fn create(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { file: Some(file), ..Self::empty(path) })
    }

    /// What another process has left. It is read only; half a cell at its end is as good as none.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let bytes = std::fs::read(&path)?;
        let mut segment = Self { cells: bytes.len() / CELL, ..Self::empty(path) };
        for (index, bytes) in bytes.chunks_exact(CELL).enumerate() {
            if !matches!(cell::read(bytes, segment.seed, index), Some(Cell::Detail(..))) {
                segment.results += 1;
            }
        }
        Ok(segment)
    }

    fn empty(path: PathBuf) -> Self {
        let seed = seed_of(&path);
        Self { path, seed, cells: 0, done: 0, results: 0, slots: None, file: None, unsynced: false }
    }

    /// Appends results until the file has `room` cells. Gives back how many results went in.
    ///
    /// # Errors
    /// Whatever the disk says; then nothing was appended.
    pub(super) fn append(&mut self, results: &[(KeyHash, Check)], room: usize) -> io::Result<usize> {
        let Some(file) = &self.file else { return Ok(0) };
        let mut bytes = Vec::with_capacity(results.len().min(room) * CELL);
        let (mut cells, mut count) = (self.cells, 0);
        for (key, check) in results {
            if cells >= room {
                break;
            }
            cells += cell::write(&mut bytes, self.seed, cells, *key, check);
            count += 1;
        }
        // At its place, whatever has become of the file: a tail that somebody cut off shifts nothing.
        file.write_all_at(&bytes, (self.cells * CELL) as u64)?;
        self.cells = cells;
        self.results += count;
        self.unsynced = true;
        for (_, check) in &results[..count] {
            let (first, last) = self.slots.unwrap_or((check.slot.0, check.slot.0));
            self.slots = Some((first.min(check.slot.0), last.max(check.slot.0)));
        }
        Ok(count)
    }

    /// Whether more can be appended.
    pub(super) fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Brings what was appended onto the disk.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if let (true, Some(file)) = (self.unsynced, &self.file) {
            file.sync_data()?;
        }
        self.unsynced = false;
        Ok(())
    }

    pub(super) fn is_unsynced(&self) -> bool {
        self.unsynced
    }

    /// Nothing more is appended.
    pub(super) fn close(&mut self) -> io::Result<()> {
        let synced = self.sync();
        self.file = None;
        synced
    }

    /// The next results that are not done with, about `most` of them.
    pub(super) fn read(&self, most: usize) -> io::Result<Piece> {
        let from = self.done;
        let count = (self.cells - from).min(most.saturating_add(MOST_DETAILS));
        let mut bytes = vec![0; count * CELL];
        let opened;
        let file = match &self.file {
            Some(file) => file,
            None => {
                opened = File::open(&self.path)?;
                &opened
            }
        };
        read_most(file, &mut bytes, (from * CELL) as u64)?;

        let mut piece = Piece { end: from, ..Piece::default() };
        let cell_at = |index: usize| {
            let at = (index - from) * CELL;
            cell::read(&bytes[at..at + CELL], self.seed, index)
        };
        while piece.end < from + count.min(most) {
            let found = cell_at(piece.end);
            piece.end += 1;
            match found {
                Some(Cell::Check(mut stored, parts)) => {
                    let mut text = Vec::new();
                    for part in 0..parts {
                        if piece.end >= from + count {
                            break;
                        }
                        match cell_at(piece.end) {
                            Some(Cell::Detail(number, more)) if number == part => text.extend(more),
                            // The next check, where bytes of ours were changed on purpose.
                            Some(_) => break,
                            // What is left of the text says as much as it can.
                            None => piece.bad += 1,
                        }
                        piece.end += 1;
                    }
                    if !text.is_empty() {
                        stored.check.detail = Some(String::from_utf8_lossy(&text).into());
                    }
                    piece.results.push(stored);
                }
                // Its check is lost.
                Some(Cell::Detail(..)) => {}
                None => piece.bad += 1,
            }
        }
        Ok(piece)
    }

    /// Everything that is not done with.
    pub(super) fn read_all(&self) -> io::Result<Piece> {
        self.read(self.cells)
    }

    /// Notes that the cells before `end` are done with.
    pub(super) fn advance(&mut self, end: usize, results: usize) {
        self.done = self.done.max(end.min(self.cells));
        self.results = if self.done == self.cells { 0 } else { self.results.saturating_sub(results) };
    }

    pub(super) fn name(&self) -> &Path {
        Path::new(self.path.file_name().unwrap_or_default())
    }

    /// Deletes the file. One that is gone already is as good.
    pub(super) fn remove(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// As much as there is: a file that has become shorter has no good cells there.
fn read_most(file: &File, bytes: &mut [u8], from: u64) -> io::Result<()> {
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], from + read as u64) {
            Ok(0) => return Ok(()),
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
