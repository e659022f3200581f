//! A state of a view, and what leads to it from the states before.

use std::collections::{HashMap, VecDeque};
use std::sync::OnceLock;

use bytes::Bytes;
use chrono::Utc;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::views::ViewName;
use crate::answer::tagged;

/// Deltas that are kept for who fell behind.
const KEPT: usize = 16;

/// Lists whose rows travel one by one, and the member that names a row.
const ROWS: [(&str, &str); 4] = [("groups", "name"), ("rows", "key"), ("targets", "key"), ("windows", "name")];

/// The list among them whose order tells something: where that changes it travels whole.
const ORDERED: &str = "rows";

/// A state of a view.
pub(crate) struct Published {
    pub(crate) seq: u64,
    pub(super) begun: Instant,
    view: ViewName,
    state: Map<String, Value>,
    /// The same as it is sent.
    body: OnceLock<(Bytes, String)>,
    /// For who holds nothing, and for who held something else.
    snapshots: [OnceLock<Bytes>; 2],
    /// The newest deltas, the oldest first; each leads to the next, the last to this state.
    deltas: VecDeque<Delta>,
}

/// What leads from one state to another.
#[derive(Clone)]
struct Delta {
    base: u64,
    frame: Bytes,
}

impl Published {
    pub(super) fn new(view: ViewName, state: Map<String, Value>, begun: Instant, before: Option<&Self>) -> Self {
        let seq = match before {
            Some(before) => before.seq + 1,
            // Milliseconds and a random part: no other start of this or another api counts from here,
            // and four states a second never catch up with the clock.
            None => {
                let now = u64::try_from(Utc::now().timestamp_millis()).unwrap_or(0);
                (now << 10) | u64::from(rand::random::<u16>() & 1023)
            }
        };
        let mut deltas = VecDeque::new();
        if let Some(before) = before {
            deltas.extend(before.deltas.iter().skip(before.deltas.len().saturating_sub(KEPT - 1)).cloned());
            let Changes { set, rows } = changes(&before.state, &state);
            let frame = format!(
                r#"{{"type":"delta"{},"seq":{seq},"base":{},"set":{},"rows":{}}}"#,
                view.members(),
                before.seq,
                Value::Object(set),
                Value::Object(rows),
            );
            deltas.push_back(Delta { base: before.seq, frame: frame.into() });
        }
        Self { seq, begun, view, state, body: OnceLock::new(), snapshots: Default::default(), deltas }
    }

    /// The state as an answer, and its entity tag.
    pub(crate) fn body(&self) -> &(Bytes, String) {
        self.body.get_or_init(|| tagged(serde_json::to_vec(&self.state).unwrap_or_default()))
    }

    /// What brings a client that holds the state `from` here, or one that holds none.
    pub(crate) fn frames(&self, from: Option<u64>) -> Vec<Bytes> {
        if from == Some(self.seq) {
            return Vec::new();
        }
        let first = self.deltas.iter().position(|delta| Some(delta.base) == from);
        match first {
            Some(first) => self.deltas.iter().skip(first).map(|delta| delta.frame.clone()).collect(),
            None => vec![self.snapshot(from.is_some())],
        }
    }

