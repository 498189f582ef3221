//! One key of the table, with its value and its marks.

use std::cell::Cell;

use super::packed::Packed;
use crate::limits::ENTRY_WEIGHT;

/// The age of a slot: the value of a counter when the slot was last used. Only its 28 low bits count.
pub type Stamp = u32;

/// The knowledge of a slot about its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// There is an entry with this key.
    Present,
    /// There is no entry with this key.
    Absent,
    /// Nothing is known about this key: the slot only ends a gap that is complete.
    Bound,
}

/// A key of the table. The flags are cells, so that a read can mark a slot as used.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    packed: Packed,
    /// The version that wrote the entry.
    version: u32,
    /// The stamp, and the flags.
    mark: Cell<u32>,
}

/// The entry isn't stored yet, or its deletion.
const DIRTY: u32 = 1 << 31;
const ABSENT: u32 = 1 << 30;
const BOUND: u32 = 1 << 29;
/// No stored key lies between this slot and the next one.
const GAP: u32 = 1 << 28;
const STAMP: u32 = GAP - 1;

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Slot>() == 24, "a slot is most of an entry's cost besides its bytes");

impl Slot {
    /// An entry.
    #[inline]
    pub(super) fn present(packed: Packed, version: u32, is_dirty: bool, now: Stamp) -> Self {
        Self::new(packed, version, if is_dirty { DIRTY } else { 0 }, now)
    }

    /// The absence of an entry.
    pub(super) fn absent(packed: Packed, is_dirty: bool, now: Stamp) -> Self {
        Self::new(packed, 0, if is_dirty { ABSENT | DIRTY } else { ABSENT }, now)
    }

    /// The end of a complete gap, at an unknown key.
    pub(super) fn bound(packed: Packed, now: Stamp) -> Self {
        Self::new(packed, 0, BOUND, now)
    }

    fn new(packed: Packed, version: u32, flags: u32, now: Stamp) -> Self {
        Self { packed, version, mark: Cell::new(flags | now & STAMP) }
    }

    #[inline]
    pub(super) fn key(&self) -> &[u8] {
        self.packed.key()
    }

    #[inline]
    pub(super) fn value(&self) -> &[u8] {
        self.packed.value()
    }

    #[inline]
    pub(super) fn version(&self) -> u32 {
        self.version
    }

    #[inline]
    pub(super) fn state(&self) -> State {
        match self.mark.get() & (ABSENT | BOUND) {
            0 => State::Present,
            ABSENT => State::Absent,
            _ => State::Bound,
        }
    }

    #[inline]
    pub(super) fn is_dirty(&self) -> bool {
        self.mark.get() & DIRTY != 0
    }

    /// Whether no stored key lies between this slot and the next one.
    #[inline]
    pub(super) fn gap_is_complete(&self) -> bool {
        self.mark.get() & GAP != 0
    }

    #[inline]
    pub(super) fn set_gap(&self, is_complete: bool) {
        self.set(GAP, is_complete);
    }

    pub(super) fn set_dirty(&self, is_dirty: bool) {
        self.set(DIRTY, is_dirty);
    }

    /// Turns the end of a gap into the absence of an entry.
    pub(super) fn set_absent(&self) {
        self.set(BOUND, false);
        self.set(ABSENT, true);
    }

    #[inline]
    fn set(&self, flag: u32, is_set: bool) {
        let others = self.mark.get() & !flag;
        self.mark.set(if is_set { others | flag } else { others });
    }

    #[inline]
    pub(super) fn touch(&self, now: Stamp) {
        self.mark.set(self.mark.get() & !STAMP | now & STAMP);
    }

    /// The steps of the counter since it was last used. The stamp's bits are few, so after a very long time without use, a
    /// slot counts as new once more.
    #[inline]
    pub(super) fn age(&self, now: Stamp) -> Stamp {
        now.wrapping_sub(self.mark.get()) & STAMP
    }

    /// The bytes with which the limits of memory count it.
    #[inline]
    pub(super) fn weight(&self) -> usize {
        self.packed.bytes() + ENTRY_WEIGHT
    }

    pub(super) fn into_parts(self) -> (Packed, u32) {
        (self.packed, self.version)
    }
}
