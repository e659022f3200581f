//! The URL of a target: parsed once, its secrets out of sight.

mod mask;

use std::fmt;

use url::Url;

use mask::{LEVELS, PLACEHOLDER, add_secrets, is_reference, mask, percent_decode};
pub use mask::{encodes_secret, is_secret_name, without_secrets};

/// An `http` or `https` URL, parsed once.
///
/// Keeps the text as it was written for people, without any user and password
/// it held: those are sent as `Authorization` and shown to nobody. Nor is the value of
/// a parameter that [`is_secret_name`] knows, or user and password of a URL within this one,
/// for which `***` stands.
#[derive(Clone, PartialEq, Eq)]
pub struct TargetUrl {
    written: String,
    url: Url,
    credentials: Option<(String, String)>,
    /// Parts of `url` are secret, and `written` has placeholders for them.
    has_secrets: bool,
    /// The whole text, where `written` is not.
    secret: Option<String>,
}

/// Why a text is no URL that can be probed. Never repeats user or password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum UrlError {
    #[error("is empty")]
    Empty,
    #[error("contains white space")]
    WhiteSpace,
    #[error("has no scheme: write http:// or https:// in front")]
    NoScheme,
    #[error("has the scheme {0:?}: only http and https are probed")]
    Scheme(String),
    #[error("has no host")]
    NoHost,
    #[error("has port 0, which no server listens on")]
    PortZero,
    #[error("has a port outside 1 to 65535")]
    Port,
    #[error("has an IPv6 address without brackets: write it like http://[::1]/")]
    Ipv6Brackets,
    #[error("has a host label over 63 characters or a host over 253")]
    HostLength,
    #[error("is over {max} bytes long", max = TargetUrl::MAX_LEN)]
    TooLong,
    #[error("is not a URL: {0}")]
    Syntax(String),
}

impl TargetUrl {
    /// The longest URL accepted, in bytes.
    pub const MAX_LEN: usize = 8192;

