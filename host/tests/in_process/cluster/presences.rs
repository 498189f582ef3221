//! Presences of all nodes in one list.

use bennu::cluster::OnLoss;
use bennu::protocol::{Payload, Topic};
use bennu_cluster::ClusterEvent;
use bennu_test_tiers::Noise;
use serde_json::{Value, json};

use super::network::{TestCluster, TestNode};
use super::{events, push, rooms};
use crate::support::{Client, Notes};

fn cluster(count: usize) -> TestCluster {
    TestCluster::new(count, || vec![rooms(&Notes::default())])
}

/// The list of a topic at a node.
fn list(node: &TestNode, topic: &str) -> Value {
    let Payload::Json(text) = node.node().presence.state(&Topic::new(topic)) else { panic!("presence is text") };
    serde_json::from_str(&text).expect("JSON")
}

async fn joined(node: &TestNode, topic: &str) -> Client {
    let mut client = node.connect();
    client.join(topic).await;
    client
}

async fn track(client: &mut Client, key: &str) -> Vec<String> {
    push(client, "room:a", "track", &json!({ "key": key, "meta": { "of": key } })).await
}

#[tokio::test(start_paused = true)]
async fn a_presence_is_in_the_lists_of_all_nodes_with_the_same_ref() {
    let mut cluster = cluster(3);
    let mut alice = joined(&cluster.nodes[0], "room:a").await;
    let mut bob = joined(&cluster.nodes[1], "room:a").await;
    let own = events(&track(&mut alice, "ann").await);
    cluster.deliver();
    let theirs = events(&bob.now());
    assert_eq!(
        (own.len(), own[0].0.as_str(), &own),
        (1, "presence_diff", &theirs),
        "each node tells its own members once"
    );
    let first = list(&cluster.nodes[0], "room:a");
    assert_eq!(first["ann"]["metas"][0]["of"], "ann");
    assert!(cluster.nodes.iter().all(|node| list(node, "room:a") == first));
    push(&mut alice, "room:a", "update", &json!({ "key": "ann", "meta": { "away": true } })).await;
    cluster.deliver();
    let updated = events(&bob.now());
    assert_eq!(updated[0].1["joins"]["ann"]["metas"][0]["phx_ref_prev"], first["ann"]["metas"][0]["phx_ref"]);
    track(&mut bob, "bob").await;
    alice.close();
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    cluster.deliver();
    assert_eq!(list(&cluster.nodes[2], "room:a").as_object().map(serde_json::Map::len), Some(1));
    assert!(cluster.nodes.iter().all(|node| list(node, "room:a") == list(&cluster.nodes[2], "room:a")));
}

#[tokio::test(start_paused = true)]
async fn presences_of_a_dead_node_leave_with_it_and_not_before() {
    let mut cluster = cluster(2);
    let mut alice = joined(&cluster.nodes[0], "room:a").await;
    let mut bob = joined(&cluster.nodes[1], "room:a").await;
    track(&mut alice, "ann").await;
    cluster.deliver();
    let (before, gone) = (list(&cluster.nodes[1], "room:a"), cluster.nodes[0].epoch);
    bob.now();
    // A node that isn't heard may come back, and its presences stay.
    cluster.nodes[1].handle(ClusterEvent::Silent(gone));
    assert_eq!(list(&cluster.nodes[1], "room:a"), before);
    cluster.nodes[1].handle(ClusterEvent::Heard(gone));
    assert!(bob.now().is_empty());
    cluster.kill(0);
    assert_eq!(list(&cluster.nodes[0], "room:a"), json!({}));
    let left = events(&bob.now());
    assert_eq!((left.len(), &left[0].1["leaves"]["ann"]["metas"][0]["of"]), (1, &json!("ann")));
}

