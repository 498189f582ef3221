//! Nodes in one process, and a network between them that delivers when the test says so.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bennu::channel::Node;
use bennu::cluster::{Announcer, ClusterLink, EventOutcome, Inspect, OnLoss, Peers, Receiver, Rejoining, join_cluster};
use bennu::protocol::Pattern;
use bennu::pubsub::AfterTurn;
use bennu_cluster::{
    ClusterCounts, ClusterEvent, Epoch, Incarnation, Lane, LeaseStatus, NodeId, NodePresence, NodeRow, NodeSettings,
    NodeStatus, SendError, Speaks,
};
use bytes::Bytes;

use crate::support::{Client, Part, Stage};

/// The network between nodes.
#[derive(Clone, Default)]
pub(crate) struct Network(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    nodes: BTreeMap<Epoch, (String, NodePresence)>,
    /// The nodes that stop.
    draining: HashSet<Epoch>,
    sent: VecDeque<(Epoch, Lane, Bytes)>,
    /// Nodes whose queue is full.
    full: HashSet<Epoch>,
    /// The nodes whose messages are lost at other nodes.
    lost: HashSet<(Epoch, Epoch)>,
    delivered: usize,
}

impl Network {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no thread panics while it holds this lock")
    }

    /// Makes a node full: it can send nothing.
    pub(crate) fn set_full(&self, node: &TestNode, is_full: bool) {
        let mut inner = self.lock();
        if is_full {
            inner.full.insert(node.epoch)
        } else {
            inner.full.remove(&node.epoch)
        };
    }

    /// Loses what a node sends to another one from now on, without a word.
    pub(crate) fn set_lossy(&self, from: &TestNode, to: &TestNode, is_lossy: bool) {
        let (mut inner, way) = (self.lock(), (from.epoch, to.epoch));
        if is_lossy {
            inner.lost.insert(way)
        } else {
            inner.lost.remove(&way)
        };
    }

    /// How many messages were delivered, one for each receiver.
    pub(crate) fn delivered(&self) -> usize {
        self.lock().delivered
    }

    /// Says what the table of nodes thinks of a node.
    pub(crate) fn set_presence(&self, node: &TestNode, presence: NodePresence) {
        self.lock().nodes.entry(node.epoch).and_modify(|(_, known)| *known = presence);
    }

    /// Says in the table of nodes that a node stops.
    pub(crate) fn set_draining(&self, node: &TestNode) {
        self.lock().draining.insert(node.epoch);
    }
}

/// A node's way into the network.
struct Wire {
    network: Network,
    epoch: Epoch,
    name: String,
}

impl ClusterLink for Wire {
    fn me(&self) -> Epoch {
        self.epoch
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn send(&self, lane: Lane, message: Bytes) -> Result<(), SendError> {
        let mut inner = self.network.lock();
        if inner.full.contains(&self.epoch) {
            return Err(SendError::Full);
        }
        inner.sent.push_back((self.epoch, lane, message));
        Ok(())
    }

    fn nodes(&self) -> Arc<[NodeStatus]> {
        let inner = self.network.lock();
        let status = |(epoch, (name, presence)): (&Epoch, &(String, NodePresence))| NodeStatus {
            row: NodeRow {
                id: NodeId { epoch: *epoch, incarnation: Incarnation([0; 16]) },
                name: name.clone(),
                version: "0".into(),
                speaks: Speaks { from: 1, to: 1 },
                settings: NodeSettings { lease: Duration::from_secs(10), bus: "network".to_owned(), secret_mark: None },
                beat: 1,
                is_dead: *presence == NodePresence::Dead,
                is_draining: inner.draining.contains(epoch),
            },
            presence: *presence,
            heard_ago: (*presence == NodePresence::Up).then_some(Duration::ZERO),
            beat_ago: None,
            behind: 0,
            gaps: 0,
            losses: 0,
        };
        inner.nodes.iter().map(status).collect()
    }

    fn lease(&self) -> LeaseStatus {
        let length = Duration::from_secs(10);
        LeaseStatus { is_good: true, length, renewed_ago: Some(Duration::ZERO), failure: None }
    }

    fn counts(&self) -> ClusterCounts {
        ClusterCounts::default()
    }
}

/// A host of the cluster.
pub(crate) struct TestNode {
    pub(crate) epoch: Epoch,
    pub(crate) stage: Stage,
    pub(crate) peers: Arc<Peers>,
    receiver: Receiver,
    announcer: Announcer,
}

impl TestNode {
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.stage.endpoint.node
    }

