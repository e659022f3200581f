//! One endpoint of any source on its way to being a target of ours.

use std::collections::HashSet;
use std::time::Duration;

use common::{Interval, Method, TargetUrl};
use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use settings::{duration, file::RESERVED_HEADERS};

use crate::Imported;
use crate::expect::Expect;
use crate::notes::{Notes, Place};
use crate::secrets::Secrets;
use crate::text::Text;
use crate::yaml::{self, Yaml};

/// What a source says about one endpoint, still with its secrets.
#[derive(Debug, Default)]
pub(crate) struct Endpoint {
    pub(crate) name: Text,
    /// Told apart by this if several have the same name.
    pub(crate) group: Option<Text>,
    pub(crate) url: Text,
    pub(crate) method: Option<String>,
    pub(crate) headers: Vec<(String, Text)>,
    /// User and password for an `authorization` header.
    pub(crate) basic: Option<(String, String)>,
    pub(crate) body: Option<Text>,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) expect: Expect,
    pub(crate) labels: Vec<(String, Text)>,
}

/// The file being written.
#[derive(Default)]
pub(crate) struct Output {
    targets: Vec<Yaml>,
    names: HashSet<String>,
    pub(crate) secrets: Secrets,
    pub(crate) notes: Notes,
}

impl Output {
    /// Writes an endpoint, or notes why it cannot be.
    pub(crate) fn add(&mut self, place: &Place, mut endpoint: Endpoint) {
        if endpoint.expect.limit() {
            self.notes.not_carried(place, "conditions", "some are more than lookout takes: 50 of up to 4096 bytes");
        }
        let name = self.name(place, &endpoint);
        let Some(method) = method(endpoint.method.as_deref()) else {
            let method = endpoint.method.unwrap_or_default();
            self.notes.left_out(place, format_args!("the method {method:?} is none that is sent"));
            return;
        };
        self.dollars(place, &endpoint);
        let (url, credentials) = without_credentials(endpoint.url);
        // A variable may be a port.
        if let Err(error) = TargetUrl::parse(&url.sample()).or_else(|_| TargetUrl::parse(&url.sample_with("1"))) {
            self.notes.left_out(place, format_args!("its URL {error}"));
            return;
        }
        let shown = name.shown();
        let mut fields = vec![
            ("name".to_owned(), Yaml::Text(name.written())),
            ("url".to_owned(), Yaml::Text(self.url(&shown, url).written())),
        ];
        if method != Method::Get {
            fields.push(("method".to_owned(), Yaml::text(method.as_str())));
        }
        let basic = endpoint.basic.or(credentials);
        let headers = self.headers(place, &shown, endpoint.headers, basic);
        if !headers.is_empty() {
            fields.push(("headers".to_owned(), Yaml::Map(headers)));
        }
        if let Some(body) = endpoint.body {
            if body.sample().contains('\0') {
                self.notes.not_carried(place, "body", "has a NUL character");
            } else {
                let body = self.secrets.body(&shown, body);
                fields.push(("body".to_owned(), Yaml::Text(body.written())));
            }
        }
        let interval = self.interval(place, endpoint.interval);
        let timeout = self.timeout(place, endpoint.timeout, interval);
        fields.push(("interval".to_owned(), Yaml::Plain(duration::format(interval))));
        fields.push(("timeout".to_owned(), Yaml::Plain(duration::format(timeout))));
        fields.extend(endpoint.expect.yaml().map(|expect| ("expect".to_owned(), expect)));
        let labels = self.labels(place, endpoint.labels);
        if !labels.is_empty() {
            fields.push(("labels".to_owned(), Yaml::Map(labels)));
        }
        self.targets.push(Yaml::Map(fields));
    }

    /// A name that no other target has, because it is also the key.
    fn name(&mut self, place: &Place, endpoint: &Endpoint) -> Text {
        let base = match one_line(&endpoint.name) {
            name if name.sample().is_empty() => Text::literal("unnamed"),
            name => name,
        };
        let mut name = base.clone();
        if self.names.contains(&name.written())
            && let Some(group) = &endpoint.group
        {
            name = base.clone().and(" (").join(one_line(group)).and(")");
        }
        let with_group = name.clone();
        let mut count = 1;
        while !self.names.insert(name.written()) {
            count += 1;
            name = with_group.clone().and(format!(" {count}"));
        }
        if endpoint.name.references().next().is_some() {
            self.notes.changed(
                place,
                "name",
                "has a variable, which is not filled in, because people see names; write it out",
            );
        } else if name != endpoint.name {
            self.notes.changed(
                place,
                "name",
                format_args!("became {:?}: names are unique, not blank and on one line", name.shown()),
            );
        }
        name
    }

