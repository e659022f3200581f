//! The log of requests: what reached the server, and when.
//!
//! Entries are kept in blocks, never in one growing vector: moving millions of
//! entries to a larger place would delay the very requests that are being timed.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

const BLOCK: usize = 4096;
/// Requests that are kept; about half a gigabyte.
const MAX_REQUESTS: usize = 5_000_000;
/// How long a request may wait in memory before it is in the log file.
const FLUSH_EVERY: Duration = Duration::from_millis(200);

/// One request that reached the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// When its head had been read completely.
    pub at: SystemTime,
    /// Number of its connection, in the order in which they were accepted.
    pub connection: u64,
    /// `GET`, as it was sent.
    pub method: String,
    /// Path and query, as they were sent.
    pub target: String,
}

impl Request {
    /// Microseconds since 1970.
    pub fn at_us(&self) -> i64 {
        let since = self.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }
}

/// As in `/_log`: the time is `at_us`.
impl Serialize for Request {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_struct("Request", 4)?;
        line.serialize_field("at_us", &self.at_us())?;
        line.serialize_field("connection", &self.connection)?;
        line.serialize_field("method", &self.method)?;
        line.serialize_field("target", &self.target)?;
        line.end()
    }
}

/// What the server has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Requests since the log was last cleared.
    pub requests: u64,
    /// Those of them that the full log could not take.
    pub unlogged: u64,
    /// Connections since the start.
    pub connections: u64,
    /// Connections open now.
    pub open_connections: u64,
}

#[derive(Debug)]
pub(super) struct Log {
    inner: Mutex<Inner>,
    max_requests: usize,
}

#[derive(Debug, Default)]
struct Inner {
    full: Vec<Arc<Vec<Request>>>,
    current: Vec<Request>,
    unlogged: u64,
    file: Option<BufWriter<File>>,
    /// Why the file was given up.
    file_error: Option<io::Error>,
}

impl Default for Log {
    fn default() -> Self {
        Self::with_room_for(MAX_REQUESTS)
    }
}

impl Log {
    fn with_room_for(max_requests: usize) -> Self {
        Self { inner: Mutex::default(), max_requests }
    }

    /// Appends every request to `path` from now on, also those the memory has no
    /// room for.
    pub(super) fn also_write_to(&self, path: &Path) -> io::Result<()> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        self.lock().file = Some(BufWriter::new(file));
        Ok(())
    }

    /// Notes a request that has just been read. The clock is read under the lock,
    /// so the order of the entries is the order of their times.
    pub(super) fn push(&self, connection: u64, method: &str, target: &str) {
        let mut request = Request { at: UNIX_EPOCH, connection, method: method.to_owned(), target: target.to_owned() };
        let mut inner = self.lock();
        request.at = SystemTime::now();
        inner.write(&request);
        if inner.logged() == self.max_requests {
            inner.unlogged += 1;
            return;
        }
        if inner.current.capacity() == 0 {
            inner.current.reserve_exact(BLOCK);
        }
        inner.current.push(request);
        if inner.current.len() == BLOCK {
            let block = std::mem::take(&mut inner.current);
            inner.full.push(Arc::new(block));
        }
    }

    /// All requests, in blocks. Copies only the last block, the lock is held briefly.
    pub(super) fn blocks(&self) -> Vec<Arc<Vec<Request>>> {
        let inner = self.lock();
        let mut blocks = inner.full.clone();
        blocks.push(Arc::new(inner.current.clone()));
        blocks
    }

    pub(super) fn all(&self) -> Vec<Request> {
        let blocks = self.blocks();
        blocks.iter().flat_map(|block| block.iter().cloned()).collect()
    }

    pub(super) fn clear(&self) {
        let mut inner = self.lock();
        inner.unlogged = 0;
        let forgotten = (std::mem::take(&mut inner.full), std::mem::take(&mut inner.current));
        drop(inner);
        // Freeing millions of entries takes a while; nobody has to wait for it.
        drop(forgotten);
    }

    /// Requests that were kept, and those that were not.
    pub(super) fn counts(&self) -> (u64, u64) {
        let inner = self.lock();
        (inner.logged() as u64, inner.unlogged)
    }

    /// Writes what is buffered to the file, if there is one. Tells of an earlier
    /// failure, too.
    pub(super) fn flush(&self) -> io::Result<()> {
        let mut inner = self.lock();
        if let Some(error) = &inner.file_error {
            return Err(io::Error::new(error.kind(), error.to_string()));
        }
        match &mut inner.file {
            Some(file) => file.flush(),
            None => Ok(()),
        }
    }

    /// Flushes for ever, so that someone may follow the file.
    pub(super) async fn flush_regularly(&self) {
        let mut ticks = tokio::time::interval(FLUSH_EVERY);
        loop {
            ticks.tick().await;
            if let Err(error) = self.flush() {
                tracing::warn!("the log file is incomplete: {error}");
                std::future::pending::<()>().await;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn logged(&self) -> usize {
        self.full.len() * BLOCK + self.current.len()
    }

    fn write(&mut self, request: &Request) {
        let Some(file) = &mut self.file else { return };
        let written =
            serde_json::to_writer(&mut *file, request).map_err(io::Error::from).and_then(|()| file.write_all(b"\n"));
        if let Err(error) = written {
            self.file_error = Some(error);
            self.file = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_stay_in_order_across_blocks() {
        let log = Log::default();

        for number in 0..BLOCK * 2 + 1 {
            log.push(1, "GET", &number.to_string());
        }

        let all = log.all();
        assert_eq!(all.len(), BLOCK * 2 + 1);
        assert!(all.is_sorted_by_key(|request| request.at));
        assert!(all.iter().enumerate().all(|(n, r)| r.target == n.to_string()));
    }

    #[test]
    fn a_full_log_counts_what_it_cannot_keep() {
        let log = Log::with_room_for(2);

        for _ in 0..5 {
            log.push(1, "GET", "/ok");
        }

        assert_eq!(log.counts(), (2, 3));
        assert_eq!(log.all().len(), 2);
        log.clear();
        assert_eq!(log.counts(), (0, 0));
    }

    #[test]
    fn a_line_has_the_time_in_microseconds() {
        let request = Request {
            at: UNIX_EPOCH + Duration::from_nanos(1_500_999),
            connection: 7,
            method: "GET".to_owned(),
            target: "/ok?t=\"1\"".to_owned(),
        };

        let line = serde_json::to_string(&request).unwrap();

        assert_eq!(line, r#"{"at_us":1500,"connection":7,"method":"GET","target":"/ok?t=\"1\""}"#);
    }
}
