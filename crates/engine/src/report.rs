//! What people ask in the end: the incidents, how long repair took, and how
//! many there were.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::decimal;
use crate::line::Reason;
use crate::time::Nanos;

/// From the moment an endpoint fell below its objective to the moment it met it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// The service of the endpoint.
    pub service: Arc<str>,
    /// The verb of the endpoint.
    pub verb: Arc<str>,
    /// The resource of the endpoint.
    pub resource: Arc<str>,
    /// When it opened.
    pub start: Nanos,
    /// When it closed; `None` if it is open.
    pub end: Option<Nanos>,
    /// The newest commit of the service when it opened.
    pub breaking: Option<Arc<str>>,
    /// The newest commit of the service when it closed.
    pub fixing: Option<Arc<str>>,
}

impl Incident {
    /// How long it lasted, in nanoseconds; `None` if it is open.
    pub fn duration(&self) -> Option<u64> {
        self.end.map(|end| end.get().saturating_sub(self.start.get()))
    }
}

/// As a report shows it under the name of its service: `end` is -1 while it is
/// open, and a commit that is not known is empty. Only for `serde_json`.
impl Serialize for Incident {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Incident", 4)?;
        object.serialize_field("start", &self.start)?;
        match &self.end {
            Some(end) => object.serialize_field("end", end)?,
            None => object.serialize_field("end", &-1)?,
        }
        object.serialize_field("fix", self.fixing.as_deref().unwrap_or_default())?;
        object.serialize_field("break", self.breaking.as_deref().unwrap_or_default())?;
        object.end()
    }
}

/// Whatever has watched services and kept the incidents, in the order in which
/// they opened, can say how the services did.
pub trait ServiceMonitor {
    /// The incidents, in the order in which they opened.
    fn incidents(&self) -> &[Incident];

    /// Mean time to repair: the mean duration of all incidents that are closed,
    /// each weighing the same. `None` if none is.
    fn mttr(&self) -> Option<Mttr> {
        Mttr::mean(self.incidents().iter().filter_map(Incident::duration))
    }

    /// The incidents of each service that has any, in the order of their first.
    fn incident_details(&self) -> ByService<Vec<&Incident>> {
        let mut details = ByService::<Vec<&Incident>>::new();
        for incident in self.incidents() {
            details.entry(&incident.service).push(incident);
        }
        details
    }

    /// The number of incidents of each service that has any, open ones included, in
    /// the order of their first.
    fn api_histogram(&self) -> ByService<usize> {
        let mut histogram = ByService::<usize>::new();
        for incident in self.incidents() {
            *histogram.entry(&incident.service) += 1;
        }
        histogram
    }
}

/// A mean time to repair, in whole hundredths of a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mttr(u64);

impl Mttr {
    /// The mean of durations in nanoseconds, rounded once, at the end; a tie goes up.
    /// `None` of none.
    pub fn mean(durations: impl IntoIterator<Item = u64>) -> Option<Self> {
        const HUNDREDTH: u128 = 10_000_000;
        let (mut sum, mut count) = (0u128, 0u128);
        for duration in durations {
            sum += u128::from(duration);
            count += 1;
        }
        // sum / count / HUNDREDTH + 1/2, rounded down.
        let rounded = (2 * sum + count * HUNDREDTH).checked_div(2 * count * HUNDREDTH)?;
        u64::try_from(rounded).ok().map(Self)
    }

    /// Hundredths of a second.
    pub const fn hundredths(self) -> u64 {
        self.0
    }
}

/// Seconds: `2.02`.
impl fmt::Display for Mttr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&decimal::shortest(u128::from(self.0), 2))
    }
}

/// A JSON number of seconds, exact. Only for `serde_json`.
impl Serialize for Mttr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        decimal::serialize(&self.to_string(), serializer)
    }
}

/// Something for each service, in the order in which the services appeared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByService<T> {
    entries: Vec<(Arc<str>, T)>,
    places: HashMap<Arc<str>, usize>,
}

impl<T: Default> ByService<T> {
    fn new() -> Self {
        Self { entries: Vec::new(), places: HashMap::new() }
    }