    fn url(&mut self, target: &str, url: Text) -> Text {
        let url = match Authority::of(&url) {
            Some(Authority { scheme, credentials: Some(credentials), host, path }) => {
                let (user, password) = match credentials.split_once(|c| c == ':') {
                    Some((user, _, password)) => {
                        (user, Text::literal(":").join(self.hide_literals(target, "password", password)))
                    }
                    None => (credentials, Text::default()),
                };
                let user = self.hide_literals(target, "user", user);
                scheme.and("://").join(user).join(password).and("@").join(host).join(path)
            }
            _ => url,
        };
        let Some((base, '?', query)) = url.split_once(|c| c == '?' || c == '#') else {
            return url;
        };
        let (query, fragment) = match query.split_once(|c| c == '#') {
            Some((query, _, fragment)) => (query, Text::literal("#").join(fragment)),
            None => (query, Text::default()),
        };
        base.and("?").join(self.secrets.query(target, query)).join(fragment)
    }

    /// Part of a URL that has references: what stands beside them is as secret as they are.
    fn hide_literals(&mut self, target: &str, part: &str, text: Text) -> Text {
        text.replace(|literal, _| match literal.is_empty() {
            true => Text::default(),
            false => self.secrets.hide(target, part, literal),
        })
    }

    /// Notes where a dollar stands before a variable, which cannot be written.
    fn dollars(&mut self, place: &Place, endpoint: &Endpoint) {
        let headers = endpoint.headers.iter().map(|(name, value)| (format!("header {name}"), value));
        let texts = [("url".to_owned(), &endpoint.url)].into_iter().chain(headers);
        let texts = texts.chain(endpoint.body.iter().map(|body| ("body".to_owned(), body)));
        for (field, _) in texts.filter(|(_, text)| text.has_dollar_before_reference()) {
            self.notes.changed(
                place,
                &field,
                "has a $ right before a variable, and $${ is a literal ${ here; put the $ into the variable, and take it out here",
            );
        }
    }

    fn headers(
        &mut self,
        place: &Place,
        target: &str,
        headers: Vec<(String, Text)>,
        basic: Option<(String, String)>,
    ) -> Vec<(String, Yaml)> {
        let mut written: Vec<(String, Yaml)> = Vec::new();
        for (name, value) in headers {
            let field = format!("header {name}");
            let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
                self.notes.not_carried(place, "headers", format_args!("{name:?} is no header name"));
                continue;
            };
            if RESERVED_HEADERS.contains(&parsed.as_str()) {
                self.notes.not_carried(place, &field, "is set by the connection itself; use a URL with the right host");
                continue;
            }
            if HeaderValue::from_str(&value.sample()).is_err() {
                self.notes.not_carried(place, &field, "its value has a line break or another control character");
                continue;
            }
            let value = self.secrets.header(target, &name, value);
            // Names differ in case only, and the last one counts.
            written.retain(|(other, _)| !other.eq_ignore_ascii_case(&name));
            written.push((name, Yaml::Text(value.written())));
        }
        if let Some((user, password)) = basic
            && !written.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"))
        {
            let value = self.secrets.basic(target, &user, &password);
            written.push(("authorization".to_owned(), Yaml::Text(value.written())));
        }
        written
    }

    fn interval(&mut self, place: &Place, wanted: Duration) -> Duration {
        let interval = whole_millis(wanted).clamp(Interval::MIN, Interval::MAX);
        if interval != wanted {
            self.notes.changed(place, "interval", format_args!("became {}: 1s to 24h", duration::format(interval)));
        }
        interval
    }

    fn timeout(&mut self, place: &Place, wanted: Duration, interval: Duration) -> Duration {
        let timeout = whole_millis(wanted).clamp(Duration::from_millis(1), interval);
        if timeout != wanted {
            self.notes.changed(
                place,
                "timeout",
                format_args!("became {}: at least 1ms, at most the interval", duration::format(timeout)),
            );
        }
        timeout
    }

    fn labels(&mut self, place: &Place, labels: Vec<(String, Text)>) -> Vec<(String, Yaml)> {
        let mut written: Vec<(String, Yaml)> = Vec::new();
        for (name, value) in labels {
            let (clean_name, clean) = (line(&name), one_line(&value));
            if clean_name.is_empty() {
                self.notes.not_carried(place, "labels", "a label without a name");
                continue;
            }
            if value.references().next().is_some() {
                let field = format!("label {clean_name}");
                self.notes.changed(
                    place,
                    &field,
                    "has a variable, which is not filled in, because people see labels; write it out",
                );
            } else if clean_name != name || clean != value {
                self.notes.changed(place, &format!("label {clean_name}"), "was put on one line and cut to 2000 bytes");
            }
            if written.iter().any(|(other, _)| *other == clean_name) {
                self.notes.not_carried(place, &format!("label {clean_name}"), "comes twice; the first value is kept");
                continue;
            }
            written.push((clean_name, Yaml::Text(clean.written())));
        }
        written
    }

    /// The file, under a comment that says where it comes from and what it needs.
    pub(crate) fn finish(self, command: &str, source: &str) -> Imported {
        let variables = self.secrets.into_variables();
        let mut text = format!("# Written by `lookout import {command}` from {}.\n", line(source));
        if !variables.is_empty() {
            text.push_str("# It refers to these variables, which must be set where lookout runs:\n");
        }
        for variable in &variables {
            text.push_str(&format!("#   {}  {}\n", variable.name, variable.what));
        }
        text.push_str(&yaml::write(&Yaml::List(self.targets.clone())));
        Imported { yaml: text, targets: self.targets.len(), notes: self.notes, variables }
    }
}

