//! The store of a world, and one callback's view of it, with the limits of a host.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bennu_semantics::deliveries::DeliveryRow;
use bennu_semantics::jobs::JobRow;
use bennu_semantics::limits::{Oversize, StoreLimits};
use bennu_semantics::{Fault, Topic, lifetime};

use crate::deliveries::{Delivered, Deliveries, check_count};
use crate::schedules::{ScheduleWrites, Schedules};

/// The order of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From the first key on.
    Forward,
    /// From the last key on.
    Backward,
}

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// The content of a store.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    rows: Arc<BTreeMap<Vec<u8>, Vec<u8>>>,
    /// The schedules, which a host stores next to the rows.
    pub(crate) schedules: Schedules,
    /// The deliveries, which a host stores next to them.
    pub(crate) deliveries: Deliveries,
}

/// One callback's view: the content with the callback's own writes. The writes are stored when the callback succeeds.
#[derive(Clone, Debug)]
pub struct Draft {
    limits: StoreLimits,
    stored: Stored,
    /// `None` for a key that it removes.
    writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    pub(crate) schedules: ScheduleWrites,
    deliveries: Vec<Delivered>,
    /// The time by which it judges whether a key has expired.
    now_ms: u64,
}

impl Stored {
    /// The deliveries that callbacks have asked for, in their order.
    #[must_use]
    pub fn deliveries(&self) -> &[Delivered] {
        self.deliveries.all()
    }

    /// A key's value at a time, in milliseconds since 1970.
    #[must_use]
    pub fn get(&self, key: &[u8], now_ms: u64) -> Option<Vec<u8>> {
        self.rows.get(key).and_then(|stored| opened(stored, now_ms))
    }

    /// Stores a value as if a callback had done so.
    ///
    /// # Errors
    /// Fault: oversize.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        let mut draft = Draft::of(self, 0);
        draft.put(key, value)?;
        *self = draft.commit();
        Ok(())
    }
}

impl Draft {
    /// A view of a store's content.
    #[must_use]
    pub fn of(stored: &Stored, now_ms: u64) -> Self {
        Self {
            now_ms,
            limits: StoreLimits::default(),
            stored: stored.clone(),
            writes: BTreeMap::new(),
            schedules: ScheduleWrites::default(),
            deliveries: Vec::new(),
        }
    }

    /// Discards the writes.
    pub fn discard_writes(&mut self) {
        self.writes.clear();
        self.schedules = ScheduleWrites::default();
        self.deliveries.clear();
    }

    /// The content after the callback succeeded.
    #[must_use]
    pub fn commit(self) -> Stored {
        let Self { mut stored, writes, schedules, deliveries, .. } = self;
        stored.schedules.apply(schedules);
        stored.deliveries.add(deliveries);
        if writes.is_empty() {
            return stored;
        }
        let all = Arc::make_mut(&mut stored.rows);
        for (key, value) in writes {
            match value {
                Some(value) => drop(all.insert(key, value)),
                None => drop(all.remove(&key)),
            }
        }
        stored
    }

    /// When a schedule is due, with the callback's own writes.
    pub(crate) fn schedule_due(&self, topic: &Topic, key: &str) -> Option<u64> {
        let row = match self.schedules.get(topic, key) {
            Some(written) => written,
            None => self.stored.schedules.get(topic, key),
        };
        row.map(|row| row.due_ms)
    }

    /// Adds a delivery.
    pub(crate) fn deliver(&mut self, id: String, row: DeliveryRow) -> Result<(), Fault> {
        self.deliveries.push(Delivered::new(id, row));
        check_count(&self.stored.deliveries, self.deliveries.len(), self.limits.deliveries.per_plugin)
    }

    /// Schedules a message, or cancels one.
    pub(crate) fn set_schedule(&mut self, topic: Topic, key: Box<str>, row: Option<JobRow>) -> Result<(), Fault> {
        self.schedules.set(topic, key, row);
        self.stored.schedules.check(&self.schedules, &self.limits.jobs)
    }

