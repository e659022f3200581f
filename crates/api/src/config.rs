//! What the api is told: flags, with environment variables behind them.

use std::fmt;
use std::net::SocketAddr;

use clap::Args;
use common::Reach;
use settings::{DatabaseArgs, Problems, ReachArgs};

/// Where the api listens unless said otherwise.
pub const DEFAULT_ADDR: &str = "127.0.0.1:8080";

/// Flags of the `api` binary and of `lookout up`, less the database.
#[derive(Clone, Args)]
#[command(next_help_heading = "API")]
pub struct ListenArgs {
    /// Where the API listens [default: 127.0.0.1:8080]
    #[arg(long, env = "API_ADDR", value_name = "IP:PORT")]
    pub api_addr: Option<String>,

    /// Whether reading needs no token: on or off [default: on when API_ADDR is loopback, otherwise off]
    #[arg(long, env = "PUBLIC_READ", value_name = "on|off")]
    pub public_read: Option<String>,

    /// Whether there is a public status page at /public: on or off [default: off]
    #[arg(long, env = "PUBLIC_PAGE", value_name = "on|off")]
    pub public_page: Option<String>,

    /// Bearer token for reading where PUBLIC_READ is off, and for writing; at least 16 characters
    #[arg(long, env = "API_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub api_token: Option<String>,
}

/// Flags of the `api` binary.
#[derive(Debug, Clone, Args)]
pub struct ApiArgs {
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    reach: ReachArgs,
}

/// The api's configuration, validated.
#[derive(Clone)]
pub struct Config {
    /// Where Postgres is.
    pub database_url: String,
    /// Who may do what, and where.
    pub listen: ListenSettings,
}

/// What [`ListenArgs`] come to.
#[derive(Clone)]
pub struct ListenSettings {
    /// Where to listen; port 0 takes a free one.
    pub addr: SocketAddr,
    /// Reading needs no token.
    pub public_read: bool,
    /// There is a public page, and badges, for everybody.
    pub public_page: bool,
    /// The token that may read and write.
    pub token: Option<String>,
    /// How far targets that are made here may reach.
    pub api_targets: Reach,
}

impl ListenSettings {
    /// What holds where nothing is set but the address; reading is open on loopback.
    pub fn at(addr: SocketAddr) -> Self {
        let public_read = addr.ip().is_loopback();
        Self { addr, public_read, public_page: false, token: None, api_targets: Reach::default() }
    }
}

impl ApiArgs {
    /// Validates everything and reports all problems at once. `None` when there are any.
    pub fn resolve(&self, problems: &mut Problems) -> Option<Config> {
        let database_url = self.database.require(problems);
        let listen = self.listen.resolve(&self.reach, problems);
        Some(Config { database_url: database_url?.as_str().to_owned(), listen: listen? })
    }
}

impl ListenArgs {
    /// Validates the flags and reports all problems at once. `None` when there are any.
    pub fn resolve(&self, reach: &ReachArgs, problems: &mut Problems) -> Option<ListenSettings> {
        let before = problems.len();
        let api_targets = reach.resolve(problems);
        let raw = self.api_addr.as_deref().unwrap_or(DEFAULT_ADDR);
        let addr: Option<SocketAddr> = raw
            .parse()
            .map_err(|_| problems.value("API_ADDR", "--api-addr", raw, "is no address like 127.0.0.1:8080"))
            .ok();
        let is_loopback = addr.is_some_and(|addr| addr.ip().is_loopback());
        let public_read = switch(self.public_read.as_deref(), is_loopback, ("PUBLIC_READ", "--public-read"), problems);
        let public_page = switch(self.public_page.as_deref(), false, ("PUBLIC_PAGE", "--public-page"), problems);
        if self.api_token.as_ref().is_some_and(|token| token.len() < 16) {
            problems.secret("API_TOKEN", "--api-token", "is shorter than 16 characters");
        }
        if problems.len() != before {
            return None;
        }
        if !public_read && self.api_token.is_none() {
            tracing::warn!(
                "nobody can read: PUBLIC_READ (--public-read) is off and API_TOKEN (--api-token) is not set"
            );
        }
        Some(ListenSettings { addr: addr?, public_read, public_page, token: self.api_token.clone(), api_targets })
    }
}

/// `on` or `off`.
fn switch(raw: Option<&str>, default: bool, (variable, flag): (&str, &str), problems: &mut Problems) -> bool {
    match raw {
        None => default,
        Some("on") => true,
        Some("off") => false,
        Some(raw) => {
            problems.value(variable, flag, raw, "is neither on nor off");
            false
        }
    }
}

impl fmt::Debug for ListenArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenArgs").field("api_addr", &self.api_addr).finish_non_exhaustive()
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("addr", &self.listen.addr).finish_non_exhaustive()
    }
}

impl fmt::Debug for ListenSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenSettings").field("addr", &self.addr).finish_non_exhaustive()
    }
}
