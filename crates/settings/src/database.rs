//! The address of Postgres, with the password kept out of sight.

use std::fmt;

use url::Url;

/// A `postgres://` or `postgresql://` URL that parses. `Debug` and `Display` show
/// its password as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    text: String,
    shown: String,
}

/// Why a text is no database URL; reads on from the value and shows nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseUrlError {
    /// Another scheme, or none.
    #[error("is no database URL: write postgres://user:password@host:5432/database")]
    Scheme,
    /// The scheme is right and the rest does not parse.
    #[error("is no database URL: {0} (characters such as # / ? @ in a password are written %23 %2F %3F %40)")]
    Syntax(url::ParseError),
}

/// Parameters of the query that are no secrets. Of another one nobody can say.
const SHOWN_PARAMETERS: [&str; 17] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

impl DatabaseUrl {
    /// Parses the URL; also the form for a Unix socket, `postgresql:///db?host=/dir&user=app`.
    ///
    /// # Errors
    /// [`DatabaseUrlError`] when the scheme is another or the URL does not parse.
    pub fn parse(text: &str) -> Result<Self, DatabaseUrlError> {
        let text = text.trim();
        let is_postgres = text
            .split_once("://")
            .is_some_and(|(scheme, _)| ["postgres", "postgresql"].contains(&scheme.to_ascii_lowercase().as_str()));
        if !is_postgres {
            return Err(DatabaseUrlError::Scheme);
        }
        let url = Url::parse(text).map_err(DatabaseUrlError::Syntax)?;
        Ok(Self { shown: masked(url), text: text.to_owned() })
    }

    /// The same with this password, unless it has one or is for a Unix socket.
    #[must_use]
    pub fn or_password(self, password: &str) -> Self {
        let Ok(mut url) = Url::parse(&self.text) else { return self };
        let has_one = url.password().is_some() || url.query_pairs().any(|(name, _)| name == "password");
        if has_one || url.set_password(Some(password)).is_err() {
            return self;
        }
        Self { text: url.as_str().to_owned(), shown: masked(url) }
    }

    /// The URL with its password, to connect with.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn masked(mut url: Url) -> String {
    // A URL without a host can carry no password, so there is no error to handle.
    if url.password().is_some() && url.set_password(Some("***")).is_err() {
        return "***".to_owned();
    }
    let is_secret = |name: &str| !SHOWN_PARAMETERS.contains(&name.to_ascii_lowercase().as_str());
    if url.query_pairs().any(|(name, _)| is_secret(&name)) {
        let kept: Vec<_> = url
            .query_pairs()
            .map(|(name, value)| {
                let value = if is_secret(&name) { "***".into() } else { value };
                (name.into_owned(), value.into_owned())
            })
            .collect();
        url.query_pairs_mut().clear().extend_pairs(kept);
    }
    url.into()
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_password_is_masked_and_still_used() {
        let text = "postgres://me:s3cret@db:5432/lookout?sslmode=disable";
        let url = DatabaseUrl::parse(text).unwrap();
        assert_eq!(url.as_str(), text);
        assert_eq!(url.to_string(), "postgres://me:***@db:5432/lookout?sslmode=disable");
        assert_eq!(format!("{url:?}"), url.to_string());
        let url = DatabaseUrl::parse("postgres://db/x?user=me&Password=s3cret").unwrap();
        assert_eq!(url.to_string(), "postgres://db/x?user=me&Password=***");
        for name in ["sslpassword", "passwd", "token", "pasword", "passfile", "sslkey"] {
            let url = DatabaseUrl::parse(&format!("postgres://db/x?{name}=s3cret")).unwrap();
            assert_eq!(url.to_string(), format!("postgres://db/x?{name}=***"));
        }
    }

    #[test]
    fn a_password_beside_the_url_counts_where_the_url_has_none() {
        let with = |text| DatabaseUrl::parse(text).unwrap().or_password("s3/cr@t");
        let url = with("postgres://me@db/x?sslmode=disable");
        assert_eq!(url.as_str(), "postgres://me:s3%2Fcr%40t@db/x?sslmode=disable");
        assert_eq!(url.to_string(), "postgres://me:***@db/x?sslmode=disable");
        for text in ["postgres://me:other@db/x", "postgres://db/x?password=other", "postgresql:///db?host=/dir"] {
            assert_eq!(with(text).as_str(), text);
        }
    }

    #[test]
    fn a_unix_socket_needs_no_host() {
        let text = "postgresql:///db?host=/dir&user=app";
        let url = DatabaseUrl::parse(text).unwrap();
        assert_eq!((url.as_str(), url.to_string().as_str()), (text, text));
    }

    #[test]
    fn c44_other_schemes_and_broken_urls_are_refused_without_showing_them() {
        for text in ["", "mysql://u:s3cret@h/x", "host=h password=s3cret", "postgres:/h"] {
            let error = DatabaseUrl::parse(text).unwrap_err();
            assert_eq!(
                error.to_string(),
                "is no database URL: write postgres://user:password@host:5432/database",
                "{text}"
            );
        }
        for text in ["postgres://u:s3#cret@h/x", "postgres://u:s3cret@h:99999/x", "postgres://u:s3cret@"] {
            let error = DatabaseUrl::parse(text).unwrap_err();
            assert!(matches!(error, DatabaseUrlError::Syntax(_)), "{text}");
            assert!(!error.to_string().contains("s3"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_database_url_shows_its_password(rest in "\\PC{0,20}") {
            if let Ok(url) = DatabaseUrl::parse(&format!("postgres://me:s3cret@{rest}")) {
                prop_assert!(!format!("{url} {url:?}").contains("s3cret"), "{}", url);
            }
        }
    }
}
