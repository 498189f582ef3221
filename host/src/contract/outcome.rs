//! What comes out of a plugin.

use bytes::Bytes;

use super::{Answer, Effect};
use crate::entries::PendingEntries;
use crate::store::Draft;

/// What follows from a call.
#[derive(Debug)]
pub struct Outcome {
    /// The member's new state, if it changed.
    pub assigns: Option<Bytes>,
    /// The topic's new shared state, if it changed. Without bytes it is as if nobody had written it.
    pub room: Option<Bytes>,
    /// The changes of the topic's entries, if there are any.
    pub entries: Option<Box<PendingEntries>>,
    /// What it read of the store and wants written to it, if it asked for either.
    pub draft: Option<Box<Draft>>,
    /// What it asked for, in order.
    pub effects: Vec<Effect>,
    /// What the client is told.
    pub answer: Answer,
}
