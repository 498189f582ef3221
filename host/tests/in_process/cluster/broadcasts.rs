//! Broadcasts, and other messages to members, from one node to another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bennu::contract::{CallFuture, Decision, Identity, Passing};
use bennu::protocol::{Payload, Topic};
use bennu::pubsub::{Except, ReadEvent, TopicEventKind};
use serde_json::{Value, json};

use super::network::TestCluster;
use super::{broadcast, events, push, rooms};
use crate::support::{Notes, Part};

fn named(id: &str) -> Identity {
    Identity { socket_id: Some(id.into()), ..Identity::default() }
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_reaches_the_members_at_all_nodes_in_the_order_of_its_sender() {
    let mut cluster = TestCluster::new(3, || vec![rooms(&Notes::default())]);
    let mut clients: Vec<_> = cluster.nodes.iter().map(|node| node.connect()).collect();
    for client in &mut clients {
        client.join("room:a").await;
    }
    let expected: Vec<_> = (0..5).map(|number| ("said".to_owned(), json!({ "n": number }))).collect();
    let mut own = Vec::new();
    for (_, payload) in &expected {
        own.extend(push(&mut clients[0], "room:a", "shout", payload).await);
    }
    assert_eq!(events(&own), expected);
    cluster.deliver();
    for client in &mut clients[1..] {
        assert_eq!(events(&client.now()), expected);
    }
    // Nobody gets it twice, and nobody in another topic gets it.
    let mut other = cluster.nodes[1].connect();
    other.join("room:b").await;
    push(&mut clients[2], "room:a", "shout", &json!({})).await;
    cluster.deliver();
    assert_eq!([clients[0].now().len(), clients[1].now().len(), other.now().len()], [1, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn members_are_left_out_by_number_and_by_socket_at_any_node() {
    let mut cluster = TestCluster::new(2, || vec![rooms(&Notes::default())]);
    let mut alice = cluster.nodes[0].stage.connect_as(named("user:1"));
    let mut away = cluster.nodes[1].stage.connect_as(named("user:1"));
    let mut bob = cluster.nodes[1].connect();
    for client in [&mut alice, &mut away, &mut bob] {
        client.join("room:a").await;
    }
    assert!(push(&mut alice, "room:a", "whisper", &json!({})).await.is_empty());
    cluster.deliver();
    assert_eq!([away.now().len(), bob.now().len()], [1, 1]);
    // A member with the same number would be left out, too. But numbers are different in the whole cluster.
    let numbers = |at: usize| cluster.nodes[at].node().people("room:a", 9).into_iter().map(|person| person.member);
    let all: Vec<u64> = numbers(0).chain(numbers(1)).collect();
    assert_eq!(all.len(), 3);
    assert_eq!(all.iter().collect::<std::collections::HashSet<_>>().len(), 3);
    let node = Arc::clone(cluster.nodes[0].node());
    let members = Arc::new(node.members_of_socket("room:a", "user:1"));
    assert_eq!(members.len(), 1);
    node.pubsub.broadcast(broadcast("room:a", "said", Except::Socket { id: "user:1".into(), members }));
    cluster.deliver();
    assert_eq!([alice.now().len(), away.now().len(), bob.now().len()], [0, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn each_node_asks_its_own_members_about_an_intercepted_event() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let parts = move || {
        let (mut part, counted) = (rooms(&Notes::default()), Arc::clone(&counted));
        part.intercepts = &["said"];
        part.on_passing = Arc::new(move |passing: Passing| -> CallFuture<'static, Vec<Decision>> {
            counted.fetch_add(passing.recipients.len(), Ordering::SeqCst);
            let payload = Payload::Json("{\"changed\":true}".into());
            Box::pin(async move { Ok(vec![Decision::Replace(payload); passing.recipients.len()]) })
        });
        vec![part]
    };
    let mut cluster = TestCluster::new(2, parts);
    let (mut alice, mut bob) = (cluster.nodes[0].connect(), cluster.nodes[1].connect());
    alice.join("room:a").await;
    bob.join("room:a").await;
    alice.send(&json!(["1", "2", "room:a", "shout", {}]).to_string());
    cluster.deliver();
    assert_eq!(events(&[bob.next().await]), [("said".to_owned(), json!({ "changed": true }))]);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_subscribed_member_hears_each_broadcast_once_from_wherever_it_comes() {
    let notes = Notes::default();
    let noted = notes.clone();
    let mut cluster = TestCluster::new(2, move || vec![rooms(&noted)]);
    let (mut alice, mut bob) = (cluster.nodes[0].connect(), cluster.nodes[1].connect());
    alice.join("room:a").await;
    bob.join("room:b").await;
    push(&mut bob, "room:b", "subscribe", &json!({ "topic": "room:a" })).await;
    push(&mut alice, "room:a", "shout", &json!({})).await;
    push(&mut alice, "room:a", "publish", &json!({ "topic": "room:a" })).await;
    cluster.deliver();
    cluster.nodes[1].node().pubsub.broadcast(broadcast("room:a", "third", Except::Nobody));
    cluster.deliver();
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    assert_eq!(notes.all(), ["topic room:a said", "topic room:a said", "topic room:a third"]);
}

#[tokio::test(start_paused = true)]
async fn a_droppable_message_replaces_the_last_one_with_its_key_from_any_node() {
    let mut cluster = TestCluster::new(2, || vec![rooms(&Notes::default())]);
    let (mut alice, mut bob) = (cluster.nodes[0].connect(), cluster.nodes[1].connect());
    alice.join("room:a").await;
    bob.join("room:a").await;
    for number in 0..3 {
        push(&mut alice, "room:a", "cursor", &json!({ "n": number })).await;
    }
    cluster.deliver();
    // Nothing was read meanwhile, so only the last one waits. The one of the own node takes its place.
    assert_eq!(events(&bob.now()), [("cursor".to_owned(), json!({ "n": 2 }))]);
    push(&mut alice, "room:a", "cursor", &json!({ "n": 3 })).await;
    cluster.deliver();
    bob.send(&json!(["1", "9", "room:a", "cursor", { "n": 4 }]).to_string());
    let got: Vec<Value> = events(&bob.now()).into_iter().map(|(_, payload)| payload["n"].clone()).collect();
    assert!(got.contains(&json!(4)) && !got.contains(&json!(3)), "{got:?}");
}

#[tokio::test(start_paused = true)]
async fn members_and_sockets_are_addressed_at_any_node() {
    let notes = Notes::default();
    let noted = notes.clone();
    let mut cluster = TestCluster::new(3, move || vec![rooms(&noted)]);
    let mut alice = cluster.nodes[0].connect();
    let mut bob = cluster.nodes[1].stage.connect_as(named("user:1"));
    let mut carol = cluster.nodes[2].stage.connect_as(named("user:1"));
    for client in [&mut alice, &mut bob, &mut carol] {
        client.join("room:a").await;
    }
    let bob_number = cluster.nodes[1].node().people("room:a", 1)[0].member;
    push(&mut alice, "room:a", "member", &json!({ "topic": "room:a", "member": bob_number })).await;
    push(&mut alice, "room:a", "socket", &json!({ "topic": "room:a" })).await;
    cluster.deliver();
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    assert_eq!(notes.all(), ["member room:a hello"]);
    assert_eq!([&mut bob, &mut carol].map(|client| events(&client.now())[0].0.clone()), ["news", "news"]);
    push(&mut alice, "room:a", "disconnect", &json!({})).await;
    cluster.deliver();
    assert_eq!([bob.now(), carol.now()], [["closed 1001"], ["closed 1001"]]);
    // The event `disconnect` in a broadcast does the same, as on a single host.
    let mut dave = cluster.nodes[2].stage.connect_as(named("user:2"));
    dave.join("room:a").await;
    cluster.nodes[0].node().pubsub.broadcast(broadcast("user:2", "disconnect", Except::Nobody));
    cluster.deliver();
    assert_eq!(dave.now(), ["closed 1001"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_events_shows_what_happens_at_other_nodes_and_says_so() {
    let mut cluster = TestCluster::new(2, || {
        vec![rooms(&Notes::default()), Part::new("hall", |_| std::future::ready(Ok(crate::support::admitted())))]
    });
    let pattern = bennu::protocol::Pattern::parse("room:*").expect("a pattern");
    let events = &cluster.nodes[0].node().pubsub.events;
    let (mut reader, _) = events.read(vec![pattern.clone()], None).expect("few readers");
    let mut for_host = events.read_for_host(vec![pattern]);
    // The other node learns within a second what is watched.
    cluster.settle();
    let mut bob = cluster.nodes[1].connect();
    bob.join("room:a").await;
    bob.join("hall").await;
    push(&mut bob, "room:a", "shout", &json!({})).await;
    bob.close();
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    cluster.deliver();
    let mut kinds = Vec::new();
    for _ in 0..3 {
        let Some(ReadEvent::Event(event)) = reader.next().await else { panic!("an event") };
        assert!(event.is_from_elsewhere);
        kinds.push(match &event.kind {
            TopicEventKind::Join(_) => "join",
            TopicEventKind::Leave(_) => "leave",
            TopicEventKind::Broadcast { .. } => "broadcast",
        });
    }
    assert_eq!(kinds, ["join", "broadcast", "leave"]);
    let Some(ReadEvent::Event(event)) = for_host.next().await else { panic!("an event") };
    assert!(event.is_from_elsewhere && event.topic == Topic::new("room:a"));
}

#[tokio::test(start_paused = true)]
async fn an_id_sorts_after_those_of_other_nodes_that_were_heard() {
    let mut cluster = TestCluster::new(2, || vec![rooms(&Notes::default())]);
    let ids: Vec<String> = (0..10)
        .map(|at| {
            let id = cluster.nodes[at % 2].node().store.unique_id();
            cluster.nodes[at % 2].node().pubsub.broadcast(broadcast("room:a", "said", Except::Nobody));
            cluster.deliver();
            id
        })
        .collect();
    assert!(ids.is_sorted_by(|earlier, later| earlier < later), "{ids:?}");
}
