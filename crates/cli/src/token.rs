//! `lookout token`: makes, lists and revokes tokens for the API; `lookout hash-password`.
//!
//! It talks to Postgres and needs no running api: whoever may reach the database may do
//! this anyway. A token is printed once, alone on standard output, and kept nowhere.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand};
use comfy_table::Table;
use settings::{DatabaseArgs, Problems, SettingsError};
use store::PgConnection;
use store::embedded::{self, Embedded};
use store::pool::{self, PoolSettings};
use store::tokens::{self, Scope, Token};

use crate::text;
use crate::up::DATABASE;

pub(crate) const EXAMPLES: &str = "\
Examples:
  lookout token create --name deploys --scope write --expires 90d   printed once; may post changes and events
  lookout token create --name grafana --scope read
  lookout token list                                                who has one, and when it was last used
  lookout token revoke deploys                                      no longer good from now on

Scopes: read reads; write also tells of changes and events; admin also changes targets and services.
The database is DATABASE_URL, else the private Postgres of LOOKOUT_DATA_DIR.

Exit status: 0 done, 1 Postgres is away, 2 the settings are unusable, or there is no such token.";

pub(crate) const HASH_EXAMPLES: &str = "\
Example:
  export DASHBOARD_LOGIN=\"me:$(lookout hash-password)\"     asks for the password";

#[derive(Debug, Clone, Args)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    database: DatabaseArgs,
    /// Where the private Postgres keeps its data [default: as `lookout up`]
    #[arg(long, env = "LOOKOUT_DATA_DIR", value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Make one; it is printed once
    Create {
        /// Who gets it: 1 to 100 characters, and no other good token of that name
        #[arg(long, value_name = "NAME")]
        name: String,
        /// What it may do: read, write or admin
        #[arg(long, value_name = "SCOPE")]
        scope: String,
        /// How long it is good: 90d, 12h …, or never
        #[arg(long, value_name = "DURATION", default_value = "90d")]
        expires: String,
    },
    /// List all there were, the newest first
    List,
    /// End one at once
    Revoke {
        /// The name it was made with
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// # Errors
/// [`SettingsError`] for what cannot be done as it was said; anything else is a database that is away.
pub(crate) fn run(args: &TokenArgs) -> anyhow::Result<()> {
    let mut problems = Problems::new();
    let order = Order::of(&args.what, &mut problems);
    let url = args.database.resolve(&mut problems);
    problems.finish()?;
    let Some(order) = order else { return Ok(()) };
    // On this thread, the main one: a Postgres that is started here ends with it.
    let (url, private) = match url {
        Some(url) => (url.as_str().to_owned(), None),
        None => private(args.data_dir.clone())?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        let wrong = |reason: String| SettingsError::one(format!("DATABASE_URL (--database-url): {reason}"));
        let pool = pool::lazy(&url, &PoolSettings::WORKER).map_err(|error| wrong(error.to_string()))?;
        match pool::ping(&pool).await {
            Err(error) if error.is_refusal() => return Err(wrong(pool::explain(&pool, &error)).into()),
            other => other.with_context(|| format!("cannot reach Postgres at {}", pool::server(&pool)))?,
        }
        let version = pool::schema_version(&pool).await?.unwrap_or(0);
        anyhow::ensure!(
            version >= store::SCHEMA_VERSION,
            "the schema is at version {version} and has to be at {}; api applies the migrations",
            store::SCHEMA_VERSION
        );
        order.carry_out(&mut *pool::acquire(&pool).await?).await
    });
    if let Some(private) = private {
        private.stop();
    }
    done
}

/// The private Postgres: the one that runs, or else started for as long as this takes.
fn private(directory: Option<PathBuf>) -> anyhow::Result<(String, Option<Embedded>)> {
    let directory = directory.unwrap_or_else(embedded::default_data_dir);
    if !directory.join("postgres").exists() {
        let directory = directory.display();
        let problem = format!(
            "DATABASE_URL (--database-url): not set, and no `lookout up` has kept data in {directory} (LOOKOUT_DATA_DIR)"
        );
        return Err(SettingsError::one(problem).into());
    }
    let server = Embedded::start(&directory).map_err(SettingsError::one)?;
    Ok((server.url(DATABASE), Some(server)))
}

/// What is to be done, with everything in it judged.
enum Order {
    Create { name: String, scope: Scope, lifetime: Option<Duration> },
    List,
    Revoke { name: String },
}