    /// Parses a URL as people write it.
    ///
    /// # Errors
    /// [`UrlError`] names the part that is wrong.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.is_empty() {
            return Err(UrlError::Empty);
        }
        if text.len() > Self::MAX_LEN {
            return Err(UrlError::TooLong);
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(UrlError::WhiteSpace);
        }
        let is_scheme = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_alphabetic())
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-".contains(c))
        };
        let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) else {
            // What stands before a colon may also be a host, or a user whose password follows.
            return Err(match text.split_once(':') {
                Some((scheme, rest))
                    if is_scheme(scheme) && !text.contains('@') && !rest.starts_with(|c: char| c.is_ascii_digit()) =>
                {
                    UrlError::Scheme(scheme.to_owned())
                }
                _ => UrlError::NoScheme,
            });
        };
        if !matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https") {
            return Err(UrlError::Scheme(scheme.to_owned()));
        }
        let authority_end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let authority = &rest[..authority_end];
        let host_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        if host_port.is_empty() || host_port.starts_with(':') && host_port.matches(':').count() == 1 {
            return Err(UrlError::NoHost);
        }
        if !host_port.starts_with('[') && host_port.matches(':').count() > 1 {
            return Err(UrlError::Ipv6Brackets);
        }
        let mut url = Url::parse(text).map_err(|error| match error {
            url::ParseError::EmptyHost => UrlError::NoHost,
            url::ParseError::InvalidPort => UrlError::Port,
            other => UrlError::Syntax(other.to_string()),
        })?;
        if url.port() == Some(0) {
            return Err(UrlError::PortZero);
        }
        if let Some(url::Host::Domain(host)) = url.host() {
            let host = host.trim_end_matches('.');
            if host.len() > 253 || host.split('.').any(|label| label.len() > 63) {
                return Err(UrlError::HostLength);
            }
        }
        let mut credentials = None;
        let mut written = mask(text, str::is_empty);
        if authority.contains('@') {
            credentials = Some((percent_decode(url.username()), percent_decode(url.password().unwrap_or_default())));
            // Nothing before the path is masked, so it ends where it did.
            written = format!("{scheme}://{host_port}{}", &written[scheme.len() + 3 + authority_end..]);
            url.set_username("").and_then(|()| url.set_password(None)).map_err(|()| UrlError::NoHost)?;
        }
        let secret = (written != text).then(|| text.to_owned());
        Ok(Self { written, url, credentials, has_secrets: false, secret })
    }

    /// Parses a URL that holds secrets. People see `shown` instead: the same text with
    /// placeholders where the secrets are, and without user and password.
    ///
    /// # Errors
    /// As [`TargetUrl::parse`]; the error may repeat a piece of `text`.
    pub fn parse_with_secrets(text: &str, shown: &str) -> Result<Self, UrlError> {
        let url = Self::parse(text)?;
        Ok(Self { written: mask(shown, is_reference), has_secrets: true, secret: Some(text.to_owned()), ..url })
    }

    /// Whether it was made by [`TargetUrl::parse_with_secrets`], so that any part of it may be secret.
    pub fn has_secrets(&self) -> bool {
        self.has_secrets
    }

    /// The URL as it was written, less any user and password, and with placeholders for other secrets.
    pub fn as_written(&self) -> &str {
        &self.written
    }

    /// The URL byte for byte, user, password and other secrets included: to be compared, and never shown.
    pub fn whole(&self) -> &str {
        self.secret.as_deref().unwrap_or(&self.written)
    }

    /// The parsed URL, less any user and password. Only for the request: it may hold other secrets.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Whether there is the `***` that people see for a secret: somebody took what they were shown for the URL.
    pub fn has_placeholder(&self) -> bool {
        let whole = self.whole();
        let path = whole.find("://").map_or(0, |at| at + 3);
        whole[path..].split(['/', '\\', '?', '&', '#', ';', '=', '@']).any(|piece| piece == PLACEHOLDER)
    }

    /// What people see `***` for, as it is written and as it is meant.
    pub fn hidden(&self) -> Vec<String> {
        let mut hidden = Vec::new();
        mask(self.whole(), |value| {
            let mut value = value.to_owned();
            for _ in 0..=LEVELS {
                add_secrets(&value, &mut hidden);
                let decoded = percent_decode(&value);
                if decoded == value {
                    break;
                }
                hidden.push(std::mem::replace(&mut value, decoded));
            }
            hidden.push(value);
            true
        });
        hidden
    }

    /// Whether there is a parameter that names a secret, so that people see `***` instead of its value.
    pub fn hides_parameter(&self) -> bool {
        let mut found = false;
        mask(self.whole(), |value| {
            found |= !value.is_empty();
            true
        });
        found
    }

    /// User and password from the URL, to be sent as basic authorization.
    pub fn credentials(&self) -> Option<(&str, &str)> {
        self.credentials.as_ref().map(|(user, password)| (user.as_str(), password.as_str()))
    }

    /// Host and port as one key, for limits that hold per server.
    pub fn host_port(&self) -> String {
        format!("{}:{}", self.url.host_str().unwrap_or_default(), self.url.port_or_known_default().unwrap_or_default())
    }

    /// For log lines: no credentials, no query, no fragment.
    pub fn for_log(&self) -> String {
        if self.has_secrets {
            return self.written.split(['?', '#']).next().unwrap_or_default().to_owned();
        }
        let mut url = self.url.clone();
        url.set_query(None);
        url.set_fragment(None);
        mask(url.as_str(), str::is_empty)
    }
}