#[tokio::test(start_paused = true)]
async fn a_message_of_a_dead_node_brings_nobody_back() {
    let mut cluster = cluster(2);
    let mut alice = joined(&cluster.nodes[0], "room:a").await;
    track(&mut alice, "ann").await;
    // The message is on its way when the node is declared dead. The link drops it, and the host would ignore it.
    cluster.kill(0);
    cluster.deliver();
    cluster.settle();
    assert_eq!(list(&cluster.nodes[0], "room:a"), json!({}));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_starts_later_gets_all_presences() {
    let mut cluster = cluster(2);
    let mut clients = Vec::new();
    for at in 0..2 {
        let mut client = joined(&cluster.nodes[at], "room:a").await;
        for key in 0..20 {
            track(&mut client, &format!("{at} {key}")).await;
        }
        push(&mut client, "room:a", "untrack", &json!({ "key": format!("{at} 3") })).await;
        clients.push(client);
    }
    cluster.deliver();
    cluster.start(vec![rooms(&Notes::default())], OnLoss::Rejoin);
    cluster.settle();
    let all = list(&cluster.nodes[0], "room:a");
    assert_eq!(all.as_object().map(serde_json::Map::len), Some(38));
    assert_eq!(list(&cluster.nodes[2], "room:a"), all);
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_without_a_word_is_found_by_the_clocks() {
    let mut cluster = cluster(2);
    let mut alice = joined(&cluster.nodes[0], "room:a").await;
    let mut bob = joined(&cluster.nodes[1], "room:a").await;
    track(&mut alice, "ann").await;
    track(&mut alice, "gone").await;
    cluster.deliver();
    cluster.network.set_lossy(&cluster.nodes[0], &cluster.nodes[1], true);
    track(&mut alice, "new").await;
    push(&mut alice, "room:a", "untrack", &json!({ "key": "gone" })).await;
    cluster.deliver();
    cluster.network.set_lossy(&cluster.nodes[0], &cluster.nodes[1], false);
    bob.now();
    assert_ne!(list(&cluster.nodes[1], "room:a"), list(&cluster.nodes[0], "room:a"));
    cluster.settle();
    assert_eq!(list(&cluster.nodes[1], "room:a"), list(&cluster.nodes[0], "room:a"));
    let healed = events(&bob.now());
    let names = |of: &str| -> Vec<String> {
        let all = healed.iter().filter_map(|(_, payload)| payload[of].as_object());
        all.flat_map(|entries| entries.keys().cloned()).collect()
    };
    assert_eq!((names("joins"), names("leaves")), (vec!["new".to_owned()], vec!["gone".to_owned()]));
    // Nothing more is asked for when nothing is missing.
    let before = cluster.network.delivered();
    cluster.settle();
    assert_eq!(cluster.network.delivered() - before, 2, "the clocks of both nodes");
}

/// Random operations at three nodes over ways that lose messages. After the ways are mended, all lists are equal.
#[tokio::test(start_paused = true)]
async fn all_nodes_agree_after_losses() {
    for seed in 0..bennu_test_tiers::rounds("cluster::presences") {
        agree_after_losses(seed as u64).await;
    }
}

async fn agree_after_losses(seed: u64) {
    let (mut noise, mut cluster) = (Noise::new(seed), cluster(3));
    let mut clients = Vec::new();
    for node in &cluster.nodes {
        clients.push(joined(node, "room:a").await);
    }
    for _ in 0..60 {
        let at = noise.below(3);
        match noise.below(6) {
            0 => {
                let (from, to) = (noise.below(3), noise.below(3));
                let lossy = noise.below(2) == 0;
                cluster.network.set_lossy(&cluster.nodes[from], &cluster.nodes[to], lossy);
            }
            1 => cluster.settle(),
            2 => drop(
                push(&mut clients[at], "room:a", "untrack", &json!({ "key": format!("k{}", noise.below(3)) })).await,
            ),
            3 => {
                let payload = json!({ "key": format!("k{}", noise.below(3)), "meta": { "n": noise.below(9) } });
                drop(push(&mut clients[at], "room:a", "update", &payload).await);
            }
            _ => {
                let key = format!("k{}", noise.below(3));
                if cluster.nodes[at].node().presence.get(&Topic::new("room:a"), &key).is_none() {
                    drop(track(&mut clients[at], &key).await);
                }
            }
        }
    }
    for from in 0..3 {
        (0..3).for_each(|to| cluster.network.set_lossy(&cluster.nodes[from], &cluster.nodes[to], false));
    }
    cluster.settle();
    cluster.settle();
    let lists: Vec<Value> = cluster.nodes.iter().map(|node| list(node, "room:a")).collect();
    assert_eq!((&lists[0], &lists[0]), (&lists[1], &lists[2]), "seed {seed}");
}
