//! Which delivery is sent next.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::{DeliveryId, DeliveryRow, Destination};

/// The most deliveries that are being sent at the same time. It is less than the host's limit of requests (`http_at_once`), so
/// that deliveries leave room for requests that a callback waits for.
pub const SENDING_MAX: usize = 64;

/// The most of them of one plugin.
pub const SENDING_MAX_OF_PLUGIN: usize = 16;

/// The most of them of one plugin to one server. A server whose last answer was a failure gets one at a time: many servers that
/// don't answer then still leave room for those that do.
pub const SENDING_MAX_TO_ORIGIN: usize = 4;

/// What happens with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryPhase {
    /// It waits for its time, for a place, or for an earlier one with the same order.
    Waiting,
    /// It is being sent.
    Sending,
    /// Its time is over. It waits for an operator.
    GivenUp,
}

/// A delivery in the queue.
#[derive(Clone, Debug)]
pub struct DeliverySlot {
    /// What happens with it.
    pub phase: DeliveryPhase,
    /// When it is sent next. `None` if it is given up.
    pub next_ms: Option<u64>,
    bytes: u64,
    destination: Arc<Destination>,
    order: Option<Arc<str>>,
}

/// The number of deliveries, and the bytes of their rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryUsage {
    /// How many there are.
    pub count: u64,
    /// The bytes of their rows.
    pub bytes: u64,
}

/// How many deliveries there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryCounts {
    /// All.
    pub all: usize,
    /// Those that are being sent.
    pub sending: usize,
    /// Those that are given up.
    pub given_up: usize,
}

/// The deliveries with one order that aren't given up.
#[derive(Debug, Default)]
struct Sequence {
    all: BTreeSet<Arc<DeliveryId>>,
    /// The one that may be sent, or is being sent.
    front: Option<Arc<DeliveryId>>,
}

/// What a destination waits for.
#[derive(Debug, Default)]
struct Lane {
    due: BTreeSet<(u64, Arc<DeliveryId>)>,
    sending: usize,
    /// Whether the last attempt has failed.
    fails: bool,
    /// All deliveries to it, with those that aren't due.
    count: usize,
}

/// All stored deliveries. It is an index of the store's rows: whoever writes a row calls [`put`](Self::put) or
/// [`remove`](Self::remove), in the order of the commits.
#[derive(Debug, Default)]
pub struct DeliveryQueue {
    slots: BTreeMap<Arc<DeliveryId>, DeliverySlot>,
    sequences: BTreeMap<(Arc<str>, Arc<str>), Sequence>,
    lanes: BTreeMap<Arc<Destination>, Lane>,
    /// The lanes of each plugin that have a due delivery, by the time of their first one.
    fronts: BTreeMap<Arc<str>, BTreeSet<(u64, Arc<Destination>)>>,
    usage: BTreeMap<Arc<str>, DeliveryUsage>,
    sending: BTreeMap<Arc<str>, usize>,
    all_sending: usize,
    given_up: usize,
}

impl DeliveryUsage {
    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { count: self.count.saturating_add(other.count), bytes: self.bytes.saturating_add(other.bytes) }
    }
}

impl DeliveryQueue {
    /// A row was written. `bytes` are those of the row with its name. A delivery that is being sent stays so until
    /// [`ended`](Self::ended).
    pub fn put(&mut self, id: DeliveryId, row: &DeliveryRow, bytes: u64) {
        let (id, is_sending) = match self.slots.get_key_value(&id) {
            Some((known, slot)) => (Arc::clone(known), slot.phase == DeliveryPhase::Sending),
            None => (Arc::new(id), false),
        };
        let destination = self.destination(&id.plugin, &row.url);
        // Before the former row is forgotten, so that a failing server isn't forgotten with it.
        self.lanes.entry(Arc::clone(&destination)).or_default().count += 1;
        self.forget(&id);
        let usage = self.usage.entry(Arc::clone(&id.plugin)).or_default();
        *usage = usage.plus(DeliveryUsage { count: 1, bytes });
        let phase = match row.next_ms {
            _ if is_sending => DeliveryPhase::Sending,
            Some(_) => DeliveryPhase::Waiting,
            None => DeliveryPhase::GivenUp,
        };
        self.given_up += usize::from(phase == DeliveryPhase::GivenUp);
        let slot = DeliverySlot { phase, next_ms: row.next_ms, bytes, destination, order: row.order.clone() };
        self.slots.insert(Arc::clone(&id), slot);
        self.line_up(&id);
    }

    /// A row was removed. If it is being sent, its place is free at [`ended`](Self::ended).
    pub fn remove(&mut self, id: &DeliveryId) {
        if let Some(id) = self.slots.get_key_value(id).map(|(id, _)| Arc::clone(id)) {
            self.forget(&id);
        }
    }

