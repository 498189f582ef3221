//! The entries of a topic as one call uses them.

use std::fmt;
use std::sync::Arc;

use bennu_semantics::Fault;
use bennu_semantics::entries::{
    EntryChanges, EntryDeletion, EntryList, EntryScan, Order, Overlay, Progress, PublishedChange,
};

use super::node::Reservation;
use super::topic::TopicEntries;

/// One call's view of the entries: those of the topic, with the call's own writes. Dropping it discards the writes.
pub struct CallEntries {
    topic: Arc<TopicEntries>,
    overlay: Overlay,
    /// The memory by which the call makes the room larger.
    reserved: Reservation,
}

/// The changes of a call that has succeeded, before its commit. Dropping them discards the changes.
pub struct PendingEntries {
    topic: Arc<TopicEntries>,
    changes: EntryChanges,
    reserved: Reservation,
}

impl CallEntries {
    /// Begins a call in a topic.
    #[must_use]
    pub fn new(topic: Arc<TopicEntries>) -> Self {
        let (rules, sums) = topic.rules_and_sums();
        let overlay = Overlay::new(rules, Some(sums));
        let reserved = Reservation::none(topic.node());
        Self { topic, overlay, reserved }
    }

    /// Reads the entries as they were last committed. Entries of other versions are read as they are.
    pub(super) fn committed(topic: &Arc<TopicEntries>) -> Self {
        let overlay = Overlay::new(Arc::clone(topic.node().rules()), None);
        Self { topic: Arc::clone(topic), overlay, reserved: Reservation::none(topic.node()) }
    }

    /// Returns the value of a key.
    ///
    /// # Errors
    /// Fault: oversize, if the key isn't allowed.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let state = self.topic.state();
        done(self.overlay.get(&state.table, key)?).map(|value| value.map(<[u8]>::to_vec))
    }

    /// Returns the values of several keys, in their order, by `each`.
    ///
    /// # Errors
    /// Fault: oversize, if a key isn't allowed, or there are too many keys or bytes.
    pub fn get_many<'k>(
        &self,
        keys: impl Iterator<Item = &'k [u8]> + Clone,
        mut each: impl FnMut(Option<&[u8]>),
    ) -> Result<(), Fault> {
        let mut list = EntryList::new(keys)?;
        let state = self.topic.state();
        done(self.overlay.get_many(&state.table, &mut list, &mut each)?)
    }

    /// Returns the entries of a range, by `each`.
    ///
    /// # Errors
    /// Fault: oversize, if a bound is too long.
    pub fn scan(
        &self,
        (start, end): (Option<&[u8]>, Option<&[u8]>),
        order: Order,
        limit: u32,
        mut each: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), Fault> {
        let mut scan = EntryScan::new(start, end, order, limit)?;
        let state = self.topic.state();
        done(self.overlay.scan(&state.table, &mut scan, &mut each))
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// Fault: oversize, if a limit is exceeded.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        done(self.overlay.put(&self.topic.state().table, key, value)?)?;
        self.reserve()
    }

    /// Sets the values of several keys, in their order.
    ///
    /// # Errors
    /// Fault: oversize, if a limit is exceeded. The call can't continue then.
    pub fn put_many<'e>(
        &mut self,
        mut entries: impl Iterator<Item = (&'e [u8], &'e [u8])> + Clone,
    ) -> Result<(), Fault> {
        done(self.overlay.put_many(&self.topic.state().table, &mut entries)?)?;
        self.reserve()
    }

    /// Deletes a key.
    ///
    /// # Errors
    /// Fault: oversize, if the key isn't allowed, or the call writes too much.
    pub fn delete(&mut self, key: &[u8]) -> Result<(), Fault> {
        done(self.overlay.delete(&self.topic.state().table, key)?)
    }

    /// Deletes the first entries of a range. Returns their number.
    ///
    /// # Errors
    /// Fault: oversize, if a bound is too long, or the call writes too much.
    pub fn delete_range(&mut self, (start, end): (Option<&[u8]>, Option<&[u8]>), limit: u32) -> Result<u32, Fault> {
        let mut deletion = EntryDeletion::new(start, end, limit)?;
        done(self.overlay.delete_range(&self.topic.state().table, &mut deletion)?)
    }

    /// Ends a call that has succeeded. Returns its changes, if there are any.
    #[must_use]
    pub fn into_pending(self) -> Option<Box<PendingEntries>> {
        let Self { topic, overlay, reserved } = self;
        let changes = overlay.into_changes()?;
        Some(Box::new(PendingEntries { topic, changes, reserved }))
    }

    /// Reserves the memory of the writes so far. A call writes a bounded number of bytes before that, and a fault discards
    /// them.
    fn reserve(&mut self) -> Result<(), Fault> {
        self.reserved.grow_to(self.overlay.growth())
    }
}

impl PendingEntries {
    /// Applies the changes. Returns those of published entries, in the order of their keys.
    #[must_use = "the members get the changes of published entries"]
    pub fn apply(self) -> Vec<PublishedChange> {
        let Self { topic, changes, reserved } = self;
        topic.apply(changes, reserved)
    }
}

/// The result of an operation. The table is complete and has no entries of other versions, so no operation needs anything
/// else.
fn done<T>(progress: Progress<T>) -> Result<T, Fault> {
    progress.done().ok_or_else(|| Fault::failed("a fault of the host: entries in memory need the store"))
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
