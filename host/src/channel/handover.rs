//! The hand-over of all topics and members of a host to another process, and their adoption there.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::member::{Channel, adopted_member, facts_of, members_of, pack_member, pack_socket};
use super::node::Node;
use super::room::{
    Takeover, TopicEvent, TopicTurns, adopt_room, pack_entries, pack_room, persist_room, post_and_spawn,
};
use crate::contract::{Ending, SocketFacts};
use crate::parcel::{
    BroadcastRecord, EntryRecord, HistoryRecord, MemberRecord, PART_BYTES, PayloadRecord, Record, SocketRecord,
    TopicRecord,
};
use crate::protocol::Topic;
use crate::pubsub::ClientKey;

/// The other process doesn't read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unread;

/// A topic that was handed over, with all of its parts.
#[derive(Clone, Debug, Default)]
pub struct AdoptedTopic {
    /// The topic.
    pub topic: TopicRecord,
    /// Its entries, if they aren't stored.
    pub entries: Vec<EntryRecord>,
    /// Its history, if it has one.
    pub history: Option<HistoryRecord>,
    /// The broadcasts of its history.
    pub broadcasts: Vec<BroadcastRecord>,
}

/// The counts of what was taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Rooms.
    pub rooms: usize,
    /// Rooms whose plugin doesn't serve their topic any more.
    pub rooms_dropped: usize,
    /// Members, which end here.
    pub members: usize,
}

/// The sockets that were put down, by the address of their facts. The facts are kept, so that no address is used twice.
#[derive(Default)]
struct PackedSockets {
    numbers: HashMap<usize, u32>,
}

impl Node {
    /// From now on, no turn begins until [`open_turns`](Self::open_turns).
    pub fn close_turns(&self) {
        self.gate().close();
    }

    /// Turns begin again.
    pub fn open_turns(&self) {
        self.gate().open();
    }

    /// No turn begins any more, and the waiting ones are dropped, because another process has taken over.
    pub fn end_turns(&self) {
        self.gate().end();
    }

    /// Sets whether ticks are left out, so that the turns end.
    pub fn hold_ticks(&self, holds: bool) {
        self.gate().hold_ticks(holds);
    }

    /// Waits until the turns that have begun are over, after the gate was closed.
    pub async fn turns_over(&self) {
        self.gate().idle().await;
    }

    /// Stores the last commits of all durable rooms. No turn may run. Returns the first topic whose room can't be stored.
    ///
    /// # Errors
    /// That topic.
    pub async fn store_rooms_now(&self) -> Result<(), Topic> {
        for topic in self.topics().all() {
            persist_room(&topic).await;
            if topic.is_room_unstored() {
                return Err(topic.name.clone());
            }
        }
        Ok(())
    }

    /// Puts all topics and members down. No turn may run.
    ///
    /// # Errors
    /// If the receiver is gone.
    pub async fn pack(&self, records: &mpsc::Sender<Record>) -> Result<(), Unread> {
        let mut topics: HashMap<Topic, Option<Arc<TopicTurns>>> =
            self.topics().all().into_iter().map(|topic| (topic.name.clone(), Some(topic))).collect();
        let with_members = self.pubsub.topics().into_iter().map(|(topic, _)| topic);
        for topic in with_members.chain(self.pubsub.topics_with_history()) {
            topics.entry(topic).or_default();
        }
        send(records, Record::ClientSecret(ClientKey::secret())).await?;
        let mut sockets = PackedSockets::default();
        // The channels keep the facts of their sockets, so they are kept until the end.
        let mut kept = Vec::new();
        for (name, topic) in topics {
            let channels: Vec<Arc<Channel>> = members_of(&self.pubsub, name.as_str()).collect();
            let room = topic.as_deref().and_then(pack_room);
            let mut members = Vec::new();
            for channel in &channels {
                let facts = &channel.member_facts().socket;
                let (number, is_new) = sockets.number(facts);
                if is_new {
                    send(records, Record::Socket(pack_socket(number, facts))).await?;
                }
                members.extend(pack_member(channel, number));
            }
            kept.extend(channels);
            let history = self.pubsub.pack_history(name.as_str());
            if members.is_empty() && room.is_none() && history.is_none() {
                continue;
            }
            send(records, Record::Topic(TopicRecord { topic: name.as_str().into(), members, room })).await?;
            if let Some(topic) = topic {
                pack_all_entries(&topic, records).await?;
            }
            if let Some((history, broadcasts)) = history {
                send(records, Record::History(history)).await?;
                pack_broadcasts(broadcasts, records).await?;
            }
        }
        Ok(())
    }

