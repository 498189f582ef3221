//! A topic's published state on a stage: what its members are sent of it, and what their clients make of that.

use super::super::Sent;
use super::{Came, World};
use crate::{Payload, Value, json};

/// A state, as it was sent last.
#[derive(Clone, Debug)]
pub(super) struct Published {
    number: u64,
    state: Value,
}

/// What its members' clients make of what they are sent.
enum Change {
    Whole(Value),
    Patch(Value),
}

impl Published {
    /// All of it.
    fn whole(&self) -> Sent {
        sent("room_state", &json!({ "n": self.number, "state": self.state }))
    }
}

impl World {
    /// A topic publishes a state: its members get what changed, or all of it where that is no longer.
    pub(super) fn publish_state(&mut self, topic: &str, state: Value) {
        let Some(room) = self.room_mut(topic) else { return };
        let before = room.published.take();
        let patch = before.as_ref().map(|before| difference(&before.state, &state));
        if patch == Some(None) {
            room.published = before;
            return;
        }
        let published = Published { number: before.map_or(0, |before| before.number) + 1, state };
        let is_shorter = |patch: &Value| patch.to_string().len() < published.state.to_string().len();
        let patch = patch.flatten().filter(is_shorter);
        let step = match &patch {
            Some(patch) => sent("room_diff", &json!({ "n": published.number, "patch": patch })),
            None => published.whole(),
        };
        let change = patch.map_or_else(|| Change::Whole(published.state.clone()), Change::Patch);
        room.published = Some(published);
        let members: Vec<u64> = self.members(topic).collect();
        members.into_iter().for_each(|id| self.follow(id, step.clone(), &change));
    }

    /// Sends a member that has just come in all of its topic's state.
    pub(super) fn show_state(&mut self, id: u64) {
        let topic = self.roles[&id].topic.clone();
        let published = self.room_mut(&topic).and_then(|room| room.published.clone());
        if let Some(published) = published {
            self.follow(id, published.whole(), &Change::Whole(published.state));
        }
    }

    /// Gives a member's client what it follows the state by: a message of the topic, whoever is sent it.
    fn follow(&mut self, id: u64, sent: Sent, change: &Change) {
        let Some(role) = self.roles.get_mut(&id) else { return };
        match change {
            Change::Whole(state) => merge(role.room_state.insert(json!({})), state),
            Change::Patch(patch) => merge(role.room_state.get_or_insert_default(), patch),
        }
        self.give(id, Came::Broadcast(sent));
    }
}

fn sent(event: &str, payload: &Value) -> Sent {
    Sent::new(event, &Payload::Json(payload.to_string()))
}

/// The JSON merge patch (RFC 7396) that makes one value of another, if there is any difference: a member of an object that is null
/// counts as absent, and all but objects is replaced.
fn difference(before: &Value, after: &Value) -> Option<Value> {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        return (before != after).then(|| after.clone());
    };
    let mut patch = serde_json::Map::new();
    for key in old.keys().chain(new.keys()) {
        let [was, is] = [old, new].map(|object| object.get(key).filter(|value| !value.is_null()));
        let change = match (was, is) {
            (Some(was), Some(is)) => difference(was, is),
            (Some(_), None) => Some(Value::Null),
            (None, is) => is.cloned(),
        };
        patch.extend(change.map(|change| (key.clone(), change)));
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// Applies a merge patch, as a client does.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else { return target.clone_from(patch) };
    if !target.is_object() {
        *target = json!({});
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}
