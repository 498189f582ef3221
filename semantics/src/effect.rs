//! One action that a callback asks for. Everything that is particular to one effect is in this file: its parameters,
//! its requirements, and which checks its values need (`effect_values.rs`).

use std::time::Duration;

use bytestring::ByteString;
use serde::{Deserialize, Deserializer};

use crate::effect_values::{
    check_delay, check_droppable_key, check_event_for, check_own_for, check_period, check_ref, check_schedule,
    check_state,
};
use crate::http::read_request;
use crate::jobs::Schedule;
use crate::record::{Record, check_name};
use crate::rule::Rule;
use crate::{Capability, Fault, Follows, Grant, HttpRequest, MemberUsage, Need, Payload, PublishedState, Reply, Topic};

/// A timer's number, unique within its member.
pub type TimerId = u64;

/// The longest grace period of a seat, in milliseconds: a day. An SDK that checks it before the host must not refuse less.
pub const GRACE_MS_MAX: u32 = 24 * 60 * 60 * 1000;

/// An effect: an action that a callback asks for. It is recorded while the callback runs, and carried out after the
/// callback has succeeded.
///
/// A variant is a function of the contract, from the interface `socket`, `presence`, `entries` or `http`, and its fields are the
/// function's parameters. `Deserialize` is for `bennu kit` only, which passes each effect as a map with one
/// entry: the function's name, with a map of the parameters. In this form some parameters have shorter names: `ms`,
/// `seat` and `ref`. `docs/kit.md` lists all names.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// Sends an event to the member's own client.
    Push {
        /// The event.
        event: ByteString,
        /// Its payload: a JSON object, or bytes.
        #[serde(default)]
        payload: Payload,
    },
    /// Sends an event to all members of the topic.
    Broadcast {
        /// The event.
        event: ByteString,
        /// Its payload: a JSON object, or bytes.
        #[serde(default)]
        payload: Payload,
    },
    /// Sends an event to all members of the topic except this one.
    BroadcastFrom {
        /// The event.
        event: ByteString,
        /// Its payload: a JSON object, or bytes.
        #[serde(default)]
        payload: Payload,
    },
    /// Sends an event to all members of another topic.
    Publish {
        /// The other topic.
        topic: Topic,
        /// The event.
        event: ByteString,
        /// Its payload: a JSON object, or bytes.
        #[serde(default)]
        payload: Payload,
    },
    /// As `Broadcast`, but a slow client gets only the last of the events with this key.
    BroadcastDroppable {
        /// The key.
        key: Box<str>,
        /// The event.
        event: ByteString,
        /// Its payload: a JSON object, or bytes.
        #[serde(default)]
        payload: Payload,
    },
    /// As `BroadcastFrom`, but a slow client gets only the last of the events with this key.
    BroadcastFromDroppable {
        /// The key.
        key: Box<str>,
        /// The event.
        event: ByteString,
        /// Its payload: a JSON object, or bytes.
        #[serde(default)]
        payload: Payload,
    },
    /// As `Publish`, but a slow client gets only the last of the events with this key.
    PublishDroppable {
        /// The other topic.
        topic: Topic,
        /// The key.
        key: Box<str>,
        /// The event. It isn't a `ByteString`, because an effect of four such fields would make every effect larger.
        event: Box<str>,
        /// Its payload: a JSON object, or bytes.
        #[serde(default)]
        payload: Payload,
    },
    /// Sends an event to another topic's `handle_message`.
    Send {
        /// The other topic.
        topic: Topic,
        /// The event.
        event: ByteString,
        /// Its payload: any JSON value, or bytes.
        #[serde(default)]
        payload: Payload,
    },
    /// Sends an event to the `handle_info` of a member of any topic. If there is no such member, nothing happens.
    SendMember {
        /// The topic of the member.
        topic: Topic,
        /// The member's number.
        member: u64,
        /// The event. A `Box`, as in `PublishDroppable`.
        event: Box<str>,
        /// Its payload: any JSON value, or bytes.
        #[serde(default)]
        payload: Payload,
    },
    /// Sends an event to the clients of those members of a topic whose sockets have this id.
    PushToSocket {
        /// The topic.
        topic: Topic,
        /// The id, such as `user_socket:42`.
        socket_id: Box<str>,
        /// The event. A `Box`, as in `PublishDroppable`.
        event: Box<str>,
        /// Its payload: a JSON object, or bytes.
        #[serde(default)]
        payload: Payload,
    },
    /// Schedules a message to a topic's `handle_topic_info`. It is in a box, because it would make every effect larger.
    Schedule(Box<Schedule>),
    /// Cancels such a schedule.
    CancelSchedule {
        /// The topic.
        topic: Topic,
        /// The key.
        key: Box<str>,
    },
    /// Subscribes the member to the broadcasts of another topic.
    Subscribe {
        /// The other topic.
        topic: Topic,
    },
    /// Ends such a subscription.
    Unsubscribe {
        /// The other topic.
        topic: Topic,
    },
    /// Closes every socket with this id.
    Disconnect {
        /// The id, such as `user_socket:42`.
        socket_id: ByteString,
    },
    /// Answers an earlier message of the member.
    #[serde(deserialize_with = "late_reply")]
    Reply {
        /// The JSON text of that message's ref.
        reply_ref: ByteString,
        /// The answer.
        reply: Reply,
    },
    /// Answers an earlier topic message.
    #[serde(deserialize_with = "late_reply")]
    Answer {
        /// The message's name, which its callback got. It isn't a `ByteString`, because that would make every effect larger.
        answer_ref: Box<str>,
        /// The answer.
        reply: Reply,
    },
    /// The call took the name of its topic message: it may be answered later. It isn't a function of the contract.
    #[serde(skip)]
    AnswerLater,
    /// Sends an event to the member's own `handle_info`.
    SendSelf {
        /// The event.
        event: ByteString,
        /// Its payload: any JSON value, or bytes.
        #[serde(default)]
        payload: Payload,
    },
    /// Starts a timer. When it fires, the member's own `handle_info` gets the event.
    SendAfter {
        /// The time until the timer fires, in milliseconds.
        #[serde(rename = "ms")]
        milliseconds: u64,
        /// The event.
        event: ByteString,
        /// Its payload: any JSON value, or bytes.
        #[serde(default)]
        payload: Payload,
    },
    /// Cancels a timer.
    Cancel {
        /// The timer's number.
        timer: TimerId,
    },
    /// Publishes a state of the topic.
    PublishState {
        /// The state.
        state: PublishedState,
    },
    /// Puts the member on a seat of its topic.
    TakeSeat {
        /// The name of the seat.
        #[serde(rename = "seat")]
        name: ByteString,
        /// The grace period in milliseconds: how long the host keeps the seat if the member's connection drops.
        #[serde(rename = "ms")]
        grace_ms: u32,
    },
    /// Gives up the member's seat.
    #[serde(deserialize_with = "no_fields")]
    LeaveSeat,
    /// Sets the topic's tick period.
    Tick {
        /// The period in milliseconds. Zero ends the tick.
        #[serde(rename = "ms")]
        milliseconds: u32,
    },
    /// Tracks the member under a key of the topic's presences.
    Track {
        /// The key.
        key: ByteString,
        /// The meta: the text of a JSON object.
        meta: ByteString,
    },
    /// Replaces the meta of a presence of the member.
    UpdatePresence {
        /// The key.
        key: ByteString,
        /// The new meta: the text of a JSON object.
        meta: ByteString,
    },
    /// Ends a presence of the member.
    Untrack {
        /// The key.
        key: ByteString,
    },
    /// Sends all presences of the topic to the member's own client.
    #[serde(deserialize_with = "no_fields")]
    PushPresences,
    /// The member follows the published entries whose keys begin with a prefix.
    Follow {
        /// The prefix.
        prefix: ByteString,
    },
    /// The member no longer follows a prefix.
    Unfollow {
        /// The prefix.
        prefix: ByteString,
    },
    /// Sends a request by HTTP. The member's own `handle_info` gets the answer, or the topic's `handle_topic_info`.
    #[serde(deserialize_with = "read_request")]
    HttpRequest {
        /// The event of the answer.
        key: ByteString,
        /// The request. Boxed, because few calls have one.
        request: Box<HttpRequest>,
    },
}

