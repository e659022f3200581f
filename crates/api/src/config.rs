//! What the api is told: flags, with environment variables behind them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

use clap::Args;
use common::Reach;
use ipnet::IpNet;
use settings::{DatabaseArgs, DatabaseUrl, Problems, ReachArgs};

use crate::access::Login;

/// Where the api listens unless said otherwise.
pub const DEFAULT_ADDR: &str = "127.0.0.1:8080";

/// Requests a second from one address or with one token, unless said otherwise: a page makes about ten.
pub const DEFAULT_RATE_LIMIT: Option<NonZeroU32> = NonZeroU32::new(200);

/// Connections at once, unless said otherwise.
pub const DEFAULT_MAX_CONNECTIONS: usize = 10_000;

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

    /// Requests a second from one address, and with one token; ten times as many at once. 0 for no limit [default: 200]
    #[arg(long, env = "RATE_LIMIT", value_name = "N")]
    pub rate_limit: Option<String>,

    /// Proxies whose X-Forwarded-For says who asks: addresses or networks, separated by commas [default: none]
    #[arg(long, env = "TRUSTED_PROXIES", value_name = "IP,NET")]
    pub trusted_proxies: Option<String>,

    /// Connections at once; more wait to be accepted [default: 10000]
    #[arg(long, env = "MAX_CONNECTIONS", value_name = "N")]
    pub max_connections: Option<String>,

    /// User and password before everything that is read, dashboard included, as user:hash with a hash of
    /// `lookout hash-password`. Not with PUBLIC_READ on
    #[arg(long, env = "DASHBOARD_LOGIN", value_name = "USER:HASH", hide_env_values = true)]
    pub dashboard_login: Option<String>,
}

/// Flags of the `api` binary.
#[derive(Debug, Clone, Args)]
pub struct ApiArgs {
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    migrations: MigrationArgs,
    #[command(flatten)]
    reach: ReachArgs,
}

/// Who owns the schema.
#[derive(Clone, Default, Args)]
#[command(next_help_heading = "Database")]
pub struct MigrationArgs {
    /// The same database as the role that owns the schema, for migrations alone [default: DATABASE_URL]
    #[arg(long, env = "MIGRATION_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    migration_database_url: Option<String>,
    /// The password of that role, where the URL has none [default: PGPASSWORD]
    #[arg(long, env = "MIGRATION_PASSWORD", value_name = "PASSWORD", hide_env_values = true)]
    migration_password: Option<String>,
}

impl MigrationArgs {
    /// The URL, where there is one of its own. A wrong one is noted.
    pub fn resolve(&self, problems: &mut Problems) -> Option<String> {
        let raw = self.migration_database_url.as_deref()?;
        let url = DatabaseUrl::parse(raw);
        let url = url.map_err(|error| problems.secret("MIGRATION_DATABASE_URL", "--migration-database-url", error));
        let url = match &self.migration_password {
            Some(password) => url.ok()?.or_password(password),
            None => url.ok()?,
        };
        Some(url.as_str().to_owned())
    }
}

impl fmt::Debug for MigrationArgs {
    /// The raw text may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MigrationArgs").finish_non_exhaustive()
    }
}

/// The api's configuration, validated.
#[derive(Clone)]
pub struct Config {
    /// Where Postgres is.
    pub database_url: String,
    /// The same as the role that owns the schema, where that is another one.
    pub migration_database_url: Option<String>,
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
    /// But only for whoever asks for this machine by an address or as `localhost`: nobody said that reading is open
    /// under other names, and a page of another site may have its own lead here.
    pub by_own_name: bool,
    /// There is a public page, and badges, for everybody.
    pub public_page: bool,
    /// The token that may read and write.
    pub token: Option<String>,
    /// How far targets that are made here may reach.
    pub api_targets: Reach,
    /// Requests a second from one address, and with one token.
    pub rate_limit: Option<NonZeroU32>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Connections at once.
    pub max_connections: usize,
    /// Who may read with a browser's login.
    pub login: Option<Login>,
}

impl ListenSettings {
    /// What holds where nothing is set but the address; reading is open on loopback.
    pub fn at(addr: SocketAddr) -> Self {
        let public_read = addr.ip().is_loopback();
        Self {
            addr,
            public_read,
            by_own_name: true,
            public_page: false,
            token: None,
            api_targets: Reach::default(),
            rate_limit: DEFAULT_RATE_LIMIT,
            trusted_proxies: Vec::new(),
            max_connections: DEFAULT_MAX_CONNECTIONS,
            login: None,
        }
    }
}

