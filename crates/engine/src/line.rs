//! One line of a stream: what it says, or the first reason why it says nothing.

use std::borrow::Cow;
use std::fmt;

use crate::fields::{Field, Fields, Parsed};
use crate::time::Nanos;
use crate::{json, python};

/// Why an event is rejected. The first that holds, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Not UTF-8, or neither JSON nor the Python form.
    BadSyntax,
    /// Not an object, or `type` or `value` is not a text.
    BadEvent,
    /// A `type` that is none of the three.
    UnknownType,
    /// An `id` that is not a text, or not of a length that is kept.
    BadId,
    /// Not four fields.
    BadAccess,
    /// No decimal number of seconds, or one too large.
    BadTimestamp,
    /// Not from 100 to 599.
    BadStatus,
    /// An endpoint that is not in the list.
    UnknownEndpoint,
    /// Not the four lines of a change, or one that says nothing.
    BadChange,
    /// A date of neither layout.
    BadDate,
    /// No endpoint of the list belongs to that service.
    UnknownService,
}

impl Reason {
    /// The word for it: `bad-syntax`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::BadSyntax => "bad-syntax",
            Self::BadEvent => "bad-event",
            Self::UnknownType => "unknown-type",
            Self::BadId => "bad-id",
            Self::BadAccess => "bad-access",
            Self::BadTimestamp => "bad-timestamp",
            Self::BadStatus => "bad-status",
            Self::UnknownEndpoint => "unknown-endpoint",
            Self::BadChange => "bad-change",
            Self::BadDate => "bad-date",
            Self::UnknownService => "unknown-service",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// An event that was rejected as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {explanation}")]
pub struct Rejection {
    /// The kind of mistake.
    pub reason: Reason,
    /// Which member of the event it is in, `type`, `value` or `id`; `None` if it is not in one of them.
    pub member: Option<&'static str>,
    /// What was found and what would be right, in one line without control characters.
    pub explanation: Cow<'static, str>,
}

impl Rejection {
    /// A rejection with its explanation.
    pub fn new(reason: Reason, explanation: impl Into<Cow<'static, str>>) -> Self {
        let member = match reason {
            Reason::BadSyntax | Reason::BadEvent => None,
            Reason::UnknownType => Some("type"),
            Reason::BadId => Some("id"),
            _ => Some("value"),
        };
        Self { reason, member, explanation: explanation.into() }
    }
}

/// A text of somebody else's, quoted, in one line and not too long.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// Cuts off what does not count at the ends of a line: space, tab and CR.
#[inline]
pub(crate) fn trim(mut line: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\r', rest @ ..] | [rest @ .., b' ' | b'\t' | b'\r'] = line {
        line = rest;
    }
    line
}

const BLANKS: [char; 3] = [' ', '\t', '\r'];

