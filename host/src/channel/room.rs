//! Rooms: the state that the members of a topic share, kept by the topic's line.
//!
//! A room is opened by the first turn of its topic, and ends a while after its last member has gone. All that changes it are
//! turns of the line, one after another; the lock is for those who only look, and never held across an await.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::idle::IdlePermit;
use super::published::Published;
use super::saved::{Saved, Settled};
use super::seats::Seats;
use super::tick_timer::TickTimer;
use super::turn_queue::{Job, TurnQueue};
use super::{MemberEvent, Node};
use crate::contract::{Fault, PublishedState};
use crate::protocol::Topic;
use crate::pubsub::Subscription;
use crate::routes::{RoomKind, Route};
use crate::store::Owner;

/// A topic's shared state, and what goes with it.
pub(super) struct Room {
    /// The plugin that it is of. Another one can't know what to make of it.
    owner: Owner,
    is_durable: bool,
    /// None where nobody has written it yet.
    saved: Option<Saved>,
    ticks: Option<TickTimer>,
    seats: Seats,
    published: Option<Published>,
    /// Whether somebody who missed a change of it is waited for.
    is_catching_up: bool,
    /// Faults of `handle_tick` in a row.
    faults: u32,
    lingering: Option<Lingering>,
    /// Whether its last commits haven't been stored, though it is durable.
    is_unstored: bool,
    stored_at: Option<Instant>,
    /// Whether what it was before a build on probation took it over is stored beside it.
    has_stored_former: bool,
    /// Whether it has returned to that and isn't stored so yet, which no quota may prevent.
    is_returning: bool,
}

/// The while that a room outlives its last member.
struct Lingering {
    until: Instant,
    timer: AbortHandle,
    _permit: IdlePermit,
}

/// A durable room with a beat is stored so often at most: each of its beats may change it.
const STORED_EVERY: Duration = Duration::from_secs(1);

/// A durable room that nobody is in is looked at so often while it may have to return to what it was. It stays open for as
/// long, where there is room for it, so that the end of the probation finds it without a search in the store.
const PROBATION_CHECK_EVERY: Duration = Duration::from_secs(1);

impl Room {
    fn new(owner: Owner) -> Self {
        Self {
            owner,
            is_durable: false,
            saved: None,
            ticks: None,
            seats: Seats::default(),
            published: None,
            is_catching_up: false,
            faults: 0,
            lingering: None,
            is_unstored: false,
            stored_at: None,
            has_stored_former: false,
            is_returning: false,
        }
    }

    /// Whether it is to be stored with its next commit, if it is durable.
    fn is_due(&self) -> bool {
        self.ticks.is_none() || self.stored_at.is_none_or(|at| at.elapsed() >= STORED_EVERY)
    }

    fn is_of(&self, route: &Route) -> bool {
        self.owner.name() == route.owner.name()
    }

    /// For how much longer it is kept without members, from `now` on. `linger` is what its route says.
    fn time_left(&self, linger: impl FnOnce() -> Duration, now: Instant) -> Duration {
        let left = match &self.lingering {
            _ if self.saved.is_none() && self.ticks.is_none() => Duration::ZERO,
            Some(lingering) => lingering.until.saturating_duration_since(now),
            None => linger(),
        };
        let awaits_verdict = self.is_durable && self.saved.as_ref().is_some_and(Saved::may_roll_back);
        if awaits_verdict && left.is_zero() { PROBATION_CHECK_EVERY } else { left }
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        self.timer.abort();
    }
}

impl TurnQueue {
    /// Opens the topic's room, if its route has one and it isn't open. One of another plugin ends.
    ///
    /// # Errors
    /// Where it is durable and can't be read.
    pub(super) async fn open_room(&self, node: &Node, topic: &Topic, route: &Route) -> Result<(), Fault> {
        if !route.spec.has_room() {
            return Ok(());
        }
        let is_durable = route.spec.room == RoomKind::Durable;
        let found = self.room().as_ref().map(|room| (room.is_of(route), room.is_durable == is_durable));
        match found {
            Some((true, true)) => return Ok(()),
            Some((false, _)) => Box::pin(self.end_room(node, topic)).await,
            Some((true, false)) | None => {}
        }
        let (stored, has_former) =
            if is_durable { Box::pin(node.stored_room(topic, route)).await? } else { (None, false) };
        {
            let mut room = self.room();
            let room = room.get_or_insert_with(|| Box::new(Room::new(route.owner.clone())));
            room.is_durable = is_durable;
            room.has_stored_former = has_former;
            // One that was kept in memory only, until now, is later than what is stored.
            room.is_unstored = is_durable && room.saved.is_some();
            room.saved = room.saved.take().or(stored);
        }
        // The probation under which it was taken over may have ended since it was stored.
        self.settle_room(node, topic);
        Ok(())
    }

