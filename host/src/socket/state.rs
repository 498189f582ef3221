//! The rules of joins, leaves and refs.
//!
//! They apply in the same order as in Phoenix (`Phoenix.Socket`, `handle_in`). `docs/protocol.md` lists them with their
//! answers.

use crate::counts::Limit;
use crate::protocol::{Addressee, Message, NAME_BYTES_MAX, Payload, REF_BYTES_MAX, Ref, event};

/// The properties of a channel that the rules need.
pub trait Slot: Clone {
    /// Returns the ref of its join.
    fn join_ref(&self) -> &Ref;
    /// Returns its topic.
    fn topic(&self) -> &str;
    /// Whether it has ended.
    fn has_ended(&self) -> bool;
}

/// The action for a message.
#[derive(Debug, PartialEq)]
pub enum Action<C> {
    /// Send this reply.
    Reply {
        /// The join ref of the answer.
        join_ref: Ref,
        /// The ref of the message.
        reference: Ref,
        /// The topic, or the value that the client sent in its place.
        to: Addressee,
        /// `ok` or `error`.
        status: &'static str,
        /// The response.
        payload: Payload,
    },
    /// Create a channel and let it join. Then call [`SocketState::joining`].
    Join {
        /// The message.
        message: Message,
        /// The topic.
        topic: String,
        /// The topic's last channel on this socket, whether it has ended or not. Its queued events come before the
        /// join.
        after: Option<C>,
    },
    /// Pass the leave to the channel.
    Leave {
        /// The channel.
        channel: C,
        /// The message.
        message: Message,
    },
    /// Pass the event to the channel.
    Event {
        /// The channel.
        channel: C,
        /// The message.
        message: Message,
    },
    /// Ignore the message: it belongs to an earlier join.
    Ignore,
}

/// The channels of a socket.
pub struct SocketState<C> {
    /// Sorted by topic. This is a vector and not a map, because most sockets have one or two channels, and each channel
    /// stores its topic.
    channels: Vec<C>,
    channels_max: usize,
}

impl<C: Slot> SocketState<C> {
    /// Creates the state of a socket without channels, which may join up to `channels_max`.
    #[must_use]
    pub fn new(channels_max: usize) -> Self {
        Self { channels: Vec::new(), channels_max }
    }

    /// Returns the action for a message. `is_served` returns whether a route matches a topic.
    pub fn on(&mut self, message: Message, is_served: impl FnOnce(&str) -> bool) -> Action<C> {
        if message.join_ref.json().len() > REF_BYTES_MAX || message.reference.json().len() > REF_BYTES_MAX {
            return refuse_long_ref(message);
        }
        let topic = match &message.to {
            Addressee::Topic(topic) => topic.clone(),
            Addressee::Other(_) if &*message.event == event::LEAVE => return left(message),
            Addressee::Other(_) => return unmatched(message),
        };
        if &*topic == event::HEARTBEAT_TOPIC && &*message.event == event::HEARTBEAT {
            return Action::Reply {
                join_ref: Ref::NULL,
                reference: message.reference,
                to: message.to,
                status: "ok",
                payload: Payload::EMPTY,
            };
        }
        if topic.len() > NAME_BYTES_MAX {
            Limit::NameBytes.hit();
            return refuse(message, "the topic is longer than 255 bytes");
        }
        if message.event.len() > NAME_BYTES_MAX {
            Limit::NameBytes.hit();
            return refuse(message, "the event is longer than 255 bytes");
        }
        let last = self.place(&topic).ok().map(|place| self.channels[place].clone());
        let joined = last.clone().filter(|channel| !channel.has_ended());
        let is_current = |channel: &C| message.join_ref.is_null() || message.join_ref == *channel.join_ref();
        match (&*message.event, joined) {
            (event::JOIN, Some(_)) => Action::Join { message, topic: topic.to_string(), after: last },
            (event::JOIN, None) => self.join(message, topic.to_string(), last, is_served),
            (event::LEAVE, Some(channel)) if is_current(&channel) => Action::Leave { channel, message },
            (event::LEAVE, None) => left(message),
            (_, Some(channel)) if is_current(&channel) => Action::Event { channel, message },
            (_, Some(_)) => Action::Ignore,
            (_, None) => unmatched(message),
        }
    }

