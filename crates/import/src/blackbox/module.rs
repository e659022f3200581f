//! `modules:` of the exporter, of which those with the prober http become targets.

use std::collections::HashMap;
use std::time::Duration;

use regex::Regex;
use settings::file::{Fields, Node, Path, Report};

use super::is_false;
use crate::expect::{Check, Expect, Value};
use crate::notes::Place;
use crate::pattern;
use crate::source::Typed;
use crate::status::Codes;
use crate::target::{Endpoint, Output};
use crate::text::Text;

/// The modules by name; `None` if no file was given.
#[derive(Default)]
pub(super) struct Modules {
    known: Option<HashMap<String, Module>>,
}

/// What a module does.
enum Module {
    Http(Box<Http>),
    /// Another prober, by its name.
    Other(String),
}

/// A module with the prober http.
struct Http {
    timeout: Option<Duration>,
    needs_tls: Option<bool>,
    method: Option<String>,
    headers: Vec<(String, Text)>,
    basic: Option<(String, String)>,
    body: Option<String>,
    expect: Expect,
}

impl Modules {
    pub(super) fn read(file: &str, root: &Node, output: &mut Output, report: &mut Report) -> Self {
        let mut known = HashMap::new();
        let Some(fields) =
            Fields::of(root, Path::root(), "a configuration of blackbox_exporter, with `modules:`", report)
        else {
            return Self { known: Some(known) };
        };
        let Some(modules) = fields.map("modules", report) else {
            if fields.node("modules").is_none() {
                report.error(root.at, &fields.path, "no `modules:`, so this is no configuration of blackbox_exporter");
            }
            return Self { known: Some(known) };
        };
        for (name, entry) in modules.entries() {
            let path = modules.path.field(name);
            let Some(fields) = Fields::of(&entry.value, path, "a module", report) else { continue };
            let place = Place::new(format!("module {name} in {file}"), entry.key_at.line);
            let module = match fields.text("prober", report).unwrap_or_default() {
                "http" => Module::Http(Box::new(http(&fields, &place, output, report))),
                other => Module::Other(other.to_owned()),
            };
            known.insert(name.to_owned(), module);
        }
        Self { known: Some(known) }
    }

    /// Adds what a module asks and expects to an endpoint, and returns its timeout.
    ///
    /// # Errors
    /// Why there can be no such target.
    pub(super) fn apply(
        &self,
        name: &str,
        is_http: bool,
        place: &Place,
        endpoint: &mut Endpoint,
        output: &mut Output,
    ) -> Result<Option<Duration>, String> {
        let Some(known) = &self.known else {
            return guess(name, is_http, place, endpoint, output);
        };
        let module = match known.get(name) {
            Some(Module::Http(module)) => module,
            Some(Module::Other(prober)) => {
                return Err(format!("is probed with {prober} (module {name}); lookout watches http and https"));
            }
            None => return Err(format!("asks for the module {name}, which the file of modules does not have")),
        };
        let is_https = endpoint.url.sample().starts_with("https://");
        match module.needs_tls {
            Some(true) if !is_https => {
                return Err(format!(
                    "must have TLS (fail_if_not_ssl of module {name}), and its URL has none; write https://"
                ));
            }
            Some(false) if is_https => {
                return Err(format!(
                    "must not have TLS (fail_if_ssl of module {name}), and its URL has it; write http://"
                ));
            }
            _ => {}
        }
        endpoint.method.clone_from(&module.method);
        endpoint.headers.clone_from(&module.headers);
        endpoint.basic.clone_from(&module.basic);
        endpoint.body = module.body.as_deref().map(Text::literal);
        endpoint.expect = module.expect.clone();
        Ok(module.timeout)
    }
}

/// Without the file only the names say what the modules do.
fn guess(
    name: &str,
    is_http: bool,
    place: &Place,
    endpoint: &mut Endpoint,
    output: &mut Output,
) -> Result<Option<Duration>, String> {
    match name {
        "http_2xx" => {}
        "http_post_2xx" => endpoint.method = Some("POST".to_owned()),
        _ if is_http || name.starts_with("http") => {
            let how = format!(
                "module {name} is taken for a GET that expects 200-299; give the exporter's file with --modules"
            );
            output.notes.changed(place, "module", how);
        }
        _ => {
            return Err(format!(
                "is probed with module {name}, which seems to be no http; give the exporter's file with --modules"
            ));
        }
    }
    Ok(None)
}

