//! Files and standard input, gzipped or not, and how far they are read.

use std::fs::File;
use std::io::{self, BufReader, Cursor, IsTerminal, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use flate2::bufread::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How much is read at once.
pub(crate) const BLOCK: usize = 256 * 1024;

/// Nobody needs to be shown that something takes less than this.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often the bar may move.
const REDRAW_HZ: u8 = 5;

/// What is read, unpacked if it was gzipped.
pub(crate) enum Input {
    Plain(Source),
    Gzip(Box<MultiGzDecoder<BufReader<Source>>>),
}

/// The bytes as they are stored: those looked at already, and the rest.
type Source = io::Chain<Cursor<Vec<u8>>, Counted>;

impl Input {
    /// Opens a file, or standard input for `-`. What begins like gzip is unpacked.
    pub(crate) fn open(path: &Path, progress: &Progress) -> io::Result<Self> {
        let inner: Box<dyn Read> = if path == Path::new("-") {
            warn_of_terminal();
            Box::new(io::stdin())
        } else {
            let file = File::open(path)?;
            if file.metadata()?.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            Box::new(file)
        };
        let mut rest = Counted { inner, progress: progress.clone() };
        let mut start = Vec::new();
        rest.by_ref().take(2).read_to_end(&mut start)?;
        let is_gzip = start == [0x1f, 0x8b];
        let source = Cursor::new(start).chain(rest);
        Ok(if is_gzip {
            Self::Gzip(Box::new(MultiGzDecoder::new(BufReader::with_capacity(BLOCK, source))))
        } else {
            Self::Plain(source)
        })
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(input) => input.read(buffer),
            Self::Gzip(input) => input.read(buffer),
        }
    }
}

/// Says so when it waits for somebody to type.
fn warn_of_terminal() {
    if io::stdin().is_terminal() {
        eprintln!("reading from standard input; Ctrl-D ends it");
    }
}

/// Tells the bar what it has read.
pub(crate) struct Counted {
    inner: Box<dyn Read>,
    progress: Progress,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.progress.add(length as u64);
        Ok(length)
    }
}

/// A bar on a terminal's standard error, once it takes a while; gone at the end.
#[derive(Clone)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    started: Instant,
}

impl Progress {
    pub(crate) fn none() -> Self {
        Self { bar: None, started: Instant::now() }
    }

    /// For files whose sizes are known, where somebody looks on.
    pub(crate) fn of(paths: &[&Path]) -> Self {
        let size = |path: &&Path| path.metadata().ok().filter(|metadata| metadata.is_file()).map(|file| file.len());
        let total: Option<u64> = paths.iter().map(size).sum();
        let Some(total) = total.filter(|_| io::stderr().is_terminal()) else {
            return Self::none();
        };
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template("{bar:40} {percent} % of {binary_total_bytes}, {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar: Some(bar), ..Self::none() }
    }

    fn add(&self, bytes: u64) {
        let Some(bar) = &self.bar else {
            return;
        };
        bar.inc(bytes);
        if bar.is_hidden() && self.started.elapsed() > PATIENCE {
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(REDRAW_HZ));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
