//! The embedded server that all tests of a checkout share.
//!
//! Under nextest every test is a process, under `cargo test` every crate is:
//! whoever comes first starts the server, under a file lock, and leaves it
//! running. `make test` stops it afterwards; otherwise it stops by itself half
//! an hour after the last test began. It writes without fsync.

#![expect(clippy::disallowed_methods, reason = "blocks by design; callers are told so")]

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;

use super::{PATIENCE, TestDbError, template};
use crate::embedded::{Account, Embedded, EmbeddedError, Options, blocking};

const OPTIONS: Options = Options { fsync: false, max_connections: 300, detached: true };

/// Stops the server once the stamp is half an hour old, and ends with it.
///
/// Arguments: the server's `postmaster.pid`, the stamp. The process number is
/// read each time, so a server that was replaced is left alone.
const WATCH: &str = r#"
pid=$(head -n 1 "$1")
while sleep 60; do
    [ "$(head -n 1 "$1" 2>/dev/null)" = "$pid" ] || exit 0
    kill -0 "$pid" 2>/dev/null || exit 0
    [ -z "$(find "$2" -mmin +30 2>/dev/null)" ] || { kill -INT "$pid"; exit 0; }
done
"#;

/// What [`stop_shared`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// It ran, and is gone.
    Stopped,
    /// There was none.
    NotRunning,
    /// Tests of another run use it; it stays.
    InUse,
}

/// Files beside the server's own.
struct Files {
    directory: PathBuf,
    /// Taken alone by whoever starts or stops the server.
    turn: PathBuf,
    /// Held, shared, by every process that uses it. Its age is that of the last test.
    in_use: PathBuf,
}

/// The URL of the shared server's maintenance database; starts it if need be.
///
/// Blocks. This process counts as a user of the server until it ends.
///
/// # Errors
/// [`TestDbError::Embedded`] if no server can be started.
pub fn shared_url() -> Result<String, TestDbError> {
    static IN_USE: Mutex<Option<File>> = Mutex::new(None);

    let files = Files::prepare()?;
    let turn = files.open(&files.turn)?;
    turn.lock().map_err(at(&files.turn))?;
    let in_use = files.open(&files.in_use)?;
    in_use.lock_shared().map_err(at(&files.in_use))?;
    in_use.set_modified(SystemTime::now()).map_err(at(&files.in_use))?;
    *IN_USE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(in_use);

    let server = Embedded::start_with(&files.directory, OPTIONS).or_else(|error| match error {
        // Without fsync a power cut may leave a broken cluster. It holds nothing.
        EmbeddedError::Ended { .. } | EmbeddedError::OtherVersion { .. } => {
            let cluster = files.cluster();
            std::fs::remove_dir_all(&cluster).map_err(at(&cluster))?;
            Embedded::start_with(&files.directory, OPTIONS).map_err(TestDbError::from)
        }
        other => Err(other.into()),
    })?;
    let url = server.url("postgres");
    if !server.is_shared() {
        // Nobody but us can use it yet.
        blocking(PATIENCE, template::drop_all(&url))?;
        files.watch()?;
    }
    server.detach();
    Ok(url)
}

/// Stops the shared server, unless tests of another process use it.
///
/// Blocks until it is gone.
///
/// # Errors
/// [`TestDbError::Files`] if the server's directory cannot be used.
pub fn stop_shared() -> Result<Stopped, TestDbError> {
    let files = Files::prepare()?;
    let turn = files.open(&files.turn)?;
    turn.lock().map_err(at(&files.turn))?;
    let Some(pid) = Embedded::postmaster(&files.directory) else {
        return Ok(Stopped::NotRunning);
    };
    if files.open(&files.in_use)?.try_lock().is_err() {
        return Ok(Stopped::InUse);
    }
    rustix::process::kill_process(pid, Signal::INT).ok();
    let asked = Instant::now();
    while Embedded::postmaster(&files.directory).is_some() && asked.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(Stopped::Stopped)
}

impl Files {
    /// `<temporary directory>/lookout-test-<user>-<checkout>`: on a local disk,
    /// and passable for the server's user, which a checkout under /root is not.
    fn prepare() -> Result<Self, TestDbError> {
        let uid = rustix::process::geteuid().as_raw();
        let checkout = common::stable_hash(env!("CARGO_MANIFEST_DIR")) as u32;
        let directory = std::env::temp_dir().join(format!("lookout-test-{uid}-{checkout:08x}"));
        DirBuilder::new().recursive(true).mode(0o711).create(&directory).map_err(at(&directory))?;
        // Anybody may put a directory of that name into /tmp.
        let owner = directory.symlink_metadata().map_err(at(&directory))?.uid();
        if owner != uid {
            let denied = std::io::ErrorKind::PermissionDenied;
            return Err(at(&directory)(denied.into()));
        }
        Ok(Self { turn: directory.join("turn.lock"), in_use: directory.join("in-use.lock"), directory })
    }

    fn cluster(&self) -> PathBuf {
        self.directory.join("postgres").join("data")
    }

    fn open(&self, path: &Path) -> Result<File, TestDbError> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        options.open(path).map_err(at(path))
    }

    /// Leaves a process behind that stops the server when no test has begun for long.
    fn watch(&self) -> Result<(), TestDbError> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", WATCH, "lookout-test-watch"]);
        command.arg(self.cluster().join("postmaster.pid"));
        command.arg(&self.in_use);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.process_group(0);
        Account::for_directory(&self.directory.join("postgres")).apply(&mut command);
        command.spawn().map_err(at(Path::new("/bin/sh")))?;
        Ok(())
    }
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> TestDbError {
    let path = path.display().to_string();
    move |source| TestDbError::Files { path, source }
}
