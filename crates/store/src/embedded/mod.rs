//! A private Postgres, run from the server that is installed on this machine.
//!
//! For `lookout up` and for tests: no port, no password, no set-up. The cluster
//! lives in the data directory and is reached through a unix socket that only
//! its owner (and root) can open, which is why it trusts whoever connects.
//!
//! Everything here blocks, for about a second at the first start and a few
//! milliseconds when a running server is shared.

mod account;
mod error;
mod find;
mod places;
mod postmaster;
mod query;
mod server;

use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

#[cfg(feature = "testing")]
pub(crate) use account::Account;
pub use error::EmbeddedError;
use places::Places;
use query::Answer;
#[cfg(feature = "testing")]
pub(crate) use query::blocking;
use server::Running;

/// The database made at the first start.
const DATABASE: &str = "lookout";

/// The database that every cluster has, for questions before [`DATABASE`] exists.
const MAINTENANCE: &str = "postgres";

/// How a server is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// Survive a power cut; off for tests.
    pub(crate) fsync: bool,
    /// Connections at most.
    pub(crate) max_connections: u32,
    /// Outlive this process.
    pub(crate) detached: bool,
}

impl Options {
    /// For data that matters: the server ends when we do.
    const PRIVATE: Self = Self { fsync: true, max_connections: 100, detached: false };
}

/// A Postgres of our own. Stops it when dropped, if this process started it.
#[derive(Debug)]
pub struct Embedded {
    directory: PathBuf,
    options: Options,
    places: Places,
    /// `None` when we share a server that another process started.
    running: Option<Running>,
}

impl Embedded {
    /// Starts the Postgres of `data_dir`, or shares the one already running.
    ///
    /// Makes directory, cluster and the database `lookout` where they are
    /// missing, and returns when the server has answered a query: after a crash
    /// that includes recovery, however long it takes.
    ///
    /// As root the server runs as the owner of the cluster, for a new one user
    /// `postgres` or, where there is none, 65534.
    ///
    /// Blocks. **Call it from the main thread**: on Linux the kernel stops the
    /// server when the *thread* that started it ends, so that even `kill -9`
    /// leaves no server behind. Elsewhere such a server keeps running and the
    /// next start shares it.
    ///
    /// # Errors
    /// [`EmbeddedError`] says what is missing and what to do.
    pub fn start(data_dir: &Path) -> Result<Self, EmbeddedError> {
        Self::start_with(data_dir, Options::PRIVATE)
    }

    pub(crate) fn start_with(data_dir: &Path, options: Options) -> Result<Self, EmbeddedError> {
        let (places, account) = Places::prepare(data_dir)?;
        // Two starts at once would both find no server and both make one.
        let _turn = places.lock()?;
        let running = server::share_or_start(&places, &account, options)?;
        let embedded = Self { directory: data_dir.to_owned(), options, places, running };
        query::create_database(&embedded.url(MAINTENANCE), DATABASE)
            .map_err(|error| EmbeddedError::Query(error.to_string()))?;
        Ok(embedded)
    }

    /// How the server that this process started ended, if it has: killed for want of memory, say.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.running.as_mut().and_then(Running::ended)
    }

    /// Starts a server that has [ended](Self::ended) again; what it had committed is there.
    ///
    /// Blocks, and wants the main thread, as [`Embedded::start`] does.
    ///
    /// # Errors
    /// [`EmbeddedError`], as at the first start. It may be tried again.
    pub fn start_again(&mut self) -> Result<(), EmbeddedError> {
        let (places, account) = Places::prepare(&self.directory)?;
        let _turn = places.lock()?;
        self.running = server::share_or_start(&places, &account, self.options)?;
        Ok(())
    }

    /// The URL of a database on the server that runs on `data_dir`, whoever started it.
    /// `None` when none runs there. Starts and makes nothing.
    ///
    /// # Errors
    /// [`EmbeddedError`]: there is one that we may not use, or that answers with an error.
    pub fn running(data_dir: &Path, database: &str) -> Result<Option<String>, EmbeddedError> {
        let Some(places) = Places::existing(data_dir)? else { return Ok(None) };
        match query::ask(&places.url(MAINTENANCE)) {
            Answer::Ready => Ok(Some(places.url(database))),
            Answer::Silent => Ok(None),
            Answer::Starting => {
                Err(EmbeddedError::Query("it is starting or stopping, or has no connection left".to_owned()))
            }
            Answer::Refused(reason) => Err(EmbeddedError::Query(reason)),
        }
    }

    /// The URL of a database on this server, for sqlx and tokio-postgres alike.
    pub fn url(&self, database: &str) -> String {
        self.places.url(database)
    }

    /// Whether another process started the server; it then stops it too.
    pub fn is_shared(&self) -> bool {
        self.running.is_none()
    }

    /// Stops the server if this process started it: a fast shutdown, which ends
    /// open connections and rolls back what they were doing.
    ///
    /// Blocks until the server is gone, usually less than 100 ms.
    pub fn stop(self) {
        // Drop does the work.
    }

    /// The process of the server that runs on `data_dir`, whoever started it.
    #[cfg(feature = "testing")]
    pub(crate) fn postmaster(data_dir: &Path) -> Option<rustix::process::Pid> {
        let data = data_dir.canonicalize().ok()?.join("postgres").join("data");
        postmaster::named_in(&data).filter(|&pid| postmaster::is_alive(pid, &data))
    }

    /// Lets the server run on when this value is dropped.
    #[cfg(feature = "testing")]
    pub(crate) fn detach(mut self) {
        self.running = None;
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }
}

impl Places {
    fn url(&self, database: &str) -> String {
        // Port and sslmode are spelled out: PGPORT and PGSSLMODE would fill them in.
        format!(
            "postgresql:///{}?host={}&port=5432&user={}&sslmode=disable",
            utf8_percent_encode(database, NON_ALPHANUMERIC),
            utf8_percent_encode(&self.socket.to_string_lossy(), IN_HOST),
            server::SUPERUSER,
        )
    }
}

/// What is escaped in a path; slashes and the usual signs stay readable.
const IN_HOST: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');

/// Where the data goes unless `LOOKOUT_DATA_DIR` says otherwise:
/// `/var/lib/lookout` for root, else `$XDG_DATA_HOME/lookout` or
/// `~/.local/share/lookout`.
///
/// Root's home will not do: the server's user may not enter it.
pub fn default_data_dir() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/lookout");
    }
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    variable("XDG_DATA_HOME")
        // The specification says to ignore a relative path.
        .filter(|path| path.is_absolute())
        .or_else(|| variable("HOME").map(|home| home.join(".local/share")))
        .unwrap_or_else(|| PathBuf::from("/var/tmp"))
        .join("lookout")
}
