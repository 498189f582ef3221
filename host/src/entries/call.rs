//! The entries of a topic as one call uses them.

use std::fmt;
use std::sync::Arc;

use bennu_semantics::Fault;
use bennu_semantics::entries::{
    ChangeKind, EntryChanges, EntryDeletion, EntryList, EntryScan, EntryTable, Order, Overlay, PublishedChange,
};
use bytes::Bytes;

use super::node::Reservation;
use super::rollback::RollbackGivenUp;
use super::topic::TopicEntries;

/// The entries that a call of a build may use.
#[derive(Clone, Debug)]
pub struct EntryInput {
    /// Those of the topic.
    pub topic: Arc<TopicEntries>,
    /// The version that the build writes.
    pub version: u32,
    /// Whether the call keeps the old entries that it changes, because a rollback may need them.
    pub keeps_old: bool,
    /// Whether the call sees the entries as they were at the topic's rollback point. Its changes must not be applied.
    pub is_before: bool,
}

/// One call's view of the entries: those of the topic, with the call's own writes. Dropping it discards the writes.
pub struct CallEntries {
    pub(super) topic: Arc<TopicEntries>,
    pub(super) overlay: Overlay,
    /// The memory by which the call makes the room larger.
    reserved: Reservation,
}

/// The changes of a call that has succeeded, before its commit. Dropping them discards the changes.
pub struct PendingEntries {
    topic: Arc<TopicEntries>,
    changes: EntryChanges,
    reserved: Reservation,
}

/// What follows from changes that were applied.
#[derive(Debug, Default)]
#[must_use = "the members get the changes of published entries, and a rollback point may be given up"]
pub struct AppliedEntries {
    /// The changes of published entries, in the order of their keys.
    pub published: Vec<PublishedChange>,
    /// The rollback point that was given up, because too many bytes were changed.
    pub given_up: Option<RollbackGivenUp>,
}

impl CallEntries {
    /// Begins a call. `has_upgrade` says whether the build upgrades entries of other versions. Otherwise it gets their values
    /// unchanged.
    #[must_use]
    pub fn new(input: EntryInput, has_upgrade: bool) -> Self {
        let (overlay, reserved) = (input.topic.overlay(&input, has_upgrade), Reservation::none(input.topic.node()));
        Self { topic: input.topic, overlay, reserved }
    }

    /// Returns the entries of the topic.
    #[must_use]
    pub fn topic(&self) -> &TopicEntries {
        &self.topic
    }

    /// Reads the entries as they were last committed. Entries of other versions are read as they are.
    pub(super) fn committed(topic: &Arc<TopicEntries>) -> Self {
        let overlay = Overlay::new(Arc::clone(topic.node().rules()), None);
        Self { topic: Arc::clone(topic), overlay, reserved: Reservation::none(topic.node()) }
    }

