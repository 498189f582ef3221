//! A queue of frames that stores its first frame in place. Most outboxes hold one frame at a time. Such a queue needs
//! no allocation, and no second memory access.

use std::collections::VecDeque;

use crate::protocol::Frame;

/// The capacity, in frames, that an emptied queue keeps.
const KEPT: usize = 16;

/// A queue of frames. If it is empty, `first` is `None`. `first` may also be `None` while `rest` holds frames.
#[derive(Default)]
pub(super) struct Queue {
    first: Option<Frame>,
    rest: VecDeque<Frame>,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn push(&mut self, frame: Frame) {
        if self.is_empty() {
            self.first = Some(frame);
        } else {
            self.rest.push_back(frame);
        }
    }

    /// Takes the first frame, if `wanted` returns true for it.
    pub(super) fn pop_if(&mut self, wanted: impl FnOnce(&Frame) -> bool) -> Option<Frame> {
        match &self.first {
            Some(first) => wanted(first).then(|| self.first.take()).flatten(),
            None => self.rest.pop_front_if(|frame| wanted(frame)),
        }
    }

    /// Moves all frames to the end of `frames`.
    pub(super) fn move_to(&mut self, frames: &mut VecDeque<Frame>) {
        frames.extend(self.first.take());
        if self.rest.capacity() > 0 {
            frames.append(&mut self.rest);
            self.rest.shrink_to(KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_keep_their_order_for_every_way_of_taking_them() {
        let frames = ["one", "two", "three", "four"].map(Frame::text);
        let mut queue = Queue::default();
        assert!(queue.is_empty() && queue.pop_if(|_| true).is_none());
        frames[..3].iter().for_each(|frame| queue.push(frame.clone()));
        assert_eq!((queue.pop_if(|_| false), queue.len()), (None, 3));
        assert_eq!(queue.pop_if(|_| true).as_ref(), Some(&frames[0]));
        assert_eq!(queue.pop_if(|frame| *frame == frames[1]).as_ref(), Some(&frames[1]));
        queue.push(frames[3].clone());
        let mut moved = VecDeque::from([frames[0].clone()]);
        queue.move_to(&mut moved);
        assert_eq!(moved, [&frames[0], &frames[2], &frames[3]].map(Clone::clone));
        assert!(queue.is_empty());
    }
}
