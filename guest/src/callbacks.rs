//! Converts between the contract's bytes and a channel's types: one function for each export, generic over the channel.

use serde::Serialize;

use crate::bindings::bennu::channel::types::{Admission, Admitted, Membership, Outcome};
use crate::bindings::exports::bennu::channel::{handle_message as message, handle_out as out, upgrade::Part};
use crate::host::socket;
use crate::output::empty;
use crate::room::Shared;
use crate::state;
use crate::{
    Answer, Channel, Decision, Ending, Error, Handled, Message, Old, OldEntry, Payload, Recipient, Reply, SeatChange,
    Socket, Tick, Topic, Upgrade, Upgraded,
};

/// The result of an export: its value, or the text of a fault.
pub(crate) type Called<T> = Result<T, String>;

/// The encoded room, or none if the topic has no room or no callback has written it.
pub(crate) type Room = Option<Vec<u8>>;

pub(crate) fn join<C: Channel>(member: u64, topic: String, params: Payload, room: Room) -> Called<Admission> {
    let mut socket = Socket::new(topic, member, None, Shared::new(room));
    socket.response = Some(empty());
    match C::join(&mut socket, params) {
        Ok(me) => Ok(Admission::Admitted(Admitted {
            assigns: state::encode(&me)?,
            room: socket.room.changed()?,
            response: socket.response.unwrap_or_else(empty),
        })),
        Err(Error::Refused(response)) => Ok(Admission::Refused(response)),
        Err(Error::Failed(why)) => Err(why),
    }
}

pub(crate) fn handle_in<C: Channel>(
    member: Membership,
    event: &str,
    payload: Payload,
    reply_ref: Option<String>,
) -> Called<Outcome> {
    let mut turn = Turn::<C>::begin(member, reply_ref)?;
    match turn.me.handle_in(&mut turn.socket, event, payload) {
        Err(Error::Refused(response)) => {
            Ok(Outcome { assigns: None, room: None, answer: Answer::Reply(refused(response)) })
        }
        handled => turn.end(handled.map_err(text)?),
    }
}

pub(crate) fn handle_info<C: Channel>(member: Membership, message: Message) -> Called<Outcome> {
    let mut turn = Turn::<C>::begin(member, None)?;
    let event = message.event.clone();
    let handled = turn.me.handle_info(&mut turn.socket, message);
    turn.end(unreplied(handled, &event)?)
}

pub(crate) fn handle_message<C: Channel>(
    topic: String,
    event: &str,
    payload: Payload,
    room: Room,
) -> Called<message::Outcome> {
    let mut topic = Topic::<C::Room>::new(topic, Shared::new(room));
    let reply = match C::handle_message(&mut topic, event, payload) {
        Ok(Answer::Reply(reply)) => Some(reply),
        Ok(Answer::None) => None,
        Ok(Answer::Stop(_)) => {
            return Err(format!("handle_message answered {event:?} with a stop, but it has no member to stop"));
        }
        Err(Error::Refused(response)) => {
            return Ok(message::Outcome { room: None, reply: Some(refused(response)) });
        }
        Err(error) => return Err(text(error)),
    };
    Ok(message::Outcome { room: topic.room.changed()?, reply })
}

pub(crate) fn handle_topic_info<C: Channel>(topic: String, message: Message, room: Room) -> Called<Room> {
    let mut topic = Topic::<C::Room>::new(topic, Shared::new(room));
    let event = message.event.clone();
    C::handle_topic_info(&mut topic, message)
        .map_err(|error| format!("handle_topic_info of {event:?}: {}", text(error)))?;
    topic.room.changed()
}

pub(crate) fn handle_tick<C: Channel>(topic: String, tick: &Tick, room: Room) -> Called<Room> {
    let mut topic = Topic::<C::Room>::new(topic, Shared::new(room));
    C::handle_tick(&mut topic, tick).map_err(|error| format!("handle_tick: {}", text(error)))?;
    topic.room.changed()
}

pub(crate) fn handle_seat<C: Channel>(topic: String, seat: &str, change: SeatChange, room: Room) -> Called<Room> {
    let mut topic = Topic::<C::Room>::new(topic, Shared::new(room));
    C::handle_seat(&mut topic, seat, change).map_err(|error| format!("handle_seat of {seat:?}: {}", text(error)))?;
    topic.room.changed()
}

pub(crate) fn upgrade<C: Channel>(topic: &str, part: Part, version: u32, state: Vec<u8>) -> Called<Vec<u8>> {
    let old = Old::new(topic, version, &state);
    let new = match part {
        Part::Assigns => upgraded_bytes(C::upgrade(&old)),
        Part::Room => upgraded_bytes(C::upgrade_room(&old)),
    };
    Ok(new?.unwrap_or(state))
}

