//! The entries of a range as a call sees them: its own changes, laid over the table, or over the entries before a rollback
//! point.

use std::cmp::Ordering;
use std::collections::btree_map::Range;
use std::iter::Peekable;

use super::change::Change;
use super::change_map::Iter;
use super::journal::Journal;
use super::key::KeyRange;
use super::overlay::Overlay;
use super::packed::Packed;
use super::read::Order;
use super::slot::{Slot, State};
use super::table::EntryTable;
use super::walk::{Place, Walk};

/// The entries of a range as a call sees them, in an order.
pub(super) struct Merge<'a> {
    written: Peekable<Written<'a>>,
    walk: Walk<'a>,
    /// The next step of the walk, if it has been taken.
    place: Option<Place<'a>>,
}

/// An entry as a call sees it.
pub(super) enum Seen<'a> {
    /// The call has written it, or it was upgraded for the call.
    Changed(&'a Packed),
    /// The journal has it, from before the rollback point, with this version.
    Former(&'a Packed, u32),
    /// The table has it.
    Stored(&'a Slot),
    /// The keys from here on have to be read from the store. Forward, this is the first of these keys; backward, it is the
    /// first key after them.
    Unknown(Option<Box<[u8]>>),
}

/// The keys of a range for which the table doesn't count, in an order: the call's own changes, laid over the journal.
struct Written<'a> {
    changes: Iter<'a>,
    formers: Option<Formers<'a>>,
    order: Order,
}

/// The entries of the journal. The next one of them, or the next change, may be taken already.
struct Formers<'a> {
    range: Range<'a, Packed, Option<u32>>,
    former: Option<(&'a Packed, &'a Option<u32>)>,
    change: Option<(&'a Packed, &'a Change)>,
}

impl<'a> Written<'a> {
    fn new(overlay: &'a Overlay, range: &KeyRange, order: Order) -> Self {
        let formers = |journal: &'a Journal| Formers { range: journal.range(range), former: None, change: None };
        Self { changes: overlay.changes.range(range), formers: overlay.before.as_deref().map(formers), order }
    }
}

impl<'a> Iterator for Written<'a> {
    /// A key, and its entry if there is one.
    type Item = (&'a Packed, Option<Seen<'a>>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let Self { changes, formers, order } = self;
        match formers {
            None => step(changes, *order).map(changed),
            Some(formers) => formers.next(changes, *order),
        }
    }
}

impl<'a> Formers<'a> {
    fn next(&mut self, changes: &mut Iter<'a>, order: Order) -> Option<<Written<'a> as Iterator>::Item> {
        let change = self.change.take().or_else(|| step(changes, order));
        let former = self.former.take().or_else(|| step(&mut self.range, order));
        let first = match (change, former) {
            (_, None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((change, _)), Some((former, _))) if order == Order::Forward => change.cmp(former),
            (Some((change, _)), Some((former, _))) => former.cmp(change),
        };
        if first.is_gt() {
            self.change = change;
            return former.map(|(packed, version)| (packed, version.map(|version| Seen::Former(packed, version))));
        }
        if first.is_lt() {
            self.former = former;
        }
        change.map(changed)
    }
}

fn changed<'a>((packed, change): (&'a Packed, &'a Change)) -> <Written<'a> as Iterator>::Item {
    (packed, change.value(packed).is_some().then_some(Seen::Changed(packed)))
}

fn step<I: DoubleEndedIterator>(range: &mut I, order: Order) -> Option<I::Item> {
    match order {
        Order::Forward => range.next(),
        Order::Backward => range.next_back(),
    }
}

impl<'a> Merge<'a> {
    pub(super) fn new(overlay: &'a Overlay, table: &'a EntryTable, range: &'a KeyRange, order: Order) -> Self {
        let written = Written::new(overlay, range, order).peekable();
        Self { written, walk: Walk::new(table, range, order), place: None }
    }

    /// Returns the next entry, or none at the end of the range. After unknown keys, it must not be called again.
    pub(super) fn next(&mut self) -> Option<Seen<'a>> {
        loop {
            let place = self.place.get_or_insert_with(|| self.walk.next());
            let order = match (self.written.peek(), &*place) {
                (Some((written, _)), place) => order(self.walk.is_forward(), written.key(), place),
                (None, Place::End) => return None,
                (None, _) => Ordering::Greater,
            };
            if order.is_le() {
                if order.is_eq() {
                    self.place = None;
                }
                match self.written.next() {
                    Some((_, Some(seen))) => return Some(seen),
                    _ => continue,
                }
            }
            match self.place.take() {
                Some(Place::Slot(slot)) if slot.state() == State::Present => return Some(Seen::Stored(slot)),
                Some(Place::Unknown(at)) => return Some(Seen::Unknown(at)),
                Some(Place::Slot(_)) | Some(Place::End) | None => {}
            }
        }
    }
}

/// Whether a change comes before a step of the walk, at the same key, or after it.
fn order(is_forward: bool, key: &[u8], place: &Place<'_>) -> Ordering {
    match place {
        Place::Slot(slot) if is_forward => key.cmp(slot.key()),
        Place::Slot(slot) => slot.key().cmp(key),
        // Forward, the unknown keys begin with this one.
        Place::Unknown(Some(at)) if is_forward => {
            if key < &**at {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        }
        // Backward, they end before this one.
        Place::Unknown(Some(at)) => {
            if key >= &**at {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        }
        Place::Unknown(None) => Ordering::Greater,
        Place::End => Ordering::Less,
    }
}
