//! A topic's room: the state that its members share, with its ticks, seats and published state.
//!
//! A room changes only in turns of its topic, one after another. Its lock is for code that reads it meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::idle::IdlePermit;
use super::published_entries::PublishedEntries;
use super::seats::Seats;
use super::size::RoomSize;
use super::tick_timer::TickTimer;
use crate::channel::turn::{Saved, Services, Settled};
use crate::contract::{Published, PublishedState};
use crate::counts::Limit;
use crate::entries::{AppliedEntries, PendingEntries, RollbackGivenUp, RollbackState, TopicEntries};
use crate::protocol::Topic;
use crate::pubsub::StateUpdate;
use crate::routes::Route;
use crate::store::Owner;

/// A topic's shared state, and everything that belongs to it.
pub(in crate::channel::room) struct Room {
    /// The plugin that it belongs to. Another plugin can't read it.
    owner: Owner,
    is_durable: bool,
    /// None if nobody has written it yet.
    saved: Option<Saved>,
    /// None if no build with entries has served it.
    entries: Option<Arc<TopicEntries>>,
    ticks: Option<TickTimer>,
    seats: Seats,
    published: Option<Published>,
    /// None if the route publishes no entries.
    published_entries: Option<Box<PublishedEntries>>,
    /// Whether a task runs for the subscribers that missed a change of the published state or of published entries.
    is_catching_up: bool,
    /// Faults of `handle_tick` in a row.
    faults: u32,
    linger: Option<Linger>,
    /// Until when it stays open without members in any case, because it was taken over from another host.
    held_until: Option<Instant>,
    /// Whether its last commits aren't stored, though it is durable.
    is_unstored: bool,
    stored_at: Option<Instant>,
    /// Whether its state from before an upgrade by a build on probation is stored next to it.
    has_stored_former: bool,
    /// Whether the rollback point of its entries has to be read from the store.
    is_rollback_unread: bool,
    /// Whether it was rolled back, and the rollback isn't stored yet. No quota may prevent that write.
    is_rolling_back: bool,
}

/// The time that a room outlives its last member.
struct Linger {
    until: Instant,
    timer: AbortHandle,
    _permit: IdlePermit,
}

/// A durable room with ticks is stored at most once in this time, because each tick may change it.
const STORED_EVERY: Duration = Duration::from_secs(1);

/// A durable room without members is reviewed this often while it may have to be rolled back. Until then it stays open, if
/// the limits of idle rooms allow it, so that the end of the probation finds it without a search in the store.
const PROBATION_CHECK_EVERY: Duration = Duration::from_secs(1);

impl Room {
    pub(in crate::channel::room) fn new(owner: Owner) -> Self {
        Self {
            owner,
            is_durable: false,
            saved: None,
            entries: None,
            ticks: None,
            seats: Seats::default(),
            published: None,
            published_entries: None,
            is_catching_up: false,
            faults: 0,
            linger: None,
            held_until: None,
            is_unstored: false,
            stored_at: None,
            has_stored_former: false,
            is_rollback_unread: false,
            is_rolling_back: false,
        }
    }

    pub(in crate::channel::room) fn is_of(&self, route: &Route) -> bool {
        self.owner.name() == route.owner.name()
    }

    pub(in crate::channel::room) fn is_durable(&self) -> bool {
        self.is_durable
    }

    pub(in crate::channel::room) fn owner_name(&self) -> &str {
        self.owner.name()
    }

    /// It was taken over from another host, whose members come back until then.
    pub(in crate::channel::room) fn hold(&mut self, until: Instant) {
        self.held_until = Some(until);
    }

    /// Whether members of another host may still come back.
    pub(in crate::channel::room) fn is_held(&self, now: Instant) -> bool {
        self.held_until.is_some_and(|until| now < until)
    }

    /// Takes the state of a memory room of another host over.
    pub(in crate::channel::room) fn take_over(&mut self, saved: Option<Saved>) {
        self.saved = saved;
    }