    /// All of it; where it `replaces` what a client held, it says so.
    fn snapshot(&self, replaces: bool) -> Bytes {
        let frame = self.snapshots[usize::from(replaces)].get_or_init(|| {
            let resync = if replaces { r#","resync":true"# } else { "" };
            let head = format!(r#"{{"type":"snapshot"{},"seq":{}{resync},"data":"#, self.view.members(), self.seq);
            let mut frame = head.into_bytes();
            frame.extend_from_slice(&self.body().0);
            frame.push(b'}');
            frame.into()
        });
        frame.clone()
    }
}

struct Changes {
    set: Map<String, Value>,
    rows: Map<String, Value>,
}

/// What differs between two states: whole members, or rows of those lists that have them.
fn changes(before: &Map<String, Value>, after: &Map<String, Value>) -> Changes {
    let (mut set, mut rows) = (Map::new(), Map::new());
    for (name, value) in after {
        let old = before.get(name);
        if old == Some(value) {
            continue;
        }
        let by = ROWS.iter().find(|(list, _)| list == name).map(|(_, by)| *by);
        match (by, old, value) {
            (Some(by), Some(Value::Array(old)), Value::Array(new))
                if name != ORDERED || old.iter().map(|row| &row[by]).eq(new.iter().map(|row| &row[by])) =>
            {
                let named = |list: &[Value]| -> HashMap<String, Value> {
                    list.iter().map(|row| (row[by].as_str().unwrap_or_default().to_owned(), row.clone())).collect()
                };
                let (old, new_names) = (named(old), named(new));
                let put: Vec<_> = new
                    .iter()
                    .filter(|row| old.get(row[by].as_str().unwrap_or_default()) != Some(row))
                    .cloned()
                    .collect();
                let mut gone: Vec<_> = old.keys().filter(|name| !new_names.contains_key(*name)).cloned().collect();
                gone.sort_unstable();
                rows.insert(name.clone(), json!({ "put": put, "gone": gone }));
            }
            _ => {
                set.insert(name.clone(), value.clone());
            }
        }
    }
    Changes { set, rows }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn only_rows_that_differ_travel() {
        let before =
            map(json!({"a": 1, "targets": [{"key": "x", "n": 1}, {"key": "y", "n": 1}, {"key": "z"}], "groups": null}));
        let after =
            map(json!({"a": 1, "targets": [{"key": "x", "n": 2}, {"key": "y", "n": 1}, {"key": "w"}], "groups": []}));
        let Changes { set, rows } = changes(&before, &after);
        assert_eq!(Value::Object(set), json!({"groups": []}), "a list that was none is a whole one");
        assert_eq!(
            Value::Object(rows),
            json!({"targets": {"put": [{"key": "x", "n": 2}, {"key": "w"}], "gone": ["z"]}})
        );
    }

    #[test]
    fn rows_of_a_table_travel_one_by_one_while_their_order_lasts_and_else_all() {
        let before = map(json!({"rows": [{"key": "x", "n": 1}, {"key": "y", "n": 1}]}));
        let same = map(json!({"rows": [{"key": "x", "n": 1}, {"key": "y", "n": 2}]}));
        let Changes { set, rows } = changes(&before, &same);
        assert_eq!(Value::Object(set), json!({}));
        assert_eq!(Value::Object(rows), json!({"rows": {"put": [{"key": "y", "n": 2}], "gone": []}}));
        for other in [json!([{"key": "y", "n": 1}, {"key": "x", "n": 1}]), json!([{"key": "x", "n": 1}]), json!([])] {
            let Changes { set, rows } = changes(&before, &map(json!({ "rows": other })));
            assert_eq!((Value::Object(set), rows.len()), (json!({ "rows": other }), 0));
        }
    }

    #[test]
    fn who_is_a_little_behind_gets_deltas_and_who_is_far_behind_a_snapshot() {
        let mut states = vec![Published::new(ViewName::Overview, map(json!({"n": 0})), Instant::now(), None)];
        for n in 1..=30 {
            let next = Published::new(ViewName::Overview, map(json!({ "n": n })), Instant::now(), states.last());
            states.push(next);
        }
        let newest = &states[30];
        assert_eq!(newest.frames(Some(newest.seq)).len(), 0);
        assert_eq!(newest.frames(Some(states[27].seq)).len(), 3);
        assert_eq!(newest.frames(Some(states[30 - KEPT].seq)).len(), KEPT);
        for stranger in [Some(states[30 - KEPT - 1].seq), Some(7), Some(newest.seq + 1), None] {
            let frames = newest.frames(stranger);
            assert!(frames.len() == 1 && frames[0].starts_with(br#"{"type":"snapshot""#), "{stranger:?}");
            let frame: Value = serde_json::from_slice(&frames[0]).unwrap();
            assert_eq!(frame.get("resync"), stranger.map(|_| &json!(true)), "{stranger:?}");
        }
    }
}
