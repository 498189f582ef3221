//! Numbered broadcasts of an audience, and what a client that joins again gets of them.

use std::num::NonZeroU64;
use std::sync::Arc;

use bennu_semantics::HistorySpec;
use tokio::time::Instant;

use super::audience::{Inner, Job};
use super::histories::Ages;
use super::history::{ClientKey, History, Position, is_kept};
use super::{Audience, Broadcast, Deferred, Encoded, Except, Histories, Subscriber};
use crate::counts::Traffic;
use crate::protocol::{Frame, Outbound, Payload, Serializer, Topic, event};

/// A join of a topic whose route asks for a history.
pub struct Rejoin<'a> {
    /// The option of the route.
    pub spec: HistorySpec,
    /// The client, if it asks for recovery.
    pub client: Option<ClientKey>,
    /// The client's position, if it has one.
    pub since: Option<Position>,
    /// The member.
    pub member: &'a dyn RecoveringMember,
}

/// A member that is about to get the broadcasts that its client has missed.
pub trait RecoveringMember {
    /// Returns the message that tells the client its position. `recovered` says whether the client has got everything since
    /// its last position, if it had one.
    fn position_frame(&self, position: Position, recovered: Option<bool>) -> Option<Frame>;

    /// Whether `handle_out` decides about an event.
    fn intercepts(&self, event: &str) -> bool;

    /// Returns a future that delivers these broadcasts to this member, by the decisions of `handle_out`, and then tells it its
    /// position.
    fn replay(&self, missed: Vec<Broadcast>, position: Position) -> Deferred;
}

