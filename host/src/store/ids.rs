//! Ids that sort in the order in which they were drawn, even across restarts of the host.
//!
//! An id begins with a time. An id must not sort before an id of an earlier run, even if the clock was set back. So the
//! store keeps a time that no id has reached: the mark. It is written in advance, by the length of a lease, and ids are
//! drawn only below it. So a host that is killed has drawn no id beyond the stored mark. Drawing an id never waits for the
//! mark. If the mark isn't moved in time, ids continue below it, and only their count grows.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Digits in the order of their values (base32hex of RFC 4648, in lower case).
const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

/// How far ahead of the clock and the last id the mark is written.
pub(super) const LEASE_MS: u64 = 60_000;

/// If less time than this is left before the mark, a later mark is written.
const LEFT_MS: u64 = 30_000;

/// The time before the mark that ids don't take from the clock. It is left for the count: 65,536 ids for each of these
/// milliseconds can be drawn while the mark can't be moved.
const SPARE_MS: u64 = 1_000;

/// How far the time of another node's id may be ahead of this node's clock, to be followed.
pub(super) const AHEAD_MS: u64 = 5_000;

/// The latest time that an id can have: the year 10889.
pub(super) const LATEST_MS: u64 = (1 << 48) - 1;

/// The source of a store's ids.
pub(super) struct Ids {
    /// The time and count of the last id: 48 bits of milliseconds and 16 bits of a count.
    last: AtomicU64,
    /// The stored mark: the time that no id reaches. `u64::MAX` if no mark is stored yet.
    mark_ms: AtomicU64,
    /// Whether a later mark was requested and isn't written yet.
    is_asked: AtomicBool,
    /// The last 36 bits of the ids.
    run: AtomicU64,
}

impl Ids {
    /// Creates ids that continue from a mark, if there was one. They have no upper bound until a mark is [kept](Self::keep).
    pub(super) fn after(mark_ms: Option<u64>) -> Self {
        let last = AtomicU64::new(mark_ms.unwrap_or(0).min(LATEST_MS) << 16);
        Self { last, mark_ms: AtomicU64::new(u64::MAX), is_asked: AtomicBool::new(false), run: AtomicU64::new(run()) }
    }

    /// Draws an id of 20 characters: 48 bits of milliseconds and 16 bits of a count, which grow strictly, and 36 random
    /// bits, which are the same for all ids of one run of the host. Also returns whether the caller must have a later mark
    /// written. That is true only once for each mark.
    pub(super) fn draw(&self, now_ms: u64) -> (String, bool) {
        // Relaxed, here and below: these numbers don't publish other data in memory. `last` is updated atomically, so two
        // threads never get the same number.
        let mark_ms = self.mark_ms.load(Ordering::Relaxed);
        let now = now_ms.min(mark_ms.saturating_sub(SPARE_MS)).min(LATEST_MS) << 16;
        // If the clock hasn't moved on, or was set back, only the count grows.
        let step = |last: u64| last.saturating_add(1).max(now);
        let last = self.last.update(Ordering::Relaxed, Ordering::Relaxed, step);
        let is_late = now_ms.max(last >> 16).saturating_add(LEFT_MS) > mark_ms;
        let asks = is_late && !self.is_asked.load(Ordering::Relaxed) && !self.is_asked.swap(true, Ordering::Relaxed);
        (encode(step(last), self.run.load(Ordering::Relaxed)), asks)
    }

    /// Makes the ids of this run different from those of all other nodes of a cluster: 20 bits of the node's epoch come before 16
    /// random ones. No two nodes that are alive have these bits in common.
    pub(super) fn set_epoch(&self, epoch: u64) {
        const CHANCE_BITS: u32 = 16;
        let chance = run() & ((1 << CHANCE_BITS) - 1);
        self.run.store((epoch << CHANCE_BITS | chance) & ((1 << 36) - 1), Ordering::Relaxed);
    }

    /// Returns the time and the count of the last id.
    pub(super) fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// Follows an id that another node has drawn: ids of this node sort after it from now on. A time that is more than
    /// [`AHEAD_MS`] ahead of this node's clock isn't followed, so that one wrong clock doesn't move all nodes.
    pub(super) fn follow(&self, last: u64, now_ms: u64) {
        if last >> 16 <= now_ms.saturating_add(AHEAD_MS).min(LATEST_MS) {
            self.last.fetch_max(last, Ordering::Relaxed);
        }
    }

    /// Returns the time of the last id.
    pub(super) fn last_ms(&self) -> u64 {
        self.last.load(Ordering::Relaxed) >> 16
    }

    /// Returns the mark to write next.
    pub(super) fn next_mark(&self, now_ms: u64) -> u64 {
        now_ms.max(self.last_ms()).saturating_add(LEASE_MS)
    }

    /// Returns the mark to write when the store closes. It is just after the last id.
    pub(super) fn last_mark(&self) -> u64 {
        self.last_ms().saturating_add(1)
    }

    /// Whether a mark is stored.
    pub(super) fn is_kept(&self) -> bool {
        self.mark_ms.load(Ordering::Relaxed) != u64::MAX
    }

