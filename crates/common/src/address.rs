//! Which addresses a probe may go to.
//!
//! Whoever may post targets must not be able to look into our own network by them. So
//! targets that came over the API reach public addresses only, unless that is allowed
//! ([`Reach`]); and addresses that hand out a cloud machine's credentials are nobody's
//! target. Judged is the address a socket would go to, never a name: a name may have
//! another address a second later.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use url::{Host, Url};

/// How far probes of a target go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// To public addresses, those that anybody on the internet could ask.
    #[default]
    PublicOnly,
    /// To private ones too.
    Any,
}

/// An address that a probe does not go to. Reads on from nothing: it names the address and the way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub struct Denied {
    address: IpAddr,
    is_metadata: bool,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address;
        if self.is_metadata {
            write!(f, "the address {address} is where a cloud machine gets its credentials: it is never probed")
        } else {
            write!(
                f,
                "the address {address} is not public: targets made over the API reach public addresses only \
                 (API_TARGETS=any allows others)"
            )
        }
    }
}

impl Reach {
    /// Judges the address that a socket would go to.
    ///
    /// # Errors
    /// [`Denied`] says why not.
    pub fn allows(self, address: IpAddr) -> Result<(), Denied> {
        let denied = |is_metadata| Denied { address, is_metadata };
        if forms(address).any(is_metadata) {
            return Err(denied(true));
        }
        if self == Self::PublicOnly && !forms(address).all(is_public) {
            return Err(denied(false));
        }
        Ok(())
    }

    /// Judges a URL by what stands in it: an address in whatever spelling, or a name that
    /// means this machine. Other names are judged once they are looked up.
    ///
    /// # Errors
    /// [`Denied`] says why not.
    pub fn allows_url(self, url: &Url) -> Result<(), Denied> {
        match url.host() {
            Some(Host::Ipv4(address)) => self.allows(address.into()),
            Some(Host::Ipv6(address)) => self.allows(address.into()),
            Some(Host::Domain(name)) => {
                let name = name.trim_end_matches('.').to_ascii_lowercase();
                let is_here = name == "localhost" || name.ends_with(".localhost");
                if is_here { self.allows(Ipv4Addr::LOCALHOST.into()) } else { Ok(()) }
            }
            None => Ok(()),
        }
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6(segments: [u16; 8], length: u8) -> Ipv6Net {
    let [a, b, c, d, e, f, g, h] = segments;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), length)
}

/// Where clouds answer their own machines: AWS, Azure, Google, DigitalOcean and most others; tasks and
/// pods of AWS; Azure's wire server; Oracle; Alibaba.
const METADATA_V4: [Ipv4Net; 6] = [
    v4(169, 254, 169, 254, 32),
    v4(169, 254, 170, 2, 32),
    v4(169, 254, 170, 23, 32),
    v4(168, 63, 129, 16, 32),
    v4(192, 0, 0, 192, 32),
    v4(100, 100, 100, 200, 32),
];

/// AWS (all of its reserved block) and Google.
const METADATA_V6: [Ipv6Net; 2] =
    [v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32), v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128)];

/// What is not globally reachable, and multicast.
///
/// Source: IANA IPv4 Special-Purpose Address Registry; RFC 5771 for multicast.
const NOT_PUBLIC_V4: [Ipv4Net; 15] = [
    v4(0, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    v4(172, 16, 0, 0, 12),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(192, 168, 0, 0, 16),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 4),
    v4(240, 0, 0, 0, 4),
];

/// The only block that global unicast addresses are given out from.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// What in [`GLOBAL_V6`] is not globally reachable, or leads through a tunnel to who knows where.
///
/// Source: IANA IPv6 Special-Purpose Address Registry.
const NOT_PUBLIC_V6: [Ipv6Net; 3] = [
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
];

const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);
const SIX_TO_FOUR: Ipv6Net = v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16);
const TEREDO: Ipv6Net = v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32);

fn is_metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => METADATA_V4.iter().any(|net| net.contains(&address)),
        IpAddr::V6(address) => METADATA_V6.iter().any(|net| net.contains(&address)),
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !NOT_PUBLIC_V4.iter().any(|net| net.contains(&address)),
        // What another address is wrapped in is judged by that.
        IpAddr::V6(address) if NAT64.contains(&address) || address.to_ipv4_mapped().is_some() => true,
        IpAddr::V6(address) => GLOBAL_V6.contains(&address) && !NOT_PUBLIC_V6.iter().any(|net| net.contains(&address)),
    }
}

