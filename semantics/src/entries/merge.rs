//! The entries of a range as a call sees them: its own changes, laid over the table.

use std::cmp::Ordering;
use std::iter::Peekable;

use super::change::Change;
use super::change_map::{ChangeMap, Iter};
use super::key::KeyRange;
use super::packed::Packed;
use super::read::Order;
use super::slot::{Slot, State};
use super::table::EntryTable;
use super::walk::{Place, Walk};

/// The entries of a range as a call sees them, in an order.
pub(super) struct Merge<'a> {
    changes: Peekable<Changes<'a>>,
    walk: Walk<'a>,
    /// The next step of the walk, if it has been taken.
    place: Option<Place<'a>>,
}

/// An entry as a call sees it.
pub(super) enum Seen<'a> {
    /// The call has written it, or it was upgraded for the call.
    Changed(&'a Packed),
    /// The table has it.
    Stored(&'a Slot),
    /// The keys from here on have to be read from the store. Forward, this is the first of these keys; backward, it is the
    /// first key after them.
    Unknown(Option<Box<[u8]>>),
}

/// The changes of a range, in an order.
struct Changes<'a>(Iter<'a>, Order);

impl<'a> Iterator for Changes<'a> {
    type Item = (&'a Packed, &'a Change);

    fn next(&mut self) -> Option<Self::Item> {
        match self.1 {
            Order::Forward => self.0.next(),
            Order::Backward => self.0.next_back(),
        }
    }
}

impl<'a> Merge<'a> {
    pub(super) fn new(changes: &'a ChangeMap, table: &'a EntryTable, range: &'a KeyRange, order: Order) -> Self {
        let written = changes.range(range);
        Self { changes: Changes(written, order).peekable(), walk: Walk::new(table, range, order), place: None }
    }

    /// Returns the next entry, or none at the end of the range. After unknown keys, it must not be called again.
    pub(super) fn next(&mut self) -> Option<Seen<'a>> {
        loop {
            let place = self.place.get_or_insert_with(|| self.walk.next());
            let order = match (self.changes.peek(), &*place) {
                (Some((written, _)), place) => order(self.walk.is_forward(), written.key(), place),
                (None, Place::End) => return None,
                (None, _) => Ordering::Greater,
            };
            if order.is_le() {
                if order.is_eq() {
                    self.place = None;
                }
                match self.changes.next() {
                    Some((packed, change)) if change.value(packed).is_some() => {
                        return Some(Seen::Changed(packed));
                    }
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
