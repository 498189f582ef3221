//! The published entries of a topic: their changes and whole states, as messages to the members that follow them.

use std::collections::BTreeSet;
use std::sync::Arc;

use bennu_semantics::entries::{ALL, Behind, Followed, PublishedChange, Shown, ViewChange, ViewId};
use bytestring::ByteString;

use super::audience::{Inner, Job};
use super::broadcast::Encoded;
use super::placed::Placed;
use super::state_frames::StateFrames;
use super::{Audience, Broadcast, Except, Outbox, Subscriber, Subscription};
use crate::protocol::{Frame, Payload, Topic};

/// The event that carries a change of the entries.
const DIFF: &str = "room_diff";

/// The changes of published entries that a commit makes.
#[derive(Clone)]
pub struct EntriesUpdate {
    /// The topic.
    pub topic: Topic,
    /// The number of the change: one more than that of the change before.
    pub change: u64,
    /// The changed entries, in the order of their keys.
    pub changes: Arc<[PublishedChange]>,
}

/// The whole of the entries that a member follows.
#[derive(Clone)]
pub struct EntriesState {
    /// The topic.
    pub topic: Topic,
    /// The text of their object.
    pub text: ByteString,
    /// The patch that leads from that text to the entries of now, if they differ.
    pub patch: Option<ByteString>,
}

/// A part of the entries that some members lack.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// Their view.
    pub view: ViewId,
    /// The prefixes of the view, unless it has all entries.
    pub followed: Option<Followed>,
    /// The number of the last change that these members have. None if they have none.
    pub since: Option<u64>,
}

/// The messages with which members get the entries that they lack.
pub enum CaughtUp {
    /// The patch for the changes that they have missed. None if these made no difference.
    Patch(Option<ByteString>),
    /// The text of the whole.
    Whole(ByteString),
}

impl Audience {
    /// Delivers the changes of a commit, in order with the queued jobs. Returns whether a subscriber has missed them, or may
    /// still miss them.
    pub fn update_entries(&self, update: EntriesUpdate) -> bool {
        let mut inner = self.lock();
        if inner.draining.is_some() {
            self.enqueue(&mut inner, Job::EntriesUpdate(update));
            return true;
        }
        inner.update_entries(&update)
    }

    /// Sends a subscriber the whole of the entries that it follows, or of all entries. From then on it gets their changes.
    /// `frames` are kept for the next subscriber with the same state. Returns whether the subscriber may still lack them.
    pub fn show_entries(
        &self,
        subscription: &Subscription,
        followed: Option<&Followed>,
        state: &EntriesState,
        frames: &mut Option<StateFrames>,
    ) -> bool {
        let mut inner = self.lock();
        inner.enter_view(subscription.key, followed);
        let Some(placed) = inner.subscribers.get(subscription.key) else { return false };
        let outbox = Arc::clone(&placed.subscriber.outbox);
        if inner.draining.is_some() {
            self.enqueue(&mut inner, Job::EntriesState(subscription.key, outbox, state.clone()));
            return true;
        }
        inner.send_entries(subscription.key, &outbox, state, frames);
        inner.subscribers.get(subscription.key).is_some_and(|placed| !placed.shown.is_current())
    }

    /// A subscriber follows other entries from now on. Returns whether it needs their whole state.
    pub fn follow_entries(&self, subscription: &Subscription, followed: Option<&Followed>) -> bool {
        self.lock().enter_view(subscription.key, followed)
    }

    /// Every subscriber needs the whole state again. Returns whether there is a subscriber.
    pub fn forget_shown(&self) -> bool {
        let mut inner = self.lock();
        inner.forget_shown();
        !inner.subscribers.is_empty()
    }

    /// Returns what the subscribers lack whose outboxes have room now. While jobs are queued, it returns nothing, because
    /// some of them may be newer than the entries of now.
    #[must_use]
    pub fn wanted_entries(&self) -> BTreeSet<Wanted> {
        let inner = self.lock();
        let mut wanted = BTreeSet::new();
        for (_, placed) in inner.subscribers.iter().filter(|_| inner.draining.is_none()) {
            let since = match &placed.shown {
                Shown::Current { .. } => continue,
                Shown::Nothing { .. } => None,
                Shown::Behind(behind) => Some(behind.since),
            };
            if placed.subscriber.outbox.has_room_for_state() {
                let view = placed.shown.view();
                let followed = inner.views.as_ref().and_then(|views| views.followed(view)).cloned();
                wanted.insert(Wanted { view, followed, since });
            }
        }
        wanted
    }

