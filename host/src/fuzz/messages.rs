//! The messages of clients, and the rules of a socket.

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::IgnoredAny;

use crate::protocol::{Addressee, Frame, Incoming, Message, Outbound, Payload, Ref, Serializer, event};
use crate::socket::{Action, Slot, SocketState};

/// Every frame that can be read can be answered, and the answer is a valid frame.
pub(super) fn frames(bytes: &[u8]) -> bool {
    let mut is_read = false;
    let text = std::str::from_utf8(bytes).ok().map(|text| Incoming::Text(ByteString::from(text)));
    for incoming in text.into_iter().chain([Incoming::Binary(Bytes::copy_from_slice(bytes))]) {
        for serializer in [Serializer::V1, Serializer::V2, Serializer::Supabase] {
            if let Ok(message) = serializer.decode(&incoming) {
                check_broadcast(&message);
                check_reply(serializer, &message);
                is_read = true;
            }
        }
    }
    is_read
}

/// Checks the frame by which other clients of Supabase get the message: they can read all of it.
fn check_broadcast(message: &Message) {
    let Message { to: Addressee::Topic(topic), event, payload, .. } = message else { return };
    let Some(frame) = Serializer::Supabase.encode(Outbound::Broadcast { topic, event, payload }) else { return };
    if frame.as_text().is_some() || frame.message()[0] != 4 {
        return;
    }
    let [_, topic, event, metadata, encoding, rest @ ..] = frame.message() else { panic!("a frame has a header") };
    let (fields, payload) = rest.split_at(usize::from(*topic) + usize::from(*event) + usize::from(*metadata));
    let (names, metadata) = fields.split_at(usize::from(*topic) + usize::from(*event));
    assert!(std::str::from_utf8(names).is_ok(), "the names are text");
    for json in [(*encoding == 1).then_some(payload), (!metadata.is_empty()).then_some(metadata)].into_iter().flatten()
    {
        assert!(serde_json::from_slice::<IgnoredAny>(json).is_ok(), "the payload is JSON");
    }
}

fn check_reply(serializer: Serializer, message: &Message) {
    let Message { join_ref, reference, to, payload, .. } = message;
    for payload in [payload, &Payload::EMPTY] {
        let reply = Outbound::Reply { join_ref, reference, to: to.into(), status: "ok", payload };
        if let Some(text) = serializer.encode(reply).as_ref().and_then(Frame::as_text) {
            assert!(serde_json::from_str::<IgnoredAny>(text).is_ok(), "{text} is an answer");
            // If it is read as a message of the same version, it has the same refs and the same topic.
            if serializer == Serializer::V2 {
                let back = serializer.decode(&Incoming::Text(text.into())).expect("an array of five");
                assert_eq!((&back.join_ref, &back.reference, &back.to), (join_ref, reference, to));
            }
        }
    }
}

/// The maximum number of channels in [`socket`].
const CHANNELS_MAX: usize = 3;

/// A channel of the model.
#[derive(Clone, Debug, PartialEq)]
struct Channel {
    number: usize,
    topic: String,
    join_ref: Ref,
    has_ended: bool,
}

impl Slot for Channel {
    fn join_ref(&self) -> &Ref {
        &self.join_ref
    }

    fn topic(&self) -> &str {
        &self.topic
    }

    fn has_ended(&self) -> bool {
        self.has_ended
    }
}

/// Each line is a message of a client in version 2, or `!`, after which the channel of a topic ends. A plain list of all
/// channels that were ever joined says what must happen.
pub(super) fn socket(bytes: &[u8]) -> bool {
    let (mut state, mut joins): (_, Vec<Channel>) = (SocketState::new(CHANNELS_MAX), Vec::new());
    let mut has_joined = false;
    for line in bytes.split(|byte| *byte == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else { continue };
        if let Some(topic) = line.strip_prefix('!') {
            // The channel tells its socket that it has ended by a flag that both share.
            for ended in joins.iter_mut().filter(|joined| joined.topic == topic && !joined.has_ended) {
                ended.has_ended = true;
                state.joining(ended.clone());
            }
            continue;
        }
        let Ok(message) = Serializer::V2.decode(&Incoming::Text(line.into())) else { continue };
        let action = state.on(message.clone(), |topic| topic.starts_with("room:"));
        check_action(&joins, &message, &action);
        if let Action::Join { message, topic, .. } = action {
            let (number, join_ref) = (joins.len(), message.reference);
            let channel = Channel { number, topic, join_ref, has_ended: false };
            joins.iter_mut().filter(|earlier| earlier.topic == channel.topic).for_each(|it| it.has_ended = true);
            state.joining(channel.clone());
            joins.push(channel);
            has_joined = true;
        }
    }
    let alive = joins.iter().filter(|joined| !joined.has_ended).count();
    assert!(alive <= CHANNELS_MAX, "{alive} channels");
    assert_eq!(state.take().filter(|channel| !channel.has_ended).count(), alive, "no living channel is forgotten");
    has_joined
}

/// Checks an action against the joins before it.
fn check_action(joins: &[Channel], message: &Message, action: &Action<Channel>) {
    let topic = match &message.to {
        Addressee::Topic(topic) => &**topic,
        Addressee::Other(_) => "",
    };
    let last = joins.iter().rfind(|joined| joined.topic == topic);
    let living = last.filter(|joined| !joined.has_ended);
    match action {
        Action::Event { channel, message } | Action::Leave { channel, message } => {
            assert_eq!(Some(channel), living, "only the topic's living channel gets messages");
            let is_current = message.join_ref.is_null() || message.join_ref == channel.join_ref;
            assert!(is_current, "a message of an earlier join reaches no channel");
            assert_eq!(matches!(action, Action::Leave { .. }), &*message.event == event::LEAVE);
        }
        Action::Join { topic, after, .. } => {
            assert!(&*message.event == event::JOIN && topic.starts_with("room:"));
            assert!(after.as_ref().is_none_or(|after| Some(after) == last), "it follows the topic's last channel");
            assert!(living.is_none() || after.is_some(), "a living channel is replaced, and not forgotten");
        }
        Action::Ignore => assert!(living.is_some_and(|it| it.join_ref != message.join_ref), "nothing else is ignored"),
        Action::Reply { reference, .. } => {
            let is_long = message.reference.json().len() > 255;
            assert!(is_long || *reference == message.reference, "a reply has the message's ref");
            // A living channel's messages are refused only because of a long name.
            let is_refused = message.join_ref.json().len() > 255 || is_long || message.event.len() > 255;
            assert!(living.is_none() || is_refused || topic == event::HEARTBEAT_TOPIC, "{message:?}");
        }
    }
}
