//! A member as it is handed over to another host. There, it ends.

use std::sync::Arc;

use bytestring::ByteString;

use super::channel::{Channel, Connection, Phase};
use crate::channel::room::Topics;
use crate::channel::turn::Saved;
use crate::contract::{Identity, SocketFacts, Trace};
use crate::parcel::{MemberRecord, SocketRecord, StateRecord};
use crate::protocol::{CloseCode, Ref, Serializer, Topic};
use crate::pubsub::{Outbox, OutboxLimits};

const LONGPOLL: &str = "longpoll";
const WEBSOCKET: &str = "websocket";

/// Puts a member down; none if it isn't one. `socket` is the number of its socket.
pub(in crate::channel) fn pack_member(channel: &Channel, socket: u32) -> Option<MemberRecord> {
    let state = channel.lock();
    let plugin = state.plugin.as_deref().filter(|_| state.phase == Phase::Joined)?;
    Some(MemberRecord {
        id: channel.member.id,
        socket,
        join_ref: channel.member.join_ref.to_json(),
        plugin: plugin.into(),
        assigns: StateRecord { bytes: state.assigns.bytes.clone(), version: state.assigns.version },
        seat: state.seat.as_deref().cloned(),
    })
}

/// A member of another host, without a connection. It can only end: its plugin gets its `terminate`.
pub(in crate::channel) fn adopted_member(
    topics: &Arc<Topics>,
    topic: &Topic,
    record: MemberRecord,
    facts: &Arc<SocketFacts>,
) -> Arc<Channel> {
    let MemberRecord { id, join_ref, plugin, assigns, seat, .. } = record;
    let outbox = Arc::new(Outbox::new(OutboxLimits::default()));
    // So it keeps no frame.
    outbox.close(CloseCode::ServiceRestart);
    let connection = Connection {
        facts: Arc::clone(facts),
        serializer: Serializer::V2,
        deflates: false,
        outbox,
        inbound: Arc::default(),
    };
    let (no_ref, join_ref) = (Ref::NULL, Ref::from_json(join_ref));
    let channel = Channel::with_id(topics, connection, topic.clone(), id, (&join_ref, &no_ref), None);
    let mut state = channel.lock();
    state.phase = Phase::Joined;
    state.plugin = Some((*plugin).into());
    state.assigns = Saved::new(assigns.bytes, assigns.version);
    state.seat = seat.map(Box::new);
    drop(state);
    channel
}

/// Puts the facts about a socket down.
pub(in crate::channel) fn pack_socket(number: u32, facts: &SocketFacts) -> SocketRecord {
    let Identity { socket_id, user, claims } = &facts.identity;
    let text = |text: &str| ByteString::from(text);
    SocketRecord {
        number,
        socket_id: socket_id.as_deref().map(text),
        user: user.as_deref().map(text),
        claims: text(claims),
        is_longpoll: facts.transport == LONGPOLL,
        connect_params: text(&facts.connect_params),
        x_headers: facts.x_headers.iter().map(|(name, value)| (text(name), text(value))).collect(),
        // Of a `traceparent`, only the trace is kept. The span is any.
        traceparent: facts.trace.as_ref().map(|trace| trace.parent_of(1).into()),
    }
}

/// The facts about a socket of another host.
pub(in crate::channel) fn facts_of(record: &SocketRecord) -> Arc<SocketFacts> {
    let boxed = |text: &ByteString| Box::<str>::from(&**text);
    let identity = Identity {
        socket_id: record.socket_id.as_ref().map(boxed),
        user: record.user.as_ref().map(boxed),
        claims: (&*record.claims).into(),
    };
    Arc::new(SocketFacts {
        identity,
        transport: if record.is_longpoll { LONGPOLL } else { WEBSOCKET },
        connect_params: boxed(&record.connect_params),
        x_headers: record.x_headers.iter().map(|(name, value)| (boxed(name), boxed(value))).collect(),
        trace: record.traceparent.as_deref().and_then(Trace::parse).map(Box::new),
        // Its connection counts at the other host until it ends.
        client: None,
    })
}
