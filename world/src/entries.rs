//! The entries of a topic in a world, and one callback's view of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bennu_semantics::entries::{
    EntryChanges, EntryDeletion, EntryList, EntryRules, EntryScan, EntrySums, EntryTable, Followed, Order, Overlay,
    Progress, PublishedChange, StaleEntry, StaleScan, WholeText,
};
use bennu_semantics::limits::EntryLimits;
use bennu_semantics::{EntryUpgrade, Fault, RouteSpec, Topic};

use crate::{CallContext, Callbacks, HostFacts, Row};

/// The entries of a topic's room. Clones share them.
#[derive(Clone, Debug)]
pub struct Entries(Arc<Mutex<Held>>);

#[derive(Debug)]
struct Held {
    table: EntryTable,
    sums: EntrySums,
    rules: Arc<EntryRules>,
}

/// One callback's view: the entries with the callback's own writes.
#[derive(Debug)]
pub(crate) struct CallEntries {
    entries: Entries,
    overlay: Overlay,
}

/// The changes of a call that succeeded.
#[derive(Debug)]
pub struct PendingEntries {
    entries: Entries,
    changes: EntryChanges,
}

impl Default for Entries {
    fn default() -> Self {
        let (table, sums) = (EntryTable::complete(), EntrySums::default());
        Self(Arc::new(Mutex::new(Held { table, sums, rules: Arc::default() })))
    }
}

