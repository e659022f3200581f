//! The dashboard: pages at paths that people read, and the files they are made of.
//!
//! The files are part of the binary, compressed when it was built. They hold no data, so
//! nobody needs a token for them; the page asks for one when the data wants it.
//!
//! Pages are no part of the API and not in its document. They are what is answered where
//! no route is: one page for every path of [`PAGES`], which looks at the path itself.

use std::sync::LazyLock;

use actix_web::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ETAG, HeaderMap, REFERRER_POLICY, VARY,
};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse};
use sha2::{Digest, Sha256};

use crate::answer::is_known;
use crate::error::ApiError;

/// First parts of the paths that are pages.
const PAGES: [&str; 5] = ["", "targets", "incidents", "changes", "system"];

/// Names below this hold a hash of their content, so they never change.
const HASHED: &str = "/assets/";

/// Nothing but our own files, and no code or style within the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the dashboard.
struct File {
    path: &'static str,
    plain: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

/// Empty where the dashboard was not built.
static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/dashboard.rs"));

/// What the pages say without a dashboard.
static NOT_BUILT: File = File {
    path: "/index.html",
    plain: b"<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
        <meta name=\"viewport\" content=\"width=device-width\">\n<title>lookout</title>\n<h1>lookout is running</h1>\n\
        <p>This program was built without its dashboard. <code>make dashboard</code> builds it, with Node.js 20 or newer;\n\
        then build the program again. <code>make run</code> does both.\n\
        <p>Without it: <a href=\"/status\">every check</a>, <a href=\"/api/v1/summary\">counts</a>,\n\
        <a href=\"/api/v1/targets\">targets</a> and <a href=\"/api/docs/\">the whole API</a>.\n</html>\n",
    brotli: None,
    gzip: None,
};

/// The page at every path of [`PAGES`].
static PAGE: LazyLock<&File> =
    LazyLock::new(|| FILES.iter().find(|file| file.path == "/index.html").unwrap_or(&NOT_BUILT));

/// The page's tag. A weak one: compressed or not, it is the same page.
static PAGE_TAG: LazyLock<String> = LazyLock::new(|| format!("W/\"{}\"", fingerprint(PAGE.plain)));

/// Something that differs when the content does.
pub(crate) fn fingerprint(content: &[u8]) -> String {
    Sha256::digest(content).iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a page or a file of the dashboard is at this path.
pub(crate) fn is_here(path: &str) -> bool {
    find(path).is_some()
}

fn find(path: &str) -> Option<&'static File> {
    let first = path.strip_prefix('/')?.split('/').next().unwrap_or_default();
    // An empty first part is the overview, and has none behind it.
    if PAGES.contains(&first) && (path == "/" || !first.is_empty()) {
        return Some(*PAGE);
    }
    FILES.iter().find(|file| file.path == path && path != "/index.html")
}

/// What is answered where no route is.
///
/// # Errors
/// 404 where there is no page either, 405 for what is neither GET nor HEAD.
pub(crate) async fn answer(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let file = find(request.path()).ok_or(ApiError::NoRoute)?;
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Err(ApiError::MethodNotAllowed("GET, HEAD".to_owned()));
    }
    Ok(respond(file, request.headers()))
}

fn respond(file: &File, asked: &HeaderMap) -> HttpResponse {
    let is_page = file.path == "/index.html";
    let mut response = HttpResponse::Ok();
    response.insert_header((VARY, "accept-encoding"));
    response.insert_header((REFERRER_POLICY, "same-origin"));
    if is_page {
        response.insert_header((CACHE_CONTROL, "no-cache"));
        response.insert_header((ETAG, PAGE_TAG.as_str()));
        response.insert_header((CONTENT_SECURITY_POLICY, POLICY));
        if is_known(asked, &PAGE_TAG) {
            return response.status(StatusCode::NOT_MODIFIED).finish();
        }
    } else if file.path.starts_with(HASHED) {
        response.insert_header((CACHE_CONTROL, "public, max-age=31536000, immutable"));
    } else {
        response.insert_header((CACHE_CONTROL, "public, max-age=3600"));
    }
    response.content_type(content_type(file.path));
    let accepted = asked.get(ACCEPT_ENCODING).and_then(|names| names.to_str().ok()).unwrap_or_default();
    for (name, bytes) in [("br", file.brotli), ("gzip", file.gzip)] {
        if let Some(bytes) = bytes.filter(|_| accepts(accepted, name)) {
            return response.insert_header((CONTENT_ENCODING, name)).body(bytes);
        }
    }
    response.body(file.plain)
}

