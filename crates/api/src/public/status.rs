//! What the public page tells: names, states and days. No URL, no error, no commit, nobody's name.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use common::{Counts, TargetId, TargetUrl};
use serde::Serialize;
use store::days::{self, Incident};
use store::overview::{self, Overview};
use store::{PgConnection, fleet};
use utoipa::ToSchema;

use super::strip::Strip;
use super::text;
use crate::answer::Moment;
use crate::counts::{percentage, uptime, uptime_percentage};
use crate::error::ApiError;
use crate::routes::targets::TargetState;

/// Days of a strip.
pub(crate) const DAYS: u64 = 90;

/// With more components than this, only those that are not operational are listed, up to as many.
const MOST_COMPONENTS: usize = 200;

/// Groups at most; the rest shares one.
const MOST_GROUPS: usize = 200;

/// How far back incidents are told, and how many at most.
pub(crate) const HISTORY: TimeDelta = TimeDelta::days(15);
const MOST_INCIDENTS: i64 = 100;

/// Characters of a name that are shown.
const MOST_CHARACTERS: usize = 100;

/// How uptime is counted, in words.
pub(crate) const FORMULA: &str = "uptime = good checks ÷ checks with a verdict; missed and unknown checks are excluded";

/// How everything that is shown is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PublicState)]
pub(crate) enum Overall {
    /// No component is shown.
    Nothing,
    /// All components are.
    Operational,
    /// Of some, or all, there is no fresh data; the others are operational.
    NoData,
    /// Some are, and none is out.
    Degraded,
    /// Up to half of those of which something is known are out.
    PartialOutage,
    /// More than half of them are.
    MajorOutage,
}

/// How a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PublicComponentState)]
pub(crate) enum ComponentState {
    /// Its newest check failed.
    Outage,
    /// Its newest check was slow, or an incident is open.
    Degraded,
    /// Its newest check is too old to tell.
    NoData,
    Operational,
}

impl ComponentState {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Outage => "Outage",
            Self::Degraded => "Degraded",
            Self::NoData => "No fresh data",
            Self::Operational => "Operational",
        }
    }
}

/// How many components are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = PublicCounts)]
pub(crate) struct StateCounts {
    /// All of them, listed or not.
    pub(crate) components: usize,
    pub(crate) operational: usize,
    pub(crate) degraded: usize,
    pub(crate) outage: usize,
    pub(crate) no_data: usize,
}

impl StateCounts {
    fn add(&mut self, state: ComponentState) {
        self.components += 1;
        *match state {
            ComponentState::Operational => &mut self.operational,
            ComponentState::Degraded => &mut self.degraded,
            ComponentState::Outage => &mut self.outage,
            ComponentState::NoData => &mut self.no_data,
        } += 1;
    }

    pub(crate) fn overall(self) -> Overall {
        let known = self.components - self.no_data;
        match self {
            Self { components: 0, .. } => Overall::Nothing,
            Self { outage: 1.., .. } if self.outage * 2 > known => Overall::MajorOutage,
            Self { outage: 1.., .. } => Overall::PartialOutage,
            Self { degraded: 1.., .. } => Overall::Degraded,
            Self { no_data: 1.., .. } => Overall::NoData,
            _ => Overall::Operational,
        }
    }

    /// The first line of the page.
    pub(crate) fn sentence(self) -> String {
        let of = |count: usize| format!("{count} of {}", self.named());
        match self.overall() {
            Overall::Nothing => "Nothing is shown here yet".to_owned(),
            Overall::Operational if self.components == 1 => "Operational".to_owned(),
            Overall::Operational => format!("Operational: all {} components", self.components),
            Overall::NoData if self.no_data == self.components => "No fresh data".to_owned(),
            Overall::NoData => format!("No fresh data of {}; the others are operational", of(self.no_data)),
            Overall::Degraded => format!("Degraded: {}", of(self.degraded)),
            Overall::PartialOutage => format!("Partial outage: {}", of(self.outage)),
            Overall::MajorOutage => format!("Major outage: {}", of(self.outage)),
        }
    }

    /// How many components.
    pub(crate) fn named(self) -> String {
        text::components(self.components)
    }

    /// Each state that there is, with its number.
    pub(crate) fn parts(self) -> Vec<String> {
        let all = [
            (self.operational, "operational"),
            (self.degraded, "degraded"),
            (self.outage, "out"),
            (self.no_data, "without fresh data"),
        ];
        all.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect()
    }
}

