//! Messages that were lost for good: those whom they concern are told.

use std::time::Duration;

use bennu::cluster::OnLoss;
use bennu::protocol::Topic;
use bennu::pubsub::{Except, ReadEvent};
use bennu_cluster::ClusterEvent;
use serde_json::{Value, json};

use super::network::TestCluster;
use super::{broadcast, events, push, rooms};
use crate::support::{Client, Notes, Part};

const REJOIN: &str = r#"["1","1","room:a","phx_error",{"reason":"channel_crash"}]"#;

/// A route that keeps a history.
fn with_history() -> Vec<Part> {
    let mut part = rooms(&Notes::default());
    part.options = &[("history-count", "100")];
    vec![part]
}

/// Joins as a client that asks for recovery. Returns the events after the reply.
async fn join_since(client: &mut Client, since: &Value) -> Vec<(String, Value)> {
    let mut params = json!({ "since": { "client": "one" } });
    for name in ["epoch", "n"] {
        if let Some(value) = since.get(name) {
            params["since"][name] = value.clone();
        }
    }
    client.send(&json!(["1", "1", "room:a", "phx_join", params]).to_string());
    let reply = client.next().await;
    assert!(reply.contains("\"ok\""), "{reply}");
    events(&client.now())
}

#[tokio::test(start_paused = true)]
async fn the_members_of_a_topic_are_told_over_some_seconds_to_join_again() {
    let notes = Notes::default();
    let noted = notes.clone();
    let mut cluster = TestCluster::new(2, move || vec![rooms(&noted)]);
    let mut clients: Vec<Client> = (0..100).map(|_| cluster.nodes[1].connect()).collect();
    for client in &mut clients {
        client.join("room:a").await;
    }
    let mut own = cluster.nodes[0].connect();
    own.join("room:a").await;
    let from = cluster.nodes[0].epoch;
    cluster.nodes[1].handle(ClusterEvent::Lost { from });
    let told = |clients: &mut [Client]| -> usize { clients.iter_mut().map(|client| client.now().len()).sum() };
    tokio::time::sleep(Duration::from_millis(50)).await;
    let at_first = told(&mut clients);
    tokio::time::sleep(Duration::from_millis(2_400)).await;
    let in_the_middle = told(&mut clients);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!((at_first, in_the_middle, told(&mut clients)), (2, 48, 50));
    assert!(notes.all().iter().all(|note| note == "terminate closed"));
    assert_eq!((notes.all().len(), cluster.nodes[1].peers.counts().members_rejoined), (100, 100));
    // The sender has lost nothing of the others.
    assert!(own.now().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_could_not_send_says_which_topics_lack_something() {
    let mut cluster = TestCluster::new(2, || vec![rooms(&Notes::default())]);
    let (mut alice, mut bob) = (cluster.nodes[1].connect(), cluster.nodes[1].connect());
    alice.join("room:a").await;
    bob.join("room:b").await;
    cluster.network.set_full(&cluster.nodes[0], true);
    cluster.nodes[0].node().pubsub.broadcast(broadcast("room:a", "said", Except::Nobody));
    cluster.settle();
    assert_eq!(cluster.nodes[0].peers.counts().broadcasts_sent, 0);
    assert!(cluster.nodes[0].peers.counts().messages_dropped > 0);
    cluster.network.set_full(&cluster.nodes[0], false);
    cluster.settle();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((alice.now(), bob.now()), (vec![REJOIN.to_owned()], Vec::new()));
    // It is told once.
    alice.join("room:a").await;
    cluster.settle();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(alice.now().is_empty());
}

#[tokio::test(start_paused = true)]
async fn with_ignore_nobody_has_to_join_again() {
    let mut cluster = TestCluster::with(2, || vec![rooms(&Notes::default())], OnLoss::Ignore);
    let mut alice = cluster.nodes[1].connect();
    alice.join("room:a").await;
    let from = cluster.nodes[0].epoch;
    cluster.nodes[1].handle(ClusterEvent::Lost { from });
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(alice.now().is_empty());
    assert_eq!(cluster.nodes[1].peers.counts().losses, 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_gets_what_it_missed_at_the_same_node_and_is_told_at_another_one() {
    let mut cluster = TestCluster::new(2, with_history);
    let (mut alice, mut other) = (cluster.nodes[0].connect(), cluster.nodes[1].connect());
    let joined = join_since(&mut alice, &Value::Null).await;
    join_since(&mut other, &Value::Null).await;
    let since = joined.iter().find(|(event, _)| event == "history").expect("a position").1.clone();
    alice.close();
    tokio::time::sleep(Duration::from_millis(1)).await;
    push(&mut other, "room:a", "shout", &json!({ "n": 1 })).await;
    cluster.deliver();
    // A broadcast of another node is in the history of this node like one of its own.
    let mut again = cluster.nodes[0].connect();
    let got = join_since(&mut again, &since).await;
    assert_eq!((&got[0].0, &got[0].1["n"], &got[1].1["recovered"]), (&"said".to_owned(), &json!(1), &json!(true)));
    let mut elsewhere = cluster.nodes[1].connect();
    let got = join_since(&mut elsewhere, &since).await;
    assert_eq!((got.len(), &got[0].1["recovered"]), (1, &json!(false)));
}

#[tokio::test(start_paused = true)]
async fn no_client_believes_that_it_has_got_all_after_a_loss() {
    let mut cluster = TestCluster::with(2, with_history, OnLoss::Ignore);
    let mut alice = cluster.nodes[1].connect();
    let joined = join_since(&mut alice, &Value::Null).await;
    let since = joined.iter().find(|(event, _)| event == "history").expect("a position").1.clone();
    let from = cluster.nodes[0].epoch;
    cluster.nodes[1].handle(ClusterEvent::Lost { from });
    // The client that is there is told, too.
    let told = events(&alice.now());
    assert_eq!((told.len(), told[0].0.as_str(), &told[0].1["recovered"]), (1, "history", &json!(false)));
    let mut again = cluster.nodes[1].connect();
    assert_eq!(join_since(&mut again, &since).await[0].1["recovered"], json!(false));
}

#[tokio::test(start_paused = true)]
async fn readers_of_the_log_of_events_are_told_of_a_loss() {
    let mut cluster = TestCluster::new(2, || vec![rooms(&Notes::default())]);
    let pattern = bennu::protocol::Pattern::parse("room:*").expect("a pattern");
    let (mut reader, _) = cluster.nodes[1].node().pubsub.events.read(vec![pattern], None).expect("few readers");
    let from = cluster.nodes[0].epoch;
    cluster.nodes[1].handle(ClusterEvent::Lost { from });
    assert!(matches!(reader.next().await, Some(ReadEvent::Missed)));
    cluster.nodes[0].node().pubsub.broadcast(broadcast("room:a", "said", Except::Nobody));
    cluster.deliver();
    let Some(ReadEvent::Event(event)) = reader.next().await else { panic!("an event") };
    assert_eq!(event.topic, Topic::new("room:a"));
}
