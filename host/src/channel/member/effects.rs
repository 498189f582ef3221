//! Carries out effects, in the turns of members and of topics.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytestring::ByteString;

use super::addressed::{Addressees, have_addressees_room};
use super::channel::{Channel, State};
use super::event::MemberEvent;
use super::frames::Frames;
use super::http::send_request;
use super::seat::sit;
use super::topic_subscription::listen;
use crate::channel::room::{
    TopicMessage, TopicTurns, Topics, follow_entries, post_message, publish, send_topic_request, set_tick,
};
use crate::contract::{Effect, Follows, HttpRequest, Message, Need, SeatRequest, Source, TimerId};
use crate::protocol::{Payload, Ref, Topic};
use crate::pubsub::{Audience, Broadcast, Droppable, Except};

/// The first event that phoenix.js's `Presence` needs: the whole list.
const PRESENCE_STATE: &str = "presence_state";

/// The turn whose effects are carried out.
pub(in crate::channel) struct EffectScope<'a> {
    topics: &'a Arc<Topics>,
    topic: &'a Topic,
    /// The topic's turns. None in the turn of a member with a queue of its own, whose topic has no room.
    turns: Option<&'a Arc<TopicTurns>>,
    /// None in a topic's turn.
    member: Option<MemberScope<'a>>,
}

/// The member whose turn it is.
struct MemberScope<'a> {
    channel: &'a Arc<Channel>,
    audience: Option<&'a Audience>,
    /// None if it has ended. Then only effects on others and on its client are carried out.
    state: Option<&'a mut State>,
}

impl<'a> EffectScope<'a> {
    pub(in crate::channel::member) fn of_member(
        channel: &'a Arc<Channel>,
        audience: Option<&'a Audience>,
        state: Option<&'a mut State>,
    ) -> Self {
        let member = Some(MemberScope { channel, audience, state });
        Self { topics: &channel.topics, topic: &channel.member.topic, turns: channel.topic_turns(), member }
    }

    pub(in crate::channel) fn of_topic(turns: &'a Arc<TopicTurns>) -> Self {
        Self { topics: &turns.topics, topic: &turns.name, turns: Some(turns), member: None }
    }

    /// Sends an event to the topic's members. `key` is the key of a droppable one.
    fn broadcast(&self, key: Option<Box<str>>, event: ByteString, payload: Payload) {
        self.publish(self.topic.clone(), key, event, payload, Except::Nobody);
    }

    /// The same, except to the member whose turn it is.
    fn broadcast_from(&self, key: Option<Box<str>>, event: ByteString, payload: Payload) {
        if let Some(MemberScope { channel, .. }) = &self.member {
            self.publish(self.topic.clone(), key, event, payload, Except::Member(channel.member.id));
        }
    }

    /// Sends an event to the members of any topic.
    fn publish(&self, topic: Topic, key: Option<Box<str>>, event: ByteString, payload: Payload, except: Except) {
        let droppable = key.map(|key| Droppable::of(&topic, &event, key.into_string()));
        self.topics.services.pubsub.broadcast(Broadcast { topic, event, payload, except, droppable, number: None });
    }

    /// Sends a request by HTTP.
    fn request(&self, key: ByteString, request: Box<HttpRequest>) {
        match (&self.member, self.turns) {
            // Also for a member that has ended: the request concerns others. Nobody gets the answer then.
            (Some(member), _) => send_request(member.channel, key, request),
            (None, Some(turns)) => send_topic_request(turns, key, request),
            (None, None) => {}
        }
    }

    /// Carries out an effect on the topic's room. [`Need::Room`] has checked that there is one.
    fn room(&self, act: impl FnOnce(&Arc<TopicTurns>)) {
        if let Some(turns) = self.turns {
            act(turns);
        }
    }

