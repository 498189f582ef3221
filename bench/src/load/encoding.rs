//! Encodes and decodes the messages of clients, in each protocol.

use clap::ValueEnum;

use super::clients::ClientEvent;
use crate::wire::engine::{self, Packet};
use crate::wire::phoenix::{Message, is_ok, number};

/// The protocol that a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum Dialect {
    /// Phoenix Channels, V2
    Phoenix,
    /// Socket.IO 4
    SocketIo,
}

/// A message of a client. `topic` is the number of a topic. The server's answer has the same `reference`.
#[derive(Clone, Copy)]
pub(crate) enum ClientMessage {
    Join {
        topic: usize,
        reference: u64,
    },
    Leave {
        topic: usize,
        reference: u64,
    },
    Echo {
        topic: usize,
        reference: u64,
    },
    /// Goes to all members, with the time `at` which it was sent.
    Shout {
        topic: usize,
        at: u64,
    },
    /// A heartbeat.
    Heartbeat {
        reference: u64,
    },
}

/// A message of a server.
pub(super) enum ServerMessage<'a> {
    Event(ClientEvent<'a>),
    /// A message of the protocol itself, which the client has to answer with these bytes.
    Answer(&'static [u8]),
    Nothing,
}

/// The encoding of messages.
pub(crate) struct Encoding {
    pub(crate) dialect: Dialect,
    /// The prefix of topic names. The topic's number follows it.
    pub(crate) topics: String,
    /// The text that fills a payload.
    pub(crate) filling: String,
    /// The fields of a payload as JSON, in place of the field with the filling.
    pub(crate) fields: Option<String>,
    /// The name of the event that is answered with its payload, in Phoenix's protocol.
    pub(crate) echo: String,
}

impl Encoding {
    /// Creates an encoding. Payloads have `payload` bytes of filling, in addition to their keys.
    pub(crate) fn new(dialect: Dialect, topics: &str, payload: usize) -> Self {
        Self { dialect, topics: topics.to_owned(), filling: "x".repeat(payload), fields: None, echo: "echo".into() }
    }

    /// The path that clients connect to.
    pub(super) fn path(&self) -> &'static str {
        match self.dialect {
            Dialect::Phoenix => "/socket/websocket?vsn=2.0.0",
            Dialect::SocketIo => "/socket.io/?EIO=4&transport=websocket",
        }
    }

    /// Encodes a message into `scratch`, which is cleared first.
    pub(super) fn write(&self, message: ClientMessage, scratch: &mut Vec<u8>) {
        scratch.clear();
        match self.dialect {
            Dialect::Phoenix => self.write_phoenix(message, scratch),
            Dialect::SocketIo => self.write_socket_io(message, scratch),
        }
    }

    fn write_phoenix(&self, message: ClientMessage, out: &mut Vec<u8>) {
        let mut head = |reference, topic, event| {
            out.extend_from_slice(b"[\"1\",\"");
            digits(reference, out);
            out.extend_from_slice(b"\",\"");
            self.topic(topic, out);
            out.extend_from_slice(event);
        };
        match message {
            ClientMessage::Join { topic, reference } => head(reference, topic, b"\",\"phx_join\",{}]"),
            ClientMessage::Leave { topic, reference } => head(reference, topic, b"\",\"phx_leave\",{}]"),
            ClientMessage::Echo { topic, reference } => {
                head(reference, topic, b"\",\"");
                out.extend_from_slice(self.echo.as_bytes());
                out.extend_from_slice(b"\",");
                self.payload(None, out);
                out.push(b']');
            }
            ClientMessage::Shout { topic, at } => {
                head(0, topic, b"\",\"shout\",");
                self.payload(Some(at), out);
                out.push(b']');
            }
            ClientMessage::Heartbeat { reference } => {
                out.extend_from_slice(b"[null,\"");
                digits(reference, out);
                out.extend_from_slice(b"\",\"phoenix\",\"heartbeat\",{}]");
            }
        }
    }

    fn write_socket_io(&self, message: ClientMessage, out: &mut Vec<u8>) {
        let mut head = |reference: Option<u64>, event| {
            out.extend_from_slice(b"42");
            if let Some(reference) = reference {
                digits(reference, out);
            }
            out.extend_from_slice(event);
        };
        match message {
            ClientMessage::Join { topic, reference } => {
                head(Some(reference), b"[\"join\",\"");
                self.topic(topic, out);
                out.push(b'"');
            }
            ClientMessage::Leave { topic, reference } => {
                head(Some(reference), b"[\"leave\",\"");
                self.topic(topic, out);
                out.push(b'"');
            }
            ClientMessage::Echo { reference, .. } => {
                head(Some(reference), b"[\"echo\",");
                self.payload(None, out);
            }
            ClientMessage::Shout { topic, at } => {
                head(None, b"[\"shout\",\"");
                self.topic(topic, out);
                out.extend_from_slice(b"\",");
                self.payload(Some(at), out);
            }
            // In Socket.IO the server sends the heartbeats. This is an event that the server answers.
            ClientMessage::Heartbeat { reference } => head(Some(reference), b"[\"echo\",{}"),
        }
        out.push(b']');
    }

    fn topic(&self, topic: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(self.topics.as_bytes());
        digits(topic as u64, out);
    }

    fn payload(&self, at: Option<u64>, out: &mut Vec<u8>) {
        out.push(b'{');
        if let Some(at) = at {
            out.extend_from_slice(TIME);
            digits(at, out);
            out.push(b',');
        }
        match &self.fields {
            Some(fields) => out.extend_from_slice(fields.as_bytes()),
            None => {
                out.extend_from_slice(b"\"p\":\"");
                out.extend_from_slice(self.filling.as_bytes());
                out.push(b'"');
            }
        }
        out.push(b'}');
    }

    pub(super) fn decode<'a>(&self, text: &'a [u8]) -> ServerMessage<'a> {
        match self.dialect {
            Dialect::Phoenix => match Message::read(text) {
                Some(message) if message.event == b"phx_reply" => match number(message.reference) {
                    Some(reference) => {
                        ServerMessage::Event(ClientEvent::Answer { reference, is_ok: is_ok(message.payload) })
                    }
                    None => ServerMessage::Nothing,
                },
                Some(Message { event, payload, .. }) => ServerMessage::Event(ClientEvent::Message { event, payload }),
                None => ServerMessage::Nothing,
            },
            Dialect::SocketIo => match Packet::read(text) {
                Packet::Open => ServerMessage::Answer(engine::CONNECT),
                Packet::Ping => ServerMessage::Answer(engine::PONG),
                Packet::Connected => ServerMessage::Event(ClientEvent::Ready),
                Packet::Event(event, payload) => ServerMessage::Event(ClientEvent::Message { event, payload }),
                Packet::Answer(reference, argument) => {
                    ServerMessage::Event(ClientEvent::Answer { reference, is_ok: !argument.starts_with(b"[\"error\"") })
                }
                Packet::Other => ServerMessage::Nothing,
            },
        }
    }
}