/// A name or key as log lines show it: one that is a URL loses its query, which may
/// hold a secret.
pub fn name_for_log(name: &str) -> String {
    let shown = TargetUrl::parse(name).map_or_else(|_| name.to_owned(), |url| url.for_log());
    // They make a terminal show a line in another order.
    let turns =
        |c: char| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !shown.contains(turns) {
        return shown;
    }
    shown.chars().map(|c| if turns(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}

impl fmt::Debug for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.for_log())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_in_a_log_does_not_turn_the_line_around() {
        assert_eq!(name_for_log("\u{202e}gnp.exe"), "\\u{202e}gnp.exe");
        assert_eq!(name_for_log("hélène 🚀"), "hélène 🚀");
        assert_eq!(name_for_log("http://a/?authorization=b").find("=b"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_url_parser_panic(text in "\\PC*") {
            let _ = TargetUrl::parse(&text);
        }

        #[test]
        fn no_url_with_a_password_ever_shows_it(tail in "[a-z/?]{0,12}") {
            let url = TargetUrl::parse(&format!("https://me:s3cret@example.org/{tail}")).unwrap();
            let shown = format!("{} {:?} {}", url.as_written(), url, url.for_log());
            prop_assert!(!shown.contains("s3cret") && !shown.contains("me:"), "{shown}");
            prop_assert_eq!(url.credentials(), Some(("me", "s3cret")));
            prop_assert_eq!(url.whole(), format!("https://me:s3cret@example.org/{tail}"));
        }
    }

    #[test]
    fn a_url_with_secrets_is_shown_as_it_was_given() {
        let url =
            TargetUrl::parse_with_secrets("https://me:s3@api.org/t0ken?key=s3cret", "https://api.org/${T}?key=${K}")
                .unwrap();
        assert_eq!(url.as_written(), "https://api.org/${T}?key=${K}");
        assert_eq!(url.for_log(), "https://api.org/${T}");
        assert_eq!(format!("{url:?}"), "https://api.org/${T}");
        assert_eq!(url.url().as_str(), "https://api.org/t0ken?key=s3cret");
        assert_ne!(url, TargetUrl::parse_with_secrets("https://api.org/", "https://api.org/${T}?key=${K}").unwrap());
    }

    #[test]
    fn a_parameter_that_names_a_secret_keeps_its_value_to_itself() {
        let cases = [
            ("https://a/?token=s3cret", "https://a/?token=***"),
            ("https://a/?q=1&X-Api-Key=s3cret&v=2#top", "https://a/?q=1&X-Api-Key=***&v=2#top"),
            (
                "https://a/x;v=1?to%6ben=s3c&sig=s=3&key=#access_token=s3cret",
                "https://a/x;v=1?to%6ben=***&sig=***&key=#access_token=***",
            ),
            ("https://me:s3cret@a?password=s3cret", "https://a?password=***"),
            ("https://a/?token=s3c?ret&b=1", "https://a/?token=***&b=1"),
            ("https://a/?password=s3c;s3cret=1#top", "https://a/?password=***#top"),
            ("https://a/?to=http://b/?v=1;token=s3c;ret&c", "https://a/?to=http://b/?v=1;token=***&c"),
            (
                "https://a/?auth_key=s3c&Key[0]=s3c&access-key=s3c&Ocp-Apim-Subscription-Key=s3c&hmac=s3c",
                "https://a/?auth_key=***&Key[0]=***&access-key=***&Ocp-Apim-Subscription-Key=***&hmac=***",
            ),
            ("https://a/?token=${s3c}", "https://a/?token=***"),
            ("https://a/?PHPSESSID=s3c&otp=s3c&SAMLResponse=s3c", "https://a/?PHPSESSID=***&otp=***&SAMLResponse=***"),
            (
                "https://a/?csrf_x=s3c&XSRF=s3c&cookie=s3c&code=200",
                "https://a/?csrf_x=***&XSRF=***&cookie=***&code=200",
            ),
            ("https://a/?to=ftp://me:s3c@b/&v=http://s3c:s=1@b", "https://a/?to=ftp://***@b/&v=http://***@b"),
            (
                "https://a/http://me:s3c@b/?mail=x@y&to=http://b&c=d@e",
                "https://a/http://***@b/?mail=x@y&to=http://b&c=d@e",
            ),
            ("https://a/?to=http://s3c@b/&v=ftp://me:a&s3c@b/", "https://a/?to=http://***@b/&v=ftp://***@b/"),
            ("https://a/?to=//me:s3c@b/&v=http:/me:s3c@b", "https://a/?to=//***@b/&v=http:/***@b"),
            (
                "https://a/?to=http:\\\\me:s3c@b\\&user[password]=s3c",
                "https://a/?to=http:\\\\***@b\\&user[password]=***",
            ),
            ("https://a/?to=http%3A%2F%2Fme%3As3c%40b%2F&v=1%202", "https://a/?to=***&v=1%202"),
            ("https://a/?to=ftp%3A%2F%2Fme%3Aa%26s3c%40b%2F", "https://a/?to=***"),
            ("https://a/?to=http%3A%2F%2Fme%3As3c%40b;x=1&to=//me%3As3c@b/?x=1", "https://a/?to=***&to=//***@b/?x=1"),
            ("https://a/?next=%2F%3Ftoken%3Ds3c==&next=%2F%3Ftoken%3Ds3c;v=1", "https://a/?next=***&next=***"),
            ("https://a/?http%3A%2F%2Fme%3As3c%40b=1&to=ftp%3A%2F%2Fme%3Aa=s3c%40b", "https://a/?***&to=***"),
            ("https://a/?a=1%26token%3Ds3c&to=http:%09//me:s3c@b/", "https://a/?a=***&to=http:%09//***@b/"),
            ("https://a/?to=%252F%253Ftoken%253Ds3c", "https://a/?to=***"),
            ("https://a/x%20y/http%3A%2F%2Fme:s3c%40b/z", "https://a/x%20y/***/z"),
            ("https://a/?to=%2525252525252541", "https://a/?to=***"),
            ("https://a/?q={\"token\":\"s3c\"}&v={\"a\":\"key\"}", "https://a/?q=***&v={\"a\":\"key\"}"),
            ("https://a/?q={\"n\":\"x&y\",\"pwd\":[\"s3c\"]}", "https://a/?q={\"n\":\"x&***"),
            (
                "https://a/?q=%7B%22key%22:%20%22s3c%22%7D&v=%7B%22token%22:null%7D",
                "https://a/?q=***&v=%7B%22token%22:null%7D",
            ),
            ("https://a/token=1/?author=me&monkey=2&tokens", "https://a/token=1/?author=me&monkey=2&tokens"),
        ];
        for (text, shown) in cases {
            let url = TargetUrl::parse(text).unwrap();
            assert_eq!(url.as_written(), shown);
            assert_eq!(url.whole(), text);
            assert!(!format!("{url:?} {}", url.for_log()).contains("s3c"), "{url:?}");
            assert!(!url.has_placeholder() && !url.has_secrets());
        }
        let url = TargetUrl::parse("https://a/?q={\"pin\":1,\"token\":12345,\"key\":\"s3c\"}").unwrap();
        assert!(["12345", "s3c"].iter().all(|secret| url.hidden().iter().any(|hidden| hidden == secret)));
        let url = TargetUrl::parse("https://a/?token=s3cret").unwrap();
        assert_eq!(url.url().as_str(), "https://a/?token=s3cret");
        assert_ne!(url, TargetUrl::parse("https://a/?token=other").unwrap());
        for shown in [
            url.as_written(),
            "https://a/?a=1;sig=***",
            "https://a/?to=http://x/?token=***",
            "https://a/?to=***&v=1",
            "https://a/x/***/z",
            "https://a/?to=ftp://***@b/",
            "https://a/#access_token=***",
        ] {
            assert!(TargetUrl::parse(shown).unwrap().has_placeholder(), "{shown}");
        }
        assert!(url.hides_parameter() && !TargetUrl::parse("https://a/?token=&v=***").unwrap().hides_parameter());
        let filled = TargetUrl::parse_with_secrets(
            "https://a/?token=one&key=two-three&sig=s3cret",
            "https://a/?token=${T}&key=two-${K}&sig=s3cret",
        );
        assert_eq!(filled.unwrap().as_written(), "https://a/?token=${T}&key=***&sig=***");
    }

    #[test]
    fn what_somebody_wrote_is_quoted_without_its_secrets() {
        for (text, shown) in [
            ("GET /a?b=1&token=s3c&c=2 200", "GET /a?b=1&token=***&c=2 200"),
            ("GET http://me:s3c@h/a?sig=s3c 200", "GET http://***@h/a?sig=*** 200"),
            ("Authorization: Bearer s3c x", "Authorization: Bearer *** x"),
            ("{'authorization':'basic s3c'", "{'authorization':'basic ***"),
            ("{\\\"token\\\": \\\"s3c\\\"}", "***"),
            ("1700000000 GET /basic and more 200", "1700000000 GET /basic and more 200"),
            ("nothing but  words: a=b", "nothing but  words: a=b"),
        ] {
            assert_eq!(without_secrets(text), shown);
        }
    }

    #[test]
    fn no_url_is_too_deep_or_takes_long() {
        let deep = format!("http://a/%{}", "25".repeat(4_000));
        assert_eq!(TargetUrl::parse(&deep).unwrap().as_written(), "http://a/***");
        let wide = format!("http://a/{}ftp%{}3A//me:s3c@b/", "/".repeat(6_500), "25".repeat(700));
        let shown = TargetUrl::parse(&wide).unwrap().as_written().to_owned();
        assert!(shown.len() <= wide.len() && !shown.contains("s3c"), "{shown}");
    }

    #[test]
    fn urls_are_refused_with_the_part_that_is_wrong() {
        let cases = [
            ("", UrlError::Empty),
            ("http://a b/", UrlError::WhiteSpace),
            ("example.org", UrlError::NoScheme),
            ("example.org:80/x", UrlError::NoScheme),
            ("htp://x", UrlError::Scheme("htp".into())),
            ("ftp://x/y", UrlError::Scheme("ftp".into())),
            ("javascript:alert(1)", UrlError::Scheme("javascript".into())),
            ("me:s3cret@example.org", UrlError::NoScheme),
            ("me:s3cret@example.org://x", UrlError::NoScheme),
            ("http://", UrlError::NoHost),
            ("http://:80", UrlError::NoHost),
            ("http:///path", UrlError::NoHost),
            ("http://x:0/", UrlError::PortZero),
            ("http://x:70000/", UrlError::Port),
            ("http://::1/", UrlError::Ipv6Brackets),
        ];
        for (text, expected) in cases {
            assert_eq!(TargetUrl::parse(text), Err(expected), "{text}");
        }
        let long = format!("http://{}.org/", "a".repeat(64));
        assert_eq!(TargetUrl::parse(&long), Err(UrlError::HostLength));
    }

    #[test]
    fn user_info_is_decoded_whatever_signs_it_holds() {
        let url = TargetUrl::parse("http://u+x:a&b%20c+d=%40@h/").unwrap();
        assert_eq!(url.credentials(), Some(("u+x", "a&b c+d=@")));
    }

    #[test]
    fn urls_keep_what_was_written_and_know_their_server() {
        let url = TargetUrl::parse("HTTP://Example.org?q=1").unwrap();
        assert_eq!(url.as_written(), "HTTP://Example.org?q=1");
        assert_eq!(url.host_port(), "example.org:80");
        assert_eq!(url.for_log(), "http://example.org/");
        assert_eq!(TargetUrl::parse("https://[::1]:8443/x").unwrap().host_port(), "[::1]:8443");
        assert_eq!(TargetUrl::parse("http://bücher.example/").unwrap().host_port(), "xn--bcher-kva.example:80");
    }
}