/// What kind of event a line holds, and the text that says the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Envelope<'a> {
    /// A request, see [`Access::parse`].
    Access(Cow<'a, str>),
    /// A change, see [`Change::parse`].
    Change(Cow<'a, str>),
    /// Nothing that follows matters.
    EndOfStream,
}

/// What a sender calls an event, so that it may be sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Id<'a> {
    /// Nothing.
    None,
    /// A text.
    Text(Cow<'a, str>),
    /// Something else: a number may lose digits on its way.
    Other,
}

impl<'a> Envelope<'a> {
    /// Reads a line: an object with `type` and `value`, as JSON or in the Python form.
    /// `None` for a blank line.
    ///
    /// # Errors
    /// `bad-syntax`, `bad-event` or `unknown-type`.
    pub fn parse(line: &'a [u8]) -> Result<Option<Self>, Rejection> {
        let line = trim(line);
        if line.is_empty() {
            return Ok(None);
        }
        let [kind, value] = members(line, ["type", "value"])?;
        Self::of(kind, value).map(Some)
    }

    /// Reads a line like [`Envelope::parse`], and the `id` that its sender gave it.
    ///
    /// # Errors
    /// As [`Envelope::parse`].
    pub fn parse_with_id(line: &'a [u8]) -> Result<Option<(Self, Id<'a>)>, Rejection> {
        let line = trim(line);
        if line.is_empty() {
            return Ok(None);
        }
        let [kind, value, id] = members(line, ["type", "value", "id"])?;
        let id = match id {
            None => Id::None,
            Some(Field::Text(id)) => Id::Text(id),
            Some(_) => Id::Other,
        };
        Ok(Some((Self::of(kind, value)?, id)))
    }

    fn of(kind: Option<Field<'a>>, value: Option<Field<'a>>) -> Result<Self, Rejection> {
        let bad_event = |member, explanation| {
            Err(Rejection { member: Some(member), ..Rejection::new(Reason::BadEvent, explanation) })
        };
        let kind = match kind {
            Some(Field::Text(kind)) => kind,
            None => return bad_event("type", "has no \"type\""),
            Some(_) => return bad_event("type", "\"type\" is not a text"),
        };
        let wrap = match &*kind {
            "access" => Envelope::Access,
            "change" => Envelope::Change,
            "end-of-stream" => return Ok(Self::EndOfStream),
            _ => {
                let explanation = format!("{} is none of access, change, end-of-stream", shown(&kind));
                return Err(Rejection::new(Reason::UnknownType, explanation));
            }
        };
        match value {
            Some(Field::Text(value)) => Ok(wrap(value)),
            None => bad_event("value", "has no \"value\""),
            Some(_) => bad_event("value", "\"value\" is not a text"),
        }
    }
}

fn members<'a, const N: usize>(line: &'a [u8], names: [&str; N]) -> Result<Fields<'a, N>, Rejection> {
    let line = std::str::from_utf8(line).map_err(|error| {
        Rejection::new(Reason::BadSyntax, format!("is not UTF-8 at byte {}", error.valid_up_to() + 1))
    })?;
    match json::object(line, names) {
        Some(Parsed::Right(fields)) => Ok(fields),
        Some(Parsed::Other) => Err(Rejection::new(Reason::BadEvent, "is JSON, but not an object")),
        None => python::dict(line, names).ok_or_else(|| {
            Rejection::new(Reason::BadSyntax, format!("is neither JSON nor a Python dict: {}", shown(line)))
        }),
    }
}

/// A status code, from 100 to 599.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Status(u16);

impl Status {
    /// Reads three ASCII digits, 100 to 599.
    #[inline]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let &[hundreds @ b'1'..=b'5', tens @ b'0'..=b'9', ones @ b'0'..=b'9'] = text else {
            return None;
        };
        let digit = |byte: u8| u16::from(byte - b'0');
        Some(Self(digit(hundreds) * 100 + digit(tens) * 10 + digit(ones)))
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Whether the service did its job: anything below 500, redirects and the
    /// mistakes of clients included.
    #[inline]
    pub const fn is_success(self) -> bool {
        self.0 < 500
    }
}

/// A request to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access<'a> {
    /// When it was made.
    pub at: Nanos,
    /// The verb, byte for byte.
    pub verb: &'a str,
    /// The resource, byte for byte.
    pub resource: &'a str,
    /// What was answered.
    pub status: Status,
}

impl<'a> Access<'a> {
    /// Reads `timestamp verb resource status`, separated by runs of space, tab, CR or LF.
    ///
    /// # Errors
    /// `bad-access`, `bad-timestamp` or `bad-status`.
    pub fn parse(text: &'a str) -> Result<Self, Rejection> {
        let mut fields = text.split([' ', '\t', '\r', '\n']).filter(|field| !field.is_empty());
        let (Some(at), Some(verb), Some(resource), Some(status), None) =
            (fields.next(), fields.next(), fields.next(), fields.next(), fields.next())
        else {
            let explanation = format!("{} is not four fields: timestamp, verb, resource, status", shown(text));
            return Err(Rejection::new(Reason::BadAccess, explanation));
        };
        let at = Nanos::parse(at).ok_or_else(|| {
            let explanation = format!("{} is not a decimal number of seconds, at most 9000000000", shown(at));
            Rejection::new(Reason::BadTimestamp, explanation)
        })?;
        let status = Status::parse(status.as_bytes()).ok_or_else(|| {
            Rejection::new(Reason::BadStatus, format!("{} is not a status from 100 to 599", shown(status)))
        })?;
        Ok(Self { at, verb, resource, status })
    }
}

