//! Random calls, next to a model of plain maps.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::change::ChangeKind;
use super::*;
use crate::limits::EntryLimits;

const CALLS: usize = 8;
const VERSION: u32 = 7;

/// A call, with a model of what it sees and of what it has written.
pub(super) struct Call {
    pub(super) overlay: Overlay,
    /// The entries as the call sees them.
    pub(super) view: Map,
    /// The keys that count as writes, with the bytes of their new values, or none for a deletion.
    pub(super) written: BTreeMap<Vec<u8>, Option<usize>>,
}

impl Call {
    fn kind(&self, key: &[u8]) -> Option<ChangeKind> {
        self.overlay.changes.get(key).map(|(_, change)| change.kind)
    }

    /// The entries of the topic as the call would be committed now.
    pub(super) fn outcome(&self, committed: &Map) -> Map {
        let mut outcome = self.view.clone();
        let shown = committed.iter().filter(|(key, _)| self.kind(key) == Some(ChangeKind::Shown));
        outcome.extend(shown.map(|(key, entry)| (key.clone(), entry.clone())));
        outcome
    }

    /// Whether the limits allow the writes. `before` are the sums before the last of them.
    fn is_allowed(&self, committed: &Map, before: EntrySums) -> bool {
        let (limits, after) = (self.overlay.rules.limits, self.sums(committed));
        let bytes = self.written.iter().map(|(key, value)| key.len() + value.unwrap_or_default()).sum::<usize>();
        self.written.len() <= limits.writes_per_call
            && bytes <= limits.write_bytes_per_call
            && (after.bytes <= before.bytes || after.bytes <= limits.bytes_per_topic)
            && (after.published <= before.published || after.published <= limits.published_bytes)
    }

    /// The sums of the model. A key that is written is no longer shown.
    fn sums(&self, committed: &Map) -> EntrySums {
        let mut outcome = self.outcome(committed);
        for key in self.written.keys() {
            match self.view.get(key) {
                Some(entry) => drop(outcome.insert(key.clone(), entry.clone())),
                None => drop(outcome.remove(key)),
            }
        }
        sums_of(&outcome, &self.overlay.rules)
    }

    /// Puts a value into the model. Returns whether the limits allow it.
    fn put(&mut self, committed: &Map, key: &[u8], value: &[u8]) -> bool {
        let before = self.sums(committed);
        self.written.insert(key.to_vec(), Some(value.len()));
        self.view.insert(key.to_vec(), (VERSION, value.to_vec()));
        self.is_allowed(committed, before)
    }

    /// Deletes a key in the model. Returns whether the limits allow it.
    fn delete(&mut self, committed: &Map, key: &[u8]) -> bool {
        let before = self.sums(committed);
        if self.view.remove(key).is_none() {
            return true;
        }
        match committed.contains_key(key) {
            true => self.written.insert(key.to_vec(), None),
            false => self.written.remove(key),
        };
        self.is_allowed(committed, before)
    }

    fn check(&self, committed: &Map) {
        assert_eq!(
            self.overlay.is_empty(),
            self.overlay.changes.iter().all(|(_, change)| change.kind == ChangeKind::Shown)
        );
        if self.overlay.base.is_some() {
            let (sums, before) = (self.sums(committed), sums_of(committed, &self.overlay.rules));
            assert_eq!(self.overlay.tally.sums, sums);
            assert_eq!(self.overlay.growth(), sums.weight().saturating_sub(before.weight()));
        }
    }
}

impl Model {
    pub(super) fn rules(&mut self) -> EntryRules {
        let mut limits = EntryLimits::default();
        if self.noise.below(3) == 0 {
            limits.writes_per_call = 1 + self.noise.below(20);
            limits.write_bytes_per_call = 20 + self.noise.below(300);
        }
        let mut rules = EntryRules { limits, version: VERSION, ..EntryRules::default() };
        rules.has_upgrade = self.noise.below(2) == 0;
        rules.old_bytes = [0, 100][self.noise.below(2)];
        rules.publishes =
            [vec![], vec!["p".into()], vec!["pa".into(), "pp".into(), "q".into()]][self.noise.below(3)].clone().into();
        if self.noise.below(3) == 0 {
            let sums = sums_of(&self.committed, &rules);
            rules.limits.bytes_per_topic = (sums.bytes + self.noise.below(200) as u64).saturating_sub(50);
            rules.limits.published_bytes = (sums.published + self.noise.below(200) as u64).saturating_sub(50);
        }
        rules
    }

