//! The targets that need attention, the worst first.

use std::cmp::Reverse;
use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use common::{Cause, TargetId};
use serde::Serialize;
use store::{PgConnection, fleet};
use utoipa::ToSchema;

use super::fleet::Fleet;
use super::known::Known;
use super::types::Share;
use crate::answer::Moment;
use crate::error::ApiError;
use crate::routes::targets::TargetState;

/// Targets that need attention, by name, at most.
const MOST_ATTENTION: usize = 50;

/// How far back the beginning of a state is looked for.
const SINCE: TimeDelta = TimeDelta::days(30);

/// A target that needs attention.
#[derive(Serialize, ToSchema)]
pub(super) struct Attention {
    key: String,
    name: String,
    state: TargetState,
    /// Since when it has been so; if `unknown`, its last verdict. Null where that is not known.
    since: Option<Moment>,
    /// Why it is down; null unless it is.
    cause: Option<Cause>,
    /// The status code of the newest verdict; null without one.
    code: Option<i16>,
    failed_5m: Share,
    /// Its open incident; null without one.
    incident: Option<i64>,
}

impl Fleet {
    /// Who needs attention, and how many more.
    pub(super) async fn attention(
        &mut self,
        connection: &mut PgConnection,
        states: &[TargetState],
        incidents: &HashMap<TargetId, i64>,
        now: DateTime<Utc>,
    ) -> Result<(Vec<Attention>, usize), ApiError> {
        let mut places: Vec<(u8, Reverse<i64>, usize)> = Vec::new();
        for (place, (known, state)) in self.known.iter().zip(states).enumerate() {
            let id = known.target.target_id;
            let rank = match state {
                TargetState::Down => 0,
                _ if incidents.contains_key(&id) => 1,
                TargetState::Degraded => 2,
                TargetState::Unknown => 3,
                TargetState::Up => continue,
            };
            places.push((rank, Reverse(self.failed(id).short_bad), place));
        }
        places.sort_unstable();
        let more = places.len().saturating_sub(MOST_ATTENTION);
        places.truncate(MOST_ATTENTION);

        let unasked = |known: &Known| match (&known.since, &known.target.outcome) {
            (Some((of, _)), Some(outcome)) => of != outcome,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        let asked: Vec<usize> = places
            .iter()
            .map(|(_, _, place)| *place)
            .filter(|place| states[*place] != TargetState::Unknown && unasked(&self.known[*place]))
            .collect();
        if !asked.is_empty() {
            let ids: Vec<i32> = asked.iter().map(|place| self.known[*place].target.target_id.0).collect();
            let outcomes: Vec<String> =
                asked.iter().map(|place| self.known[*place].target.outcome.clone().unwrap_or_default()).collect();
            let found: HashMap<_, _> =
                fleet::since(connection, &ids, &outcomes, now - SINCE).await?.into_iter().collect();
            for (place, outcome) in asked.into_iter().zip(outcomes) {
                let since = found.get(&self.known[place].target.target_id).copied().flatten();
                self.known[place].since = Some((outcome, since));
            }
        }
        let shown = places.into_iter().map(|(_, _, place)| {
            let (Known { target, since, .. }, state) = (&self.known[place], states[place]);
            let failed = self.failed(target.target_id);
            let since = match state {
                TargetState::Unknown => target.started_at,
                _ => since.as_ref().and_then(|(_, since)| *since),
            };
            Attention {
                key: target.key.clone(),
                name: target.name.clone(),
                state,
                since: since.map(Moment::from),
                cause: match state {
                    TargetState::Down => target.cause.as_deref().and_then(Cause::parse),
                    _ => None,
                },
                code: target.code,
                failed_5m: Share { bad: failed.short_bad, total: failed.short_total },
                incident: incidents.get(&target.target_id).copied(),
            }
        });
        Ok((shown.collect(), more))
    }
}