    /// Carries out an effect that only a member's turn can have. The record refuses such an effect in a topic's turn.
    fn member(&self, act: impl FnOnce(&Arc<Channel>, Frames<'_>)) {
        if let Some(MemberScope { channel, audience, .. }) = &self.member {
            act(channel, Frames::new(channel, *audience));
        }
    }

    /// Carries out an effect on a member's state at the host, unless the member has ended.
    fn state(&mut self, act: impl FnOnce(&Arc<Channel>, &mut State)) {
        if let Some(MemberScope { channel, state: Some(state), .. }) = &mut self.member {
            act(channel, state);
        }
    }
}

/// Carries out effects in the order of the calls that asked for them.
pub(in crate::channel) fn carry_out(effects: Vec<Effect>, mut scope: EffectScope<'_>) {
    let (mut seat, mut follows, mut addressees) = (SeatRequest::default(), false, None);
    let mut effects = effects.into_iter();
    while let Some(effect) = effects.next() {
        if matches!(effect, Effect::SendMember { .. } | Effect::PushToSocket { .. }) {
            let pubsub = &scope.topics.services.pubsub;
            let found = addressees
                .get_or_insert_with(|| Addressees::of(pubsub, std::iter::once(&effect).chain(effects.as_slice())));
            found.carry_out(pubsub, scope.topic, effect);
            continue;
        }
        follows |= matches!(effect, Effect::Follow { .. } | Effect::Unfollow { .. });
        carry_out_one(effect, &mut scope, &mut seat);
    }
    scope.state(|channel, state| sit(channel, seat, state));
    if follows {
        scope.state(|channel, state| follow(channel, state));
    }
}

/// Carries out one effect.
fn carry_out_one(effect: Effect, scope: &mut EffectScope<'_>, seat: &mut SeatRequest) {
    let services = &scope.topics.services;
    match effect {
        // In any turn.
        Effect::Broadcast { event, payload } => scope.broadcast(None, event, payload),
        Effect::BroadcastDroppable { key, event, payload } => scope.broadcast(Some(key), event, payload),
        Effect::Publish { topic, event, payload } => scope.publish(topic, None, event, payload, Except::Nobody),
        Effect::PublishDroppable { topic, key, event, payload } => {
            scope.publish(topic, Some(key), event.into(), payload, Except::Nobody);
        }
        Effect::Send { topic, event, payload } => match &scope.member {
            Some(member) => {
                let sender = Arc::downgrade(member.channel);
                post_message(scope.topics, TopicMessage { topic, event, payload, sender });
            }
            None => post_message(scope.topics, TopicMessage { topic, event, payload, sender: () }),
        },
        Effect::Disconnect { socket_id } => {
            services.pubsub.disconnect(&socket_id);
        }
        Effect::HttpRequest { key, request } => scope.request(key, request),
        // In a turn of a topic with a room.
        Effect::Tick { milliseconds } => {
            let period = Duration::from_millis(milliseconds.into());
            scope.room(|turns| set_tick(turns, (!period.is_zero()).then_some(period)));
        }
        Effect::PublishState { state } => scope.room(|turns| publish(turns, state)),
        // In a member's turn.
        Effect::BroadcastFrom { event, payload } => scope.broadcast_from(None, event, payload),
        Effect::BroadcastFromDroppable { key, event, payload } => scope.broadcast_from(Some(key), event, payload),
        Effect::Push { event, payload } => scope.member(|_, frames| frames.push(&event, &payload)),
        Effect::Reply { reply_ref, reply } => {
            scope.member(|_, frames| frames.reply(&Ref::from_json(reply_ref), &reply));
        }
        // In their place among the diffs.
        Effect::PushPresences => scope.member(|channel, frames| {
            let topic = &channel.member.topic;
            services.presence.show(topic, |payload| frames.push(PRESENCE_STATE, &payload));
        }),
        Effect::TakeSeat { name, grace_ms } => seat.take(name, Duration::from_millis(grace_ms.into())),
        Effect::LeaveSeat => seat.leave(),
        // In a member's turn, unless the member has ended.
        Effect::SendSelf { event, payload } => scope.state(|channel, _| {
            let topic = channel.member.topic.clone();
            channel.post(MemberEvent::Info(Message { source: Source::Own, topic, event, payload }));
        }),
        Effect::SendAfter { milliseconds, event, payload } => scope.state(|channel, state| {
            let after = Duration::from_millis(milliseconds);
            state.timers.add(event, payload, |timer| tokio::spawn(fire(Arc::downgrade(channel), after, timer)));
        }),
        Effect::Cancel { timer } => scope.state(|_, state| state.timers.cancel(timer)),
        Effect::Subscribe { topic } => scope.state(|channel, state| state.subscriptions.push(listen(channel, &topic))),
        Effect::Unsubscribe { topic } => {
            scope.state(|_, state| state.subscriptions.retain(|subscription| *subscription.topic() != topic));
        }
        Effect::Track { key, meta } => scope.state(|channel, state| {
            // The record has refused every key and meta that the presence would refuse.
            let tracked = services.presence.track(&channel.member.topic, channel.member.id, &key, &meta).is_ok();
            state.presences.extend(tracked.then_some(key));
        }),
        Effect::UpdatePresence { key, meta } => scope.state(|channel, _| {
            // An unknown key isn't a fault.
            let _ = services.presence.update(&channel.member.topic, channel.member.id, &key, &meta);
        }),
        Effect::Answer { answer_ref, reply } => scope.topics.answers.answer(&answer_ref, reply),
        // `carry_out` has done the first two, and the turn of the message has seen the last one.
        Effect::SendMember { .. } | Effect::PushToSocket { .. } | Effect::AnswerLater => {}
        // They are in the draft of the call.
        Effect::Schedule(_) | Effect::CancelSchedule { .. } => {}
        effect @ (Effect::Follow { .. } | Effect::Unfollow { .. }) => {
            scope.state(|_, state| Follows::carry_out(&mut state.follows, &effect));
        }
        Effect::Untrack { key } => scope.state(|channel, state| {
            state.presences.retain(|other| *other != key);
            services.presence.untrack(&channel.member.topic, channel.member.id, &key);
        }),
    }
}

/// The member follows other published entries from now on. Its client gets them at the end of the turn.
fn follow(channel: &Channel, state: &State) {
    let followed = state.follows.as_ref().map(|follows| follows.set());
    if let (Some(topic), Some(subscription)) = (channel.topic_turns(), &state.subscription) {
        follow_entries(topic, subscription, followed.as_ref());
    }
}

/// Waits for a timer to fire. It doesn't keep the channel alive.
async fn fire(channel: Weak<Channel>, after: Duration, timer: TimerId) {
    tokio::time::sleep(after).await;
    if let Some(channel) = channel.upgrade() {
        channel.post(MemberEvent::Timer(timer));
    }
}

/// Whether the queues of other topics have room for these effects. The caller asks the topic's own.
pub(in crate::channel) fn has_room_for(topics: &Topics, effects: &[Effect]) -> bool {
    let (mut messages, mut bytes, mut has_addressees) = (0, 0, false);
    for effect in effects {
        match effect.need() {
            Need::Message(_, more) => {
                messages += 1;
                bytes += more;
            }
            Need::Addressees => has_addressees = true,
            Need::Nothing | Need::Room | Need::Mailbox(_) | Need::Timer(_) | Need::Audience(_) => {}
        }
    }
    if has_addressees && !have_addressees_room(&topics.services.pubsub, effects) {
        return false;
    }
    effects.iter().all(|effect| match effect.need() {
        Need::Audience(topic) => {
            let audience = topics.services.pubsub.audience(topic.as_str());
            audience.is_none_or(|audience| audience.has_room(effects.len()))
        }
        Need::Message(topic, _) => topics.has_room(topic, messages, bytes),
        Need::Nothing | Need::Room | Need::Mailbox(_) | Need::Timer(_) | Need::Addressees => true,
    })
}
