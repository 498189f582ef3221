//! What a host does with the messages of the others.

use std::collections::HashMap;
use std::sync::Arc;

use bennu_cluster::{ClusterEvent, Epoch, Lane};
use bytes::Bytes;
use tokio::sync::Semaphore;

use super::affected::AffectedTopics;
use super::answering::{Inspect, answer};
use super::codec::decode;
use super::messages::{BroadcastMessage, Clocks, LeftOut, MessageBody, NodeAnswer, NodeMessage, NodeQuestion};
use super::peers::Peers;
use super::rejoining::Rejoining;
use crate::channel::{MemberSelector, Node};
use crate::presence::Presence;
use crate::pubsub::{Broadcast, Droppable, Except};

/// The bytes of presences in one message, about.
const PRESENCE_PART_BYTES: usize = 256 << 10;

/// The most questions that are answered at the same time. A further one is refused.
const ANSWERING_MAX: usize = 64;

/// All shards of presences.
const ALL_SHARDS: u16 = u16::MAX;
const _: () = assert!(Presence::SHARDS as u32 == u16::BITS, "each shard has a bit");

/// Handles what comes from the other nodes.
pub struct Receiver {
    node: Arc<Node>,
    peers: Arc<Peers>,
    /// The names of the nodes that are up.
    up: HashMap<Epoch, Arc<str>>,
    rejoining: Arc<Rejoining>,
    answering: Arc<Semaphore>,
    inspect: Option<Inspect>,
}

/// What an event means for the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventOutcome {
    /// It goes on.
    GoOn,
    /// Others may count it as dead, so it must end.
    Fenced,
}

impl Receiver {
    /// A receiver for a node that nobody has joined yet. `inspect` answers what an operator asks at another node. A host without
    /// the API has none.
    #[must_use]
    pub fn new(node: Arc<Node>, peers: Arc<Peers>, rejoining: Arc<Rejoining>, inspect: Option<Inspect>) -> Self {
        let answering = Arc::new(Semaphore::new(ANSWERING_MAX));
        Self { node, peers, up: HashMap::new(), rejoining, answering, inspect }
    }

    /// Handles an event.
    pub fn handle(&mut self, event: ClusterEvent) -> EventOutcome {
        match event {
            ClusterEvent::Message { from, message } => self.read(from, message),
            ClusterEvent::Up(epoch) => self.up(epoch),
            ClusterEvent::Silent(epoch) => {
                tracing::warn!(node = self.name(epoch), "a node of the cluster isn't heard");
            }
            ClusterEvent::Heard(epoch) => {
                tracing::info!(node = self.name(epoch), "a node of the cluster is heard again")
            }
            ClusterEvent::Dead(epoch) => self.dead(epoch),
            ClusterEvent::Lost { from } => {
                tracing::warn!(node = self.name(from), "messages of a node of the cluster were lost");
                self.lose(from, AffectedTopics::All);
            }
            ClusterEvent::Suspended => {
                tracing::error!(
                    "the lease of this node couldn't be renewed; it serves its own members only until it is"
                );
            }
            ClusterEvent::Resumed => tracing::info!("the lease of this node is renewed"),
            ClusterEvent::Fenced => return EventOutcome::Fenced,
        }
        EventOutcome::GoOn
    }

    fn name(&self, epoch: Epoch) -> &str {
        self.up.get(&epoch).map_or("", |name| name)
    }

    fn up(&mut self, epoch: Epoch) {
        let nodes = self.peers.link.nodes();
        let Some(status) = nodes.iter().find(|node| node.row.id.epoch == epoch) else {
            return tracing::error!("a fault of the host: node {epoch} is up, but isn't among the nodes");
        };
        let name: Arc<str> = status.row.name.as_str().into();
        tracing::info!(node = &*name, version = status.row.version, "a node of the cluster is up");
        self.node.presence.up(&name, epoch.0);
        self.up.insert(epoch, name);
        // It may know nothing of this node.
        self.peers.changed().is_whole = true;
        self.want_presences(epoch, ALL_SHARDS);
        let _ = self.peers.send(Lane::Node(epoch), MessageBody::CountsWanted);
        // An older node that is heard only now has sent broadcasts that the members at this node lack.
        if epoch < self.peers.link.me() && self.node.channel_count() > 0 {
            self.lose(epoch, AffectedTopics::All);
        }
    }

    fn dead(&mut self, epoch: Epoch) {
        self.peers.remote_counts().forget(epoch);
        self.peers.questions.forget(epoch);
        self.peers.set_watched(epoch, Vec::new());
        self.peers.set_known_to(epoch, false);
        if let Some(name) = self.up.remove(&epoch) {
            tracing::info!(node = &*name, "a node of the cluster is gone");
            self.node.presence.forget(&name, epoch.0);
        }
    }

    /// Messages of a node to these topics are missing here, and it can't send them again.
    fn lose(&self, from: Epoch, affected: AffectedTopics) {
        self.peers.counters.losses.add(1);
        self.node.pubsub.lose_broadcasts(|topic| affected.has(topic));
        if affected == AffectedTopics::All {
            self.want_presences(from, ALL_SHARDS);
            let _ = self.peers.send(Lane::Node(from), MessageBody::CountsWanted);
        }
        self.rejoining.add(affected);
    }

    fn want_presences(&self, from: Epoch, shards: u16) {
        // If it can't be sent, the clocks of the next second show that something is missing.
        let _ = self.peers.send(Lane::Node(from), MessageBody::PresenceWanted(shards));
    }