    /// A key's value.
    ///
    /// # Errors
    /// Fault: oversize.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        self.limits.check_key(key).map_err(fault)?;
        let stored = self.writes.get(key).map_or_else(|| self.stored.rows.get(key), Option::as_ref);
        Ok(stored.and_then(|stored| opened(stored, self.now_ms)))
    }

    /// The rows from one key up to another. The limits of a scan bound their number and bytes.
    ///
    /// # Errors
    /// See [`get`](Self::get).
    pub fn scan(
        &self,
        (start, end): (Option<&[u8]>, Option<&[u8]>),
        order: Order,
        limit: u32,
    ) -> Result<Vec<Row>, Fault> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        // The successor of the longest key is a valid bound.
        let longest = self.limits.key_bytes + 1;
        if let Some(bound) = start.into_iter().chain(end).find(|bound| bound.len() > longest) {
            return Err(fault(Oversize::Key { bytes: bound.len(), limit: longest }));
        }
        let merged = self.merged(start.unwrap_or_default(), end);
        let entries: Box<dyn Iterator<Item = _>> = match order {
            Order::Forward => Box::new(merged.into_iter()),
            Order::Backward => Box::new(merged.into_iter().rev()),
        };
        let most = usize::try_from(limit).unwrap_or(usize::MAX).min(self.limits.scan_rows);
        let mut bytes = 0;
        let fits = |(key, value): &(&Vec<u8>, &Vec<u8>)| {
            let is_first = bytes == 0;
            bytes += key.len() + value.len();
            is_first || bytes <= self.limits.scan_bytes
        };
        let entry = |(key, stored): (&Vec<u8>, &Vec<u8>)| Some((key.clone(), opened(stored, self.now_ms)?));
        let entries = entries.filter(|(_, stored)| !lifetime::is_expired(stored, self.now_ms));
        Ok(entries.take(most).take_while(fits).filter_map(entry).collect())
    }

    /// The content from one key up to another, with the callback's own writes.
    fn merged(&self, start: &[u8], end: Option<&[u8]>) -> BTreeMap<&Vec<u8>, &Vec<u8>> {
        if end.is_some_and(|end| end <= start) {
            return BTreeMap::new();
        }
        let range = (Bound::Included(start), end.map_or(Bound::Unbounded, Bound::Excluded));
        let mut merged: BTreeMap<_, _> = self.stored.rows.range::<[u8], _>(range).collect();
        for (key, value) in self.writes.range::<[u8], _>(range) {
            match value {
                Some(value) => merged.insert(key, value),
                None => merged.remove(key),
            };
        }
        merged
    }

    /// Stores a value under a key.
    ///
    /// # Errors
    /// See [`get`](Self::get).
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.limits.check_value(value).map_err(fault)?;
        self.write(key, Some(lifetime::plain(value.to_vec().into()).into()))
    }

    /// Stores a value under a key for a time in milliseconds.
    ///
    /// # Errors
    /// See [`get`](Self::get).
    pub fn put_expiring(&mut self, key: &[u8], value: &[u8], milliseconds: u64) -> Result<(), Fault> {
        self.limits.check_value(value).map_err(fault)?;
        self.write(key, Some(lifetime::seal(value, self.now_ms.saturating_add(milliseconds)).into()))
    }

    /// Removes a key.
    ///
    /// # Errors
    /// See [`get`](Self::get).
    pub fn delete(&mut self, key: &[u8]) -> Result<(), Fault> {
        self.write(key, None)
    }

    fn write(&mut self, key: &[u8], value: Option<Vec<u8>>) -> Result<(), Fault> {
        self.limits.check_key(key).map_err(fault)?;
        self.writes.insert(key.into(), value);
        let limit = self.limits.writes_per_call;
        if self.writes.len() > limit {
            return Err(fault(Oversize::Writes { limit }));
        }
        let size = |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| key.len() + value.as_ref().map_or(0, Vec::len);
        let limit = self.limits.write_bytes_per_call;
        if self.writes.iter().map(size).sum::<usize>() > limit {
            return Err(fault(Oversize::WriteBytes { limit }));
        }
        Ok(())
    }
}

