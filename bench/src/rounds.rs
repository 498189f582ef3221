//! The order in which the candidates of a comparison are measured.

/// The order of the candidates in a round. The first round is number 1. Every second round is reversed, so that no
/// candidate always follows the same one.
pub(crate) fn order(candidates: usize, round: usize) -> Vec<usize> {
    let order = 0..candidates;
    if round % 2 == 1 { order.collect() } else { order.rev().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_round_is_reversed() {
        assert_eq!([1, 2, 3].map(|round| order(3, round)), [vec![0, 1, 2], vec![2, 1, 0], vec![0, 1, 2]]);
    }
}
