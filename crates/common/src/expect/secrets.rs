//! What a target sends that nobody else may see, kept out of what is said of its answers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::target::TargetSpec;
use crate::url::is_secret_name;

/// Shorter texts are no secret, and hiding them would hide everything.
const SHORTEST: usize = 4;

/// Shorter pieces of a header, a query or a body are words.
const SHORTEST_PIECE: usize = 8;

/// Request headers whose values every browser tells everybody.
const HARMLESS_HEADERS: [&str; 8] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "content-type",
    "pragma",
    "user-agent",
];

/// The texts of a target that may be secret, the longest first.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secrets(Vec<String>);

impl Secrets {
    /// Header values, user and password, the body, what was filled into the URL, and the pieces that
    /// these and the query are made of.
    pub fn of(target: &TargetSpec) -> Self {
        let mut found = Self::default();
        for (name, value) in &target.headers {
            if !HARMLESS_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
                found.add(value, SHORTEST);
                found.add_pieces(value);
            }
        }
        if let Some((user, password)) = target.url.credentials() {
            found.add(password, SHORTEST);
            let both = format!("{user}:{password}");
            found.add(&STANDARD.encode(&both), SHORTEST);
            found.add(&both, SHORTEST);
        }
        let url = target.url.url();
        for (name, value) in url.query_pairs() {
            found.add(&value, if is_secret_name(&name) { SHORTEST } else { SHORTEST_PIECE });
        }
        for piece in target.url.hidden() {
            found.add(&piece, SHORTEST);
        }
        if target.url.has_secrets() {
            let host = url.host_str().into_iter();
            for piece in host.chain(url.path().split('/')).chain(url.query()).chain([url.as_str()]) {
                found.add(piece, SHORTEST);
            }
        }
        if let Some(body) = &target.body {
            found.add(body, SHORTEST);
            match serde_json::from_str(body) {
                Ok(value) => found.add_texts(&value),
                Err(_) => found.add_pieces(body),
            }
        }
        // A longer one may hold a shorter one.
        found.0.sort_by_key(|text| std::cmp::Reverse(text.len()));
        found.0.dedup();
        found
    }

    /// The text with every secret in it made `***`.
    pub fn hide(&self, text: &str) -> String {
        let mut hidden = text.to_owned();
        for secret in &self.0 {
            if hidden.contains(secret.as_str()) {
                hidden = hidden.replace(secret.as_str(), "***");
            }
        }
        hidden
    }

    fn add(&mut self, text: &str, shortest: usize) {
        let text = text.trim();
        if text.len() < shortest {
            return;
        }
        self.0.push(text.to_owned());
        // As it stands in a JSON answer that repeats it.
        let escaped = Value::from(text).to_string();
        let escaped = escaped[1..escaped.len() - 1].to_owned();
        if escaped != text {
            self.0.push(escaped);
        }
    }

    fn add_pieces(&mut self, text: &str) {
        for piece in text.split(|c: char| c.is_whitespace() || ";,&=\"".contains(c)) {
            self.add(piece, SHORTEST_PIECE);
        }
    }

    fn add_texts(&mut self, value: &Value) {
        match value {
            Value::String(text) => {
                self.add(text, SHORTEST_PIECE);
                self.add_pieces(text);
            }
            Value::Array(items) => items.iter().for_each(|item| self.add_texts(item)),
            Value::Object(fields) => fields.values().for_each(|field| self.add_texts(field)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::url::TargetUrl;

    #[test]
    fn everything_a_target_sends_in_confidence_is_hidden_in_every_form() {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let target = TargetSpec {
            headers: vec![
                header("Authorization", "Bearer canary-one\"q"),
                header("Cookie", "theme=dark; session=canary-two"),
                header("X-Pin", "9876"),
                header("X-Mode", "on"),
                header("Accept", "application/json"),
            ],
            body: Some(r#"{"user": "me", "deep": [{"token": "canary-three"}]}"#.to_owned()),
            ..TargetSpec::new("a", TargetUrl::parse("http://joe:canary-4@a/?key=canary-five&pwd=five5&v=2").unwrap())
        };
        let secrets = Secrets::of(&target);
        assert_eq!(format!("{secrets:?}").matches("canary").count(), 0);
        let seen = r#"Bearer canary-one"q, {"a": "canary-one\"q"}, session=canary-two, canary-three, canary-4,
            joe:canary-4, Basic am9lOmNhbmFyeS00, canary-five, five5, 9876, {"user": "me", "deep": [{"token": "canary-three"}]}"#;
        let hidden = secrets.hide(seen);
        assert!(!hidden.contains("canary") && !hidden.contains("am9l") && !hidden.contains("9876"), "{hidden}");
        assert!(!hidden.contains("five5"), "{hidden}");
        assert_eq!(secrets.hide("application/json is on, v=2, theme=dark"), "application/json is on, v=2, theme=dark");
    }

    #[test]
    fn what_an_answer_repeats_of_a_url_within_the_url_is_hidden() {
        for (url, said) in [
            ("http://a/p/http://me:pwpw@b/", "/p/http://me:pwpw@b/"),
            ("http://a/?to=http%253A%252F%252Fme%253Apwpw%2540b", "http%3A%2F%2Fme%3Apwpw%40b, me:pwpw, pwpw"),
            ("http://a/?next=%2F%3Ftoken%3Dpwpw", "pwpw of /?token=pwpw"),
        ] {
            let target = TargetSpec::new("a", TargetUrl::parse(url).unwrap());
            let hidden = Secrets::of(&target).hide(said);
            assert!(!hidden.contains("pwpw"), "{url}: {hidden}");
        }
    }

    #[test]
    fn a_target_without_secrets_hides_nothing() {
        let target = TargetSpec::new("a", TargetUrl::parse("http://a/").unwrap());
        assert_eq!(Secrets::of(&target).hide("a b c"), "a b c");
    }
}