/// The value of a stored form, unless it has expired.
fn opened(stored: &[u8], now_ms: u64) -> Option<Vec<u8>> {
    let is_expired = lifetime::is_expired(stored, now_ms);
    (!is_expired).then(|| lifetime::open(stored.to_vec().into()).0.into())
}

fn fault(oversize: Oversize) -> Fault {
    Fault::oversize(oversize.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn draft(stored: &[&str], put: &[&str], deleted: &[&str]) -> Draft {
        let mut draft = Draft::of(&Stored::default(), 0);
        stored.iter().for_each(|key| draft.put(key.as_bytes(), b"stored").unwrap());
        let mut draft = Draft::of(&draft.commit(), 0);
        put.iter().for_each(|key| draft.put(key.as_bytes(), b"put").unwrap());
        deleted.iter().for_each(|key| draft.delete(key.as_bytes()).unwrap());
        draft
    }

    fn keys(draft: &Draft, start: Option<&str>, end: Option<&str>, order: Order, limit: u32) -> String {
        let bounds = (start.map(str::as_bytes), end.map(str::as_bytes));
        let entries = draft.scan(bounds, order, limit).unwrap();
        let keys: Vec<_> = entries.iter().map(|entry| String::from_utf8_lossy(&entry.0)).collect();
        keys.join(" ")
    }

    #[test]
    fn a_callback_sees_its_own_writes() {
        let draft = draft(&["a", "b", "d"], &["b", "c"], &["a"]);
        assert_eq!(draft.get(b"a"), Ok(None));
        assert_eq!(draft.get(b"b"), Ok(Some(b"put".to_vec())));
        assert_eq!(draft.get(b"d"), Ok(Some(b"stored".to_vec())));
        assert_eq!(keys(&draft, None, None, Order::Forward, 10), "b c d");
        assert_eq!(keys(&draft, Some("b"), Some("d"), Order::Backward, 10), "c b");
        assert_eq!(keys(&draft, None, None, Order::Backward, 2), "d c");
        assert_eq!(keys(&draft, Some("d"), Some("b"), Order::Forward, 10), "");
        let committed = Draft::of(&draft.commit(), 0);
        assert_eq!(keys(&committed, None, None, Order::Forward, 10), "b c d");
    }

    #[test]
    fn a_scan_ends_once_it_is_large() {
        let mut draft = Draft::of(&Stored::default(), 0);
        for key in ["a", "b", "c"] {
            draft.put(key.as_bytes(), &[0; 600 << 10]).unwrap();
        }
        assert_eq!(keys(&draft, None, None, Order::Forward, 10), "a");
        assert_eq!(keys(&draft, Some("a\0"), None, Order::Forward, 10), "b");
    }

    #[test]
    fn keys_and_values_and_writes_have_limits() {
        let limits = StoreLimits::default();
        let mut draft = Draft::of(&Stored::default(), 0);
        let text = |result: Result<(), Fault>| result.unwrap_err().to_string();
        assert_eq!(text(draft.put(b"", b"")), "oversize: a key in the store has at least one byte");
        assert_eq!(draft.put(&[1; 1024], b""), Ok(()));
        let long = "oversize: a key in the store has 1025 bytes; at most 1024 (`limits.store_key_bytes = 1024`)";
        assert_eq!(text(draft.delete(&[1; 1025])), long);
        let large = vec![0; limits.value_bytes + 1];
        assert!(text(draft.put(b"k", &large)).starts_with("oversize: a value in the store has 1048577 bytes"));
        let many = (0..1024_u32).try_for_each(|n| draft.put(&n.to_be_bytes(), b""));
        let most = "oversize: a call writes more than 1024 keys of the store (`limits.store_writes_per_call = 1024`)";
        assert_eq!(text(many), most);
        let mut draft = Draft::of(&Stored::default(), 0);
        let heavy = [0_u8, 1, 2, 3, 4].map(|n| draft.put(&[n], &large[1..]));
        assert!(heavy[2].is_ok() && heavy[3].is_err());
    }
}
