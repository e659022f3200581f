//! What could not be written yet, on disk, in order.
//!
//! While Postgres is away or slow, results are appended here, and replayed from the front once
//! it is back. Appending survives the end of the process at once, and a loss of power within
//! a second. The spool is bounded: beyond it the oldest file goes, and its slots are told to
//! whoever appends, so that they can be accounted for.
//!
//! A directory holds one folder for each worker that uses it at the same time, each with a lock in which its
//! name is. What a worker leaves behind is taken over by any other of the same directory, whatever its name
//! and its database: a result names its target by a hash of the key, not by the number of a row. A lock that
//! is free and has a name says that this worker's process has ended: nothing else can know that so soon.
//! Nothing in it can be read as a key, a URL or a secret, and no file is ever appended to again by
//! another process.
//!
//! It is plain blocking I/O, without clock or tasks: [`crate::recorder::Keeper`] has those.

mod cell;
mod names;
mod segment;

use std::collections::VecDeque;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use common::Check;
use tracing::{error, info, warn};

pub use cell::{KeyHash, Stored};
pub use names::Names;
use segment::{SUFFIX, Segment};

/// Results kept on disk, unless said otherwise: 64 bytes each.
pub const DEFAULT_MAX: usize = 1_000_000;

/// Cells of one file: what is dropped together, and read again after a crash.
const SEGMENT_CELLS: usize = 20_000;

/// Workers that may share a directory.
const MOST_FOLDERS: usize = 64;

/// Workers that have ended, of which is known; of more, the leases run out.
const MOST_ENDED: usize = 100;

/// Bytes of the name of a worker, at most, and one more.
const LONGEST_NAME: usize = 256;

/// A file that cannot be read so often in a row is set aside.
const MOST_ATTEMPTS: u32 = 5;

/// Where the spool is and how much it may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolSettings {
    /// A directory of its own.
    pub directory: PathBuf,
    /// Results, at most.
    pub max: usize,
}

/// The spool of one process.
#[derive(Debug)]
pub struct Spool {
    settings: SpoolSettings,
    /// Ours within the directory; its lock is held as long as we are.
    folder: PathBuf,
    lock: File,
    worker_id: String,
    /// Workers whose locks were free, the newest first.
    ended: Vec<String>,
    /// The oldest first. Only the last one may be open.
    segments: VecDeque<Segment>,
    /// Names grow, also where the wall clock does not.
    last_name_us: u128,
    failed_reads: u32,
}

/// The next results, and where they were.
#[derive(Debug, Default)]
pub struct Batch {
    /// In the order in which they were appended.
    pub results: Vec<Stored>,
    /// Records that are not as they were written, and were skipped.
    pub bad: usize,
    /// First and last slot among which those of the bad records are; `None` when there are none,
    /// and when another process wrote them: its slots are accounted for by whoever took them over.
    pub suspect: Option<(i64, i64)>,
    segment: PathBuf,
    end: usize,
}

/// What became of an append.
#[derive(Debug, Default)]
pub struct Appended {
    /// How many of the results are on disk, from the first on.
    pub count: usize,
    /// Why the rest is not.
    pub error: Option<io::Error>,
    /// What had to make place for them.
    pub dropped: Vec<Stored>,
    /// Records among those that could not even be read.
    pub dropped_bad: usize,
}

impl Spool {
    /// The spool of the worker of that name in a directory, which is made where there is none: a folder
    /// nobody else uses, and what the dead have left.
    ///
    /// # Errors
    /// The directory cannot be written, or too many workers share it.
    pub fn open(settings: SpoolSettings, worker_id: &str) -> io::Result<Self> {
        make_directory(&settings.directory)?;
        for number in 0..MOST_FOLDERS {
            let folder = settings.directory.join(number.to_string());
            make_directory(&folder)?;
            let Some(lock) = lock(&folder)? else { continue };
            let mut spool = Self {
                settings,
                folder: folder.clone(),
                ended: Vec::new(),
                lock,
                worker_id: worker_id.to_owned(),
                segments: VecDeque::new(),
                last_name_us: 0,
                failed_reads: 0,
            };
            spool.read_folder(&folder)?;
            // Not before: a lock that we give up again must not have our name.
            spool.add_ended(names(&spool.lock));
            spool.take_over_orphans();
            return Ok(spool);
        }
        let directory = settings.directory.display();
        Err(io::Error::other(format!("{MOST_FOLDERS} workers use {directory} already")))
    }

    /// Results on disk. Bad records count until they are found out.
    pub fn depth(&self) -> usize {
        self.segments.iter().map(|segment| segment.results).sum()
    }

    /// Results that may be on disk.
    pub fn max(&self) -> usize {
        self.settings.max
    }

    /// The oldest slot of ours on disk, microseconds since the epoch. What others left does not
    /// count: whoever took their shards over has accounted for it.
    pub fn oldest_us(&self) -> Option<i64> {
        self.segments.iter().filter_map(|segment| Some(segment.slots?.0)).min()
    }

