//! The published entries of a room, apart from the entries themselves.

use std::sync::Arc;

use bytestring::ByteString;

use crate::counts::Limit;
use crate::entries::{EntriesNode, KeptBytes, Publishing};
use crate::pubsub::StateFrames;
use crate::routes::Route;

/// The published entries of a room, apart from the entries themselves.
pub(in crate::channel::room) struct PublishedEntries {
    /// The prefixes that the route publishes.
    publishes: Arc<[Box<str>]>,
    pub(in crate::channel::room) state: Publishing,
    /// The frames of the kept text.
    pub(in crate::channel::room) frames: Option<StateFrames>,
    kept: KeptBytes,
    /// Whether the entries were rolled back. Then they are published again as a whole.
    is_rolled_back: bool,
    /// Whether a member waits for a whole state until the end of this turn.
    pub(in crate::channel::room) is_awaited: bool,
    /// Whether a turn for the members that have missed changes is posted.
    pub(in crate::channel::room) is_catch_up_posted: bool,
}

/// The frames of a text have about as many bytes as this number of texts: a frame for each serializer.
const FRAMES_WEIGHT: usize = 2;

impl PublishedEntries {
    pub(in crate::channel::room) fn new(publishes: &Arc<[Box<str>]>, node: &Arc<EntriesNode>) -> Self {
        Self {
            publishes: Arc::clone(publishes),
            state: Publishing::new(node.published_missed_bytes()),
            frames: None,
            kept: KeptBytes::none(node),
            is_rolled_back: false,
            is_awaited: false,
            is_catch_up_posted: false,
        }
    }

    /// Whether it has the prefixes of a route. They are the same value, except after a reload.
    pub(in crate::channel::room) fn is_as_in(&mut self, route: &Route) -> bool {
        let wanted = &route.spec.publishes;
        if self.is_rolled_back {
            return false;
        }
        if Arc::ptr_eq(&self.publishes, wanted) {
            return true;
        }
        let is_same = self.publishes == *wanted;
        if is_same {
            self.publishes = Arc::clone(wanted);
        }
        is_same
    }

    /// The entries were rolled back. The kept text is that of later commits.
    pub(in crate::channel::room) fn roll_back(&mut self) {
        self.state.drop_kept();
        self.count_kept();
        self.is_rolled_back = true;
    }

    /// Counts the bytes that it keeps. If the host has no room for them, they are dropped.
    pub(in crate::channel::room) fn count_kept(&mut self) {
        if self.state.text().is_none() {
            self.frames = None;
        }
        if !self.kept.set(self.weight()) {
            Limit::PublishedTexts.hit();
            self.state.drop_kept();
            self.frames = None;
            // Nothing is left, and so this succeeds.
            let _ = self.kept.set(0);
        }
    }

    /// Roughly, its memory in bytes.
    pub(in crate::channel::room) fn weight(&self) -> usize {
        let text = self.state.text().map_or(0, |text| text.len());
        self.state.bytes() + if self.frames.is_some() { FRAMES_WEIGHT * text } else { 0 }
    }

    /// Keeps the text of the whole state of now.
    pub(in crate::channel::room) fn keep(&mut self, text: ByteString) {
        self.state.keep(text);
        self.frames = None;
        self.count_kept();
    }
}
