//! What the endpoints answered since the start, added up by endpoint and by domain.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use common::Outcome;
use serde::Serialize;
use worker::probe::Probed;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Status {
    /// 200 to 299, in time.
    Up,
    /// 200 to 299, but slower than it should be.
    Degraded,
    /// Any other status, or no response.
    Down,
}

impl Status {
    /// As it is printed.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Up => "UP",
            Self::Degraded => "DEGRADED",
            Self::Down => "DOWN",
        }
    }
}

/// The result of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) status: Status,
    pub(super) code: Option<u16>,
    /// Why it is down: a label of [`common::Cause`], or `unknown` when the reason that there was no response lies with us.
    pub(super) cause: Option<&'static str>,
    pub(super) elapsed_us: Option<u32>,
}

impl Verdict {
    /// What a probe found, in the three words of a report. What the service calls unknown is no response here,
    /// unless one came after all.
    pub(super) fn of(probed: &Probed, degraded_after: Duration) -> Self {
        let elapsed_us = probed.elapsed_us;
        let is_slow = elapsed_us.is_some_and(|elapsed| Duration::from_micros(elapsed.into()) > degraded_after);
        let success = if is_slow { Status::Degraded } else { Status::Up };
        let (status, cause) = match (probed.outcome, probed.code) {
            (Outcome::Up, _) => (Status::Up, None),
            (Outcome::Degraded, _) => (Status::Degraded, None),
            (Outcome::Down(cause), _) => (Status::Down, Some(cause.label())),
            (Outcome::Unknown | Outcome::Missed, Some(200..=299)) => (success, None),
            (Outcome::Unknown | Outcome::Missed, Some(_)) => (Status::Down, Some(common::Cause::Status.label())),
            (Outcome::Unknown | Outcome::Missed, None) => (Status::Down, Some(Outcome::Unknown.label())),
        };
        Self { status, code: probed.code, cause, elapsed_us }
    }
}

/// How many requests ended how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub(super) up: u64,
    pub(super) degraded: u64,
    pub(super) down: u64,
}

impl Counts {
    pub(super) fn total(self) -> u64 {
        self.up + self.degraded + self.down
    }

    /// The share that was up, in whole percent with the decimals dropped; `None` before the first result.
    pub(super) fn availability(self) -> Option<u64> {
        (100 * self.up).checked_div(self.total())
    }

    fn add(&mut self, status: Status) {
        match status {
            Status::Up => self.up += 1,
            Status::Degraded => self.degraded += 1,
            Status::Down => self.down += 1,
        }
    }
}

/// The counts so far. Cheap to clone: names are shared.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    names: Arc<Names>,
    endpoints: Vec<Standing>,
    domains: Vec<Counts>,
}

#[derive(Debug)]
struct Names {
    /// Name and domain of each endpoint, in the order of the file.
    endpoints: Vec<(String, usize)>,
    /// In the order in which the file names them first.
    domains: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    counts: Counts,
    last: Option<Verdict>,
}

/// One endpoint as a report shows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct EndpointLine<'a> {
    pub(super) name: &'a str,
    pub(super) domain: &'a str,
    pub(super) counts: Counts,
    pub(super) last: Option<Verdict>,
}

impl Tally {
    /// Nothing yet, of these endpoints: pairs of name and domain.
    pub(super) fn new(endpoints: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut indices: HashMap<String, usize> = HashMap::new();
        let mut names = Names { endpoints: Vec::new(), domains: Vec::new() };
        for (name, domain) in endpoints {
            let index = *indices.entry(domain).or_insert_with_key(|domain| {
                names.domains.push(domain.clone());
                names.domains.len() - 1
            });
            names.endpoints.push((name, index));
        }
        Self {
            endpoints: vec![Standing::default(); names.endpoints.len()],
            domains: vec![Counts::default(); names.domains.len()],
            names: Arc::new(names),
        }
    }

    /// Counts a result of the endpoint with this index.
    pub(super) fn add(&mut self, endpoint: usize, verdict: Verdict) {
        let standing = &mut self.endpoints[endpoint];
        standing.counts.add(verdict.status);
        standing.last = Some(verdict);
        self.domains[self.names.endpoints[endpoint].1].add(verdict.status);
    }

    /// How many endpoints there are.
    pub(super) fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// The last result of an endpoint.
    pub(super) fn last(&self, endpoint: usize) -> Option<Verdict> {
        self.endpoints[endpoint].last
    }

    /// Every endpoint, in the order of the file.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = EndpointLine<'_>> {
        self.names.endpoints.iter().zip(&self.endpoints).map(|((name, domain), standing)| EndpointLine {
            name,
            domain: &self.names.domains[*domain],
            counts: standing.counts,
            last: standing.last,
        })
    }

    /// Every domain, in the order of the file.
    pub(super) fn domains(&self) -> impl Iterator<Item = (&str, Counts)> {
        self.names.domains.iter().map(String::as_str).zip(self.domains.iter().copied())
    }

    /// The worst last result of all endpoints; `None` before the first result.
    pub(super) fn worst_last(&self) -> Option<Status> {
        self.endpoints.iter().filter_map(|standing| standing.last).map(|verdict| verdict.status).max()
    }
}