    /// Handles a join of a topic that isn't joined.
    fn join(
        &mut self,
        message: Message,
        topic: String,
        after: Option<C>,
        is_served: impl FnOnce(&str) -> bool,
    ) -> Action<C> {
        if !is_served(&topic) {
            return unmatched(message);
        }
        if self.channels.len() >= self.channels_max {
            self.channels.retain(|channel| !channel.has_ended());
        }
        if self.channels.len() >= self.channels_max {
            Limit::ChannelsPerSocket.hit();
            return refuse(message, "too many channels joined");
        }
        Action::Join { message, topic, after }
    }

    /// Stores the channel that was created for a join. It replaces the topic's previous one.
    pub fn joining(&mut self, channel: C) {
        match self.place(channel.topic()) {
            Ok(place) => self.channels[place] = channel,
            Err(place) => {
                if self.channels.is_empty() {
                    self.channels.reserve_exact(1);
                }
                self.channels.insert(place, channel);
            }
        }
    }

    /// Returns the index of a topic's channel, or the index at which to insert it.
    fn place(&self, topic: &str) -> Result<usize, usize> {
        self.channels.binary_search_by(|channel| channel.topic().cmp(topic))
    }

    /// Removes and returns all channels, when the socket ends.
    pub fn take(&mut self) -> impl Iterator<Item = C> + use<C> {
        std::mem::take(&mut self.channels).into_iter()
    }
}

/// The leave of a topic that isn't joined succeeds, as in Phoenix.
fn left<C>(message: Message) -> Action<C> {
    let Message { join_ref, reference, to, .. } = message;
    Action::Reply { join_ref, reference, to, status: "ok", payload: Payload::EMPTY }
}

fn refuse_long_ref<C>(message: Message) -> Action<C> {
    Limit::NameBytes.hit();
    let short = |it: Ref| if it.json().len() > REF_BYTES_MAX { Ref::NULL } else { it };
    let message = Message { join_ref: short(message.join_ref), reference: short(message.reference), ..message };
    refuse(message, "a ref is longer than 255 bytes")
}

fn unmatched<C>(message: Message) -> Action<C> {
    let Message { reference, to, .. } = message;
    Action::Reply { join_ref: Ref::NULL, reference, to, status: "error", payload: Payload::reason("unmatched topic") }
}