    fn entry(&mut self, service: &Arc<str>) -> &mut T {
        let place = *self.places.entry(service.clone()).or_insert_with(|| {
            self.entries.push((service.clone(), T::default()));
            self.entries.len() - 1
        });
        &mut self.entries[place].1
    }
}

impl<T> ByService<T> {
    /// What there is for one service.
    pub fn get(&self, service: &str) -> Option<&T> {
        self.places.get(service).map(|place| &self.entries[*place].1)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.entries.iter().map(|(service, value)| (&**service, value))
    }
}

/// An object with a member for each service, in their order.
impl<T: Serialize> Serialize for ByService<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// The lines that were left out: how many, and the first hundred of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct RejectedLines {
    total: u64,
    lines: Vec<RejectedPlace>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct RejectedPlace {
    /// Only where there is more than one file.
    file: Option<String>,
    line: u64,
    reason: Reason,
}

impl Serialize for RejectedPlace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let members = 2 + usize::from(self.file.is_some());
        let mut object = serializer.serialize_struct("RejectedPlace", members)?;
        object.serialize_field("line", &self.line)?;
        object.serialize_field("reason", self.reason.label())?;
        if let Some(file) = &self.file {
            object.serialize_field("file", file)?;
        }
        object.end()
    }
}

impl RejectedLines {
    /// How many are listed.
    pub const LISTED: usize = 100;

    /// Notes one more.
    pub fn add(&mut self, line: u64, reason: Reason) {
        self.push(None, line, reason);
    }

    /// Notes one more, where there are several files.
    pub fn add_of(&mut self, file: &str, line: u64, reason: Reason) {
        self.push(Some(file), line, reason);
    }

    fn push(&mut self, file: Option<&str>, line: u64, reason: Reason) {
        self.total += 1;
        if self.lines.len() < Self::LISTED {
            self.lines.push(RejectedPlace { file: file.map(str::to_owned), line, reason });
        }
    }

    /// How many there were.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The first of them: number of the line, counted from 1, and reason.
    pub fn first(&self) -> impl Iterator<Item = (u64, Reason)> {
        self.lines.iter().map(|rejected| (rejected.line, rejected.reason))
    }

    /// The first of them in words, with the file where there are several: `line 12 (bad-status)`.
    pub fn first_in_words(&self) -> impl Iterator<Item = String> {
        self.lines.iter().map(|RejectedPlace { file, line, reason }| match file {
            Some(file) => format!("{file}: line {line} ({reason})"),
            None => format!("line {line} ({reason})"),
        })
    }
}

/// All there is to say once a stream has ended. Written with `serde_json`, it is
/// the answer of `lookout replay`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    incidents: Vec<Incident>,
    rejected: RejectedLines,
}

impl Report {
    /// A report of these incidents, in the order in which they opened.
    pub fn new(incidents: Vec<Incident>, rejected: RejectedLines) -> Self {
        Self { incidents, rejected }
    }

    /// What was left out.
    pub fn rejected(&self) -> &RejectedLines {
        &self.rejected
    }
}

impl ServiceMonitor for Report {
    fn incidents(&self) -> &[Incident] {
        &self.incidents
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Report", 4)?;
        object.serialize_field("mttr", &self.mttr())?;
        object.serialize_field("incident_details", &self.incident_details())?;
        object.serialize_field("api_histogram", &self.api_histogram())?;
        object.serialize_field("rejected", &self.rejected)?;
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_rounded_once_and_a_tie_goes_up() {
        let mean = |millis: &[u64]| Mttr::mean(millis.iter().map(|millis| millis * 1_000_000)).unwrap().to_string();
        assert_eq!(mean(&[2_675, 2_675]), "2.68");
        assert_eq!(mean(&[1_004, 1_004, 1_008]), "1.01");
        assert_eq!(mean(&[2_015]), "2.02");
        assert_eq!(mean(&[4]), "0");
        assert_eq!(mean(&[5]), "0.01");
        assert_eq!(mean(&[10_000]), "10");
        assert_eq!(mean(&[0, 0, 100]), "0.03");
        assert_eq!(Mttr::mean([]), None);
        assert_eq!(Mttr::mean(vec![Nanos::MAX.get(); 1_000]).unwrap().hundredths(), 900_000_000_000);
    }
}