fn http(fields: &Fields, place: &Place, output: &mut Output, report: &mut Report) -> Http {
    let mut http = Http {
        timeout: fields.duration("timeout", report),
        needs_tls: None,
        method: None,
        headers: Vec::new(),
        basic: None,
        body: None,
        expect: Expect::default(),
    };
    for (key, entry) in fields.entries() {
        if !["prober", "timeout", "http"].contains(&key) {
            output.notes.not_carried(&place.at(entry.key_at.line), key, "is nothing an http module uses");
        }
    }
    let Some(fields) = fields.map("http", report) else { return http };
    http.method = fields.text("method", report).map(str::to_owned);
    http.body = fields.text("body", report).filter(|body| !body.is_empty()).map(str::to_owned);
    http.expect.status = status(&fields, report);
    for (name, value, _) in fields.pairs("headers", report) {
        http.headers.push((name.to_owned(), Text::literal(value)));
    }
    more_headers(&fields, &mut http, place, output, report);
    authorization(&fields, &mut http, place, output, report);
    bodies(&fields, &mut http, place, output, report);
    header_checks(&fields, &mut http, place, output, report);
    if fields.flag("fail_if_ssl", report) == Some(true) {
        http.needs_tls = Some(false);
    }
    if fields.flag("fail_if_not_ssl", report) == Some(true) {
        http.needs_tls = Some(true);
    }
    other_fields(&fields, place, output, report);
    http
}

/// The accepted codes; nothing and an empty list are 2xx.
fn status(fields: &Fields, report: &mut Report) -> Option<Codes> {
    let path = fields.path.field("valid_status_codes");
    let mut codes = Vec::new();
    for (node, text) in fields.texts("valid_status_codes", report) {
        match text.parse::<u16>() {
            Ok(code) if (100..=599).contains(&code) => codes.push(code),
            _ => report.error(node.at, &path, format_args!("{} is no status code", crate::source::shown(text))),
        }
    }
    (!codes.is_empty()).then(|| Codes::that(|code| codes.contains(&code)))
}

/// `http_headers:`, of which the last value of each is sent.
fn more_headers(fields: &Fields, http: &mut Http, place: &Place, output: &mut Output, report: &mut Report) {
    let Some(headers) = fields.map("http_headers", report) else { return };
    for (name, entry) in headers.entries() {
        let Some(header) = Fields::of(&entry.value, headers.path.field(name), "a mapping", report) else { continue };
        let last =
            |kind: &str, report: &mut Report| header.texts(kind, report).last().map(|(_, text)| (*text).to_owned());
        let value = match (last("files", report), last("secrets", report).or_else(|| last("values", report))) {
            (Some(file), _) => Text::reference(format!("file:{file}")),
            (None, Some(value)) => Text::literal(value),
            (None, None) => {
                output.notes.not_carried(&place.at(entry.key_at.line), &format!("header {name}"), "has no value");
                continue;
            }
        };
        http.headers.push((name.to_owned(), value));
    }
}

fn authorization(fields: &Fields, http: &mut Http, place: &Place, output: &mut Output, report: &mut Report) {
    if let Some(basic) = fields.map("basic_auth", report) {
        let user = basic.text("username", report);
        let password = basic.text("password", report);
        if let (Some(user), Some(password)) = (user, password) {
            http.basic = Some((user.to_owned(), password.to_owned()));
        } else {
            let advice = "user and password are in files; set a variable to user:password in base64 and write \
                          `authorization: Basic ${VARIABLE}` under headers:";
            output.notes.not_carried(&place.at(basic.node.at.line), "basic_auth", advice);
        }
    }
    let mut set = |scheme: &str, value: Text| {
        http.headers.push(("authorization".to_owned(), Text::literal(format!("{scheme} ")).join(value)));
    };
    if let Some(authorization) = fields.map("authorization", report) {
        let scheme = authorization.text("type", report).unwrap_or("Bearer");
        if let Some(credentials) = authorization.text("credentials", report) {
            set(scheme, Text::literal(credentials));
        } else if let Some(file) = authorization.text("credentials_file", report) {
            set(scheme, Text::reference(format!("file:{file}")));
        }
    }
    if let Some(token) = fields.text("bearer_token", report) {
        set("Bearer", Text::literal(token));
    } else if let Some(file) = fields.text("bearer_token_file", report) {
        set("Bearer", Text::reference(format!("file:{file}")));
    }
}

fn bodies(fields: &Fields, http: &mut Http, place: &Place, output: &mut Output, report: &mut Report) {
    for (field, is_wanted) in [("fail_if_body_not_matches_regexp", true), ("fail_if_body_matches_regexp", false)] {
        for (node, regex) in fields.texts(field, report) {
            let check = match (pattern::literal(regex).filter(|text| !text.is_empty()), is_wanted) {
                (Some(text), true) => Check::Body("contains", Value::literal(text)),
                (Some(text), false) => Check::Body("not_contains", Value::literal(text)),
                (None, _) if Regex::new(regex).is_err() => {
                    output.notes.not_carried(&place.at(node.at.line), field, "the regex is not understood");
                    continue;
                }
                (None, true) => Check::Body("matches", Value::literal(regex)),
                (None, false) => Check::Body("not_matches", Value::literal(regex)),
            };
            http.expect.checks.push(check);
        }
    }
}

