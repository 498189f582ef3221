//! The topics with their members, and the frames that this turn sends to them.

use std::collections::HashMap;

use crate::wire::frame;

/// All topics that were ever joined.
#[derive(Default)]
pub(super) struct Topics {
    numbers: HashMap<Vec<u8>, usize>,
    topics: Vec<Topic>,
    /// The numbers of the topics that have frames to send.
    shouted: Vec<usize>,
}

#[derive(Default)]
struct Topic {
    members: Vec<usize>,
    /// The frames of this turn, which all members share.
    frames: Vec<u8>,
}

impl Topics {
    pub(super) fn number(&self, name: &[u8]) -> Option<usize> {
        self.numbers.get(name).copied()
    }

    /// Adds a member and returns the topic's number.
    pub(super) fn join(&mut self, name: &[u8], client: usize) -> usize {
        let number = self.number(name).unwrap_or_else(|| {
            self.numbers.insert(name.to_vec(), self.topics.len());
            self.topics.push(Topic::default());
            self.topics.len() - 1
        });
        self.topics[number].members.push(client);
        number
    }

    pub(super) fn leave(&mut self, number: usize, client: usize) {
        let members = &mut self.topics[number].members;
        if let Some(at) = members.iter().position(|member| *member == client) {
            members.swap_remove(at);
        }
    }

    /// Adds a frame, which all members get at the end of the turn.
    pub(super) fn shout(&mut self, name: &[u8], text: &[u8]) {
        let Some(number) = self.number(name) else { return };
        let frames = &mut self.topics[number].frames;
        if frames.is_empty() {
            self.shouted.push(number);
        }
        frame::write(frame::TEXT, text, frames);
    }

    /// Calls `give` with each member of each topic and the frames of the turn. A member of several topics gets several
    /// calls.
    pub(super) fn hand_out(&mut self, mut give: impl FnMut(usize, &[u8])) {
        for number in self.shouted.drain(..) {
            let Topic { members, frames } = &mut self.topics[number];
            members.iter().for_each(|client| give(*client, frames));
            frames.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shout_goes_to_all_members() {
        let mut topics = Topics::default();
        let (first, second) = (topics.join(b"a", 1), topics.join(b"b", 2));
        assert_eq!((topics.join(b"a", 3), topics.number(b"b"), topics.number(b"c")), (first, Some(second), None));
        let handed_out = |topics: &mut Topics| {
            let mut out = Vec::new();
            topics.hand_out(|client, frames| out.push((client, frames.to_vec())));
            out
        };
        topics.shout(b"a", b"hi");
        topics.shout(b"a", b"ho");
        topics.shout(b"c", b"nobody");
        let frames = b"\x81\x02hi\x81\x02ho".to_vec();
        assert_eq!(handed_out(&mut topics), [(1, frames.clone()), (3, frames)]);
        assert_eq!(handed_out(&mut topics), []);
        topics.leave(first, 1);
        topics.shout(b"a", b"hi");
        assert_eq!(handed_out(&mut topics), [(3, b"\x81\x02hi".to_vec())]);
    }
}
