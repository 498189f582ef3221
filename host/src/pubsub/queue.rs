//! A queue that stores its first item in place. Most outboxes hold one frame at a time. Such a queue needs no allocation,
//! and no second memory access.

use std::collections::VecDeque;

/// The capacity, in items, that an emptied queue keeps.
const KEPT: usize = 16;

/// A queue of frames, or of droppable frames. If it is empty, `first` is `None`. `first` may also be `None` while `rest`
/// holds items.
pub(super) struct Queue<T> {
    first: Option<T>,
    rest: VecDeque<T>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { first: None, rest: VecDeque::new() }
    }
}

impl<T> Queue<T> {
    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub(super) fn push(&mut self, item: T) {
        if self.is_empty() {
            self.first = Some(item);
        } else {
            self.rest.push_back(item);
        }
    }

    /// Takes the first item, if `wanted` returns true for it.
    pub(super) fn pop_if(&mut self, wanted: impl FnOnce(&T) -> bool) -> Option<T> {
        match &self.first {
            Some(first) => wanted(first).then(|| self.first.take()).flatten(),
            None => self.rest.pop_front_if(|item| wanted(item)),
        }
    }

    /// Takes the first item, if it is the only one and is stored in place.
    #[inline]
    pub(super) fn take_only(&mut self) -> Option<T> {
        if self.rest.is_empty() { self.first.take() } else { None }
    }

    /// The items in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(&self.rest)
    }

    /// The item at this position in the order of [`iter`](Self::iter).
    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        match &mut self.first {
            Some(first) if index == 0 => Some(first),
            Some(_) => self.rest.get_mut(index - 1),
            None => self.rest.get_mut(index),
        }
    }

    /// Moves all items to the end of `items`.
    pub(super) fn move_to(&mut self, items: &mut VecDeque<T>) {
        // Not `extend`, which costs a multiple of this for each delivery.
        if let Some(first) = self.first.take() {
            items.push_back(first);
        }
        if self.rest.capacity() > 0 {
            items.append(&mut self.rest);
            self.rest.shrink_to(KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Frame;

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
        assert!(queue.iter().eq(&frames[2..]));
        assert_eq!((queue.get_mut(1).cloned(), queue.get_mut(2)), (Some(frames[3].clone()), None));
        assert_eq!(queue.take_only(), None);
        let mut moved = VecDeque::from([frames[0].clone()]);
        queue.move_to(&mut moved);
        assert_eq!(moved, [&frames[0], &frames[2], &frames[3]].map(Clone::clone));
        assert!(queue.is_empty());
        queue.push(frames[0].clone());
        assert_eq!(queue.take_only().as_ref(), Some(&frames[0]));
        assert!(queue.is_empty());
    }
}
