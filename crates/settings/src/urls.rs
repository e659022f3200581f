//! Lists of URLs in one variable, and URLs that are wrong shown without the
//! secrets they hold.

use std::net::Ipv4Addr;

use common::{TargetUrl, UrlError};

/// Splits a list of URLs and parses each.
///
/// White space separates, and so does a comma that `http://` or `https://`
/// follows: a comma inside a URL belongs to it. Commas at the end are dropped.
/// An empty text is an empty list. Beside the URLs comes every one that is wrong, with what is
/// wrong; user and password are masked.
pub fn parse(text: &str) -> (Vec<TargetUrl>, Vec<(String, UrlError)>) {
    let mut urls = Vec::new();
    let mut wrong = Vec::new();
    for piece in text.split_whitespace().flat_map(split_at_commas) {
        match parse_one(piece) {
            Ok(url) => urls.push(url),
            Err(error) => wrong.push((redact(piece), error)),
        }
    }
    (urls, wrong)
}

/// Splits at each comma in front of a scheme; pieces of commas alone are left out.
fn split_at_commas(word: &str) -> impl Iterator<Item = &str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for (comma, _) in word.match_indices(',') {
        let rest = &word.as_bytes()[comma + 1..];
        let starts_with =
            |scheme: &[u8]| rest.get(..scheme.len()).is_some_and(|found| found.eq_ignore_ascii_case(scheme));
        if starts_with(b"http://") || starts_with(b"https://") {
            pieces.push(&word[start..comma]);
            start = comma + 1;
        }
    }
    pieces.push(&word[start..]);
    pieces.into_iter().map(|piece| piece.trim_matches(',')).filter(|piece| !piece.is_empty())
}

/// Parses one URL, with errors that repeat neither user nor password.
pub(crate) fn parse_one(text: &str) -> Result<TargetUrl, UrlError> {
    TargetUrl::parse(text).map_err(|error| match error {
        // In `me:secret@host` what stands before the colon is no scheme but a user.
        UrlError::Scheme(scheme) if scheme.contains('@') || !text.contains("://") && text.contains('@') => {
            UrlError::NoScheme
        }
        UrlError::Syntax(_) if text.contains("://[") && text.contains('%') => {
            UrlError::Syntax("invalid IPv6 address: write it without a zone, like http://[::1]/".to_owned())
        }
        other => other,
    })
}

/// The usual form of an IPv4 address that is written in another one, such as
/// `http://0177.1/` or `http://2130706433/`; `None` for anything else.
pub(crate) fn canonical_address(url: &TargetUrl) -> Option<&str> {
    let host = url.url().host_str()?;
    host.parse::<Ipv4Addr>().ok()?;
    let authority = url.as_written().split_once("://")?.1;
    let is_written_so = authority
        .strip_prefix(host)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/', '?', '#', '\\']));
    (!is_written_so).then_some(host)
}

/// The longest piece of a wrong URL that is shown, in characters.
const SHOWN_CHARS: usize = 120;

/// A wrong URL for people, with everything that could be user or password masked, and without its query, where
/// tokens stand.
///
/// Where a URL does not parse nobody can say where its user info ends, so all up
/// to the last `@` goes, and so does a port that is no number: it may be the
/// beginning of a password with a space in it.
pub(crate) fn redact(text: &str) -> String {
    let (scheme, rest) = match text.find("://") {
        Some(at) if !text[..at].contains('@') => text.split_at(at + 3),
        _ => ("", text),
    };
    let shown = match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}***@{host}"),
        None => {
            let authority_end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
            let (authority, tail) = rest.split_at(authority_end);
            match authority.rsplit_once(':') {
                Some((host, port))
                    if !authority.starts_with('[')
                        && authority.matches(':').count() == 1
                        && port.contains(|c: char| !c.is_ascii_digit())
                        && !scheme.is_empty() =>
                {
                    format!("{scheme}{host}:***{tail}")
                }
                _ => text.to_owned(),
            }
        }
    };
    let shown = match shown.find(['?', '#']) {
        Some(at) if at + 1 < shown.len() => format!("{}***", &shown[..=at]),
        _ => shown,
    };
    let pieces = shown.split('/').map(|piece| if common::url::encodes_secret(piece) { "***" } else { piece });
    shorten(&pieces.collect::<Vec<_>>().join("/"), SHOWN_CHARS)
}