    /// Appends results in order. Where they do not fit, the oldest files go.
    pub fn append(&mut self, results: &[(KeyHash, Check)]) -> Appended {
        let mut appended = Appended::default();
        let size = self.segment_cells();
        while appended.count < results.len() {
            let rest = &results[appended.count..];
            let mut result = self.make_place(rest.len().min(size), &mut appended);
            if result.is_ok() && self.segments.back().is_none_or(|last| !last.is_open() || last.cells >= size) {
                result = self.begin_segment();
            }
            let result = result.and_then(|()| match self.segments.back_mut() {
                Some(last) => last.append(rest, size),
                None => Ok(0),
            });
            match result {
                Ok(count) => appended.count += count,
                Err(error) => {
                    appended.error = Some(error);
                    break;
                }
            }
        }
        appended
    }

    /// Brings everything that was appended onto the disk.
    ///
    /// # Errors
    /// What the disk says; then a loss of power may lose it.
    pub fn sync(&mut self) -> io::Result<()> {
        self.segments.back_mut().map_or(Ok(()), Segment::sync)
    }

    /// Whether a loss of power would lose something.
    pub fn is_unsynced(&self) -> bool {
        self.segments.back().is_some_and(Segment::is_unsynced)
    }

    /// The next results, about `most` of them; `None` when there are no more. They stay until
    /// [`Spool::done`] is told.
    ///
    /// # Errors
    /// What the disk says. A file that cannot be read again and again is set aside.
    pub fn next(&mut self, most: usize) -> io::Result<Option<Batch>> {
        loop {
            let Some(segment) = self.segments.front() else { return Ok(None) };
            if segment.done == segment.cells {
                self.remove_front();
                continue;
            }
            match segment.read(most) {
                Ok(piece) => {
                    self.failed_reads = 0;
                    return Ok(Some(Batch {
                        suspect: segment.slots.filter(|_| piece.bad > 0),
                        segment: segment.name().to_owned(),
                        results: piece.results,
                        bad: piece.bad,
                        end: piece.end,
                    }));
                }
                Err(error) => {
                    self.failed_reads += 1;
                    if self.failed_reads < MOST_ATTEMPTS {
                        return Err(error);
                    }
                    return Ok(Some(self.give_up_reading(&error)));
                }
            }
        }
    }

    /// Notes that a batch is stored elsewhere, or cannot be.
    pub fn done(&mut self, batch: &Batch) {
        // It may have been dropped meanwhile.
        if let Some(front) = self.segments.front_mut()
            && front.name() == batch.segment
        {
            front.advance(batch.end, batch.results.len() + batch.bad);
            if front.done == front.cells {
                self.remove_front();
            }
        }
    }

    /// Takes over what workers that are gone have left in the same directory. Gives back how
    /// many results that is. They come before our own where they are older.
    pub fn take_over_orphans(&mut self) -> usize {
        let before = self.depth();
        for number in 0..MOST_FOLDERS {
            let folder = self.settings.directory.join(number.to_string());
            if folder == self.folder || !folder.exists() {
                continue;
            }
            // Whoever holds the lock is alive.
            let Ok(Some(lock)) = lock(&folder) else { continue };
            let ended = names(&lock);
            if !ended.is_empty() {
                self.add_ended(ended);
                write_names(&lock, &[]);
            }
            if let Err(error) = self.move_here(&folder) {
                warn!("cannot take over the spool {}: {error}", folder.display());
            }
        }
        let taken = self.depth() - before;
        if taken > 0 {
            info!(results = taken, "found results of a worker that is gone; writing them first");
        }
        taken
    }

    /// Workers of this directory whose processes have ended, however they did, and who are not
    /// [forgotten](Self::forget).
    pub fn ended(&self) -> &[String] {
        &self.ended
    }

    /// Everything has been done about these. Until then whoever comes after us hears of them, too.
    pub fn forget(&mut self, ended: &[String]) {
        if self.ended.iter().any(|worker| ended.contains(worker)) {
            self.ended.retain(|worker| !ended.contains(worker));
            self.write_lock();
        }
    }

    fn add_ended(&mut self, ended: Vec<String>) {
        // Never ourselves.
        let new = |worker: &String| *worker != self.worker_id && !self.ended.contains(worker);
        let new: Vec<_> = ended.into_iter().filter(new).collect();
        self.ended.splice(0..0, new);
        self.ended.truncate(MOST_ENDED);
        self.write_lock();
    }

    fn write_lock(&self) {
        let ours = std::iter::once(&self.worker_id);
        write_names(&self.lock, &ours.chain(&self.ended).map(String::as_str).collect::<Vec<_>>());
    }

