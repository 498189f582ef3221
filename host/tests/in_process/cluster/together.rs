//! Whole nodes: the host's tasks on the cluster's own link, lease and membership, over a bus and a table in memory. In real time, because
//! leases have threads of their own.

use std::sync::Arc;
use std::time::Duration;

use bennu::cluster::{Announcer, Inspect, OnLoss, Peers, Receiver, Rejoining, VERSION, join_cluster, run};
use bennu::protocol::{Payload, Topic};
use bennu_cluster::{Cluster, ClusterLimits, ClusterOptions, MemoryBus, MemoryTable, NodePresence, Speaks};
use bytes::Bytes;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{events, push, rooms};
use crate::support::{Notes, Stage};

/// How long a condition may take. A busy machine is slow, and no test fails because of that.
const PATIENCE: Duration = Duration::from_secs(60);

struct WholeNode {
    stage: Stage,
    cluster: Cluster,
    peers: Arc<Peers>,
    running: JoinHandle<()>,
}

async fn start(name: &str, table: &Arc<MemoryTable>, bus: &Arc<MemoryBus>) -> WholeNode {
    let speaks = Speaks { from: VERSION.into(), to: VERSION.into() };
    let options = ClusterOptions {
        name: name.into(),
        version: "0".into(),
        speaks,
        lease: Duration::from_secs(30),
        secret: None,
        over: None,
        limits: ClusterLimits::default(),
    };
    let (cluster, events) =
        Cluster::start(options, Arc::clone(table) as _, Arc::clone(bus) as _).await.expect("a node that starts");
    let epoch = cluster.me().epoch.0;
    let stage = Stage::in_cluster([rooms(&Notes::default())], name, epoch);
    let node = Arc::clone(&stage.endpoint.node);
    node.add_member_block(epoch);
    let peers = Peers::new(Arc::new(cluster.clone()), node.store.clone(), Arc::default());
    join_cluster(&node, &peers);
    let inspect: Inspect = Arc::new(|| Box::pin(std::future::ready(Bytes::from_static(b"{}"))));
    let receiver = Receiver::new(Arc::clone(&node), Arc::clone(&peers), Rejoining::new(OnLoss::Rejoin), Some(inspect));
    let announcer = Announcer::new(Arc::clone(&node), Arc::clone(&peers));
    let pressure = Arc::clone(&node.pubsub.pressure);
    let running = tokio::spawn(run(receiver, announcer, events, pressure));
    WholeNode { stage, cluster, peers, running }
}

/// Waits for a condition.
async fn until(what: &str, is_met: impl Fn() -> bool) {
    let met = async {
        while !is_met() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, met).await.unwrap_or_else(|_| panic!("{what}"));
}

fn is_up(node: &WholeNode, other: &WholeNode) -> bool {
    let id = other.cluster.me();
    node.cluster.nodes().iter().any(|status| status.row.id == id && status.presence == NodePresence::Up)
}

#[tokio::test]
async fn two_hosts_are_one_for_their_clients_until_one_leaves() {
    let (table, bus) = (Arc::new(MemoryTable::new()), Arc::new(MemoryBus::new()));
    let one = start("one", &table, &bus).await;
    let two = start("two", &table, &bus).await;
    until("they find each other", || is_up(&one, &two) && is_up(&two, &one)).await;
    let (mut alice, mut bob) = (one.stage.connect(), two.stage.connect());
    alice.join("room:a").await;
    bob.join("room:a").await;
    push(&mut alice, "room:a", "shout", &json!({ "n": 1 })).await;
    assert_eq!(events(&[bob.next().await]), [("said".to_owned(), json!({ "n": 1 }))]);
    push(&mut bob, "room:a", "track", &json!({ "key": "bob", "meta": {} })).await;
    let diff = events(&[alice.next().await]);
    assert_eq!(
        (diff[0].0.as_str(), diff[0].1["joins"]["bob"]["metas"].as_array().map(Vec::len)),
        ("presence_diff", Some(1))
    );
    until("the members are counted", || one.peers.count("room:a") == 1).await;
    // A node that is asked has a quarter of a second, in which a busy machine may not answer.
    let answered = async {
        loop {
            let members = one.peers.members("room:a", 9).await;
            if members.coverage.answered == 2 {
                return members;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let members = timeout(PATIENCE, answered).await.expect("both nodes answer");
    assert_eq!((members.count, members.coverage.asked), (1, 2));
    two.cluster.leave().await.expect("the table answers");
    timeout(PATIENCE, two.running).await.expect("its task ends").expect("no panic");
    let presence = &one.stage.endpoint.node.presence;
    until("its presences leave", || presence.state(&Topic::new("room:a")) == Payload::EMPTY).await;
    until("its members aren't counted", || one.peers.count("room:a") == 0).await;
}

#[tokio::test]
async fn a_host_that_others_count_as_dead_ends() {
    let (table, bus) = (Arc::new(MemoryTable::new()), Arc::new(MemoryBus::new()));
    let one = start("one", &table, &bus).await;
    table.lose(one.cluster.me().epoch);
    timeout(PATIENCE, one.running).await.expect("its task ends").expect("no panic");
    assert!(!one.cluster.is_good());
}
