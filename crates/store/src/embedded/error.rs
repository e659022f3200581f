//! Why no private Postgres is running.

use std::path::PathBuf;

/// Why [`super::Embedded::start`] failed. Every message is one line but those
/// that quote the server's log.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No server new enough on this machine.
    #[error(
        "no PostgreSQL server (15 or newer) found on this machine: install one (Debian, Ubuntu: apt-get install postgresql-15, or postgresql; macOS: brew install postgresql@17; elsewhere name its bin directory in PG_BIN), or set DATABASE_URL to a running one"
    )]
    NotInstalled,
    /// The data was written by another major version than the ones installed.
    #[error(
        "{} was written by PostgreSQL {wanted}, which is not installed: install postgresql-{wanted}, or move that directory away to start anew, or set DATABASE_URL",
        data.display()
    )]
    OtherVersion {
        /// The cluster's directory.
        data: PathBuf,
        /// Its major version.
        wanted: String,
    },
    /// As root the server runs as another user, who cannot reach the data.
    #[error(
        "Postgres runs as user {user}, who may not enter {}: run `chmod a+x {}`, or set LOOKOUT_DATA_DIR to a directory it can reach, such as /var/lib/lookout",
        directory.display(), directory.display()
    )]
    NotPassable {
        /// The topmost directory that is closed.
        directory: PathBuf,
        /// Name or number of the server's user.
        user: String,
    },
    /// The directory belongs to somebody else.
    #[error(
        "{} belongs to user id {owner}, and this process runs as {we}: run as that user, or set LOOKOUT_DATA_DIR to another directory",
        directory.display()
    )]
    NotOurs {
        /// The directory in question.
        directory: PathBuf,
        /// User id of its owner.
        owner: u32,
        /// User id of this process.
        we: u32,
    },
    /// A directory or file could not be made or used.
    #[error("cannot {action} {}: {source}; LOOKOUT_DATA_DIR chooses another place", path.display())]
    Files {
        /// What was tried, such as `create`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A program of Postgres could not be started.
    #[error("cannot run {}: {source}", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// `initdb` failed.
    #[error("initdb failed: {output}")]
    Initdb {
        /// The end of what it printed.
        output: String,
    },
    /// The server ended instead of starting.
    #[error("Postgres ended while starting ({status}); the end of {}:\n{tail}", log.display())]
    Ended {
        /// Its exit status.
        status: String,
        /// The server's log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// Neither an answer nor an end in time.
    #[error("Postgres in {} did not answer within {seconds} s; its log: {}", data.display(), log.display())]
    Silent {
        /// The cluster's directory.
        data: PathBuf,
        /// How long we waited.
        seconds: u64,
        /// The server's log.
        log: PathBuf,
    },
    /// The server answered with an error.
    #[error("Postgres started but refused a query: {0}")]
    Query(String),
}