/// What the public page tells.
#[derive(Serialize, ToSchema)]
#[schema(as = PublicStatus)]
pub(crate) struct Status {
    /// When this was true.
    as_of: Moment,
    /// The start of the newest verdict on any component; null without one of the last day.
    newest_check: Option<Moment>,
    state: Overall,
    /// The same in words.
    #[schema(example = "Operational: all 12 components")]
    sentence: String,
    pub(crate) counts: StateCounts,
    /// How uptime is counted.
    uptime_formula: &'static str,
    /// The day in UTC with which the components' days begin; each has 90.
    #[schema(value_type = String, format = Date, example = "2026-08-24")]
    pub(crate) first_day: NaiveDate,
    /// Components by their label `group`; those without one come last, under null.
    #[schema(max_items = 201)]
    pub(crate) groups: Vec<Group>,
    /// Incidents that are open: the newest, at most 100.
    #[schema(max_items = 100)]
    pub(crate) open_incidents: Vec<Outage>,
    /// Incidents of the last 15 days that are over, the newest first; with the open ones at most 100.
    #[schema(max_items = 100)]
    pub(crate) past_incidents: Vec<Outage>,
    /// There are more incidents than these.
    pub(crate) has_more_incidents: bool,
    #[serde(skip)]
    pub(crate) now: DateTime<Utc>,
    #[serde(skip)]
    pub(crate) newest: Option<DateTime<Utc>>,
    /// When the first of the components was configured.
    #[serde(skip)]
    pub(crate) since: Option<DateTime<Utc>>,
}

/// Components that belong together.
#[derive(Serialize, ToSchema)]
#[schema(as = PublicGroup)]
pub(crate) struct Group {
    /// The label `group` of its components; null for those without one.
    pub(crate) name: Option<String>,
    pub(crate) counts: StateCounts,
    /// With more than 200 components in all, only those that are not operational, up to 200 in all.
    #[schema(max_items = 200)]
    pub(crate) components: Vec<Component>,
}

/// A target, as the public sees it.
#[derive(Serialize, ToSchema)]
#[schema(as = PublicComponent)]
pub(crate) struct Component {
    /// Its name; the host, where the name is a URL.
    pub(crate) name: String,
    pub(crate) state: ComponentState,
    /// Over all its days, in percent, never rounded up; null without a verdict.
    #[schema(minimum = 0, maximum = 100)]
    uptime_percentage: Option<f64>,
    /// Share of the checks due that have a verdict, in percent; null when nothing was due.
    #[schema(minimum = 0, maximum = 100)]
    coverage_percentage: Option<f64>,
    /// Uptime of each day, the oldest first; null without a verdict.
    #[schema(max_items = 90)]
    uptime_by_day: Vec<Option<f64>>,
    /// Coverage of each day; null when nothing was due.
    #[schema(max_items = 90)]
    coverage_by_day: Vec<Option<f64>>,
    /// For how many minutes of each day an incident was open.
    #[schema(max_items = 90)]
    incident_minutes_by_day: Vec<f64>,
    #[serde(skip)]
    uptime: Option<u64>,
    #[serde(skip)]
    covered: Option<u64>,
    #[serde(skip)]
    pub(crate) strip: Strip,
}

/// An incident of a component.
#[derive(Serialize, ToSchema)]
#[schema(as = PublicIncident)]
pub(crate) struct Outage {
    /// The name of the component.
    pub(crate) component: String,
    /// When it began.
    started_at: Moment,
    /// When it ended; null while it is open.
    ended_at: Option<Moment>,
    #[serde(skip)]
    pub(crate) incident: Incident,
}

