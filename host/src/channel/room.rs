//! Rooms: the state that the members of a topic share, kept by the topic's line.
//!
//! A room is opened by the first turn of its topic, and ends a while after its last member has gone. All that changes it are
//! turns of the line, one after another; the lock is for those who only look, and never held across an await.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::beat::Beat;
use super::line::{Line, Waiting};
use super::saved::{Saved, Settled};
use super::{Entry, Node};
use crate::contract::Fault;
use crate::protocol::Topic;
use crate::routes::Route;

/// A topic's shared state, and what goes with it.
#[derive(Default)]
pub(super) struct Room {
    /// None where nobody has written it yet.
    saved: Option<Saved>,
    members: usize,
    beat: Option<Beat>,
    /// Faults of `handle_tick` in a row.
    faults: u32,
    lingering: Option<Lingering>,
    /// Whether it ends with its last member, and without a while longer.
    is_given_up: bool,
}

/// The while that a room outlives its last member.
struct Lingering {
    until: Instant,
    clock: AbortHandle,
}

impl Drop for Lingering {
    fn drop(&mut self) {
        self.clock.abort();
    }
}

impl Line {
    /// Opens the topic's room, if its route has one and it isn't open.
    pub(super) fn open_room(&self, route: &Route) {
        if route.spec.has_room() {
            self.room().get_or_insert_default();
        }
    }

    /// The room's state as last committed.
    pub(super) fn saved_room(&self) -> Option<Saved> {
        self.room().as_ref().and_then(|room| room.saved.clone())
    }

    /// Commits another state.
    pub(super) fn save_room(&self, saved: Saved) {
        if let Some(room) = self.room().as_mut() {
            room.saved = Some(saved);
        }
    }

    /// A member has come in. Whether there is a room for it.
    pub(super) fn enter_room(&self) -> bool {
        let mut room = self.room();
        let Some(room) = room.as_mut() else { return false };
        room.members += 1;
        room.lingering = None;
        true
    }

    /// A member that had come in has gone.
    pub(super) fn leave_room(&self) {
        if let Some(room) = self.room().as_mut() {
            room.members = room.members.saturating_sub(1);
        }
    }

    /// Draws the consequence for the room, and for all its members, where the build that took it over was taken back. Whether
    /// it was.
    pub(super) fn settle_room(&self, node: &Node, topic: &Topic) -> bool {
        let settled = self.room().as_mut().and_then(|room| room.saved.as_mut()).map(Saved::settle);
        let Some(Settled::Returns(before)) = settled else { return false };
        if let Some(room) = self.room().as_mut() {
            room.saved = before;
        }
        for channel in node.channels_of(topic.as_str()) {
            channel.doom(Entry::TakenBack);
        }
        true
    }

    /// Whether the room waits to be settled.
    pub(super) fn is_room_to_return(&self) -> bool {
        self.room().as_ref().and_then(|room| room.saved.as_ref()).is_some_and(Saved::is_to_return)
    }

    /// Sets the topic's beat.
    pub(super) fn set_beat(self: &Arc<Self>, node: &Arc<Node>, topic: &Topic, period: Option<Duration>) {
        let mut room = self.room();
        let Some(room) = room.as_mut() else { return };
        let is_set = room.beat.as_ref().map(Beat::period) == period;
        // Every member that joins may ask for the same beat.
        if !is_set && !room.is_given_up {
            room.beat = period.map(|period| Beat::start(self, node, topic, period));
        }
    }

    /// A beat has its turn: the next may wait for its own.
    pub(super) fn take_beat(&self) {
        if let Some(beat) = self.room().as_ref().and_then(|room| room.beat.as_ref()) {
            beat.taken();
        }
    }

    /// A beat went well.
    pub(super) fn beat_went_well(&self) {
        if let Some(room) = self.room().as_mut() {
            room.faults = 0;
        }
    }

    /// A beat failed. After so many in a row the topic ends: its members do, and the room with them.
    pub(super) fn beat_failed(&self, node: &Node, topic: &Topic, (fault, most): (&Fault, u32)) {
        {
            let mut room = self.room();
            let Some(room) = room.as_mut() else { return };
            room.faults += 1;
            if most == 0 || room.faults < most {
                return;
            }
            room.is_given_up = true;
            room.beat = None;
        }
        tracing::error!(topic = topic.as_str(), "topic_closed: its handle_tick failed {most} times in a row");
        for channel in node.channels_of(topic.as_str()) {
            channel.doom(Entry::Closed(fault.clone()));
        }
    }

    /// After a turn: a room without members ends, at once or in a while.
    pub(super) fn rest(self: &Arc<Self>, node: &Arc<Node>, topic: &Topic) {
        let mut room = self.room();
        let Some(open) = room.as_mut().filter(|room| room.members == 0) else { return };
        let linger = match &open.lingering {
            _ if open.is_given_up => Duration::ZERO,
            Some(lingering) => lingering.until.saturating_duration_since(Instant::now()),
            None => node.routes.find(topic.as_str()).map_or(Duration::ZERO, |route| route.spec.linger),
        };
        if linger.is_zero() {
            *room = None;
        } else if open.lingering.is_none() {
            let until = Instant::now() + linger;
            let clock = tokio::spawn(look_at(Arc::clone(self), Arc::clone(node), topic.clone(), until)).abort_handle();
            open.lingering = Some(Lingering { until, clock });
        }
    }

    /// Nothing in here can panic half-way through a change, so a poisoned lock is as good as another.
    fn room(&self) -> MutexGuard<'_, Option<Room>> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has the room looked at, at some time. It keeps the line, and with it the room, until then.
async fn look_at(line: Arc<Line>, node: Arc<Node>, topic: Topic, at: Instant) {
    tokio::time::sleep_until(at).await;
    line.post_apart(Waiting::Look(node, topic));
}
