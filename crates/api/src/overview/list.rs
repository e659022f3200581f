//! The list of targets as it is configured: what is the same in every state of the fleet.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use common::{TargetId, TargetUrl};
use serde_json::Value;
use store::fleet;

/// A target as it is configured.
pub(super) struct Listed {
    pub(super) target_id: TargetId,
    pub(super) key: String,
    pub(super) name: String,
    pub(super) url: String,
    /// Its place among the groups.
    pub(super) group: usize,
    /// By name. No map: that of a single label takes half a kilobyte.
    pub(super) labels: Box<[(String, String)]>,
    pub(super) interval_ms: i32,
    pub(super) timeout_ms: i32,
}

/// Every target that is probed, by key. Others are named by their place in it.
#[derive(Default)]
pub(super) struct List {
    pub(super) targets: Vec<Listed>,
    /// The values of the label `group`, and the hosts of targets without it, in order.
    pub(super) groups: Vec<String>,
    by_name: OnceLock<Vec<u32>>,
    by_group: OnceLock<Vec<u32>>,
    words: OnceLock<Vec<Box<str>>>,
}

/// The order of names for people, and of any two that differ.
fn collated(name: &str) -> (String, String) {
    (name.to_lowercase(), name.to_owned())
}

impl List {
    pub(super) fn new(targets: Vec<fleet::Target>) -> Self {
        let named: Vec<_> = targets.iter().map(group_of).collect();
        let mut groups: Vec<_> = named.iter().collect::<HashSet<_>>().into_iter().cloned().collect();
        groups.sort_by_cached_key(|group| collated(group));
        let places: HashMap<_, _> = groups.iter().enumerate().map(|(place, group)| (group.as_str(), place)).collect();
        let listed = targets.into_iter().zip(&named).map(|(target, group)| Listed {
            group: places.get(group.as_str()).copied().unwrap_or_default(),
            target_id: target.target_id,
            key: target.key,
            name: target.name,
            url: target.url,
            labels: labels(target.labels),
            interval_ms: target.interval_ms,
            timeout_ms: target.timeout_ms,
        });
        let targets = listed.collect();
        Self { targets, groups, ..Self::default() }
    }

    /// Places in order of names, then keys.
    pub(super) fn by_name(&self) -> &[u32] {
        self.by_name.get_or_init(|| {
            // The list is in order of keys, and stays so between equals.
            let mut places: Vec<_> = (0..).take(self.targets.len()).collect();
            places.sort_by_cached_key(|place: &u32| collated(&self.targets[*place as usize].name));
            places
        })
    }

    /// Places in order of groups, then names, then keys.
    pub(super) fn by_group(&self) -> &[u32] {
        self.by_group.get_or_init(|| {
            let mut places = self.by_name().to_vec();
            places.sort_by_key(|place| self.targets[*place as usize].group);
            places
        })
    }

    /// What each target is found by, in lower case, line by line.
    pub(super) fn words(&self) -> &[Box<str>] {
        self.words.get_or_init(|| {
            let text = |target: &Listed| {
                let labels: String = target.labels.iter().map(|(name, value)| format!("\n{name}:{value}")).collect();
                format!("{}\n{}\n{}{labels}", target.name, target.key, target.url).to_lowercase().into()
            };
            self.targets.iter().map(text).collect()
        })
    }
}

fn group_of(target: &fleet::Target) -> String {
    let host = || {
        TargetUrl::parse(&target.url).ok().and_then(|url| url.url().host_str().map(str::to_owned)).unwrap_or_default()
    };
    target.labels.get("group").map(text).unwrap_or_else(host)
}

fn labels(labels: Value) -> Box<[(String, String)]> {
    let Value::Object(labels) = labels else { return Box::default() };
    labels.into_iter().map(|(name, value)| (name, text(&value))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
