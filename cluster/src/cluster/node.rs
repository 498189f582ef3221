//! What the tasks of a node share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::core::Core;
use crate::lease::Lease;
use crate::link::Outgoing;
use crate::membership::Polls;
use crate::moment::Moment;
use crate::node::NodeId;
use crate::table::NodeTable;

/// What the tasks of a node share. Who locks both the core and the queue locks the core first.
pub(super) struct Node {
    pub(super) me: NodeId,
    pub(super) name: String,
    pub(super) table: Arc<dyn NodeTable>,
    pub(super) lease: Arc<Lease>,
    core: Mutex<Core>,
    outgoing: Mutex<Outgoing>,
    polls: Mutex<Polls>,
    /// Why the last renewal of the lease failed. None if it succeeded.
    renewal_failure: Mutex<Option<String>>,
    /// There is something to send.
    pub(super) to_send: Notify,
    /// The bus has taken a flush.
    pub(super) sent: Notify,
    /// There is something to tell.
    pub(super) has_output: Notify,
    /// The table is to be read soon.
    pub(super) to_poll: Notify,
    ended: watch::Sender<bool>,
}

impl Node {
    pub(super) fn new(
        (me, name): (NodeId, String),
        table: Arc<dyn NodeTable>,
        lease: Arc<Lease>,
        (core, outgoing, polls): (Core, Outgoing, Polls),
    ) -> Self {
        Self {
            me,
            name,
            table,
            lease,
            core: Mutex::new(core),
            outgoing: Mutex::new(outgoing),
            polls: Mutex::new(polls),
            renewal_failure: Mutex::default(),
            to_send: Notify::new(),
            sent: Notify::new(),
            has_output: Notify::new(),
            to_poll: Notify::new(),
            ended: watch::Sender::new(false),
        }
    }

    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn outgoing(&self) -> MutexGuard<'_, Outgoing> {
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn polls(&self) -> MutexGuard<'_, Polls> {
        self.polls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn renewal_failure(&self) -> MutexGuard<'_, Option<String>> {
        self.renewal_failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the core and the queue, and wakes the tasks that have something to do by that.
    pub(super) fn act<T>(&self, act: impl FnOnce(&mut Core, &mut Outgoing, Moment) -> T) -> T {
        let now = Moment::now();
        let mut core = self.core();
        let mut outgoing = self.outgoing();
        let result = act(&mut core, &mut outgoing, now);
        if outgoing.takes_wake() {
            self.to_send.notify_one();
        }
        if core.takes_hint() && self.polls().hint() {
            self.to_poll.notify_one();
        }
        if core.has_output() {
            self.has_output.notify_one();
        }
        result
    }

    /// Ends the tasks and the thread.
    pub(super) fn end(&self) {
        self.ended.send_replace(true);
        self.outgoing().end();
    }

    /// Runs a task until it ends or the node does.
    pub(super) async fn until_end(&self, task: impl Future<Output = ()>) {
        let mut ended = self.ended.subscribe();
        tokio::select! {
            () = task => {}
            _ = ended.wait_for(|is_ended| *is_ended) => {}
        }
    }
}