/// The key of the time in a payload.
const TIME: &[u8] = b"\"t\":";

/// The time at which a payload was sent, if it has one.
pub(super) fn time(payload: &[u8]) -> Option<u64> {
    let after = &payload[memchr::memmem::find(payload, TIME)? + TIME.len()..];
    let digits = after.iter().position(|byte| !byte.is_ascii_digit())?;
    number(&after[..digits])
}

fn digits(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded_text(dialect: Dialect, message: ClientMessage) -> String {
        let mut out = b"an earlier message".to_vec();
        Encoding::new(dialect, "bench:", 3).write(message, &mut out);
        String::from_utf8(out).expect("it is text")
    }

    #[test]
    fn messages_are_encoded_for_phoenix() {
        let encoded_text = |message| encoded_text(Dialect::Phoenix, message);
        assert_eq!(
            encoded_text(ClientMessage::Join { topic: 4, reference: 1 }),
            r#"["1","1","bench:4","phx_join",{}]"#
        );
        assert_eq!(
            encoded_text(ClientMessage::Leave { topic: 4, reference: 9 }),
            r#"["1","9","bench:4","phx_leave",{}]"#
        );
        assert_eq!(
            encoded_text(ClientMessage::Echo { topic: 0, reference: 2 }),
            r#"["1","2","bench:0","echo",{"p":"xxx"}]"#
        );
        assert_eq!(
            encoded_text(ClientMessage::Shout { topic: 0, at: 12 }),
            r#"["1","0","bench:0","shout",{"t":12,"p":"xxx"}]"#
        );
        assert_eq!(encoded_text(ClientMessage::Heartbeat { reference: 5 }), r#"[null,"5","phoenix","heartbeat",{}]"#);
    }

    #[test]
    fn messages_are_encoded_for_socket_io() {
        let encoded_text = |message| encoded_text(Dialect::SocketIo, message);
        assert_eq!(encoded_text(ClientMessage::Join { topic: 4, reference: 1 }), r#"421["join","bench:4"]"#);
        assert_eq!(encoded_text(ClientMessage::Leave { topic: 4, reference: 9 }), r#"429["leave","bench:4"]"#);
        assert_eq!(encoded_text(ClientMessage::Echo { topic: 0, reference: 2 }), r#"422["echo",{"p":"xxx"}]"#);
        assert_eq!(
            encoded_text(ClientMessage::Shout { topic: 0, at: 12 }),
            r#"42["shout","bench:0",{"t":12,"p":"xxx"}]"#
        );
        assert_eq!(encoded_text(ClientMessage::Heartbeat { reference: 5 }), r#"425["echo",{}]"#);
    }

    #[test]
    fn answers_are_decoded_in_both_protocols() {
        for (dialect, text, expected) in [
            (Dialect::Phoenix, r#"["1","7","bench:0","phx_reply",{"status":"ok","response":{}}]"#, (7, true)),
            (Dialect::Phoenix, r#"["1","7","bench:0","phx_reply",{"status":"error","response":{}}]"#, (7, false)),
            (Dialect::SocketIo, r#"437[{"p":"x"}]"#, (7, true)),
            (Dialect::SocketIo, r#"437["error"]"#, (7, false)),
        ] {
            match Encoding::new(dialect, "", 0).decode(text.as_bytes()) {
                ServerMessage::Event(ClientEvent::Answer { reference, is_ok }) => {
                    assert_eq!((reference, is_ok), expected, "{text}")
                }
                _ => panic!("{text} isn't read as an answer"),
            }
        }
    }

    #[test]
    fn the_time_is_found_at_any_position() {
        assert_eq!(time(br#"{"t":12,"p":"x"}"#), Some(12));
        assert_eq!(time(br#"{"p":"x","t":34}"#), Some(34));
        assert_eq!(time(br#"{"p":"x"}"#), None);
    }
}
