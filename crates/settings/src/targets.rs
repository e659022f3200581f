//! The list of targets a worker is to watch, wherever it was written.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use common::{
    Connection, Expectation, Interval, Method, ServiceSpec, Source, StatusRange, TargetSpec, TargetUrl, expect,
    stable_hash,
};

use crate::urls::canonical_address;

/// What a target gets where it says nothing itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// How often a target is due.
    pub interval: Interval,
    /// How long one check may take; clipped to the interval of each target.
    pub timeout: Duration,
    /// A slower success is degraded.
    pub degraded_after: Duration,
    /// Request method.
    pub method: Method,
    /// Status codes that count as success; never empty.
    pub expect_status: Vec<StatusRange>,
    /// What else has to hold for an answer, each of it.
    pub expect: Vec<Expectation>,
    /// Fresh connection or kept ones.
    pub connection: Connection,
}

/// The longest key in bytes: longer ones do not fit the database's index.
pub(crate) const KEY_MAX_BYTES: usize = 2_000;

impl Defaults {
    /// How often a target is due where nothing says otherwise: 10 s.
    pub const INTERVAL: Interval = TargetSpec::INTERVAL;
    /// How long one check may take where nothing says otherwise: 5 s.
    pub const TIMEOUT: Duration = TargetSpec::TIMEOUT;
    /// The slowest success that is still up where nothing says otherwise: 500 ms.
    pub const DEGRADED_AFTER: Duration = TargetSpec::DEGRADED_AFTER;
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            interval: Self::INTERVAL,
            timeout: Self::TIMEOUT,
            degraded_after: Self::DEGRADED_AFTER,
            method: Method::default(),
            expect_status: vec![StatusRange::SUCCESS],
            expect: Vec::new(),
            connection: Connection::default(),
        }
    }
}

/// Validated targets and services, in the order written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetList {
    /// The targets; no two share a key or a name, except in a file that is read for once.
    pub targets: Vec<TargetSpec>,
    /// Who answers for what, and what was promised.
    pub services: Vec<ServiceSpec>,
    /// A hash of what the list means, the same for the same targets in any
    /// order: two workers with different lists notice by it. Secrets are part of
    /// it and cannot be read back from it.
    pub digest: u64,
    /// What is accepted but probably not meant, a line each.
    pub warnings: Vec<String>,
    /// Files that secrets were read from.
    pub secret_files: Vec<PathBuf>,
}

impl TargetList {
    pub(crate) fn new(targets: Vec<TargetSpec>, warnings: Vec<String>) -> Self {
        Self { targets, warnings, ..Self::default() }.digested()
    }

    /// The list with the digest that belongs to it.
    pub(crate) fn digested(self) -> Self {
        Self { digest: digest(&self.targets, &self.services), ..self }
    }

    /// One target with a name of its own and nothing else said about it.
    pub fn single(name: &str, url: TargetUrl, defaults: &Defaults) -> Self {
        Self::new(vec![plain(name.to_owned(), url, defaults, Source::Env)], Vec::new())
    }

    /// Targets of the `URLS` variable: the URL is key and name. A URL that comes
    /// again is kept once, with a warning.
    pub(crate) fn from_urls(urls: Vec<TargetUrl>, defaults: &Defaults) -> Self {
        let mut seen = HashSet::new();
        let mut targets = Vec::new();
        let mut warnings = Vec::new();
        for url in urls {
            let key = url.as_written().to_owned();
            let shown = url.for_log();
            if !seen.insert(key.clone()) {
                warnings.push(format!("URLS (--urls): {shown} comes twice and is kept once"));
                continue;
            }
            if url.credentials().is_some() {
                warnings.push(format!(
                    "URLS (--urls): {shown} holds a user and password: they are sent and never \
                     shown, but a header in a LOOKOUT_CONFIG file is a better place"
                ));
            }
            if let Some(address) = canonical_address(&url) {
                warnings.push(format!("URLS (--urls): {shown} is the address {address}"));
            }
            targets.push(plain(key, url, defaults, Source::Env));
        }
        Self::new(targets, warnings)
    }
}

