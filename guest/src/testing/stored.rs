//! What a plugin has stored, and one callback's view of it, held to the host's limits.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Fault;
use super::limits::{KEY_BYTES, SCAN_BYTES, SCAN_ENTRIES, VALUE_BYTES, WRITE_BYTES, WRITES};
use crate::bindings::bennu::channel::store::{Entry, Order};
use crate::state;

/// Keys and their values.
#[derive(Clone, Debug, Default)]
pub(super) struct Stored(Arc<BTreeMap<Vec<u8>, Vec<u8>>>);

/// What one callback reads and writes. It is stored when the callback has succeeded.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    stored: Stored,
    /// None for a key that it removes.
    writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Stored {
    /// A key's value.
    #[track_caller]
    pub(super) fn get<T: DeserializeOwned>(&self, key: &[u8]) -> Option<T> {
        let value = self.0.get(key)?;
        Some(state::read(value).unwrap_or_else(|error| panic!("{:?}: {error}", String::from_utf8_lossy(key))))
    }

    /// Stores a value as if a callback had done so.
    #[track_caller]
    pub(super) fn put(&mut self, key: &[u8], value: &impl Serialize) {
        let value = state::encode(value).unwrap_or_else(|why| panic!("{why}"));
        let mut draft = Draft { stored: std::mem::take(self), writes: BTreeMap::new() };
        draft.put(key, &value).unwrap_or_else(|fault| panic!("{fault}"));
        *self = draft.commit();
    }
}

impl Draft {
    pub(super) fn of(stored: &Stored) -> Self {
        Self { stored: stored.clone(), writes: BTreeMap::new() }
    }

    /// What is stored once its callback has succeeded.
    pub(super) fn commit(self) -> Stored {
        let Self { mut stored, writes } = self;
        if writes.is_empty() {
            return stored;
        }
        let all = Arc::make_mut(&mut stored.0);
        for (key, value) in writes {
            match value {
                Some(value) => drop(all.insert(key, value)),
                None => drop(all.remove(&key)),
            }
        }
        stored
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        check_key(key)?;
        Ok(self.writes.get(key).cloned().unwrap_or_else(|| self.stored.0.get(key).cloned()))
    }

    pub(super) fn scan(
        &self,
        (start, end): (Option<&[u8]>, Option<&[u8]>),
        order: Order,
        limit: u32,
    ) -> Result<Vec<Entry>, Fault> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        // What comes right after the longest key is a fine bound.
        let check = |bound: &[u8]| check_length("a key in the store", bound.len(), KEY_BYTES + 1);
        start.into_iter().chain(end).try_for_each(check)?;
        let merged = self.merged(start.unwrap_or_default(), end);
        let entries: Box<dyn Iterator<Item = _>> = match order {
            Order::Forward => Box::new(merged.into_iter()),
            Order::Backward => Box::new(merged.into_iter().rev()),
        };
        let most = usize::try_from(limit).unwrap_or(SCAN_ENTRIES).min(SCAN_ENTRIES);
        let mut bytes = 0;
        let fits = |(key, value): &(&Vec<u8>, &Vec<u8>)| {
            let is_first = bytes == 0;
            bytes += key.len() + value.len();
            is_first || bytes <= SCAN_BYTES
        };
        let entry = |(key, value): (&Vec<u8>, &Vec<u8>)| Entry { key: key.clone(), value: value.clone() };
        Ok(entries.take(most).take_while(fits).map(entry).collect())
    }

    /// What is stored from one key up to another, with what it has written itself.
    fn merged(&self, start: &[u8], end: Option<&[u8]>) -> BTreeMap<&Vec<u8>, &Vec<u8>> {
        if end.is_some_and(|end| end <= start) {
            return BTreeMap::new();
        }
        let range = (Bound::Included(start), end.map_or(Bound::Unbounded, Bound::Excluded));
        let mut merged: BTreeMap<_, _> = self.stored.0.range::<[u8], _>(range).collect();
        for (key, value) in self.writes.range::<[u8], _>(range) {
            match value {
                Some(value) => merged.insert(key, value),
                None => merged.remove(key),
            };
        }
        merged
    }

    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        check_length("a value in the store", value.len(), VALUE_BYTES)?;
        self.write(key, Some(value.into()))
    }

    pub(super) fn delete(&mut self, key: &[u8]) -> Result<(), Fault> {
        self.write(key, None)
    }

    fn write(&mut self, key: &[u8], value: Option<Vec<u8>>) -> Result<(), Fault> {
        check_key(key)?;
        self.writes.insert(key.into(), value);
        if self.writes.len() > WRITES {
            return Err(Fault::oversize(format!("a call writes more than {WRITES} keys of the store")));
        }
        let size = |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| key.len() + value.as_ref().map_or(0, Vec::len);
        if self.writes.iter().map(size).sum::<usize>() > WRITE_BYTES {
            return Err(Fault::oversize(format!("a call writes more than {WRITE_BYTES} bytes to the store")));
        }
        Ok(())
    }
}

