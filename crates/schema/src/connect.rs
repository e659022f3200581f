//! One connection to Postgres from a URL, read the way `store`'s pool reads it.
//!
//! tokio-postgres' own parser is not used: it rejects `verify-full` and the
//! parameters that only sqlx knows, and one URL has to serve both.

use std::error::Error as _;
use std::path::Path;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio::task::JoinHandle;
use tokio_postgres::config::{Config, Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};
use url::Url;

use crate::error::SchemaError;
use crate::tls::{Check, Files, connector};

/// How long a connection may take from the first packet to the end of the login.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where to connect and how.
pub(crate) struct Server {
    config: Config,
    check: Check,
    files: Files,
}

impl Server {
    /// Reads a `postgresql://` URL; `variable` looks up what it leaves out.
    pub(crate) fn parse(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self, SchemaError> {
        if !text.starts_with("postgresql://") && !text.starts_with("postgres://") {
            return Err(malformed("it must start with postgresql://"));
        }
        let url = Url::parse(text).map_err(|error| malformed(error.to_string()))?;
        let mut config = Config::new();
        let (mut host, mut port) = (variable("PGHOST"), variable("PGPORT"));
        let (mut user, mut password) = (variable("PGUSER"), variable("PGPASSWORD"));
        let (mut database, mut mode) = (variable("PGDATABASE"), variable("PGSSLMODE"));
        let mut files = Files::default();

        // Each part overrules the variable, a parameter overrules the part.
        let set = |slot: &mut Option<String>, value: &str| -> Result<(), SchemaError> {
            if !value.is_empty() {
                let decoded = percent_decode_str(value).decode_utf8();
                let decoded = decoded.map_err(|_| malformed("it holds bytes that are not UTF-8"))?;
                *slot = Some(decoded.into_owned());
            }
            Ok(())
        };
        let url_host = url.host_str().unwrap_or_default();
        set(&mut host, url_host.trim_matches(['[', ']']))?;
        set(&mut user, url.username())?;
        set(&mut password, url.password().unwrap_or_default())?;
        set(&mut database, url.path().trim_start_matches('/'))?;
        if let Some(number) = url.port() {
            port = Some(number.to_string());
        }
        for (key, value) in url.query_pairs() {
            let value = value.into_owned();
            match &*key {
                "host" | "hostaddr" => host = Some(value),
                "port" => port = Some(value),
                "user" => user = Some(value),
                "password" => password = Some(value),
                "dbname" => database = Some(value),
                "sslmode" | "ssl-mode" => mode = Some(value),
                "sslrootcert" | "ssl-root-cert" | "ssl-ca" => files.roots = Some(value.into()),
                "sslcert" | "ssl-cert" => files.certificate = Some(value.into()),
                "sslkey" | "ssl-key" => files.key = Some(value.into()),
                "options" => {
                    config.options(value);
                }
                "application_name" => {
                    config.application_name(value);
                }
                // sqlx warns about the ones it does not know either.
                _ => {}
            }
        }

        let port: u16 = match port.as_deref() {
            None | Some("") => 5432,
            Some(port) => port.parse().map_err(|_| malformed("invalid port number"))?,
        };
        config.port(port);
        let host = host.filter(|host| !host.is_empty());
        config.host(host.unwrap_or_else(|| default_host(port)));
        if let Some(user) = user {
            config.user(user);
        }
        if let Some(password) = password {
            config.password(password);
        }
        if let Some(database) = database {
            config.dbname(database);
        }
        if config.get_application_name().is_none() {
            config.application_name("lookout migrate");
        }
        let (mode, check) = match mode.as_deref() {
            Some("disable" | "allow") => (SslMode::Disable, Check::Nothing),
            None | Some("" | "prefer") => (SslMode::Prefer, Check::Nothing),
            Some("require") => (SslMode::Require, Check::Nothing),
            Some("verify-ca") => (SslMode::Require, Check::Issuer),
            Some("verify-full") => (SslMode::Require, Check::IssuerAndName),
            Some(_) => {
                return Err(malformed("sslmode must be disable, allow, prefer, require, verify-ca or verify-full"));
            }
        };
        config.ssl_mode(mode);
        if matches!(config.get_hosts(), [Host::Unix(_)]) {
            config.ssl_mode(SslMode::Disable);
        }
        Ok(Self { config, check, files })
    }

    /// How errors name the server: no user, no password.
    pub(crate) fn name(&self) -> String {
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) if host.contains(':') => format!("[{host}]:{port}"),
            Some(Host::Tcp(host)) => format!("{host}:{port}"),
            Some(Host::Unix(path)) => format!("{}/.s.PGSQL.{port}", path.display()),
            None => "localhost".to_owned(),
        }
    }

    /// Connects. The task ends when the client is dropped and the socket closed.
    ///
    /// # Errors
    /// Anything of [`SchemaError`] but the errors about migrations.
    pub(crate) async fn connect(&self) -> Result<(Client, JoinHandle<()>), SchemaError> {
        let tls =
            connector(self.check, &self.files).map_err(|reason| SchemaError::Tls { server: self.name(), reason })?;
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, self.config.connect(tls));
        let (client, connection) = match connecting.await {
            Ok(Ok(pair)) => pair,
            Ok(Err(error)) => return Err(self.connect_error(&error)),
            Err(_) => {
                return Err(SchemaError::Unreachable {
                    server: self.name(),
                    reason: format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()),
                });
            }
        };
        // An error here also reaches the query that waits for the connection.
        let task = tokio::spawn(async move {
            connection.await.ok();
        });
        Ok((client, task))
    }

    fn connect_error(&self, error: &Error) -> SchemaError {
        let server = self.name();
        let reason = explain(error);
        match error.code() {
            Some(&SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => {
                SchemaError::Login { server, reason }
            }
            Some(&SqlState::INVALID_CATALOG_NAME) => SchemaError::NoDatabase { server, reason },
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => SchemaError::Privilege { server, reason },
            Some(code) if passes_by_itself(code) => SchemaError::Unreachable { server, reason },
            Some(_) => SchemaError::Database { server, reason },
            None => match trouble(error) {
                // tokio-postgres keeps its kind private and the text is stable.
                _ if reason.ends_with("password missing") || reason.starts_with("authentication error") => {
                    SchemaError::Login { server, reason }
                }
                Trouble::Network => SchemaError::Unreachable { server, reason },
                Trouble::Tls => SchemaError::Tls { server, reason },
                Trouble::Other => SchemaError::Database { server, reason },
            },
        }
    }

    /// An error of a statement on an open connection.
    pub(crate) fn query_error(&self, action: &str, error: &Error) -> SchemaError {
        let server = self.name();
        let reason = explain(error);
        let lost = error.is_closed()
            || matches!(trouble(error), Trouble::Network)
            || error.code().is_some_and(passes_by_itself);
        if lost {
            SchemaError::Unreachable { server, reason }
        } else if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
            SchemaError::Privilege { server, reason }
        } else {
            let reason =
                if action.starts_with("error applying migration") { reason } else { format!("{action}: {reason}") };
            SchemaError::Database { server, reason }
        }
    }
}

