//! A node of a cluster, as its host uses it.

mod event;
mod node;
mod options;
mod start;
mod status;
mod tasks;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;

pub use event::{ClusterEvent, SendError, StartError};
use node::Node;
pub use options::{ClusterLimits, ClusterOptions, LEASE_MIN, Secret};
pub use status::{
    ClusterCounts, DroppedCounts, HeardCounts, LeaseStatus, NodePresence, NodeStatus, SentCounts, TableCounts,
};

use crate::bus::{Bus, BusEnds, Lane};
use crate::core::Core;
use crate::lease::{Lease, LeaseState, Renewals};
use crate::link::Outgoing;
use crate::membership::Polls;
use crate::moment::Moment;
use crate::node::NodeId;
use crate::table::{NodeTable, TableError};
use crate::wire::Seal;

/// How long a node that leaves waits for the bus to take what waits.
const LEAVE: Duration = Duration::from_secs(2);

/// A node of a cluster. A clone is the same node. When the last clone is dropped, the tasks end, and others declare the node dead after
/// its lease.
#[derive(Clone)]
pub struct Cluster {
    handle: Arc<Handle>,
}

/// Ends the tasks when it is dropped. They have the node, but not this.
struct Handle {
    node: Arc<Node>,
    bus: Arc<dyn Bus>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.node.end();
    }
}

/// The events of a node, in a queue of [`ClusterLimits::events`].
///
/// If the host doesn't take them, the bus isn't read while the queue is full. Then the others' flushes wait in the service of the bus, or
/// are lost there and are repeated or told as [`ClusterEvent::Lost`] later. The lease is renewed nevertheless, and no node is called
/// silent meanwhile, because this node's own heartbeats don't come back to it either. If the host drops them, the bus isn't read any more.
pub struct ClusterEvents {
    events: mpsc::Receiver<ClusterEvent>,
}

impl ClusterEvents {
    /// Waits for the next event. Returns nothing once the node has left, or is fenced and the host has taken everything.
    /// It may be dropped while it waits: nothing is lost by that.
    pub async fn next(&mut self) -> Option<ClusterEvent> {
        self.events.recv().await
    }
}

impl Cluster {
    /// Adds this node to the table, opens the bus, and starts the tasks and the thread that renews the lease.
    ///
    /// If a living row has its name, it waits until it has seen that row's beat unchanged for a lease, and declares it dead.
    ///
    /// # Errors
    ///
    /// If another node of that name renews its lease, if a living node understands no common version or has other settings, if the table or
    /// the bus doesn't answer, or if an option can't be used. The name is free then, if the table answers.
    pub async fn start(
        options: ClusterOptions,
        table: Arc<dyn NodeTable>,
        bus: Arc<dyn Bus>,
    ) -> Result<(Self, ClusterEvents), StartError> {
        start::check(&options)?;
        let (me, sent_at) = start::arrive(&options, bus.name(), &table).await?;
        let begun = match bus.open(me).await {
            Ok(ends) => {
                Self::begin(options, (Arc::clone(&table), bus), ends, (me, sent_at)).map_err(StartError::System)
            }
            Err(error) => Err(StartError::Bus(error)),
        };
        if begun.is_err() {
            // If that fails, others declare this row dead after a lease.
            let _unreachable = tasks::within(LEAVE, table.leave(me)).await;
        }
        begun
    }

    fn begin(
        options: ClusterOptions,
        (table, bus): (Arc<dyn NodeTable>, Arc<dyn Bus>),
        (sender, receiver): BusEnds,
        (me, sent_at): (NodeId, Moment),
    ) -> std::io::Result<(Self, ClusterEvents)> {
        let ClusterOptions { name, speaks, lease: length, limits, secret, .. } = options;
        let seal = Seal::new(secret.as_ref());
        let lease = Arc::new(Lease::new(length, sent_at));
        let core = Core::new(me, speaks, seal.clone(), Arc::clone(&lease), limits);
        let outgoing = Outgoing::new(me, speaks.to, seal, limits, (sender.flush_bytes(), sender.pause()));
        // The table is read at once.
        let cores = (core, outgoing, Polls::new(length, Moment::START));
        let node = Arc::new(Node::new((me, name), table, lease, cores));
        let handle = Arc::new(Handle { node: Arc::clone(&node), bus });
        tasks::renew_in_thread(Arc::clone(&node), Renewals::new(length, sent_at))?;
        let (told, events) = mpsc::channel(limits.events);
        let (sends, hears, polls) = (Arc::clone(&node), Arc::clone(&node), node);
        tokio::spawn(async move { sends.until_end(tasks::send(&sends, sender)).await });
        tokio::spawn(async move { hears.until_end(tasks::hear(&hears, receiver, told)).await });
        tokio::spawn(async move { polls.until_end(tasks::poll(&polls)).await });
        Ok((Self { handle }, ClusterEvents { events }))
    }