impl Entries {
    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held().sums.entries == 0
    }

    /// All entries whose keys begin with `prefix`, in their order.
    #[must_use]
    pub fn rows(&self, prefix: &[u8]) -> Vec<Row> {
        let (mut rows, mut from) = (Vec::new(), prefix.to_vec());
        loop {
            let mut view = CallEntries::with(self, EntryRules::default());
            // A prefix that is too long for a key has no entries.
            let Ok(page) = view.scan((Some(&from), None), Order::Forward, u32::MAX) else { return rows };
            let Some((last, _)) = page.last() else { return rows };
            from = [last, &[0][..]].concat();
            let found = rows.len();
            rows.extend(page.into_iter().take_while(|(key, _)| key.starts_with(prefix)));
            if rows.len() == found {
                return rows;
            }
        }
    }

    /// Publishes the entries with these prefixes from now on. Returns whether these are others than before.
    ///
    /// # Errors
    /// If one of the entries isn't JSON. Then nothing changes.
    pub fn publish(&self, prefixes: &Arc<[Box<str>]>) -> Result<bool, Fault> {
        if self.held().rules.publishes == *prefixes {
            return Ok(false);
        }
        let rules = EntryRules { publishes: Arc::clone(prefixes), ..EntryRules::default() };
        let mut sums = EntrySums::default();
        for (key, value) in prefixes.iter().flat_map(|prefix| self.rows(prefix.as_bytes())) {
            rules.read_published(&key, &value)?;
            sums.add(&key, value.len(), true);
        }
        let mut held = self.held();
        held.sums.published = sums.published;
        held.rules = Arc::new(rules);
        Ok(true)
    }

    /// The prefixes of the published entries.
    pub(crate) fn publishes(&self) -> Arc<[Box<str>]> {
        Arc::clone(&self.held().rules.publishes)
    }

    /// The text of the object of the published entries that a member follows, or of all of them.
    pub(crate) fn whole(&self, followed: Option<&Followed>) -> String {
        let mut text = WholeText::default();
        let is_in = |key: &[u8]| {
            let key = str::from_utf8(key).unwrap_or_default();
            followed.is_none_or(|followed| followed.contains(key))
        };
        for (key, value) in self.publishes().iter().flat_map(|prefix| self.rows(prefix.as_bytes())) {
            if is_in(&key) {
                text.add(&key, &value);
            }
        }
        text.finish()
    }

    /// A panic of a callback can't leave the table half changed, so a poisoned lock is used like any other.
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallEntries {
    /// For a callback of this route's build.
    pub(crate) fn new(entries: &Entries, spec: &RouteSpec) -> Self {
        let publishes = entries.publishes();
        let version = spec.entries_version;
        Self::with(entries, EntryRules { version, has_upgrade: true, publishes, ..EntryRules::default() })
    }

    /// The prefixes of published entries.
    pub(crate) fn publishes(&self) -> Arc<[Box<str>]> {
        self.entries.publishes()
    }

    fn with(entries: &Entries, rules: EntryRules) -> Self {
        let overlay = Overlay::new(Arc::new(rules), Some(entries.held().sums));
        Self { entries: entries.clone(), overlay }
    }

    /// Whether the call has ended because entries have to be upgraded before it runs again.
    pub(crate) fn needs_upgrade(&self) -> bool {
        self.overlay.needs_upgrade()
    }

    /// Upgrades the entries that the call needs, and some more, as a host does.
    ///
    /// # Errors
    /// If an entry that the call needs can't be upgraded.
    pub(crate) fn upgrade(
        &mut self,
        callbacks: &mut impl Callbacks,
        host: &mut HostFacts,
        topic: &Topic,
    ) -> Result<(), Fault> {
        let (needed, ahead) = self.overlay.rewind_to_upgrade();
        let mut more = Vec::new();
        let mut scan = StaleScan::beyond(&needed, ahead);
        done(self.overlay.scan_stale(&self.entries.held().table, &mut scan, &mut |stale| more.push(stale)))?;
        for key in needed {
            // The key may be named twice.
            let stale = done(self.overlay.stale(&self.entries.held().table, &key))?;
            stale.map(|stale| self.upgrade_one(callbacks, host, topic, stale)).transpose()?;
        }
        for stale in more {
            // If such an entry can't be upgraded, it stays as it is.
            let _ = self.upgrade_one(callbacks, host, topic, stale);
        }
        self.check_memory()
    }

    fn upgrade_one(
        &mut self,
        callbacks: &mut impl Callbacks,
        host: &mut HostFacts,
        topic: &Topic,
        StaleEntry { key, version, value }: StaleEntry,
    ) -> Result<(), Fault> {
        let upgrade = EntryUpgrade { topic: topic.clone(), key: key.clone(), version, value: value.clone() };
        let mut context = CallContext::upgrading(std::mem::take(host));
        let upgraded = callbacks.upgrade_entry(upgrade, &mut context);
        *host = context.end().host;
        let value = upgraded?.unwrap_or_else(|| value.into());
        done(self.overlay.upgrade(&self.entries.held().table, &key, &value)?)
    }

    /// Discards the call's writes.
    pub(crate) fn discard_writes(&mut self) {
        self.overlay.rewind();
    }

    pub(crate) fn into_pending(self) -> Option<PendingEntries> {
        let Self { entries, overlay } = self;
        overlay.into_changes().map(|changes| PendingEntries { entries, changes })
    }

    /// The result of a read. If it needs entries to be upgraded, the call ends.
    fn read<T>(overlay: &mut Overlay, progress: Progress<T>) -> Result<T, Fault> {
        match progress {
            Progress::Upgrade(keys) => {
                overlay.need_upgrade(keys);
                Err(Fault::failed("this callback runs again, because the host has to upgrade entries that it reads"))
            }
            progress => done(progress),
        }
    }

    fn scan(
        &mut self,
        (start, end): (Option<&[u8]>, Option<&[u8]>),
        order: Order,
        limit: u32,
    ) -> Result<Vec<Row>, Fault> {
        let mut scan = EntryScan::new(start, end, order, limit)?;
        let mut rows = Vec::new();
        let mut each = |key: &[u8], value: &[u8]| rows.push((key.to_vec(), value.to_vec()));
        let scanned = self.overlay.scan(&self.entries.held().table, &mut scan, &mut each);
        Self::read(&mut self.overlay, scanned)?;
        Ok(rows)
    }

    /// Checks the memory of the entries after a write. A host adds up all of its rooms. Here each room counts alone, because
    /// a test has few entries.
    fn check_memory(&self) -> Result<(), Fault> {
        let weight = self.entries.held().sums.weight().saturating_add(self.overlay.growth());
        EntryLimits::default().check_memory(weight)
    }
}

