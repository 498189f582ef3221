//! Random input that is the same in each run.

/// Pseudorandom numbers (SplitMix64). Each run has the same.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`, which must not be 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // The remainder is below `end`, which is a usize.
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_numbers_are_chosen_about_equally_often() {
        let mut random = Random::new(1);
        let mut chosen = [0; 10];
        (0..10_000).for_each(|_| chosen[random.below(10)] += 1);
        assert!(chosen.iter().all(|times| (850..1_150).contains(times)), "{chosen:?}");
    }
}
