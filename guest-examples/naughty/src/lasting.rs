//! Topics with a durable room that has only entries: `lasting:*`. Everybody may join, and use the events of
//! [`entries`](super::entries). The room ends with its last member.

use bennu_guest::prelude::*;

use super::entries;

/// A member of `lasting:*`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Lasting;

impl Channel for Lasting {
    type Room = ();
    const DURABLE: bool = true;
    const ENTRIES: bool = true;
    const LINGER: Option<Duration> = Some(Duration::ZERO);

    fn join(_socket: &mut Socket, _params: Payload) -> Join<Self> {
        Ok(Lasting)
    }

    fn handle_in(&mut self, _socket: &mut Socket, event: &str, payload: Payload) -> Handled {
        entries::event(event, &payload).unwrap_or_else(|| unknown_event(event))
    }

    fn handle_message(_topic: &mut Topic, event: &str, payload: Payload) -> Handled {
        entries::message(event, &payload).unwrap_or_else(|| unknown_event(event))
    }
}
