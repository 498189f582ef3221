//! The frames that wait in an outbox: those that the client must get, and droppable ones among them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::OutboxLimits;
use super::droppables::{DropKey, DroppableCounts, Droppables, Pushed};
use super::queue::Queue;
use crate::counts::{HighWater, Limit};
use crate::protocol::Frame;

/// The most bytes that a driver takes at once. The frames that it holds while it writes come on top of the outbox's
/// limit.
pub(super) const BATCH_BYTES_MAX: usize = 256 << 10;

/// Queued frames, with their bytes.
#[derive(Default)]
pub(super) struct QueuedFrames {
    /// The frames that aren't droppable.
    plain: Queue<Frame>,
    /// The bytes of all frames.
    bytes: usize,
    /// The droppable frames. None if there is none, so that a usual outbox needs no memory for them. If more than a
    /// quarter of the outbox is in use, there is none, except a large frame that was pushed into the empty outbox.
    droppables: Option<Box<Droppables>>,
}

impl QueuedFrames {
    pub(super) fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.droppables.is_none()
    }

    /// Whether it is at most a quarter full, in frames and in bytes. [`make_room`](Self::make_room) was called before. So
    /// the number of droppable frames doesn't matter: if there are any, it is at most a quarter full with them.
    pub(super) fn is_short(&self, limits: OutboxLimits) -> bool {
        is_quarter(limits, self.plain.len(), self.bytes)
    }

    /// Whether it was [short](Self::is_short) before the last frame, of so many bytes.
    pub(super) fn was_short(&self, limits: OutboxLimits, last: usize) -> bool {
        is_quarter(limits, self.plain.len() - 1, self.bytes - last)
    }

    /// Whether a frame of this length doesn't fit. [`make_room`](Self::make_room) was called before.
    pub(super) fn is_full(&self, limits: OutboxLimits, more: usize) -> bool {
        self.plain.len() >= limits.frames || (self.bytes + more > limits.bytes && self.bytes > 0)
    }

    /// The limit by which it is full.
    pub(super) fn full_limit(&self, limits: OutboxLimits) -> Limit {
        if self.plain.len() >= limits.frames { Limit::OutboxFrames } else { Limit::OutboxBytes }
    }

    pub(super) fn note_high_water(&self) {
        let droppable = self.droppables.as_ref().map_or(0, |droppables| droppables.len());
        HighWater::OutboxFrames.note(self.plain.len() + droppable);
        HighWater::OutboxBytes.note(self.bytes);
    }

    #[inline]
    pub(super) fn push(&mut self, frame: Frame) {
        self.bytes += frame.len();
        self.plain.push(frame);
    }

    /// See [`Outbox::has_room_for_state`](super::Outbox::has_room_for_state).
    pub(super) fn has_room_for_state(&self, limits: OutboxLimits) -> bool {
        is_quarter(limits, self.plain.len(), self.plain_bytes())
    }

    /// See [`Outbox::has_room_for_missed`](super::Outbox::has_room_for_missed).
    pub(super) fn has_room_for_missed(&self, limits: OutboxLimits, frames: usize, bytes: usize) -> bool {
        let fits = |used: usize, more: usize, limit: usize| more == 0 || used.saturating_add(more) <= limit / 2;
        fits(self.plain.len(), frames, limits.frames) && fits(self.plain_bytes(), bytes, limits.bytes)
    }

    /// See [`Outbox::push_all_if_short`](super::Outbox::push_all_if_short).
    pub(super) fn push_all_if_short(&mut self, limits: OutboxLimits, frames: &[Frame]) -> bool {
        let (plain, more) = (self.plain_bytes(), frames.iter().map(Frame::len).sum());
        let is_long = plain > 0 && plain.saturating_add(more) > limits.bytes / 2;
        if is_long || !self.has_room_for_state(limits) {
            return false;
        }
        for frame in frames {
            self.make_room(limits, frame.len());
            self.push(frame.clone());
        }
        true
    }

    /// See [`Outbox::push_droppable`](super::Outbox::push_droppable).
    pub(super) fn push_droppable(
        &mut self,
        limits: OutboxLimits,
        frame: &Frame,
        key: DropKey,
        counts: &Arc<DroppableCounts>,
    ) -> Pushed {
        if let Some(old) = self.droppables.as_mut().and_then(|droppables| droppables.replace(key, frame)) {
            self.bytes = self.bytes - old + frame.len();
            self.trim(limits);
            return Pushed::Replaced;
        }
        let fits = is_quarter(limits, self.plain.len() + 1, self.plain_bytes() + frame.len());
        if !self.plain.is_empty() && !fits {
            counts.count_dropped();
            return Pushed::Dropped;
        }
        self.make_room(limits, frame.len());
        self.bytes += frame.len();
        let before = self.plain.len();
        self.droppables.get_or_insert_with(|| Box::new(Droppables::new(counts))).push(key, frame, before);
        Pushed::Queued
    }

    /// Drops the oldest droppable frames until it is at most a quarter full with one more frame, of `more` bytes.
    pub(super) fn make_room(&mut self, limits: OutboxLimits, more: usize) {
        while let Some(droppables) = &self.droppables
            && !is_quarter(limits, self.plain.len() + droppables.len() + 1, self.bytes + more)
        {
            self.drop_oldest();
        }
    }

    /// Takes the only frame. None if there are more, or if it is droppable.
    #[inline]
    pub(super) fn take_only(&mut self) -> Option<Frame> {
        if self.droppables.is_some() {
            return None;
        }
        let only = self.plain.take_only()?;
        HighWater::OutboxFrames.note(1);
        HighWater::OutboxBytes.note(self.bytes);
        self.bytes = 0;
        Some(only)
    }

    /// Moves frames to the end of `frames`: all, or as many as fit into a batch.
    pub(super) fn take(&mut self, frames: &mut VecDeque<Frame>) {
        if self.bytes > BATCH_BYTES_MAX {
            self.split(frames);
        } else if self.droppables.is_some() {
            self.take_all(frames);
        } else {
            self.plain.move_to(frames);
            self.bytes = 0;
        }
    }

    /// Moves all frames to the end of `frames`. Never inlined, because a usual outbox has no droppable frames.
    #[inline(never)]
    pub(super) fn take_all(&mut self, frames: &mut VecDeque<Frame>) {
        while self.droppables.is_some()
            && let Some(frame) = self.pop_if(|_| true)
        {
            frames.push_back(frame);
        }
        self.plain.move_to(frames);
        self.bytes = 0;
    }

    /// Moves one frame, and more as long as all of them together are no longer than a batch.
    #[inline(never)]
    fn split(&mut self, batch: &mut VecDeque<Frame>) {
        let mut taken = 0;
        while let Some(frame) = self.pop_if(|next| taken == 0 || taken + next.len() <= BATCH_BYTES_MAX) {
            taken += frame.len();
            batch.push_back(frame);
        }
        self.bytes -= taken;
    }

    /// Takes the first frame, if `wanted` returns true for it. The caller corrects `bytes`.
    fn pop_if(&mut self, wanted: impl FnOnce(&Frame) -> bool) -> Option<Frame> {
        let Some(droppables) = &mut self.droppables else { return self.plain.pop_if(wanted) };
        if !droppables.is_next() {
            return self.plain.pop_if(wanted).inspect(|_| droppables.pass());
        }
        let frame = droppables.pop_if(wanted);
        self.droppables.take_if(|droppables| droppables.is_empty());
        frame
    }

    /// The bytes of the frames that aren't droppable.
    fn plain_bytes(&self) -> usize {
        self.bytes - self.droppables.as_ref().map_or(0, |droppables| droppables.bytes())
    }

    /// Drops the oldest droppable frames until it is at most a quarter full, or has only one frame.
    fn trim(&mut self, limits: OutboxLimits) {
        while let Some(droppables) = &self.droppables
            && let queued = self.plain.len() + droppables.len()
            && queued > 1
            && !is_quarter(limits, queued, self.bytes)
        {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(droppables) = &mut self.droppables {
            self.bytes -= droppables.drop_oldest();
            self.droppables.take_if(|droppables| droppables.is_empty());
        }
    }
}

/// Whether this number of frames, with these bytes, use at most a quarter of an outbox.
fn is_quarter(limits: OutboxLimits, frames: usize, bytes: usize) -> bool {
    frames <= limits.frames / 4 && bytes <= limits.bytes / 4
}