    /// Sends subscribers what they lack, as far as their outboxes have room now.
    pub fn catch_up_entries(&self, topic: &Topic, wanted: &Wanted, caught_up: &CaughtUp) {
        let mut inner = self.lock();
        if inner.draining.is_some() {
            return;
        }
        match caught_up {
            CaughtUp::Whole(text) => inner.catch_up_by_state(topic, wanted, text),
            CaughtUp::Patch(patch) => inner.catch_up_by_patch(topic, wanted, patch.as_ref()),
        }
    }

    /// Returns the changes up to which subscribers are current that have missed some, or none if every subscriber is current.
    #[must_use]
    pub fn behind_entries(&self) -> Option<BTreeSet<u64>> {
        let inner = self.lock();
        let since = |placed: &Placed| if let Shown::Behind(behind) = &placed.shown { Some(behind.since) } else { None };
        // A queued job may still find a full outbox.
        let is_anyone_behind = inner.draining.is_some() || inner.is_anyone_behind();
        is_anyone_behind.then(|| inner.subscribers.iter().filter_map(|(_, placed)| since(placed)).collect())
    }

    /// Whether jobs are queued. Then nobody knows yet which changes the subscribers will miss.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.lock().draining.is_some()
    }
}

impl Inner {
    pub(super) fn forget_shown(&mut self) {
        for (_, placed) in &mut self.subscribers {
            placed.shown = Shown::Nothing { view: placed.shown.view() };
        }
    }

    /// Moves a subscriber to a view. Returns whether it is another one than before.
    fn enter_view(&mut self, key: usize, followed: Option<&Followed>) -> bool {
        let Some(placed) = self.subscribers.get_mut(key) else { return false };
        let (views, before) = (self.views.get_or_insert_default(), placed.shown.view());
        if views.followed(before) == followed {
            return false;
        }
        // In this order, so that the view before doesn't get its own number again.
        let view = views.enter(key as u64, followed);
        views.leave(key as u64, before);
        placed.shown = Shown::Nothing { view };
        true
    }

    /// Delivers the changes of a commit. Each view with one of the changed entries gets one message. Returns whether a
    /// subscriber has missed it.
    pub(super) fn update_entries(&mut self, update: &EntriesUpdate) -> bool {
        let Self { subscribers, views, .. } = self;
        let views = views.get_or_insert_default();
        let mut is_missed = false;
        for changed in views.change(&update.changes) {
            let mut frames = ChangeFrames { update, changed: &changed, patch: None, frames: Vec::new() };
            if changed.view == ALL {
                let members = subscribers.iter_mut().filter(|(_, placed)| placed.shown.view() == ALL);
                members.for_each(|(_, placed)| is_missed |= frames.send(placed));
            } else {
                for member in views.members(changed.view) {
                    let placed = usize::try_from(member).ok().and_then(|key| subscribers.get_mut(key));
                    is_missed |= placed.is_some_and(|placed| frames.send(placed));
                }
            }
        }
        is_missed
    }

    /// Sends the entries to the subscriber with this key, if that subscriber has this outbox. The key may have been reused
    /// for another one.
    pub(super) fn send_entries(
        &mut self,
        key: usize,
        outbox: &Arc<Outbox>,
        state: &EntriesState,
        frames: &mut Option<StateFrames>,
    ) {
        let Self { subscribers, views, .. } = self;
        let placed = subscribers.get_mut(key).filter(|placed| Arc::ptr_eq(&placed.subscriber.outbox, outbox));
        let (Some(placed), Some(views)) = (placed, views) else { return };
        let view = placed.shown.view();
        let number = views.number(view);
        let first = number.saturating_sub(state.patch.is_some().into());
        let whole = frames.get_or_insert_with(|| StateFrames::new(state.topic.clone(), first, state.text.clone()));
        whole.set_number(first);
        let Subscriber { serializer, deflates, .. } = placed.subscriber;
        let mut sent: Vec<Frame> = whole.frame(serializer, deflates).cloned().into_iter().collect();
        if let Some(patch) = &state.patch {
            sent.extend(diff(&state.topic, number, patch).frame(serializer, deflates).cloned());
        }
        if outbox.push_all_if_short(&sent) {
            placed.shown = Shown::Current { view, offset: 0 };
        }
    }