    /// The published state, if there is one.
    pub(in crate::channel::room) fn published(&self) -> Option<&Published> {
        self.published.as_ref()
    }

    /// Sets the published state of another host.
    pub(in crate::channel::room) fn set_published(&mut self, published: Option<Published>) {
        self.published = published;
    }

    pub(in crate::channel::room) fn seats(&mut self) -> &mut Seats {
        &mut self.seats
    }

    /// Opens it with the state from the store, if there is one. `is_durable` says whether the route's rooms are durable.
    pub(in crate::channel::room) fn open(&mut self, is_durable: bool, stored: Option<Saved>, has_former: bool) {
        self.is_durable = is_durable;
        self.has_stored_former = has_former;
        // If the room was only in memory until now, its state is newer than the stored one.
        self.is_unstored = is_durable && self.saved.is_some();
        self.saved = self.saved.take().or(stored);
    }

    /// Makes its entries, if the route has entries and it has none yet. If a later build doesn't use them, they stay: the
    /// build may be rolled back.
    pub(in crate::channel::room) fn open_entries(&mut self, route: &Route, topic: &Topic, services: &Services) {
        if !route.has_entries() || self.entries.is_some() {
            return;
        }
        self.is_rollback_unread = self.is_durable;
        let Services { entries: node, store, .. } = services;
        self.entries = Some(if self.is_durable {
            TopicEntries::durable(node, &self.owner, topic, store)
        } else {
            TopicEntries::in_memory(node, &self.owner, topic)
        });
    }

    /// Whether the rollback point of its entries has to be read from the store.
    pub(in crate::channel::room) fn is_rollback_unread(&self) -> bool {
        self.is_rollback_unread
    }

    pub(in crate::channel::room) fn rollback_read(&mut self) {
        self.is_rollback_unread = false;
    }

    /// Sets its entries, after they became durable.
    pub(in crate::channel::room) fn set_entries(&mut self, entries: Arc<TopicEntries>) {
        self.entries = Some(entries);
        // They are published again when the topic's next turn begins.
        self.published_entries = None;
    }

    /// Whether it publishes the entries that the route publishes.
    pub(in crate::channel::room) fn publishes_as(&mut self, route: &Route) -> bool {
        match &mut self.published_entries {
            Some(published) => published.is_as_in(route),
            None => route.spec.publishes.is_empty(),
        }
    }

    /// Sets its published entries. They take the place of its published state.
    pub(in crate::channel::room) fn set_published_entries(&mut self, published: Option<Box<PublishedEntries>>) {
        self.published = None;
        self.published_entries = published;
    }

    /// Its published entries, if it publishes some.
    pub(in crate::channel::room) fn published_entries(&mut self) -> Option<&mut PublishedEntries> {
        self.published_entries.as_deref_mut()
    }

    /// Its entries.
    pub(in crate::channel::room) fn entries(&self) -> Option<&Arc<TopicEntries>> {
        self.entries.as_ref()
    }

    /// The state as last committed.
    pub(in crate::channel::room) fn saved(&self) -> Option<&Saved> {
        self.saved.as_ref()
    }

    /// Commits another state, or changes of entries, or both. `is_stored` says whether the store already has them, and
    /// all commits before.
    pub(in crate::channel::room) fn save(
        &mut self,
        saved: Option<Saved>,
        entries: Option<Box<PendingEntries>>,
        is_stored: bool,
    ) -> AppliedEntries {
        if let Some(saved) = saved {
            self.saved = Some(saved);
        }
        let applied = entries.map(|entries| entries.apply(is_stored, self.rollback_point())).unwrap_or_default();
        self.is_unstored = !is_stored;
        if is_stored {
            self.stored_at = Some(Instant::now());
            self.is_rolling_back = false;
        }
        applied
    }

    /// Nobody knows whether the store has its last commits.
    pub(in crate::channel::room) fn mark_unstored(&mut self) {
        self.is_unstored = true;
    }

