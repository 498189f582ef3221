//! The seat of a member.

use std::time::Duration;

use bytestring::ByteString;

use super::channel::{Channel, State};
use crate::channel::room::{Departure, rise, take_seat};

/// A call's requests about its member's seat. A member has one seat, so only the last request of a call counts:
/// otherwise the plugin would be told of each of a thousand seats that one call takes.
#[derive(Default)]
pub(in crate::channel::member) struct SeatRequest {
    /// Whether it leaves the seat that it had before the call.
    pub(in crate::channel::member) leaves: bool,
    /// The seat that it takes then, and the grace period of that seat.
    pub(in crate::channel::member) takes: Option<(ByteString, Duration)>,
}

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