/// A target that is as the defaults say; its key is its name.
fn plain(key: String, url: TargetUrl, defaults: &Defaults, source: Source) -> TargetSpec {
    TargetSpec {
        method: defaults.method,
        interval: defaults.interval,
        timeout: defaults.timeout.min(defaults.interval.duration()),
        degraded_after: defaults.degraded_after,
        expect_status: defaults.expect_status.clone(),
        expect: defaults.expect.clone(),
        connection: defaults.connection,
        source,
        ..TargetSpec::new(key, url)
    }
}

/// A hash over every field of every target, ordered by key, and of every service.
fn digest(targets: &[TargetSpec], services: &[ServiceSpec]) -> u64 {
    let mut sorted: Vec<_> = targets.iter().collect();
    sorted.sort_by(|a, b| a.key.cmp(&b.key));
    let mut text = String::new();
    for target in sorted {
        // Named one by one, so that a new field cannot be forgotten here.
        let TargetSpec {
            key,
            name,
            url,
            method,
            headers,
            body,
            interval,
            timeout,
            degraded_after,
            expect_status,
            expect,
            connection,
            labels,
            service,
            source,
        } = target;
        // `Debug` of texts is quoted and escaped, so two lists never run together
        // to the same text. A write to a `String` does not fail.
        let _ = writeln!(
            text,
            "{key:?}{name:?}{:?}{:?}{}{headers:?}{body:?}{:?}{timeout:?}{degraded_after:?}\
             {expect_status:?}{connection:?}{labels:?}{service:?}{}",
            url.as_written(),
            url.credentials(),
            method.as_str(),
            interval.duration(),
            source.label(),
        );
        if url.as_written() != url.whole() {
            let _ = writeln!(text, "{}", url.url());
        }
        // Nothing where there is none, as before there were any.
        for expectation in expect {
            let _ = writeln!(text, "{}", expectation.to_json(&expect::as_is));
        }
    }
    let mut services: Vec<_> = services.iter().collect();
    services.sort_by(|a, b| a.name.cmp(&b.name));
    for service in services {
        let _ = writeln!(text, "{service:?}");
    }
    stable_hash(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::urls;

    fn list(text: &str) -> TargetList {
        TargetList::from_urls(urls::parse(text).0, &Defaults::default())
    }

    #[test]
    fn a_url_that_comes_twice_is_kept_once_with_a_warning() {
        let list = list("http://a/ http://b/ http://a/");
        let keys: Vec<_> = list.targets.iter().map(|target| &target.key).collect();
        assert_eq!(keys, ["http://a/", "http://b/"]);
        assert_eq!(list.warnings.len(), 1);
        assert!(list.warnings[0].contains("http://a/ comes twice"));
    }

    #[test]
    fn a_default_timeout_is_clipped_to_the_interval() {
        let defaults = Defaults { interval: Interval::new(Duration::from_secs(2)).unwrap(), ..Defaults::default() };
        let list = TargetList::from_urls(urls::parse("http://a/").0, &defaults);
        assert_eq!(list.targets[0].timeout, Duration::from_secs(2));
    }

    #[test]
    fn the_digest_depends_on_the_meaning_and_not_on_the_order() {
        let digest = |text| list(text).digest;
        assert_eq!(digest("http://a/ http://b/"), digest("http://b/,http://a/"));
        assert_ne!(digest("http://a/ http://b/"), digest("http://a/"));
        assert_ne!(digest("http://u:1@a/"), digest("http://u:2@a/"));
        assert_ne!(digest("http://a/?token=1"), digest("http://a/?token=2"));
        assert_ne!(list("").digest, list("http://a/").digest);
    }

    #[test]
    fn the_digest_does_not_change_between_releases() {
        assert_eq!(list("").digest, stable_hash(""));
        assert_eq!(list("http://a/").digest, 6_034_769_983_884_728_989);
    }

    #[test]
    fn a_password_in_a_url_is_warned_about_and_not_shown() {
        let list = list("http://me:s3cret@a/");
        assert_eq!(list.warnings.len(), 1);
        assert!(!format!("{list:?}").contains("s3cret"));
    }
}
