//! Questions to all nodes, and the numbers of members that nodes tell each other.

use std::sync::Arc;
use std::time::Duration;

use bennu::channel::MemberSelector;
use bennu::cluster::{Coverage, NodeQuestion, OnLoss, ToMembers};
use bennu::contract::Identity;
use bennu::protocol::{Payload, Topic};
use bennu_cluster::NodePresence;
use tokio::time::Instant;

use super::network::TestCluster;
use super::{events, rooms};
use crate::support::Notes;

fn named(id: &str, user: &str) -> Identity {
    Identity { socket_id: Some(id.into()), user: Some(user.into()), ..Identity::default() }
}

fn coverage(asked: usize, answered: usize) -> Coverage {
    Coverage { asked, answered }
}

fn names(topics: &[(Topic, usize)]) -> Vec<(&str, usize)> {
    topics.iter().map(|(topic, members)| (topic.as_str(), *members)).collect()
}

#[tokio::test(start_paused = true)]
async fn the_members_at_other_nodes_are_counted_within_a_second() {
    let mut cluster = TestCluster::new(3, || vec![rooms(&Notes::default())]);
    let mut clients = Vec::new();
    for (at, topic) in [(0, "room:a"), (1, "room:a"), (1, "room:b"), (2, "room:a")] {
        let mut client = cluster.nodes[at].connect();
        client.join(topic).await;
        clients.push(client);
    }
    let peers = Arc::clone(&cluster.nodes[0].peers);
    assert_eq!(peers.count("room:a"), 0);
    cluster.settle();
    assert_eq!((peers.count("room:a"), peers.count("room:b")), (2, 1));
    let here = cluster.nodes[0].node().pubsub.topics_under("room:", None, 9);
    assert_eq!(names(&peers.topics_under(here, "room:", None, 9)), [("room:a", 3), ("room:b", 1)]);
    let here = cluster.nodes[0].node().pubsub.topics_under("room:", Some("room:a"), 9);
    assert_eq!(names(&peers.topics_under(here, "room:", Some("room:a"), 9)), [("room:b", 1)]);
    clients.remove(2).close();
    tokio::time::sleep(Duration::from_millis(1)).await;
    cluster.settle();
    assert_eq!(peers.count("room:b"), 0);
    // A node that starts later learns all numbers, and what a dead node had is gone.
    cluster.start(vec![rooms(&Notes::default())], OnLoss::Rejoin);
    cluster.settle();
    assert_eq!(cluster.nodes[3].peers.count("room:a"), 3);
    cluster.kill(2);
    assert_eq!((peers.count("room:a"), cluster.nodes[2].peers.count("room:a")), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn acts_reach_all_nodes_and_their_numbers_are_added() {
    let notes = Notes::default();
    let noted = notes.clone();
    let mut cluster = TestCluster::new(3, move || vec![rooms(&noted)]);
    let mut clients = Vec::new();
    for at in [1, 1, 2] {
        let mut client = cluster.nodes[at].stage.connect_as(named("user:1", "ann"));
        client.join("room:a").await;
        clients.push(client);
    }
    let peers = Arc::clone(&cluster.nodes[0].peers);
    let (of_socket, of_user) = (MemberSelector::Socket("user:1".into()), MemberSelector::User("ann".into()));
    let to = |selector: &MemberSelector| ToMembers {
        topic: Topic::new("room:a"),
        selector: selector.clone(),
        event: "news".into(),
        payload: Payload::EMPTY,
    };
    for selector in [&of_socket, &of_user] {
        let acted = cluster.delivering(peers.act(NodeQuestion::PushMembers(to(selector)))).await;
        assert_eq!((acted.count, acted.coverage, acted.is_busy), (3, coverage(3, 3), false));
        assert!(clients.iter_mut().all(|client| events(&client.now())[0].0 == "news"));
    }
    // The id of a socket is no user.
    let nobody = MemberSelector::User("user:1".into());
    let acted = cluster.delivering(peers.act(NodeQuestion::PushMembers(to(&nobody)))).await;
    assert_eq!(acted.count, 0);
    let acted = cluster.delivering(peers.act(NodeQuestion::SendMembers(to(&of_socket)))).await;
    assert_eq!((acted.count, notes.all().len()), (3, 3));
    let members = cluster.delivering(peers.members("room:a", 1)).await;
    assert_eq!((members.count, members.people.len(), members.coverage), (3, 2, coverage(3, 3)));
    assert_eq!(members.people[0].socket_id.as_deref(), Some("user:1"));
    let kick = NodeQuestion::Kick { topic: None, selector: of_user, reason: "why".into() };
    let acted = cluster.delivering(peers.act(kick)).await;
    assert_eq!(acted.count, 3);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(clients.iter_mut().all(|client| events(&client.now())[0].0 == "phx_close"));
    let acted = cluster.delivering(peers.act(NodeQuestion::Disconnect("user:1".into()))).await;
    assert_eq!((acted.count, clients[2].now()), (3, vec!["closed 1001".to_owned()]));
    let (texts, asked) = cluster.delivering(peers.inspect()).await;
    let mut texts: Vec<_> = texts.iter().map(|(name, text)| (&**name, &text[..])).collect();
    texts.sort_unstable();
    assert_eq!(texts, [("host-2", &b"{\"node\":\"host-2\"}"[..]), ("host-3", b"{\"node\":\"host-3\"}")]);
    assert_eq!(asked, coverage(3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_answer_makes_an_answer_partial_but_not_late() {
    let mut cluster = TestCluster::new(3, || vec![rooms(&Notes::default())]);
    let mut client = cluster.nodes[1].connect();
    client.join("room:a").await;
    let peers = Arc::clone(&cluster.nodes[0].peers);
    cluster.network.set_lossy(&cluster.nodes[0], &cluster.nodes[2], true);
    let start = Instant::now();
    let members = cluster.delivering(peers.members("room:a", 9)).await;
    assert_eq!((members.count, members.coverage), (1, coverage(3, 2)));
    assert!(start.elapsed() >= Duration::from_millis(250) && start.elapsed() < Duration::from_millis(300));
    assert_eq!(peers.counts().answers_missing, 1);
    // A node that isn't heard isn't waited for, and a dead one isn't asked.
    cluster.network.set_presence(&cluster.nodes[2], NodePresence::Silent);
    let start = Instant::now();
    let members = cluster.delivering(peers.members("room:a", 9)).await;
    assert_eq!(members.coverage, coverage(3, 2));
    assert!(start.elapsed() < Duration::from_millis(50));
    cluster.network.set_presence(&cluster.nodes[2], NodePresence::Dead);
    let members = cluster.delivering(peers.members("room:a", 9)).await;
    assert_eq!(members.coverage, coverage(2, 2));
    // Nor is anybody, if there is nobody.
    cluster.network.set_presence(&cluster.nodes[1], NodePresence::Dead);
    let asked = peers.counts().questions_asked;
    assert_eq!(peers.members("room:a", 9).await.coverage, coverage(1, 1));
    assert_eq!(peers.counts().questions_asked, asked);
}

#[tokio::test(start_paused = true)]
async fn a_node_is_connected_when_all_living_nodes_hear_it() {
    let mut cluster = TestCluster::new(3, || vec![rooms(&Notes::default())]);
    let wait = Duration::from_secs(5);
    let start = Instant::now();
    assert!(cluster.nodes[2].peers.connected(wait).await.is_empty());
    assert_eq!(start.elapsed(), Duration::ZERO);
    cluster.start(vec![rooms(&Notes::default())], OnLoss::Rejoin);
    let peers = Arc::clone(&cluster.nodes[3].peers);
    // The others have heard it, but nobody has said so yet.
    assert_eq!(peers.connected(wait).await, ["host-1", "host-2", "host-3"]);
    assert_eq!(start.elapsed(), wait);
    cluster.deliver();
    assert!(peers.connected(wait).await.is_empty());
    cluster.network.set_presence(&cluster.nodes[0], NodePresence::Silent);
    assert_eq!(peers.connected(Duration::ZERO).await, ["host-1"]);
    cluster.network.set_presence(&cluster.nodes[0], NodePresence::Dead);
    assert!(peers.connected(wait).await.is_empty());
}