    fn read(&self, from: Epoch, message: Bytes) {
        match decode(message) {
            Ok(NodeMessage { id_time, body }) => {
                self.node.store.follow_id(id_time);
                self.hear(from, body);
            }
            Err(error) => {
                self.peers.counters.messages_unread.add(1);
                tracing::debug!(node = self.name(from), "a message of a node of the cluster can't be read: {error}");
            }
        }
    }

    fn hear(&self, from: Epoch, body: MessageBody) {
        match body {
            MessageBody::Broadcast(broadcast) => {
                self.peers.counters.broadcasts_heard.add(1);
                self.node.pubsub.deliver_from_elsewhere(self.broadcast_here(broadcast));
            }
            MessageBody::Disconnect(id) => {
                self.node.pubsub.disconnect_here(&id);
            }
            MessageBody::Member { from, topic, member, event, payload } => {
                self.node.send_member(&from, (&topic, member), event, payload.detached());
            }
            MessageBody::Socket { topic, socket_id, event, payload } => {
                let selector = MemberSelector::Socket(socket_id.to_string());
                // Without room, the members here don't get it, as when another queue is full. It is counted.
                let _ = self.node.push_members(topic.as_str(), &selector, &event, &payload);
            }
            MessageBody::Presence(delta) => {
                let foreign = self.up.get(&from).map(|name| self.node.presence.merge(name, from.0, delta));
                self.peers.counters.presences_foreign.add(u64::from(foreign == Some(true)));
            }
            MessageBody::PresenceEnd(shard, end) => {
                if let Some(name) = self.up.get(&from) {
                    // If a part is missing, the clocks of the next second show it.
                    self.node.presence.merge_end(name, from.0, shard, &end);
                }
            }
            MessageBody::Clocks(clocks) => self.compare_clocks(from, &clocks),
            MessageBody::PresenceWanted(shards) => self.send_presences(from, shards),
            MessageBody::Counts { is_first, counts } => {
                let sticky = self.peers.sticky(counts.iter().map(|(topic, _)| topic));
                let left_out = self.peers.remote_counts().apply(from, is_first, counts);
                self.peers.counters.topics_uncounted.add(left_out as u64);
                self.peers.watch_for_split(sticky, &self.node.pubsub);
            }
            MessageBody::CountsWanted => {
                // A node asks for this when it begins to hear this one.
                self.peers.set_known_to(from, true);
                self.peers.changed().is_whole = true;
            }
            MessageBody::Watched(patterns) => self.peers.set_watched(from, patterns),
            MessageBody::MemberEvent { topic, info, has_joined } => {
                self.node.pubsub.events.member_elsewhere(&topic, info, has_joined);
            }
            MessageBody::Dropped(topics) => self.lose(from, AffectedTopics::from(topics)),
            MessageBody::RegistryChanged => self.peers.note_registry_changed(),
            MessageBody::Question(number, question) => self.answer(from, number, question),
            MessageBody::Answer(number, answer) => {
                self.peers.questions.answer(number, from, answer);
            }
        }
    }

    /// A broadcast of another node, for the members at this one.
    fn broadcast_here(&self, broadcast: BroadcastMessage) -> Broadcast {
        let BroadcastMessage { topic, event, payload, except, droppable } = broadcast;
        let except = match except {
            LeftOut::Nobody => Except::Nobody,
            LeftOut::Member(member) => Except::Member(member),
            LeftOut::Socket(id) => {
                let members = Arc::new(self.node.members_of_socket(topic.as_str(), &id));
                Except::Socket { id: (&*id).into(), members }
            }
        };
        let droppable = droppable.map(|name| Droppable::of(&topic, &event, name));
        Broadcast { topic, event, payload, except, droppable, number: None }
    }

    fn compare_clocks(&self, from: Epoch, clocks: &Clocks) {
        let Some(name) = self.up.get(&from) else { return };
        let lacking = self.node.presence.lacking(name, from.0, clocks);
        if lacking != 0 {
            self.want_presences(from, lacking);
        }
    }

    /// Sends all presences of this node in these shards to another node. If not all can be sent, it asks again.
    fn send_presences(&self, to: Epoch, shards: u16) {
        for shard in (0..Presence::SHARDS).filter(|shard| shards & (1 << shard) != 0) {
            let Some(parts) = self.node.presence.own_parts(shard, PRESENCE_PART_BYTES) else { continue };
            let parts_and_end = parts.parts.into_iter().map(MessageBody::Presence);
            for body in parts_and_end.chain([MessageBody::PresenceEnd(shard, parts.end)]) {
                if self.peers.send(Lane::Node(to), body).is_err() {
                    return;
                }
            }
        }
    }

    /// Answers a question in a task of its own, because some answers take time.
    fn answer(&self, from: Epoch, number: u64, question: NodeQuestion) {
        let peers = Arc::clone(&self.peers);
        let Ok(permit) = Arc::clone(&self.answering).try_acquire_owned() else {
            peers.counters.questions_refused.add(1);
            let _ = peers.send(Lane::Node(from), MessageBody::Answer(number, NodeAnswer::Refused));
            return;
        };
        let (node, inspect) = (Arc::clone(&self.node), self.inspect.clone());
        tokio::spawn(async move {
            let answer = answer(&node, inspect.as_ref(), question).await;
            // Who has asked counts an answer that doesn't come.
            let _ = peers.send(Lane::Node(from), MessageBody::Answer(number, answer));
            drop(permit);
        });
    }
}
