//! Tests of the log of events.

use super::super::{Except, PubSub};
use super::*;

fn say(pubsub: &PubSub, topic: &str, event: &'static str) {
    let (topic, payload, except) = (Topic::new(topic), Payload::EMPTY, Except::Nobody);
    pubsub.broadcast(Broadcast { topic, event: event.into(), payload, except, droppable: None, number: None });
}

fn patterns(of: &[&str]) -> Vec<Pattern> {
    of.iter().map(|pattern| Pattern::parse(pattern).expect("a pattern")).collect()
}

async fn next(reader: &mut EventReader) -> String {
    match reader.next().await.expect("the log is open") {
        ReadEvent::Missed => "missed".into(),
        ReadEvent::Event(event) => match &event.kind {
            TopicEventKind::Broadcast { event: name, .. } => format!("{} {name}", event.topic.as_str()),
            other => format!("{} {other:?}", event.topic.as_str()),
        },
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_gets_the_events_of_its_topics_and_goes_on_after_a_break() {
    let pubsub = PubSub::new();
    say(&pubsub, "a", "unseen");
    let (mut reader, is_complete) = pubsub.events.read(patterns(&["a", "b:*"]), None).expect("few readers");
    assert!(is_complete);
    for (topic, event) in [("a", "1"), ("c", "2"), ("b:1", "3")] {
        say(&pubsub, topic, event);
    }
    assert_eq!((next(&mut reader).await, next(&mut reader).await), ("a 1".into(), "b:1 3".into()));
    let position = reader.position();
    drop(reader);
    say(&pubsub, "b:2", "4");
    tokio::time::advance(Duration::from_secs(59)).await;
    pubsub.events.sweep();
    let (mut again, is_complete) = pubsub.events.read(patterns(&["b:*", "a"]), Some(position)).expect("few readers");
    assert!(is_complete);
    assert_eq!(next(&mut again).await, "b:2 4");
    let position = again.position();
    let (_, is_complete) = pubsub.events.read(patterns(&["a", "new"]), Some(position)).expect("few readers");
    assert!(is_complete, "nothing has happened since");
    say(&pubsub, "a", "5");
    let (_, is_complete) = pubsub.events.read(patterns(&["a", "later"]), Some(position)).expect("few readers");
    assert!(!is_complete, "nobody has watched that topic");
    drop(again);
    tokio::time::advance(Duration::from_secs(61)).await;
    pubsub.events.sweep();
    assert!(!pubsub.events.is_watching.load(Ordering::Relaxed) && pubsub.events.lock().stored.is_empty());
    let (_, is_complete) = pubsub.events.read(patterns(&["a"]), Some(position)).expect("few readers");
    assert!(!is_complete, "it was away for too long");
    let other = Position { epoch: Epoch::UNKNOWN, ..position };
    let (_, is_complete) = pubsub.events.read(patterns(&["a"]), Some(other)).expect("few readers");
    assert!(!is_complete, "another log");
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_told_what_it_has_missed_and_the_number_of_readers_is_limited() {
    let pubsub = PubSub::new();
    let (mut reader, _) = pubsub.events.read(patterns(&["a"]), None).expect("few readers");
    (0..EVENTS_MAX + 5).for_each(|_| say(&pubsub, "a", "e"));
    assert_eq!(next(&mut reader).await, "missed");
    assert_eq!(next(&mut reader).await, "a e");
    assert_eq!(reader.position().number, 6);
    let others: Vec<_> = (1..READERS_MAX).map(|_| pubsub.events.read(patterns(&["a"]), None)).collect();
    assert!(others.iter().all(Result::is_ok) && pubsub.events.read(patterns(&["a"]), None).is_err());
    drop(others);
    assert!(pubsub.events.read(patterns(&["a"]), None).is_ok());
    pubsub.events.close();
    assert!(reader.next().await.is_none());
}
