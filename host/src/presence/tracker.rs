//! The shared handle: channels change it, and any part of the host reads it.

use std::sync::Arc;

use bytestring::ByteString;

use super::shard::Shard;
use super::{Delta, DeltaReceiver, Diffs, Pace, PresenceError, Replica, ShareEnd, ShareParts, State};
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

    /// Sets the way of this node's writes to the other nodes. This is called once, before the first presence. Later calls are
    /// ignored.
    pub fn set_receiver(&self, receiver: &Arc<dyn DeltaReceiver>) {
        self.shards.iter().for_each(|shard| shard.set_receiver(Arc::clone(receiver)));
    }

    /// A node is up: its presences count from now on. It may be called again.
    pub fn up(&self, name: &str, incarnation: u64) {
        self.follow_all(name, incarnation, State::up);
    }

    /// A node is gone for good, and so are its presences.
    pub fn forget(&self, name: &str, incarnation: u64) {
        self.follow_all(name, incarnation, State::forget);
    }

    fn follow_all(&self, name: &str, incarnation: u64, follow: impl Fn(&mut State, &Replica) -> Diffs) {
        for (at, shard) in (0..).zip(&self.shards) {
            let replica = Replica::new(name, at, incarnation);
            shard.follow(|state| (follow(state, &replica), ()));
        }
    }

    /// Merges the writes of another node. Writes of any other replica than those of the node are ignored, so that no node
    /// speaks for another one. Returns whether there were any.
    pub fn merge(&self, name: &str, incarnation: u64, delta: Delta) -> bool {
        let mut has_foreign = false;
        for (replica, share) in delta.shares {
            let shard = self.shards.get(usize::from(replica.shard()));
            match shard.filter(|_| replica.name() == name && replica.incarnation() == incarnation) {
                Some(shard) => shard.follow(|state| (state.merge(&Delta { shares: [(replica, share)].into() }), ())),
                None => has_foreign = true,
            }
        }
        has_foreign
    }

    /// The clocks up to which this node has written, by shard.
    #[must_use]
    pub fn clocks(&self) -> [u64; Self::SHARDS as usize] {
        std::array::from_fn(|at| self.shards[at].read(State::clock))
    }

    /// The shards in which writes of a node up to these clocks are missing, one bit each.
    #[must_use]
    pub fn lacking(&self, name: &str, incarnation: u64, clocks: &[u64; Self::SHARDS as usize]) -> u16 {
        let lacks = |at: u16| {
            let replica = Replica::new(name, at, incarnation);
            self.shards[usize::from(at)].read(|state| state.lacks(&replica, clocks[usize::from(at)]))
        };
        (0..Self::SHARDS).filter(|at| lacks(*at)).fold(0, |lacking, at| lacking | 1 << at)
    }

    /// All presences of this node in a shard, in parts of about `bytes_max` bytes. None if there is no such shard.
    #[must_use]
    pub fn own_parts(&self, shard: u16, bytes_max: usize) -> Option<ShareParts> {
        Some(self.shards.get(usize::from(shard))?.read(|state| state.own_parts(bytes_max)))
    }

    /// Applies the end of the parts of another node's share. Returns whether it was applied: no part was missing.
    pub fn merge_end(&self, name: &str, incarnation: u64, shard: u16, end: &ShareEnd) -> bool {
        let replica = Replica::new(name, shard, incarnation);
        let Some(shard) = self.shards.get(usize::from(shard)) else { return false };
        shard.follow(|state| match state.merge_end(&replica, end) {
            Some(diffs) => (diffs, true),
            None => (Diffs::new(), false),
        })
    }

    fn shard(&self, topic: &Topic) -> &Arc<Shard> {
        &self.shards[fnv1a(topic.as_str()) as usize % self.shards.len()]
    }
}

/// The FNV-1a hash. All nodes must map a topic to the same shard, even if they are built differently.
fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