#[cfg(test)]
mod tests {
    use common::{Cause, Phases};
    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::*;

    fn verdict(status: Status) -> Verdict {
        Verdict { status, code: None, cause: None, elapsed_us: None }
    }

    fn counts(up: u64, degraded: u64, down: u64) -> Counts {
        Counts { up, degraded, down }
    }

    #[test]
    fn availability_drops_its_decimals_and_a_degraded_answer_is_not_available() {
        assert_eq!(counts(199, 0, 1).availability(), Some(99));
        assert_eq!(counts(999_999, 0, 1).availability(), Some(99));
        assert_eq!(counts(2, 1, 0).availability(), Some(66));
        assert_eq!(counts(1, 199, 0).availability(), Some(0));
        assert_eq!(counts(7, 0, 0).availability(), Some(100));
        assert_eq!(counts(0, 0, 0).availability(), None);
    }

    proptest! {
        #[test]
        fn sums_add_up_whatever_comes_in_whatever_order(
            domains in prop::collection::vec("[ab]{1,2}", 1..12),
            results in prop::collection::vec((0..100_usize, 0..3_usize), 0..300),
        ) {
            let mut tally = Tally::new(domains.iter().enumerate().map(|(i, domain)| (i.to_string(), domain.clone())));
            let mut last = vec![None; domains.len()];
            for (endpoint, status) in &results {
                let endpoint = endpoint % domains.len();
                let status = [Status::Up, Status::Degraded, Status::Down][*status];
                tally.add(endpoint, verdict(status));
                last[endpoint] = Some(status);
            }
            let total: u64 = tally.domains().map(|(_, counts)| counts.total()).sum();
            prop_assert_eq!(total, results.len() as u64);
            for (domain, sum) in tally.domains() {
                let of_domain = || tally.endpoints().filter(|line| line.domain == domain).map(|line| line.counts);
                prop_assert_eq!(sum.up, of_domain().map(|counts| counts.up).sum::<u64>());
                prop_assert_eq!(sum.degraded, of_domain().map(|counts| counts.degraded).sum::<u64>());
                prop_assert_eq!(sum.down, of_domain().map(|counts| counts.down).sum::<u64>());
            }
            for (line, last) in tally.endpoints().zip(&last) {
                prop_assert_eq!(line.last.map(|verdict| verdict.status), *last);
            }
            prop_assert_eq!(tally.worst_last(), last.into_iter().flatten().max());
        }

        #[test]
        fn availability_is_the_floor_of_the_share(up in 0..u64::from(u32::MAX), rest in 0..u64::from(u32::MAX)) {
            let counts = counts(up, rest / 2, rest - rest / 2);
            match counts.availability() {
                None => prop_assert_eq!(counts.total(), 0),
                Some(percent) => {
                    prop_assert!(percent * counts.total() <= 100 * up);
                    prop_assert!((percent + 1) * counts.total() > 100 * up);
                }
            }
        }
    }

    fn probed(outcome: Outcome, code: Option<u16>, elapsed_us: Option<u32>) -> Verdict {
        let started = Instant::now();
        let probed = Probed { started, outcome, code, elapsed_us, phases: Phases::default(), detail: None };
        Verdict::of(&probed, Duration::from_millis(500))
    }

    #[test]
    fn every_outcome_of_a_probe_is_one_of_three_words() {
        let seen = |verdict: Verdict| (verdict.status.label(), verdict.cause);
        assert_eq!(seen(probed(Outcome::Up, Some(204), Some(500_000))), ("UP", None));
        assert_eq!(seen(probed(Outcome::Degraded, Some(200), Some(500_001))), ("DEGRADED", None));
        assert_eq!(seen(probed(Outcome::Down(Cause::Status), Some(404), Some(9))), ("DOWN", Some("status")));
        assert_eq!(seen(probed(Outcome::Down(Cause::Tls), None, Some(9))), ("DOWN", Some("tls")));
        // Our own network is gone: no response, and not the endpoint's doing.
        assert_eq!(seen(probed(Outcome::Unknown, None, None)), ("DOWN", Some("unknown")));
        // We stood still, but the answer is there.
        assert_eq!(seen(probed(Outcome::Unknown, Some(200), Some(500_000))), ("UP", None));
        assert_eq!(seen(probed(Outcome::Unknown, Some(200), Some(500_001))), ("DEGRADED", None));
        assert_eq!(seen(probed(Outcome::Unknown, Some(503), Some(1))), ("DOWN", Some("status")));
    }
}