fn refuse<C>(message: Message, reason: &str) -> Action<C> {
    let Message { join_ref, reference, to, .. } = message;
    Action::Reply { join_ref, reference, to, status: "error", payload: Payload::reason(reason) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Fake {
        topic: &'static str,
        join_ref: Ref,
        has_ended: bool,
    }

    impl Slot for Fake {
        fn join_ref(&self) -> &Ref {
            &self.join_ref
        }

        fn topic(&self) -> &str {
            self.topic
        }

        fn has_ended(&self) -> bool {
            self.has_ended
        }
    }

    fn message(join_ref: &str, reference: &str, topic: &str, event: &str) -> Message {
        Message {
            join_ref: Ref::from_json(join_ref.into()),
            reference: Ref::from_json(reference.into()),
            to: Addressee::Topic(topic.into()),
            event: event.into(),
            payload: Payload::EMPTY,
        }
    }

    /// A socket that has joined `room:a` with the join ref `"1"`.
    fn joined() -> SocketState<Fake> {
        let mut state = SocketState::new(2);
        state.joining(Fake { topic: "room:a", join_ref: Ref::from_text("1"), has_ended: false });
        state
    }

    /// Describes the action for a message: one word, or a reply's status, join ref and payload.
    fn on(state: &mut SocketState<Fake>, message: Message) -> String {
        match state.on(message, |topic| topic.starts_with("room:")) {
            Action::Reply { join_ref, status, payload: Payload::Json(json), .. } => {
                format!("{status} {} {json}", join_ref.json())
            }
            Action::Reply { .. } => "binary".into(),
            Action::Join { after: None, .. } => "join".into(),
            Action::Join { after: Some(_), .. } => "join after".into(),
            Action::Leave { .. } => "leave".into(),
            Action::Event { .. } => "event".into(),
            Action::Ignore => "ignore".into(),
        }
    }

    #[test]
    fn each_message_leads_to_the_action_of_the_first_rule_that_matches() {
        let unmatched = r#"error null {"reason":"unmatched topic"}"#;
        let cases = [
            (r#""9""#, "phoenix", "heartbeat", "ok null {}"),
            ("null", "phoenix", "other", unmatched),
            (r#""2""#, "other", "phx_join", unmatched),
            (r#""2""#, "room:b", "phx_join", "join"),
            (r#""2""#, "room:a", "phx_join", "join after"),
            (r#""1""#, "room:a", "phx_join", "join after"),
            (r#""1""#, "room:a", "phx_leave", "leave"),
            ("null", "room:a", "phx_leave", "leave"),
            (r#""2""#, "room:a", "phx_leave", "ignore"),
            (r#""3""#, "room:b", "phx_leave", r#"ok "3" {}"#),
            ("null", "other", "phx_leave", "ok null {}"),
            (r#""1""#, "room:a", "msg", "event"),
            ("null", "room:a", "msg", "event"),
            ("1", "room:a", "msg", "ignore"),
            (r#""1""#, "room:b", "msg", unmatched),
            (r#""1""#, "", "msg", unmatched),
            (r#""1""#, "room:a", "phx_close", "event"),
        ];
        for (join_ref, topic, event, expected) in cases {
            assert_eq!(
                on(&mut joined(), message(join_ref, r#""7""#, topic, event)),
                expected,
                "{join_ref} {topic} {event}"
            );
        }
    }

    #[test]
    fn names_over_the_limit_are_refused() {
        let long = "x".repeat(256);
        let refused = r#"error "2" {"reason":"the topic is longer than 255 bytes"}"#;
        assert_eq!(on(&mut joined(), message(r#""2""#, r#""2""#, &format!("room:{long}"), "phx_join")), refused);
        let refused = r#"error "1" {"reason":"the event is longer than 255 bytes"}"#;
        assert_eq!(on(&mut joined(), message(r#""1""#, r#""2""#, "room:a", &long)), refused);
        let refused = r#"error null {"reason":"a ref is longer than 255 bytes"}"#;
        assert_eq!(on(&mut joined(), message(&format!("\"{long}\""), r#""2""#, "room:a", "phx_join")), refused);
    }

    #[test]
    fn a_topic_that_is_no_string_can_be_left_and_nothing_else() {
        let to = |event| Message { to: Addressee::Other("5".into()), ..message("null", r#""1""#, "", event) };
        assert_eq!(on(&mut joined(), to("phx_leave")), "ok null {}");
        assert_eq!(on(&mut joined(), to("phx_join")), r#"error null {"reason":"unmatched topic"}"#);
    }

    #[test]
    fn a_socket_has_a_maximum_of_channels_and_ended_ones_make_room() {
        let mut state = joined();
        state.joining(Fake { topic: "room:b", join_ref: Ref::from_text("2"), has_ended: false });
        let join = || message(r#""3""#, r#""3""#, "room:c", "phx_join");
        assert_eq!(on(&mut state, join()), r#"error "3" {"reason":"too many channels joined"}"#);
        assert_eq!(on(&mut state, message(r#""3""#, r#""3""#, "room:b", "phx_join")), "join after");
        state.joining(Fake { topic: "room:b", join_ref: Ref::from_text("2"), has_ended: true });
        assert_eq!(
            on(&mut state, message(r#""2""#, r#""3""#, "room:b", "msg")),
            r#"error null {"reason":"unmatched topic"}"#
        );
        assert_eq!(on(&mut state, join()), "join");
    }
}