    /// Returns the value of a key.
    ///
    /// # Errors
    /// Fault: oversize, if the key isn't allowed. Fault: store, if the store can't be read.
    pub async fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let value = |overlay: &mut Overlay, table: &EntryTable| {
            Ok(overlay.get(table, key)?.map(|value| value.map(<[u8]>::to_vec)))
        };
        self.topic.run(&mut self.overlay, value).await
    }

    /// Returns the values of several keys, in their order, by `each`.
    ///
    /// # Errors
    /// Fault: oversize, if a key isn't allowed, or there are too many keys or bytes. Fault: store, if the store can't be
    /// read.
    pub async fn get_many<'k>(
        &mut self,
        keys: impl Iterator<Item = &'k [u8]> + Clone + Send,
        mut each: impl FnMut(Option<&[u8]>) + Send,
    ) -> Result<(), Fault> {
        let mut list = EntryList::new(keys)?;
        self.topic.run(&mut self.overlay, |overlay, table| overlay.get_many(table, &mut list, &mut each)).await
    }

    /// Returns the entries of a range, by `each`.
    ///
    /// # Errors
    /// Fault: oversize, if a bound is too long. Fault: store, if the store can't be read.
    pub async fn scan(
        &mut self,
        (start, end): (Option<&[u8]>, Option<&[u8]>),
        order: Order,
        limit: u32,
        mut each: impl FnMut(&[u8], &[u8]) + Send,
    ) -> Result<(), Fault> {
        let mut scan = EntryScan::new(start, end, order, limit)?;
        self.topic.run(&mut self.overlay, |overlay, table| Ok(overlay.scan(table, &mut scan, &mut each))).await
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// Fault: oversize, if a limit is exceeded. Fault: store, if the store can't be read.
    pub async fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.topic.run(&mut self.overlay, |overlay, table| overlay.put(table, key, value)).await?;
        self.reserve()
    }

    /// Sets the values of several keys, in their order.
    ///
    /// # Errors
    /// Fault: oversize, if a limit is exceeded. Fault: store, if the store can't be read. The call can't continue then.
    pub async fn put_many<'e>(
        &mut self,
        mut entries: impl Iterator<Item = (&'e [u8], &'e [u8])> + Clone + Send,
    ) -> Result<(), Fault> {
        self.topic.run(&mut self.overlay, |overlay, table| overlay.put_many(table, &mut entries)).await?;
        self.reserve()
    }

    /// Deletes a key.
    ///
    /// # Errors
    /// Fault: oversize, if the key isn't allowed, or the call writes too much. Fault: store, if the store can't be read.
    pub async fn delete(&mut self, key: &[u8]) -> Result<(), Fault> {
        self.topic.run(&mut self.overlay, |overlay, table| overlay.delete(table, key)).await
    }

    /// Deletes the first entries of a range. Returns their number.
    ///
    /// # Errors
    /// Fault: oversize, if a bound is too long, or the call writes too much. Fault: store, if the store can't be read.
    pub async fn delete_range(
        &mut self,
        (start, end): (Option<&[u8]>, Option<&[u8]>),
        limit: u32,
    ) -> Result<u32, Fault> {
        let mut deletion = EntryDeletion::new(start, end, limit)?;
        self.topic.run(&mut self.overlay, |overlay, table| overlay.delete_range(table, &mut deletion)).await
    }

    /// Discards the call's writes. Entries that were upgraded for the call stay upgraded.
    pub fn discard_writes(&mut self) {
        self.overlay.rewind();
    }

    /// Ends a call that has succeeded. Returns its changes, if there are any.
    #[must_use]
    pub fn into_pending(self) -> Option<Box<PendingEntries>> {
        let Self { topic, overlay, reserved } = self;
        let changes = overlay.into_changes()?;
        Some(Box::new(PendingEntries { topic, changes, reserved }))
    }

    /// Reserves the memory of the writes so far. A call writes a bounded number of bytes before that, and a fault discards
    /// them. The entries of a durable room don't have to be in memory.
    pub(super) fn reserve(&mut self) -> Result<(), Fault> {
        if self.topic.is_durable() { Ok(()) } else { self.reserved.grow_to(self.overlay.growth()) }
    }
}

impl PendingEntries {
    /// Applies the changes. `is_stored` says whether the store has them; the entries of a memory room are never stored.
    /// `probation` is the one whose rollback would discard them, if there is one.
    pub fn apply(self, is_stored: bool, probation: Option<u64>) -> AppliedEntries {
        let Self { topic, changes, reserved } = self;
        topic.apply(changes, reserved, is_stored, probation)
    }

    /// Returns the entries that the call has written or deleted, in the order of their keys.
    pub(crate) fn writes(&self) -> Vec<(Bytes, Option<Bytes>)> {
        let changes = self.changes.iter().filter(|change| matches!(change.kind, ChangeKind::Put | ChangeKind::Delete));
        changes.map(|change| (Bytes::copy_from_slice(change.key), change.new.map(Bytes::copy_from_slice))).collect()
    }

    pub(super) fn changes(&self) -> &EntryChanges {
        &self.changes
    }

    pub(super) fn into_changes(self) -> EntryChanges {
        self.changes
    }
}

impl fmt::Debug for CallEntries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallEntries").field("has_changes", &!self.overlay.is_empty()).finish_non_exhaustive()
    }
}

impl fmt::Debug for PendingEntries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingEntries").field("changes", &self.changes.len()).finish_non_exhaustive()
    }
}
