//! Every target as one character.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::sheet::Entry;
use crate::answer::Moment;
use crate::routes::targets::TargetState;

/// Every target as one character
#[derive(Serialize, ToSchema)]
pub(crate) struct Map {
    /// The moment all of it is true for.
    as_of: Moment,
    /// The groups in order; each has the next `n` of the cells.
    #[schema(inline)]
    groups: Vec<MapGroup>,
    /// One character a target, in order of groups, then names, then keys: `0` unknown, `1` up, `2` up with
    /// failures in the last five minutes, `3` degraded, `4` down. Target number `i`, from 0, is row `i % 50` of
    /// page `i / 50 + 1` of the table sorted by `group`.
    #[schema(example = "1112140")]
    cells: String,
}

/// Targets that belong together.
#[derive(Serialize, ToSchema)]
struct MapGroup {
    /// The value of the label `group`, or a host.
    name: String,
    /// How many targets.
    n: usize,
}

impl Map {
    /// From the targets in their order, each with the place of its group.
    pub(super) fn new<'a>(
        as_of: DateTime<Utc>,
        groups: &[String],
        targets: impl Iterator<Item = (usize, &'a Entry)>,
    ) -> Self {
        let mut groups: Vec<_> = groups.iter().map(|name| MapGroup { name: name.clone(), n: 0 }).collect();
        let mut cells = String::new();
        for (group, entry) in targets {
            groups[group].n += 1;
            cells.push(match entry.state {
                TargetState::Unknown => '0',
                TargetState::Up if entry.known.failed.short_bad == 0 => '1',
                TargetState::Up => '2',
                TargetState::Degraded => '3',
                TargetState::Down => '4',
            });
        }
        Self { as_of: as_of.into(), groups, cells }
    }
}