    /// Requests a first or a later mark.
    pub(super) fn ask(&self) {
        self.is_asked.store(true, Ordering::Relaxed);
    }

    /// The requested mark couldn't be written. The next id that is late requests it again.
    pub(super) fn ask_again(&self) {
        self.is_asked.store(false, Ordering::Relaxed);
    }

    /// Whether a mark was requested and isn't written yet.
    pub(super) fn is_late(&self) -> bool {
        self.is_asked.load(Ordering::Relaxed)
    }

    /// Records that the store has written this mark.
    pub(super) fn keep(&self, mark_ms: u64) {
        self.mark_ms.store(mark_ms, Ordering::Relaxed);
        self.is_asked.store(false, Ordering::Relaxed);
    }

    /// Makes all further ids sort after a mark that came from elsewhere, such as an import.
    pub(super) fn go_past(&self, mark_ms: u64) {
        self.last.fetch_max(mark_ms.min(LATEST_MS) << 16, Ordering::Relaxed);
    }
}

/// Returns the random part of this run's ids.
fn run() -> u64 {
    static RUN: OnceLock<u64> = OnceLock::new();
    *RUN.get_or_init(|| getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id())))
}

fn encode(count: u64, run: u64) -> String {
    let bits = (u128::from(count) << 36) | u128::from(run & ((1 << 36) - 1));
    let digit = |at: u32| char::from(DIGITS[usize::from((bits >> (5 * at)) as u8 & 31)]);
    (0..20).rev().map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    #[test]
    fn ids_sort_in_the_order_of_creation_even_if_the_clock_goes_back() {
        let ids = Ids::after(None);
        let clock = [NOW, NOW, NOW + 5, NOW - 1_000_000, NOW + 3, NOW + 1_000_000, NOW];
        let drawn: Vec<String> = (0..10_000).map(|at| ids.draw(clock[at % clock.len()]).0).collect();
        assert!(drawn.is_sorted_by(|a, b| a < b));
        assert!(drawn.iter().all(|id| id.len() == 20));
    }

    #[test]
    fn ids_sort_after_those_of_another_node_that_were_heard_unless_its_clock_is_wrong() {
        let (here, there) = (Ids::after(None), Ids::after(None));
        here.set_epoch(7);
        there.set_epoch(8);
        assert_ne!(here.draw(NOW).0[13..], there.draw(NOW).0[13..], "the epochs differ");
        let theirs = there.draw(NOW + 4_000).0;
        here.follow(there.last(), NOW);
        let ours = here.draw(NOW).0;
        assert!(ours[..13] > theirs[..13], "{ours} {theirs}");
        let _ = there.draw(NOW + 3_600_000);
        here.follow(there.last(), NOW);
        assert!(here.last_ms() < NOW + 5_000);
        // An earlier id changes nothing.
        let last = here.last();
        here.follow(NOW << 16, NOW);
        assert_eq!(here.last(), last);
    }

    #[test]
    fn the_count_is_before_the_random_part() {
        assert_eq!(encode(0, 0), "0".repeat(20));
        assert_eq!(encode(u64::MAX, u64::MAX), "v".repeat(20));
        assert!(encode(1, u64::MAX) < encode(2, 0));
    }

    #[test]
    fn a_run_continues_from_the_mark_of_the_run_before() {
        let ids = Ids::after(None);
        ids.keep(ids.next_mark(NOW));
        let last = ids.draw(NOW + 10).0;
        let mark = NOW + LEASE_MS;
        // The host is killed, and the clock is a year behind at the next start.
        let next = Ids::after(Some(mark));
        next.keep(next.next_mark(NOW - 365 * 86_400_000));
        assert!(next.draw(NOW - 365 * 86_400_000).0 > last);
        // The host ends normally, and leaves a mark just after its last id.
        assert_eq!(next.last_mark(), mark + 1);
    }

    #[test]
    fn no_id_is_created_past_the_mark_and_a_later_mark_is_requested_once() {
        let ids = Ids::after(None);
        ids.keep(NOW + LEASE_MS);
        assert!(!ids.draw(NOW).1);
        assert!(ids.draw(NOW + LEASE_MS - LEFT_MS + 1).1, "little time is left");
        assert!(!ids.draw(NOW + LEASE_MS - LEFT_MS + 1).1, "it was already requested");
        let before = ids.draw(NOW + LEASE_MS).0;
        // The clock is far ahead, and no later mark could be written.
        let drawn: Vec<String> = (0..200_000).map(|_| ids.draw(NOW + 365 * 86_400_000).0).collect();
        assert!(before < drawn[0] && drawn.is_sorted_by(|a, b| a < b));
        assert!(ids.last_ms() < NOW + LEASE_MS);
        ids.keep(ids.next_mark(NOW + 365 * 86_400_000));
        assert!(!ids.draw(NOW + 365 * 86_400_000).1);
        assert_eq!(ids.last_ms(), NOW + 365 * 86_400_000);
    }
}
