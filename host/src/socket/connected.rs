//! A socket: it carries out the actions that the rules return.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use super::rate::{Rate, RateCheck};
use super::registry::Registered;
use super::{Action, Slot, SocketState, Sockets};
use crate::channel::{Channel, Connection, Drain, Full, MemberEvent, Node};
use crate::clients::{Act, Client, OverLimit};
use crate::contract::{Ending, Identity, SocketFacts};
use crate::counts::{Limit, Traffic};
use crate::protocol::{Addressee, CloseCode, Incoming, Message, Outbound, Payload, Ref, Serializer, event};
use crate::pubsub::{Named, Outbox, OutboxLimits};

/// The most messages of a socket in a second that are refused because of its rates, or of a limit of its user or address. At one
/// more, the connection is closed.
const REFUSED_PER_SECOND: u32 = 100;

/// The limits of one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketLimits {
    /// The most channels that may be joined or joining. A further join is refused.
    pub channels: usize,
    /// The most messages per second. A message over this rate is answered with an error. At more than twice this rate
    /// the connection is closed.
    pub messages_per_second: Option<u32>,
}

impl Default for SocketLimits {
    fn default() -> Self {
        Self { channels: 100, messages_per_second: None }
    }
}

/// The connection must be closed, with this code.
#[derive(Debug, PartialEq, Eq)]
pub struct Closing(pub CloseCode);

/// A connected client.
pub struct Socket {
    node: Arc<Node>,
    connection: Connection,
    state: SocketState<Arc<Channel>>,
    /// The rate of its messages, if it is limited. Boxed, because most sockets have none.
    rate: Option<Box<Rate>>,
    /// The rate of its messages that were refused because of its own rates, or of a limit of its user or address, once there was one.
    refused: Option<Box<Rate>>,
    /// An event that its channel had no room for. Nothing more may be received until the channel has room.
    held_back: Option<(Arc<Channel>, Box<MemberEvent>)>,
    /// The reason with which its channels end when it is dropped.
    ending: Ending,
    registered: Option<Registered>,
    /// Its registration under its id, if it has one.
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

/// An endpoint for clients: the data that their sockets share.
pub struct Endpoint {
    /// The node, which contains the channels.
    pub node: Arc<Node>,
    /// All open sockets.
    pub sockets: Arc<Sockets>,
    /// The limits of each socket.
    pub limits: SocketLimits,
    /// The limits of each socket's outbox.
    pub outbox_limits: OutboxLimits,
}

impl Endpoint {
    /// Creates and registers the socket for a client that has connected.
    #[must_use]
    pub fn connect(&self, facts: SocketFacts, serializer: Serializer) -> Socket {
        let outbox = Arc::new(Outbox::new(self.outbox_limits));
        let registered = self.sockets.register(&outbox);
        let named = facts.identity.socket_id.as_deref().map(|id| self.node.pubsub.name(id, &outbox));
        Socket {
            node: Arc::clone(&self.node),
            connection: Connection {
                facts: Arc::new(facts),
                serializer,
                deflates: false,
                outbox,
                inbound: Arc::default(),
            },
            state: SocketState::new(self.limits.channels),
            rate: self.limits.messages_per_second.map(|most| Box::new(Rate::new(most, Instant::now()))),
            refused: None,
            held_back: None,
            ending: Ending::Closed,
            registered: Some(registered),
            _named: named,
        }
    }
}

impl Socket {
    /// The client takes compressed frames. To be called before it joins a topic.
    #[must_use]
    pub fn with_deflate(mut self) -> Self {
        self.connection.deflates = true;
        self
    }

    /// Returns the outbox from which the transport takes its frames.
    #[must_use]
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.connection.outbox
    }

