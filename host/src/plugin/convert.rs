//! Converts between the contract's types and those of the bindings, in both directions and without other logic.

use bytes::Bytes;

use super::bindings::bennu::channel::topics;
use super::bindings::bennu::channel::types as wit;
use super::bindings::exports::bennu::channel::{
    connect, handle_message, handle_out, handle_seat, handle_tick, upgrade,
};
use crate::contract::{
    Admission, Answer, Decision, Ending, Identity, Message, Outcome, Part, Person, Recipient, Reply, SeatChange, Stop,
    Tick,
};
use crate::protocol::Payload;

impl From<wit::PayloadResult> for Payload {
    fn from(payload: wit::PayloadResult) -> Self {
        match payload {
            wit::PayloadResult::Json(text) => Self::Json(text.into()),
            wit::PayloadResult::Binary(bytes) => Self::Binary(bytes.into()),
        }
    }
}

impl<'a> From<&'a Payload> for wit::PayloadParam<'a> {
    fn from(payload: &'a Payload) -> Self {
        match payload {
            Payload::Json(text) => Self::Json(text),
            Payload::Binary(bytes) => Self::Binary(bytes),
        }
    }
}

impl From<wit::Reply> for Reply {
    fn from(reply: wit::Reply) -> Self {
        Self { status: reply.status.into(), payload: reply.payload.into() }
    }
}

impl From<wit::Answer> for Answer {
    fn from(answer: wit::Answer) -> Self {
        match answer {
            wit::Answer::None => Self::None,
            wit::Answer::Reply(reply) => Self::Reply(reply.into()),
            wit::Answer::Stop(stop) => Self::Stop(Stop { reason: stop.reason, reply: stop.reply.map(Into::into) }),
        }
    }
}

impl From<wit::Outcome> for Outcome {
    fn from(outcome: wit::Outcome) -> Self {
        Self {
            assigns: outcome.assigns.map(Bytes::from),
            room: outcome.room.map(Bytes::from),
            entries: None,
            draft: None,
            effects: Vec::new(),
            answer: outcome.answer.into(),
        }
    }
}

impl From<wit::Admission> for Outcome {
    fn from(admission: wit::Admission) -> Self {
        let (assigns, room, answer) = match admission {
            wit::Admission::Admitted(admitted) => {
                (Some(admitted.assigns.into()), admitted.room.map(Bytes::from), Answer::Admit(admitted.response.into()))
            }
            wit::Admission::Refused(response) => (None, None, Answer::Refuse(response.into())),
        };
        Self { assigns, room, entries: None, draft: None, effects: Vec::new(), answer }
    }
}

impl From<handle_message::Outcome> for Outcome {
    fn from(outcome: handle_message::Outcome) -> Self {
        let answer = outcome.reply.map_or(Answer::None, |reply| Answer::Reply(reply.into()));
        Self { answer, ..Self::of_room(outcome.room) }
    }
}

impl From<connect::Verdict> for Admission {
    fn from(admission: connect::Verdict) -> Self {
        match admission {
            connect::Verdict::Granted(connect::Identity { socket_id, user, claims }) => Self::Granted(Identity {
                socket_id: socket_id.map(Into::into),
                user: user.map(Into::into),
                claims: claims.into(),
            }),
            connect::Verdict::Refused(connect::Refusal { status, body }) => Self::Refused { status, body },
        }
    }
}

impl From<Person> for topics::Person {
    fn from(person: Person) -> Self {
        Self { member: person.member, user: person.user.map(Into::into), socket_id: person.socket_id.map(Into::into) }
    }
}

impl Outcome {
    /// Returns the outcome of `terminate`, `handle-tick` or `handle-seat`, which consists of at most a room.
    pub(super) fn of_room(room: Option<Vec<u8>>) -> Self {
        let room = room.map(Bytes::from);
        Self { assigns: None, room, entries: None, draft: None, effects: Vec::new(), answer: Answer::None }
    }
}

impl<'a> From<&'a Message> for wit::Message<'a> {
    fn from(message: &'a Message) -> Self {
        Self {
            source: message.source.as_str(),
            topic: message.topic.as_str(),
            event: &message.event,
            payload: (&message.payload).into(),
        }
    }
}

impl<'a> From<&'a Ending> for wit::Ending<'a> {
    fn from(ending: &'a Ending) -> Self {
        Self { cause: ending.cause(), detail: ending.detail() }
    }
}

impl<'a> From<&'a Recipient> for handle_out::Recipient<'a> {
    fn from(recipient: &'a Recipient) -> Self {
        Self { member: recipient.id, assigns: &recipient.assigns }
    }
}

impl From<handle_out::Decision> for Decision {
    fn from(decision: handle_out::Decision) -> Self {
        match decision {
            handle_out::Decision::Pass => Self::Pass,
            handle_out::Decision::Drop => Self::Drop,
            handle_out::Decision::Replace(payload) => Self::Replace(payload.into()),
            handle_out::Decision::HandOver => Self::HandOver,
        }
    }
}

impl From<Tick> for handle_tick::Tick {
    fn from(Tick { number, missed, period }: Tick) -> Self {
        Self { number, missed, period_ms: u32::try_from(period.as_millis()).unwrap_or(u32::MAX) }
    }
}

impl From<Part> for upgrade::Part {
    fn from(part: Part) -> Self {
        match part {
            Part::Assigns => Self::Assigns,
            Part::Room => Self::Room,
        }
    }
}

impl From<SeatChange> for handle_seat::Change {
    fn from(change: SeatChange) -> Self {
        match change {
            SeatChange::Taken => Self::Taken,
            SeatChange::Dropped => Self::Dropped,
            SeatChange::Returned => Self::Returned,
            SeatChange::Gone => Self::Gone,
        }
    }
}