const _: () = assert!(size_of::<Effect>() == 104, "the effects of each call are in a list");

impl Effect {
    /// Its requirements. Inlined always, because most callers need only one of them, and the others then cost nothing.
    #[inline(always)]
    pub(crate) fn rule(&self) -> Rule<'_> {
        use Capability::{Member, Topic};
        match self {
            Self::Push { event, payload } | Self::BroadcastFrom { event, payload } => {
                Rule::new(Member, event.len() + payload.len())
            }
            Self::BroadcastFromDroppable { key, event, payload } => {
                Rule::new(Member, key.len() + event.len() + payload.len())
            }
            Self::Broadcast { event, payload } => Rule::new(Topic, event.len() + payload.len()),
            Self::BroadcastDroppable { key, event, payload } => {
                Rule::new(Topic, key.len() + event.len() + payload.len())
            }
            Self::Publish { topic, event, payload } => publishing(topic, event.len() + payload.len()),
            Self::PublishDroppable { topic, key, event, payload } => {
                publishing(topic, key.len() + event.len() + payload.len())
            }
            Self::Send { topic, event, payload } => {
                let bytes = event.len() + payload.len();
                let grant = Grant::Reach("sending to", topic.as_str());
                Rule::new(Topic, topic.as_str().len() + bytes).need(Need::Message(topic, bytes)).grant(grant)
            }
            Self::SendMember { topic, event, payload, .. } => {
                addressed("sending to members of", topic, event.len() + payload.len())
            }
            Self::PushToSocket { topic, socket_id, event, payload } => {
                addressed("pushing to members of", topic, socket_id.len() + event.len() + payload.len())
            }
            Self::Schedule(schedule) => {
                let Schedule { topic, key, event, payload, .. } = &**schedule;
                let bytes = topic.as_str().len() + key.len() + event.len() + payload.len();
                Rule::new(Topic, bytes).grant(Grant::Schedule(topic.as_str()))
            }
            Self::CancelSchedule { topic, key } => {
                Rule::new(Topic, topic.as_str().len() + key.len()).grant(Grant::Schedule(topic.as_str()))
            }
            Self::Subscribe { topic } => Rule::new(Member, topic.as_str().len()).grant(Grant::Read(topic.as_str())),
            Self::Unsubscribe { topic } => Rule::new(Member, topic.as_str().len()),
            Self::Disconnect { socket_id } => Rule::new(Topic, socket_id.len()).grant(Grant::Disconnect(socket_id)),
            Self::Reply { reply_ref, reply } => Rule::new(Member, reply_ref.len() + reply.payload.len()),
            Self::Answer { answer_ref, reply } => Rule::new(Topic, answer_ref.len() + reply.payload.len()),
            Self::SendSelf { event, payload } => {
                let bytes = event.len() + payload.len();
                Rule::new(Member, bytes).need(Need::Mailbox(bytes))
            }
            Self::SendAfter { event, payload, .. } => {
                let bytes = event.len() + payload.len();
                Rule::new(Member, bytes).need(Need::Timer(bytes))
            }
            Self::PublishState { state } => Rule::new(Topic, state.text().len()).need(Need::Room),
            Self::TakeSeat { name, .. } => Rule::new(Member, name.len()).need(Need::Room),
            Self::Tick { .. } => Rule::new(Topic, 0).need(Need::Room),
            Self::Track { key, meta } | Self::UpdatePresence { key, meta } => Rule::new(Member, key.len() + meta.len()),
            Self::Untrack { key } => Rule::new(Member, key.len()),
            Self::Follow { prefix } | Self::Unfollow { prefix } => Rule::new(Member, prefix.len()).need(Need::Room),
            Self::AnswerLater => Rule::new(Topic, 0),
            Self::HttpRequest { key, request } => Rule::new(Topic, key.len() + request.bytes()),
            Self::Cancel { .. } | Self::LeaveSeat | Self::PushPresences => Rule::new(Member, 0),
        }
    }

    /// Whether it repeats a subscription of the member, or changes nothing of the entries that it follows. Then it isn't
    /// recorded, and doesn't count.
    pub(crate) fn changes_nothing(&self, usage: &MemberUsage) -> bool {
        let follows = |prefix| usage.follows.as_ref().is_some_and(|follows| follows.contains(prefix));
        if let Self::Subscribe { topic } = self {
            usage.topics.contains(topic)
        } else if let Self::Follow { prefix } = self {
            follows(prefix)
        } else if let Self::Unfollow { prefix } = self {
            !follows(prefix)
        } else {
            false
        }
    }

    /// Checks its values, and counts the member's resources after it. Returns the number of a timer.
    pub(crate) fn check(&mut self, record: &mut Record) -> Result<Option<TimerId>, Fault> {
        match self {
            Self::Push { event, payload }
            | Self::Broadcast { event, payload }
            | Self::BroadcastFrom { event, payload } => record.check_event(event, payload)?,
            Self::Publish { topic, event, payload } => check_event_for(record, topic, (event, payload))?,
            Self::BroadcastDroppable { key, event, payload } | Self::BroadcastFromDroppable { key, event, payload } => {
                check_droppable_key(key)?;
                record.check_event(event, payload)?;
            }
            Self::PublishDroppable { topic, key, event, payload } => {
                check_droppable_key(key)?;
                check_event_for(record, topic, (event, payload))?;
            }
            Self::Send { topic, event, payload } => check_own_for(record, topic, (event, payload))?,
            Self::SendMember { topic, event, payload, .. } => check_own_for(record, topic, (event, payload))?,
            Self::PushToSocket { topic, socket_id, event, payload } => {
                check_name("a socket's id", socket_id)?;
                check_event_for(record, topic, (event, payload))?;
            }
            Self::Schedule(schedule) => {
                let Schedule { topic, key, event, payload, .. } = &**schedule;
                check_schedule(topic, key)?;
                record.check_own(event, payload)?;
            }
            Self::CancelSchedule { topic, key } => check_schedule(topic, key)?,
            Self::Subscribe { topic } => {
                check_name("a topic", topic.as_str())?;
                record.usage.subscribe(topic, &record.limits)?;
            }
            Self::Unsubscribe { topic } => record.usage.unsubscribe(topic),
            Self::Disconnect { socket_id } => check_name("a socket's id", socket_id)?,
            Self::Reply { reply_ref, reply } => {
                check_ref(reply_ref)?;
                record.check_answer(reply)?;
            }
            Self::Answer { answer_ref, reply } => {
                check_name("an answer-ref", answer_ref)?;
                record.check_answer(reply)?;
            }
            Self::SendSelf { event, payload } => record.check_own(event, payload)?,
            Self::SendAfter { milliseconds, event, payload } => {
                record.check_own(event, payload)?;
                check_delay(Duration::from_millis(*milliseconds), record.limits.timer_shortest)?;
                return record.usage.start_timer(&record.limits).map(Some);
            }
            Self::Cancel { timer } => record.usage.cancel_timer(*timer),
            Self::PublishState { state } => check_state(record, state)?,
            Self::TakeSeat { name, grace_ms } => {
                check_name("a seat's name", name)?;
                if *grace_ms > GRACE_MS_MAX {
                    return Err(Fault::oversize("a seat is kept for at most a day"));
                }
            }
            Self::Tick { milliseconds } => {
                check_period(Duration::from_millis((*milliseconds).into()), record.limits.timer_shortest)?;
            }
            Self::Track { key, meta } => {
                check_name("a presence's key", key)?;
                record.clean_meta(meta)?;
                record.usage.track(key, &record.limits)?;
            }
            Self::UpdatePresence { key, meta } => {
                record.clean_meta(meta)?;
                record.usage.check_tracked(key)?;
            }
            Self::Untrack { key } => record.usage.untrack(key),
            Self::Follow { prefix } => {
                check_name("a prefix of entries", prefix)?;
                record.check_published(prefix)?;
                Follows::follow(&mut record.usage.follows, prefix, &record.limits)?;
            }
            Self::Unfollow { prefix } => Follows::unfollow(&mut record.usage.follows, prefix),
            Self::HttpRequest { key, .. } => check_name("the key of a request", key)?,
            Self::LeaveSeat | Self::PushPresences | Self::AnswerLater => {}
        }
        Ok(None)
    }

    /// What it needs when its call has succeeded.
    #[must_use]
    #[inline]
    pub fn need(&self) -> Need<'_> {
        self.rule().need
    }

    /// What the plugin must be granted.
    #[must_use]
    #[inline]
    pub fn grant(&self) -> Grant<'_> {
        self.rule().grant
    }
}

