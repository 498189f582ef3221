//! Ids that sort in the order in which they were drawn.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::contract::system_now_ms;

/// Digits that sort as their values do (base32hex of RFC 4648, in lower case).
const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

/// A random number.
///
/// # Errors
/// Where the operating system gives none.
pub(super) fn random() -> Result<u64, getrandom::Error> {
    getrandom::u64()
}

/// An id of 20 characters: 48 bits of milliseconds and 16 of a count, which rise strictly, and 36 random bits that tell
/// one run of the host from another.
pub(super) fn unique_id() -> String {
    static LAST: AtomicU64 = AtomicU64::new(0);
    static RUN: OnceLock<u64> = OnceLock::new();
    let run = *RUN.get_or_init(|| random().unwrap_or_else(|_| u64::from(std::process::id())));
    let now = system_now_ms() << 16;
    // Until the clock has moved on, and where it was set back, the count goes on.
    let step = |last: u64| Some(last.saturating_add(1).max(now));
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).unwrap_or(now);
    encode(last.saturating_add(1).max(now), run)
}

fn encode(count: u64, run: u64) -> String {
    let bits = (u128::from(count) << 36) | u128::from(run & ((1 << 36) - 1));
    let digit = |at: u32| char::from(DIGITS[usize::from((bits >> (5 * at)) as u8 & 31)]);
    (0..20).rev().map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_as_they_were_drawn() {
        let ids: Vec<String> = (0..10_000).map(|_| unique_id()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert!(ids.iter().all(|id| id.len() == 20));
    }

    #[test]
    fn the_count_stands_before_the_run() {
        assert_eq!(encode(0, 0), "0".repeat(20));
        assert_eq!(encode(u64::MAX, u64::MAX), "v".repeat(20));
        assert!(encode(1, u64::MAX) < encode(2, 0));
    }
}