/// A change of a service that was rolled out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'a> {
    /// The commit; not necessarily a hexadecimal number.
    pub commit: &'a str,
    /// Who made it, as it is written.
    pub author: &'a str,
    /// When, as it is written. It orders nothing.
    pub date: &'a str,
    /// The service.
    pub service: &'a str,
}

impl<'a> Change<'a> {
    /// Reads the four lines `commit:`, `Author:`, `Date:` and `Service:`.
    ///
    /// # Errors
    /// `bad-change` or `bad-date`.
    pub fn parse(text: &'a str) -> Result<Self, Rejection> {
        let bad = |explanation| Err(Rejection::new(Reason::BadChange, explanation));
        let mut lines = text.split('\n').map(|line| line.trim_matches(BLANKS)).filter(|line| !line.is_empty());
        let mut values = [""; 4];
        for (value, label) in values.iter_mut().zip(["commit:", "Author:", "Date:", "Service:"]) {
            let Some(rest) = lines.next().and_then(|line| line.strip_prefix(label)) else {
                return bad("is not the four lines commit:, Author:, Date: and Service:");
            };
            *value = rest.trim_matches(BLANKS);
        }
        if lines.next().is_some() {
            return bad("has more than the four lines commit:, Author:, Date: and Service:");
        }
        if values.contains(&"") {
            return bad("has a line with nothing after its label");
        }
        let [commit, author, date, service] = values;
        if commit.contains([' ', '\t']) {
            return bad("has white space in its commit");
        }
        if !is_date(date.as_bytes()) {
            let explanation =
                format!("{} is neither like 2018-11-28 14:11:31 nor like Wed Nov 28 14:11:31 PST 2018", shown(date));
            return Err(Rejection::new(Reason::BadDate, explanation));
        }
        Ok(Self { commit, author, date, service })
    }
}

/// Whether a text looks like a date. Days of a month and of a week are not held
/// against each other.
fn is_date(text: &[u8]) -> bool {
    is_plain_date(text) || is_unix_date(text)
}

