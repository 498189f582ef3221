//! The shared handle, with subscribers and a paused clock.

use std::sync::Arc;
use std::time::Duration;

use super::client::{self, Client};
use super::*;
use crate::presence::{Pace, Presence, PresenceError};
use crate::protocol::{Frame, Serializer};
use crate::pubsub::{Outbox, OutboxLimits, PubSub, Subscriber};

struct Registry {
    pubsub: Arc<PubSub>,
    presence: Presence,
}

impl Registry {
    fn new(pace: Pace) -> Self {
        let pubsub = Arc::new(PubSub::new());
        let presence = Presence::new(&pubsub, "a", 1, pace);
        Self { pubsub, presence }
    }

    fn subscribe(&self, topic: &Topic, id: u64) -> Arc<Outbox> {
        let outbox = Arc::new(Outbox::new(OutboxLimits { frames: 100_000, ..OutboxLimits::default() }));
        let (serializer, member) = (Serializer::V2, Arc::new(()));
        self.pubsub.subscribe(
            topic,
            &Subscriber { id, serializer, deflates: false, has_numbers: false, outbox: Arc::clone(&outbox), member },
            None,
        );
        outbox
    }
}

/// Returns the payloads of the diffs in an outbox, which must contain nothing else.
fn diffs(outbox: &Outbox) -> Vec<String> {
    let payload = |frame: Frame| {
        let text = frame.as_text().expect("presence is text");
        let rest = text.strip_prefix(r#"[null,null,"room:a","presence_diff","#).unwrap_or_else(|| panic!("{text}"));
        rest.strip_suffix(']').unwrap().to_owned()
    };
    outbox.take_all().into_iter().map(payload).collect()
}

fn joined(payload: &str) -> usize {
    parsed(payload)["joins"].as_object().unwrap().len()
}

#[tokio::test(start_paused = true)]
async fn a_few_diffs_are_sent_at_once_and_more_are_merged() {
    let registry = Registry::new(Pace::default());
    let (topic, outbox) = (topic(), registry.subscribe(&topic(), 1));
    for member in 0..20 {
        registry.presence.track(&topic, member, &format!("user {member}"), "{}").unwrap();
    }
    assert_eq!(diffs(&outbox).len(), 8);
    assert_eq!(registry.presence.count(&topic), 20);
    tokio::time::sleep(Duration::from_millis(99)).await;
    assert_eq!(diffs(&outbox).len(), 0);
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(diffs(&outbox).iter().map(|diff| joined(diff)).collect::<Vec<_>>(), [12]);
    // The merged diff is the first of the next window.
    for member in 0..9 {
        registry.presence.leave(&topic, member);
    }
    assert_eq!(diffs(&outbox).len(), 7);
    tokio::time::sleep(Duration::from_millis(101)).await;
    assert_eq!(diffs(&outbox).len(), 1);
    // Another topic has its own window, and no subscriber.
    registry.presence.track(&Topic::new("room:b"), 1, "ann", "{}").unwrap();
    registry.presence.leave(&topic, 9);
    assert_eq!(diffs(&outbox).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_window_each_diff_is_sent_alone() {
    let registry = Registry::new(Pace { window: Duration::ZERO, ..Pace::default() });
    let (topic, outbox) = (topic(), registry.subscribe(&topic(), 1));
    for member in 0..20 {
        registry.presence.track(&topic, member, "ann", "{}").unwrap();
    }
    assert_eq!(diffs(&outbox).len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_topic_s_list_its_keys_and_one_member_can_be_read() {
    let Registry { presence, .. } = Registry::new(Pace::default());
    let topic = topic();
    assert_eq!((presence.state(&topic), presence.get(&topic, "ann")), (Payload::EMPTY, None));
    presence.track(&topic, 1, "ann", "{\"n\":1}").unwrap();
    presence.track(&topic, 1, "bob", "{}").unwrap();
    assert_eq!(presence.track(&topic, 1, "ann", "{}"), Err(PresenceError::AlreadyTracked));
    assert_eq!(presence.update(&topic, 2, "ann", "{}"), Err(PresenceError::NotTracked));
    assert_eq!(presence.keys(&topic, 1), ["ann".into(), "bob".into()]);
    let list = parsed(&text(presence.state(&topic)));
    assert_eq!(list["ann"]["metas"][0]["n"], 1);
    assert_eq!(parsed(&presence.get(&topic, "ann").unwrap()), list["ann"]);
    presence.update(&topic, 1, "ann", "{}").unwrap();
    presence.untrack(&topic, 1, "bob");
    presence.untrack(&topic, 1, "bob");
    let now = parsed(&text(presence.state(&topic)));
    assert_eq!(now["ann"]["metas"][0]["phx_ref_prev"], list["ann"]["metas"][0]["phx_ref"]);
    assert_eq!(presence.count(&topic), 1);
    presence.leave(&topic, 1);
    assert_eq!((presence.count(&topic), presence.keys(&topic, 1).len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_pending_flush_does_not_keep_the_registry_alive() {
    let registry = Registry::new(Pace { burst: 0, ..Pace::default() });
    let outbox = registry.subscribe(&topic(), 1);
    registry.presence.track(&topic(), 1, "ann", "{}").unwrap();
    drop(registry);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(diffs(&outbox).len(), 0);
}

/// Members on several threads. Their clients are sent states now and then.
#[test]
fn clients_end_with_the_right_list_for_any_order_of_threads() {
    for mut random in Random::runs(3) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
        let registry = Arc::new(Registry::new(Pace { burst: 2, window: Duration::from_millis(2) }));
        let outbox = registry.subscribe(&topic(), 1);
        let mut tasks = Vec::new();
        for member in 0..4 {
            let (registry, outbox, seed) = (Arc::clone(&registry), Arc::clone(&outbox), random.below(1 << 20));
            tasks.push(runtime.spawn(async move { live(&registry, &outbox, member, seed).await }));
        }
        runtime.block_on(async {
            for task in tasks {
                task.await.unwrap();
            }
        });
        let expected = client::list(&parsed(&text(registry.presence.state(&topic()))));
        let mut client = Client::default();
        client.on_state("{}");
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while client.list() != expected {
            assert!(std::time::Instant::now() < deadline, "the last flush must arrive");
            outbox.take_all().iter().for_each(|frame| receive(&mut client, frame));
            std::thread::yield_now();
        }
    }
}

async fn live(registry: &Registry, outbox: &Outbox, member: u64, seed: usize) {
    let topic = topic();
    for step in 0..200 {
        let key = ["ann", "bob"][(seed >> (step % 20)) & 1];
        match (seed + step * 7) % 5 {
            0 | 1 => drop(registry.presence.track(&topic, member, key, "{}")),
            2 => drop(registry.presence.update(&topic, member, key, "{}")),
            3 => registry.presence.untrack(&topic, member, key),
            _ => registry.presence.show(&topic, |payload| outbox.push(Frame::text(&text(payload)))),
        }
        tokio::task::yield_now().await;
    }
}

/// A state is in the outbox without an envelope, and a diff with one.
fn receive(client: &mut Client, frame: &Frame) {
    let text = frame.as_text().expect("presence is text");
    match parsed(text) {
        Value::Array(message) => client.on_diff(&message[4].to_string()),
        _ => client.on_state(text),
    }
}
