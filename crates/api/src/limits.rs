//! How much one address, or the bearer of one token, may ask, and from where it asks.
//!
//! A cell of each is filled at a steady rate and holds ten seconds' worth (GCRA, the
//! crate `governor`). What has not been asked for a while is forgotten, and a network of
//! IPv6 counts as one, so that nobody fills our memory by coming from many addresses.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::http::header::HeaderMap;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use ipnet::IpNet;

use crate::error::ApiError;

/// Requests at once are so many times those of a second.
pub(crate) const BURST: u32 = 10;

/// Tries to get in, from one address: wrong passwords and wrong tokens.
const TRIES: u32 = 20;
const TRY_EVERY: Duration = Duration::from_secs(3);

/// After so many requests, what was not seen for a while is forgotten.
const SWEEP_EVERY: usize = 10_000;

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exceeded {
    /// Whose it is, as the headers name it.
    pub(crate) name: &'static str,
    /// Requests that the limit allows …
    pub(crate) quota: u32,
    /// … in so many seconds.
    pub(crate) window: u64,
    /// Seconds until there is room for one more, at least one.
    pub(crate) retry_after: u64,
}

struct Cells<K: Hash + Eq + Clone> {
    limiter: DefaultKeyedRateLimiter<K>,
    quota: Quota,
    name: &'static str,
    seen: AtomicUsize,
}

impl<K: Hash + Eq + Clone> Cells<K> {
    fn new(name: &'static str, quota: Quota) -> Self {
        Self { limiter: RateLimiter::keyed(quota), quota, name, seen: AtomicUsize::new(0) }
    }

    fn take(&self, key: &K) -> Result<(), Exceeded> {
        if self.seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(SWEEP_EVERY) {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        self.limiter.check_key(key).map_err(|not_yet| Exceeded {
            name: self.name,
            quota: self.quota.burst_size().get(),
            window: self.quota.burst_size_replenished_in().as_secs(),
            retry_after: not_yet.wait_time_from(DefaultClock::default().now()).as_secs().max(1),
        })
    }
}

/// The limits of an api.
pub(crate) struct Limits {
    addresses: Option<Cells<IpAddr>>,
    tokens: Option<Cells<[u8; 32]>>,
    tries: Cells<IpAddr>,
}

impl Limits {
    /// Limits with so many requests a second for an address, and for a token; `None` for no such limit.
    pub(crate) fn new(per_second: Option<NonZeroU32>) -> Self {
        let quota = per_second.map(|rate| Quota::per_second(rate).allow_burst(rate.saturating_mul(TEN)));
        // The constants are what they are.
        let tries = Quota::with_period(TRY_EVERY).unwrap_or_else(|| Quota::per_second(NonZeroU32::MIN));
        Self {
            addresses: quota.map(|quota| Cells::new("address", quota)),
            tokens: quota.map(|quota| Cells::new("token", quota)),
            tries: Cells::new("login", tries.allow_burst(NonZeroU32::new(TRIES).unwrap_or(NonZeroU32::MIN))),
        }
    }

    /// Counts a request from an address.
    ///
    /// # Errors
    /// 429 when there were too many.
    pub(crate) fn address(&self, address: IpAddr) -> Result<(), ApiError> {
        take(self.addresses.as_ref(), &network(address))
    }

    /// Counts a request with a token.
    ///
    /// # Errors
    /// 429 when there were too many.
    pub(crate) fn token(&self, digest: &[u8; 32]) -> Result<(), ApiError> {
        take(self.tokens.as_ref(), digest)
    }

    /// Counts an attempt to get in from an address.
    ///
    /// # Errors
    /// 429 when there were too many.
    pub(crate) fn attempt(&self, address: IpAddr) -> Result<(), ApiError> {
        take(Some(&self.tries), &network(address))
    }
}

const TEN: NonZeroU32 = NonZeroU32::new(BURST).expect("ten is not zero");

fn take<K: Hash + Eq + Clone>(cells: Option<&Cells<K>>, key: &K) -> Result<(), ApiError> {
    cells.map_or(Ok(()), |cells| cells.take(key)).map_err(ApiError::TooMany)
}

/// What counts as one: an address, or the 64 bits of IPv6 that one customer has at least.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        address => address,
    }
}

/// Who asks: the peer, or behind proxies that are trusted whoever asked the first of them.
///
/// Each proxy adds to `X-Forwarded-For` who asked it, so it is read from its end: the first that is no
/// proxy of ours is it. What stands before that anybody may have written.
pub(crate) fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address.to_canonical()));
    let mut client = peer;
    if !is_trusted(peer) {
        return client;
    }
    let values: Vec<_> = headers.get_all("x-forwarded-for").filter_map(|value| value.to_str().ok()).collect();
    for entry in values.iter().rev().flat_map(|value| value.rsplit(',')) {
        let Some(address) = address(entry.trim()) else { break };
        client = address;
        if !is_trusted(address) {
            break;
        }
    }
    client
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok().or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn forwarded(values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HeaderName::from_static("x-forwarded-for"), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn whoever_asks_is_the_peer_unless_that_is_a_proxy_of_ours() {
        let ours: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        for (peer, values, expected) in [
            ("1.2.3.4", vec!["9.9.9.9"], "1.2.3.4"),
            ("10.0.0.1", vec![], "10.0.0.1"),
            ("10.0.0.1", vec!["9.9.9.9"], "9.9.9.9"),
            ("10.0.0.1", vec!["6.6.6.6, 9.9.9.9"], "9.9.9.9"),
            ("10.0.0.1", vec!["6.6.6.6, 9.9.9.9, 10.0.0.2"], "9.9.9.9"),
            ("10.0.0.1", vec!["6.6.6.6", "9.9.9.9,10.0.0.2"], "9.9.9.9"),
            ("10.0.0.1", vec!["9.9.9.9, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", vec!["9.9.9.9:1234"], "9.9.9.9"),
            ("::1", vec!["[2001:4860::8]:80"], "2001:4860::8"),
            ("::ffff:10.0.0.1", vec!["9.9.9.9"], "9.9.9.9"),
        ] {
            let found = client(peer.parse().unwrap(), &forwarded(&values), &ours);
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{peer} {values:?}");
            let nobody = client(peer.parse().unwrap(), &forwarded(&values), &[]);
            assert_eq!(nobody, peer.parse::<IpAddr>().unwrap(), "nothing is trusted unless it is said");
        }
    }

    #[test]
    fn one_address_that_asks_too_much_holds_up_no_other() {
        let limits = Limits::new(NonZeroU32::new(1));
        let (busy, other): (IpAddr, IpAddr) = ("1.2.3.4".parse().unwrap(), "1.2.3.5".parse().unwrap());
        for _ in 0..BURST {
            limits.address(busy).unwrap();
        }
        let Err(ApiError::TooMany(exceeded)) = limits.address(busy) else { panic!("no limit") };
        assert_eq!(exceeded, Exceeded { name: "address", quota: 10, window: 10, retry_after: 1 });
        limits.address(other).unwrap();
        assert!(Limits::new(None).address(busy).is_ok());
    }

    #[test]
    fn addresses_of_one_network_of_ipv6_count_as_one() {
        let limits = Limits::new(NonZeroU32::new(1));
        for host in 0..BURST {
            limits.address(format!("2001:db8::{host:x}").parse().unwrap()).unwrap();
        }
        assert!(limits.address("2001:db8::ffff:1".parse().unwrap()).is_err());
        assert!(limits.address("2001:db8:0:1::1".parse().unwrap()).is_ok());
    }
}