    /// Whether it is stored with its next commit, if it is durable.
    pub(in crate::channel::room) fn is_due(&self) -> bool {
        let is_time = self.ticks.is_none() || self.stored_at.is_none_or(|at| at.elapsed() >= STORED_EVERY);
        is_time || self.entries.as_ref().is_some_and(|entries| entries.has_too_many_dirty())
    }

    /// Whether commits wait to be stored, and may be stored now.
    pub(in crate::channel::room) fn is_overdue(&self) -> bool {
        self.is_unstored && self.is_due()
    }

    /// Its owner and its state, if its last commits aren't stored. The state is none if the room didn't exist before the
    /// rolled-back build.
    pub(in crate::channel::room) fn unstored(&self) -> Option<(Owner, Option<Saved>)> {
        let owner = || if self.is_rolling_back { self.owner.without_quota() } else { self.owner.clone() };
        self.is_unstored.then(|| (owner(), self.saved.clone()))
    }

    /// Its last commits were stored, or could not be stored. After a failure, the next attempt is later.
    pub(in crate::channel::room) fn persisted(&mut self, is_stored: bool) {
        self.is_unstored = !is_stored;
        self.is_rolling_back &= !is_stored;
        self.stored_at = Some(Instant::now());
    }

    /// Whether its state from before an upgrade is stored next to it, and so must be written or removed together with
    /// it.
    pub(in crate::channel::room) fn has_stored_former(&self) -> bool {
        self.has_stored_former
    }

    pub(in crate::channel::room) fn former_persisted(&mut self, is_there: bool) {
        self.has_stored_former = is_there;
    }

    /// The number of the probation whose rollback would restore it and its entries, if there is one.
    pub(in crate::channel::room) fn rollback_point(&self) -> Option<u64> {
        self.saved.as_ref().and_then(Saved::rollback_point)
    }

    /// Its state and its entries from before a build on probation are given up.
    pub(in crate::channel::room) fn give_up_rollback(&mut self, topic: &Topic, given_up: RollbackGivenUp) {
        let RollbackGivenUp { bytes, most, .. } = given_up;
        Limit::EntriesRollbackBytes.hit();
        self.saved.iter_mut().for_each(Saved::give_up_rollback);
        self.is_unstored |= self.has_stored_former;
        tracing::warn!(
            plugin = self.owner.name(),
            topic = topic.as_str(),
            bytes,
            most,
            "entries_rollback_given_up: a build on probation has changed too many entries, so a rollback of the build would \
             leave the topic's room and entries as they are"
        );
    }

    /// Applies the end of the probation under which it was upgraded. Returns whether it was rolled back.
    pub(in crate::channel::room) fn settle(&mut self, topic: &Topic) -> bool {
        // The entries can be rolled back only when the store has been read. Then the room is settled together with them.
        if self.is_rollback_unread {
            return false;
        }
        let Some(saved) = self.saved.as_mut().filter(|saved| saved.needs_settling()) else { return false };
        let Settled::RolledBack(before) = saved.settle(topic) else {
            // The stored state from before is removed with the room's next commit, or right after this turn.
            self.is_unstored |= self.has_stored_former;
            self.entries.iter().for_each(|entries| entries.end_rollback_point());
            return false;
        };
        self.entries.iter().for_each(|entries| entries.roll_back());
        // They are published again when the topic's next turn begins. The members of now end.
        if let Some(published) = &mut self.published_entries {
            published.roll_back();
        }
        // Without bytes, nobody had written the room.
        self.saved = before.filter(|before| !before.bytes.is_empty());
        (self.is_unstored, self.is_rolling_back) = (self.is_durable, self.is_durable);
        true
    }

    /// Publishes a state. Returns the update for the subscribers, if anything has changed.
    pub(in crate::channel::room) fn publish(&mut self, topic: &Topic, state: PublishedState) -> Option<StateUpdate> {
        let (published, update) = Published::publish(self.published.take(), topic, state);
        self.published = Some(published);
        update
    }