impl ApiArgs {
    /// Validates everything and reports all problems at once. `None` when there are any.
    pub fn resolve(&self, problems: &mut Problems) -> Option<Config> {
        let database_url = self.database.require(problems);
        let migration_database_url = self.migrations.resolve(problems);
        let listen = self.listen.resolve(&self.reach, problems);
        Some(Config { database_url: database_url?.as_str().to_owned(), migration_database_url, listen: listen? })
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
        let login = self.dashboard_login.as_deref().and_then(|text| {
            Login::parse(text).map_err(|error| problems.secret("DASHBOARD_LOGIN", "--dashboard-login", error)).ok()
        });
        // Whoever sets a login wants it asked for.
        let is_open = is_loopback && self.dashboard_login.is_none();
        let public_read = switch(self.public_read.as_deref(), is_open, ("PUBLIC_READ", "--public-read"), problems);
        if public_read && self.dashboard_login.is_some() {
            problems.line(
                "PUBLIC_READ (--public-read) is on, so that everybody may read, and DASHBOARD_LOGIN (--dashboard-login) is set: leave one of them out",
            );
        }
        let public_page = switch(self.public_page.as_deref(), false, ("PUBLIC_PAGE", "--public-page"), problems);
        if self.api_token.as_ref().is_some_and(|token| token.len() < 16) {
            problems.secret("API_TOKEN", "--api-token", "is shorter than 16 characters");
        }
        let mut number = |variable, flag, raw: &Option<String>, default: u32, least: u32| {
            let Some(raw) = raw.as_deref() else { return default };
            raw.trim().parse().ok().filter(|number| (least..=1_000_000).contains(number)).unwrap_or_else(|| {
                problems.value(variable, flag, raw, format_args!("is no whole number from {least} to 1000000"));
                default
            })
        };
        let usual = DEFAULT_RATE_LIMIT.map_or(0, NonZeroU32::get);
        let rate_limit = NonZeroU32::new(number("RATE_LIMIT", "--rate-limit", &self.rate_limit, usual, 0));
        let usual = u32::try_from(DEFAULT_MAX_CONNECTIONS).unwrap_or(u32::MAX);
        let max_connections = number("MAX_CONNECTIONS", "--max-connections", &self.max_connections, usual, 10);
        let trusted_proxies = proxies(self.trusted_proxies.as_deref().unwrap_or_default(), problems);
        if problems.len() != before {
            return None;
        }
        if !public_read && self.api_token.is_none() && login.is_none() {
            tracing::warn!(
                "PUBLIC_READ (--public-read) is off and API_TOKEN (--api-token) is not set: only tokens of `lookout token create` may read"
            );
        }
        Some(ListenSettings {
            addr: addr?,
            public_read,
            by_own_name: self.public_read.is_none(),
            public_page,
            token: self.api_token.clone(),
            api_targets,
            rate_limit,
            trusted_proxies,
            max_connections: max_connections as usize,
            login,
        })
    }
}

/// Addresses and networks, separated by commas or white space.
fn proxies(raw: &str, problems: &mut Problems) -> Vec<IpNet> {
    let mut nets = Vec::new();
    for word in raw.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty()) {
        match word.parse().or_else(|_| word.parse::<IpAddr>().map(IpNet::from)) {
            Ok(net) => nets.push(net),
            Err(_) => problems.value(
                "TRUSTED_PROXIES",
                "--trusted-proxies",
                word,
                "is no address like 10.0.0.1 and no network like 10.0.0.0/8",
            ),
        }
    }
    nets
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

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing() -> ListenArgs {
        ListenArgs {
            api_addr: None,
            public_read: None,
            public_page: None,
            api_token: None,
            rate_limit: None,
            trusted_proxies: None,
            max_connections: None,
            dashboard_login: None,
        }
    }

    #[test]
    fn c49_settings_that_are_wrong_are_named_all_at_once_and_secrets_are_not_shown() {
        let text = |text: &str| Some(text.to_owned());
        let args = ListenArgs {
            public_read: text("on"),
            api_token: text("canary"),
            rate_limit: text("many"),
            trusted_proxies: text("10.0.0.0/8, proxy"),
            max_connections: text("1"),
            dashboard_login: text("me:canary"),
            ..nothing()
        };
        let mut problems = Problems::new();
        assert!(args.resolve(&ReachArgs { api_targets: text("all") }, &mut problems).is_none());
        let said = problems.finish().unwrap_err();
        let names: Vec<&str> = said.lines().iter().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(
            names,
            [
                "API_TARGETS",
                "DASHBOARD_LOGIN",
                "PUBLIC_READ",
                "API_TOKEN",
                "RATE_LIMIT",
                "MAX_CONNECTIONS",
                "TRUSTED_PROXIES"
            ]
        );
        assert!(!said.to_string().contains("canary"), "{said}");
    }

    #[test]
    fn a_login_closes_what_is_open_on_loopback_and_a_limit_of_0_is_none() {
        let hash = crate::access::hash_password(b"correct horse").unwrap();
        let args = ListenArgs {
            rate_limit: Some("0".to_owned()),
            trusted_proxies: Some("10.0.0.1 ::1/128".to_owned()),
            dashboard_login: Some(format!("me:{hash}")),
            ..nothing()
        };
        let settings = args.resolve(&ReachArgs::default(), &mut Problems::new()).unwrap();
        assert!(!settings.public_read && settings.rate_limit.is_none());
        assert_eq!(settings.trusted_proxies.len(), 2);
        let open = nothing().resolve(&ReachArgs::default(), &mut Problems::new()).unwrap();
        assert!(open.public_read && open.rate_limit == DEFAULT_RATE_LIMIT);
    }
}