/// `YYYY-MM-DD HH:MM:SS`, and perhaps a point with 1 to 9 digits.
fn is_plain_date(text: &[u8]) -> bool {
    let Some((date, fraction)) = text.split_at_checked(19) else {
        return false;
    };
    let [year @ .., b'-', m1, m2, b'-', d1, d2, b' ', _, _, _, _, _, _, _, _] = date else {
        return false;
    };
    let is_fraction = match fraction {
        [] => true,
        [b'.', digits @ ..] => (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    year.iter().all(u8::is_ascii_digit)
        && is_between(&[*m1, *m2], 1, 12)
        && is_between(&[*d1, *d2], 1, 31)
        && is_time(&date[11..])
        && is_fraction
}

/// `Wed Nov 28 14:11:31 PST 2018`, the day as `8`, ` 8` or `08`.
fn is_unix_date(text: &[u8]) -> bool {
    const DAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
    const MONTHS: [&[u8]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let Some(([weekday @ .., b' ', m1, m2, m3, b' '], rest)) = text.split_at_checked(8) else {
        return false;
    };
    let (day, rest) = match rest {
        [b' ', day, rest @ ..] => ([b'0', *day], rest),
        [day, rest @ ..] if rest.first() == Some(&b' ') => ([b'0', *day], rest),
        [tens, ones, rest @ ..] => ([*tens, *ones], rest),
        _ => return false,
    };
    let Some(([b' ', time @ .., b' '], rest)) = rest.split_at_checked(10) else {
        return false;
    };
    let [zone @ .., b' ', y1, y2, y3, y4] = rest else {
        return false;
    };
    let is_zone = match zone {
        [b'+' | b'-', digits @ ..] => matches!(digits.len(), 2 | 4) && digits.iter().all(u8::is_ascii_digit),
        letters => (1..=5).contains(&letters.len()) && letters.iter().all(u8::is_ascii_uppercase),
    };
    DAYS.contains(&weekday)
        && MONTHS.contains(&[*m1, *m2, *m3].as_slice())
        && is_between(&day, 1, 31)
        && is_time(time)
        && is_zone
        && [y1, y2, y3, y4].into_iter().all(u8::is_ascii_digit)
}

/// `HH:MM:SS`.
fn is_time(text: &[u8]) -> bool {
    let [h1, h2, b':', m1, m2, b':', s1, s2] = *text else {
        return false;
    };
    is_between(&[h1, h2], 0, 23) && is_between(&[m1, m2], 0, 59) && is_between(&[s1, s2], 0, 59)
}

fn is_between(digits: &[u8; 2], least: u8, most: u8) -> bool {
    digits.iter().all(u8::is_ascii_digit) && (least..=most).contains(&((digits[0] - b'0') * 10 + (digits[1] - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_have_one_of_two_layouts() {
        for date in [
            "2018-11-28 14:11:31",
            "2018-11-28 14:11:31.071432",
            "2018-02-31 23:59:59.123456789",
            "0000-01-01 00:00:00.0",
            "Wed Nov 28 14:11:31 PST 2018",
            "Sun Feb 31 00:00:00 Z 0001",
            "Wed Nov 8 14:11:31 UTC 2018",
            "Wed Nov  8 14:11:31 UTC 2018",
            "Wed Nov 08 14:11:31 UTC 2018",
            "Wed Nov 28 14:11:31 +01 2018",
            "Wed Nov 28 14:11:31 -0130 2018",
            "Wed Nov 28 14:11:31 ACWST 2018",
        ] {
            assert!(is_date(date.as_bytes()), "{date}");
        }
        for date in [
            "",
            "2018-11-28",
            "2018-11-28T14:11:31",
            "2018-11-28  14:11:31",
            "2018-11-28 14:11:31.",
            "2018-11-28 14:11:31.1234567890",
            "2018-11-28 14:11:31Z",
            "2018-11-28 14:11:31 UTC",
            "2018-13-28 14:11:31",
            "2018-00-28 14:11:31",
            "2018-11-32 14:11:31",
            "2018-11-00 14:11:31",
            "2018-11-28 24:11:31",
            "2018-11-28 14:60:31",
            "2018-11-28 14:11:60",
            "18-11-28 14:11:31",
            "12018-11-28 14:11:31",
            "2018-1-28 14:11:31",
            "wed Nov 28 14:11:31 PST 2018",
            "Wed nov 28 14:11:31 PST 2018",
            "Wednesday Nov 28 14:11:31 PST 2018",
            "Wed Nov 0 14:11:31 PST 2018",
            "Wed Nov 32 14:11:31 PST 2018",
            "Wed Nov   8 14:11:31 PST 2018",
            "Wed Nov  28 14:11:31 PST 2018",
            "Wed Nov 28 14:11:31 2018",
            "Wed Nov 28 14:11:31  2018",
            "Wed Nov 28 14:11:31 ABCDEF 2018",
            "Wed Nov 28 14:11:31 pst 2018",
            "Wed Nov 28 14:11:31 +1 2018",
            "Wed Nov 28 14:11:31 +010 2018",
            "Wed Nov 28 14:11:31 +01:00 2018",
            "Wed Nov 28 14:11:31 PST 18",
            "Wed Nov 28 14:11:31 PST 20188",
            "Wed Nov 28 14:11:31 PST 2018 ",
            "Wed Nov 28 4:11:31 PST 2018",
            "Wed, Nov 28 14:11:31 PST 2018",
            "२०१८-११-२८ 14:11:31",
        ] {
            assert!(!is_date(date.as_bytes()), "{date}");
        }
    }

    #[test]
    fn what_is_shown_of_a_text_is_short_and_harmless() {
        assert_eq!(shown("a\n\u{1b}[31m\"é"), r#""a\n\u{1b}[31m\"é""#);
        assert_eq!(shown(&"é".repeat(61)), format!("{:?}…", "é".repeat(60)));
    }
}
