//! Services as people declare them: who answers for what, and what was promised.

use std::time::Duration;

/// A service of the configuration file; already validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSpec {
    /// What people read, and what targets and changes name.
    pub name: String,
    /// Who answers for it.
    pub owner_name: Option<String>,
    /// Where to reach them.
    pub owner_email: Option<String>,
    /// What is promised for its endpoints and targets where they say nothing else.
    pub goal: Goal,
    /// What it answers for besides its targets, or with a promise of its own.
    pub endpoints: Vec<EndpointSpec>,
}

/// A verb and a resource of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSpec {
    /// `GET`; the method of a target.
    pub verb: String,
    /// A path, or the key of a target.
    pub resource: String,
    /// What is promised for it; the goal of its service where it says nothing itself.
    pub goal: Goal,
}

/// A promise, as far as somebody made one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Goal {
    /// Smallest healthy share of good requests, in billionths.
    pub objective_nano: Option<i64>,
    /// Length of the sliding window.
    pub window: Option<Duration>,
}

impl Goal {
    /// This promise, with those of `other` where it says nothing.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { objective_nano: self.objective_nano.or(other.objective_nano), window: self.window.or(other.window) }
    }
}