    /// Whether a room is open.
    pub(super) fn is_room_open(&self) -> bool {
        self.room().is_some()
    }

    /// Whether the room that is open is the plugin's of this route.
    pub(super) fn is_room_of(&self, route: &Route) -> bool {
        self.room().as_ref().is_some_and(|room| room.is_of(route))
    }

    /// Ends the room. What waits to be stored of it is.
    pub(super) async fn end_room(&self, node: &Node, topic: &Topic) {
        node.persist_room(self, topic).await;
        *self.room() = None;
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
                room.is_returning = false;
            }
        }
    }

    /// Whether a durable room is stored with its next commit.
    pub(super) fn is_room_due(&self) -> bool {
        self.room().as_ref().is_some_and(|room| room.is_due())
    }

    /// The room with its owner, if its last commits haven't been stored; none inside where it was settled to be unwritten.
    pub(super) fn unstored_room(&self) -> Option<(Owner, Option<Saved>)> {
        let room = self.room();
        let room = room.as_ref().filter(|room| room.is_unstored)?;
        let owner = if room.is_returning { room.owner.without_quota() } else { room.owner.clone() };
        Some((owner, room.saved.clone()))
    }

    /// Whether what the room was before is stored beside it, and so has to be written or taken away with it.
    pub(super) fn has_stored_former(&self) -> bool {
        self.room().as_ref().is_some_and(|room| room.has_stored_former)
    }

    /// It is stored by now, or is no more.
    pub(super) fn former_persisted(&self, is_there: bool) {
        if let Some(room) = self.room().as_mut() {
            room.has_stored_former = is_there;
        }
    }

    /// They have been, or couldn't be, which isn't tried again at once.
    pub(super) fn room_persisted(&self, is_stored: bool) {
        if let Some(room) = self.room().as_mut() {
            room.is_unstored = !is_stored;
            room.is_returning &= !is_stored;
            room.stored_at = Some(Instant::now());
        }
    }

    /// Draws the consequence for the room, and for all its members, where the probation under which it was taken over has ended.
    /// Whether the room has returned to what it was.
    pub(super) fn settle_room(&self, node: &Node, topic: &Topic) -> bool {
        {
            let mut room = self.room();
            let Some(room) = room.as_mut() else { return false };
            let Some(saved) = room.saved.as_mut().filter(|saved| saved.needs_settling()) else { return false };
            let Settled::RolledBack(before) = saved.settle(topic) else {
                // What is stored beside it goes with the room's next commit, or right after this turn.
                room.is_unstored |= room.has_stored_former;
                return false;
            };
            room.saved = before;
            (room.is_unstored, room.is_returning) = (room.is_durable, room.is_durable);
        }
        for channel in node.channels_of(topic.as_str()) {
            channel.post_ending(MemberEvent::RolledBack);
        }
        true
    }

    /// Whether the room waits to be settled.
    pub(super) fn is_room_to_settle(&self) -> bool {
        self.room().as_ref().and_then(|room| room.saved.as_ref()).is_some_and(Saved::needs_settling)
    }

    /// Does something with the topic's seats, if it has a room.
    pub(super) fn with_seats<T>(&self, act: impl FnOnce(&mut Seats) -> T) -> Option<T> {
        self.room().as_mut().map(|room| act(&mut room.seats))
    }

    /// Publishes a state of the topic. The room is locked until it is delivered, so that none overtakes another.
    pub(super) fn publish_state(self: &Arc<Self>, node: &Arc<Node>, topic: &Topic, state: PublishedState) {
        let mut room = self.room();
        let Some(room) = room.as_mut() else { return };
        let (published, update) = Published::publish(room.published.take(), topic, state);
        room.published = Some(published);
        if update.is_some_and(|update| node.pubsub.update_state(update)) {
            self.start_catch_up(room, node, topic);
        }
    }

    /// Has those who missed a change of the published state looked for, unless they are already.
    fn start_catch_up(self: &Arc<Self>, room: &mut Room, node: &Arc<Node>, topic: &Topic) {
        if !std::mem::replace(&mut room.is_catching_up, true) {
            tokio::spawn(wait_for_all(Arc::downgrade(self), Arc::downgrade(node), topic.clone()));
        }
    }

    /// Gives all of the published state to those who missed a change, if they can take it by now. Whether some still can't.
    fn catch_up(&self, node: &Node, topic: &Topic) -> bool {
        let mut room = self.room();
        let Some(room) = room.as_mut() else { return false };
        let all = room.published.as_ref().map(|published| published.all(topic));
        let audience = node.pubsub.audience(topic.as_str());
        room.is_catching_up = all.zip(audience).is_some_and(|(all, audience)| audience.catch_up(&all));
        room.is_catching_up
    }

    /// Sends one who has come in what the topic has published, as soon as there is room for it.
    pub(super) fn show_state(self: &Arc<Self>, node: &Arc<Node>, topic: &Topic, subscription: &Subscription) {
        let mut room = self.room();
        let Some(room) = room.as_mut() else { return };
        let Some(all) = room.published.as_ref().map(|published| published.all(topic)) else { return };
        if subscription.audience().follow(subscription, &all) {
            self.start_catch_up(room, node, topic);
        }
    }

    /// Sets the topic's beat.
    pub(super) fn set_tick(self: &Arc<Self>, node: &Arc<Node>, topic: &Topic, period: Option<Duration>) {
        let mut room = self.room();
        let Some(room) = room.as_mut() else { return };
        let is_set = room.ticks.as_ref().map(TickTimer::period) == period;
        // Every member that joins may ask for the same beat.
        if !is_set {
            room.ticks = period.map(|period| TickTimer::start(self, node, topic, period));
        }
    }

    /// A beat of this period has its turn, and the next may wait for its own. Whether it is still wanted.
    pub(super) fn take_tick(&self, period: Duration) -> bool {
        let room = self.room();
        let ticks = room.as_ref().and_then(|room| room.ticks.as_ref()).filter(|ticks| ticks.period() == period);
        ticks.inspect(|ticks| ticks.taken()).is_some()
    }

    /// There are no more beats.
    pub(super) fn end_ticks(&self) {
        if let Some(room) = self.room().as_mut() {
            room.ticks = None;
        }
    }

    /// A beat went well.
    pub(super) fn tick_succeeded(&self) {
        if let Some(room) = self.room().as_mut() {
            room.faults = 0;
        }
    }

    /// A beat failed. Gives how many have in a row.
    pub(super) fn tick_failed(&self) -> u32 {
        self.room().as_mut().map_or(0, |room| {
            room.faults = room.faults.saturating_add(1);
            room.faults
        })
    }

    /// After a turn: draws the consequence of a verdict, stores what is due, and ends a room without members, at once or in a
    /// while.
    pub(super) async fn after_turn(self: &Arc<Self>, node: &Arc<Node>, topic: &Topic) {
        if !self.is_room_open() {
            return;
        }
        self.settle_room(node, topic);
        let is_overdue = self.room().as_ref().is_some_and(|room| room.is_unstored && room.is_due());
        if is_overdue {
            Box::pin(node.persist_room(self, topic)).await;
        }
        if self.is_room_over(node, topic) {
            Box::pin(self.end_room(node, topic)).await;
        }
    }

    /// Whether the room is to end now. If it is to in a while, it is looked at then.
    fn is_room_over(self: &Arc<Self>, node: &Arc<Node>, topic: &Topic) -> bool {
        let has_members = node.has_members(topic);
        let mut room = self.room();
        let Some(room) = room.as_mut() else { return false };
        if has_members || room.seats.are_kept() {
            room.lingering = None;
            return false;
        }
        let route = node.routes.find(topic.as_str()).filter(|route| room.is_of(route));
        let now = Instant::now();
        let left = room.time_left(|| route.map_or(Duration::ZERO, |route| route.spec.linger), now);
        let is_watched = room.lingering.as_ref().is_some_and(|lingering| lingering.until > now);
        if !left.is_zero() && !is_watched {
            let saved = room.saved.as_ref().map_or(0, |saved| saved.bytes.len());
            let bytes = saved + room.published.as_ref().map_or(0, Published::weight);
            let Some(place) = node.idle.keep(bytes) else { return true };
            let until = now + left;
            let timer =
                tokio::spawn(review_at(Arc::clone(self), Arc::clone(node), topic.clone(), until)).abort_handle();
            room.lingering = Some(Lingering { until, timer, _permit: place });
        }
        left.is_zero()
    }

    /// Nothing in here can panic half-way through a change, so a poisoned lock is as good as another.
    fn room(&self) -> MutexGuard<'_, Option<Box<Room>>> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has the room looked at, at some time. It keeps the line, and with it the room, until then.
async fn review_at(queue: Arc<TurnQueue>, node: Arc<Node>, topic: Topic, at: Instant) {
    tokio::time::sleep_until(at).await;
    queue.post_and_spawn(Job::Review(node, topic));
}

/// How often who missed a change of a published state is looked for.
const CATCH_UP_EVERY: Duration = Duration::from_millis(200);

/// Looks for those who missed a change of a published state, until nobody is behind: the last change may be the one that matters.
async fn wait_for_all(queue: Weak<TurnQueue>, node: Weak<Node>, topic: Topic) {
    loop {
        tokio::time::sleep(CATCH_UP_EVERY).await;
        let (Some(queue), Some(node)) = (queue.upgrade(), node.upgrade()) else { return };
        // After a panic they are looked for again: they would wait for ever otherwise.
        let caught_up = catch_unwind(AssertUnwindSafe(|| queue.catch_up(&node, &topic)));
        if caught_up.is_ok_and(|is_anyone_behind| !is_anyone_behind) {
            return;
        }
    }
}