impl Order {
    fn of(what: &What, problems: &mut Problems) -> Option<Self> {
        match what {
            What::Create { name, scope, expires } => {
                let before = problems.len();
                if !(1..=100).contains(&name.chars().count()) || name.chars().any(char::is_control) {
                    problems.line(format_args!("--name: {name:?} is not 1 to 100 characters that can be seen"));
                }
                let scope: Option<Scope> =
                    scope.parse().map_err(|error| problems.line(format_args!("--scope: {scope:?} {error}"))).ok();
                let lifetime =
                    lifetime(expires).map_err(|rule| problems.line(format_args!("--expires: {expires:?} {rule}")));
                (problems.len() == before).then_some(())?;
                Some(Self::Create { name: name.clone(), scope: scope?, lifetime: lifetime.ok()? })
            }
            What::List => Some(Self::List),
            What::Revoke { name } => Some(Self::Revoke { name: name.clone() }),
        }
    }

    async fn carry_out(self, connection: &mut PgConnection) -> anyhow::Result<()> {
        match self {
            Self::Create { name, scope, lifetime } => {
                let (token, digest) = api::access::new_token();
                let Some(made) = tokens::create(connection, &name, scope, &digest, lifetime).await? else {
                    let problem = format!("--name: there is a token {name:?}: revoke it first, or take another name");
                    return Err(SettingsError::one(problem).into());
                };
                let until = made.expires_at.map_or_else(|| "for ever".to_owned(), |at| format!("until {}", moment(at)));
                writeln!(std::io::stderr(), "token {name:?}, scope {scope}, good {until}; shown this once:")?;
                writeln!(std::io::stdout(), "{token}").context("writing the token")?;
            }
            Self::List => {
                let tokens = tokens::list(connection).await?;
                writeln!(std::io::stdout(), "{}", table(&tokens)).context("writing the list")?;
            }
            Self::Revoke { name } => {
                if !tokens::revoke(connection, &name).await? {
                    let problem = format!("there is no good token {name:?}: lookout token list names them");
                    return Err(SettingsError::one(problem).into());
                }
                writeln!(std::io::stderr(), "token {name:?} is no longer good")?;
            }
        }
        Ok(())
    }
}

/// How long a token is good; `None` for ever. Days are days of 24 hours.
fn lifetime(text: &str) -> Result<Option<Duration>, String> {
    if text == "never" {
        return Ok(None);
    }
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok());
    let lifetime = match days {
        Some(days) => Duration::from_secs(days.saturating_mul(24 * 60 * 60)),
        None => settings::duration::parse(text)
            .map_err(|_| "is not how long: write 90d, 12h or 30m, or never".to_owned())?,
    };
    let most = Duration::from_secs(3_650 * 24 * 60 * 60);
    if lifetime < Duration::from_secs(1) || lifetime > most {
        return Err("is not 1s to 3650d; write never for a token that is good for ever".to_owned());
    }
    Ok(Some(lifetime))
}

fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn table(tokens: &[Token]) -> Table {
    let mut table = text::table();
    table.set_header(["NAME", "SCOPE", "STATE", "MADE", "EXPIRES", "LAST USED"]);
    for token in tokens {
        let state = match token.revoked_at {
            Some(at) => format!("revoked {}", moment(at)),
            None if token.is_expired => "expired".to_owned(),
            None => "good".to_owned(),
        };
        table.add_row([
            text::harmless(&token.name),
            token.scope.to_string(),
            state,
            moment(token.created_at),
            token.expires_at.map_or_else(|| "never".to_owned(), moment),
            token.last_used_at.map_or_else(|| "never".to_owned(), moment),
        ]);
    }
    table
}

/// Reads a password from standard input and prints its hash.
///
/// # Errors
/// There is none, or the hash cannot be made.
pub(crate) fn hash_password() -> anyhow::Result<()> {
    let input = std::io::stdin();
    if input.is_terminal() {
        write!(std::io::stderr(), "password (shown as you type): ")?;
    }
    let mut password = String::new();
    input.lock().read_line(&mut password).context("reading the password")?;
    let password = password.trim_end_matches(['\n', '\r']);
    if password.len() < 8 {
        return Err(SettingsError::one("a password has at least 8 characters").into());
    }
    let hash = api::access::hash_password(password.as_bytes())
        .map_err(|error| anyhow::anyhow!("cannot hash the password: {error}"))?;
    writeln!(std::io::stdout(), "{hash}").context("writing the hash")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_days_a_duration_or_never() {
        assert_eq!(lifetime("never"), Ok(None));
        assert_eq!(lifetime("90d"), Ok(Some(Duration::from_secs(90 * 86_400))));
        assert_eq!(lifetime("12h"), Ok(Some(Duration::from_secs(12 * 3_600))));
        for wrong in ["", "d", "-1d", "90 d", "0d", "3651d", "99999999999999999999d", "18446744073709551615d", "soon"] {
            assert!(lifetime(wrong).is_err(), "{wrong}");
        }
    }
}
