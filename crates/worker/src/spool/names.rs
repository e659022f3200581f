//! Which target is which: rows of this database and the keys they stand for.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use common::TargetId;
use tokio::time::Instant;

use super::KeyHash;

/// Results of a target that is no longer probed come in for so long at most.
const KEEP: Duration = Duration::from_secs(600);

/// The keys of everything that is or was just being probed. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Names(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    keys: HashMap<TargetId, KeyHash>,
    ids: HashMap<KeyHash, TargetId>,
    /// No longer in the list, since when.
    gone: HashMap<TargetId, Instant>,
}

impl Names {
    /// These are probed from now on. Others are remembered for a while, for their last results.
    pub fn set(&self, list: impl IntoIterator<Item = (TargetId, KeyHash)>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let before: Vec<TargetId> = known.keys.keys().copied().collect();
        for id in before {
            known.gone.entry(id).or_insert(now);
        }
        for (id, key) in list {
            known.gone.remove(&id);
            known.keys.insert(id, key);
            known.ids.insert(key, id);
        }
        let Known { keys, ids, gone } = &mut *known;
        gone.retain(|id, since| {
            let stays = now.duration_since(*since) < KEEP;
            if !stays && let Some(key) = keys.remove(id) {
                ids.remove(&key);
            }
            stays
        });
    }

    /// The key of a row.
    pub fn key(&self, id: TargetId) -> Option<KeyHash> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).keys.get(&id).copied()
    }

    /// The row of a key.
    pub fn id(&self, key: KeyHash) -> Option<TargetId> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).ids.get(&key).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_target_that_is_gone_is_known_until_its_last_results_must_be_in() {
        let names = Names::default();
        let (one, two) = (TargetId(1), TargetId(2));
        names.set([(one, KeyHash(11)), (two, KeyHash(12))]);
        names.set([(two, KeyHash(12))]);
        assert_eq!((names.key(one), names.id(KeyHash(12))), (Some(KeyHash(11)), Some(two)));
        tokio::time::advance(KEEP).await;
        names.set([(two, KeyHash(12))]);
        assert_eq!((names.key(one), names.id(KeyHash(11)), names.key(two)), (None, None, Some(KeyHash(12))));
    }
}
