//! What can go wrong in the database, sorted by what a caller can do about it.

/// A failed database operation.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Postgres cannot be reached or cannot serve now; trying again may help.
    #[error("postgres is unavailable: {0}")]
    Unavailable(sqlx::Error),
    /// Postgres refuses these credentials.
    #[error("postgres refuses the login: {0}")]
    Login(String),
    /// The server cannot be talked to as the URL says.
    #[error("{0}")]
    Settings(String),
    /// The user may connect, and not do what we do.
    #[error("postgres lets this user do too little: {0} (grant it what is missing, or use the owner of the tables)")]
    Privilege(String),
    /// The database named in the URL does not exist.
    #[error("{0}")]
    NoDatabase(String),
    /// No partition takes a row of this time.
    #[error("no partition for a row: {0}")]
    NoPartition(sqlx::Error),
    /// Anything else Postgres reports.
    #[error("database error: {0}")]
    Database(sqlx::Error),
}

impl StoreError {
    /// For a caller whose own patience ended before Postgres answered.
    pub fn deadline_passed() -> Self {
        Self::Unavailable(sqlx::Error::PoolTimedOut)
    }

    /// Whether nothing can be done with the database that the URL leads to, now or later.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Login(_) | Self::NoDatabase(_) | Self::Settings(_) | Self::Privilege(_))
    }

    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// Whether Postgres has no room left on its disk (53100, disk_full).
    pub fn is_disk_full(&self) -> bool {
        let Self::Unavailable(error) = self else { return false };
        error.as_database_error().and_then(|reported| reported.code()).is_some_and(|code| code == "53100")
    }

    /// Whether it is about what one of the rows says, so that the others may be taken without it:
    /// a value that does not fit its column, or a constraint.
    pub fn is_about_a_row(&self) -> bool {
        let Self::Database(error) = self else { return false };
        match error {
            // data exception, integrity constraint violation
            sqlx::Error::Database(reported) => {
                reported.code().is_some_and(|code| matches!(code.get(..2), Some("22" | "23")))
            }
            sqlx::Error::Encode(_) => true,
            _ => false,
        }
    }

    /// Which rule of Postgres it was: the code and a constraint's name, nothing that a row says.
    pub fn rule(&self) -> String {
        let reported = match self {
            Self::Unavailable(error) | Self::NoPartition(error) | Self::Database(error) => error.as_database_error(),
            _ => None,
        };
        let code = reported.and_then(|reported| reported.code()).unwrap_or_default();
        let constraint = reported.and_then(|reported| reported.constraint());
        constraint.map_or(format!("SQLSTATE {code}"), |name| format!("SQLSTATE {code}, constraint {name}"))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(reported) => {
                let message = reported.message().to_owned();
                match reported.code().as_deref().unwrap_or_default() {
                    // invalid_password, invalid_authorization_specification
                    "28P01" | "28000" => Self::Login(message),
                    // insufficient_privilege
                    "42501" => Self::Privilege(message),
                    "3D000" => Self::NoDatabase(message),
                    // check_violation is what a partitioned table without a fitting partition raises
                    "23514" if message.contains("no partition") => Self::NoPartition(error),
                    // connection exceptions, insufficient resources, operator intervention
                    // (shutdown, starting up, statement timeout), deadlock, serialization failure
                    code if ["08", "53", "57", "40"].contains(&code.get(..2).unwrap_or_default()) => {
                        Self::Unavailable(error)
                    }
                    // lock_not_available
                    "55P03" => Self::Unavailable(error),
                    _ => Self::Database(error),
                }
            }
            sqlx::Error::Tls(reason) => Self::Settings(format!("no secure connection: {reason}")),
            sqlx::Error::Configuration(reason) => Self::Settings(reason.to_string()),
            sqlx::Error::Io(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
            _ => Self::Database(error),
        }
    }
}
