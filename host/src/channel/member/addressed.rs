//! Messages to some members of a topic, by their numbers, the ids of their sockets or their users, and their removal by an operator.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytestring::ByteString;

use super::channel::Channel;
use super::event::MemberEvent;
use super::frames::Frames;
use crate::contract::{Effect, Message, Source};
use crate::counts::Limit;
use crate::protocol::{Payload, Topic};
use crate::pubsub::{Audience, PubSub, Subscriber};

/// Says which members of a topic are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberSelector {
    /// The member with this number.
    Member(u64),
    /// The members whose sockets have this id.
    Socket(String),
    /// The members whose clients are this user, as the token or the gatekeeper named it.
    User(String),
}

impl MemberSelector {
    fn selects(&self, subscriber: &Subscriber) -> bool {
        match self {
            Self::Member(number) => subscriber.id == *number,
            Self::Socket(id) => channel_of(subscriber).is_some_and(|channel| channel.socket_id() == Some(id)),
            Self::User(user) => channel_of(subscriber).is_some_and(|channel| channel.user() == Some(user)),
        }
    }

    /// Returns the members of an audience that it selects.
    pub(in crate::channel) fn find(&self, audience: &Audience) -> Vec<Arc<Channel>> {
        let found = audience.find(|subscriber| self.selects(subscriber));
        found.into_iter().filter_map(|member| member.downcast().ok()).collect()
    }
}

/// The members that the effects of a call are addressed to, by topic. Each topic's audience is searched once for all of these
/// effects, because it may have many members.
#[derive(Default)]
pub(in crate::channel::member) struct Addressees {
    topics: HashMap<Topic, TopicAddressees>,
}

/// The addressees in one topic.
struct TopicAddressees {
    audience: Arc<Audience>,
    by_number: HashMap<u64, Arc<Channel>>,
    by_socket: HashMap<Box<str>, Vec<Arc<Channel>>>,
}

/// The numbers and the ids of sockets that effects name in one topic.
#[derive(Default)]
struct Named<'a> {
    numbers: HashSet<u64>,
    sockets: HashSet<&'a str>,
}

impl Addressees {
    pub(in crate::channel::member) fn of<'a>(pubsub: &PubSub, effects: impl Iterator<Item = &'a Effect>) -> Self {
        let mut topics: HashMap<&Topic, Named<'_>> = HashMap::new();
        for effect in effects {
            if let Effect::SendMember { topic, member, .. } = effect {
                topics.entry(topic).or_default().numbers.insert(*member);
            } else if let Effect::PushToSocket { topic, socket_id, .. } = effect {
                topics.entry(topic).or_default().sockets.insert(socket_id);
            }
        }
        let found = topics.into_iter().filter_map(|(topic, named)| {
            Some((topic.clone(), TopicAddressees::find(pubsub.audience(topic.as_str())?, &named)))
        });
        Self { topics: found.collect() }
    }

    fn member(&self, topic: &Topic, number: u64) -> Option<&Arc<Channel>> {
        self.topics.get(topic)?.by_number.get(&number)
    }

    fn with_socket(&self, topic: &Topic, id: &str) -> &[Arc<Channel>] {
        self.topics.get(topic).and_then(|found| found.by_socket.get(id)).map_or(&[], |channels| channels)
    }

    fn audience(&self, topic: &Topic) -> Option<&Audience> {
        self.topics.get(topic).map(|found| &*found.audience)
    }

    /// Carries out an effect of a turn of the topic `from`, if it is one with addressees. Addressees that may be at other nodes
    /// are left to these.
    pub(in crate::channel::member) fn carry_out(&self, pubsub: &PubSub, from: &Topic, effect: Effect) {
        let other_nodes = pubsub.other_nodes();
        if let Effect::SendMember { topic, member, event, payload } = effect {
            match (self.member(&topic, member), other_nodes) {
                (Some(channel), _) => send_to(channel, from, event.into(), payload),
                (None, Some(other_nodes)) => other_nodes.send_member(from, (&topic, member), &event, &payload),
                (None, None) => {}
            }
        } else if let Effect::PushToSocket { topic, socket_id, event, payload } = effect {
            if let Some(other_nodes) = other_nodes {
                other_nodes.push_to_socket(&topic, &socket_id, &event, &payload);
            }
            for channel in self.with_socket(&topic, &socket_id) {
                Frames::new(channel, self.audience(&topic)).push(&event, &payload);
            }
        }
    }
}

