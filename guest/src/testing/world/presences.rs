//! Who is online on a stage, told to the topics at the host's pace.

use super::super::Sent;
use super::super::online::{Diff, Online, Window};
use super::World;
use crate::{Payload, Value};

impl World {
    /// Changes who is online, and tells the topic: at once, or at the end of the window in which much has changed.
    pub(super) fn tell_presences(&mut self, topic: &str, change: impl FnOnce(&mut Online) -> Option<Diff>) {
        let Some(diff) = change(&mut self.facts.online) else { return };
        let now = self.facts.now;
        let window = self.windows.entry(topic.into()).or_insert_with(|| Window::new(now));
        if let Some(diff) = window.offer(diff, now) {
            self.broadcast(topic, &presence("presence_diff", &diff.payload()), None);
        }
    }

    /// A topic's window has ended: what has waited goes out as one.
    pub(super) fn flush_presences(&mut self, topic: &str) {
        let now = self.facts.now;
        if let Some(diff) = self.windows.get_mut(topic).and_then(|window| window.flush(now)) {
            self.broadcast(topic, &presence("presence_diff", &diff.payload()), None);
        }
    }
}

pub(super) fn presence(event: &str, payload: &Value) -> Sent {
    Sent { event: event.into(), payload: Payload::Json(payload.to_string()) }
}
