//! Who is online, told to the topics at the host's pace.

use bennu_semantics::{Payload, Topic};
use serde_json::Value;

use super::World;
use crate::online::{Diff, Online, Window};
use crate::{Callbacks, Sent};

impl<C: Callbacks> World<C> {
    /// Changes who is online, and tells the topic: at once, or at the end of the window in which much has changed.
    pub(super) fn tell_presences(&mut self, topic: &Topic, change: impl FnOnce(&mut Online, &str) -> Option<Diff>) {
        let Some(diff) = change(&mut self.host.online, topic.as_str()) else { return };
        let now = self.host.now;
        let window = self.windows.entry(topic.clone()).or_insert_with(|| Window::new(now));
        if let Some(diff) = window.offer(diff, now) {
            self.broadcast(topic.as_str(), &presence("presence_diff", &diff.payload()), None);
        }
    }

    /// A topic's window has ended: what has waited goes out as one.
    pub(super) fn flush_presences(&mut self, topic: &Topic) {
        let now = self.host.now;
        if let Some(diff) = self.windows.get_mut(topic).and_then(|window| window.flush(now)) {
            self.broadcast(topic.as_str(), &presence("presence_diff", &diff.payload()), None);
        }
    }
}

pub(super) fn presence(event: &'static str, payload: &Value) -> Sent {
    Sent { event: event.into(), payload: Payload::Json(payload.to_string().into()) }
}
