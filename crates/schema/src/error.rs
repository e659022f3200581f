//! Why a database could not be brought up to date.

/// Why [`crate::migrate`] failed. No message shows a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// The URL cannot be read.
    #[error("malformed database URL: {0}")]
    Url(String),
    /// Nobody answers, or the server is starting, stopping or full.
    #[error("cannot reach Postgres at {server}: {reason}")]
    Unreachable {
        /// Host and port, or the socket's directory.
        server: String,
        /// What the network or the server said.
        reason: String,
    },
    /// Wrong password, unknown user, or no access from here.
    #[error("Postgres at {server} refuses the login: {reason}")]
    Login {
        /// Host and port, or the socket's directory.
        server: String,
        /// What the server said.
        reason: String,
    },
    /// The server has no database of that name.
    #[error("Postgres at {server} has no such database: {reason}")]
    NoDatabase {
        /// Host and port, or the socket's directory.
        server: String,
        /// What the server said; it names the database.
        reason: String,
    },
    /// No encryption, or a certificate that does not hold.
    #[error("no secure connection to Postgres at {server}: {reason}")]
    Tls {
        /// Host and port.
        server: String,
        /// What was wrong.
        reason: String,
    },
    /// The server is older than lookout supports.
    #[error("Postgres at {server} is version {found}: lookout needs 15 or newer")]
    TooOld {
        /// Host and port, or the socket's directory.
        server: String,
        /// Its major version.
        found: i32,
    },
    /// The user may connect, and not do what the migrations do.
    #[error(
        "Postgres at {server} lets this user do too little: {reason} (make it the owner of the database, or grant it what is missing)"
    )]
    Privilege {
        /// Host and port, or the socket's directory.
        server: String,
        /// What the server said; it names what may not be touched.
        reason: String,
    },
    /// A migration failed and was rolled back; those before it stay.
    #[error("migration {name} failed{}: {reason}", line.map(|line| format!(" at line {line}")).unwrap_or_default())]
    Migration {
        /// File name without its ending.
        name: String,
        /// Line in the file, where Postgres knows it.
        line: Option<usize>,
        /// What Postgres said.
        reason: String,
    },
    /// The database got another text under the same number.
    #[error(
        "migration {name} differs from what the database applied as {applied}: an applied migration must not be edited"
    )]
    Diverged {
        /// The migration as this binary has it.
        name: String,
        /// The migration as the database knows it.
        applied: String,
    },
    /// The database is past this migration but never got it.
    #[error("migration {name} was never applied, and newer ones were: give it the next free number")]
    OutOfOrder {
        /// File name without its ending.
        name: String,
    },
    /// Anything else Postgres reports.
    #[error("Postgres at {server}: {reason}")]
    Database {
        /// Host and port, or the socket's directory.
        server: String,
        /// What Postgres said.
        reason: String,
    },
}

impl SchemaError {
    /// Whether the same call may succeed later without anyone changing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}
