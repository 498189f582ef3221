//! A topic's published state, and the difference between two versions of it. The difference is computed once for all
//! members.

use bytestring::ByteString;
use serde_json::{Map, Value};

use crate::{PublishedState, StateUpdate, Topic};

/// A topic's published state, as it was last sent.
pub struct Published {
    number: u64,
    state: Map<String, Value>,
    text: ByteString,
}

/// Roughly, the memory of a state in multiples of its text's bytes. The memory holds the text and the parsed object.
const WEIGHT: usize = 4;

impl Published {
    /// Publishes a state in place of the one before. Returns the new published state, and the update to send if the
    /// state changed.
    pub fn publish(before: Option<Self>, topic: &Topic, state: PublishedState) -> (Self, Option<StateUpdate>) {
        let (text, state) = state.into_parts();
        let patch = before.as_ref().map(|before| difference(&before.state, &state));
        if let (Some(before), Some(patch)) = (&before, &patch)
            && patch.is_empty()
        {
            let (number, text) = (before.number, before.text.clone());
            return (Self { number, state, text }, None);
        }
        let patch = patch.map(|patch| ByteString::from(Value::Object(patch).to_string()));
        let patch = patch.filter(|patch| patch.len() < text.len());
        let number = before.map_or(0, |before| before.number) + 1;
        let update = StateUpdate { topic: topic.clone(), number, state: text.clone(), patch };
        (Self { number, state, text }, Some(update))
    }

    /// A state that another host has published.
    #[must_use]
    pub fn taken_over(number: u64, state: PublishedState) -> Self {
        let (text, state) = state.into_parts();
        Self { number, state, text }
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> &ByteString {
        &self.text
    }

    /// Roughly, its memory in bytes.
    pub fn weight(&self) -> usize {
        self.text.len().saturating_mul(WEIGHT)
    }

    /// The whole state, for a member that has none.
    pub fn all(&self, topic: &Topic) -> StateUpdate {
        StateUpdate { topic: topic.clone(), number: self.number, state: self.text.clone(), patch: None }
    }
}

/// The JSON merge patch (RFC 7396) that turns one object into another. In a patch null means that a field is removed,
/// so a field with the value null counts as absent. Arrays are replaced whole.
pub(crate) fn difference(before: &Map<String, Value>, after: &Map<String, Value>) -> Map<String, Value> {
    let mut patch = Map::new();
    for key in before.keys().filter(|key| after.get(*key).is_none_or(Value::is_null)) {
        if !before[key].is_null() {
            patch.insert(key.clone(), Value::Null);
        }
    }
    for (key, value) in after.iter().filter(|(_, value)| !value.is_null()) {
        match (before.get(key), value) {
            (Some(same), value) if same == value => {}
            (Some(Value::Object(before)), Value::Object(after)) => {
                let inner = difference(before, after);
                if !inner.is_empty() {
                    patch.insert(key.clone(), Value::Object(inner));
                }
            }
            _ => drop(patch.insert(key.clone(), value.clone())),
        }
    }
    patch
}

/// Applies a JSON merge patch (RFC 7396) to a value, as clients do: null removes a field, and an array is replaced whole.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else { return target.clone_from(patch) };
    if !target.is_object() {
        *target = Value::Object(Map::new());
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A state without its null fields, which count as absent.
    fn stripped(state: &Value) -> Value {
        let mut bare = json!({});
        merge(&mut bare, state);
        bare
    }

    #[test]
    fn a_patch_turns_one_state_into_the_other() {
        let states = [
            json!({}),
            json!({ "a": 1 }),
            json!({ "a": 1, "b": { "c": [1, 2], "d": "x" } }),
            json!({ "a": null, "b": { "c": [1, 3], "d": "x" } }),
            json!({ "b": { "c": [1, 3] } }),
            json!({ "b": [{ "c": null }] }),
            json!({ "b": { "c": { "d": {} } } }),
            json!({ "b": { "c": {} }, "a": false }),
        ];
        for before in &states {
            for after in &states {
                let (Value::Object(old), Value::Object(new)) = (before, after) else { continue };
                let patch = Value::Object(difference(old, new));
                let mut patched = stripped(before);
                merge(&mut patched, &patch);
                assert_eq!(patched, stripped(after), "{before} to {after} by {patch}");
                let is_same = stripped(before) == stripped(after);
                assert_eq!(patch == json!({}), is_same, "{before} to {after} by {patch}");
            }
        }
    }

    #[test]
    fn a_state_that_is_no_longer_than_its_patch_is_sent_whole() {
        let topic = Topic::new("t");
        let publish = |before, text: &str| Published::publish(before, &topic, PublishedState::from(text));
        let (first, update) = publish(None, r#"{"a":1,"long":"unchanged"}"#);
        assert_eq!(update.map(|update| (update.number, update.patch)), Some((1, None)));
        let (second, update) = publish(Some(first), r#"{"a":2,"long":"unchanged"}"#);
        assert_eq!(update.map(|update| (update.number, update.patch)), Some((2, Some(r#"{"a":2}"#.into()))));
        let (third, update) = publish(Some(second), r#"{"long":"unchanged","a":2}"#);
        assert!(update.is_none());
        let (fourth, update) = publish(Some(third), r#"{"b":3}"#);
        assert_eq!(update.map(|update| (update.number, update.patch)), Some((3, None)));
        assert_eq!(fourth.all(&topic).state, r#"{"b":3}"#);
    }
}
