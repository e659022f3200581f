//! The overview as it is answered.

use serde::Serialize;
use utoipa::ToSchema;

use super::attention::Attention;
use super::groups::Group;
use super::health::Health;
use super::series::Series;
use crate::answer::Moment;
use crate::routes::incidents::Incident;
use crate::routes::targets::{TargetState, Window};

/// How everything is
#[derive(Serialize, ToSchema)]
pub(crate) struct Overview {
    /// The moment all of it is true for.
    pub(super) as_of: Moment,
    /// The start of the newest verdict; null without one of the last day.
    pub(super) newest_check: Option<Moment>,
    pub(super) counts: States,
    /// How the fleet did in windows that end now: 1m, 5m, 15m, 1h and 24h.
    pub(super) windows: Vec<Window>,
    pub(super) series: Series,
    /// Targets that need attention, at most 50, the worst first: down, then with an open
    /// incident, degraded, unknown.
    #[schema(max_items = 50)]
    pub(super) attention: Vec<Attention>,
    /// How many more there are.
    pub(super) more_attention: usize,
    /// Those that are open, then those that touch the series, as many as find room; the newest first.
    #[schema(max_items = 100)]
    pub(super) incidents: Vec<Incident>,
    /// How many are open, all of them.
    pub(super) open_incidents: i64,
    /// Commits rolled out in the time of the series, the newest first.
    #[schema(max_items = 100)]
    pub(super) changes: Vec<Mark>,
    /// Every target; null where there are more than 500.
    #[schema(inline, max_items = 500)]
    pub(super) targets: Option<Vec<Row>>,
    /// Targets by their label `group`, else by host; null where there are 500 or fewer.
    #[schema(inline, max_items = 200)]
    pub(super) groups: Option<Vec<Group>>,
    pub(super) health: Health,
}

/// How many targets are in which state now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = StateCounts)]
pub(super) struct States {
    /// All that are probed.
    pub(super) targets: usize,
    pub(super) up: usize,
    pub(super) degraded: usize,
    pub(super) down: usize,
    /// The newest verdict is older than three intervals and a timeout, or there is none.
    pub(super) unknown: usize,
}

impl States {
    pub(super) fn count(states: impl Iterator<Item = TargetState>) -> Self {
        let mut counts = Self::default();
        for state in states {
            counts.targets += 1;
            *match state {
                TargetState::Up => &mut counts.up,
                TargetState::Degraded => &mut counts.degraded,
                TargetState::Down => &mut counts.down,
                TargetState::Unknown => &mut counts.unknown,
            } += 1;
        }
        counts
    }
}

/// Failed ones of all verdicts, since the minute in which the window begins.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
#[schema(as = FailedShare)]
pub(super) struct Share {
    pub(super) bad: i64,
    pub(super) total: i64,
}

/// A target in a list.
#[derive(Serialize, ToSchema)]
pub(super) struct Row {
    pub(super) key: String,
    pub(super) name: String,
    pub(super) state: TargetState,
    pub(super) failed_5m: Share,
    pub(super) failed_1h: Share,
    /// The status code of the newest verdict; null without one.
    pub(super) code: Option<i16>,
    /// The time of the newest verdict, in milliseconds.
    pub(super) elapsed_ms: Option<f64>,
    /// When the newest verdict started; null without one of the last day.
    pub(super) checked_at: Option<Moment>,
}

/// A commit that was rolled out.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = OverviewChange)]
pub(super) struct Mark {
    pub(super) service: String,
    pub(super) commit: String,
    pub(super) author: Option<String>,
    pub(super) at: Moment,
}
