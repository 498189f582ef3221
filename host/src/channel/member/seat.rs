//! The seat of a member.

use bytestring::ByteString;

use super::channel::{Channel, State};
use crate::channel::room::{rise, take_seat};
use crate::contract::{Departure, SeatRequest};

/// Carries out a call's last request.
pub(in crate::channel::member) fn sit(channel: &Channel, request: SeatRequest, state: &mut State) {
    if request.leaves {
        vacate(channel, state.seat.take(), Departure::Leaves);
    }
    let Some((name, grace)) = request.takes else { return };
    if state.seat.as_deref().is_some_and(|seat| *seat != name) {
        vacate(channel, state.seat.take(), Departure::Leaves);
    }
    if let Some(topic) = channel.topic_turns() {
        take_seat(topic, &name, channel.member.id, grace);
    }
    state.seat = Some(Box::new(name));
}

/// The member leaves its seat, if it has one.
pub(in crate::channel::member) fn vacate(channel: &Channel, seat: Option<Box<ByteString>>, departure: Departure) {
    if let (Some(name), Some(topic)) = (seat, channel.topic_turns()) {
        rise(topic, &name, channel.member.id, departure);
    }
}
