//! Evicts entries of durable rooms from the memory, the least recently used first.
//!
//! The age of an entry is measured in bytes that came into the cache since its last use. A first pass counts the entries of
//! all topics by their age. This gives the age from which entries are evicted, and a second pass evicts them. Both take the
//! lock of a topic for a bounded number of entries, so that no turn waits long. An entry that is used between the passes
//! stays. So the order is exact up to the width of a group of ages, without links between the entries.

use std::sync::Arc;

use bennu_semantics::entries::Stamp;

use super::node::EntriesNode;
use super::topic::TopicEntries;

/// The most slots that are looked at under one lock.
const SLOTS_AT_ONCE: usize = 1000;

/// The ages between a power of two and the next one are this many groups.
const GROUPS_OF_A_POWER: u32 = 8;

/// All groups: ages have at most 28 bits.
const GROUPS: usize = 29 * GROUPS_OF_A_POWER as usize;

impl EntriesNode {
    /// Keeps the cache within its limit, as long as the host runs.
    pub async fn keep_within_limit(self: Arc<Self>) {
        loop {
            self.over_limit.notified().await;
            self.evict().await;
        }
    }

    /// Evicts entries until the cache has at most 15/16 of its limit, if they aren't being committed.
    pub(super) async fn evict(&self) {
        let (most, topics) = (self.cache_limits().cache_bytes, self.all());
        let surplus = self.usage().cached_bytes.saturating_sub(most - most / 16);
        if surplus == 0 {
            return;
        }
        let mut bytes_by_group = vec![0_u64; GROUPS];
        for topic in &topics {
            count_ages(topic, &mut bytes_by_group).await;
        }
        let age = age_to_evict(&bytes_by_group, surplus);
        for topic in &topics {
            evict_topic(topic, age).await;
        }
    }
}

async fn count_ages(topic: &TopicEntries, bytes_by_group: &mut [u64]) {
    let mut from = Some(Box::default());
    while let Some(first) = from {
        let each = |age, bytes| bytes_by_group[group(age)] += bytes as u64;
        from = topic.locked().table.ages(&first, SLOTS_AT_ONCE, each);
        tokio::task::yield_now().await;
    }
}

async fn evict_topic(topic: &TopicEntries, age: Stamp) {
    let mut from = Some(Box::default());
    while let Some(first) = from {
        from = evict_step(topic, age, &first);
        tokio::task::yield_now().await;
    }
}

/// Evicts some entries, from a key on. Returns the key from which to continue.
fn evict_step(topic: &TopicEntries, age: Stamp, from: &[u8]) -> Option<Box<[u8]>> {
    let mut state = topic.locked();
    if state.is_committing {
        // The commit brings entries into the cache, so the evictor is woken again.
        return None;
    }
    let evicted = state.table.evict(age, from, SLOTS_AT_ONCE);
    topic.node().count_evicted(evicted.slots);
    evicted.next
}

/// The group of an age. Groups are in the order of the ages.
fn group(age: Stamp) -> usize {
    let Some(power) = age.checked_ilog2() else { return 0 };
    let below = age - (1 << power);
    // Of the ages below 8, each is a group.
    let part = (u64::from(below) * u64::from(GROUPS_OF_A_POWER)) >> power;
    ((power + 1) * GROUPS_OF_A_POWER) as usize + part as usize
}

/// The age from which the entries have at least these bytes.
fn age_to_evict(bytes_by_group: &[u64], surplus: u64) -> Stamp {
    let mut bytes = 0;
    for (group, of_group) in bytes_by_group.iter().enumerate().rev() {
        bytes += of_group;
        if bytes >= surplus {
            return first_age(group);
        }
    }
    0
}

/// The first age of a group.
fn first_age(group: usize) -> Stamp {
    let (power, part) = (group as u32 / GROUPS_OF_A_POWER, group as u32 % GROUPS_OF_A_POWER);
    match power.checked_sub(1) {
        Some(power) => (1 << power) + ((part << power).div_ceil(GROUPS_OF_A_POWER)),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_in_the_order_of_ages_and_begin_with_their_first_age() {
        let ages = (0..5000).chain((0..28).map(|bit| 1 << bit)).chain([(1 << 28) - 1]);
        let mut groups: Vec<_> = ages.map(|age| (age, group(age))).collect();
        groups.sort_unstable();
        assert!(groups.is_sorted_by_key(|(_, group)| *group));
        for (age, group) in groups {
            let first = first_age(group);
            assert!(group < GROUPS && first <= age && super::group(first) == group, "{age} {group} {first}");
            assert!(age == 0 || first == age || super::group(first - 1) < group, "{age} {group} {first}");
            // An age is at most an eighth older than the first one of its group.
            assert!(age - first <= first / 8, "{age} {group} {first}");
        }
    }

    #[test]
    fn the_oldest_groups_with_enough_bytes_are_evicted() {
        let mut bytes = vec![0; GROUPS];
        (bytes[group(3)], bytes[group(100)], bytes[group(9000)]) = (50, 50, 50);
        assert_eq!(age_to_evict(&bytes, 1), first_age(group(9000)));
        assert_eq!(age_to_evict(&bytes, 50), first_age(group(9000)));
        assert_eq!(age_to_evict(&bytes, 51), first_age(group(100)));
        assert_eq!((age_to_evict(&bytes, 150), age_to_evict(&bytes, 151)), (3, 0));
    }
}
