//! The revisions of the store's content.

/// A version number of the store's content. It is 0 when the host starts, and grows with each batch. In a
/// cluster, each plugin has one of its own, which the database keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(pub(super) u64);

impl Revision {
    /// The revision of a view of a ledger that hasn't read anything. It is later than all others.
    pub(super) const UNREAD: Self = Self(u64::MAX);

    pub(super) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