/// Returns the payload of the message that tells a client its position.
#[must_use]
pub fn position_payload(position: Position, recovered: Option<bool>) -> Payload {
    let Position { epoch, number } = position;
    Payload::Json(match recovered {
        None => format!(r#"{{"epoch":"{epoch}","n":{number}}}"#).into(),
        Some(recovered) => format!(r#"{{"epoch":"{epoch}","n":{number},"recovered":{recovered}}}"#).into(),
    })
}

/// Returns the message that goes before a binary frame and has its number, because a binary frame has no place for it.
#[must_use]
pub fn binary_number_frame(topic: &Topic, number: NonZeroU64) -> Option<Frame> {
    let payload = Payload::Json(format!(r#"{{"next":{number}}}"#).into());
    Serializer::V2.encode(Outbound::Broadcast { topic: topic.as_str(), event: event::HISTORY, payload: &payload })
}

impl Audience {
    /// Numbers a broadcast and keeps it, if the route asks for a history. `spec` is the present option of the route.
    pub(super) fn record(
        self: &Arc<Self>,
        inner: &mut Inner,
        broadcast: &mut Broadcast,
        spec: Option<HistorySpec>,
        all: &Arc<Histories>,
    ) {
        // Without a member, nobody has a position in a history that isn't there yet.
        if inner.history.is_none() && inner.subscribers.is_empty() {
            return;
        }
        self.apply_history(inner, &broadcast.topic, spec, all);
        if let Some(history) = inner.history.as_mut().filter(|_| spec.is_some() && is_kept(broadcast)) {
            history.add(broadcast);
        }
    }

    /// Begins the topic's history, if it has none. If a build has taken the option away and another one has brought it back,
    /// the clients that have asked for recovery get their new position.
    fn apply_history(
        self: &Arc<Self>,
        inner: &mut Inner,
        topic: &Topic,
        spec: Option<HistorySpec>,
        all: &Arc<Histories>,
    ) {
        match (&mut inner.history, spec) {
            (Some(history), spec) => {
                if history.set_spec(spec) {
                    let position = history.position();
                    self.tell_position(inner, topic, position);
                }
            }
            (none, Some(spec)) => {
                *none = Some(Box::new(History::new(topic, spec, all)));
                all.enter(topic, self);
            }
            (None, None) => {}
        }
    }

    /// Sends a position to the clients that have asked for recovery, in order with the queued jobs.
    fn tell_position(&self, inner: &mut Inner, topic: &Topic, position: Position) {
        let position = position_broadcast(topic, position, None);
        if inner.draining.is_some() {
            self.enqueue(inner, Job::Position(position));
        } else {
            inner.deliver_position(&position);
        }
    }

    /// Delivers what the client of a new subscriber has missed, or tells it that it has missed something. This comes after
    /// the reply to its join and before anything new.
    pub(super) fn rejoin(
        self: &Arc<Self>,
        inner: &mut Inner,
        topic: &Topic,
        subscriber: &Subscriber,
        rejoin: &Rejoin<'_>,
        all: &Arc<Histories>,
    ) {
        self.apply_history(inner, topic, Some(rejoin.spec), all);
        let has_room_for_job = inner.queue.len() < Self::WAITING_MAX;
        let (Some(history), Some(client)) = (&mut inner.history, rejoin.client) else { return };
        history.join(subscriber.id, client);
        let position = history.position();
        let outcome = match rejoin.since {
            None => Recovery::Done(None),
            Some(since) => {
                let outcome = recover(history, since, client, subscriber, rejoin, has_room_for_job);
                all.count_recovery(!matches!(outcome, Recovery::Done(Some(false))));
                if let Some(first) = NonZeroU64::new(since.number.saturating_add(1)) {
                    history.recount(first);
                }
                outcome
            }
        };
        match outcome {
            Recovery::Done(recovered) => {
                let frame = rejoin.member.position_frame(position, recovered);
                frame.into_iter().for_each(|frame| subscriber.outbox.push(frame));
            }
            Recovery::Deferred(replay) => self.defer(inner, None, replay),
        }
    }

    /// A broadcast of another node was lost. The clients that have asked for recovery get another position.
    pub(super) fn lose_broadcasts(&self) {
        let mut inner = self.lock();
        inner.lose_numbered();
        // If jobs wait, they are told when these are done.
        if inner.draining.is_none() {
            inner.tell_lost();
        }
    }

    /// Adds the ages of the kept broadcasts.
    pub(super) fn count_history_ages(&self, now: Instant, ages: &mut Ages) {
        let inner = self.lock();
        let Some(history) = &inner.history else { return };
        let mut add = |at, bytes| ages.add(now.duration_since(at), bytes);
        history.ages(&mut add);
        if inner.subscribers.is_empty() {
            history.age(add);
        }
    }

    /// Drops the broadcasts that are too old or were made at `limit` or before. Returns whether the history has ended, and
    /// the audience with it.
    pub(super) fn sweep_history(&self, topic: &Topic, now: Instant, limit: Option<Instant>, all: &Histories) -> bool {
        let mut inner = self.lock();
        let is_empty = inner.subscribers.is_empty();
        if let Some(history) = &mut inner.history {
            history.trim(now);
            if let Some(limit) = limit {
                history.drop_until(limit);
            }
            if is_empty && history.is_unused(now, limit) {
                inner.history = None;
            }
        }
        if inner.history.is_some() {
            return false;
        }
        all.remove(topic, self);
        inner.close_if_empty()
    }
}

fn position_broadcast(topic: &Topic, position: Position, recovered: Option<bool>) -> Broadcast {
    let (topic, event, payload) = (topic.clone(), event::HISTORY.into(), position_payload(position, recovered));
    Broadcast { topic, event, payload, except: Except::Nobody, droppable: None, number: None }
}

/// The outcome of a recovery.
enum Recovery {
    /// The client has got everything, or it hasn't. None if it had no position.
    Done(Option<bool>),
    /// `handle_out` has to decide first.
    Deferred(Deferred),
}

/// Pushes the missed broadcasts into the subscriber's outbox, if `handle_out` decides about none of them. They are pushed
/// all or not at all: a client whose outbox they would fill is told that it has missed them. Otherwise it would be closed,
/// join again from the same position, and be closed again.
fn recover(
    history: &mut History,
    since: Position,
    client: ClientKey,
    subscriber: &Subscriber,
    rejoin: &Rejoin<'_>,
    has_room_for_job: bool,
) -> Recovery {
    let position = history.position();
    let Some(missed) = history.missed(since, client) else { return Recovery::Done(Some(false)) };
    let missed: Vec<&mut Encoded<'static>> = missed.collect();
    let bytes = missed.iter().map(|encoded| encoded.payload_bytes()).sum();
    // Before anything is encoded.
    if !subscriber.outbox.has_room_for_missed(missed.len(), bytes) {
        return Recovery::Done(Some(false));
    }
    if missed.iter().any(|encoded| rejoin.member.intercepts(&encoded.broadcast().event)) {
        if !has_room_for_job {
            return Recovery::Done(Some(false));
        }
        let missed = missed.iter().map(|encoded| encoded.broadcast().clone()).collect();
        return Recovery::Deferred(rejoin.member.replay(missed, position));
    }
    let mut frames = Vec::with_capacity(missed.len());
    for encoded in missed {
        let Some(frame) = encoded.frame(subscriber.serializer, subscriber.deflates).cloned() else { continue };
        frames.extend(number_before(encoded.broadcast()));
        frames.push(frame);
    }
    Recovery::Done(Some(subscriber.outbox.push_missed(frames)))
}

/// The message with the number of a binary broadcast.
fn number_before(broadcast: &Broadcast) -> Option<Frame> {
    let number = broadcast.number.filter(|_| matches!(broadcast.payload, Payload::Binary(_)))?;
    binary_number_frame(&broadcast.topic, number)
}

impl Inner {
    /// A member has ended. If the histories of the host have little space left, the history ends with the last member.
    pub(super) fn leave_history(&mut self, member: u64) {
        let is_empty = self.subscribers.is_empty();
        let Some(history) = &mut self.history else { return };
        history.leave(member);
        if is_empty && history.is_in_the_way() {
            self.history = None;
        }
    }

    /// A numbered broadcast is dropped, because too many jobs wait for `handle_out`. No member will get it, although they get
    /// later ones.
    pub(super) fn lose_numbered(&mut self) {
        if let Some(history) = self.history.as_mut().filter(|_| !self.has_lost_numbered) {
            history.begin_epoch();
            self.has_lost_numbered = true;
        }
    }

    /// Tells the members that lack a dropped broadcast, when all that were kept are delivered.
    pub(super) fn tell_lost(&mut self) {
        if !std::mem::take(&mut self.has_lost_numbered) {
            return;
        }
        if let Some(history) = &self.history {
            let position = position_broadcast(history.topic(), history.position(), Some(false));
            self.deliver_position(&position);
        }
    }

    /// Delivers the position to the clients that have asked for recovery.
    pub(super) fn deliver_position(&self, position: &Broadcast) {
        let (mut encoded, now) = (Encoded::new(position), self.draining.unwrap_or(u64::MAX));
        let asked = self.subscribers.iter().filter(|(_, placed)| placed.since < now && placed.subscriber.has_numbers);
        for (_, placed) in asked {
            let Subscriber { serializer, deflates, outbox, .. } = &placed.subscriber;
            if let Some(frame) = encoded.frame(*serializer, *deflates) {
                outbox.push(frame.clone());
            }
        }
    }

    /// Delivers a broadcast of a topic with a history. The frames are kept with it.
    #[inline(never)]
    pub(super) fn deliver_numbered(&mut self, broadcast: &Broadcast, number: NonZeroU64) {
        // It may have been dropped while it waited in the queue.
        let mut unkept = None;
        let kept = self.history.as_mut().and_then(|history| history.frames(number));
        let encoded = match kept {
            Some(encoded) => encoded,
            None => unkept.insert(Encoded::of(broadcast.clone())),
        };
        let before = number_before(broadcast);
        // Clients that haven't asked for numbers may not understand them.
        let mut plain = None;
        let now = self.draining.unwrap_or(u64::MAX);
        let mut delivered = 0;
        for (_, placed) in &self.subscribers {
            let Subscriber { id, serializer, deflates, has_numbers, outbox, .. } = &placed.subscriber;
            if placed.since >= now || broadcast.except.leaves_out(*id) {
                continue;
            }
            let encoded = if *has_numbers {
                &mut *encoded
            } else {
                plain.get_or_insert_with(|| Encoded::of(Broadcast { number: None, ..broadcast.clone() }))
            };
            let Some(frame) = encoded.frame(*serializer, *deflates) else { continue };
            match &before {
                Some(before) if *has_numbers => outbox.push_both(before.clone(), frame.clone()),
                _ => outbox.push(frame.clone()),
            }
            delivered += 1;
        }
        Traffic::Deliveries.add(delivered);
        if let Some(history) = &mut self.history {
            history.recount(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use bytestring::ByteString;

    use super::super::{Epoch, Handling, HistoryLimits, Interceptor, Outbox, OutboxLimits, PubSub};
    use super::*;

    const SPEC: HistorySpec = HistorySpec { count: 10_000, age: Duration::from_secs(60) };

    /// Keeps a history of all topics.
    struct KeepsAll(HistorySpec);

    impl Interceptor for KeepsAll {
        fn intercept(&self, _: &Broadcast, _: &Arc<Audience>) -> Handling {
            Handling { history: Some(self.0), ..Handling::default() }
        }
    }

    /// A member that intercepts nothing.
    struct Plain;

    impl RecoveringMember for Plain {
        fn position_frame(&self, position: Position, recovered: Option<bool>) -> Option<Frame> {
            let payload = position_payload(position, recovered);
            Serializer::V2.encode(Outbound::Broadcast { topic: "t", event: event::HISTORY, payload: &payload })
        }

        fn intercepts(&self, _: &str) -> bool {
            false
        }

        fn replay(&self, _: Vec<Broadcast>, _: Position) -> Deferred {
            unreachable!("it intercepts nothing")
        }
    }

    fn pubsub(spec: HistorySpec) -> Arc<PubSub> {
        let pubsub = Arc::new(PubSub::new());
        pubsub.set_interceptor(Arc::new(KeepsAll(spec)));
        pubsub
    }

    fn say(pubsub: &PubSub, topic: &str, text: &str) {
        let (topic, payload) = (Topic::new(topic), Payload::Json(format!("{{\"text\":\"{text}\"}}").into()));
        let (event, except) = (ByteString::from_static("e"), Except::Nobody);
        pubsub.broadcast(Broadcast { topic, event, payload, except, droppable: None, number: None });
    }

    fn subscribe(pubsub: &PubSub, topic: &str, since: Option<Position>) -> (super::super::Subscription, Arc<Outbox>) {
        let outbox = Arc::new(Outbox::new(OutboxLimits { frames: 100_000, bytes: 1 << 30 }));
        let (serializer, member) = (Serializer::V2, Arc::new(()));
        let subscriber =
            Subscriber { id: 1, serializer, deflates: false, has_numbers: true, outbox: Arc::clone(&outbox), member };
        let rejoin = Rejoin { spec: SPEC, client: Some(ClientKey::of("c")), since, member: &Plain };
        (pubsub.subscribe_again(&Topic::new(topic), &subscriber, None, Some(&rejoin)), outbox)
    }

    /// The numbers of the broadcasts in an outbox, and the last position that it has.
    fn read(outbox: &Outbox) -> (Vec<u64>, Option<Position>, Option<bool>) {
        let (mut numbers, mut position, mut recovered) = (vec![], None, None);
        for frame in outbox.take_all() {
            let frame: serde_json::Value = serde_json::from_slice(frame.message()).expect("JSON");
            if frame[3] == "history" {
                let epoch = Epoch::parse(frame[4]["epoch"].as_str().expect("text")).expect("an epoch");
                position = Some(Position { epoch, number: frame[4]["n"].as_u64().expect("a number") });
                recovered = frame[4]["recovered"].as_bool();
            } else {
                numbers.push(frame[1].as_str().expect("a ref")[1..].parse().expect("a number"));
            }
        }
        (numbers, position, recovered)
    }

    #[test]
    fn a_client_that_comes_and_goes_while_threads_broadcast_has_each_number_once() {
        let pubsub = pubsub(SPEC);
        pubsub.histories.set_limits(HistoryLimits { topic_bytes: 1 << 30, host_bytes: 1 << 30 });
        let (first, outbox) = subscribe(&pubsub, "t", None);
        let (mut numbers, position, _) = read(&outbox);
        let mut position = position.expect("a position");
        pubsub.unsubscribe(&first);
        let is_done = AtomicBool::new(false);
        std::thread::scope(|threads| {
            let writers: Vec<_> =
                (0..3).map(|_| threads.spawn(|| (0..2_000).for_each(|_| say(&pubsub, "t", "hi")))).collect();
            threads.spawn(|| {
                writers.into_iter().for_each(|writer| writer.join().expect("no panic"));
                is_done.store(true, Ordering::Release);
            });
            loop {
                // Before the last visit, which must get the rest.
                let is_last = is_done.load(Ordering::Acquire);
                let (subscription, outbox) = subscribe(&pubsub, "t", Some(position));
                std::thread::yield_now();
                pubsub.unsubscribe(&subscription);
                let (got, told, recovered) = read(&outbox);
                assert_eq!(recovered, Some(true));
                let told = told.expect("a position");
                position.number = got.last().copied().unwrap_or(told.number).max(told.number);
                numbers.extend(got);
                if is_last {
                    break;
                }
            }
        });
        assert_eq!(numbers, (1..=6_000).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn a_topic_s_history_is_bounded_and_ends_after_its_last_member() {
        let pubsub = pubsub(SPEC);
        let histories = &pubsub.histories;
        let (subscription, outbox) = subscribe(&pubsub, "t", None);
        let (_, position, _) = read(&outbox);
        let long = "x".repeat(100_000);
        (0..30).for_each(|_| say(&pubsub, "t", &long));
        let most = histories.limits().topic_bytes;
        assert!((most - 210_000..=most).contains(&histories.bytes()), "{} bytes", histories.bytes());
        pubsub.unsubscribe(&subscription);
        assert_eq!((histories.topics(), pubsub.topic_count(), pubsub.topics()), (1, 1, vec![]));
        let (again, outbox) = subscribe(&pubsub, "t", position);
        assert_eq!(read(&outbox).2, Some(false), "the first ones were dropped");
        tokio::time::advance(Duration::from_secs(61)).await;
        pubsub.sweep_histories().await;
        assert_eq!((histories.topics(), histories.stored()), (1, 0), "it has a member");
        pubsub.unsubscribe(&again);
        tokio::time::advance(Duration::from_secs(61)).await;
        pubsub.sweep_histories().await;
        assert_eq!((histories.topics(), histories.bytes(), pubsub.topic_count()), (0, 0, 0));
        assert_eq!((histories.recovered(), histories.missed()), (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_broadcasts_of_all_topics_make_room() {
        let pubsub = pubsub(SPEC);
        let histories = &pubsub.histories;
        let host_bytes = 1 << 20;
        histories.set_limits(HistoryLimits { topic_bytes: 400_000, host_bytes });
        let long = "x".repeat(10_000);
        let members: Vec<_> = ["a", "b", "c"].map(|topic| subscribe(&pubsub, topic, None).0).into();
        for topic in ["a", "b", "c"] {
            (0..30).for_each(|_| say(&pubsub, topic, &long));
            tokio::time::advance(Duration::from_secs(10)).await;
        }
        assert!(histories.is_tight() && histories.bytes() <= host_bytes, "{} bytes", histories.bytes());
        pubsub.sweep_histories().await;
        assert!(histories.bytes() <= host_bytes / 4 * 3, "{} bytes", histories.bytes());
        let stored = |topic: &str| {
            let inner = pubsub.audience(topic).expect("a topic");
            let (mut inner, mut stored) = (inner.lock(), 0);
            inner.history.as_mut().expect("a history").ages(|_, _| stored += 1);
            stored
        };
        let counts = ["a", "b", "c"].map(stored);
        assert!(counts[0] == 0 && counts[2] > 0, "{counts:?}");
        // Topics without members make room at once.
        for topic in 0..2_000 {
            let (subscription, _) = subscribe(&pubsub, &format!("t{topic}"), None);
            pubsub.unsubscribe(&subscription);
        }
        assert!(histories.bytes() <= host_bytes, "{} bytes", histories.bytes());
        members.iter().for_each(|member| pubsub.unsubscribe(member));
    }
}
