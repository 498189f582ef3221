//! The writer of entries: one shard of one node, from the node's start to its end.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

/// A writer of entries. A clone shares its data.
///
/// Each shard of a node is a separate set with its own clocks, so each is a replica. After a restart, a node's shards
/// are new replicas with a larger incarnation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Replica(Arc<Identity>);

#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Identity {
    name: Box<str>,
    shard: u16,
    incarnation: u64,
    /// The beginning of its refs, as a number: a hash of the other fields.
    mark: u64,
}

/// The digits of a ref. They need no escaping in a URL.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The first six bytes of a digest, which are eight digits.
const MARK_BITS: u32 = 48;

impl Replica {
    /// Creates the replica for a shard of the node `name`. A later start of the node must have a larger incarnation,
    /// for example the time of the start.
    #[must_use]
    pub fn new(name: &str, shard: u16, incarnation: u64) -> Self {
        let mut hash = Sha256::new();
        hash.update(incarnation.to_be_bytes());
        hash.update(shard.to_be_bytes());
        hash.update(name);
        let mark =
            hash.finalize().iter().take(MARK_BITS as usize / 8).fold(0, |mark, byte| mark << 8 | u64::from(*byte));
        Self(Arc::new(Identity { name: name.into(), shard, incarnation, mark }))
    }

    /// Returns the node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns the number of the shard.
    #[must_use]
    pub fn shard(&self) -> u16 {
        self.0.shard
    }

    /// Returns the incarnation: the number of the node's start.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.0.incarnation
    }

    /// Whether both are the same shard of the same node, even if the node has restarted in between.
    #[must_use]
    pub fn is_same_place(&self, other: &Self) -> bool {
        self.0.name == other.0.name && self.0.shard == other.0.shard
    }

    /// Writes the `phx_ref` of the entry with this clock: eight digits for the replica, then the digits of the clock.
    /// Refs of one replica are always different. Refs of two replicas can be equal, with a probability of 2^-48.
    /// Clients compare only refs of one key in one topic.
    pub(super) fn write_ref(&self, clock: u64, out: &mut String) {
        write_digits(self.0.mark, MARK_BITS, out);
        write_digits(clock, u64::BITS - clock.leading_zeros(), out);
    }
}

/// Writes the lowest `bits` of a number, six bits per digit.
fn write_digits(number: u64, bits: u32, out: &mut String) {
    for at in (0..bits.div_ceil(6)).rev() {
        out.push(char::from(DIGITS[(number >> (6 * at)) as usize & 63]));
    }
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.name(), self.shard(), self.incarnation())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn ref_of(replica: &Replica, clock: u64) -> String {
        let mut out = String::new();
        replica.write_ref(clock, &mut out);
        out
    }

    #[test]
    fn refs_are_short_fit_a_url_and_are_unique() {
        let replicas = [("a", 0, 1), ("a", 0, 2), ("a", 1, 1), ("b", 0, 1)]
            .map(|(name, shard, start)| Replica::new(name, shard, start));
        let clocks = (1..200).chain([4_095, 4_096, 262_144, u64::MAX]);
        let refs: Vec<String> =
            clocks.flat_map(|clock| replicas.iter().map(move |replica| ref_of(replica, clock))).collect();
        assert_eq!(refs.iter().collect::<HashSet<_>>().len(), refs.len());
        assert!(refs.iter().flat_map(|text| text.chars()).all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'));
        assert_eq!([1, 63, 64, 4_096, u64::MAX].map(|clock| ref_of(&replicas[0], clock).len()), [9, 9, 10, 11, 19]);
    }

    #[test]
    fn a_restarted_node_is_another_replica_of_the_same_place() {
        let (old, new) = (Replica::new("a", 0, 1), Replica::new("a", 0, 2));
        assert!(old != new && old.is_same_place(&new));
        assert!(!old.is_same_place(&Replica::new("a", 1, 1)) && !old.is_same_place(&Replica::new("b", 0, 1)));
        assert_eq!(format!("{old:?}"), "a/0@1");
    }
}
