//! Targets that were posted over the API: every worker probes them besides its own list.
//!
//! They are the same for all workers, so they are no part of the digest that tells lists
//! apart. Where a key is in a worker's own list, that one counts.

use std::collections::{HashMap, HashSet};

use common::{TargetId, TargetSpec};
use settings::Defaults;
use settings::file::{NoTarget, target_of_json};
use store::targets::Placed;
use store::{PgConnection, StoreError, posted};
use tracing::{info, warn};

/// What is posted, as it was read.
#[derive(Debug, Default)]
pub struct Posted {
    /// `None` before the first time.
    mark: Option<i64>,
    targets: HashMap<TargetId, Target>,
}

#[derive(Debug, Clone)]
struct Target {
    version: i64,
    placed: Placed,
    /// `None` for one that this release cannot read.
    spec: Option<TargetSpec>,
}

impl Posted {
    /// Whether something was posted, changed or deleted since this was read.
    ///
    /// # Errors
    /// Whatever Postgres reports.
    pub async fn is_old(&self, connection: &mut PgConnection) -> Result<bool, StoreError> {
        Ok(Some(posted::mark(connection).await?) != self.mark)
    }

    /// What is posted now. Says in the log what differs from this.
    ///
    /// # Errors
    /// Whatever Postgres reports.
    pub async fn read_again(&self, connection: &mut PgConnection) -> Result<Self, StoreError> {
        // Before the rows: what changes in between is seen at the next look.
        let mark = posted::mark(connection).await?;
        let mut targets = HashMap::new();
        for row in posted::list(connection).await? {
            let placed = Placed { target_id: row.target_id, due_since: row.due_since };
            let known = self.targets.get(&row.target_id);
            let target = match known {
                Some(known) if known.version == row.version => known.clone(),
                _ => {
                    let spec = read(&row);
                    if spec.is_some() && self.mark.is_some() {
                        let what = if known.is_some() { "changed" } else { "added" };
                        info!("posted target {what}: {}", common::name_for_log(&row.key));
                    }
                    Target { version: row.version, placed, spec }
                }
            };
            targets.insert(row.target_id, target);
        }
        for (_, gone) in self.targets.iter().filter(|(id, _)| !targets.contains_key(id)) {
            if let Some(spec) = &gone.spec {
                info!("posted target removed, its history stays: {}", common::name_for_log(&spec.key));
            }
        }
        Ok(Self { mark: Some(mark), targets })
    }

    /// A worker's own list with what is posted besides it, in an order that stays.
    pub(crate) fn besides<'l>(&'l self, own: &'l [TargetSpec], placed: &'l [Placed]) -> Vec<(Placed, &'l TargetSpec)> {
        let ours: HashSet<TargetId> = placed.iter().map(|placed| placed.target_id).collect();
        let others = self.targets.values().filter(|target| !ours.contains(&target.placed.target_id));
        let mut others: Vec<_> = others.filter_map(|target| Some((target.placed, target.spec.as_ref()?))).collect();
        others.sort_by_key(|(placed, _)| placed.target_id);
        placed.iter().copied().zip(own).chain(others).collect()
    }
}

fn read(row: &posted::Posted) -> Option<TargetSpec> {
    match target_of_json(row.text.as_bytes(), Some(&row.key), &Defaults::default()) {
        Ok(spec) => Some(TargetSpec { key: row.key.clone(), ..spec }),
        Err(error) => {
            let reason = match error {
                NoTarget::Syntax { message, .. } => message,
                NoTarget::Rules(findings) => findings
                    .iter()
                    .map(|one| format!("{}: {}", one.pointer, one.message))
                    .collect::<Vec<_>>()
                    .join("; "),
            };
            warn!("this release cannot probe the posted target {}: {reason}", common::name_for_log(&row.key));
            None
        }
    }
}