    /// Takes the delivery that has been due for the longest time and that may be sent, if there is one by `now_ms`. The caller
    /// sends it, and calls [`ended`](Self::ended) with the destination.
    pub fn take_due(&mut self, now_ms: u64) -> Option<(Arc<DeliveryId>, Arc<Destination>)> {
        let (next_ms, destination) = self.first_due().filter(|(next_ms, _)| *next_ms <= now_ms)?;
        let id = self.lanes.get(&destination)?.due.first().map(|(_, id)| Arc::clone(id))?;
        self.unset_due(&destination, next_ms, &id);
        self.slots.get_mut(&id)?.phase = DeliveryPhase::Sending;
        self.all_sending += 1;
        *self.sending.entry(Arc::clone(&destination.plugin)).or_default() += 1;
        if let Some(lane) = self.lanes.get_mut(&destination) {
            lane.sending += 1;
        }
        Some((id, destination))
    }

    /// An attempt has ended, and its result is stored. If the delivery still has a row, it isn't sent before `not_before_ms`.
    pub fn ended(&mut self, id: &DeliveryId, destination: &Arc<Destination>, has_failed: bool, not_before_ms: u64) {
        self.all_sending = self.all_sending.saturating_sub(1);
        if let Some(sending) = self.sending.get_mut(&destination.plugin) {
            *sending = sending.saturating_sub(1);
            if *sending == 0 {
                self.sending.remove(&destination.plugin);
            }
        }
        if let Some(lane) = self.lanes.get_mut(destination) {
            (lane.sending, lane.fails) = (lane.sending.saturating_sub(1), has_failed);
        }
        self.drop_empty(destination);
        let Some((id, slot)) = self.slots.get_key_value(id).map(|(id, _)| Arc::clone(id)).and_then(|id| {
            let slot = self.slots.get_mut(&id).filter(|slot| slot.phase == DeliveryPhase::Sending)?;
            Some((id, slot))
        }) else {
            return;
        };
        slot.next_ms = slot.next_ms.map(|next_ms| next_ms.max(not_before_ms));
        slot.phase = if slot.next_ms.is_some() { DeliveryPhase::Waiting } else { DeliveryPhase::GivenUp };
        let is_given_up = slot.phase == DeliveryPhase::GivenUp;
        self.given_up += usize::from(is_given_up);
        self.leave_sequence(&id);
        self.line_up(&id);
    }

    /// When the next delivery is due that may be sent. `None` if there is none.
    #[must_use]
    pub fn next_due_ms(&self) -> Option<u64> {
        self.first_due().map(|(next_ms, _)| next_ms)
    }

    /// A delivery.
    #[must_use]
    pub fn get(&self, id: &DeliveryId) -> Option<&DeliverySlot> {
        self.slots.get(id)
    }

    /// The deliveries after one in the order of their plugins and ids, or from the first one.
    pub fn list_after(&self, id: Option<&DeliveryId>) -> impl Iterator<Item = (&Arc<DeliveryId>, &DeliverySlot)> {
        let from = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.slots.range::<DeliveryId, _>((from, Bound::Unbounded))
    }

    /// The deliveries of a plugin.
    #[must_use]
    pub fn usage(&self, plugin: &str) -> DeliveryUsage {
        self.usage.get(plugin).copied().unwrap_or_default()
    }

    /// How many there are.
    #[must_use]
    pub fn counts(&self) -> DeliveryCounts {
        DeliveryCounts { all: self.slots.len(), sending: self.all_sending, given_up: self.given_up }
    }

    /// The first due delivery of those that may be sent: its time, and its destination. The number of destinations that are left
    /// out is at most the number of those that are being sent.
    fn first_due(&self) -> Option<(u64, Arc<Destination>)> {
        if self.all_sending >= SENDING_MAX {
            return None;
        }
        let has_place = |plugin: &str| self.sending.get(plugin).is_none_or(|sending| *sending < SENDING_MAX_OF_PLUGIN);
        let plugins = self.fronts.iter().filter(|(plugin, _)| has_place(plugin));
        let is_free =
            |(_, destination): &&(u64, Arc<Destination>)| self.lanes.get(destination).is_some_and(Lane::is_free);
        plugins.filter_map(|(_, fronts)| fronts.iter().find(is_free)).min().cloned()
    }