    /// The whole published state, if there is one.
    pub(in crate::channel::room) fn whole_state(&self, topic: &Topic) -> Option<StateUpdate> {
        self.published.as_ref().map(|published| published.all(topic))
    }

    /// Whether a task sends the state to subscribers that are behind.
    pub(in crate::channel::room) fn is_catching_up(&self) -> bool {
        self.is_catching_up
    }

    /// Sets whether a task sends the state to subscribers that are behind. Returns whether one did so before.
    pub(in crate::channel::room) fn set_catching_up(&mut self, is_catching_up: bool) -> bool {
        std::mem::replace(&mut self.is_catching_up, is_catching_up)
    }

    pub(in crate::channel::room) fn ticks(&self) -> Option<&TickTimer> {
        self.ticks.as_ref()
    }

    pub(in crate::channel::room) fn set_ticks(&mut self, ticks: Option<TickTimer>) {
        self.ticks = ticks;
    }

    /// A tick succeeded, or failed. Returns the number of failures in a row.
    pub(in crate::channel::room) fn count_tick(&mut self, has_failed: bool) -> u32 {
        self.faults = if has_failed { self.faults.saturating_add(1) } else { 0 };
        self.faults
    }

    /// It has members, so it doesn't linger.
    pub(in crate::channel::room) fn keep(&mut self) {
        self.linger = None;
    }

    /// The time for which it stays open without members, from `now` on. `linger` is the time that its route sets.
    pub(in crate::channel::room) fn time_left(&self, linger: impl FnOnce() -> Duration, now: Instant) -> Duration {
        let left = match &self.linger {
            _ if !self.is_written() && self.ticks.is_none() => Duration::ZERO,
            Some(linger) => linger.until.saturating_duration_since(now),
            None => linger(),
        };
        let held = self.held_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        let left = left.max(held);
        let may_roll_back = self.is_durable && self.saved.as_ref().is_some_and(Saved::may_roll_back);
        if may_roll_back && left.is_zero() { PROBATION_CHECK_EVERY } else { left }
    }

    /// Whether a callback has written its state or an entry.
    fn is_written(&self) -> bool {
        self.saved.is_some() || self.entries.as_ref().is_some_and(|entries| !entries.is_empty())
    }

    /// Whether a timer will post its review after `now`.
    pub(in crate::channel::room) fn is_lingering(&self, now: Instant) -> bool {
        self.linger.as_ref().is_some_and(|linger| linger.until > now)
    }

    /// It lingers until `until`. At that time, `timer` posts its review.
    pub(in crate::channel::room) fn start_linger(&mut self, until: Instant, timer: AbortHandle, permit: IdlePermit) {
        self.linger = Some(Linger { until, timer, _permit: permit });
    }

    /// Its sizes, for `inspect`.
    pub(in crate::channel::room) fn size(&self, topic: &Topic) -> RoomSize {
        let given_up = || self.entries.as_ref().is_some_and(|entries| entries.has_given_up());
        let rollback = match self.rollback_point() {
            Some(_) => Some(RollbackState::Possible),
            None => given_up().then_some(RollbackState::GivenUp),
        };
        RoomSize {
            topic: topic.clone(),
            plugin: self.owner.name().to_owned(),
            is_durable: self.is_durable,
            room_bytes: self.saved.as_ref().map_or(0, |saved| saved.bytes.len()),
            entries: self.entries.as_ref().map(|entries| entries.size()),
            rollback,
        }
    }

    /// Roughly, its memory in bytes.
    pub(in crate::channel::room) fn weight(&self) -> usize {
        let saved = self.saved.as_ref().map_or(0, |saved| saved.bytes.len());
        let entries = self.entries.as_ref().map_or(0, |entries| entries.weight());
        let entries = usize::try_from(entries).unwrap_or(usize::MAX);
        let published = self.published.as_ref().map_or(0, Published::weight)
            + self.published_entries.as_ref().map_or(0, |published| published.weight());
        (saved + published).saturating_add(entries)
    }
}

impl Drop for Linger {
    fn drop(&mut self) {
        self.timer.abort();
    }
}