/// The requirements of an event to members of another topic. `bytes` doesn't include the topic's name.
#[inline]
fn publishing(topic: &Topic, bytes: usize) -> Rule<'_> {
    let grant = Grant::Reach("publishing to", topic.as_str());
    Rule::new(Capability::Topic, topic.as_str().len() + bytes).need(Need::Audience(topic)).grant(grant)
}

/// The requirements of a message to some members of a topic. `bytes` doesn't include the topic's name.
#[inline]
fn addressed<'a>(doing: &'static str, topic: &'a Topic, bytes: usize) -> Rule<'a> {
    let grant = Grant::Reach(doing, topic.as_str());
    Rule::new(Capability::Topic, topic.as_str().len() + bytes).need(Need::Addressees).grant(grant)
}

/// Reads an effect without parameters: an empty object.
fn no_fields<'de, D: Deserializer<'de>>(source: D) -> Result<(), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct NoFields {}
    NoFields::deserialize(source).map(|NoFields {}| ())
}

/// Reads the parameters of [`Effect::Reply`] and [`Effect::Answer`]. In JSON the reply's fields are beside the ref.
fn late_reply<'de, D: Deserializer<'de>, T: From<String>>(source: D) -> Result<(T, Reply), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct LateReply {
        #[serde(rename = "ref")]
        to: String,
        status: Option<ByteString>,
        #[serde(default)]
        payload: Payload,
    }
    let LateReply { to, status, payload } = LateReply::deserialize(source)?;
    Ok((to.into(), Reply { status: status.unwrap_or(ByteString::from_static("ok")), payload }))
}