    fn move_here(&mut self, folder: &Path) -> io::Result<()> {
        let mut is_any = false;
        for path in files(folder)? {
            std::fs::rename(&path, self.folder.join(path.file_name().unwrap_or_default()))?;
            is_any = true;
        }
        if is_any { self.read_folder(&self.folder.clone()) } else { Ok(()) }
    }

    /// Adds the files there that we do not know.
    fn read_folder(&mut self, folder: &Path) -> io::Result<()> {
        for path in files(folder)? {
            if self.segments.iter().any(|known| Some(known.name().as_os_str()) == path.file_name()) {
                continue;
            }
            match Segment::open(path.clone()) {
                Ok(segment) => self.segments.push_back(segment),
                Err(error) => warn!("cannot read {}, leaving it: {error}", path.display()),
            }
        }
        // Their names are the times at which they were begun. The one we write stays the last.
        let ours = self.segments.iter().position(Segment::is_open).and_then(|at| self.segments.remove(at));
        self.segments.make_contiguous().sort_by(|a, b| a.name().cmp(b.name()));
        self.segments.extend(ours);
        Ok(())
    }

    /// Small bounds have small files, so that little goes at once.
    fn segment_cells(&self) -> usize {
        (self.settings.max / 8).clamp(1, SEGMENT_CELLS)
    }

    /// Drops old files until there is room for so many more cells.
    fn make_place(&mut self, cells: usize, appended: &mut Appended) -> io::Result<()> {
        while self.segments.iter().map(|segment| segment.cells).sum::<usize>() + cells > self.settings.max.max(cells)
            && let Some(oldest) = self.segments.front()
        {
            let piece = oldest.read_all();
            // What cannot be deleted is not given up.
            oldest.remove()?;
            match piece {
                Ok(piece) => {
                    appended.dropped.extend(piece.results);
                    appended.dropped_bad += piece.bad;
                }
                Err(_) => appended.dropped_bad += oldest.results,
            }
            self.segments.pop_front();
        }
        Ok(())
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        if let Some(last) = self.segments.back_mut() {
            last.close()?;
        }
        let now_us = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        self.last_name_us = now_us.max(self.last_name_us + 1);
        let name = format!("{:020}-{:08x}{SUFFIX}", self.last_name_us, rand::random::<u32>());
        self.segments.push_back(Segment::create(self.folder.join(name))?);
        // The file's name has to survive, too.
        File::open(&self.folder)?.sync_all()
    }

    fn remove_front(&mut self) {
        let Some(mut done) = self.segments.pop_front() else { return };
        let _ = done.close();
        let name = done.name().display().to_string();
        if let Err(error) = done.remove() {
            // It is read again at the next start, which changes nothing.
            warn!("cannot delete {name} of the spool: {error}");
        }
    }

    /// Leaves the oldest file where it is, under another name.
    fn give_up_reading(&mut self, error: &io::Error) -> Batch {
        self.failed_reads = 0;
        let Some(mut broken) = self.segments.pop_front() else { return Batch::default() };
        let _ = broken.close();
        let name = broken.name().to_owned();
        error!(results = broken.results, "cannot read {} of the spool, setting it aside: {error}", name.display());
        let aside = self.folder.join(name.with_extension("unreadable"));
        let _ = std::fs::rename(self.folder.join(&name), aside);
        Batch { bad: broken.results, suspect: broken.slots, ..Batch::default() }
    }
}

/// The files of a folder, the oldest first.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(SUFFIX) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Makes a directory for us alone. What it is in is, where we are root, passable for others: the server of a private
/// Postgres beside it is another user's.
fn make_directory(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        let mode = if rustix::process::geteuid().is_root() { 0o711 } else { 0o700 };
        DirBuilder::new().recursive(true).mode(mode).create(parent)?;
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The lock of a folder; `None` while somebody else has it.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let path = folder.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The names in a lock that is ours: of its last holder, and of those that it had not forgotten. What a disk may
/// have made of them goes to Postgres, which takes no NUL and not every letter.
fn names(lock: &File) -> Vec<String> {
    let mut bytes = vec![0; MOST_ENDED * LONGEST_NAME];
    let count = lock.read_at(&mut bytes, 0).unwrap_or(0);
    let is_name = |line: &&[u8]| (1..LONGEST_NAME).contains(&line.len()) && line.iter().all(u8::is_ascii_graphic);
    let lines = bytes[..count].split(|byte| *byte == b'\n').filter(is_name);
    lines.map(|line| String::from_utf8_lossy(line).into_owned()).collect()
}

/// Where the disk takes no names the old ones stay: of workers that are gone in any case, or that nobody knows.
fn write_names(lock: &File, names: &[&str]) {
    let text: String = names.iter().flat_map(|name| [name, "\n"]).collect();
    let _ = lock.write_all_at(text.as_bytes(), 0).and_then(|()| lock.set_len(text.len() as u64));
}

#[cfg(test)]
mod tests;
