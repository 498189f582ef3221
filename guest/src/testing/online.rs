//! Who is online on a stage, in the shapes that the host gives it.

use std::collections::BTreeMap;

use serde_json::{Map, json};

use crate::Value;

/// The presences of all topics.
#[derive(Clone, Debug, Default)]
pub(super) struct Online {
    topics: BTreeMap<String, Vec<Entry>>,
    refs: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    member: u64,
    key: String,
    meta: Value,
}

impl Online {
    /// What `presence_state` carries.
    pub(super) fn state(&self, topic: &str) -> Value {
        let mut state = Map::new();
        self.topics.get(topic).into_iter().flatten().for_each(|entry| put(&mut state, entry));
        Value::Object(state)
    }

    /// The metas of one key.
    pub(super) fn of(&self, topic: &str, key: &str) -> Option<Value> {
        self.state(topic).get(key).cloned()
    }

    /// A member is online. Gives the diff, as all of these.
    pub(super) fn track(&mut self, topic: &str, member: u64, key: &str, meta: &Value) -> Value {
        let mut meta = meta.clone();
        meta["phx_ref"] = self.draw_ref().into();
        let entry = Entry { member, key: key.into(), meta };
        let joined = diff([&entry], []);
        self.topics.entry(topic.into()).or_default().push(entry);
        joined
    }

    pub(super) fn update(&mut self, topic: &str, member: u64, key: &str, meta: &Value) -> Option<Value> {
        let fresh = self.draw_ref();
        let entries = self.topics.get_mut(topic)?;
        let entry = entries.iter_mut().find(|entry| entry.member == member && entry.key == key)?;
        let before = entry.clone();
        entry.meta = meta.clone();
        entry.meta["phx_ref"] = fresh.into();
        entry.meta["phx_ref_prev"] = before.meta["phx_ref"].clone();
        Some(diff([&*entry], [&before]))
    }

    pub(super) fn untrack(&mut self, topic: &str, member: u64, key: &str) -> Option<Value> {
        self.take(topic, |entry| entry.member == member && entry.key == key)
    }

    /// A member has ended.
    pub(super) fn leave(&mut self, topic: &str, member: u64) -> Option<Value> {
        self.take(topic, |entry| entry.member == member)
    }

    fn take(&mut self, topic: &str, gone: impl Fn(&Entry) -> bool) -> Option<Value> {
        let entries = self.topics.get_mut(topic)?;
        let (left, stay): (Vec<_>, Vec<_>) = entries.drain(..).partition(gone);
        *entries = stay;
        (!left.is_empty()).then(|| diff([], &left))
    }

    fn draw_ref(&mut self) -> String {
        self.refs += 1;
        format!("ref-{}", self.refs)
    }
}

fn diff<'a>(joins: impl IntoIterator<Item = &'a Entry>, leaves: impl IntoIterator<Item = &'a Entry>) -> Value {
    let (mut joined, mut left) = (Map::new(), Map::new());
    joins.into_iter().for_each(|entry| put(&mut joined, entry));
    leaves.into_iter().for_each(|entry| put(&mut left, entry));
    json!({ "joins": joined, "leaves": left })
}

fn put(into: &mut Map<String, Value>, entry: &Entry) {
    let slot = into.entry(&entry.key).or_insert_with(|| json!({ "metas": [] }));
    if let Some(metas) = slot["metas"].as_array_mut() {
        metas.push(entry.meta.clone());
    }
}
