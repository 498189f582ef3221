//! A socket at work: the rules carried out.

use std::sync::Arc;
use std::time::Instant;

use super::rate::{Rate, RateCheck};
use super::registry::Registered;
use super::{Action, Slot, SocketState, Sockets};
use crate::channel::{Channel, Connection, Drain, Full, MemberEvent, Node};
use crate::contract::{Ending, SocketFacts};
use crate::protocol::{Addressee, CloseCode, Incoming, Message, Outbound, Payload, Ref, Serializer};
use crate::pubsub::{Named, Outbox, OutboxLimits};

/// The limits of one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketLimits {
    /// Channels joined, those that are joining included. Past it a join is refused.
    pub channels: usize,
    /// Messages a second. Past it they are answered with an error, and past twice as many the connection is closed.
    pub messages_per_second: Option<u32>,
}

impl Default for SocketLimits {
    fn default() -> Self {
        Self { channels: 100, messages_per_second: None }
    }
}

/// Why the connection is to be closed.
#[derive(Debug, PartialEq, Eq)]
pub struct Closing(pub CloseCode);

/// A connected client.
pub struct Socket {
    node: Arc<Node>,
    connection: Connection,
    state: SocketState<Arc<Channel>>,
    rate: Rate,
    /// An entry that its channel had no room for. Until there is room, nothing more may be received.
    held_back: Option<(Arc<Channel>, Box<MemberEvent>)>,
    /// Why its channels end when it is dropped.
    ending: Ending,
    registered: Option<Registered>,
    /// Its place among the sockets of its id.
    _named: Option<Named>,
}

impl Slot for Arc<Channel> {
    fn join_ref(&self) -> &Ref {
        Channel::join_ref(self)
    }

    fn topic(&self) -> &str {
        Channel::topic(self)
    }

    fn has_ended(&self) -> bool {
        Channel::has_ended(self)
    }
}

/// Where clients connect: what their sockets share.
pub struct Endpoint {
    /// The channels' side.
    pub node: Arc<Node>,
    /// All that are open.
    pub sockets: Arc<Sockets>,
    /// What each may do.
    pub limits: SocketLimits,
    /// What each one's outbox holds.
    pub outbox_limits: OutboxLimits,
}

impl Endpoint {
    /// A socket for a client that has connected.
    #[must_use]
    pub fn connect(&self, facts: SocketFacts, serializer: Serializer) -> Socket {
        let outbox = Arc::new(Outbox::new(self.outbox_limits));
        let registered = self.sockets.register(&outbox);
        let named = facts.identity.socket_id.as_deref().map(|id| self.node.pubsub.name(id, &outbox));
        Socket {
            node: Arc::clone(&self.node),
            connection: Connection { facts: Arc::new(facts), serializer, outbox, inbound: Arc::default() },
            state: SocketState::new(self.limits.channels),
            rate: Rate::new(self.limits.messages_per_second, Instant::now()),
            held_back: None,
            ending: Ending::Closed,
            registered: Some(registered),
            _named: named,
        }
    }
}

impl Socket {
    /// Where its frames are taken from.
    #[must_use]
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.connection.outbox
    }

    /// Whether something received waits for room, and no more may be received until [`resume`](Self::resume).
    #[must_use]
    pub fn is_held_back(&self) -> bool {
        self.held_back.is_some()
    }

    /// Takes a message from the client.
    ///
    /// # Errors
    /// Where the connection is to be closed for it.
    pub fn receive(&mut self, incoming: &Incoming) -> Result<(), Closing> {
        let message = self.connection.serializer.decode(incoming).map_err(|malformed| {
            tracing::debug!("a client sent what is no message: {malformed}");
            Closing(CloseCode::Malformed)
        })?;
        match self.rate.on_message(Instant::now) {
            RateCheck::Within => {}
            RateCheck::Over => {
                let Message { join_ref, reference, to, .. } = message;
                self.reply(&join_ref, &reference, &to, ("error", &Payload::reason("too many messages")));
                return Ok(());
            }
            RateCheck::Flood => return Err(Closing(CloseCode::PolicyViolation)),
        }
        let node = &self.node;
        let action = self.state.on(message, |topic| node.routes.current().find(topic).is_some());
        self.carry_out(action);
        Ok(())
    }

    /// Tries again what was held back.
    pub fn resume(&mut self) {
        if let Some((channel, entry)) = self.held_back.take() {
            self.post(channel, *entry);
        }
    }

    /// Ends all channels: the connection is gone. What came before is still handled. It counts as open until what is given
    /// is dropped, after the last word to the client.
    #[must_use = "it counts as open until this is dropped"]
    pub fn close(mut self, ending: Ending) -> Option<Registered> {
        self.ending = ending;
        self.registered.take()
    }

    fn carry_out(&mut self, action: Action<Arc<Channel>>) {
        match action {
            Action::Reply { join_ref, reference, to, status, payload } => {
                self.reply(&join_ref, &reference, &to, (status, &payload));
            }
            Action::Join { message, topic, after } => self.join(message, &topic, after.as_ref()),
            Action::Leave { channel, message } => {
                let Message { join_ref, reference, .. } = message;
                self.post(channel, MemberEvent::Leave { join_ref, reference });
            }
            Action::Event { channel, message } => {
                let Message { event, payload, reference, .. } = message;
                self.post(channel, MemberEvent::In { event, payload, reference });
            }
            Action::Ignore => {}
        }
    }

    fn join(&mut self, message: Message, topic: &str, after: Option<&Arc<Channel>>) {
        let Message { join_ref, reference, payload, .. } = message;
        let connection = self.connection.clone();
        let channel = Channel::new(&self.node, connection, topic, (&join_ref, &reference), after);
        // A leave that waits in the old channel's line comes first, and then the channel has ended by itself.
        let replaced = after.filter(|after| !after.is_leaving() && after.replace()).map(|after| after.mark().clone());
        self.state.joining(Arc::clone(&channel));
        self.post(channel, MemberEvent::Join { params: payload, reference, replaced });
    }

    fn post(&mut self, channel: Arc<Channel>, entry: MemberEvent) {
        match channel.post_from_client(entry) {
            // Turns that wait for nothing are taken here and now: a task for each would cost more than the turn.
            Ok(drain) => {
                if let Some(drain) = drain {
                    Drain::run_here(drain);
                }
            }
            Err(Full(entry)) => self.held_back = Some((channel, entry)),
        }
    }

    fn reply(&self, join_ref: &Ref, reference: &Ref, to: &Addressee, (status, payload): (&str, &Payload)) {
        let reply = Outbound::Reply { join_ref, reference, to: to.into(), status, payload };
        if let Some(frame) = self.connection.serializer.encode(reply) {
            self.connection.outbox.push(frame);
        }
    }
}

/// However its task ends, its members do.
impl Drop for Socket {
    fn drop(&mut self) {
        for channel in self.state.take() {
            channel.end(self.ending.clone());
        }
    }
}
