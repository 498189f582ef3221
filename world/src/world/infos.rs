//! What the host itself tells a topic: schedules that fire, answers by HTTP, deliveries that failed, and the start of a generation.

use bennu_semantics::{Fault, Fired, Message, Payload, Source, Topic, TopicCallback, TopicInfo};

use super::World;
use crate::{Callbacks, Sent};

impl<C: Callbacks> World<C> {
    /// The host tells a topic something, from a source that the test chooses.
    ///
    /// # Errors
    /// If the callback ends in a fault, or no route serves the topic.
    pub fn tell(&mut self, topic: &str, source: Source, sent: Sent) -> Result<(), Fault> {
        let fired = (source == Source::Cron).then_some(Fired { due_ms: self.host.now, key: None });
        let told = self.tell_now(&Topic::new(topic), source, sent, fired);
        self.end_turn();
        self.settle();
        told
    }

    /// A schedule is due. After a fault it is tried again later, or given up.
    pub(super) fn fire_schedule(&mut self, topic: &Topic, key: &str) {
        let Some(row) = self.host.stored.schedules.get(topic, key).cloned() else { return };
        let fired = Fired { due_ms: row.due_ms, key: Some(key.into()) };
        let sent = Sent { event: row.event.clone(), payload: row.payload.clone() };
        if self.tell_now(topic, Source::Schedule, sent, Some(fired)).is_err() {
            let failed = row.failed(self.host.now, None);
            self.host.stored.schedules.set(topic.clone(), key.into(), Some(failed));
        }
    }

    /// A delivery is sent. If it has failed for ever, its topic is told once: a test sees a fault of that callback.
    pub(super) fn send_delivery(&mut self, at: usize, now_ms: u64) {
        if let Some((topic, job)) = self.host.stored.deliveries.send(at, &self.host.http, now_ms) {
            let sent = Sent { event: job.event, payload: job.payload };
            // The fault is noted with the others.
            let _ = self.tell_now(&topic, Source::Http, sent, None);
        }
    }

    pub(super) fn tell_now(
        &mut self,
        topic: &Topic,
        source: Source,
        sent: Sent,
        fired: Option<Fired>,
    ) -> Result<(), Fault> {
        self.served(topic)?;
        self.open_room(topic);
        let Sent { event, payload } = sent;
        let message = Message { source, topic: topic.clone(), event, payload };
        let told = self.topic_turn(topic, TopicCallback::Info(TopicInfo { message, fired }));
        self.rest(topic);
        told.map(drop)
    }

    /// The schedules: topic, key, when each is due, its event and payload, and whether it is given up.
    pub fn schedules(&self) -> impl Iterator<Item = (&Topic, &str, u64, Sent, bool)> {
        self.host.stored.schedules.iter().map(|(topic, key, row)| {
            let sent = Sent { event: row.event.clone(), payload: Payload::clone(&row.payload) };
            (topic, key, row.due_ms, sent, row.next_ms.is_none())
        })
    }
}