    /// One random operation of a call. Returns whether the call goes on: a fault ends it.
    pub(super) fn act(&mut self, call: &mut Call) -> bool {
        let Call { overlay, .. } = call;
        let (key, mut is_allowed) = (self.key(), true);
        let done = match self.noise.below(12) {
            0..4 => {
                let value = self.value();
                is_allowed = call.put(&self.committed, &key, &value);
                self.finish(&mut call.overlay, |overlay, table| overlay.put(table, &key, &value))
            }
            4 | 5 => {
                is_allowed = call.delete(&self.committed, &key);
                self.finish(&mut call.overlay, |overlay, table| overlay.delete(table, &key))
            }
            6 => {
                let entries: Vec<_> = (0..self.noise.below(6)).map(|_| (self.key(), self.value())).collect();
                is_allowed = entries.iter().all(|(key, value)| call.put(&self.committed, key, value));
                let mut left = entries.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
                self.finish(&mut call.overlay, |overlay, table| overlay.put_many(table, &mut left))
            }
            7 => {
                let (range, limit) = (self.range(), [0, 1, 4, 3000][self.noise.below(4)]);
                let keys = keys_of(&call.view, &range, Order::Forward);
                let keys = &keys[..keys.len().min(limit)];
                is_allowed = keys.iter().all(|key| call.delete(&self.committed, key));
                let limit = u32::try_from(limit).unwrap_or_default();
                let mut deletion = EntryDeletion::new(range.0.as_deref(), range.1.as_deref(), limit).expect("bounds");
                let done = self.finish(&mut call.overlay, |overlay, table| overlay.delete_range(table, &mut deletion));
                done.map(|done| done.map(|deleted| assert_eq!(deleted as usize, keys.len())))
            }
            8 | 9 => {
                let keys: Vec<_> = (0..self.noise.below(6)).map(|_| self.key()).collect();
                let mut list = EntryList::new(keys.iter().map(Vec::as_slice)).expect("few keys");
                let mut found = Vec::new();
                let mut each = |value: Option<&[u8]>| found.push(value.map(<[u8]>::to_vec));
                let done = self.finish(overlay, |overlay, table| overlay.get_many(table, &mut list, &mut each));
                if done == Ok(Ok(())) {
                    let expected = keys.iter().map(|key| call.view.get(key).map(|(_, value)| value.clone()));
                    assert_eq!(found, expected.collect::<Vec<_>>());
                }
                done
            }
            _ => {
                let (range, order) = (self.range(), [Order::Forward, Order::Backward][self.noise.below(2)]);
                let limit = [1, 4, 3000][self.noise.below(3)];
                let mut scan = EntryScan::new(range.0.as_deref(), range.1.as_deref(), order, limit).expect("bounds");
                let mut found = Vec::new();
                let mut each = |key: &[u8], value: &[u8]| found.push((key.to_vec(), value.to_vec()));
                let done = self.finish(overlay, |overlay, table| Ok(overlay.scan(table, &mut scan, &mut each)));
                if done == Ok(Ok(())) {
                    let keys = keys_of(&call.view, &range, order).into_iter().take(limit as usize);
                    let expected = keys.map(|key| (key.clone(), call.view[&key].1.clone()));
                    assert_eq!(found, expected.collect::<Vec<_>>());
                }
                done
            }
        };
        assert_eq!(done.is_ok(), is_allowed, "{done:?} {:?}", call.overlay.rules);
        if let Ok(Err(stale)) = &done {
            self.upgrade(call, stale);
        }
        done.is_ok()
    }

    /// Ends the run of a call, upgrades these entries, and begins another run.
    fn upgrade(&mut self, call: &mut Call, stale: &[Box<[u8]>]) {
        self.rewind(call);
        for key in stale {
            assert!(self.committed[&**key].0 != VERSION && call.overlay.rules.has_upgrade);
            let found = self.finish(&mut call.overlay, |overlay, table| Ok(overlay.stale(table, key)));
            let (version, value) = self.committed[&**key].clone();
            let entry = StaleEntry { key: key.clone(), version, value: value.into() };
            // A get-many may name a key twice.
            assert_eq!(found, Ok(Ok(call.kind(key).is_none().then_some(entry))));
            let new = [b"[", self.committed[&**key].1.as_slice(), b"]"].concat();
            let done = self.finish(&mut call.overlay, |overlay, table| overlay.upgrade(table, key, &new));
            assert_eq!(done, Ok(Ok(())));
            call.view.insert(key.to_vec(), (VERSION, new));
        }
        let upgrades = call.overlay.changes.iter().filter(|(_, change)| change.kind == ChangeKind::Upgrade);
        let bytes = upgrades.map(|(packed, _)| packed.bytes()).sum::<usize>();
        assert!(bytes <= call.overlay.rules.limits.write_bytes_per_call);
    }