fn method(name: Option<&str>) -> Option<Method> {
    match name.map(str::trim) {
        None | Some("") => Some(Method::Get),
        Some(name) => Method::parse(&name.to_uppercase()),
    }
}

/// A URL up to its path.
struct Authority {
    scheme: Text,
    credentials: Option<Text>,
    host: Text,
    /// And what follows.
    path: Text,
}

impl Authority {
    fn of(url: &Text) -> Option<Self> {
        let (scheme, _, rest) = url.split_once(|c| c == ':')?;
        let (_, '/', rest) = rest.split_once(|c| c == '/')? else { return None };
        let (_, '/', rest) = rest.split_once(|c| c == '/')? else { return None };
        let (authority, path) = match rest.split_once(|c| ['/', '?', '#', '\\'].contains(&c)) {
            Some((authority, c, path)) => (authority, Text::literal(c).join(path)),
            None => (rest, Text::default()),
        };
        Some(match authority.rsplit_once(|c| c == '@') {
            Some((credentials, _, host)) => Self { scheme, credentials: Some(credentials), host, path },
            None => Self { scheme, credentials: None, host: authority, path },
        })
    }
}

/// Takes user and password out of a URL that has them in clear.
fn without_credentials(url: Text) -> (Text, Option<(String, String)>) {
    let split = || {
        let Authority { scheme, credentials, host, path } = Authority::of(&url)?;
        let credentials = credentials?;
        let (user, password) = credentials.as_literal().map(|both| both.split_once(':').unwrap_or((both, "")))?;
        let decode = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        Some((scheme.and("://").join(host).join(path), (decode(user), decode(password))))
    };
    match split() {
        Some((bare, credentials)) => (bare, Some(credentials)),
        None => (url, None),
    }
}