/// At most `limit` characters of a text, with an ellipsis where some are missing.
pub(crate) fn shorten(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> Vec<String> {
        parse(text).0.iter().map(|url| url.as_written().to_owned()).collect()
    }

    #[test]
    fn urls_are_split_at_white_space_and_at_a_comma_before_a_scheme() {
        assert_eq!(
            written(" http://a/\n\thttp://b/,https://c/?x=1,2,HTTP://d, "),
            ["http://a/", "http://b/", "https://c/?x=1,2", "HTTP://d"]
        );
        assert_eq!(written(""), Vec::<String>::new());
        assert_eq!(written(" , ,, "), Vec::<String>::new());
        assert_eq!(written("http://a/,,,http://b/,"), ["http://a/", "http://b/"]);
    }

    #[test]
    fn every_wrong_url_is_reported() {
        let (right, wrong) = parse("http://a/ ftp://b/ http://c:0/,http://:80");
        assert_eq!(right.len(), 1);
        let shown: Vec<_> = wrong.iter().map(|(url, _)| url.as_str()).collect();
        assert_eq!(shown, ["ftp://b/", "http://c:0/", "http://:80"]);
        assert_eq!(wrong[0].1, UrlError::Scheme("ftp".into()));
    }

    #[test]
    fn no_wrong_url_shows_its_password() {
        for text in [
            "htp://u:s3cret@h",
            "http://u:s3cret@",
            "http://u:s3cret@h:99999/",
            "http://u:s3c/s3cret@h:0",
            "u:s3cret@h",
            "s3cret@h://x",
            "http:/u:s3cret@h",
            "http://u:s3cret with-a-space@",
            "http://u:@s3cret@[::1",
            "http://u:s3cret@h\u{7f}/",
            "htp://h/?token=s3cret",
            "http://h/x y?token=s3cret",
            "http://h:0/#token=s3cret",
        ] {
            let (_, wrong) = parse(text);
            assert!(!wrong.is_empty(), "{text}");
            let shown: String = wrong.iter().map(|(url, error)| format!("{url} {error}\n")).collect();
            assert!(!shown.contains("s3cret"), "{text}: {shown}");
        }
    }

    #[test]
    fn an_address_with_a_zone_is_told_the_form_without() {
        let (_, wrong) = parse("http://[fe80::1%25eth0]/");
        assert!(wrong[0].1.to_string().contains("http://[::1]/"));
    }

    #[test]
    fn an_address_in_an_unusual_form_is_known_by_its_usual_one() {
        let canonical = |text| {
            let url = TargetUrl::parse(text).unwrap();
            canonical_address(&url).map(str::to_owned)
        };
        assert_eq!(canonical("http://0177.1/"), Some("127.0.0.1".into()));
        assert_eq!(canonical("http://2130706433:80"), Some("127.0.0.1".into()));
        assert_eq!(canonical("http://0x7f.0.0.1"), Some("127.0.0.1".into()));
        for text in ["http://127.0.0.1:80/", "http://me:p@10.0.0.1", "http://[::1]/", "http://a/"] {
            assert_eq!(canonical(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_list_parser_panic(text in "(?s).*|([, ]|https?://|[a-z@:/é]){0,20}") {
            let _ = parse(&text);
        }

        #[test]
        fn no_list_of_wrong_urls_shows_a_password(
            scheme in "(ht?tp:/?/?)?",
            tail in "[a-z:/@]{0,12}",
        ) {
            for (url, error) in parse(&format!("{scheme}me:s3cret@{tail}")).1 {
                prop_assert!(!format!("{url} {error}").contains("s3cret"), "{} {}", url, error);
            }
        }
    }
}
