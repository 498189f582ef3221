//! Which of a replica's clocks are known: the causal context, for one replica.

use std::collections::BTreeSet;

/// A set of clocks: all up to one, and a cloud of single ones beyond it.
///
/// A clock that is known and has no entry stands for one that was taken away, so it must never be forgotten. The cloud
/// grows only while something in between hasn't arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    through: u64,
    beyond: BTreeSet<u64>,
}

impl Seen {
    /// All clocks up to and with `through`, and those of `beyond`.
    #[must_use]
    pub fn new(through: u64, beyond: BTreeSet<u64>) -> Self {
        let mut seen = Self { through, beyond };
        seen.compact();
        seen
    }

    /// All of them up to this one, with it, are known.
    #[must_use]
    pub fn through(&self) -> u64 {
        self.through
    }

    /// Single ones after a gap.
    #[must_use]
    pub fn beyond(&self) -> &BTreeSet<u64> {
        &self.beyond
    }

    /// Whether a clock is known.
    #[must_use]
    pub fn contains(&self, clock: u64) -> bool {
        clock <= self.through || self.beyond.contains(&clock)
    }

    pub(super) fn absorb(&mut self, other: &Self) {
        self.through = self.through.max(other.through);
        self.beyond.extend(&other.beyond);
        self.compact();
    }

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
    fn the_cloud_is_taken_in_once_the_gap_is_closed() {
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
