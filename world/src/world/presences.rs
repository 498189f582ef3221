//! Presence diffs, sent at the host's pace.

use std::time::Duration;

use bennu_semantics::limits::Pace;
use bennu_semantics::{Offer, Payload, Topic};
use serde_json::Value;

use super::World;
use crate::online::Window;
use crate::{Callbacks, Diff, Sent};

impl<C: Callbacks> World<C> {
    /// Sends a change of a topic's presences at once, or merged at the end of the topic's window.
    pub(super) fn tell_presences(&mut self, topic: &Topic, diff: Option<Diff>) {
        let Some(diff) = diff else { return };
        let (now, pace) = (Duration::from_millis(self.host.now), Pace::default());
        let window = self.windows.entry(topic.clone()).or_insert_with(|| Window::new(now, &pace));
        // A diff that waits is flushed by the clock, which looks for the windows that are due.
        if let Offer::Send(diff) = window.offer(diff, now, &pace) {
            self.broadcast(topic.as_str(), &presence("presence_diff", &diff.payload()), None);
        }
    }

    /// Sends a topic's merged diff at the end of its window.
    pub(super) fn flush_presences(&mut self, topic: &Topic) {
        let (now, pace) = (Duration::from_millis(self.host.now), Pace::default());
        if let Some(diff) = self.windows.get_mut(topic).and_then(|window| window.flush(now, &pace)) {
            self.broadcast(topic.as_str(), &presence("presence_diff", &diff.payload()), None);
        }
    }
}

pub(super) fn presence(event: &'static str, payload: &Value) -> Sent {
    Sent { event: event.into(), payload: Payload::Json(payload.to_string().into()) }
}
