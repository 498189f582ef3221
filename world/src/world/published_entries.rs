//! Published entries: the messages to members.

use bennu_semantics::entries::{ALL, Followed, PublishedChange};
use bennu_semantics::{Payload, Topic, merge, read_value};
use serde_json::json;

use super::{Received, World};
use crate::{Callbacks, Sent};

impl<C: Callbacks> World<C> {
    /// Delivers the changes of a commit to the members that follow them.
    pub(super) fn publish_entries(&mut self, topic: &Topic, changes: &[PublishedChange]) {
        let Some(room) = self.room_mut(topic).filter(|_| !changes.is_empty()) else { return };
        let views: Vec<_> =
            room.views.change(changes).into_iter().map(|view| (view.view, view.number, view.patch())).collect();
        for (view, number, patch) in views {
            let members: Vec<u64> = self.members(topic).filter(|id| self.roles[id].view == Some(view)).collect();
            for id in members {
                if let Some(role) = self.roles.get_mut(&id) {
                    // The texts were checked when the entries were put, so the default is never used.
                    merge(role.room_state.get_or_insert_default(), &read_value(&patch).unwrap_or_default());
                }
                self.give_entries(id, "room_diff", format!("{{\"n\":{number},\"patch\":{patch}}}"));
            }
        }
    }

    /// Sends the entries that a member follows, if its topic publishes some.
    pub(super) fn show_entries(&mut self, id: u64, followed: Option<&Followed>) {
        let topic = self.roles[&id].topic.clone();
        let before = self.roles[&id].view;
        let Some(room) = self.room_mut(&topic).filter(|room| room.publishes_entries()) else { return };
        let view = room.views.enter(id, followed);
        before.into_iter().filter(|before| *before != view).for_each(|before| room.views.leave(id, before));
        let (number, text) = (room.views.number(view), room.whole(followed));
        if let Some(role) = self.roles.get_mut(&id) {
            role.view = Some(view);
            merge(role.room_state.insert(json!({})), &read_value(&text).unwrap_or_default());
        }
        self.give_entries(id, "room_state", format!("{{\"n\":{number},\"state\":{text}}}"));
    }

    /// After a turn: a member that follows other entries than before gets all of them.
    pub(super) fn show_followed(&mut self, id: u64) {
        let Some(role) = self.roles.get(&id).filter(|role| role.is_in) else { return };
        let (topic, view) = (role.topic.clone(), role.view);
        let followed = role.resources.follows.as_ref().map(|follows| follows.set());
        let Some(room) = self.room_mut(&topic).filter(|room| room.publishes_entries()) else { return };
        if room.views.followed(view.unwrap_or(ALL)) != followed.as_ref() {
            self.show_entries(id, followed.as_ref());
        }
    }

    /// The topic publishes other entries than before. Each member gets those that it follows.
    pub(super) fn show_all_entries(&mut self, topic: &Topic) {
        let members: Vec<u64> = self.members(topic).collect();
        for id in members {
            let followed = self.roles[&id].resources.follows.as_ref().map(|follows| follows.set());
            self.show_entries(id, followed.as_ref());
        }
    }

    fn give_entries(&mut self, id: u64, event: &'static str, payload: String) {
        let payload = Payload::Json(payload.into());
        self.give(id, Received::Broadcast(Sent { event: event.into(), payload }));
    }
}
