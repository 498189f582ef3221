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
use crate::routes::{RoomKind, Route};

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
    /// Whether its last commits haven't been stored, if it is durable.
    is_unstored: bool,
    stored_at: Option<Instant>,
}

/// The while that a room outlives its last member.
struct Lingering {
    until: Instant,
    clock: AbortHandle,
}

/// A durable room with a beat is stored so often at most: each of its beats may change it.
const STORED_EVERY: Duration = Duration::from_secs(1);

impl Room {
    /// Whether it is to be stored with its next commit, if it is durable.
    fn is_due(&self) -> bool {
        self.beat.is_none() || self.stored_at.is_none_or(|at| at.elapsed() >= STORED_EVERY)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        self.clock.abort();
    }
}

impl Line {
    /// Opens the topic's room, if its route has one and it isn't open.
    ///
    /// # Errors
    /// Where it is durable and can't be read.
    pub(super) async fn open_room(&self, node: &Node, topic: &Topic, route: &Route) -> Result<(), Fault> {
        if !route.spec.has_room() || self.room().is_some() {
            return Ok(());
        }
        let saved = match route.spec.room {
            RoomKind::Durable => node.stored_room(topic, route).await?,
            RoomKind::Memory | RoomKind::None => None,
        };
        self.room().get_or_insert_with(|| Room { saved, ..Room::default() });
        Ok(())
    }

    /// The room's state as last committed.
    pub(super) fn saved_room(&self) -> Option<Saved> {
        self.room().as_ref().and_then(|room| room.saved.clone())
    }

    /// Commits another state, which has been stored or is to be.
    pub(super) fn save_room(&self, saved: Saved, is_stored: bool) {
        if let Some(room) = self.room().as_mut() {
            room.saved = Some(saved);
            room.is_unstored = !is_stored;
            if is_stored {
                room.stored_at = Some(Instant::now());
            }
        }
    }

    /// Whether a durable room is stored with its next commit.
    pub(super) fn is_room_due(&self) -> bool {
        self.room().as_ref().is_some_and(Room::is_due)
    }

    /// The room's state, if its last commits haven't been stored. Inside, none where it was settled to be unwritten.
    pub(super) fn unstored_room(&self) -> Option<Option<Saved>> {
        self.room().as_ref().filter(|room| room.is_unstored).map(|room| room.saved.clone())
    }

    /// They have been.
    pub(super) fn room_stored(&self) {
        if let Some(room) = self.room().as_mut() {
            room.is_unstored = false;
            room.stored_at = Some(Instant::now());
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
            room.is_unstored = true;
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

    /// A beat has its turn: the next may wait for its own. Whether there still is one.
    pub(super) fn take_beat(&self) -> bool {
        self.room().as_ref().and_then(|room| room.beat.as_ref()).map(Beat::taken).is_some()
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

    /// After a turn: a room without members ends, at once or in a while, and what waits to be stored of it is.
    pub(super) async fn rest(self: &Arc<Self>, node: &Arc<Node>, topic: &Topic) {
        let (is_overdue, is_empty) = match &*self.room() {
            Some(room) => (room.is_unstored && room.is_due(), room.members == 0),
            None => return,
        };
        if is_overdue {
            node.keep_room(self, topic).await;
        }
        if is_empty && self.linger(node, topic) {
            node.keep_room(self, topic).await;
            *self.room() = None;
        }
    }

    /// Whether the room is to end now. If it is to in a while, it is looked at then.
    fn linger(self: &Arc<Self>, node: &Arc<Node>, topic: &Topic) -> bool {
        let mut room = self.room();
        let Some(open) = room.as_mut().filter(|room| room.members == 0) else { return false };
        let linger = match &open.lingering {
            _ if open.is_given_up => Duration::ZERO,
            Some(lingering) => lingering.until.saturating_duration_since(Instant::now()),
            None => node.routes.find(topic.as_str()).map_or(Duration::ZERO, |route| route.spec.linger),
        };
        if !linger.is_zero() && open.lingering.is_none() {
            let until = Instant::now() + linger;
            let clock = tokio::spawn(look_at(Arc::clone(self), Arc::clone(node), topic.clone(), until)).abort_handle();
            open.lingering = Some(Lingering { until, clock });
        }
        linger.is_zero()
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
