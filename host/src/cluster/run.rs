//! Connects a node to its cluster, and runs what it does there.

use std::sync::Arc;

use bennu_cluster::{ClusterEvent, ClusterEvents};
use tokio::time::{MissedTickBehavior, interval};

use super::announcer::{ANNOUNCE_EVERY, Announcer};
use super::peers::Peers;
use super::receiver::{EventOutcome, Receiver};
use crate::channel::Node;
use crate::presence::DeltaReceiver;
use crate::pubsub::{AfterTurn, Pressure};

/// The number of events after which the receiver waits while outboxes are filled faster than they are written.
const EVENTS_AT_ONCE: u32 = 64;

/// From now on, the other nodes hear what happens at this node. It is called before the first client can join.
pub fn join_cluster(node: &Node, peers: &Arc<Peers>) {
    node.pubsub.set_other_nodes(Arc::clone(peers) as _);
    let receiver: Arc<dyn DeltaReceiver> = Arc::clone(peers) as _;
    node.presence.set_receiver(&receiver);
}

/// Handles what comes from the other nodes, and tells them what has changed. Returns when others may count this node as dead, or
/// when it has left.
pub async fn run(mut receiver: Receiver, mut announcer: Announcer, mut events: ClusterEvents, pressure: Arc<Pressure>) {
    let mut seconds = interval(ANNOUNCE_EVERY);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut handled = 0;
    loop {
        tokio::select! {
            event = events.next() => match event.map(|event| handle(&mut receiver, event)) {
                Some(EventOutcome::GoOn) => handled += 1,
                Some(EventOutcome::Fenced) | None => return,
            },
            _ = seconds.tick() => announcer.announce(),
        }
        if handled >= EVENTS_AT_ONCE {
            handled = 0;
            // For at most a tenth of a second. Meanwhile the queue of events fills, and then the bus isn't read.
            pressure.hold_back().await;
        }
    }
}

/// Handles one event, and then what that has deferred.
fn handle(receiver: &mut Receiver, event: ClusterEvent) -> EventOutcome {
    let after_turn = AfterTurn::here();
    let standing = receiver.handle(event);
    after_turn.run();
    standing
}
