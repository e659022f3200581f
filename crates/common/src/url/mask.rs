//! What a URL says in confidence, and how it looks without that.

/// Stands for the value of a parameter that is secret.
pub(super) const PLACEHOLDER: &str = "***";

/// The text of a URL with `***` for the value of each parameter that names a secret, in its query and behind its `#`,
/// and for user and password of a URL within it; also of one within the value of a parameter, as in
/// `to=http://a/?token=b`. A value or a piece of the path that hides such a thing behind percent-encoding is `***` as a
/// whole, and so is a value of JSON that has a member like that. What `is_open` says so of stays, and so does what stands before the path.
pub(super) fn mask(text: &str, mut is_open: impl FnMut(&str) -> bool) -> String {
    let authority = text.find("://").map_or(0, |at| at + 3);
    let path = text[authority..].find(['/', '?', '#', '\\']).map_or(text.len(), |at| authority + at);
    let (head, tail) = text.split_at(path);
    let tail = mask_users(tail, &mut is_open);
    let (path, parameters) = tail.split_at(tail.find(['?', '#']).unwrap_or(tail.len()));
    let mut masked = head.to_owned();
    for piece in path.split_inclusive('/') {
        let (piece, end) = piece.strip_suffix('/').map_or((piece, ""), |piece| (piece, "/"));
        let is_masked = encodes_secret(piece) && !is_open(piece);
        masked.extend([if is_masked { PLACEHOLDER } else { piece }, end]);
    }
    for piece in parameters.split_inclusive(['&', '#']) {
        let (piece, end) = match piece.char_indices().next_back() {
            Some((at, '&' | '#')) => piece.split_at(at),
            _ => (piece, ""),
        };
        let (start, piece) = piece.strip_prefix('?').map_or(("", piece), |piece| ("?", piece));
        masked.push_str(start);
        mask_parameter(piece, &mut is_open, &mut masked);
        masked.push_str(end);
    }
    masked
}

fn mask_parameter(piece: &str, is_open: &mut impl FnMut(&str) -> bool, masked: &mut String) {
    let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
    let is_secret = |text| encodes_secret(text) || members(text).next().is_some();
    if is_secret(name) && !is_open(piece) {
        masked.push_str(PLACEHOLDER);
        return;
    }
    if is_secret(piece) && !is_open(value) {
        masked.extend([name, "=", PLACEHOLDER]);
        return;
    }
    let mut rest = piece;
    loop {
        // What stands before the `=` may begin behind a separator: the text of a query begins with one.
        let next = rest.find(['?', ';', '=']).unwrap_or(rest.len());
        match rest[next..].strip_prefix('=') {
            Some(value) if is_secret_name(&rest[..next]) && !is_open(value) => {
                masked.extend([&rest[..next], "=", PLACEHOLDER]);
                return;
            }
            _ if next == rest.len() => {
                masked.push_str(rest);
                return;
            }
            _ => {
                masked.push_str(&rest[..=next]);
                rest = &rest[next + 1..];
            }
        }
    }
}

/// The text with `***` for what looks like user and password before the `@` of a host.
fn mask_users(text: &str, is_open: &mut impl FnMut(&str) -> bool) -> String {
    const SLASHES: [char; 2] = ['/', '\\'];
    const SIGNS: [char; 5] = ['?', '&', '=', '#', ';'];
    let mut masked = String::with_capacity(text.len());
    let mut slashes = 0;
    for run in text.split_inclusive(SLASHES) {
        let user = run.rfind('@').and_then(|end| {
            let begin = match run[..end].find(':') {
                // A password may hold signs, the name of a user does not.
                Some(colon) => run[..colon].rfind(SIGNS).map_or(0, |at| at + 1),
                None if slashes > 1 && !run[..end].contains(SIGNS) => 0,
                None => return None,
            };
            (begin < end && !is_open(&run[begin..end])).then_some((begin, end))
        });
        match user {
            Some((begin, end)) => masked.extend([&run[..begin], PLACEHOLDER, &run[end..]]),
            None => masked.push_str(run),
        }
        slashes =
            if run.len() == 1 && run.ends_with(SLASHES) { slashes + 1 } else { usize::from(run.ends_with(SLASHES)) };
    }
    masked
}

/// How often a text is percent-decoded to see what it says.
pub(super) const LEVELS: usize = 4;