/// Everything the public page tells, as of `now`.
pub(super) async fn read(connection: &mut PgConnection, now: DateTime<Utc>) -> Result<Status, ApiError> {
    let mut targets = overview::list(connection, "", None, i64::MAX).await?;
    targets.retain(|target| is_public(&target.labels));
    let names = names(&targets);
    let ids: Vec<i32> = targets.iter().map(|target| target.target_id.0).collect();
    let open: HashSet<TargetId> = fleet::open_of_targets(connection).await?.into_iter().map(|(id, _)| id).collect();
    let mut incidents = days::newest_incidents(connection, &ids, now - HISTORY, MOST_INCIDENTS + 1).await?;
    let has_more_incidents = incidents.len() as i64 > MOST_INCIDENTS;
    incidents.truncate(usize::try_from(MOST_INCIDENTS).unwrap_or(usize::MAX));

    let mut shown: Vec<(ComponentState, &Overview)> =
        targets.iter().map(|target| (state(target, &open, now), target)).collect();
    let mut counts = StateCounts::default();
    shown.iter().for_each(|(state, _)| counts.add(*state));
    let mut groups = groups(&shown);
    if shown.len() > MOST_COMPONENTS {
        shown.retain(|(state, _)| *state != ComponentState::Operational);
        shown.sort_by_key(|(state, _)| *state);
        shown.truncate(MOST_COMPONENTS);
    }
    shown.sort_by_cached_key(|(_, target)| names[&target.target_id].to_lowercase());

    let ids: Vec<i32> = shown.iter().map(|(_, target)| target.target_id.0).collect();
    let first_day = now.date_naive() - Days::new(DAYS - 1);
    let counted = days::counts(connection, &ids, first_day, now).await?;
    let counted: HashMap<_, _> = counted.iter().map(|day| ((day.target_id, day.date), day.counts)).collect();
    let troubled = days::incidents(connection, &ids, first_day, now).await?;
    let troubled: HashMap<_, _> = troubled.iter().map(|one| ((one.target_id, one.date), one)).collect();
    let each: Vec<NaiveDate> = first_day.iter_days().take_while(|date| *date <= now.date_naive()).collect();
    for (state, target) in &shown {
        let id = target.target_id;
        let days: Vec<Counts> =
            each.iter().map(|date| counted.get(&(id, *date)).copied().unwrap_or_default()).collect();
        let minutes = |date: &NaiveDate| troubled.get(&(id, *date)).map_or(0.0, |one| one.minutes());
        let minutes: Vec<f64> = each.iter().map(minutes).collect();
        let component = Component::new(names[&id].clone(), *state, first_day, &days, minutes);
        let name = group_name(&target.labels);
        let place = groups.iter().position(|group| group.name == name).unwrap_or(groups.len() - 1);
        groups[place].components.push(component);
    }
    let outages = incidents.into_iter().map(|incident| Outage {
        component: names[&incident.target_id].clone(),
        started_at: incident.started_at.into(),
        ended_at: incident.ended_at.map(Moment::from),
        incident,
    });
    let (open_incidents, past_incidents) = outages.partition(|outage| outage.incident.ended_at.is_none());
    let newest = targets.iter().filter_map(|target| target.checked_at).max();
    Ok(Status {
        as_of: now.into(),
        newest_check: newest.map(Moment::from),
        state: counts.overall(),
        sentence: counts.sentence(),
        counts,
        uptime_formula: FORMULA,
        first_day,
        groups,
        open_incidents,
        past_incidents,
        has_more_incidents,
        now,
        newest,
        since: targets.iter().map(|target| target.created_at).min(),
    })
}

impl Component {
    /// The line below its strip.
    pub(crate) fn summary(&self) -> String {
        let Strip { known, days, .. } = self.strip;
        let mut parts = vec![
            self.uptime.map_or_else(|| "no data".to_owned(), |uptime| format!("uptime {}", text::percent(uptime))),
        ];
        parts.extend(self.covered.map(|covered| format!("coverage {}", text::percent(covered))));
        if known < days {
            parts.push(format!("{known} of {days} days"));
        }
        parts.join(" · ")
    }

    fn new(
        name: String,
        state: ComponentState,
        first_day: NaiveDate,
        days: &[Counts],
        incident_minutes_by_day: Vec<f64>,
    ) -> Self {
        let total = days.iter().fold(Counts::default(), |sum, day| Counts {
            up: sum.up + day.up,
            degraded: sum.degraded + day.degraded,
            down: sum.down + day.down,
            missed: sum.missed + day.missed,
            unknown: sum.unknown + day.unknown,
        });
        Self {
            name,
            state,
            uptime_percentage: uptime_percentage(total),
            coverage_percentage: percentage(total.coverage()),
            uptime_by_day: days.iter().map(|day| uptime_percentage(*day)).collect(),
            coverage_by_day: days.iter().map(|day| percentage(day.coverage())).collect(),
            uptime: uptime(total),
            covered: crate::counts::cut(total.verdicts(), total.due()),
            strip: Strip::new(first_day, days, &incident_minutes_by_day),
            incident_minutes_by_day,
        }
    }
}

/// Not with the label `public: "no"`.
pub(crate) fn is_public(labels: &serde_json::Value) -> bool {
    let label = labels["public"].as_str().unwrap_or_default().trim();
    !["no", "false", "off"].iter().any(|no| label.eq_ignore_ascii_case(no))
}

fn state(target: &Overview, open: &HashSet<TargetId>, now: DateTime<Utc>) -> ComponentState {
    let often = (target.interval_ms, target.timeout_ms);
    match TargetState::new(target.outcome.as_deref(), target.checked_at, often, now) {
        TargetState::Down => ComponentState::Outage,
        TargetState::Unknown => ComponentState::NoData,
        TargetState::Degraded => ComponentState::Degraded,
        TargetState::Up if open.contains(&target.target_id) => ComponentState::Degraded,
        TargetState::Up => ComponentState::Operational,
    }
}

