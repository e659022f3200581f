//! The table of targets: what may be asked of it, and a page of it.

use std::collections::BTreeMap;

use common::Cause;
use serde::Serialize;
use utoipa::ToSchema;

use super::types::Share;
use crate::answer::Moment;
use crate::error::ApiError;
use crate::routes::targets::TargetState;

/// Targets on a page.
pub(crate) const PAGE: usize = 50;

/// Characters of a search, or of a label, at most.
const MOST_CHARACTERS: usize = 200;

/// A page of the targets that fit.
#[derive(Serialize, ToSchema)]
pub(crate) struct Table {
    /// The moment all of it is true for.
    pub(super) as_of: Moment,
    /// All targets.
    pub(super) total: usize,
    /// Those that fit.
    pub(super) found: usize,
    /// This page, from 1: the last one where a later one was asked for.
    pub(super) page: usize,
    /// How many pages there are, at least 1.
    pub(super) pages: usize,
    /// Targets on a page.
    #[schema(example = 50)]
    pub(super) page_size: usize,
    #[schema(max_items = 50)]
    pub(super) rows: Vec<TableRow>,
}

/// A target of the table.
#[derive(Serialize, ToSchema)]
pub(super) struct TableRow {
    pub(super) key: String,
    pub(super) name: String,
    pub(super) url: String,
    /// The value of the label `group`, or the host.
    pub(super) group: String,
    pub(super) state: TargetState,
    /// Why it is down; null unless it is.
    pub(super) cause: Option<Cause>,
    /// The status code of the newest verdict; null without one.
    pub(super) code: Option<i16>,
    /// The time of the newest verdict, in milliseconds.
    pub(super) elapsed_ms: Option<f64>,
    /// When the newest verdict started; null without one of the last day.
    pub(super) checked_at: Option<Moment>,
    pub(super) failed_5m: Share,
    /// Null where there are more than 500 targets.
    pub(super) failed_1h: Option<Share>,
    /// How often it is due, in milliseconds.
    pub(super) interval_ms: i32,
    /// Names and values to tell targets apart by.
    pub(super) labels: BTreeMap<String, String>,
}

/// How a table is sorted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Sort {
    #[default]
    Name,
    State,
    Failed,
    Slow,
    Age,
    Group,
}

impl Sort {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "" | "name" => Self::Name,
            "state" => Self::State,
            "failed" => Self::Failed,
            "slow" => Self::Slow,
            "age" => Self::Age,
            "group" => Self::Group,
            _ => return None,
        })
    }
}

/// A valid question to the table; what means the same is the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
pub(crate) struct Query {
    /// Words with one space between them.
    pub(super) q: String,
    #[serde(serialize_with = "state_or_nothing")]
    pub(super) state: Option<TargetState>,
    pub(super) label: String,
    pub(super) sort: Sort,
    pub(super) page: usize,
}

fn state_or_nothing<S: serde::Serializer>(state: &Option<TargetState>, serializer: S) -> Result<S::Ok, S::Error> {
    match state {
        Some(state) => state.serialize(serializer),
        None => serializer.serialize_str(""),
    }
}

impl Query {
    /// Reads what was asked; what is empty is not asked.
    ///
    /// # Errors
    /// 400 that names the parameter that breaks its rule.
    pub(crate) fn parse(q: &str, state: &str, label: &str, sort: &str, page: Option<u64>) -> Result<Self, ApiError> {
        let bad = |name, code, message: &str| ApiError::Parameter { name, code, message: message.to_owned() };
        let is_long = |text: &str| text.chars().count() > MOST_CHARACTERS;
        if is_long(q) {
            return Err(bad("q", "too_long", "q has at most 200 characters"));
        }
        let state = match state {
            "" => None,
            "up" => Some(TargetState::Up),
            "degraded" => Some(TargetState::Degraded),
            "down" => Some(TargetState::Down),
            "unknown" => Some(TargetState::Unknown),
            _ => return Err(bad("state", "unknown_value", "state is up, degraded, down or unknown")),
        };
        if !label.is_empty() && (!label.contains(':') || is_long(label)) {
            return Err(bad("label", "invalid_scope", "label is a name and a value, like team:shop"));
        }
        let sort = Sort::parse(sort)
            .ok_or_else(|| bad("sort", "unknown_value", "sort is name, state, failed, slow, age or group"))?;
        let page = page
            .filter(|page| *page > 0)
            .ok_or_else(|| bad("page", "out_of_range", "page is a whole number from 1 on"))?;
        Ok(Self {
            q: q.split_whitespace().collect::<Vec<_>>().join(" "),
            state,
            label: label.to_owned(),
            sort,
            page: usize::try_from(page).unwrap_or(usize::MAX),
        })
    }
}
