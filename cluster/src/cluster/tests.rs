//! Nodes of one process, on a bus and a table in memory.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::bus::memory::MemoryBus;
use crate::node::{Epoch, Speaks};
use crate::table::memory::MemoryTable;

/// So long that no test on a slow machine loses it by chance.
const LONG: Duration = Duration::from_secs(120);

struct World {
    table: Arc<MemoryTable>,
    bus: MemoryBus,
}

struct TestNode {
    cluster: Cluster,
    events: ClusterEvents,
}

impl World {
    fn new() -> Self {
        let table = Arc::new(MemoryTable::new());
        Self { bus: MemoryBus::fenced(Arc::clone(&table)), table }
    }

    async fn try_start(&self, name: &str, lease: Duration) -> Result<TestNode, StartError> {
        let options = ClusterOptions {
            name: name.to_owned(),
            version: "0.1.0".to_owned(),
            speaks: Speaks { from: 1, to: 1 },
            lease,
            secret: Some(Secret::new(*b"secret")),
            over: None,
            limits: ClusterLimits::default(),
        };
        let table: Arc<dyn NodeTable> = Arc::<MemoryTable>::clone(&self.table);
        let (cluster, events) = Cluster::start(options, table, Arc::new(self.bus.clone())).await?;
        Ok(TestNode { cluster, events })
    }

    async fn start(&self, name: &str) -> TestNode {
        self.try_start(name, LONG).await.expect("it starts")
    }

    /// Two nodes that have heard one another.
    async fn pair(&self) -> (TestNode, TestNode) {
        let (mut one, mut two) = (self.start("one").await, self.start("two").await);
        assert_eq!(one.next().await, Some(ClusterEvent::Up(two.epoch())));
        assert_eq!(two.next().await, Some(ClusterEvent::Up(one.epoch())));
        (one, two)
    }
}

impl TestNode {
    fn epoch(&self) -> Epoch {
        self.cluster.me().epoch
    }

    async fn next(&mut self) -> Option<ClusterEvent> {
        tokio::time::timeout(Duration::from_secs(60), self.events.next()).await.expect("something happens in a minute")
    }

    fn send(&self, lane: Lane, message: &'static str) {
        self.cluster.send(lane, Bytes::from_static(message.as_bytes())).expect("there is room");
    }
}

fn message(from: &TestNode, message: &'static str) -> Option<ClusterEvent> {
    Some(ClusterEvent::Message { from: from.epoch(), message: Bytes::from_static(message.as_bytes()) })
}

#[tokio::test]
async fn nodes_hear_one_another_and_not_themselves() {
    let world = World::new();
    let (mut one, mut two) = world.pair().await;
    one.send(Lane::All, "to all");
    assert_eq!(two.next().await, message(&one, "to all"));
    two.send(Lane::Node(one.epoch()), "to one");
    two.send(Lane::All, "to all again");
    // Nothing of its own came in between.
    assert_eq!(one.next().await, message(&two, "to one"));
    assert_eq!(one.next().await, message(&two, "to all again"));
    assert_eq!(two.cluster.send(Lane::Node(two.epoch()), Bytes::new()), Err(SendError::NoSuchNode));

    let nodes = one.cluster.nodes();
    let shown: Vec<_> = nodes.iter().map(|node| (node.row.name.as_str(), node.presence)).collect();
    assert_eq!(shown, [("one", NodePresence::Own), ("two", NodePresence::Up)]);
    assert!(nodes.iter().all(|node| node.beat_ago.is_some()), "{nodes:?}");
    let counts = one.cluster.counts();
    assert_eq!(
        (counts.sent.messages, counts.heard.messages, counts.dropped),
        (1, 2, DroppedCounts { unknown: counts.dropped.unknown, ..DroppedCounts::default() })
    );
    assert!(one.cluster.is_good());
}

#[tokio::test]
async fn a_node_that_leaves_is_dead_at_once_and_its_name_is_free() {
    let world = World::new();
    let (mut one, mut two) = world.pair().await;
    let (epoch, clone) = (two.epoch(), two.cluster.clone());
    two.send(Lane::All, "goodbye");
    two.cluster.leave().await.expect("the table answers");
    assert_eq!(two.events.next().await, None);
    assert_eq!((clone.is_good(), clone.send(Lane::All, Bytes::new())), (false, Err(SendError::Fenced)));
    let goodbye = ClusterEvent::Message { from: epoch, message: Bytes::from_static(b"goodbye") };
    assert_eq!(one.next().await, Some(goodbye));
    // The lease is two minutes, so nobody has waited for it.
    assert_eq!(one.next().await, Some(ClusterEvent::Dead(epoch)));
    let again = world.start("two").await;
    assert_eq!(one.next().await, Some(ClusterEvent::Up(again.epoch())));
}

#[tokio::test]
async fn a_node_whose_bus_is_cut_misses_nothing_that_is_still_in_the_ring() {
    let world = World::new();
    let (one, mut two) = world.pair().await;
    world.bus.cut(two.epoch());
    one.send(Lane::All, "missed");
    // Once the bus has taken it, two has missed it.
    while one.cluster.counts().sent.messages == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.bus.mend(two.epoch());
    one.send(Lane::Node(two.epoch()), "heard");
    let mut told = [two.next().await, two.next().await];
    told.sort_by_key(|event| *event == message(&one, "missed"));
    assert_eq!(told, [message(&one, "heard"), message(&one, "missed")]);
    assert_eq!(two.cluster.counts().heard.downs, 1);
}

