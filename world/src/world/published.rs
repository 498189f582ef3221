//! Published states: the messages to members, and the state that their clients compute from them.

use bennu_semantics::{Published, PublishedState, StateUpdate, Topic, merge, read_value};
use serde_json::json;

use super::{Received, World};
use crate::{Callbacks, Sent};

impl<C: Callbacks> World<C> {
    /// Publishes a topic's state. Its members get the change, or the whole state if the change isn't shorter.
    pub(super) fn publish_state(&mut self, topic: &Topic, state: PublishedState) {
        let Some(room) = self.room_mut(topic) else { return };
        let (published, update) = Published::publish(room.published.take(), topic, state);
        room.published = Some(published);
        let Some(update) = update else { return };
        let members: Vec<u64> = self.members(topic).collect();
        members.into_iter().for_each(|id| self.follow(id, &update));
    }

    /// Sends the whole published state to a member that has just joined.
    pub(super) fn show_state(&mut self, id: u64) {
        let topic = self.roles[&id].topic.clone();
        let all = self.room_mut(&topic).and_then(|room| room.published.as_ref().map(|state| state.all(&topic)));
        if let Some(all) = all {
            self.follow(id, &all);
        }
    }

    /// Sends an update to a member's client, as a message of the topic.
    fn follow(&mut self, id: u64, update: &StateUpdate) {
        let Some(role) = self.roles.get_mut(&id) else { return };
        // The record refuses a state that can't be parsed, so the default is never used.
        let read = |text: &str| read_value(text).unwrap_or_default();
        let (event, payload) = match &update.patch {
            Some(patch) => {
                merge(role.room_state.get_or_insert_default(), &read(patch));
                update.changed().unwrap_or_else(|| update.all())
            }
            None => {
                merge(role.room_state.insert(json!({})), &read(&update.state));
                update.all()
            }
        };
        self.give(id, Received::Broadcast(Sent { event: event.into(), payload }));
    }
}
