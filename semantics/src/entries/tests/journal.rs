//! Rollback points: the entries before them are kept, seen by a call, and restored.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::calls::Call;
use super::overlay::{keys, put, room, rules};
use super::*;

/// Applies the changes of a call, and notes the entries before them.
fn apply(table: &mut EntryTable, overlay: Overlay, journal: &mut Journal, is_stored: bool) {
    let Some(changes) = overlay.into_changes() else { return };
    let (growth, weight) = (journal.growth(&changes), journal.weight());
    table.apply(changes, is_stored, |change| assert!(journal.note(change)));
    assert_eq!(journal.weight(), weight + growth);
}

#[test]
fn a_rollback_restores_the_first_value_of_each_key() {
    let (mut table, sums) = room(&["a", "b"], b"old");
    let mut journal = Journal::new(sums);
    for value in ["1", "2"] {
        let mut overlay = Overlay::new(rules(false), Some(sums));
        put(&mut overlay, &table, "a", value);
        put(&mut overlay, &table, "new", value);
        apply(&mut table, overlay, &mut journal, true);
    }
    // An entry counts with 64 bytes more: `a` with its old value, and `new`, which was absent.
    assert_eq!(journal.weight(), 64 + 4 + 64 + 3);
    let before = Overlay::at_rollback_point(rules(false), Arc::new(journal.clone()));
    assert_eq!(keys(&before, &table, Order::Forward, 9), Ok("a b".into()));
    assert_eq!(before.get(&table, b"a"), Ok(Progress::Done(Some(&b"old"[..]))));
    assert_eq!(before.get(&table, b"new"), Ok(Progress::Done(None)));
    assert_eq!(journal.sums(), sums);
    journal.restore(&mut table);
    assert_eq!(table.get(b"a"), Found::Entry { version: 1, value: b"old" });
    assert_eq!(table.get(b"new"), Found::Absent);
}

/// A sequence of calls with commits, faults, failures of the store, evictions and rollbacks, next to plain maps: the
/// entries now, and those at the rollback point.
#[test]
fn after_any_sequence_of_calls_a_rollback_restores_the_entries_before_it() {
    let mut rollbacks = 0;
    for seed in 0..bennu_test_tiers::rounds("entries::journal") as u64 {
        let table = if seed % 2 == 0 { EntryTable::complete() } else { EntryTable::cache() };
        let mut model = Model::new(table, seed);
        model.begin_with(30);
        let mut point: Option<(Journal, Map)> = None;
        for _ in 0..30 {
            let mut rules = model.rules();
            // So that each old entry is kept.
            rules.old_bytes = usize::MAX;
            let (rules, is_before) = (Arc::new(rules), model.noise.below(4) == 0);
            if let Some((journal, former)) = point.as_mut().filter(|_| is_before) {
                // The build before is called. It sees the entries before the rollback point, and has no effect.
                journal.sums = sums_of(former, &rules);
                let overlay = Overlay::at_rollback_point(rules, Arc::new(journal.clone()));
                std::mem::swap(&mut model.committed, former);
                model.run(overlay);
                std::mem::swap(&mut model.committed, former);
                continue;
            }
            let sums = sums_of(&model.committed, &rules);
            let (call, has_succeeded) = model.run(Overlay::new(rules, Some(sums)));
            let (outcome, is_stored) = (call.outcome(&model.committed), model.noise.below(2) == 0);
            if has_succeeded {
                match &mut point {
                    Some((journal, _)) => apply(&mut model.table, call.overlay, journal, is_stored),
                    None => drop(call.overlay.into_changes().map(|all| model.table.apply(all, is_stored, |_| {}))),
                }
                model.committed = outcome;
                if is_stored {
                    model.table.mark_stored();
                    model.stored = model.committed.clone();
                }
            }
            match model.noise.below(8) {
                0 => point = Some((Journal::new(EntrySums::default()), model.committed.clone())),
                // The probation is passed.
                1 => point = None,
                2 => {
                    if let Some((journal, former)) = point.take() {
                        rollbacks += usize::from(!journal.is_empty());
                        journal.restore(&mut model.table);
                        model.committed = former;
                    }
                }
                3 => model.evict(),
                _ => {}
            }
            model.check();
            model.table.set_now(model.table.now + 1);
        }
    }
    assert!(rollbacks > 50, "{rollbacks} rollbacks");
}

impl Model {
    /// Adds some entries, which are stored.
    fn begin_with(&mut self, most: usize) {
        for _ in 0..self.noise.below(most) {
            let (key, value, version) = (self.key(), self.value(), [3, 7][self.noise.below(2)]);
            if self.table.is_complete() {
                self.table.write(entry_of(&key, 0, &value).into_packed(), Some(version), true);
            }
            self.stored.insert(key.clone(), (version, value.clone()));
            self.committed.insert(key, (version, value));
        }
    }

    /// Runs a call with some operations. Returns whether it has succeeded.
    fn run(&mut self, overlay: Overlay) -> (Call, bool) {
        let mut call = Call { overlay, view: self.committed.clone(), written: BTreeMap::new() };
        let has_succeeded = (0..self.noise.below(8)).all(|_| self.act(&mut call));
        (call, has_succeeded)
    }
}
