//! Messages of which a slow client needs only the latest: their keys, those that wait in an outbox, and their counts.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use bytestring::ByteString;

use super::queue::Queue;
use crate::counts::{Limit, Traffic};
use crate::protocol::{Frame, Topic};

/// The most waiting frames that are searched one by one. A client that reads fast has one or two, and needs no map.
const SEARCHED_MAX: usize = 16;

/// Identifies the messages of which only the last is kept: a hash of their topic, event and key.
///
/// A hash has the same size for every name, so an outbox needs no memory for names. Different names with the same hash
/// would replace each other's messages. By chance this doesn't happen with 128 bits, and nobody can search for such
/// names, because the hash depends on a secret of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropKey([u64; 2]);

impl DropKey {
    /// Returns the key of a message.
    #[must_use]
    pub fn of(topic: &Topic, event: &str, key: &str) -> Self {
        static SECRETS: LazyLock<[RandomState; 2]> = LazyLock::new(|| [RandomState::new(), RandomState::new()]);
        Self(SECRETS.each_ref().map(|secret| secret.hash_one((topic.as_str(), event, key))))
    }

    /// Returns the key of one member's copy. If a client leaves a topic and joins it again, a message to the new member
    /// must not take the place of one to the earlier member: that place is before the reply to the new join.
    #[must_use]
    pub fn of_member(self, id: u64) -> Self {
        let Self([first, second]) = self;
        Self([first ^ id, second])
    }
}

/// What makes a broadcast droppable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Droppable {
    /// Identifies the messages of which only the last is kept at this node.
    pub key: DropKey,
    /// The key as its sender gave it. Other nodes make their own [`DropKey`] of it.
    pub name: ByteString,
}

impl Droppable {
    /// Makes a message with this key droppable.
    #[must_use]
    pub fn of(topic: &Topic, event: &str, name: impl Into<ByteString>) -> Self {
        let name = name.into();
        Self { key: DropKey::of(topic, event, &name), name }
    }
}

impl Hash for DropKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

/// The hasher of keys, which are hashes already.
#[derive(Default)]
struct Unchanged(u64);

impl Hasher for Unchanged {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a key is one number");
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Counts of deliveries since the start. A message to a thousand members counts a thousand times.
///
/// The counts are independent of each other, so all their accesses are relaxed.
#[derive(Debug, Default)]
pub struct DroppableCounts {
    sent: AtomicU64,
    replaced: AtomicU64,
    dropped: AtomicU64,
}

impl DroppableCounts {
    /// The droppable messages that were sent to members.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Those that a later message with the same key replaced before they were written.
    #[must_use]
    pub fn replaced(&self) -> u64 {
        self.replaced.load(Ordering::Relaxed)
    }

    /// Those that were dropped, because more than a quarter of the client's outbox was in use.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(super) fn count_dropped(&self) {
        Limit::OutboxForDroppables.hit();
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// The result of a push of a droppable frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It waits behind all queued frames.
    Queued,
    /// It has replaced a queued frame.
    Replaced,
    /// It was dropped, because too much is queued.
    Dropped,
    /// The outbox is closing.
    Refused,
}

/// The pushes of one broadcast, which are added to the counts together. So a thousand members cost two changes of
/// memory that all threads share.
pub(super) struct Tally<'a> {
    counts: &'a DroppableCounts,
    sent: u64,
    replaced: u64,
}

impl<'a> Tally<'a> {
    pub(super) fn new(counts: &'a DroppableCounts) -> Self {
        Self { counts, sent: 0, replaced: 0 }
    }

    pub(super) fn add(&mut self, pushed: Pushed) {
        self.sent += u64::from(pushed != Pushed::Refused);
        self.replaced += u64::from(pushed == Pushed::Replaced);
    }
}

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        Traffic::Deliveries.add(self.sent);
        self.counts.sent.fetch_add(self.sent, Ordering::Relaxed);
        if self.replaced > 0 {
            self.counts.replaced.fetch_add(self.replaced, Ordering::Relaxed);
        }
    }
}

/// The droppable frames that wait in an outbox. They are apart from the other frames, so that a frame is replaced or
/// dropped without moving others.
pub(super) struct Droppables {
    waiting: Queue<DroppableFrame>,
    /// The bytes of `waiting`.
    bytes: usize,
    /// How many other frames the driver has taken since this was made.
    passed: usize,
    /// How many frames have left `waiting`.
    left: usize,
    /// For each waiting frame, how many frames of `waiting` were pushed before it. Empty until more than
    /// [`SEARCHED_MAX`] frames wait.
    places: HashMap<DropKey, usize, BuildHasherDefault<Unchanged>>,
    counts: Arc<DroppableCounts>,
}

/// A droppable frame.
struct DroppableFrame {
    key: DropKey,
    frame: Frame,
    /// How many other frames come before it, counted as [`Droppables::passed`].
    after: usize,
}

impl Droppables {
    pub(super) fn new(counts: &Arc<DroppableCounts>) -> Self {
        let (waiting, places) = (Queue::default(), HashMap::default());
        Self { waiting, bytes: 0, passed: 0, left: 0, places, counts: Arc::clone(counts) }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Replaces the waiting frame with this key. Returns the length of the old frame, if there is one.
    pub(super) fn replace(&mut self, key: DropKey, frame: &Frame) -> Option<usize> {
        let index = if self.places.is_empty() {
            self.waiting.iter().position(|waiting| waiting.key == key)?
        } else {
            self.places.get(&key)? - self.left
        };
        let old = std::mem::replace(&mut self.waiting.get_mut(index)?.frame, frame.clone()).len();
        self.bytes = self.bytes - old + frame.len();
        Some(old)
    }

    /// Adds a frame whose key no waiting frame has. `before` is the number of other frames in the outbox.
    pub(super) fn push(&mut self, key: DropKey, frame: &Frame, before: usize) {
        self.bytes += frame.len();
        let place = self.left + self.waiting.len();
        self.waiting.push(DroppableFrame { key, frame: frame.clone(), after: self.passed + before });
        if !self.places.is_empty() {
            self.places.insert(key, place);
        } else if self.waiting.len() > SEARCHED_MAX {
            self.places = self.waiting.iter().map(|waiting| waiting.key).zip(self.left..).collect();
        }
    }

    /// Whether the first waiting frame comes before all other frames.
    pub(super) fn is_next(&self) -> bool {
        self.waiting.iter().next().is_some_and(|waiting| waiting.after <= self.passed)
    }

    /// The driver has taken one of the other frames.
    pub(super) fn pass(&mut self) {
        self.passed += 1;
    }

    /// Takes the first waiting frame, if `wanted` returns true for it.
    pub(super) fn pop_if(&mut self, wanted: impl FnOnce(&Frame) -> bool) -> Option<Frame> {
        let DroppableFrame { key, frame, .. } = self.waiting.pop_if(|waiting| wanted(&waiting.frame))?;
        self.places.remove(&key);
        self.left += 1;
        self.bytes -= frame.len();
        Some(frame)
    }

    /// Drops the first waiting frame. Returns its length.
    pub(super) fn drop_oldest(&mut self) -> usize {
        self.counts.count_dropped();
        self.pop_if(|_| true).map_or(0, |frame| frame.len())
    }
}

#[cfg(test)]
mod tests;