    fn catch_up_by_state(&mut self, topic: &Topic, wanted: &Wanted, text: &ByteString) {
        let Self { subscribers, views, .. } = self;
        let number = views.get_or_insert_default().number(wanted.view);
        let mut whole = StateFrames::new(topic.clone(), number, text.clone());
        for (_, placed) in subscribers.iter_mut().filter(|(_, placed)| wanted.is_lacked_by(&placed.shown)) {
            let frame = whole.frame(placed.subscriber.serializer, placed.subscriber.deflates);
            if frame.is_none_or(|frame| placed.subscriber.outbox.push_if_short(frame)) {
                placed.shown = Shown::Current { view: wanted.view, offset: 0 };
            }
        }
    }

    /// A subscriber that has to get the whole state instead is marked for it.
    fn catch_up_by_patch(&mut self, topic: &Topic, wanted: &Wanted, patch: Option<&ByteString>) {
        let Self { subscribers, views, .. } = self;
        let number = views.get_or_insert_default().number(wanted.view);
        let mut in_use: BTreeSet<u32> = BTreeSet::new();
        for (_, placed) in subscribers.iter() {
            if let Shown::Current { view, offset } = placed.shown
                && view == wanted.view
            {
                in_use.insert(offset);
            }
        }
        for (_, placed) in subscribers.iter_mut().filter(|(_, placed)| wanted.is_lacked_by(&placed.shown)) {
            let Shown::Behind(behind) = &placed.shown else { continue };
            match behind.catch_up(number, patch.is_some(), &in_use) {
                None => placed.shown = Shown::Nothing { view: wanted.view },
                Some(plan) => {
                    let patches = patch.map(|patch| &**patch).into_iter();
                    let patches = patches.chain((0..plan.empty).map(|_| "{}"));
                    let Subscriber { serializer, deflates, .. } = placed.subscriber;
                    let encoded =
                        |(number, patch): (u64, &str)| diff(topic, number, patch).frame(serializer, deflates).cloned();
                    let frames: Vec<Frame> = (plan.first..).zip(patches).filter_map(encoded).collect();
                    if placed.subscriber.outbox.push_all_if_short(&frames) {
                        placed.shown = Shown::Current { view: wanted.view, offset: plan.offset };
                        in_use.insert(plan.offset);
                    }
                }
            }
        }
    }
}

impl Wanted {
    fn is_lacked_by(&self, shown: &Shown) -> bool {
        match (shown, self.since) {
            (Shown::Nothing { view }, None) => *view == self.view,
            (Shown::Behind(behind), Some(since)) => {
                let Behind { view, since: from, .. } = **behind;
                (view, from) == (self.view, since)
            }
            // What its members lack may have become the whole since.
            (Shown::Current { .. } | Shown::Nothing { .. } | Shown::Behind(_), _) => false,
        }
    }
}

/// The frames of a commit's changes of one view: one for each offset of its members.
struct ChangeFrames<'a> {
    update: &'a EntriesUpdate,
    changed: &'a ViewChange<'a>,
    /// The text of the patch, made when the first member needs it.
    patch: Option<String>,
    /// By the number of the message. Most views have one.
    frames: Vec<(u64, Encoded<'static>)>,
}

impl ChangeFrames<'_> {
    /// Sends a member its message, if it has the state before. Returns whether it has missed the message.
    fn send(&mut self, placed: &mut Placed) -> bool {
        let Placed { subscriber, shown, .. } = placed;
        let Self { update, changed, patch, frames } = self;
        shown.change(changed.number, update.change, |own| {
            let at = frames.iter().position(|(number, _)| *number == own).unwrap_or_else(|| {
                let patch = patch.get_or_insert_with(|| changed.patch());
                frames.push((own, diff(&update.topic, own, patch)));
                frames.len() - 1
            });
            let frame = frames[at].1.frame(subscriber.serializer, subscriber.deflates);
            frame.is_none_or(|frame| subscriber.outbox.push_if_short(frame))
        })
    }
}

fn diff(topic: &Topic, number: u64, patch: &str) -> Encoded<'static> {
    Encoded::of(Broadcast {
        topic: topic.clone(),
        event: ByteString::from_static(DIFF),
        payload: Payload::Json(format!("{{\"n\":{number},\"patch\":{patch}}}").into()),
        except: Except::Nobody,
        droppable: None,
        number: None,
    })
}