pub(crate) fn upgrade_entry<C: Channel>(topic: &str, key: &[u8], version: u32, value: Vec<u8>) -> Called<Vec<u8>> {
    let upgraded = C::upgrade_entry(&OldEntry::of::<C>(topic, key, version, &value)).map_err(text)?;
    Ok(upgraded.value.unwrap_or(value))
}

/// Returns the new bytes, or none if the old bytes stay.
fn upgraded_bytes<S: Serialize>(upgraded: Upgraded<S>) -> Called<Option<Vec<u8>>> {
    match upgraded.map_err(text)? {
        Upgrade::New(state) => state::encode(&state).map(Some),
        Upgrade::AsItIs => Ok(None),
    }
}

pub(crate) fn terminate<C: Channel>(member: Membership, ending: Ending) -> Called<Room> {
    let mut turn = Turn::<C>::begin(member, None)?;
    turn.me.terminate(&mut turn.socket, ending);
    turn.socket.room.changed()
}

pub(crate) fn handle_out<C: Channel>(
    topic: &str,
    event: &str,
    payload: &Payload,
    recipients: &[out::Recipient],
) -> Called<Vec<Decision>> {
    let decide = |recipient: &out::Recipient| {
        let me: C = state::decode(&recipient.assigns)?;
        me.handle_out(&Recipient::new(topic, recipient.member), event, payload)
            .map_err(|error| format!("handle_out of {event:?}: {}", text(error)))
    };
    recipients.iter().map(decide).collect()
}

/// A member's decoded state while one callback runs.
struct Turn<C: Channel> {
    me: C,
    socket: Socket<C::Room>,
    /// The encoded state before the callback, to find out whether the callback changed it.
    assigns: Vec<u8>,
}

impl<C: Channel> Turn<C> {
    fn begin(member: Membership, reply_ref: Option<String>) -> Called<Self> {
        let me = state::decode(&member.assigns)?;
        let socket = Socket::new(member.topic, member.id, reply_ref, Shared::new(member.room));
        Ok(Self { me, socket, assigns: member.assigns })
    }

    fn end(self, answer: Answer) -> Called<Outcome> {
        Ok(Outcome {
            assigns: state::changed(&self.me, Some(&self.assigns))?,
            room: self.socket.room.changed()?,
            answer,
        })
    }
}

/// Returns the answer to a mistake of a client: an `error` reply, and nothing else of the callback happens.
fn refused(response: Payload) -> Reply {
    socket::discard();
    Reply::error(response)
}

/// Returns the answer to a message that no client sent. A reply is a fault, because no client waits for it. A refusal
/// is also a fault, because no client made a mistake.
fn unreplied(handled: Handled, event: &str) -> Called<Answer> {
    match handled {
        Ok(Answer::Reply(_)) => Err(format!(
            "handle_info answered {event:?} with a reply, but no client waits for one: return no_reply(), and answer an \
             earlier message with socket.reply_later(..)"
        )),
        Ok(answer) => Ok(answer),
        Err(error) => Err(format!("handle_info of {event:?}: {}", text(error))),
    }
}

pub(crate) fn text(error: Error) -> String {
    match error {
        Error::Refused(Payload::Json(text)) => text,
        Error::Refused(Payload::Binary(_)) => "refused with a binary payload".into(),
        Error::Failed(why) => why,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::prelude::*;

    #[derive(Serialize, Deserialize)]
    struct Counter(u32);

    impl Channel for Counter {
        type Room = Vec<u32>;

        fn join(_socket: &mut Socket<Vec<u32>>, _params: Payload) -> Join<Self> {
            Ok(Counter(0))
        }

        fn handle_in(&mut self, socket: &mut Socket<Vec<u32>>, event: &str, _payload: Payload) -> Handled {
            match event {
                "count" => self.0 += 1,
                "share" => socket.room_mut().push(self.0),
                _ => {
                    socket.room_mut();
                }
            }
            no_reply()
        }
    }

    /// The host may give an older build a state that only a newer build can read. A channel without `upgrade` must pass
    /// such a state on without decoding it.
    #[test]
    fn without_an_upgrade_a_state_is_passed_on_unchanged() {
        for part in [Part::Assigns, Part::Room] {
            let state = vec![0xc1, 0, 255];
            assert_eq!(upgrade::<Counter>("t", part, 7, state.clone()), Ok(state));
        }
    }

    #[test]
    fn only_a_changed_state_is_returned() {
        let room = Some(state::encode(&[1, 2]).unwrap());
        let Ok(Admission::Admitted(admitted)) = join::<Counter>(1, "t".into(), empty(), room.clone()) else {
            panic!("not admitted")
        };
        let member = Membership { id: 1, topic: "t".into(), assigns: admitted.assigns, room };
        let changes = |event| {
            let outcome = handle_in::<Counter>(member.clone(), event, empty(), None).unwrap();
            (outcome.assigns.is_some(), outcome.room.is_some())
        };
        assert_eq!(
            (changes("count"), changes("share"), changes("look")),
            ((true, false), (false, true), (false, false))
        );
    }
}
