//! What happens at a time.

use bennu_cluster::core::ExpiredNode;
use bennu_cluster::{BusError, BusEvent, Hello, Lane, Moment, NodeId, NodeRow, Renewal};
use bytes::Bytes;

use crate::faults::Mend;

/// What happens at a time.
pub(crate) enum Event {
    /// A process starts on a machine.
    Start(usize),
    /// A host sends something.
    Traffic(usize),
    /// A host commits.
    Commit(usize),
    /// Something goes wrong.
    Fault,
    /// Something works again.
    Mend(Mend),
    /// Nothing goes wrong any more.
    Quiet,
    /// Everybody sends once more.
    Calm,
    /// The run ends.
    End,
    /// A call reaches the table.
    Ask(Ask),
    /// A flush reaches the bus.
    Take { from: Sender, lane: Lane, flush: Bytes },
    /// Something reaches a process.
    Ours { machine: usize, run: u64, ours: Ours },
}

/// A process that sends, or did.
#[derive(Clone, Copy)]
pub(crate) struct Sender {
    pub(crate) machine: usize,
    pub(crate) run: u64,
    pub(crate) id: NodeId,
}

/// What reaches a process.
pub(crate) enum Ours {
    Wake,
    Bus(BusEvent),
    Sent(Result<(), BusError>),
    /// An answer of the table, or that there was none in time. The number is that of the call: the first of the two counts.
    Answer(u64, Answer),
}

/// A call of the table on its way.
pub(crate) struct Ask {
    pub(crate) machine: usize,
    pub(crate) run: u64,
    pub(crate) number: u64,
    pub(crate) call: Call,
}

pub(crate) enum Call {
    Hello(Moment),
    Renew(NodeId, Moment),
    List(Moment),
    DeclareDead(ExpiredNode),
    Commit(NodeId),
}

/// None: the call has failed.
pub(crate) enum Answer {
    Hello(Moment, Option<Hello>),
    Renew(Moment, Option<Renewal>),
    List(Moment, Option<Vec<NodeRow>>),
    DeclareDead(Option<bool>),
}