/// Connection lost, server starting or stopping, or no connection left.
fn passes_by_itself(code: &SqlState) -> bool {
    code.code().starts_with("08") || code.code().starts_with("57P0") || code.code() == "53300"
}

enum Trouble {
    Network,
    Tls,
    Other,
}

fn trouble(error: &Error) -> Trouble {
    let mut source = error.source();
    while let Some(current) = source {
        if let Some(io) = current.downcast_ref::<std::io::Error>() {
            let rustls = io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
            return if rustls { Trouble::Tls } else { Trouble::Network };
        }
        source = current.source();
    }
    if error.to_string().contains("TLS") { Trouble::Tls } else { Trouble::Other }
}

/// The message of Postgres with detail and hint, or the chain of causes.
fn explain(error: &Error) -> String {
    if let Some(db) = error.as_db_error() {
        let mut text = db.message().to_owned();
        for more in [db.detail(), db.hint()].into_iter().flatten() {
            text.push_str(" - ");
            text.push_str(more);
        }
        return text;
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(current) = source {
        text = format!("{text}: {current}");
        source = current.source();
    }
    text
}

fn malformed(reason: impl Into<String>) -> SchemaError {
    SchemaError::Url(reason.into())
}

/// The server of this machine: its socket where distributions put it, as sqlx does.
fn default_host(port: u16) -> String {
    ["/var/run/postgresql", "/private/tmp", "/tmp"]
        .into_iter()
        .find(|directory| Path::new(directory).join(format!(".s.PGSQL.{port}")).exists())
        .unwrap_or("localhost")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Server, SchemaError> {
        Server::parse(url, |_| None)
    }

    #[test]
    fn a_unix_socket_is_found_in_the_host_parameter() {
        let server = parse("postgresql:///db?host=/some%20dir&user=app&sslmode=require").unwrap();
        assert_eq!(server.name(), "/some dir/.s.PGSQL.5432");
        assert_eq!(server.config.get_dbname(), Some("db"));
        assert_eq!(server.config.get_user(), Some("app"));
        assert_eq!(server.config.get_ssl_mode(), SslMode::Disable);
    }

    #[test]
    fn user_password_and_database_are_percent_decoded() {
        let server = parse("postgres://a%40b:p%2Fw&d=x+@[::1]:6000/d%20b").unwrap();
        assert_eq!(server.name(), "[::1]:6000");
        assert_eq!(server.config.get_user(), Some("a@b"));
        assert_eq!(server.config.get_password(), Some(&b"p/w&d=x+"[..]));
        assert_eq!(server.config.get_dbname(), Some("d b"));
    }

    #[test]
    fn the_url_overrules_the_variables() {
        let variable = |name: &str| Some(format!("env-{}", name.to_lowercase()));
        let server = Server::parse("postgresql://me@db:1/x?sslmode=disable", variable).unwrap();
        assert_eq!(server.name(), "db:1");
        assert_eq!(server.config.get_user(), Some("me"));
        assert_eq!(server.config.get_password(), Some(&b"env-pgpassword"[..]));
    }

    #[test]
    fn malformed_urls_are_told_apart_and_show_no_password() {
        for url in [
            "postgresql://u:s3cret@host:99999/db",
            "mysql://u:s3cret@host/db",
            "u:s3cret@host",
            "host=x password=s3cret",
            "postgresql://u:s3cret@host/db?sslmode=s3cret",
            "postgresql://u:s3cret@host/db?port=s3cret",
        ] {
            let Err(error) = parse(url) else { panic!("{url} was accepted") };
            assert!(matches!(error, SchemaError::Url(_)), "{error}");
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn verifying_modes_demand_encryption_and_a_check() {
        let server = parse("postgresql://h/db?sslmode=verify-full").unwrap();
        assert_eq!(server.config.get_ssl_mode(), SslMode::Require);
        assert!(matches!(server.check, Check::IssuerAndName));
        let server = parse("postgresql://h/db?sslmode=verify-ca").unwrap();
        assert!(matches!(server.check, Check::Issuer));
        let server = parse("postgresql://h/db").unwrap();
        assert_eq!(server.config.get_ssl_mode(), SslMode::Prefer);
        assert!(matches!(server.check, Check::Nothing));
    }

    #[tokio::test]
    async fn a_port_nobody_listens_on_is_unreachable_and_worth_another_try() {
        let server = parse("postgresql://me:s3cret@127.0.0.1:1/db").unwrap();
        let error = server.connect().await.err().unwrap();
        assert!(error.is_retryable(), "{error}");
        assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}
