//! A member, and a call of one of its callbacks.

use std::sync::Arc;

use bytes::Bytes;

use super::{Callback, Headers, Identity, MemberUsage, Trace};
use crate::clients::Client;
use crate::protocol::{Ref, Topic};

/// What is known of a socket from its connecting on, for plugins to read.
#[derive(Debug)]
pub struct SocketFacts {
    /// Who it is.
    pub identity: Identity,
    /// `websocket` or `longpoll`.
    pub transport: &'static str,
    /// The parameters that it connected with, a JSON object.
    pub connect_params: Box<str>,
    /// The request's headers that start with `x-`, names in lower case.
    pub x_headers: Headers,
    /// The trace that its request belongs to. Boxed, because most sockets have none.
    pub trace: Option<Box<Trace>>,
    /// The client, for the limits of its user and address. None if no limit concerns it, as in a test kit.
    pub client: Option<Client>,
}

impl SocketFacts {
    /// The name of the user whose limits concern it: the user, or else the socket's id. A client without both is limited by
    /// its socket and its address.
    #[must_use]
    pub fn limited_as(&self) -> Option<&str> {
        self.identity.limited_as()
    }

    /// The client with its user, if limits concern it.
    #[must_use]
    pub fn limited(&self) -> Option<(&Client, Option<&str>)> {
        self.client.as_ref().map(|client| (client, self.limited_as()))
    }
}

/// Whose callback it is.
#[derive(Debug)]
pub struct Member {
    /// Unique for as long as the host runs.
    pub id: u64,
    /// The topic joined.
    pub topic: Topic,
    /// The ref of the join, which marks this membership's frames.
    pub join_ref: Ref,
    /// Its socket.
    pub socket: Arc<SocketFacts>,
}

/// One call of a member's callback.
#[derive(Clone, Debug)]
pub struct Call {
    /// Whose it is.
    pub member: Arc<Member>,
    /// The member's state as last committed.
    pub assigns: Bytes,
    /// The topic's shared state, where the route has one.
    pub room: Option<Bytes>,
    /// What the member has at the host. None for the default: most members have nothing.
    pub usage: Option<Box<MemberUsage>>,
    /// Which callback.
    pub callback: Callback,
}
