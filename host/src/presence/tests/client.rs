//! A model of phoenix.js's `Presence`: how it applies states and diffs (assets/js/phoenix/presence.js of Phoenix 1.8).

use std::collections::BTreeMap;

use serde_json::Value;

use super::parsed;

/// The metas by key, as `presence.state` holds them.
type List = BTreeMap<String, Vec<Value>>;

/// A client's list, and the diffs that it keeps until the first state after its join.
#[derive(Default)]
pub(super) struct Client {
    list: List,
    pending: Vec<(List, List)>,
    /// Whether the first state after its last join has arrived.
    is_synced: bool,
}

impl Client {
    /// Joins, perhaps again. The old list stays until the state arrives.
    pub(super) fn join(&mut self) {
        self.is_synced = false;
    }

    pub(super) fn is_synced(&self) -> bool {
        self.is_synced
    }

    pub(super) fn on_state(&mut self, payload: &str) {
        self.is_synced = true;
        let new = list(&parsed(payload));
        self.sync_state(&new);
        for (joins, leaves) in std::mem::take(&mut self.pending) {
            self.sync_diff(&joins, &leaves);
        }
    }

    pub(super) fn on_diff(&mut self, payload: &str) {
        let diff = parsed(payload);
        assert_eq!(diff.as_object().map(|diff| diff.len()), Some(2), "{payload}");
        let (joins, leaves) = (list(&diff["joins"]), list(&diff["leaves"]));
        if self.is_synced {
            self.sync_diff(&joins, &leaves);
        } else {
            self.pending.push((joins, leaves));
        }
    }

    /// Returns its list, with the metas sorted by their refs, because phoenix.js doesn't specify their order.
    pub(super) fn list(&self) -> List {
        sorted(self.list.clone())
    }

    fn sync_state(&mut self, new: &List) {
        let (mut joins, mut leaves) = (List::new(), List::new());
        for (key, metas) in &self.list {
            let left = without(metas, new.get(key).map_or(&[], Vec::as_slice));
            if !left.is_empty() {
                leaves.insert(key.clone(), left);
            }
        }
        for (key, metas) in new {
            let joined = without(metas, self.list.get(key).map_or(&[], Vec::as_slice));
            if !joined.is_empty() {
                joins.insert(key.clone(), joined);
            }
        }
        self.sync_diff(&joins, &leaves);
    }

    fn sync_diff(&mut self, joins: &List, leaves: &List) {
        for (key, joined) in joins {
            let current = self.list.entry(key.clone()).or_default();
            *current = [without(current, joined), joined.clone()].concat();
        }
        for (key, left) in leaves {
            if let Some(current) = self.list.get_mut(key) {
                *current = without(current, left);
                if current.is_empty() {
                    self.list.remove(key);
                }
            }
        }
    }
}

/// Returns the list in the payload of a state, or in one half of a diff.
pub(super) fn list(presences: &Value) -> List {
    let metas = |presence: &Value| presence["metas"].as_array().unwrap().clone();
    sorted(presences.as_object().unwrap().iter().map(|(key, presence)| (key.clone(), metas(presence))).collect())
}

fn sorted(mut list: List) -> List {
    list.values_mut().for_each(|metas| metas.sort_by_key(|meta| meta["phx_ref"].to_string()));
    list
}

fn without(metas: &[Value], others: &[Value]) -> Vec<Value> {
    let is_other = |meta: &Value| others.iter().any(|other| other["phx_ref"] == meta["phx_ref"]);
    metas.iter().filter(|meta| !is_other(meta)).cloned().collect()
}