fn header_checks(fields: &Fields, http: &mut Http, place: &Place, output: &mut Output, report: &mut Report) {
    for (field, is_wanted) in [("fail_if_header_not_matches", true), ("fail_if_header_matches", false)] {
        let path = fields.path.field(field);
        for (index, node) in fields.list(field, report).iter().enumerate() {
            let Some(spec) = Fields::of(node, path.index(index), "a mapping with header and regexp", report) else {
                continue;
            };
            let (Some(header), Some(regex)) = (spec.text("header", report), spec.text("regexp", report)) else {
                report.error(node.at, &spec.path, "expected a mapping with header and regexp");
                continue;
            };
            if Regex::new(regex).is_err() || http::HeaderName::from_bytes(header.as_bytes()).is_err() {
                output.notes.not_carried(&place.at(node.at.line), field, "its header or regex is not understood");
                continue;
            }
            let header = header.to_lowercase();
            let operator = if is_wanted { "matches" } else { "not_matches" };
            let check = Check::Header(header.clone(), operator, Value::literal(regex));
            // Without this, a header that is missing fails both, there and with us.
            let may_be_missing = spec.flag("allow_missing", report) == Some(true);
            http.expect.checks.push(match may_be_missing {
                false => check,
                true => {
                    let missing = Check::Header(header, "exists", Value::Plain("false".to_owned()));
                    Check::Any(vec![missing, check])
                }
            });
        }
    }
}

fn other_fields(fields: &Fields, place: &Place, output: &mut Output, report: &mut Report) {
    const REDIRECTS: &str =
        "lookout follows up to five redirects and judges the last answer; a status of 300 to 399 is never seen";
    const ADDRESS: &str = "lookout takes the address that connects first";
    for (key, entry) in fields.entries() {
        let advice = match key {
            "method"
            | "body"
            | "valid_status_codes"
            | "headers"
            | "http_headers"
            | "basic_auth"
            | "authorization"
            | "bearer_token"
            | "bearer_token_file"
            | "fail_if_body_matches_regexp"
            | "fail_if_body_not_matches_regexp"
            | "fail_if_header_matches"
            | "fail_if_header_not_matches"
            | "fail_if_ssl"
            | "fail_if_not_ssl"
            | "tls_config" => continue,
            "follow_redirects" if !is_false(&entry.value) => continue,
            "no_follow_redirects" | "enable_http3" | "proxy_from_environment" if is_false(&entry.value) => continue,
            "follow_redirects" | "no_follow_redirects" => REDIRECTS,
            "preferred_ip_protocol" | "ip_protocol_fallback" => ADDRESS,
            "oauth2" => "lookout fetches no tokens; give one in a header",
            "valid_http_versions" | "enable_http2" | "enable_http3" => "lookout does not compare versions of HTTP",
            "body_file" => "write `${file:PATH}` as the body",
            "body_size_limit" => "lookout reads the first 64 KiB of a body",
            "compression" => "lookout takes gzip and deflate, and compares what is unpacked",
            "fail_if_body_json_matches_cel" | "fail_if_body_json_not_matches_cel" => {
                "lookout has no CEL; write the comparisons as JSON paths under expect: json:"
            }
            "proxy_url"
            | "no_proxy"
            | "proxy_from_environment"
            | "proxy_connect_header"
            | "skip_resolve_phase_with_proxy" => "lookout connects directly",
            _ => "is no field of an http module this importer knows",
        };
        output.notes.not_carried(&place.at(entry.key_at.line), key, advice);
    }
    let Some(tls) = fields.map("tls_config", report) else { return };
    for (key, entry) in tls.entries() {
        let advice = match key {
            "insecure_skip_verify" if is_false(&entry.value) => continue,
            "insecure_skip_verify" => "lookout always checks certificates; add their CA to those of the system",
            "ca_file" | "ca" => "add the CA to those of the system",
            "cert_file" | "key_file" | "cert" | "key" => "lookout has no client certificates",
            "server_name" => "lookout compares the certificate with the host of the URL",
            _ => "lookout has no such setting of TLS",
        };
        output.notes.not_carried(&place.at(entry.key_at.line), &format!("tls_config.{key}"), advice);
    }
}
