//! The shared handle: who is online, for channels to change and for everybody to ask.

use std::sync::Arc;

use bytestring::ByteString;

use super::shard::Shard;
use super::{Pace, PresenceError, Replica};
use crate::protocol::{Payload, Topic};
use crate::pubsub::PubSub;

/// Who is online. Each change is broadcast to its topic as a `presence_diff`, at once or joined with others ([`Pace`]).
///
/// All of it may be called under a channel's lock. In here a shard is locked, and under it a topic's audience and its
/// outboxes; nothing awaits. Within a tokio runtime only, in which what has waited is flushed.
///
/// # States and diffs
///
/// A `presence_state` shows what is, and so may be ahead of the diffs that a window still holds. A client ends right all
/// the same. An entry, known by its ref, is joined once and then left once, and phoenix.js goes by refs: a join of an entry
/// that it has changes nothing, and so does a leave of one that it hasn't. So what a late diff says again is harmless, and
/// since a joined diff keeps the leave of whoever joined within it, and joins are read before leaves, the last word on each
/// entry is the right one. The one exception to "once" is an entry whose replica was down and is up again; there the join
/// takes the place of the leave ([`Diff::join`](super::Diff::join)).
///
/// What must not be is a state that is sent after a diff which it knows nothing of. The first state after a join is safe:
/// until then phoenix.js keeps diffs, and takes them afterwards. Any further one must be sent by [`show`](Self::show).
pub struct Presence {
    shards: Box<[Arc<Shard>]>,
}

impl Presence {
    /// How many parts the topics fall into, each with a lock of its own. All nodes must have the same number.
    pub const SHARDS: u16 = 16;

    /// Nobody is online. `name` and `incarnation` are this node's, as for [`Replica::new`].
    #[must_use]
    pub fn new(pubsub: &Arc<PubSub>, name: &str, incarnation: u64, pace: Pace) -> Self {
        let shard = |at| Arc::new(Shard::new(Arc::clone(pubsub), Replica::new(name, at, incarnation), pace));
        Self { shards: (0..Self::SHARDS).map(shard).collect() }
    }

    /// A member is online under `key` from now on, with `meta`: the text of a JSON object, which the caller has checked. The
    /// lengths and the number of a member's presences are the caller's to check too.
    ///
    /// # Errors
    /// [`Refusal::AlreadyTracked`].
    pub fn track(&self, topic: &Topic, member: u64, key: &str, meta: &str) -> Result<(), PresenceError> {
        self.shard(topic).change(|state| state.join(topic, member, key, meta))
    }

    /// Puts another meta in place of the one that a member has under `key`.
    ///
    /// # Errors
    /// [`Refusal::NotTracked`].
    pub fn update(&self, topic: &Topic, member: u64, key: &str, meta: &str) -> Result<(), PresenceError> {
        self.shard(topic).change(|state| state.update(topic, member, key, meta))
    }

    /// A member is online under `key` no more. Nothing happens if it wasn't.
    pub fn untrack(&self, topic: &Topic, member: u64, key: &str) {
        let _ = self.shard(topic).change(|state| Ok(state.leave_key(topic, member, key)));
    }

    /// A member has ended: all its presences leave, in one diff.
    pub fn leave(&self, topic: &Topic, member: u64) {
        let _ = self.shard(topic).change(|state| Ok(state.leave(topic, member)));
    }

    /// The payload of a `presence_state`: `{"KEY":{"metas":[..]},..}`. To be read, or to be sent as a member's first one;
    /// else by [`show`](Self::show).
    #[must_use]
    pub fn state(&self, topic: &Topic) -> Payload {
        self.show(topic, |payload| payload)
    }

    /// Hands the payload of a `presence_state` to `send` while no diff of the topic can go out, so that the state has its
    /// place among them. `send` must not ask anything of this object: it runs under the shard's lock.
    pub fn show<T>(&self, topic: &Topic, send: impl FnOnce(Payload) -> T) -> T {
        self.shard(topic).show(topic, send)
    }

    /// `{"metas":[..]}` of one key, if it is online.
    #[must_use]
    pub fn get(&self, topic: &Topic, key: &str) -> Option<ByteString> {
        self.shard(topic).read(|state| state.metas(topic, key))
    }

    /// How many keys are online.
    #[must_use]
    pub fn count(&self, topic: &Topic) -> usize {
        self.shard(topic).read(|state| state.count(topic))
    }

    /// The keys under which a member is online, the one written last at the end.
    #[must_use]
    pub fn keys(&self, topic: &Topic, member: u64) -> Vec<Arc<str>> {
        self.shard(topic)
            .read(|state| state.of_member(topic, member).iter().map(|entry| Arc::clone(&entry.key)).collect())
    }

    fn shard(&self, topic: &Topic) -> &Arc<Shard> {
        &self.shards[fnv1a(topic.as_str()) as usize % self.shards.len()]
    }
}

/// FNV-1a, since nodes must agree on a topic's shard, whatever they were built with.
fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
