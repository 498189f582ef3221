//! Random input for tests and benchmarks that can be repeated.

/// Numbers that look random, from a fixed seed: each run gets the same ones (SplitMix64). Tests take the seeds 0, 1, 2
/// and so on, so the first numbers of such seeds must differ as random numbers do.
pub struct Noise(u64);

impl Noise {
    /// The numbers of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, which is less than `end`.
    ///
    /// # Panics
    /// If `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 33).unwrap_or_default() % end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consecutive_seeds_begin_with_different_numbers() {
        for place in 0..3 {
            let mut chosen = [0; 3];
            for seed in 0..3_000 {
                let mut noise = Noise::new(seed);
                let numbers: Vec<_> = (0..=place).map(|_| noise.below(3)).collect();
                chosen[numbers[place]] += 1;
            }
            assert!(chosen.iter().all(|times| (900..1_100).contains(times)), "number {place}: {chosen:?}");
        }
    }
}