#[tokio::test]
async fn a_dead_node_is_told_that_it_is_over() {
    let world = World::new();
    let (one, mut two) = world.pair().await;
    let rows = world.table.list().await.expect("it answers");
    let beat = rows.iter().find(|row| row.id == two.cluster.me()).expect("it is there").beat;
    assert!(world.table.declare_dead(two.epoch(), beat).await.expect("it answers"));
    assert_eq!(two.next().await, Some(ClusterEvent::Fenced));
    assert_eq!(two.next().await, None);
    assert_eq!((two.cluster.is_good(), two.cluster.send(Lane::All, Bytes::new())), (false, Err(SendError::Fenced)));
    drop(one);
}

#[tokio::test]
async fn an_outage_of_the_table_suspends_and_declares_nobody_dead() {
    let world = World::new();
    let mut one = world.try_start("one", LEASE_MIN).await.expect("it starts");
    world.table.set_down(true);
    assert_eq!(one.next().await, Some(ClusterEvent::Suspended));
    assert!(!one.cluster.is_good());
    world.table.set_down(false);
    assert_eq!(one.next().await, Some(ClusterEvent::Resumed));
    let counts = one.cluster.counts().table;
    assert!(counts.misses > 0 && counts.suspensions > 0 && counts.poll_failures > 0 && counts.renewals > 0);
}

#[tokio::test]
async fn the_namesake_of_a_killed_node_waits_for_its_lease_and_declares_it_dead() {
    let world = World::new();
    let killed = world.try_start("one", LEASE_MIN).await.expect("it starts").epoch();
    let again = world.try_start("one", LEASE_MIN).await.expect("the other one has ended");
    assert!(again.epoch() > killed);
    let rows = world.table.list().await.expect("it answers");
    assert!(rows.iter().any(|row| row.id.epoch == killed && row.is_dead));
}

#[tokio::test]
async fn a_start_that_is_known_to_be_over_is_not_waited_for() {
    let world = World::new();
    let killed = world.start("one").await.cluster.me();
    let table: Arc<dyn NodeTable> = Arc::<MemoryTable>::clone(&world.table);
    let options = ClusterOptions {
        name: "one".to_owned(),
        version: "0.1.0".to_owned(),
        speaks: Speaks { from: 1, to: 1 },
        lease: LONG,
        secret: None,
        over: Some(killed),
        limits: ClusterLimits::default(),
    };
    assert!(Cluster::start(options, table, Arc::new(world.bus.clone())).await.is_ok());
}

#[tokio::test]
async fn a_second_node_of_a_name_is_refused() {
    let world = World::new();
    // The first one renews five times in its lease, the second one looks as often.
    let _one = world.try_start("one", Duration::from_secs(2)).await.expect("it starts");
    let refused = world.try_start("one", LONG).await.err();
    assert!(matches!(refused, Some(StartError::NameTaken(row)) if row.name == "one"));
}

#[tokio::test]
async fn a_node_with_other_settings_is_refused_by_a_sentence() {
    let world = World::new();
    let _one = world.try_start("one", Duration::from_secs(20)).await.expect("it starts");
    let refused = world.try_start("two", Duration::from_secs(30)).await.err().expect("it is refused");
    assert_eq!(
        refused.to_string(),
        "the node one has other settings: `cluster.lease_ms` is 20000 there and 30000 here; all nodes need the same, so stop all of them \
         to change one"
    );
}

#[tokio::test]
async fn a_killed_node_is_declared_dead_by_the_others() {
    let world = World::new();
    let mut one = world.try_start("one", LEASE_MIN).await.expect("it starts");
    let two = world.try_start("two", LEASE_MIN).await.expect("it starts");
    let epoch = two.epoch();
    drop(two);
    loop {
        match one.next().await.expect("it isn't over") {
            ClusterEvent::Dead(node) => break assert_eq!(node, epoch),
            event => assert!(!matches!(event, ClusterEvent::Fenced)),
        }
    }
    assert_eq!(one.cluster.counts().table.declared_dead, 1);
}

#[tokio::test]
async fn a_host_that_takes_no_events_gets_all_of_them_later() {
    let world = World::new();
    let (one, mut two) = world.pair().await;
    const COUNT: u64 = 20_000;
    for number in 0..COUNT {
        while one.cluster.send(Lane::All, Bytes::copy_from_slice(&number.to_be_bytes())).is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    for number in 0..COUNT {
        let expected = Bytes::copy_from_slice(&number.to_be_bytes());
        assert_eq!(two.next().await, Some(ClusterEvent::Message { from: one.epoch(), message: expected }));
    }
}

#[tokio::test]
async fn options_that_can_not_work_are_refused() {
    let world = World::new();
    let short = world.try_start("one", Duration::from_millis(999)).await.err();
    assert!(matches!(short, Some(StartError::Option(why)) if why.contains("lease")));
}
