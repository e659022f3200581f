//! A stream of bytes, cut into lines.

use memchr::memchr;

use crate::info::Info;
use crate::line::Rejection;
use crate::monitor::Monitor;
use crate::report::{RejectedLines, Report};

/// What becomes of a line that is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The first one ends the run.
    #[default]
    Strict,
    /// They are skipped, counted and listed.
    Lenient,
}

/// The line that ended a strict run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {rejection}")]
pub struct RejectedLine {
    /// Its number, counted from 1.
    pub line: u64,
    /// What is wrong with it.
    pub rejection: Rejection,
}

/// Replays a whole stream that comes in pieces of any size: one text, the lines of
/// a list, blocks of a file.
///
/// ```
/// use engine::{Info, Mode, ServiceMonitor};
///
/// let info = r#"[{"name": "shop", "verb": "GET", "resource": "/cart", "slo": 0.9, "window": 1}]"#;
/// let lines = [
///     "{\"type\": \"access\", \"value\": \"10 GET /cart 503\"}\n",
///     "{\"type\": \"access\", \"value\": \"11 GET /cart 200\"}\n",
/// ];
/// let report = engine::replay(&Info::parse(info.as_bytes())?, Mode::Strict, lines)?;
/// assert_eq!(report.mttr().unwrap().to_string(), "1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// In strict mode, the first line that is rejected.
pub fn replay(info: &Info, mode: Mode, pieces: impl IntoIterator<Item: AsRef<[u8]>>) -> Result<Report, RejectedLine> {
    let mut replay = Replay::new(info, mode);
    for piece in pieces {
        if !replay.feed(piece.as_ref())? {
            break;
        }
    }
    replay.finish()
}

/// Reads a stream piece by piece; where the pieces are cut makes no difference.
///
/// Keeps no more of the stream than a line that has not ended yet.
#[derive(Debug, Clone)]
pub struct Replay {
    monitor: Monitor,
    mode: Mode,
    /// Lines that have ended.
    lines: u64,
    /// The start of a line whose end has not come.
    begun: Vec<u8>,
    is_over: bool,
    rejected: RejectedLines,
}

impl Replay {
    /// A stream about the endpoints in the list.
    pub fn new(info: &Info, mode: Mode) -> Self {
        Self {
            monitor: Monitor::new(info),
            mode,
            lines: 0,
            begun: Vec::new(),
            is_over: false,
            rejected: RejectedLines::default(),
        }
    }

    /// Takes the next bytes. Whether more are wanted: after `end-of-stream` they
    /// are not, and make no difference.
    ///
    /// # Errors
    /// In strict mode, the first line that is rejected.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<bool, RejectedLine> {
        if !self.begun.is_empty() && !self.is_over {
            let Some(end) = memchr(b'\n', bytes) else {
                self.begun.extend_from_slice(bytes);
                return Ok(true);
            };
            self.begun.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let mut line = std::mem::take(&mut self.begun);
            self.line(&line)?;
            line.clear();
            self.begun = line;
        }
        while !self.is_over {
            let Some(end) = memchr(b'\n', bytes) else {
                self.begun.extend_from_slice(bytes);
                break;
            };
            self.line(&bytes[..end])?;
            bytes = &bytes[end + 1..];
        }
        Ok(!self.is_over)
    }

    /// Ends the stream; its last line may lack its line feed.
    ///
    /// # Errors
    /// In strict mode, the last line is rejected.
    pub fn finish(mut self) -> Result<Report, RejectedLine> {
        let line = std::mem::take(&mut self.begun);
        if !line.is_empty() && !self.is_over {
            self.line(&line)?;
        }
        Ok(Report::new(self.monitor.into_incidents(), self.rejected))
    }

    /// How many lines have been taken.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    #[inline]
    fn line(&mut self, line: &[u8]) -> Result<(), RejectedLine> {
        self.lines += 1;
        match self.monitor.line(line) {
            Ok(goes_on) => self.is_over = !goes_on,
            Err(rejection) if self.mode == Mode::Strict => {
                self.is_over = true;
                return Err(RejectedLine { line: self.lines, rejection });
            }
            Err(rejection) => self.rejected.add(self.lines, rejection.reason),
        }
        Ok(())
    }
}