impl TopicAddressees {
    fn find(audience: Arc<Audience>, named: &Named<'_>) -> Self {
        let Named { numbers, sockets } = named;
        let has_id = |channel: &Channel| channel.socket_id().is_some_and(|id| sockets.contains(id));
        let found = audience.find(|subscriber| {
            numbers.contains(&subscriber.id) || !sockets.is_empty() && channel_of(subscriber).is_some_and(has_id)
        });
        let (mut by_number, mut by_socket) = (HashMap::new(), HashMap::<Box<str>, Vec<_>>::new());
        for channel in found.into_iter().filter_map(|member| member.downcast::<Channel>().ok()) {
            if numbers.contains(&channel.member.id) {
                by_number.insert(channel.member.id, Arc::clone(&channel));
            }
            if let Some(id) = channel.socket_id().filter(|id| sockets.contains(id)) {
                by_socket.entry(id.into()).or_default().push(Arc::clone(&channel));
            }
        }
        Self { audience, by_number, by_socket }
    }
}

/// Whether the mailboxes of the members that effects are addressed to, and the queues of their topics' frames, have room for
/// all of these effects.
pub(in crate::channel::member) fn have_addressees_room(pubsub: &PubSub, effects: &[Effect]) -> bool {
    let found = Addressees::of(pubsub, effects.iter());
    let (mut messages, mut frames) = (HashMap::new(), HashMap::new());
    for effect in effects {
        if let Effect::SendMember { topic, member, event, payload } = effect {
            if let Some(channel) = found.member(topic, *member) {
                let (_, count, bytes) = messages.entry(*member).or_insert((channel, 0, 0));
                (*count, *bytes) = (*count + 1, *bytes + event.len() + payload.len());
            }
        } else if let Effect::PushToSocket { topic, socket_id, .. } = effect {
            *frames.entry(topic).or_insert(0) += found.with_socket(topic, socket_id).len();
        }
    }
    let has_room = |topic: &Topic, frames: usize| {
        found.audience(topic).is_none_or(|audience| audience.has_room(frames + effects.len()))
    };
    messages.into_values().all(|(channel, count, bytes)| channel.has_room(count, bytes))
        && frames.into_iter().all(|(topic, count)| has_room(topic, count))
}

/// Sends an event of another node to a member's `handle_info`, if the member is here. `from` is the topic of the sender.
pub(in crate::channel) fn send_to_number(
    audience: &Audience,
    member: u64,
    from: &Topic,
    event: ByteString,
    payload: Payload,
) {
    if let Some(channel) = MemberSelector::Member(member).find(audience).first() {
        send_to(channel, from, event, payload);
    }
}

/// Sends an event to a member's `handle_info`. `from` is the topic of the sender.
fn send_to(channel: &Arc<Channel>, from: &Topic, event: ByteString, payload: Payload) {
    channel.post(MemberEvent::Info(Message { source: Source::Member, topic: from.clone(), event, payload }));
}

/// Sends an event to the `handle_info` of each of these members. Returns false if a mailbox has no room. Then nothing is sent.
pub(in crate::channel) fn send_to_all(channels: &[Arc<Channel>], event: &ByteString, payload: &Payload) -> bool {
    let bytes = event.len() + payload.len();
    if !channels.iter().all(|channel| channel.has_room(1, bytes)) {
        Limit::MailboxFromElsewhere.hit();
        return false;
    }
    for channel in channels {
        send_to(channel, &channel.member.topic, event.clone(), payload.clone());
    }
    true
}

/// Sends an event to the clients of these members of an audience. Returns false if the queue of the audience's frames has no
/// room. Then nothing is sent.
pub(in crate::channel) fn push_to_all(
    audience: &Audience,
    channels: &[Arc<Channel>],
    event: &str,
    payload: &Payload,
) -> bool {
    if !audience.has_room(channels.len()) {
        Limit::HandleOutQueue.hit();
        return false;
    }
    channels.iter().for_each(|channel| Frames::new(channel, Some(audience)).push(event, payload));
    true
}

fn channel_of(subscriber: &Subscriber) -> Option<&Channel> {
    subscriber.member.downcast_ref()
}