    pub(crate) fn connect(&self) -> Client {
        self.stage.connect()
    }

    /// Handles an event, as the host's task does.
    pub(crate) fn handle(&mut self, event: ClusterEvent) {
        let after_turn = AfterTurn::here();
        assert_eq!(self.receiver.handle(event), EventOutcome::GoOn);
        after_turn.run();
    }

    /// Does what the host does each second.
    pub(crate) fn tell(&mut self) {
        self.announcer.announce();
    }
}

/// Some nodes that know each other.
pub(crate) struct TestCluster {
    pub(crate) network: Network,
    pub(crate) nodes: Vec<TestNode>,
}

impl TestCluster {
    /// Nodes with the same routes.
    pub(crate) fn new(count: usize, parts: impl Fn() -> Vec<Part>) -> Self {
        Self::with(count, parts, OnLoss::Rejoin)
    }

    pub(crate) fn with(count: usize, parts: impl Fn() -> Vec<Part>, on_loss: OnLoss) -> Self {
        let mut cluster = Self { network: Network::default(), nodes: Vec::new() };
        (0..count).for_each(|_| cluster.start(parts(), on_loss));
        cluster.settle();
        cluster
    }

    /// Starts a further node, which the others hear of.
    pub(crate) fn start(&mut self, parts: Vec<Part>, on_loss: OnLoss) {
        let epoch = Epoch(self.nodes.len() as u64 + 1);
        let name = format!("host-{epoch}");
        let stage = Stage::in_cluster(parts, &name, epoch.0);
        let node = Arc::clone(&stage.endpoint.node);
        node.add_member_block(epoch.0);
        let wire = Wire { network: self.network.clone(), epoch, name: name.clone() };
        let sticky = [Pattern::parse("room:sticky:*").expect("a pattern")].into();
        let peers = Peers::new(Arc::new(wire), node.store.clone(), sticky);
        join_cluster(&node, &peers);
        let rejoining = Rejoining::new(on_loss);
        drop(tokio::spawn(Arc::clone(&rejoining).run(Arc::clone(&node), Arc::clone(&peers))));
        let text = format!("{{\"node\":\"{name}\"}}");
        let inspect: Inspect = Arc::new(move || Box::pin(std::future::ready(Bytes::from(text.clone()))));
        let receiver = Receiver::new(Arc::clone(&node), Arc::clone(&peers), rejoining, Some(inspect));
        let announcer = Announcer::new(node, Arc::clone(&peers));
        self.network.lock().nodes.insert(epoch, (name, NodePresence::Up));
        self.nodes.push(TestNode { epoch, stage, peers, receiver, announcer });
        let newest = self.nodes.len() - 1;
        for other in 0..newest {
            let (here, there) = (self.nodes[newest].epoch, self.nodes[other].epoch);
            self.nodes[newest].handle(ClusterEvent::Up(there));
            self.nodes[other].handle(ClusterEvent::Up(here));
        }
    }

    /// Ends a node: the others hear that it is dead.
    pub(crate) fn kill(&mut self, at: usize) {
        let gone = self.nodes.remove(at);
        self.network.set_presence(&gone, NodePresence::Dead);
        self.nodes.iter_mut().for_each(|node| node.handle(ClusterEvent::Dead(gone.epoch)));
    }

    /// Delivers what was sent, and what is sent because of that.
    pub(crate) fn deliver(&mut self) {
        loop {
            let Some((from, lane, message)) = self.network.lock().sent.pop_front() else { return };
            for node in &mut self.nodes {
                let is_for = match lane {
                    Lane::All => node.epoch != from,
                    Lane::Node(to) => node.epoch == to,
                };
                if !is_for || self.network.lock().lost.contains(&(from, node.epoch)) {
                    continue;
                }
                self.network.lock().delivered += 1;
                node.handle(ClusterEvent::Message { from, message: message.clone() });
            }
        }
    }

    /// A second passes: each node tells what has changed, and everything is delivered.
    pub(crate) fn settle(&mut self) {
        self.deliver();
        self.nodes.iter_mut().for_each(TestNode::tell);
        self.deliver();
    }

    /// Waits for a future, and delivers meanwhile. Tasks that answer run while this waits.
    pub(crate) async fn delivering<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        loop {
            tokio::select! {
                biased;
                result = &mut future => return result,
                () = tokio::time::sleep(Duration::from_millis(1)) => self.deliver(),
            }
        }
    }
}
