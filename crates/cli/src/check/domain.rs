//! The domain of a URL, which results are added up by.

/// The host as it is written, in lower case: without user, password and port; an IPv6 address keeps its brackets.
/// Sub-domains are domains of their own.
///
/// The text decides, not what a URL parser makes of it, so that whoever reads the report finds the hosts of the file.
pub(super) fn domain(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host_port = authority.rsplit_once('@').map_or(authority, |(_, host_port)| host_port);
    let host = match host_port.find(']') {
        Some(end) if host_port.starts_with('[') => &host_port[..=end],
        _ => host_port.split_once(':').map_or(host_port, |(host, _)| host),
    };
    host.to_lowercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_domain_is_the_host_alone_in_lower_case() {
        let cases = [
            ("https://svc.example.org:8443/x", "svc.example.org"),
            ("http://Example.COM", "example.com"),
            ("HTTP://example.com?q=http://other/", "example.com"),
            ("http://example.com#@other/", "example.com"),
            ("http://me:s3cret@example.com:80/", "example.com"),
            ("http://me:p@ss@example.com/", "example.com"),
            ("http://example.com/@other:80", "example.com"),
            ("http://[::1]/", "[::1]"),
            ("http://[2001:DB8::1]:8080/x", "[2001:db8::1]"),
            ("http://me@[::1]:80", "[::1]"),
            ("http://a.b.example.com/", "a.b.example.com"),
            ("http://127.0.0.1:1/", "127.0.0.1"),
            ("http://BÜCHER.example/", "bücher.example"),
        ];
        for (url, expected) in cases {
            assert_eq!(domain(url), expected, "{url}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_shows_a_user(text in "(?s).{0,40}", user in "[a-z:@]{0,9}") {
            let _ = domain(&text);
            prop_assert_eq!(domain(&format!("http://{user}@host:80/{text}")), "host");
        }
    }
}