fn group_name(labels: &serde_json::Value) -> Option<String> {
    labels["group"].as_str().map(printable).filter(|name| !name.is_empty())
}

/// Every group with its counts, by name; the last one is for whatever has no other.
fn groups(shown: &[(ComponentState, &Overview)]) -> Vec<Group> {
    let mut named: BTreeMap<String, StateCounts> = BTreeMap::new();
    let mut rest = StateCounts::default();
    for (state, target) in shown {
        match group_name(&target.labels) {
            Some(name) if named.len() < MOST_GROUPS || named.contains_key(&name) => named.entry(name).or_default(),
            _ => &mut rest,
        }
        .add(*state);
    }
    let named = named.into_iter().map(|(name, counts)| (Some(name), counts));
    let all = named.chain((rest.components > 0).then_some((None, rest)));
    all.map(|(name, counts)| Group { name, counts, components: Vec::new() }).collect()
}

/// What each target is called in public. Where the name is the URL, as it is with `URLS`, the
/// host; several of one host are numbered.
fn names(targets: &[Overview]) -> HashMap<TargetId, String> {
    let mut hosts: HashMap<String, usize> = HashMap::new();
    let mut name = |target: &Overview| {
        let name = printable(&target.name);
        if !name.contains("://") {
            return name;
        }
        let url = TargetUrl::parse(target.name.trim()).ok();
        let host = url.and_then(|url| url.url().host_str().map(printable)).unwrap_or_else(|| "Component".to_owned());
        let count = hosts.entry(host.clone()).or_default();
        *count += 1;
        if *count == 1 { host } else { format!("{host} ({count})") }
    };
    targets.iter().map(|target| (target.target_id, name(target))).collect()
}

/// Without characters that do something, like those of terminals and of other directions, and
/// not too long.
fn printable(text: &str) -> String {
    let acts = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}')
    };
    let mut shown: String =
        text.trim().chars().map(|c| if acts(c) { '\u{fffd}' } else { c }).take(MOST_CHARACTERS).collect();
    if text.trim().chars().count() > MOST_CHARACTERS {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(operational: usize, degraded: usize, outage: usize, no_data: usize) -> StateCounts {
        StateCounts { components: operational + degraded + outage + no_data, operational, degraded, outage, no_data }
    }

    #[test]
    fn the_first_line_is_about_the_worst_and_never_green_by_silence() {
        for (counts, overall, sentence) in [
            (counts(0, 0, 0, 0), Overall::Nothing, "Nothing is shown here yet"),
            (counts(1, 0, 0, 0), Overall::Operational, "Operational"),
            (counts(3, 0, 0, 0), Overall::Operational, "Operational: all 3 components"),
            (counts(3, 0, 0, 1), Overall::NoData, "No fresh data of 1 of 4 components; the others are operational"),
            (counts(0, 0, 0, 4), Overall::NoData, "No fresh data"),
            (counts(3, 1, 0, 1), Overall::Degraded, "Degraded: 1 of 5 components"),
            (counts(1, 0, 1, 0), Overall::PartialOutage, "Partial outage: 1 of 2 components"),
            (counts(1, 0, 2, 0), Overall::MajorOutage, "Major outage: 2 of 3 components"),
            (counts(0, 0, 1, 0), Overall::MajorOutage, "Major outage: 1 of 1 component"),
            (counts(1, 0, 1, 5), Overall::PartialOutage, "Partial outage: 1 of 7 components"),
            (counts(0, 0, 1, 5), Overall::MajorOutage, "Major outage: 1 of 6 components"),
        ] {
            assert_eq!((counts.overall(), counts.sentence().as_str()), (overall, sentence));
        }
    }

    #[test]
    fn a_name_does_nothing_and_has_an_end() {
        assert_eq!(printable(" \u{1b}[31mred\u{202e}\n "), "\u{fffd}[31mred\u{fffd}");
        assert_eq!(printable(&"ä".repeat(300)).chars().count(), MOST_CHARACTERS + 1);
    }

    #[test]
    fn a_label_keeps_a_target_from_the_public() {
        for (labels, shown) in [
            (serde_json::json!({}), true),
            (serde_json::json!({"public": "yes"}), true),
            (serde_json::json!({"public": "no"}), false),
            (serde_json::json!({"public": "False "}), false),
        ] {
            assert_eq!(is_public(&labels), shown, "{labels}");
        }
    }
}
