//! Prints reports from a thread of its own, so that a reader who takes his time delays no cycle.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::run::{Audience, Report};
use super::{Format, json, text};

/// Reports that may wait for a reader. One that is left out is no loss of counts: those of the next include them.
const WAITING: usize = 64;

/// How often the progress line moves.
const TICK: Duration = Duration::from_millis(100);

/// Where reports go.
pub(super) struct Printer {
    reports: SyncSender<Report>,
    thread: JoinHandle<io::Result<()>>,
    progress: Arc<Progress>,
    left_out: u64,
}

/// How far the running cycle is.
#[derive(Debug)]
struct Progress {
    endpoints: usize,
    is_running: AtomicBool,
    cycle: AtomicU32,
    answered: AtomicUsize,
}

impl Printer {
    /// Starts the thread. When it cannot write any more, it cancels `stop`; [`Printer::finish`] says why.
    ///
    /// # Errors
    /// There can be no thread.
    pub(super) fn start(format: Format, endpoints: usize, stop: CancellationToken) -> io::Result<Self> {
        let (reports, receiver) = mpsc::sync_channel(WAITING);
        let progress = Arc::new(Progress {
            endpoints,
            is_running: AtomicBool::new(false),
            cycle: AtomicU32::new(0),
            answered: AtomicUsize::new(0),
        });
        let line = io::stderr().is_terminal().then(|| Line { progress: Arc::clone(&progress), bar: None });
        let thread = thread::Builder::new().name("printer".to_owned()).spawn(move || {
            let result = print_all(format, &receiver, line);
            if result.is_err() {
                stop.cancel();
            }
            result
        })?;
        Ok(Self { reports, thread, progress, left_out: 0 })
    }

    /// Prints the last report after those that wait, and returns when everything is written.
    ///
    /// # Errors
    /// What was wrong with standard output, now or before.
    pub(super) fn finish(self, report: Report) -> io::Result<()> {
        self.progress.is_running.store(false, Relaxed);
        self.tell_left_out();
        // The thread has gone only after an error, which it tells.
        let _ = self.reports.send(report);
        drop(self.reports);
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the printer failed; this is a bug in lookout")))
    }

    fn tell_left_out(&self) {
        if self.left_out > 0 {
            warn!("{} cycles were not printed, because nobody read standard output", self.left_out);
        }
    }
}

impl Audience for Printer {
    fn starts(&mut self, cycle: u32) {
        self.progress.cycle.store(cycle, Relaxed);
        self.progress.answered.store(0, Relaxed);
        self.progress.is_running.store(true, Relaxed);
    }

    fn answered(&mut self) {
        self.progress.answered.fetch_add(1, Relaxed);
    }

    fn report(&mut self, report: Report) {
        self.progress.is_running.store(false, Relaxed);
        match self.reports.try_send(report) {
            Ok(()) => {
                self.tell_left_out();
                self.left_out = 0;
            }
            Err(TrySendError::Full(_)) => self.left_out += 1,
            // It could not write, and has stopped the run.
            Err(TrySendError::Disconnected(_)) => {}
        }
    }
}

fn print_all(format: Format, reports: &Receiver<Report>, mut line: Option<Line>) -> io::Result<()> {
    while let Some(report) = next(reports, line.as_mut()) {
        if let Some(line) = &mut line {
            line.clear();
        }
        print(format, |out| match format {
            Format::Text => text::write(out, &report),
            Format::Json => json::write(out, &report),
        })?;
    }
    Ok(())
}

/// Waits for the next report and keeps the progress line moving meanwhile.
fn next(reports: &Receiver<Report>, line: Option<&mut Line>) -> Option<Report> {
    let Some(line) = line else {
        return reports.recv().ok();
    };
    loop {
        match reports.recv_timeout(TICK) {
            Ok(report) => return Some(report),
            Err(RecvTimeoutError::Timeout) => line.draw(),
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
}

/// Writes to standard output. Colours are taken out of text unless a terminal shows them and NO_COLOR is not set.
pub(super) fn print(format: Format, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out: Box<dyn Write> = match format {
        Format::Text => Box::new(BufWriter::new(anstream::AutoStream::auto(io::stdout()))),
        Format::Json => Box::new(BufWriter::new(io::stdout().lock())),
    };
    write(&mut out).and_then(|()| out.flush())
}

/// The progress line on a terminal's standard error; there only while a cycle runs.
struct Line {
    progress: Arc<Progress>,
    bar: Option<ProgressBar>,
}

impl Line {
    fn draw(&mut self) {
        if !self.progress.is_running.load(Relaxed) {
            return self.clear();
        }
        let bar = self.bar.get_or_insert_with(|| {
            let target = ProgressDrawTarget::stderr();
            let bar = ProgressBar::with_draw_target(Some(self.progress.endpoints as u64), target);
            let style = ProgressStyle::with_template("cycle {msg}: {pos} of {len} have answered");
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        bar.set_message(self.progress.cycle.load(Relaxed).to_string());
        bar.set_position(self.progress.answered.load(Relaxed) as u64);
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
