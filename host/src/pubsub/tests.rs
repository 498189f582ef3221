//! The registry of topics: subscribers, observers, and the order of broadcasts.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::protocol::{CloseCode, DeflateCount, Payload};

fn subscriber(id: u64, serializer: Serializer) -> (Subscriber, Arc<Outbox>) {
    let outbox = Arc::new(Outbox::new(OutboxLimits::default()));
    (
        Subscriber {
            id,
            serializer,
            deflates: false,
            has_numbers: false,
            outbox: Arc::clone(&outbox),
            member: Arc::new(()),
        },
        outbox,
    )
}

fn hello(topic: &Topic, except: Except) -> Broadcast {
    Broadcast {
        topic: topic.clone(),
        event: "hello".into(),
        payload: Payload::EMPTY,
        except,
        droppable: None,
        number: None,
    }
}

#[test]
fn a_broadcast_is_encoded_once_for_each_serializer_and_skips_its_sender() {
    let pubsub = PubSub::new();
    let topic = Topic::new("room:a");
    let (alice, alices) = subscriber(1, Serializer::V2);
    let (bob, bobs) = subscriber(2, Serializer::V2);
    let (old, olds) = subscriber(3, Serializer::V1);
    for each in [alice, bob, old] {
        pubsub.subscribe(&topic, &each, None);
    }
    pubsub.broadcast(hello(&topic, Except::Member(1)));
    assert_eq!(alices.take_all(), []);
    assert_eq!(bobs.take_all(), [Frame::text(r#"[null,null,"room:a","hello",{}]"#)]);
    let v1 = r#"{"event":"hello","payload":{},"ref":null,"topic":"room:a"}"#;
    assert_eq!(olds.take_all(), [Frame::text(v1)]);
}

#[test]
fn a_broadcast_is_compressed_once_for_all_that_take_it() {
    let (pubsub, topic) = (PubSub::new(), Topic::new("room:a"));
    let outboxes = [1, 2, 3, 4].map(|id| {
        let (subscriber, outbox) = subscriber(id, Serializer::V2);
        pubsub.subscribe(&topic, &Subscriber { deflates: id > 2, ..subscriber }, None);
        outbox
    });
    let long = Payload::Json(format!("{{\"text\":\"{}\"}}", "hello ".repeat(100)).into());
    let saved = DeflateCount::BytesSaved.get();
    pubsub.broadcast(Broadcast { payload: long, ..hello(&topic, Except::Nobody) });
    let [one, two, three, four] = outboxes.each_ref().map(|outbox| outbox.take_all().remove(0));
    assert!(one.is_same(&two) && three.is_same(&four) && one.as_text().is_some());
    assert_eq!(one.deflated().as_ref(), Some(&three));
    assert!(DeflateCount::BytesSaved.get() - saved >= 2 * (one.len() - three.len()) as u64, "two have it");
    pubsub.broadcast(hello(&topic, Except::Nobody));
    let [one, .., four] = outboxes.map(|outbox| outbox.take_all().remove(0));
    assert!(one.is_same(&four), "it is too short");
}

/// Each joined topic of each client has this memory.
#[test]
fn a_subscriber_is_small() {
    assert_eq!(size_of::<Subscriber>(), 5 * size_of::<usize>());
}

#[test]
fn a_topic_is_removed_with_its_last_subscriber() {
    let pubsub = PubSub::new();
    let topic = Topic::new("room:a");
    let (alice, _outbox) = subscriber(1, Serializer::V2);
    let first = pubsub.subscribe(&topic, &alice, None);
    pubsub.unsubscribe(&first);
    assert_eq!(pubsub.topic_count(), 0);
    pubsub.subscribe(&topic, &alice, None);
    pubsub.unsubscribe(&first);
    assert_eq!(pubsub.topics(), [(topic, 1)]);
}

#[derive(Default)]
struct Counter(AtomicUsize);

impl BroadcastObserver for Counter {
    fn observe(&self, _: &Broadcast) -> Option<Arc<dyn Any + Send + Sync>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[test]
fn an_observer_is_called_for_a_topic_without_members() {
    let pubsub = Arc::new(PubSub::new());
    let (topic, counter) = (Topic::new("news"), Arc::new(Counter::default()));
    let observer: Arc<dyn BroadcastObserver> = counter.clone();
    let handle = pubsub.subscribe_observer(&topic, 1, &observer);
    pubsub.broadcast(hello(&topic, Except::Nobody));
    pubsub.broadcast(hello(&topic, Except::Member(1)));
    assert_eq!((pubsub.topics(), pubsub.topic_count()), (vec![], 1));
    drop(handle);
    pubsub.broadcast(hello(&topic, Except::Nobody));
    assert_eq!((counter.0.load(Ordering::Relaxed), pubsub.topic_count()), (1, 0));
}

/// Records the events of the broadcasts.
#[derive(Default)]
struct ObservedEvents(std::sync::Mutex<Vec<String>>);

impl BroadcastObserver for ObservedEvents {
    fn observe(&self, broadcast: &Broadcast) -> Option<Arc<dyn Any + Send + Sync>> {
        self.0.lock().expect("no panic").push(broadcast.event.to_string());
        None
    }
}

#[test]
fn observers_and_subscribers_get_broadcasts_in_the_same_order() {
    const EACH: usize = 400;
    let pubsub = Arc::new(PubSub::new());
    let (topic, heard) = (Topic::new("news"), Arc::new(ObservedEvents::default()));
    let observer: Arc<dyn BroadcastObserver> = heard.clone();
    let _hearing = pubsub.subscribe_observer(&topic, 1, &observer);
    let (alice, outbox) = subscriber(2, Serializer::V2);
    pubsub.subscribe(&topic, &alice, None);
    std::thread::scope(|scope| {
        for name in ["a", "b"] {
            let (pubsub, topic) = (&pubsub, &topic);
            scope.spawn(move || {
                for number in 0..EACH {
                    pubsub.broadcast(Broadcast {
                        event: format!("{name}{number}").into(),
                        ..hello(topic, Except::Nobody)
                    });
                }
            });
        }
    });
    let got = outbox.take_all();
    let heard = heard.0.lock().expect("no panic");
    assert_eq!((got.len(), heard.len()), (2 * EACH, 2 * EACH));
    for (frame, event) in got.iter().zip(&*heard) {
        assert_eq!(frame.as_text(), Some(&*format!("[null,null,\"news\",\"{event}\",{{}}]")));
    }
}

/// An observer that drops its owner at the first broadcast, and is removed with the owner.
#[derive(Default)]
struct Last(std::sync::Mutex<Option<Arc<TopicSubscriptionHandle>>>);

impl BroadcastObserver for Last {
    fn observe(&self, _: &Broadcast) -> Option<Arc<dyn Any + Send + Sync>> {
        self.0.lock().expect("no panic").take().map(|owner| owner as _)
    }
}

#[test]
fn an_observer_may_hold_the_last_reference_to_its_owner() {
    let pubsub = Arc::new(PubSub::new());
    let (topic, last) = (Topic::new("news"), Arc::new(Last::default()));
    let observer: Arc<dyn BroadcastObserver> = last.clone();
    *last.0.lock().expect("no panic") = Some(Arc::new(pubsub.subscribe_observer(&topic, 1, &observer)));
    let (said, heard) = std::sync::mpsc::channel();
    // On another thread, because a failure is a deadlock of the thread with itself.
    let broadcasting = Arc::clone(&pubsub);
    std::thread::spawn(move || {
        broadcasting.broadcast(hello(&topic, Except::Nobody));
        said.send(()).unwrap_or_default();
    });
    assert_eq!(heard.recv_timeout(std::time::Duration::from_secs(60)), Ok(()));
    assert_eq!(pubsub.topic_count(), 0);
}

#[test]
fn topics_are_listed_in_order_and_in_pages() {
    let pubsub = Arc::new(PubSub::new());
    let (alice, _outbox) = subscriber(1, Serializer::V2);
    let names = ["room:c", "room:a", "room", "roon", "room:b"];
    let subscriptions: Vec<_> = names.iter().map(|name| pubsub.subscribe(&Topic::new(name), &alice, None)).collect();
    let observer: Arc<dyn BroadcastObserver> = Arc::new(Counter::default());
    let _hearing = pubsub.subscribe_observer(&Topic::new("room:aa"), 1, &observer);
    let under = |after, limit| -> Vec<String> {
        pubsub.topics_under("room:", after, limit).iter().map(|(topic, _)| topic.to_string()).collect()
    };
    assert_eq!(under(None, 10), ["room:a", "room:b", "room:c"]);
    assert_eq!(under(None, 2), ["room:a", "room:b"]);
    assert_eq!(under(Some("room:b"), 2), ["room:c"]);
    assert_eq!(under(Some("a"), 1), ["room:a"]);
    subscriptions.iter().for_each(|subscription| pubsub.unsubscribe(subscription));
    assert_eq!(under(None, 10), [""; 0]);
}

#[test]
fn disconnect_on_an_id_closes_its_sockets() {
    let pubsub = PubSub::new();
    let outbox = Arc::new(Outbox::new(OutboxLimits::default()));
    let _named = pubsub.name("user:1", &outbox);
    let about = |event: &'static str| Broadcast { event: event.into(), ..hello(&Topic::new("user:1"), Except::Nobody) };
    pubsub.broadcast(about("other"));
    let closing = || outbox.closing();
    assert_eq!(closing(), None);
    pubsub.broadcast(about("disconnect"));
    assert_eq!(closing(), Some(CloseCode::GoingAway));
}
