//! The requirements of an effect: what its callback must have, and what its commit needs.

use crate::{Capability, Grant, Topic};

/// What an effect needs when its call has succeeded. If it is missing, the call fails before any effect is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need<'a> {
    /// No more than a place in the queue of the topic's own frames, which every effect may take.
    Nothing,
    /// The topic's room, which its route may not have.
    Room,
    /// A place in the member's own mailbox, for this number of bytes.
    Mailbox(usize),
    /// This number of bytes of the member's mailbox, until a timer fires.
    Timer(usize),
    /// A place in the queue of another topic's frames.
    Audience(&'a Topic),
    /// A place in the turn queue of another topic, for this number of bytes.
    Message(&'a Topic, usize),
    /// A place in a queue of each member that it is addressed to: the mailbox, or the queue of the topic's frames.
    Addressees,
}

/// The requirements of an effect, apart from the checks of its values.
pub(crate) struct Rule<'a> {
    /// What the callback must be allowed to ask for.
    pub(crate) capability: Capability,
    /// The bytes that count against the limit of the call.
    pub(crate) bytes: usize,
    /// What the commit needs.
    pub(crate) need: Need<'a>,
    /// What the plugin must be granted.
    pub(crate) grant: Grant<'a>,
}

impl<'a> Rule<'a> {
    /// An effect that needs no more than this capability, and counts with these bytes.
    #[inline]
    pub(crate) fn new(capability: Capability, bytes: usize) -> Self {
        Self { capability, bytes, need: Need::Nothing, grant: Grant::Own }
    }

    #[inline]
    pub(crate) fn need(self, need: Need<'a>) -> Self {
        Self { need, ..self }
    }

    #[inline]
    pub(crate) fn grant(self, grant: Grant<'a>) -> Self {
        Self { grant, ..self }
    }
}
