//! What a member's client has of the published entries.

use std::collections::BTreeSet;

use super::views::{ALL, ViewId};

/// What a member's client has of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// It needs the whole state.
    Nothing {
        /// The view that it needs.
        view: ViewId,
    },
    /// It has the current state.
    Current {
        /// The view.
        view: ViewId,
        /// The number of the view, less the number of the client's state.
        offset: u32,
    },
    /// It has missed changes.
    Behind(Box<Behind>),
}

/// A client that has missed changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// The view.
    pub view: ViewId,
    /// The number of the last change in the client's state.
    pub since: u64,
    /// The number of the client's state.
    pub number: u64,
}

/// The messages with which a member that has missed changes gets the current state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatchUp {
    /// The number of the first message. It has the patch, if there is a difference.
    pub first: u64,
    /// How many messages without a difference follow. They only raise the number of the client's state.
    pub empty: u64,
    /// The offset of the member afterwards.
    pub offset: u32,
}

/// The most messages without a difference.
const EMPTY_MAX: u64 = 32;

/// The most offsets of a view, without 0.
const OFFSETS_MAX: usize = 8;

impl Default for Shown {
    fn default() -> Self {
        Self::Nothing { view: ALL }
    }
}

impl Shown {
    /// Returns the view.
    #[must_use]
    pub fn view(&self) -> ViewId {
        match self {
            Self::Nothing { view } | Self::Current { view, .. } => *view,
            Self::Behind(behind) => behind.view,
        }
    }

    /// Whether the client has the current state.
    #[must_use]
    pub fn is_current(&self) -> bool {
        matches!(self, Self::Current { .. })
    }

    /// The client gets a change of its view, if it has the state before. `number` is the view's after the change, and
    /// `change` is the number of the commit among all of the topic. `push` gets the number of the client's message, and
    /// returns whether there was room for the message. Returns whether the client has missed the change.
    #[inline]
    pub fn change(&mut self, number: u64, change: u64, push: impl FnOnce(u64) -> bool) -> bool {
        let Self::Current { view, offset } = *self else { return false };
        let own = number.saturating_sub(offset.into());
        if push(own) {
            return false;
        }
        *self = Self::Behind(Box::new(Behind { view, since: change.saturating_sub(1), number: own.saturating_sub(1) }));
        true
    }
}

impl Behind {
    /// Plans the messages for a member. `number` is its view's, `has_patch` says whether the changes that it has missed have
    /// made a difference, and `in_use` are the offsets of the view's other members. Returns none if the member has to get
    /// the whole state.
    #[must_use]
    pub fn catch_up(&self, number: u64, has_patch: bool, in_use: &BTreeSet<u32>) -> Option<CatchUp> {
        let first = self.number + 1;
        // The number of its state after the patch. It can't be above the view's: the patch stands for a change of the view.
        let reached = if has_patch { first } else { self.number };
        let offset = number.checked_sub(reached)?;
        if offset <= EMPTY_MAX {
            return Some(CatchUp { first, empty: offset, offset: 0 });
        }
        let offset = u32::try_from(offset).ok()?;
        let nearest = in_use.range(..=offset).next_back().copied().filter(|near| u64::from(offset - near) <= EMPTY_MAX);
        match nearest {
            Some(near) => Some(CatchUp { first, empty: u64::from(offset - near), offset: near }),
            None => {
                let others = in_use.iter().filter(|other| **other > 0).count();
                (others < OFFSETS_MAX).then_some(CatchUp { first, empty: 0, offset })
            }
        }
    }
}