    fn node(&self) -> &Node {
        &self.handle.node
    }

    /// This start of the node.
    #[must_use]
    pub fn me(&self) -> NodeId {
        self.node().me
    }

    /// The name of this node.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.node().name
    }

    /// Sends a message to all other nodes, or to one. It never waits. Messages of one lane arrive in the order in which they were sent;
    /// those of two lanes may not.
    ///
    /// # Errors
    ///
    /// If the queue is full, the message is too large, the node isn't alive, or this node is fenced. Then nobody gets the message.
    pub fn send(&self, lane: Lane, message: Bytes) -> Result<(), SendError> {
        let is_woken = {
            let mut outgoing = self.node().outgoing();
            outgoing.push(lane, message)?;
            outgoing.takes_wake()
        };
        if is_woken {
            self.node().to_send.notify_one();
        }
        Ok(())
    }

    /// Whether the lease is good at this moment. It costs an atomic load and a reading of the clock.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.node().lease.is_good()
    }

    /// The lease at this moment.
    #[must_use]
    pub fn lease(&self) -> LeaseStatus {
        let (node, now) = (self.node(), Moment::now());
        LeaseStatus {
            is_good: node.lease.state(now) == LeaseState::Good,
            length: node.lease.length(),
            renewed_ago: node.lease.renewed_at().map(|at| now.since(at)),
            failure: node.renewal_failure().clone(),
        }
    }

    /// The version of the protocol that all living nodes understand, as this node has read them last.
    #[must_use]
    pub fn version(&self) -> u16 {
        self.node().outgoing().version()
    }

    /// All living nodes, this one among them, and those that died lately, ordered by epoch. It copies what it shows.
    #[must_use]
    pub fn nodes(&self) -> Arc<[NodeStatus]> {
        self.node().core().nodes(Moment::now()).collect()
    }

    /// Counts since the start.
    #[must_use]
    pub fn counts(&self) -> ClusterCounts {
        let (heard, dropped, table) = self.node().core().counts();
        let table = TableCounts { rows_unreadable: self.node().table.rows_unreadable(), ..table };
        ClusterCounts { sent: self.node().outgoing().counts(), heard, dropped, table, bus: self.handle.bus.counts() }
    }

    /// Says in the table that this node takes no new clients.
    ///
    /// # Errors
    ///
    /// If the table doesn't answer.
    pub async fn drain(&self) -> Result<(), TableError> {
        let node = self.node();
        tasks::within(node.lease.length(), node.table.drain(node.me)).await?;
        node.act(|_, outgoing, _| outgoing.hint());
        Ok(())
    }

    /// Sends what waits, sets this node's row dead so that its name is free, and ends the tasks and the thread. Events end, too. The lease
    /// isn't good any more then, also for clones of this.
    ///
    /// # Errors
    ///
    /// If the table doesn't answer. The tasks end nevertheless, and the others declare this node dead after its lease.
    pub async fn leave(self) -> Result<(), TableError> {
        let node = self.node();
        // What the bus doesn't take in this time is lost, as the others see by their lists of nodes.
        let _late = timeout(LEAVE, idle(node)).await;
        node.act(|core, _, _| core.leave());
        let left = tasks::within(node.lease.length(), node.table.leave(node.me)).await;
        node.act(|_, outgoing, _| outgoing.hint());
        let _late = timeout(LEAVE, idle(node)).await;
        node.end();
        node.lease.fence();
        left
    }
}

/// Waits until the bus has taken everything.
async fn idle(node: &Node) {
    loop {
        let sent = node.sent.notified();
        tokio::pin!(sent);
        sent.as_mut().enable();
        if node.outgoing().is_idle() {
            return;
        }
        sent.await;
    }
}