    fn rewind(&mut self, call: &mut Call) {
        call.overlay.rewind();
        call.written.clear();
        call.view = self.committed.clone();
        for (packed, change) in call.overlay.changes.iter() {
            assert!(!change.is_write());
            call.view.insert(packed.key().to_vec(), (VERSION, packed.value().to_vec()));
        }
        call.check(&self.committed);
    }

    /// Commits a call: stored at once, or later, or with a failure of the store.
    fn commit(&mut self, call: Call) {
        let (outcome, has_base) = (call.outcome(&self.committed), call.overlay.base.is_some());
        let rules = call.overlay.rules.clone();
        let Some(changes) = call.overlay.into_changes() else {
            assert_eq!(outcome, self.committed);
            return;
        };
        assert!(has_base && !changes.is_empty() && changes.len() == changes.iter().count());
        assert_eq!((changes.sums(), changes.version()), (sums_of(&outcome, &rules), VERSION));
        if self.noise.below(3) == 0 {
            self.evict();
        }
        match self.noise.below(if self.is_durable() { 3 } else { 2 }) {
            2 => {
                // The store has either all of the draft, or nothing.
                if self.noise.below(2) == 0 {
                    self.stored = outcome;
                }
                for key in self.table.restore(changes) {
                    let (version, value) = &self.committed[&*key];
                    self.table.write(Packed::new(&key, value).expect("an allowed key"), Some(*version), false);
                }
            }
            choice => {
                let (is_stored, is_complete) = (choice == 0, self.table.is_complete());
                let mut applied = self.committed.clone();
                self.table.apply(changes, is_stored, |change| {
                    let old = self.committed.get(change.key);
                    match (&change.old, old) {
                        (OldEntry::Absent, None) => {}
                        (OldEntry::Entry { packed, version }, Some(old)) => {
                            assert_eq!((*version, packed.value()), (old.0, old.1.as_slice()));
                        }
                        (OldEntry::Bytes(bytes), Some((_, value))) => {
                            assert!(*bytes == value.len() && !is_complete && !rules.is_published(change.key));
                        }
                        (found, expected) => panic!("{found:?} isn't {expected:?}"),
                    }
                    assert_eq!(change.new.is_none(), change.kind == ChangeKind::Delete);
                    assert_eq!(change.parsed.is_some(), change.new.is_some() && rules.is_published(change.key));
                    match change.new {
                        Some(value) => drop(applied.insert(change.key.to_vec(), (VERSION, value.to_vec()))),
                        None => drop(applied.remove(change.key)),
                    }
                });
                assert_eq!(applied, outcome);
                self.committed = outcome;
                if is_stored {
                    self.table.mark_stored();
                    self.stored = self.committed.clone();
                }
            }
        }
    }
}

#[test]
fn random_calls_agree_with_a_plain_map() {
    let (mut faults, mut upgrades, mut shown) = (0, 0, 0);
    for seed in 0..bennu_test_tiers::rounds("entries::calls") as u64 {
        let table = if seed % 3 == 0 { EntryTable::complete() } else { EntryTable::cache() };
        let mut model = Model::new(table, seed);
        for _ in 0..model.noise.below(60) {
            let (key, value, version) = (model.key(), model.value(), [3, VERSION][model.noise.below(2)]);
            if model.table.is_complete() {
                model.table.write(entry_of(&key, 0, &value).into_packed(), Some(version), true);
            }
            model.stored.insert(key.clone(), (version, value.clone()));
            model.committed.insert(key, (version, value));
        }
        for _ in 0..CALLS {
            let rules = Arc::new(model.rules());
            let sums = (model.noise.below(2) == 0).then(|| sums_of(&model.committed, &rules));
            let overlay = Overlay::new(rules, sums);
            let mut call = Call { overlay, view: model.committed.clone(), written: BTreeMap::new() };
            let mut goes_on = true;
            for _ in 0..model.noise.below(12) {
                goes_on = model.act(&mut call);
                if !goes_on {
                    break;
                }
                call.check(&model.committed);
                match model.noise.below(20) {
                    0 => model.rewind(&mut call),
                    1 => model.evict(),
                    _ => {}
                }
            }
            let kinds = call.overlay.changes.iter().map(|(_, change)| change.kind);
            upgrades += kinds.clone().filter(|kind| *kind == ChangeKind::Upgrade).count();
            shown += kinds.filter(|kind| *kind == ChangeKind::Shown).count();
            faults += usize::from(!goes_on);
            if goes_on && model.noise.below(4) > 0 {
                model.commit(call);
            }
            model.check();
            model.table.set_now(model.table.now + 1);
        }
    }
    assert!(faults > 100 && upgrades > 100 && shown > 100, "{faults} faults, {upgrades} upgrades, {shown} shown");
}
