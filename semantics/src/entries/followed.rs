//! The published entries that a member follows.

use std::sync::Arc;

/// A set of prefixes that members follow: sorted, and no prefix begins with another one. Without prefixes, it has no
/// entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Followed(Arc<[Box<str>]>);

impl Followed {
    /// The set of these prefixes. A prefix that begins with another one is left out, because the other one covers it.
    #[must_use]
    pub fn new<'p>(prefixes: impl IntoIterator<Item = &'p str>) -> Self {
        let mut sorted: Vec<&str> = prefixes.into_iter().collect();
        sorted.sort_unstable();
        // A prefix comes directly before all texts that begin with it.
        sorted.dedup_by(|later, kept| later.starts_with(*kept));
        Self(sorted.into_iter().map(Into::into).collect())
    }

    /// Returns the prefixes, in their order.
    #[must_use]
    pub fn prefixes(&self) -> &[Box<str>] {
        &self.0
    }

    /// Whether an entry belongs to it.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        let after = self.0.partition_point(|prefix| **prefix <= *key);
        after > 0 && key.starts_with(&*self.0[after - 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_no_prefix_twice_and_contains_what_begins_with_one() {
        let set = Followed::new(["hand/bob/", "a", "hand/", "ab", "hand/", "é"]);
        assert_eq!(set.prefixes().iter().map(|prefix| &**prefix).collect::<Vec<_>>(), ["a", "hand/", "é"]);
        assert_eq!(set, Followed::new(["é", "hand/", "a"]));
        let inside = ["a", "ab", "a\u{ff}", "hand/", "hand/bob/1", "é1"];
        assert!(inside.iter().all(|key| set.contains(key)));
        let outside = ["", "b", "hand", "hand0", "z", "ë"];
        assert!(!outside.iter().any(|key| set.contains(key)));
        assert!(!Followed::default().contains("a") && Followed::new([""]).contains("a"));
    }
}