    /// The shared destination of a URL.
    fn destination(&self, plugin: &Arc<str>, url: &str) -> Arc<Destination> {
        let destination = Destination::of(Arc::clone(plugin), url);
        match self.lanes.get_key_value(&destination) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::new(destination),
        }
    }

    /// Removes all traces of a delivery, except that it is being sent.
    fn forget(&mut self, id: &Arc<DeliveryId>) {
        self.leave_sequence(id);
        let Some(slot) = self.slots.remove(id) else { return };
        self.given_up -= usize::from(slot.phase == DeliveryPhase::GivenUp);
        if let Some(usage) = self.usage.get_mut(&id.plugin) {
            let DeliveryUsage { count, bytes } = *usage;
            *usage = DeliveryUsage { count: count.saturating_sub(1), bytes: bytes.saturating_sub(slot.bytes) };
            if usage.count == 0 {
                self.usage.remove(&id.plugin);
            }
        }
        if let Some(lane) = self.lanes.get_mut(&slot.destination) {
            lane.count = lane.count.saturating_sub(1);
        }
        self.drop_empty(&slot.destination);
    }

    /// Takes a delivery out of those that are due, and out of its sequence. The next one of the sequence becomes due.
    fn leave_sequence(&mut self, id: &Arc<DeliveryId>) {
        let Some(slot) = self.slots.get(id).cloned() else { return };
        if let Some(next_ms) = slot.next_ms {
            self.unset_due(&slot.destination, next_ms, id);
        }
        let Some(order) = slot.order else { return };
        let key = (Arc::clone(&id.plugin), order);
        let Some(sequence) = self.sequences.get_mut(&key) else { return };
        sequence.all.remove(id);
        if sequence.front.as_ref() == Some(id) {
            sequence.front = None;
        }
        if sequence.all.is_empty() {
            self.sequences.remove(&key);
        } else {
            self.advance(&key);
        }
    }

    /// Adds a delivery to its sequence, or to those that are due.
    fn line_up(&mut self, id: &Arc<DeliveryId>) {
        let Some(slot) = self.slots.get(id).cloned() else { return };
        if slot.phase == DeliveryPhase::GivenUp {
            return;
        }
        let Some(order) = slot.order else {
            if let (DeliveryPhase::Waiting, Some(next_ms)) = (slot.phase, slot.next_ms) {
                self.set_due(&slot.destination, next_ms, id);
            }
            return;
        };
        let key = (Arc::clone(&id.plugin), order);
        let sequence = self.sequences.entry(key.clone()).or_default();
        sequence.all.insert(Arc::clone(id));
        if slot.phase == DeliveryPhase::Sending {
            let other = sequence.front.replace(Arc::clone(id)).filter(|other| other != id);
            if let Some((other, DeliverySlot { destination, next_ms: Some(next_ms), .. })) =
                other.and_then(|other| self.known(other))
            {
                self.unset_due(&destination, next_ms, &other);
            }
            return;
        }
        self.advance(&key);
    }

    /// Makes the first delivery of a sequence due, unless another one of the sequence is being sent.
    fn advance(&mut self, key: &(Arc<str>, Arc<str>)) {
        let Some(sequence) = self.sequences.get_mut(key) else { return };
        let phase = |id: &Arc<DeliveryId>| self.slots.get(id).map(|slot| slot.phase);
        let front = sequence.front.clone();
        if front.as_ref().and_then(phase) == Some(DeliveryPhase::Sending) {
            return;
        }
        let first = sequence.all.first().cloned();
        sequence.front.clone_from(&first);
        if let Some((id, slot)) = front.filter(|front| Some(front) != first.as_ref()).and_then(|id| self.known(id))
            && let Some(next_ms) = slot.next_ms
        {
            self.unset_due(&slot.destination, next_ms, &id);
        }
        if let Some((id, slot)) = first.and_then(|id| self.known(id))
            && let (DeliveryPhase::Waiting, Some(next_ms)) = (slot.phase, slot.next_ms)
        {
            self.set_due(&slot.destination, next_ms, &id);
        }
    }

    fn known(&self, id: Arc<DeliveryId>) -> Option<(Arc<DeliveryId>, DeliverySlot)> {
        let slot = self.slots.get(&id)?.clone();
        Some((id, slot))
    }

    fn set_due(&mut self, destination: &Arc<Destination>, next_ms: u64, id: &Arc<DeliveryId>) {
        self.change_due(destination, |lane| {
            lane.due.insert((next_ms, Arc::clone(id)));
        });
    }

    fn unset_due(&mut self, destination: &Arc<Destination>, next_ms: u64, id: &Arc<DeliveryId>) {
        self.change_due(destination, |lane| {
            lane.due.remove(&(next_ms, Arc::clone(id)));
        });
    }

    /// Changes the due deliveries of a lane, and its place among the lanes of its plugin.
    fn change_due(&mut self, destination: &Arc<Destination>, change: impl FnOnce(&mut Lane)) {
        let Some(lane) = self.lanes.get_mut(destination) else { return };
        let first = |lane: &Lane| lane.due.first().map(|(next_ms, _)| *next_ms);
        let before = first(lane);
        change(lane);
        let after = first(lane);
        if before == after {
            return;
        }
        let fronts = self.fronts.entry(Arc::clone(&destination.plugin)).or_default();
        if let Some(before) = before {
            fronts.remove(&(before, Arc::clone(destination)));
        }
        if let Some(after) = after {
            fronts.insert((after, Arc::clone(destination)));
        }
        if fronts.is_empty() {
            self.fronts.remove(&destination.plugin);
        }
    }

    /// Removes a lane without deliveries.
    fn drop_empty(&mut self, destination: &Arc<Destination>) {
        if self.lanes.get(destination).is_some_and(|lane| lane.count == 0 && lane.sending == 0) {
            self.lanes.remove(destination);
        }
    }
}

impl Lane {
    fn is_free(&self) -> bool {
        self.sending < if self.fails { 1 } else { SENDING_MAX_TO_ORIGIN }
    }
}
