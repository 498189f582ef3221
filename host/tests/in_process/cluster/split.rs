//! Sticky topics that two nodes serve. The nodes count topics that match `room:sticky:*` as sticky.

use std::time::Duration;

use bennu_cluster::NodePresence;
use tokio::time::{advance, sleep};

use super::network::{TestCluster, TestNode};
use super::rooms;
use crate::support::{Client, Notes};

const SECOND: Duration = Duration::from_secs(1);

/// Two nodes with a member of each topic.
async fn with_members(topics: &[&str]) -> (TestCluster, Vec<Client>) {
    let cluster = TestCluster::new(2, || vec![rooms(&Notes::default())]);
    let mut clients = Vec::new();
    for node in &cluster.nodes {
        for topic in topics {
            let mut client = node.connect();
            client.join(topic).await;
            clients.push(client);
        }
    }
    (cluster, clients)
}

/// Some seconds pass.
async fn pass(cluster: &mut TestCluster, seconds: u32) {
    for _ in 0..seconds {
        advance(SECOND).await;
        cluster.settle();
    }
}

/// How many topics are split, and how often one has become so.
fn split(node: &TestNode) -> (usize, u64) {
    (node.peers.split_topics(), node.peers.counts().topics_split)
}

#[tokio::test(start_paused = true)]
async fn a_sticky_topic_with_members_at_two_nodes_is_noticed_by_both() {
    let (mut cluster, mut clients) = with_members(&["room:sticky:1", "room:a"]).await;
    pass(&mut cluster, 3).await;
    assert_eq!([split(&cluster.nodes[0]), split(&cluster.nodes[1])], [(0, 0); 2]);
    pass(&mut cluster, 5).await;
    assert_eq!([split(&cluster.nodes[0]), split(&cluster.nodes[1])], [(1, 1); 2]);
    clients.remove(0).close();
    sleep(Duration::from_millis(1)).await;
    pass(&mut cluster, 2).await;
    assert_eq!([split(&cluster.nodes[0]), split(&cluster.nodes[1])], [(0, 1); 2]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_moves_splits_no_topic() {
    let (mut cluster, mut clients) = with_members(&["room:sticky:1"]).await;
    pass(&mut cluster, 3).await;
    clients.remove(0).close();
    sleep(Duration::from_millis(1)).await;
    pass(&mut cluster, 10).await;
    assert_eq!([split(&cluster.nodes[0]), split(&cluster.nodes[1])], [(0, 0); 2]);
}

#[tokio::test(start_paused = true)]
async fn the_members_of_a_node_that_is_not_heard_may_have_moved() {
    let (mut cluster, _clients) = with_members(&["room:sticky:1"]).await;
    cluster.network.set_presence(&cluster.nodes[1], NodePresence::Silent);
    pass(&mut cluster, 10).await;
    assert_eq!([split(&cluster.nodes[0]), split(&cluster.nodes[1])], [(0, 0), (1, 1)]);
    cluster.network.set_presence(&cluster.nodes[1], NodePresence::Up);
    pass(&mut cluster, 8).await;
    assert_eq!(split(&cluster.nodes[0]), (1, 1));
}

/// Its own clients are about to move, and those that connect anew are at the other node already.
#[tokio::test(start_paused = true)]
async fn a_topic_at_a_node_that_stops_is_split_for_nobody() {
    let (mut cluster, _clients) = with_members(&["room:sticky:1"]).await;
    cluster.network.set_draining(&cluster.nodes[0]);
    pass(&mut cluster, 10).await;
    assert_eq!([split(&cluster.nodes[0]), split(&cluster.nodes[1])], [(0, 0); 2]);
}
