//! The targets that need attention, the worst first.

use std::cmp::Reverse;
use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use common::{Cause, TargetId};
use serde::Serialize;
use store::{PgConnection, fleet};
use utoipa::ToSchema;

use super::fleet::Fleet;
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
        incidents: &HashMap<TargetId, i64>,
        now: DateTime<Utc>,
    ) -> Result<(Vec<Attention>, usize), ApiError> {
        let mut places: Vec<(u8, Reverse<i64>, usize)> = Vec::new();
        for (place, (of, known, state)) in self.each(now).enumerate() {
            let rank = match state {
                TargetState::Down => 0,
                _ if incidents.contains_key(&of.target_id) => 1,
                TargetState::Degraded => 2,
                TargetState::Unknown => 3,
                TargetState::Up => continue,
            };
            places.push((rank, Reverse(known.failed.short_bad), place));
        }
        places.sort_unstable();
        let more = places.len().saturating_sub(MOST_ATTENTION);
        places.truncate(MOST_ATTENTION);
        let places: Vec<_> = places.into_iter().map(|(_, _, place)| place).collect();

        self.read_since(connection, &places, now).await?;
        let shown = places.into_iter().map(|place| {
            let (of, known) = (&self.list.targets[place], &self.known[place]);
            let state = known.state(of, now);
            let since = match state {
                TargetState::Unknown => known.checked_at(),
                _ => self.since[place].and_then(|(_, since)| since),
            };
            Attention {
                key: of.key.clone(),
                name: of.name.clone(),
                state,
                since: since.map(Moment::from),
                cause: known.cause(state),
                code: known.code(),
                failed_5m: known.failed_5m(),
                incident: incidents.get(&of.target_id).copied(),
            }
        });
        Ok((shown.collect(), more))
    }

    /// Since when these have been in their state, where nobody asked yet.
    async fn read_since(
        &mut self,
        connection: &mut PgConnection,
        places: &[usize],
        now: DateTime<Utc>,
    ) -> Result<(), ApiError> {
        let (mut asked, mut ids, mut outcomes) = (Vec::new(), Vec::new(), Vec::new());
        for place in places {
            let (of, known) = (&self.list.targets[*place], &self.known[*place]);
            let Some(outcome) = known.newest.map(|newest| newest.outcome.label()) else { continue };
            let is_asked = self.since[*place].is_some_and(|(of, _)| of == outcome);
            if !is_asked && known.state(of, now) != TargetState::Unknown {
                asked.push((*place, outcome));
                ids.push(of.target_id.0);
                outcomes.push(outcome.to_owned());
            }
        }
        if asked.is_empty() {
            return Ok(());
        }
        let found: HashMap<_, _> = fleet::since(connection, &ids, &outcomes, now - SINCE).await?.into_iter().collect();
        for ((place, outcome), id) in asked.into_iter().zip(ids) {
            self.since[place] = Some((outcome, found.get(&TargetId(id)).copied().flatten()));
        }
        Ok(())
    }
}
