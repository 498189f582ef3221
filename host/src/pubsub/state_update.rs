//! A change of a topic's published state: a patch for subscribers that have the state before it, and the whole state
//! for the others.

pub use bennu_semantics::StateUpdate;
use bytestring::ByteString;

use super::broadcast::Encoded;
use super::{Broadcast, Except, Subscriber};
use crate::protocol::Frame;

/// The frames of a change. Each is encoded when the first subscriber needs it.
pub(super) struct EncodedUpdate<'a> {
    all: Encoded<'a>,
    changed: Option<Encoded<'a>>,
}

/// The two messages of an update, for [`EncodedUpdate`].
pub(super) fn messages(update: &StateUpdate) -> (Broadcast, Option<Broadcast>) {
    let broadcast = |(event, payload)| Broadcast {
        topic: update.topic.clone(),
        event: ByteString::from_static(event),
        payload,
        except: Except::Nobody,
        droppable: None,
        number: None,
    };
    (broadcast(update.all()), update.changed().map(broadcast))
}

impl<'a> EncodedUpdate<'a> {
    pub(super) fn new((all, changed): &'a (Broadcast, Option<Broadcast>)) -> Self {
        Self { all: Encoded::new(all), changed: changed.as_ref().map(Encoded::new) }
    }

    /// Sends one subscriber the change if it `follows`, else the whole state. Returns whether it follows from now on. A
    /// subscriber whose outbox is more than a quarter full misses this change. It gets the whole state with the next
    /// change for which there is room, or by [`catch_up`](super::Audience::catch_up).
    pub(super) fn send(&mut self, follows: bool, subscriber: &Subscriber) -> bool {
        let Subscriber { serializer, deflates, outbox, .. } = subscriber;
        let changed = self.changed.as_mut().filter(|_| follows);
        let frame: Option<&Frame> = changed.unwrap_or(&mut self.all).frame(*serializer, *deflates);
        frame.is_none_or(|frame| outbox.push_if_short(frame))
    }
}