impl PendingEntries {
    /// Applies the changes. Returns those of published entries.
    #[must_use = "the members get the changes of published entries"]
    pub fn apply(self) -> Vec<PublishedChange> {
        let mut held = self.entries.held();
        let Held { table, sums, rules } = &mut *held;
        *sums = self.changes.sums();
        let mut published = Vec::new();
        table.apply(self.changes, true, |change| published.extend(rules.published_change(&change)));
        published
    }
}

/// `interface entries`.
impl CallContext {
    /// The value of an entry.
    ///
    /// # Errors
    /// See [`log`](Self::log).
    pub fn entry_get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let CallEntries { entries, overlay } = self.entries()?;
        let found = overlay.get(&entries.held().table, key)?.map(|value| value.map(<[u8]>::to_vec));
        CallEntries::read(overlay, found)
    }

    /// The values of several entries, in the order of the keys.
    ///
    /// # Errors
    /// See [`log`](Self::log).
    pub fn entries_get<'k>(
        &mut self,
        keys: impl Iterator<Item = &'k [u8]> + Clone,
    ) -> Result<Vec<Option<Vec<u8>>>, Fault> {
        let CallEntries { entries, overlay } = self.entries()?;
        let mut list = EntryList::new(keys)?;
        let mut values = Vec::new();
        let mut each = |value: Option<&[u8]>| values.push(value.map(<[u8]>::to_vec));
        let found = overlay.get_many(&entries.held().table, &mut list, &mut each)?;
        CallEntries::read(overlay, found)?;
        Ok(values)
    }

    /// The entries from one key up to another, in an order.
    ///
    /// # Errors
    /// See [`log`](Self::log).
    pub fn entry_scan(
        &mut self,
        start: Option<&[u8]>,
        end: Option<&[u8]>,
        order: Order,
        limit: u32,
    ) -> Result<Vec<Row>, Fault> {
        self.entries()?.scan((start, end), order, limit)
    }

    /// Sets the value of an entry.
    ///
    /// # Errors
    /// See [`log`](Self::log).
    pub fn entry_put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.entries_put([(key, value)].into_iter())
    }

    /// Sets the values of several entries, in their order.
    ///
    /// # Errors
    /// See [`log`](Self::log).
    pub fn entries_put<'e>(
        &mut self,
        mut rows: impl Iterator<Item = (&'e [u8], &'e [u8])> + Clone,
    ) -> Result<(), Fault> {
        let view = self.entries_to_write()?;
        done(view.overlay.put_many(&view.entries.held().table, &mut rows)?)?;
        view.check_memory()
    }

    /// Deletes an entry.
    ///
    /// # Errors
    /// See [`log`](Self::log).
    pub fn entry_delete(&mut self, key: &[u8]) -> Result<(), Fault> {
        let CallEntries { entries, overlay } = self.entries_to_write()?;
        done(overlay.delete(&entries.held().table, key)?)
    }

    /// Deletes the first entries of a range. Returns their number.
    ///
    /// # Errors
    /// See [`log`](Self::log).
    pub fn entries_delete_range(&mut self, start: Option<&[u8]>, end: Option<&[u8]>, limit: u32) -> Result<u32, Fault> {
        let CallEntries { entries, overlay } = self.entries_to_write()?;
        let mut deletion = EntryDeletion::new(start, end, limit)?;
        done(overlay.delete_range(&entries.held().table, &mut deletion)?)
    }
}

/// The result of an operation. A complete table needs nothing else.
fn done<T>(progress: Progress<T>) -> Result<T, Fault> {
    progress.done().ok_or_else(|| Fault::failed("a fault of the test kit: entries in memory need the store"))
}