fn check_key(key: &[u8]) -> Result<(), Fault> {
    if key.is_empty() {
        return Err(Fault::oversize("a key in the store has one byte at least"));
    }
    check_length("a key in the store", key.len(), KEY_BYTES)
}

fn check_length(what: &str, bytes: usize, most: usize) -> Result<(), Fault> {
    if bytes > most {
        return Err(Fault::oversize(format!("{what} has {bytes} bytes; at most {most}")));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn draft(stored: &[&str], put: &[&str], deleted: &[&str]) -> Draft {
        let mut draft = Draft::default();
        stored.iter().for_each(|key| draft.put(key.as_bytes(), b"stored").unwrap());
        let mut draft = Draft::of(&draft.commit());
        put.iter().for_each(|key| draft.put(key.as_bytes(), b"put").unwrap());
        deleted.iter().for_each(|key| draft.delete(key.as_bytes()).unwrap());
        draft
    }

    fn keys(draft: &Draft, start: Option<&str>, end: Option<&str>, order: Order, limit: u32) -> String {
        let bounds = (start.map(str::as_bytes), end.map(str::as_bytes));
        let entries = draft.scan(bounds, order, limit).unwrap();
        let keys: Vec<_> = entries.iter().map(|entry| String::from_utf8_lossy(&entry.key)).collect();
        keys.join(" ")
    }

    #[test]
    fn a_callback_sees_what_it_has_written() {
        let draft = draft(&["a", "b", "d"], &["b", "c"], &["a"]);
        assert_eq!(draft.get(b"a"), Ok(None));
        assert_eq!(draft.get(b"b"), Ok(Some(b"put".to_vec())));
        assert_eq!(draft.get(b"d"), Ok(Some(b"stored".to_vec())));
        assert_eq!(keys(&draft, None, None, Order::Forward, 10), "b c d");
        assert_eq!(keys(&draft, Some("b"), Some("d"), Order::Backward, 10), "c b");
        assert_eq!(keys(&draft, None, None, Order::Backward, 2), "d c");
        assert_eq!(keys(&draft, Some("d"), Some("b"), Order::Forward, 10), "");
        let committed = Draft::of(&draft.commit());
        assert_eq!(keys(&committed, None, None, Order::Forward, 10), "b c d");
    }

    #[test]
    fn a_scan_ends_once_it_is_large() {
        let mut draft = Draft::default();
        for key in ["a", "b", "c"] {
            draft.put(key.as_bytes(), &[0; 600 << 10]).unwrap();
        }
        assert_eq!(keys(&draft, None, None, Order::Forward, 10), "a");
        assert_eq!(keys(&draft, Some("a\0"), None, Order::Forward, 10), "b");
    }

    #[test]
    fn keys_and_values_and_writes_have_limits() {
        let mut draft = Draft::default();
        let text = |result: Result<(), Fault>| result.unwrap_err().to_string();
        assert_eq!(text(draft.put(b"", b"")), "oversize: a key in the store has one byte at least");
        assert_eq!(draft.put(&[1; KEY_BYTES], b""), Ok(()));
        assert_eq!(text(draft.delete(&[1; 1025])), "oversize: a key in the store has 1025 bytes; at most 1024");
        let large = [0; VALUE_BYTES + 1];
        assert!(text(draft.put(b"k", &large)).starts_with("oversize: a value in the store has 1048577 bytes"));
        let many = (0..WRITES as u32).try_for_each(|n| draft.put(&n.to_be_bytes(), b""));
        assert_eq!(text(many), "oversize: a call writes more than 1024 keys of the store");
        let mut draft = Draft::default();
        let heavy = [0_u8, 1, 2, 3, 4].map(|n| draft.put(&[n], &large[1..]));
        assert!(heavy[2].is_ok() && heavy[3].is_err());
    }
}