/// Whether an `Accept-Encoding` has this one, and not with `q=0`.
pub(crate) fn accepts(header: &str, name: &str) -> bool {
    header.split(',').any(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        let is_it = parts.next().is_some_and(|given| given.eq_ignore_ascii_case(name));
        is_it && !parts.any(|part| part.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0)))
    })
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json") => "application/json",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    static SCRIPT: File =
        File { path: "/assets/index-1a2b.js", plain: b"plain", brotli: Some(b"brotli"), gzip: Some(b"gzip") };

    async fn asked_for(file: &File, accept_encoding: &'static str) -> (HttpResponse<()>, Vec<u8>) {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(accept_encoding));
        let (head, body) = respond(file, &headers).into_parts();
        (head, to_bytes(body).await.unwrap().to_vec())
    }

    fn sent(head: &HttpResponse<()>, name: HeaderName) -> String {
        head.headers().get(name).unwrap().to_str().unwrap().to_owned()
    }

    #[actix_web::test]
    async fn a_file_comes_in_the_smallest_form_that_is_accepted() {
        for (accepted, body, encoding) in [
            ("gzip, deflate, br, zstd", "brotli", Some("br")),
            ("gzip;q=1.0, br;q=0", "gzip", Some("gzip")),
            ("GZIP", "gzip", Some("gzip")),
            ("", "plain", None),
            ("brotli, x-gzip", "plain", None),
        ] {
            let (head, bytes) = asked_for(&SCRIPT, accepted).await;
            assert_eq!(bytes, body.as_bytes(), "{accepted}");
            let given = head.headers().get(CONTENT_ENCODING).map(|value| value.to_str().unwrap());
            assert_eq!(given, encoding, "{accepted}");
            assert_eq!(sent(&head, VARY), "accept-encoding");
        }
    }

    #[actix_web::test]
    async fn what_has_its_hash_in_its_name_is_kept_for_ever_and_the_page_is_asked_for_again() {
        let (head, _) = asked_for(&SCRIPT, "").await;
        assert_eq!(sent(&head, CACHE_CONTROL), "public, max-age=31536000, immutable");
        let (head, _) = asked_for(&PAGE, "").await;
        assert_eq!(sent(&head, CACHE_CONTROL), "no-cache");
        let mut headers = HeaderMap::new();
        headers.insert(actix_web::http::header::IF_NONE_MATCH, HeaderValue::from_str(&sent(&head, ETAG)).unwrap());
        assert_eq!(respond(&PAGE, &headers).status(), 304);
        headers.insert(actix_web::http::header::IF_NONE_MATCH, HeaderValue::from_static("W/\"another\""));
        assert_eq!(respond(&PAGE, &headers).status(), 200);
    }

    #[test]
    fn the_page_holds_no_code_and_no_style_and_asks_nobody_else() {
        assert!(!POLICY.contains("unsafe") && !POLICY.contains("http") && !POLICY.contains('*'));
        for file in FILES.iter().filter(|file| file.path == "/index.html") {
            let html = String::from_utf8_lossy(file.plain);
            assert!(!html.contains("<style") && !html.contains("style=") && !html.contains("onload"), "{html}");
            assert!(!html.contains("http:") && !html.contains("https:") && !html.contains("\"//"), "{html}");
            for script in html.split("<script").skip(1) {
                assert!(script.contains(" src=\"/assets/"), "{script}");
            }
        }
    }

    #[test]
    fn pages_are_told_from_paths_that_are_nothing() {
        for path in ["/", "/targets", "/targets/http%3A%2F%2Fa%2Fb", "/incidents/17", "/changes", "/system"] {
            assert!(is_here(path), "{path}");
        }
        for path in
            ["/nothing", "/api/v1/nothing", "/status/", "/index.html", "/assets/none.js", "/Targets", "", "//", "//x"]
        {
            assert!(!is_here(path), "{path}");
        }
    }
}
