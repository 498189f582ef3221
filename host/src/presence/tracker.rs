//! The shared handle: channels change it, and any part of the host reads it.

use std::sync::Arc;

use bytestring::ByteString;

use super::shard::Shard;
use super::{Pace, PresenceError, Replica};
use crate::protocol::{Payload, Topic};
use crate::pubsub::PubSub;

/// The presences of all topics. Each change is broadcast to its topic as a `presence_diff`, at once or merged with
/// others ([`Pace`]).
///
/// All functions may be called under a channel's lock. They lock a shard, and under it a topic's audience and its
/// outboxes. Nothing awaits. They must be called within a tokio runtime, which runs the delayed flushes.
///
/// # States and diffs
///
/// A `presence_state` contains the current entries, so it may be ahead of diffs that still wait in a window. A client
/// still ends with the right list. Each entry, known by its ref, joins once and then leaves once. phoenix.js compares
/// refs: the join of an entry that it has changes nothing, and so does the leave of an entry that it doesn't have. So a
/// late diff that repeats a change is harmless. A merged diff keeps the leave of an entry that joined within it, and
/// joins are applied before leaves, so the last change of each entry decides. There is one exception to "once": an
/// entry whose replica was down and is up again. For that entry, the join replaces the leave
/// ([`Diff::join`](super::Diff::join)).
///
/// A state must not be sent after a diff whose change it doesn't contain. The first state after a join is safe: until
/// it arrives, phoenix.js keeps the diffs, and applies them afterwards. Every further state must be sent by
/// [`show`](Self::show).
pub struct Presence {
    shards: Box<[Arc<Shard>]>,
}

impl Presence {
    /// The number of shards, each with its own lock. All nodes must have the same number.
    pub const SHARDS: u16 = 16;

    /// Creates it without presences. `name` and `incarnation` are this node's, as for [`Replica::new`].
    #[must_use]
    pub fn new(pubsub: &Arc<PubSub>, name: &str, incarnation: u64, pace: Pace) -> Self {
        let shard = |at| Arc::new(Shard::new(Arc::clone(pubsub), Replica::new(name, at, incarnation), pace));
        Self { shards: (0..Self::SHARDS).map(shard).collect() }
    }

    /// Adds a presence: the member is online under `key`, with `meta`, the text of a JSON object. The caller must have
    /// checked the JSON, the lengths, and the number of the member's presences.
    ///
    /// # Errors
    /// [`PresenceError::AlreadyTracked`].
    pub fn track(&self, topic: &Topic, member: u64, key: &str, meta: &str) -> Result<(), PresenceError> {
        self.shard(topic).change(|state| state.join(topic, member, key, meta))
    }

    /// Replaces the meta of a member's presence under `key`.
    ///
    /// # Errors
    /// [`PresenceError::NotTracked`].
    pub fn update(&self, topic: &Topic, member: u64, key: &str, meta: &str) -> Result<(), PresenceError> {
        self.shard(topic).change(|state| state.update(topic, member, key, meta))
    }

    /// Removes a member's presence under `key`, if it exists.
    pub fn untrack(&self, topic: &Topic, member: u64, key: &str) {
        let _ = self.shard(topic).change(|state| Ok(state.leave_key(topic, member, key)));
    }

    /// Removes all presences of a member that has ended, in one diff.
    pub fn leave(&self, topic: &Topic, member: u64) {
        let _ = self.shard(topic).change(|state| Ok(state.leave(topic, member)));
    }

    /// Returns the payload of a `presence_state`: `{"KEY":{"metas":[..]},..}`. It may be read, or sent as a member's
    /// first state. Every other state must be sent by [`show`](Self::show).
    #[must_use]
    pub fn state(&self, topic: &Topic) -> Payload {
        self.show(topic, |payload| payload)
    }

    /// Calls `send` with the payload of a `presence_state`. No diff of the topic is sent in the meantime, so the state
    /// has a definite place among the diffs. `send` runs under the shard's lock, so it must not call this object.
    pub fn show<T>(&self, topic: &Topic, send: impl FnOnce(Payload) -> T) -> T {
        self.shard(topic).show(topic, send)
    }

    /// Returns `{"metas":[..]}` of one key, if it is online.
    #[must_use]
    pub fn get(&self, topic: &Topic, key: &str) -> Option<ByteString> {
        self.shard(topic).read(|state| state.metas(topic, key))
    }

    /// Returns the number of keys that are online.
    #[must_use]
    pub fn count(&self, topic: &Topic) -> usize {
        self.shard(topic).read(|state| state.count(topic))
    }

    /// Returns the keys under which a member is online, in the order in which they were last written.
    #[must_use]
    pub fn keys(&self, topic: &Topic, member: u64) -> Vec<Arc<str>> {
        self.shard(topic)
            .read(|state| state.of_member(topic, member).iter().map(|entry| Arc::clone(&entry.key)).collect())
    }

    fn shard(&self, topic: &Topic) -> &Arc<Shard> {
        &self.shards[fnv1a(topic.as_str()) as usize % self.shards.len()]
    }
}

/// The FNV-1a hash. All nodes must map a topic to the same shard, even if they are built differently.
fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
