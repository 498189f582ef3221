//! Conversions between the types of the SDK and those of the host's rules.

use std::time::Duration;

use bennu_semantics::{self as rules, TopicCallback};
use bennu_world as world;

use super::Sent;
use crate::bindings::bennu::channel::entries;
use crate::bindings::bennu::channel::store::Order;
use crate::bindings::bennu::channel::token::Problem;
use crate::bindings::bennu::channel::types::{self, Admission};
use crate::bindings::exports::bennu::channel::handle_message as message;
use crate::bindings::exports::bennu::channel::handle_out::Recipient;
use crate::bindings::exports::bennu::channel::upgrade::Part;
use crate::log::Level;
use crate::topics::Person;
use crate::{Answer, Decision, Ending, Message, Payload, Reply, SeatChange, Stop, Tick};

impl From<rules::Payload> for Payload {
    fn from(payload: rules::Payload) -> Self {
        match payload {
            rules::Payload::Json(text) => Self::Json(text.to_string()),
            rules::Payload::Binary(bytes) => Self::Binary(bytes.into()),
        }
    }
}

impl From<Payload> for rules::Payload {
    fn from(payload: Payload) -> Self {
        match payload {
            Payload::Json(text) => Self::Json(text.into()),
            Payload::Binary(bytes) => Self::Binary(bytes.into()),
        }
    }
}

impl From<&Payload> for rules::Payload {
    fn from(payload: &Payload) -> Self {
        payload.clone().into()
    }
}

impl From<rules::Reply> for Reply {
    fn from(rules::Reply { status, payload }: rules::Reply) -> Self {
        Self { status: status.to_string(), payload: payload.into() }
    }
}

impl From<Reply> for rules::Reply {
    fn from(Reply { status, payload }: Reply) -> Self {
        Self { status: status.into(), payload: payload.into() }
    }
}

impl From<&Reply> for rules::Reply {
    fn from(reply: &Reply) -> Self {
        reply.clone().into()
    }
}

impl From<Answer> for rules::Answer {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::None => Self::None,
            Answer::Reply(reply) => Self::Reply(reply.into()),
            Answer::Stop(Stop { reason, reply }) => Self::Stop(rules::Stop { reason, reply: reply.map(Into::into) }),
        }
    }
}

impl From<rules::Answer> for Answer {
    fn from(answer: rules::Answer) -> Self {
        match answer {
            rules::Answer::None | rules::Answer::Refuse(_) => Self::None,
            rules::Answer::Reply(reply) => Self::Reply(reply.into()),
            rules::Answer::Stop(rules::Stop { reason, reply }) => {
                Self::Stop(Stop { reason, reply: reply.map(Into::into) })
            }
            // The response of a join is a reply to it.
            rules::Answer::Admit(response) => Self::Reply(Reply::ok(Payload::from(response))),
        }
    }
}

impl From<types::Outcome> for world::CallOutcome {
    fn from(types::Outcome { assigns, room, answer }: types::Outcome) -> Self {
        Self { assigns: assigns.map(Into::into), room: room.map(Into::into), answer: answer.into() }
    }
}

impl From<message::Outcome> for world::CallOutcome {
    fn from(message::Outcome { room, reply }: message::Outcome) -> Self {
        let answer = reply.map_or(rules::Answer::None, |reply| rules::Answer::Reply(reply.into()));
        Self { assigns: None, room: room.map(Into::into), answer }
    }
}

impl From<Admission> for world::CallOutcome {
    fn from(admission: Admission) -> Self {
        match admission {
            Admission::Admitted(types::Admitted { assigns, room, response }) => Self {
                assigns: Some(assigns.into()),
                room: room.map(Into::into),
                answer: rules::Answer::Admit(response.into()),
            },
            Admission::Refused(response) => {
                Self { assigns: None, room: None, answer: rules::Answer::Refuse(response.into()) }
            }
        }
    }
}

impl From<rules::Message> for Message {
    fn from(rules::Message { source, topic, event, payload }: rules::Message) -> Self {
        let (topic, event) = (topic.to_string(), event.to_string());
        Self { source: source.as_str().into(), topic, event, payload: payload.into() }
    }
}

