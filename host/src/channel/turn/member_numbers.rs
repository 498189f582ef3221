//! The numbers of members: 1, 2, 3 on a host alone. In a cluster, blocks of numbers that no other node has.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// The bits of a number within its block. A block has 16,777,216 numbers, and numbers of 53 bits, which JSON can carry, leave
/// room for 536,870,911 blocks.
const BLOCK_BITS: u32 = 24;

/// The number of the last block.
const BLOCK_MAX: u64 = (1 << (53 - BLOCK_BITS)) - 1;
const _: () = assert!(BLOCK_MAX << BLOCK_BITS < 1 << 53, "JSON carries each number");

/// How many whole blocks are kept ready. So a node can admit some ten million members while the sequence can't be reached.
const READY: usize = 2;

/// The block of a host that isn't in a cluster: it has all numbers.
const ALONE: u64 = u64::MAX;

/// The block of a node that has none yet. No number is in it.
const NONE: u64 = u64::MAX - 1;

/// Draws the numbers of members.
///
/// The accesses are relaxed: a number publishes no other memory. `next` only grows, so no number is drawn twice. Whether a number is in
/// this node's block is checked after it was drawn.
#[derive(Debug)]
pub(in crate::channel) struct MemberNumbers {
    next: AtomicU64,
    /// The block that numbers are drawn from.
    block: AtomicU64,
    /// The blocks after that one.
    ready: Mutex<VecDeque<u64>>,
    wanted: Notify,
}

impl MemberNumbers {
    /// The numbers of a host that isn't in a cluster.
    pub(in crate::channel) fn alone() -> Self {
        Self::with(1, ALONE)
    }

    /// The numbers of a node that has no block yet.
    pub(in crate::channel) fn in_blocks() -> Self {
        Self::with(0, NONE)
    }

    fn with(next: u64, block: u64) -> Self {
        Self {
            next: AtomicU64::new(next),
            block: AtomicU64::new(block),
            ready: Mutex::default(),
            wanted: Notify::new(),
        }
    }

    /// Draws a number. None if this node has no number left. That is only possible in a cluster.
    pub(in crate::channel) fn draw(&self) -> Option<u64> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let block = self.block.load(Ordering::Relaxed);
        if block == ALONE || number >> BLOCK_BITS == block {
            return Some(number);
        }
        self.draw_from_next_block()
    }

    #[cold]
    fn draw_from_next_block(&self) -> Option<u64> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            // Another thread may have begun the next block meanwhile.
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >> BLOCK_BITS == self.block.load(Ordering::Relaxed) {
                return Some(number);
            }
            self.wanted.notify_one();
            let block = ready.pop_front()?;
            // Blocks of a sequence grow, so `next` moves up to the new block, or has already run into it.
            self.block.store(block, Ordering::Relaxed);
            self.next.fetch_max(block << BLOCK_BITS, Ordering::Relaxed);
        }
    }

    /// The numbers up to this one are used by another process, whose work this one has taken over.
    pub(in crate::channel) fn skip(&self, highest: u64) {
        self.next.fetch_max(highest.saturating_add(1), Ordering::Relaxed);
    }

    /// Adds a block. It must be later than all before. Block 0 isn't used, because it has the numbers of hosts without a cluster.
    pub(in crate::channel) fn add_block(&self, block: u64) {
        if block > BLOCK_MAX {
            return tracing::error!("block {block} of numbers for members isn't used: clients can't read such numbers");
        }
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).push_back(block);
    }

    /// Waits until a further block is wanted.
    pub(in crate::channel) async fn wants_block(&self) {
        loop {
            if self.ready.lock().unwrap_or_else(PoisonError::into_inner).len() < READY {
                return;
            }
            self.wanted.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_host_alone_counts_from_one() {
        let numbers = MemberNumbers::alone();
        assert_eq!([numbers.draw(), numbers.draw()], [Some(1), Some(2)]);
        numbers.skip(9);
        assert_eq!(numbers.draw(), Some(10));
    }

    #[test]
    fn a_node_draws_from_its_blocks_and_has_none_after_the_last() {
        let numbers = MemberNumbers::in_blocks();
        assert_eq!([numbers.draw(), numbers.draw()], [None, None]);
        numbers.add_block(3);
        numbers.add_block(5);
        assert_eq!([numbers.draw(), numbers.draw()], [Some(3 << BLOCK_BITS), Some(3 << BLOCK_BITS | 1)]);
        numbers.skip((4 << BLOCK_BITS) - 2);
        let last = (4 << BLOCK_BITS) - 1;
        assert_eq!(numbers.draw(), Some(last));
        let next = numbers.draw().expect("the next block");
        assert_eq!(next >> BLOCK_BITS, 5);
        numbers.skip((6 << BLOCK_BITS) - 1);
        assert_eq!([numbers.draw(), numbers.draw()], [None, None]);
        numbers.add_block(9);
        assert_eq!(numbers.draw().map(|number| number >> BLOCK_BITS), Some(9));
    }

    #[test]
    fn blocks_are_wanted_until_two_are_ready() {
        let numbers = MemberNumbers::in_blocks();
        assert!(numbers.wants_block().now_or_never().is_some());
        numbers.add_block(1);
        numbers.add_block(2);
        assert!(numbers.wants_block().now_or_never().is_none());
        assert!(numbers.draw().is_some());
        assert!(numbers.wants_block().now_or_never().is_some());
    }

    #[test]
    fn threads_never_draw_the_same_number_and_no_number_of_another_block() {
        let numbers = Arc::new(MemberNumbers::in_blocks());
        // The blocks between them belong to others. 7 follows 6 directly.
        [2, 4, 6, 7].into_iter().for_each(|block| numbers.add_block(block));
        let draw = |numbers: Arc<MemberNumbers>| {
            move || {
                let mut drawn = Vec::new();
                while let Some(number) = numbers.draw() {
                    drawn.push(number);
                    if drawn.len() % 64 == 0 {
                        // So that the ends of all blocks are reached soon.
                        let end = ((number >> BLOCK_BITS) + 1) << BLOCK_BITS;
                        numbers.skip(end - 100);
                    }
                }
                drawn
            }
        };
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(draw(Arc::clone(&numbers)))).collect();
        let drawn: Vec<u64> = threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect();
        assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), drawn.len());
        let blocks: HashSet<u64> = drawn.iter().map(|number| number >> BLOCK_BITS).collect();
        assert_eq!(blocks, HashSet::from([2, 4, 6, 7]));
    }
}
