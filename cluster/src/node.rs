//! What identifies a node.

use std::fmt;

/// The number of one start of a node. A later start has a greater number. It comes from a sequence of the database, so two nodes never
/// have the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// 128 random bits of one start of a node. A database that lost its last rows may give the same epoch again, but not with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Incarnation(pub [u8; 16]);

/// One start of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeId {
    /// Its number.
    pub epoch: Epoch,
    /// Its random bits.
    pub incarnation: Incarnation,
}

/// The versions of the protocol between nodes that a node understands, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speaks {
    /// The oldest one.
    pub from: u16,
    /// The newest one.
    pub to: u16,
}

impl fmt::Display for Epoch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}
