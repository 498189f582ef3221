//! Changes of a topic's seats that are not yet passed to `handle_seat`.
//!
//! Each change takes a turn, and turns may be slow while seats change fast: if a client's connection breaks again and
//! again, its seat drops and returns each time. So at most one turn waits for each seat, and it passes on all changes
//! up to its start.

use std::collections::HashMap;

use bytestring::ByteString;

use crate::SeatChange;

/// The most waiting changes of one seat: one for each of the three states, and the last two changes.
const CHANGES_MAX: usize = 5;

/// The seats with a waiting turn, each with the changes for that turn.
#[derive(Default)]
pub struct PendingSeatChanges {
    seats: HashMap<ByteString, Vec<SeatChange>>,
}

impl PendingSeatChanges {
    /// Records a change, or without one, that the seat's grace period may be over. Returns whether a turn has to be
    /// queued, because none waits for this seat.
    #[must_use]
    pub fn note(&mut self, name: &ByteString, change: Option<SeatChange>) -> bool {
        if let Some(changes) = self.seats.get_mut(name) {
            changes.extend(change);
            shorten(changes);
            return false;
        }
        self.seats.insert(name.clone(), change.into_iter().collect());
        true
    }

    /// Takes the changes for the turn that begins.
    pub fn take(&mut self, name: &ByteString) -> Vec<SeatChange> {
        self.seats.remove(name).unwrap_or_default()
    }

    /// Whether no seat has a waiting turn.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }
}

/// Removes changes that lead back to an earlier state of the seat. The last two stay, and each of the others still
/// follows from the one before it: `Returned` comes only after `Dropped`.
fn shorten(changes: &mut Vec<SeatChange>) {
    while changes.len() > CHANGES_MAX {
        let older = changes.len() - 2;
        // After each change the seat is in one of three states, and there are four older changes.
        let detour = (0..older).find_map(|first| {
            let again = (first + 1..older).find(|&later| state(changes[later]) == state(changes[first]))?;
            Some(first + 1..again + 1)
        });
        let Some(detour) = detour else { return };
        changes.drain(detour);
    }
}

/// The state of a seat.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SeatState {
    Free,
    Taken,
    Kept,
}

fn state(after: SeatChange) -> SeatState {
    match after {
        SeatChange::Taken | SeatChange::Returned => SeatState::Taken,
        SeatChange::Dropped => SeatState::Kept,
        SeatChange::Gone => SeatState::Free,
    }
}

#[cfg(test)]
mod tests {
    use SeatChange::{Dropped, Gone, Returned, Taken};

    use super::*;

    /// The state after a change, if the change is possible.
    fn after(before: SeatState, change: SeatChange) -> Option<SeatState> {
        let is_possible = match change {
            Taken => before == SeatState::Free,
            Returned => before == SeatState::Kept,
            Dropped => before == SeatState::Taken,
            Gone => before != SeatState::Free,
        };
        is_possible.then(|| state(change))
    }

    fn told(changes: impl IntoIterator<Item = SeatChange>) -> Vec<SeatChange> {
        let (mut untold, ada) = (PendingSeatChanges::default(), ByteString::from_static("ada"));
        let queued = changes.into_iter().map(|change| untold.note(&ada, Some(change))).filter(|queued| *queued).count();
        assert_eq!(queued, 1, "one turn waits");
        let told = untold.take(&ada);
        assert!(untold.is_empty());
        told
    }

    #[test]
    fn few_changes_are_passed_one_by_one_and_many_are_shortened() {
        assert_eq!(told([Taken, Gone]), [Taken, Gone]);
        assert_eq!(told([Dropped, Returned, Gone, Taken]), [Dropped, Returned, Gone, Taken]);
        assert_eq!(told([Dropped, Returned].repeat(1000)), [Dropped, Returned, Dropped, Returned]);
        assert_eq!(told([Taken, Gone].repeat(1000)), [Taken, Gone, Taken, Gone]);
    }

    #[test]
    fn the_passed_changes_are_few_and_end_at_the_state_of_the_seat() {
        let mut noise = 9_u64;
        for _ in 0..2_000 {
            let begin = [SeatState::Free, SeatState::Taken, SeatState::Kept][noise as usize % 3];
            let (mut is, mut all) = (begin, Vec::new());
            for _ in 0..1 + noise % 40 {
                let change = loop {
                    noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) >> 1;
                    let change = [Taken, Returned, Dropped, Gone][(noise >> 40) as usize % 4];
                    if after(is, change).is_some() {
                        break change;
                    }
                };
                is = state(change);
                all.push(change);
            }
            let told = told(all.iter().copied());
            assert!(told.len() <= CHANGES_MAX && (told == all || all.len() > CHANGES_MAX), "{all:?}: {told:?}");
            assert!(all.ends_with(&told[told.len().saturating_sub(2)..]), "{all:?}: {told:?}");
            let walked = told.iter().try_fold(begin, |before, &change| after(before, change));
            assert!(walked.is_some_and(|end| end == is), "{all:?}: {told:?}");
        }
    }

    #[test]
    fn the_end_of_a_grace_period_needs_no_turn_if_one_waits() {
        let (mut untold, ada) = (PendingSeatChanges::default(), ByteString::from_static("ada"));
        assert!(untold.note(&ada, None) && !untold.note(&ada, Some(Dropped)) && !untold.note(&ada, None));
        assert_eq!(untold.take(&ada), [Dropped]);
        assert!(untold.note(&ada, None));
    }
}
