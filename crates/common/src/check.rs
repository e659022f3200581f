//! The record of one check: every due slot ends as exactly one [`Outcome`].

use std::sync::Arc;

use serde::Serialize;

use crate::target::{Slot, TargetId};

/// How a slot ended.
///
/// `Up`, `Degraded` and `Down` are verdicts on the target. `Missed` and
/// `Unknown` are about us and stay out of every ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Answered as expected, in time.
    Up,
    /// Answered as expected, but slower than the target's limit.
    Degraded,
    /// Answered wrongly or not at all; the fault is the target's.
    Down(Cause),
    /// We were late or not running.
    Missed,
    /// We tried, and the fault was ours: no file descriptor, no network.
    Unknown,
}

/// Why a target is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// The name did not resolve.
    Dns,
    /// Nobody accepts connections there, or no host answers at that address.
    Refused,
    /// No complete answer in time.
    Timeout,
    /// The connection was torn down.
    Reset,
    /// The TLS handshake failed: certificate, name, protocol.
    Tls,
    /// What came back is not HTTP.
    Protocol,
    /// The body is broken: cut short or not decodable.
    Body,
    /// Too many redirects, or one that leads nowhere we go.
    Redirect,
    /// A status code outside the expected ones.
    Status,
    /// An assertion on the answer failed.
    Assertion,
}

impl Cause {
    /// Every cause, in the order counts are kept.
    pub const ALL: [Self; 10] = [
        Self::Dns,
        Self::Refused,
        Self::Timeout,
        Self::Reset,
        Self::Tls,
        Self::Protocol,
        Self::Body,
        Self::Redirect,
        Self::Status,
        Self::Assertion,
    ];

    /// The label the database and the API use.
    pub fn label(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Tls => "tls",
            Self::Protocol => "protocol",
            Self::Body => "body",
            Self::Redirect => "redirect",
            Self::Status => "status",
            Self::Assertion => "assertion",
        }
    }

    /// Finds a cause by its label.
    pub fn parse(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.label() == label)
    }
}

impl Outcome {
    /// The outcome labels, as the database enum has them.
    pub const LABELS: [&'static str; 5] = ["up", "degraded", "down", "missed", "unknown"];

    /// The label the database and the API use; the cause is apart.
    pub fn label(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down(_) => "down",
            Self::Missed => "missed",
            Self::Unknown => "unknown",
        }
    }

    /// Why the target is down, if it is.
    pub fn cause(self) -> Option<Cause> {
        match self {
            Self::Down(cause) => Some(cause),
            _ => None,
        }
    }

    /// Puts label and cause together again; `None` where they do not fit.
    pub fn from_labels(label: &str, cause: Option<&str>) -> Option<Self> {
        match (label, cause) {
            ("up", None) => Some(Self::Up),
            ("degraded", None) => Some(Self::Degraded),
            ("down", Some(cause)) => Cause::parse(cause).map(Self::Down),
            ("missed", None) => Some(Self::Missed),
            ("unknown", None) => Some(Self::Unknown),
            _ => None,
        }
    }

    /// Whether this says something about the target.
    pub fn is_verdict(self) -> bool {
        matches!(self, Self::Up | Self::Degraded | Self::Down(_))
    }

    /// Whether the target did its job: up or degraded.
    pub fn is_success(self) -> bool {
        matches!(self, Self::Up | Self::Degraded)
    }
}

/// Where the time of a check went, in microseconds; `None` where a phase did
/// not happen or cannot be told apart. Redirect hops add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Phases {
    /// Name lookup.
    pub dns_us: Option<u32>,
    /// TCP connect, with the TLS handshake.
    pub connect_us: Option<u32>,
    /// From the connected socket to the response head.
    pub first_byte_us: Option<u32>,
}

/// The record of one slot of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Which target.
    pub target_id: TargetId,
    /// Which slot.
    pub slot: Slot,
    /// First network operation, microseconds since the epoch; `None` for a slot that never started.
    pub started_us: Option<i64>,
    /// How it ended.
    pub outcome: Outcome,
    /// Status code of the last response head, if one came.
    pub code: Option<u16>,
    /// First network operation to response head, in microseconds; for a timeout, the time waited.
    pub elapsed_us: Option<u32>,
    /// Where that time went.
    pub phases: Phases,
    /// Which assertion failed and what was seen; `None` unless that is the cause. Short, and
    /// without a secret.
    pub detail: Option<Arc<str>>,
}

impl Check {
    /// A slot nobody started in time.
    pub fn missed(target_id: TargetId, slot: Slot) -> Self {
        Self {
            target_id,
            slot,
            started_us: None,
            outcome: Outcome::Missed,
            code: None,
            elapsed_us: None,
            phases: Phases::default(),
            detail: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_read_back_as_the_outcome_they_name() {
        let outcomes = [Outcome::Up, Outcome::Degraded, Outcome::Missed, Outcome::Unknown]
            .into_iter()
            .chain(Cause::ALL.into_iter().map(Outcome::Down));
        for outcome in outcomes {
            let cause = outcome.cause().map(Cause::label);
            assert_eq!(Outcome::from_labels(outcome.label(), cause), Some(outcome));
        }
        assert_eq!(Outcome::from_labels("down", None), None);
        assert_eq!(Outcome::from_labels("up", Some("dns")), None);
    }

    #[test]
    fn missed_and_unknown_are_no_verdict_on_the_target() {
        assert!(!Outcome::Missed.is_verdict() && !Outcome::Unknown.is_verdict());
        assert!(Outcome::Down(Cause::Timeout).is_verdict());
        assert!(!Outcome::Down(Cause::Status).is_success() && Outcome::Degraded.is_success());
    }
}