/// An address, and every IPv4 address that one of its parts may be: packets to it can end there.
fn forms(address: IpAddr) -> impl Iterator<Item = IpAddr> {
    let wrapped = match address {
        IpAddr::V4(_) => [None; 4],
        IpAddr::V6(address) => wrapped(address),
    };
    std::iter::once(address).chain(wrapped.into_iter().flatten().map(IpAddr::V4))
}

/// The IPv4 addresses in an IPv6 address, by how it is made.
fn wrapped(address: Ipv6Addr) -> [Option<Ipv4Addr>; 4] {
    let segments = address.segments();
    let of = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    let last = of(segments[6], segments[7]);
    let [a, b, c, d, e, f, ..] = segments;
    // Mapped, translated (RFC 2765), compatible, both NAT64 prefixes (RFC 6052, 8215), and ISATAP (RFC 5214).
    let ends_in_one = matches!([a, b, c, d, e, f], [0, 0, 0, 0, 0, 0 | 0xffff] | [0, 0, 0, 0, 0xffff, 0])
        && !address.is_loopback()
        && !address.is_unspecified()
        || (a, b) == (0x64, 0xff9b)
        || matches!((e, f), (0 | 0x200, 0x5efe));
    // RFC 6052, 2.2: a prefix of 48 bits, with the eight bits of `u` in between.
    let in_the_middle = (a, b, c) == (0x64, 0xff9b, 1);
    let split = of(segments[3], (segments[4] << 8) | (segments[5] >> 8));
    [
        ends_in_one.then_some(last),
        in_the_middle.then_some(split),
        SIX_TO_FOUR.contains(&address).then(|| of(b, c)),
        // The client's, with every bit turned (RFC 4380, 4).
        TEREDO.contains(&address).then(|| Ipv4Addr::from(!u32::from(last))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(host: &str) -> Url {
        Url::parse(&format!("http://{host}/")).unwrap()
    }

    #[test]
    fn public_addresses_are_reached() {
        for host in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "223.255.255.255",
            "[2606:4700::1111]",
            "[2001:4860:4860::8888]",
            "[2a00:1450::1]",
            "[::ffff:1.1.1.1]",
            "[64:ff9b::1.1.1.1]",
            "[2002:101:101::1]",
            "example.org",
        ] {
            assert_eq!(Reach::PublicOnly.allows_url(&url(host)), Ok(()), "{host}");
        }
    }

    #[test]
    fn private_addresses_are_reached_only_where_all_are() {
        for host in [
            "127.0.0.1",
            "0.0.0.0",
            "0",
            "10.1.2.3",
            "100.64.0.1",
            "169.254.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            // Octal, decimal, hexadecimal and short forms of 127.0.0.1.
            "0177.1",
            "2130706433",
            "0x7f.0.0.1",
            "0x7f000001",
            "127.1",
            "[::]",
            "[::1]",
            "[fe80::1]",
            "[fc00::1]",
            "[ff02::1]",
            "[2001:db8::1]",
            "[::ffff:10.0.0.1]",
            "[::ffff:0:10.0.0.1]",
            "[::10.0.0.1]",
            "[64:ff9b::10.0.0.1]",
            "[64:ff9b:1::8.8.8.8]",
            "[2002:a00:1::1]",
            "[2001:0:4136:e378:8000:63bf:f5ff:fffe]",
            "[2606:4700::5efe:10.0.0.1]",
        ] {
            let url = url(host);
            let denied = Reach::PublicOnly.allows_url(&url).expect_err(host);
            assert!(denied.to_string().contains("API_TARGETS=any"), "{host}: {denied}");
            assert_eq!(Reach::Any.allows_url(&url), Ok(()), "{host}");
        }
    }

    #[test]
    fn where_clouds_keep_credentials_nobody_is_let_in_whatever_the_spelling() {
        for host in [
            "169.254.169.254",
            "0xa9fea9fe",
            "2852039166",
            "0251.0376.0251.0376",
            "169.254.43518",
            "169.254.170.2",
            "168.63.129.16",
            "100.100.100.200",
            "192.0.0.192",
            "[fd00:ec2::254]",
            "[fd20:ce::254]",
            "[::ffff:169.254.169.254]",
            "[::169.254.169.254]",
            "[64:ff9b::169.254.169.254]",
            "[64:ff9b:1::169.254.169.254]",
            "[64:ff9b:1:a9fe:a9:fe00::]",
            "[2002:a9fe:a9fe::1]",
            "[2001:0:1:1:1:1:5601:5601]",
        ] {
            for reach in [Reach::PublicOnly, Reach::Any] {
                let denied = reach.allows_url(&url(host)).expect_err(host);
                assert!(denied.to_string().contains("never probed"), "{host}: {denied}");
            }
        }
    }
}
