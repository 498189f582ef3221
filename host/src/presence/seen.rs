//! The known clocks of one replica: the causal context for that replica.

use std::collections::BTreeSet;

/// A set of clocks: all clocks up to one, and single clocks beyond it.
///
/// A known clock without an entry stands for a removed entry, so a clock must never be removed from the set. Single
/// clocks accumulate only while a write between them hasn't arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    through: u64,
    beyond: BTreeSet<u64>,
}

impl Seen {
    /// Creates the set of all clocks up to and including `through`, and those in `beyond`.
    #[must_use]
    pub fn new(through: u64, beyond: BTreeSet<u64>) -> Self {
        let mut seen = Self { through, beyond };
        seen.compact();
        seen
    }

    /// Returns the last clock before the first gap.
    #[must_use]
    pub fn through(&self) -> u64 {
        self.through
    }

    /// Returns the single clocks after the first gap.
    #[must_use]
    pub fn beyond(&self) -> &BTreeSet<u64> {
        &self.beyond
    }

    /// Whether a clock is known.
    #[must_use]
    pub fn contains(&self, clock: u64) -> bool {
        clock <= self.through || self.beyond.contains(&clock)
    }

    /// Whether it has all clocks of another set.
    pub(super) fn includes(&self, other: &Self) -> bool {
        other.through <= self.through && other.beyond.iter().all(|clock| self.contains(*clock))
    }

    /// Adds the clocks of another set.
    pub(super) fn absorb(&mut self, other: &Self) {
        self.through = self.through.max(other.through);
        self.beyond.extend(&other.beyond);
        self.compact();
    }

    /// Moves single clocks that have no gap before them any more into `through`.
    fn compact(&mut self) {
        while let Some(first) = self.beyond.first().copied() {
            if first > self.through.saturating_add(1) {
                break;
            }
            self.through = self.through.max(first);
            self.beyond.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(through: u64, beyond: &[u64]) -> Seen {
        Seen::new(through, beyond.iter().copied().collect())
    }

    #[test]
    fn single_clocks_become_a_range_once_the_gap_is_closed() {
        let cases = [
            (seen(0, &[]), seen(0, &[1]), seen(1, &[])),
            (seen(1, &[]), seen(0, &[3, 5]), seen(1, &[3, 5])),
            (seen(1, &[3, 5]), seen(0, &[2]), seen(3, &[5])),
            (seen(1, &[3, 5]), seen(4, &[]), seen(5, &[])),
            (seen(7, &[]), seen(0, &[2, 8]), seen(8, &[])),
            (seen(u64::MAX, &[]), seen(0, &[u64::MAX]), seen(u64::MAX, &[])),
        ];
        for (mut at_first, other, expected) in cases {
            at_first.absorb(&other);
            assert_eq!(at_first, expected);
        }
        let some = seen(1, &[3]);
        assert_eq!([1, 2, 3, 4].map(|clock| some.contains(clock)), [true, false, true, false]);
    }
}