fn whole_millis(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// A text as a name can have it: on one line, not padded, not too long for an index, without references.
fn one_line(text: &Text) -> Text {
    Text::literal(line(&text.shown()))
}

/// Room is left for what makes a name unique.
const MAX_BYTES: usize = 1_900;

fn line(text: &str) -> String {
    let line = text.replace(char::is_control, " ");
    let line = line.trim();
    line[..line.floor_char_boundary(MAX_BYTES)].trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(name: &str, url: &str) -> Endpoint {
        Endpoint {
            name: Text::literal(name),
            url: Text::literal(url),
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(10),
            ..Endpoint::default()
        }
    }

    fn written(endpoints: Vec<Endpoint>) -> Imported {
        let mut output = Output::default();
        for endpoint in endpoints {
            output.add(&Place::new("e", 1), endpoint);
        }
        output.finish("gatus", "a.yaml")
    }

    #[test]
    fn user_and_password_of_a_url_become_a_header() {
        let imported = written(vec![endpoint("a", "https://me:p%40ss@example.org/x?token=t0ps3cret#top")]);
        assert!(
            imported.yaml.contains("url: \"https://example.org/x?token=${TARGET_A_TOKEN}#top\""),
            "{}",
            imported.yaml
        );
        assert!(imported.yaml.contains("authorization: \"Basic ${TARGET_A_BASIC}\""), "{}", imported.yaml);
        let values: Vec<_> = imported.variables.iter().map(|variable| variable.value.as_deref().unwrap()).collect();
        assert_eq!(values, ["t0ps3cret", "bWU6cEBzcw=="]);
        assert!(!imported.yaml.contains("t0ps3cret"));
    }

    #[test]
    fn beside_a_variable_user_and_password_of_a_url_are_hidden_too() {
        let with = |before: &str, behind: &str| Text::literal(before).join(Text::reference("X")).and(behind);
        let url = |url: Text| {
            let imported = written(vec![Endpoint { url, ..endpoint("a", "") }]);
            assert!(!imported.yaml.contains("s3cret"), "{}", imported.yaml);
            let url = imported.yaml.lines().find_map(|line| line.trim().strip_prefix("url: ")).unwrap().to_owned();
            let values: Vec<_> = imported.variables.into_iter().filter_map(|variable| variable.value).collect();
            (url.trim_matches('"').to_owned(), values)
        };
        let hidden = |url: &str, values: &[&str]| (url.to_owned(), values.iter().map(ToString::to_string).collect());
        assert_eq!(
            url(with("https://s3cret-u:s3cret-p", "s3cret-q@h/x")),
            hidden(
                "https://${TARGET_A_USER}:${TARGET_A_PASSWORD}${X}${TARGET_A_PASSWORD_2}@h/x",
                &["s3cret-p", "s3cret-q", "s3cret-u"]
            )
        );
        assert_eq!(url(with("https://s3cret", "@h?a=b")), hidden("https://${TARGET_A_USER}${X}@h?a=b", &["s3cret"]));
        let both = with("https://", ":").join(Text::reference("Y")).and("@h/");
        assert_eq!(url(both), hidden("https://${X}:${Y}@h/", &[]));
        assert_eq!(url(with("https://h/", "/me@home")), hidden("https://h/${X}/me@home", &[]));
    }

    #[test]
    fn two_targets_never_share_a_name() {
        let mut grouped = endpoint("a", "http://b");
        grouped.group = Some(Text::literal("g"));
        let imported =
            written(vec![endpoint("a", "http://a"), grouped, endpoint("a", "http://c"), endpoint("\n", "http://d")]);
        for name in ["- name: a\n", "- name: a (g)\n", "- name: a 2\n", "- name: unnamed\n"] {
            assert!(imported.yaml.contains(name), "{}", imported.yaml);
        }
    }

    #[test]
    fn what_our_reader_would_refuse_is_bent_or_left_out_with_a_note() {
        let mut bent = endpoint("a", "http://a");
        bent.interval = Duration::from_millis(10);
        bent.timeout = Duration::from_secs(90);
        bent.headers = vec![
            ("Host".into(), Text::literal("x")),
            ("a b".into(), Text::literal("x")),
            ("c".into(), Text::literal("x\ny")),
        ];
        bent.labels = vec![("l\n".into(), Text::literal("v")), ("l".into(), Text::literal("w"))];
        let mut traced = endpoint("t", "http://t");
        traced.method = Some("TRACE".into());
        let imported = written(vec![bent, traced, endpoint("u", "ftp://u"), endpoint("v", "http://")]);
        assert_eq!(imported.targets, 1);
        let notes = imported.notes.to_string();
        for part in [
            "the method \"TRACE\"",
            "scheme \"ftp\"",
            "no host",
            "header Host",
            "\"a b\" is no header",
            "header c",
            "interval: became 1s",
            "timeout: became 1s",
            "label l: comes twice",
        ] {
            assert!(notes.contains(part), "{part}: {notes}");
        }
        settings::file::parse(
            "x",
            imported.yaml.as_bytes(),
            settings::file::Mode::Service,
            &settings::Defaults::default(),
        )
        .unwrap();
    }
}