    /// Takes topics and members of another host over. The gate must be closed. When it is opened, the members end: their
    /// connections are those of the other host.
    pub async fn adopt(
        self: &Arc<Self>,
        sockets: Vec<SocketRecord>,
        topics: Vec<AdoptedTopic>,
        takeover: Takeover,
    ) -> Adopted {
        let facts: HashMap<u32, Arc<SocketFacts>> =
            sockets.iter().map(|socket| (socket.number, facts_of(socket))).collect();
        let highest = topics.iter().flat_map(|topic| &topic.topic.members).map(|member| member.id).max();
        self.topics().services.member_numbers.skip(highest.unwrap_or(0));
        let mut adopted = Adopted::default();
        for AdoptedTopic { topic: TopicRecord { topic: name, members, room }, entries, history, broadcasts } in topics {
            let name = Topic::new(&name);
            if let Some(history) = history {
                self.pubsub.adopt_history(&name, history, broadcasts);
            }
            let turns = self.topics().of(&name);
            if let Some(room) = room {
                let plugin = room.plugin.clone();
                match adopt_room(&turns, room, entries, takeover).await {
                    Ok(true) => adopted.rooms += 1,
                    Ok(false) => {
                        adopted.rooms_dropped += 1;
                        tracing::warn!(
                            plugin = &*plugin,
                            topic = name.as_str(),
                            "a room was not taken over: its plugin doesn't serve the topic any more, or without rooms"
                        );
                    }
                    Err(fault) => {
                        adopted.rooms_dropped += 1;
                        tracing::error!(topic = name.as_str(), "a room was not taken over: {fault}");
                    }
                }
            }
            for member in members {
                adopted.members += usize::from(self.adopt_member(&name, member, &facts));
            }
            // The room may have no member. Then it has to end at some time.
            post_and_spawn(&turns, TopicEvent::Review);
            tokio::task::yield_now().await;
        }
        adopted
    }

    /// A member ends in its first turn, as the members of a host that stops do.
    fn adopt_member(&self, topic: &Topic, member: MemberRecord, facts: &HashMap<u32, Arc<SocketFacts>>) -> bool {
        let Some(facts) = facts.get(&member.socket) else { return false };
        adopted_member(self.topics(), topic, member, facts).end(Ending::Shutdown);
        true
    }
}

impl PackedSockets {
    /// The number of a socket, and whether it has just got it.
    fn number(&mut self, facts: &Arc<SocketFacts>) -> (u32, bool) {
        let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        match self.numbers.entry(Arc::as_ptr(facts).addr()) {
            Entry::Occupied(known) => (*known.get(), false),
            Entry::Vacant(new) => (*new.insert(next), true),
        }
    }
}

async fn pack_all_entries(topic: &TopicTurns, records: &mpsc::Sender<Record>) -> Result<(), Unread> {
    let mut from = Some(Bytes::new());
    while let Some(first) = from.take() {
        let (entries, next) = pack_entries(topic, &first);
        if !entries.is_empty() {
            send(records, Record::Entries(entries)).await?;
        }
        from = next;
    }
    Ok(())
}

/// Sends broadcasts in parts of about [`PART_BYTES`].
async fn pack_broadcasts(broadcasts: Vec<BroadcastRecord>, records: &mpsc::Sender<Record>) -> Result<(), Unread> {
    let (mut part, mut bytes) = (Vec::new(), 0);
    for broadcast in broadcasts {
        bytes += match &broadcast.payload {
            PayloadRecord::Json(text) => text.len(),
            PayloadRecord::Binary(binary) => binary.len(),
        };
        part.push(broadcast);
        if bytes >= PART_BYTES {
            bytes = 0;
            send(records, Record::Broadcasts(std::mem::take(&mut part))).await?;
        }
    }
    if part.is_empty() { Ok(()) } else { send(records, Record::Broadcasts(part)).await }
}

async fn send(records: &mpsc::Sender<Record>, record: Record) -> Result<(), Unread> {
    records.send(record).await.map_err(|_| Unread)
}
