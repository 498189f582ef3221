//! The frames of a whole state of published entries.

use bytestring::ByteString;

use crate::protocol::{DeflateCount, Frame, Outbound, Payload, Serializer, Topic};

/// The event that carries the whole of the entries.
const STATE: &str = "room_state";

/// A state that is longer than this has space for any number, so that its frames can get another one. A shorter state is
/// encoded again.
const LONG: usize = 4 << 10;

/// The digits of the largest number.
const DIGITS_MAX: usize = 20;

/// The frames of a whole state, with its number. Members that join one after another get the same frames. If the state's
/// number has changed meanwhile, a frame gets the new number in place, unless it still waits in an outbox: to encode a long
/// state again costs several times what it costs to write it to a socket.
pub struct StateFrames {
    topic: Topic,
    number: u64,
    text: ByteString,
    /// By serializer.
    plain: [Option<Frame>; Serializer::COUNT],
    /// The inner value is none if the compression isn't worth it.
    deflated: [Option<Option<Frame>>; Serializer::COUNT],
}

impl StateFrames {
    /// Creates it with no frame encoded. `text` is that of the object of all entries.
    #[must_use]
    pub fn new(topic: Topic, number: u64, text: ByteString) -> Self {
        Self { topic, number, text, plain: Default::default(), deflated: Default::default() }
    }

    /// Gives the state another number.
    pub fn set_number(&mut self, number: u64) {
        if number == self.number {
            return;
        }
        self.number = number;
        self.deflated = Default::default();
        let digits = digits(number);
        for frame in &mut self.plain {
            frame.take_if(|frame| self.text.len() <= LONG || !overwrite(frame, &digits));
        }
    }

    /// Returns the frame, compressed if the subscriber `deflates` and the compression is worth it. None if the serializer
    /// can't carry it.
    pub fn frame(&mut self, serializer: Serializer, deflates: bool) -> Option<&Frame> {
        let index = serializer.index();
        if self.plain[index].is_none() {
            let payload = Payload::Json(self.payload().into());
            let message = Outbound::Broadcast { topic: self.topic.as_str(), event: STATE, payload: &payload };
            self.plain[index] = serializer.encode(message);
        }
        let plain = self.plain[index].as_ref()?;
        if !deflates {
            return Some(plain);
        }
        let deflated = self.deflated[index].get_or_insert_with(|| plain.deflated_at_once(Frame::SHARED_BYTES_MIN));
        let Some(deflated) = deflated else { return Some(plain) };
        DeflateCount::BytesSaved.add(plain.len() - deflated.len());
        Some(deflated)
    }

    fn payload(&self) -> String {
        let Self { number, text, .. } = self;
        if text.len() > LONG {
            format!("{{\"n\":{},\"state\":{text}}}", digits(*number))
        } else {
            format!("{{\"n\":{number},\"state\":{text}}}")
        }
    }
}

/// A number, with spaces behind it up to the length of the largest number. JSON allows them.
fn digits(number: u64) -> String {
    format!("{number:<DIGITS_MAX$}")
}

/// Writes a number over the one of a long state. Returns false if somebody else has the frame.
fn overwrite(frame: &mut Frame, digits: &str) -> bool {
    // Before the payload there are only JSON strings, in which a quote is escaped. So this is its first field.
    const FIELD: &[u8] = b"{\"n\":";
    let Some(wire) = frame.exclusive() else { return false };
    let field = wire.windows(FIELD.len()).position(|bytes| bytes == FIELD);
    let number = field.and_then(|at| wire.get_mut(at + FIELD.len()..)?.get_mut(..digits.len()));
    number.map(|number| number.copy_from_slice(digits.as_bytes())).is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn state(text: &str) -> StateFrames {
        StateFrames::new("a {\"n\":1} \\".into(), 1, text.into())
    }

    /// Returns the payload of a frame.
    fn payload(frame: &Frame) -> Value {
        let message: Value = serde_json::from_str(frame.as_text().expect("text")).expect("JSON");
        message.get("payload").unwrap_or(&message[4]).clone()
    }

    #[test]
    fn a_frame_gets_another_number_in_place() {
        let text = json!({ "k": "v".repeat(LONG) });
        for serializer in [Serializer::V1, Serializer::V2] {
            let mut state = state(&text.to_string());
            let first = state.frame(serializer, false).expect("a frame").wire().as_ptr();
            for number in [2, u64::MAX, 30] {
                state.set_number(number);
                let frame = state.frame(serializer, false).expect("a frame");
                assert_eq!(payload(frame), json!({ "n": number, "state": text }));
                assert_eq!(frame.wire().as_ptr(), first);
            }
        }
    }

    #[test]
    fn a_frame_that_waits_in_an_outbox_keeps_its_number() {
        for length in [1, LONG] {
            let text = json!({ "k": "v".repeat(length) });
            let mut state = state(&text.to_string());
            let waiting = state.frame(Serializer::V2, false).expect("a frame").clone();
            state.set_number(2);
            assert_eq!(payload(state.frame(Serializer::V2, false).expect("a frame"))["n"], 2);
            assert_eq!(payload(&waiting)["n"], 1);
        }
    }

    #[test]
    fn a_compressed_frame_has_the_number_of_the_plain_one() {
        let mut state = state(&json!({ "k": "v".repeat(2 * LONG) }).to_string());
        let first = state.frame(Serializer::V2, true).expect("a frame").clone();
        state.set_number(2);
        let second = state.frame(Serializer::V2, true).expect("a frame").clone();
        assert_eq!(state.plain[Serializer::V2.index()].as_ref().and_then(Frame::deflated), Some(second.clone()));
        assert_ne!(first, second);
    }
}