/// Users with their passwords, passwords alone, and values of parameters that name a secret.
pub(super) fn add_secrets(text: &str, secrets: &mut Vec<String>) {
    mask_users(text, &mut |user: &str| {
        if user != PLACEHOLDER {
            secrets.extend(user.split_once(':').map(|(_, password)| password.to_owned()));
            secrets.push(user.to_owned());
        }
        true
    });
    let parameters = text.split(['?', '&', '#', ';', '/']).filter_map(|piece| piece.split_once('='));
    let named = parameters.filter(|(name, value)| !value.is_empty() && *value != PLACEHOLDER && is_secret_name(name));
    secrets.extend(named.map(|(_, value)| value.to_owned()));
    secrets.extend(members(text).map(str::to_owned));
}

/// Values of members that name a secret, where the text is of JSON.
fn members(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = text.split('"').map(|piece| piece.trim_end_matches('\\')).peekable();
    std::iter::from_fn(move || {
        loop {
            let name = quoted.next()?;
            let Some(value) = quoted.peek()?.trim_start().strip_prefix(':').filter(|_| is_secret_name(name)) else {
                continue;
            };
            // Behind the colon is a number, or the text follows.
            let value = value.trim_matches(|c: char| !c.is_alphanumeric());
            let value = if value.is_empty() { quoted.nth(1)? } else { value };
            if !matches!(value, "" | "null" | "true" | "false") {
                return Some(value);
            }
        }
    })
}

/// Whether a text that is percent-encoded, as a URL within another should be, says something in confidence. One that is
/// encoded over and over wants to hide something.
pub fn encodes_secret(text: &str) -> bool {
    let mut text = text.to_owned();
    for _ in 0..LEVELS {
        let decoded = percent_decode(&text);
        if decoded == text {
            return false;
        }
        let mut secrets = Vec::new();
        add_secrets(&decoded, &mut secrets);
        if !secrets.is_empty() {
            return true;
        }
        text = decoded;
    }
    percent_decode(&text) != text
}

/// A text of somebody else's as it is quoted to them: without users and passwords, parameters that name a secret, and what
/// follows `Bearer` or `Basic`. JSON that has such a member is `***` as a whole.
pub fn without_secrets(text: &str) -> String {
    if members(text).next().is_some() {
        return PLACEHOLDER.to_owned();
    }
    let text = mask_users(text, &mut |_: &str| false);
    let (mut shown, mut is_credential) = (String::with_capacity(text.len()), false);
    for word in text.split_inclusive(' ') {
        let (word, space) = word.strip_suffix(' ').map_or((word, ""), |word| (word, " "));
        let masked = mask(word, |_| false);
        shown.extend([if is_credential && !word.is_empty() { PLACEHOLDER } else { &masked }, space]);
        let scheme = word.rsplit([':', '=', '\'', '"']).next().unwrap_or_default();
        is_credential = ["bearer", "basic"].contains(&scheme.to_ascii_lowercase().as_str());
    }
    shown
}

/// A `${…}` that is filled in later says nothing.
pub(super) fn is_reference(value: &str) -> bool {
    value.is_empty() || value.starts_with("${") && value.find('}') == Some(value.len() - 1)
}

/// Whether what goes by this name, a parameter of a URL or a field, is a secret: `token`, `api_key`, `X-Signature`.
pub fn is_secret_name(name: &str) -> bool {
    const WHOLE: [&str; 11] = ["auth", "bearer", "cookie", "hmac", "jwt", "key", "otp", "pass", "pwd", "sid", "sig"];
    const ENDS: [&str; 8] = ["-key", "_key", "authkey", "-pass", "_pass", "-pwd", "_pwd", "-sig"];
    const PARTS: [&str; 16] = [
        "accesskey",
        "apikey",
        "authorization",
        "credential",
        "csrf",
        "passcode",
        "passphrase",
        "passwd",
        "password",
        "private",
        "saml",
        "secret",
        "sessid",
        "session",
        "signature",
        "xsrf",
    ];
    let name = name.to_lowercase();
    // One of a list, or of a group, as in `key[0]` and `user[password]`.
    name.split(['[', ']']).any(|name| {
        WHOLE.contains(&name)
            || name.contains("token")
            || ENDS.iter().any(|end| name.ends_with(end))
            || PARTS.iter().any(|part| name.contains(part))
    })
}

/// Undoes percent-encoding in user info; bytes that are not UTF-8 are replaced.
pub(super) fn percent_decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}