impl From<rules::Ending> for Ending {
    fn from(ending: rules::Ending) -> Self {
        Self { cause: ending.cause().into(), detail: ending.detail().into() }
    }
}

impl From<rules::Recipient> for Recipient {
    fn from(rules::Recipient { id, assigns }: rules::Recipient) -> Self {
        Self { member: id, assigns: assigns.into() }
    }
}

impl From<Decision> for rules::Decision {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Pass => Self::Pass,
            Decision::Drop => Self::Drop,
            Decision::Replace(payload) => Self::Replace(payload.into()),
            Decision::HandOver => Self::HandOver,
        }
    }
}

impl From<rules::Decision> for Decision {
    fn from(decision: rules::Decision) -> Self {
        match decision {
            rules::Decision::Pass => Self::Pass,
            rules::Decision::Drop => Self::Drop,
            rules::Decision::Replace(payload) => Self::Replace(payload.into()),
            rules::Decision::HandOver => Self::HandOver,
        }
    }
}

impl From<rules::Tick> for Tick {
    fn from(rules::Tick { number, missed, period }: rules::Tick) -> Self {
        Self { number, missed, period_ms: u32::try_from(period.as_millis()).unwrap_or(u32::MAX) }
    }
}

impl From<Tick> for rules::Tick {
    fn from(Tick { number, missed, period_ms }: Tick) -> Self {
        Self { number, missed, period: Duration::from_millis(period_ms.into()) }
    }
}

impl From<rules::SeatChange> for SeatChange {
    fn from(change: rules::SeatChange) -> Self {
        match change {
            rules::SeatChange::Taken => Self::Taken,
            rules::SeatChange::Dropped => Self::Dropped,
            rules::SeatChange::Returned => Self::Returned,
            rules::SeatChange::Gone => Self::Gone,
        }
    }
}

impl From<SeatChange> for rules::SeatChange {
    fn from(change: SeatChange) -> Self {
        match change {
            SeatChange::Taken => Self::Taken,
            SeatChange::Dropped => Self::Dropped,
            SeatChange::Returned => Self::Returned,
            SeatChange::Gone => Self::Gone,
        }
    }
}

impl From<rules::Part> for Part {
    fn from(part: rules::Part) -> Self {
        match part {
            rules::Part::Assigns => Self::Assigns,
            rules::Part::Room => Self::Room,
        }
    }
}

impl From<Level> for world::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Trace => Self::Trace,
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}

impl From<world::Level> for Level {
    fn from(level: world::Level) -> Self {
        match level {
            world::Level::Trace => Self::Trace,
            world::Level::Debug => Self::Debug,
            world::Level::Info => Self::Info,
            world::Level::Warn => Self::Warn,
            world::Level::Error => Self::Error,
        }
    }
}

impl From<Order> for world::Order {
    fn from(order: Order) -> Self {
        match order {
            Order::Forward => Self::Forward,
            Order::Backward => Self::Backward,
        }
    }
}

impl From<entries::Order> for rules::entries::Order {
    fn from(order: entries::Order) -> Self {
        match order {
            entries::Order::Forward => Self::Forward,
            entries::Order::Backward => Self::Backward,
        }
    }
}

impl From<world::TokenProblem> for Problem {
    fn from(problem: world::TokenProblem) -> Self {
        match problem {
            world::TokenProblem::Missing => Self::Missing,
            world::TokenProblem::Invalid => Self::Invalid,
            world::TokenProblem::Expired => Self::Expired,
        }
    }
}

impl From<world::Person> for Person {
    fn from(world::Person { member, user, socket_id }: world::Person) -> Self {
        Self { member, user, socket_id }
    }
}

impl From<Sent> for world::Sent {
    fn from(Sent { event, payload }: Sent) -> Self {
        Self { event: event.into(), payload: payload.into() }
    }
}

impl Sent {
    pub(super) fn of(event: &str, payload: rules::Payload) -> Self {
        Self { event: event.into(), payload: payload.into() }
    }
}

/// A call of `handle_seat`, as a test makes it.
pub(super) fn seat(name: &str, change: SeatChange) -> TopicCallback {
    TopicCallback::Seat { name: name.into(), change: change.into() }
}
