//! The changes of a call, by their keys.

use std::collections::{BTreeMap, btree_map};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::{slice, vec};

use super::change::Change;
use super::key::KeyRange;
use super::packed::Packed;

/// The changes of a call, in the order of their keys.
///
/// Most calls write a few entries, or many in the order of their keys: with a list, such a write is one comparison and no
/// allocation. A longer list becomes a tree when a change comes that doesn't belong to its end, so that no call needs
/// quadratic time.
#[derive(Clone, Debug)]
pub(super) enum ChangeMap {
    List(Vec<(Packed, Change)>),
    Tree(BTreeMap<Packed, Change>),
}

/// The most changes of a list that are moved by an insertion or a removal.
const MOVED_MAX: usize = 32;

impl Default for ChangeMap {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl ChangeMap {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::List(list) => list.len(),
            Self::Tree(tree) => tree.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the change of a key, with its key and new value.
    #[inline]
    pub(super) fn get(&self, key: &[u8]) -> Option<(&Packed, &Change)> {
        match self {
            Self::List(list) => find(list, key).ok().map(|at| (&list[at].0, &list[at].1)),
            Self::Tree(tree) => tree.get_key_value(key),
        }
    }

    /// Adds the change of a key that has none.
    pub(super) fn insert(&mut self, packed: Packed, change: Change) {
        if let Self::List(list) = self {
            let at = find(list, packed.key()).unwrap_or_else(|at| at);
            if list.len() - at <= MOVED_MAX {
                list.insert(at, (packed, change));
                return;
            }
        }
        self.as_tree().insert(packed, change);
    }

    /// Removes the change of a key.
    pub(super) fn remove(&mut self, key: &[u8]) -> Option<(Packed, Change)> {
        if let Self::List(list) = self {
            let at = find(list, key).ok()?;
            if list.len() - at <= MOVED_MAX {
                return Some(list.remove(at));
            }
        }
        self.as_tree().remove_entry(key)
    }

    /// Removes the changes that `keep` refuses.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Change) -> bool) {
        match self {
            Self::List(list) => list.retain(|(_, change)| keep(change)),
            Self::Tree(tree) => tree.retain(|_, change| keep(change)),
        }
    }

    pub(super) fn iter(&self) -> Iter<'_> {
        match self {
            Self::List(list) => Iter::List(list.iter()),
            Self::Tree(tree) => Iter::Tree(tree.range::<[u8], _>(..)),
        }
    }

    /// Returns the changes of a range.
    pub(super) fn range(&self, range: &KeyRange) -> Iter<'_> {
        match self {
            _ if range.is_empty() => Iter::List([].iter()),
            Self::List(list) => {
                let [start, end] = [Some(range.start()), range.end()]
                    .map(|bound| bound.map_or(list.len(), |bound| find(list, bound).unwrap_or_else(|at| at)));
                Iter::List(list[start..end].iter())
            }
            Self::Tree(tree) => {
                let end = range.end().map_or(Unbounded, Excluded);
                Iter::Tree(tree.range::<[u8], _>((Included(range.start()), end)))
            }
        }
    }

    fn as_tree(&mut self) -> &mut BTreeMap<Packed, Change> {
        if let Self::List(list) = self {
            *self = Self::Tree(std::mem::take(list).into_iter().collect());
        }
        match self {
            Self::Tree(tree) => tree,
            Self::List(_) => unreachable!("it is a tree by now"),
        }
    }
}

/// Returns the index of a key, or the index at which it belongs. It looks at the end first.
#[inline]
fn find(list: &[(Packed, Change)], key: &[u8]) -> Result<usize, usize> {
    if list.last().is_none_or(|(last, _)| last.key() < key) {
        return Err(list.len());
    }
    list.binary_search_by(|(packed, _)| packed.key().cmp(key))
}

/// Changes, in the order of their keys.
#[derive(Clone)]
pub(super) enum Iter<'a> {
    List(slice::Iter<'a, (Packed, Change)>),
    Tree(btree_map::Range<'a, Packed, Change>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a Packed, &'a Change);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::List(list) => list.next().map(|(packed, change)| (packed, change)),
            Self::Tree(tree) => tree.next(),
        }
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Self::List(list) => list.next_back().map(|(packed, change)| (packed, change)),
            Self::Tree(tree) => tree.next_back(),
        }
    }
}

/// All changes, in the order of their keys.
pub(super) enum IntoIter {
    List(vec::IntoIter<(Packed, Change)>),
    Tree(btree_map::IntoIter<Packed, Change>),
}

impl IntoIterator for ChangeMap {
    type Item = (Packed, Change);
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        match self {
            Self::List(list) => IntoIter::List(list.into_iter()),
            Self::Tree(tree) => IntoIter::Tree(tree.into_iter()),
        }
    }
}

impl Iterator for IntoIter {
    type Item = (Packed, Change);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::List(list) => list.next(),
            Self::Tree(tree) => tree.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::change::{ChangeKind, OldEntry};
    use super::*;

    fn change(number: usize) -> Change {
        Change { old: OldEntry::Bytes(number), kind: ChangeKind::Put, parsed: None }
    }

    fn number(change: &Change) -> usize {
        change.old.value_bytes().unwrap_or_default()
    }

    /// Inserts and removes keys by a rule that moves through them all, and compares with a tree.
    fn compare(steps: usize, key_of: impl Fn(usize) -> usize) -> ChangeMap {
        let (mut map, mut model) = (ChangeMap::default(), BTreeMap::new());
        for step in 0..steps {
            let key = format!("{:05}", key_of(step)).into_bytes();
            let removed = map.remove(&key).map(|(packed, change)| (packed.key().to_vec(), number(&change)));
            assert_eq!(removed, model.remove_entry(&key));
            if step % 5 != 0 {
                map.insert(Packed::pack(&key, b""), change(step));
                model.insert(key, step);
            }
        }
        let plain = |iter: &mut dyn Iterator<Item = (&Packed, &Change)>| {
            iter.map(|(packed, change)| (packed.key().to_vec(), number(change))).collect::<Vec<_>>()
        };
        let rows: Vec<_> = model.iter().map(|(key, number)| (key.clone(), *number)).collect();
        assert_eq!((map.len(), plain(&mut map.iter())), (rows.len(), rows.clone()));
        let range = KeyRange::new(Some(b"00100"), Some(b"00200")).expect("short bounds");
        let inside: Vec<_> =
            rows.iter().filter(|(key, _)| (&b"00100"[..]..b"00200").contains(&&**key)).cloned().collect();
        assert_eq!(plain(&mut map.range(&range)), inside);
        assert_eq!(plain(&mut map.range(&range).rev()), inside.into_iter().rev().collect::<Vec<_>>());
        let all = map.clone().into_iter().map(|(packed, change)| (packed.key().to_vec(), number(&change)));
        assert_eq!(all.collect::<Vec<_>>(), rows);
        map
    }

    #[test]
    fn changes_in_order_stay_a_list_and_others_become_a_tree() {
        let is_list = |map: ChangeMap| matches!(map, ChangeMap::List(_));
        assert!(is_list(compare(0, |step| step)));
        assert!(is_list(compare(1000, |step| step)));
        assert!(is_list(compare(1000, |step| step ^ 7)), "almost in order");
        assert!(is_list(compare(300, |step| step * 7 % 31)), "a few keys again and again");
        assert!(!is_list(compare(1000, |step| 1000 - step)));
        assert!(!is_list(compare(5000, |step| step * 7919 % 1009)));
    }
}
