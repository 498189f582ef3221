//! The tasks of a node. They only move what its core and its queue decide.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::event::ClusterEvent;
use super::node::Node;
use crate::bus::{BusReceiver, BusSender};
use crate::core::{CoreOutput, ExpiredNode};
use crate::lease::Renewals;
use crate::link::Next;
use crate::moment::Moment;
use crate::node::Epoch;
use crate::table::{Renewal, TableError};

/// Gives flushes to the bus, one at a time.
pub(super) async fn send(node: &Node, mut bus: Box<dyn BusSender>) {
    loop {
        let next = node.outgoing().next(Moment::now());
        match next {
            Next::Send(lane, flush) => {
                let result = bus.send(lane, flush).await;
                let error = result.as_ref().err().map(ToString::to_string);
                let has_failed = node.act(|_, outgoing, now| {
                    outgoing.done(result, now);
                    outgoing.failures() == 1
                });
                if let Some(error) = error.filter(|_| has_failed) {
                    tracing::warn!(error, "a flush to the other nodes failed; it is sent again");
                }
                node.sent.notify_waiters();
            }
            Next::Wait(until) => {
                let wait = until.since(Moment::now());
                tokio::select! {
                    () = node.to_send.notified() => {}
                    () = sleep(wait) => {}
                }
            }
            Next::End => {
                // If the bus has said that this node counts as dead, the host is told so.
                node.act(|core, outgoing, now| core.tick(now, outgoing));
                return;
            }
        }
    }
}

/// Reads the bus, and tells the host. While the host's queue is full, the bus isn't read.
pub(super) async fn hear(node: &Node, mut bus: Box<dyn BusReceiver>, events: mpsc::Sender<ClusterEvent>) {
    loop {
        let now = Moment::now();
        let wait = node.core().next_tick(now).since(now);
        let heard = tokio::select! {
            event = bus.next() => Some(event),
            () = node.has_output.notified() => None,
            () = sleep(wait) => None,
        };
        node.act(|core, outgoing, now| match heard {
            Some(event) => core.hear(event, now, outgoing),
            None => core.tick(now, outgoing),
        });
        loop {
            let output = node.core().next_output();
            let Some(output) = output else { break };
            let is_told = match output {
                CoreOutput::Event(event) => events.send(event).await.is_ok(),
                CoreOutput::Messages(from, messages) => {
                    let mut is_told = true;
                    for message in messages {
                        is_told &= events.send(ClusterEvent::Message { from, message }).await.is_ok();
                    }
                    is_told
                }
            };
            if !is_told || node.core().is_over() {
                return;
            }
        }
    }
}

/// Reads the table at times and on hints, and declares nodes dead whose lease has expired.
pub(super) async fn poll(node: &Arc<Node>) {
    let mut declaring = JoinSet::new();
    let mut under_way = BTreeSet::new();
    while !node.core().is_fenced() {
        let wait = node.polls().next().since(Moment::now());
        tokio::select! {
            () = node.to_poll.notified() => continue,
            Some(done) = declaring.join_next() => {
                if let Ok(epoch) = done {
                    under_way.remove(&epoch);
                }
                continue;
            }
            () = sleep(wait) => {}
        }
        let sent_at = Moment::now();
        let limit = {
            let mut polls = node.polls();
            polls.sent(sent_at);
            polls.timeout()
        };
        let rows = within(limit, node.table.list()).await;
        let due = node.act(|core, outgoing, now| match rows {
            Ok(rows) => core.polled(rows, sent_at, now, outgoing),
            Err(error) => {
                if core.poll_failed() {
                    tracing::warn!(%error, "the table of nodes can't be read");
                }
                Vec::new()
            }
        });
        for expired in due {
            if under_way.insert(expired.node) {
                declaring.spawn(declare_dead(Arc::clone(node), expired));
            }
        }
    }
}

/// Declares a node dead. It has a task of its own, because it waits for a commit of that node that is under way.
async fn declare_dead(node: Arc<Node>, expired: ExpiredNode) -> Epoch {
    let epoch = expired.node.0;
    match within(node.lease.length(), node.table.declare_dead(expired.node, expired.beat)).await {
        Ok(true) => {
            tracing::warn!(epoch, "a node didn't renew its lease, and counts as dead now");
            node.act(|core, outgoing, _| core.declared_dead(outgoing));
        }
        // It has renewed meanwhile.
        Ok(false) => {}
        Err(error) => tracing::warn!(epoch, %error, "a node that didn't renew its lease couldn't be declared dead"),
    }
    expired.node
}

/// Waits for the table, but not longer than this.
pub(super) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, TableError>>,
) -> Result<T, TableError> {
    let late = || TableError::Down(format!("it didn't answer in {} ms", limit.as_millis()));
    timeout(limit, call).await.unwrap_or_else(|_| Err(late()))
}

/// Renews the lease, in a thread of its own. On the host's threads, work that takes long could make a renewal late.
pub(super) fn renew_in_thread(node: Arc<Node>, renewals: Renewals) -> std::io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let renew = move || runtime.block_on(async { node.until_end(renew(&node, renewals)).await });
    std::thread::Builder::new().name("bennu-lease".to_owned()).spawn(renew)?;
    Ok(())
}

async fn renew(node: &Node, mut renewals: Renewals) {
    let mut was_missed = false;
    loop {
        sleep(renewals.next().since(Moment::now())).await;
        let sent_at = Moment::now();
        match within(renewals.timeout(), node.table.renew(node.me)).await {
            Ok(Renewal::Good(_)) => {
                node.lease.renewed(sent_at);
                renewals.renewed(sent_at);
                if was_missed {
                    *node.renewal_failure() = None;
                    tracing::info!("the lease is renewed again");
                    node.has_output.notify_one();
                }
                was_missed = false;
            }
            Ok(Renewal::Fenced) => {
                tracing::error!("other nodes count this node as dead");
                node.lease.fence();
                node.has_output.notify_one();
                return;
            }
            Err(error) => {
                node.lease.missed();
                renewals.missed(Moment::now());
                if !was_missed {
                    tracing::warn!(%error, "the lease can't be renewed");
                }
                *node.renewal_failure() = Some(error.to_string());
                was_missed = true;
            }
        }
    }
}