    /// Returns the address of its client, if it is known.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.connection.facts.client.as_ref().map(Client::address)
    }

    /// Returns who its client is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.connection.facts.identity
    }

    /// Whether a received message waits for room in its channel. No more may be received then until
    /// [`resume`](Self::resume) has delivered it.
    #[must_use]
    pub fn is_held_back(&self) -> bool {
        self.held_back.is_some()
    }

    /// Handles a message from the client.
    ///
    /// # Errors
    /// If the connection must be closed because of the message.
    pub fn receive(&mut self, incoming: &Incoming) -> Result<(), Closing> {
        Traffic::MessagesReceived.add(1);
        let message = self.connection.serializer.decode(incoming).map_err(|malformed| {
            tracing::debug!("a client sent a malformed message: {malformed}");
            Closing(CloseCode::Malformed)
        })?;
        if let Some(rate) = &mut self.rate {
            match rate.on_message(Instant::now()) {
                RateCheck::Within => {}
                RateCheck::Over => {
                    Limit::MessagesPerSecond.hit();
                    let Message { join_ref, reference, to, .. } = message;
                    self.reply(&join_ref, &reference, &to, ("error", &Payload::reason("too many messages")));
                    return Ok(());
                }
                RateCheck::Flood => return Err(Closing(CloseCode::PolicyViolation)),
            }
        }
        if self.node.clients.is_limiting()
            && let Err(refusal) = self.check_client(&message, incoming.len())
        {
            return self.refuse(message, refusal);
        }
        let node = &self.node;
        let action = self.state.on(message, |topic| node.routes.current().find(topic).is_some());
        self.carry_out(action);
        Ok(())
    }

    /// Checks its rates, and the limits of its user and address.
    fn check_client(&self, message: &Message, bytes: usize) -> Result<(), OverLimit> {
        let Some((client, user)) = self.connection.facts.limited() else { return Ok(()) };
        // A client must be able to leave: otherwise the host would go on sending it what it no longer wants.
        if *message.event == *event::LEAVE {
            return Ok(());
        }
        let is_join = *message.event == *event::JOIN;
        client.take(user, if is_join { Act::Join { bytes } } else { Act::Message { bytes } })?;
        let Addressee::Topic(topic) = &message.to else { return Ok(()) };
        let routes = self.node.routes.current();
        routes.find(topic).map_or(Ok(()), |route| client.may_call(user, &route.plugin, route.generation))
    }

    /// Answers a message that is over one of its rates, or a limit of its user or address. A client that goes on sending is closed, because the
    /// answers cost something, too.
    fn refuse(&mut self, message: Message, refusal: OverLimit) -> Result<(), Closing> {
        let now = Instant::now();
        let refused = self.refused.get_or_insert_with(|| Box::new(Rate::new(REFUSED_PER_SECOND, now)));
        if refused.on_message(now) != RateCheck::Within {
            Limit::RefusedMessages.hit();
            return Err(Closing(CloseCode::PolicyViolation));
        }
        let Message { join_ref, reference, to, .. } = message;
        self.reply(&join_ref, &reference, &to, ("error", &Payload::Json(refusal.reply().into())));
        Ok(())
    }

    /// Tries again to deliver the message that waits for room.
    pub fn resume(&mut self) {
        if let Some((channel, entry)) = self.held_back.take() {
            self.post(channel, *entry);
        }
    }

    /// Ends all channels, because the connection is gone. Messages that came before are still handled. The socket
    /// counts as open until the returned value is dropped, after the last frame to the client.
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
        let channel = self.node.channel(connection, topic, (&join_ref, &reference), after);
        // If a leave waits in the old channel's queue, it runs first. Then the old channel has ended by itself, and
        // nothing is replaced.
        let replaced = after.filter(|after| !after.is_leaving() && after.replace()).map(|after| after.mark().clone());
        self.state.joining(Arc::clone(&channel));
        self.post(channel, MemberEvent::Join { params: payload, reference, replaced });
    }

    /// Posts an event to its channel, or keeps it if the channel has no room.
    fn post(&mut self, channel: Arc<Channel>, entry: MemberEvent) {
        match channel.post_from_client(entry) {
            // Turns that don't have to wait run here. A task for each would cost more than the turn.
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
        if let Some(frame) = self.connection.encode(reply) {
            self.connection.outbox.push(frame);
        }
    }
}

/// Its members end with it, even if its task panics or is cancelled.
impl Drop for Socket {
    fn drop(&mut self) {
        for channel in self.state.take() {
            let ending = self.ending.clone();
            // Caught for each channel, so that a panic at one doesn't leave the others as members of a socket that is gone.
            if catch_unwind(AssertUnwindSafe(move || channel.end(ending))).is_err() {
                tracing::error!("a fault of the host: the end of a channel caused a panic");
            }
        }
    }
}
