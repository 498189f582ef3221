//! The table of nodes, which decides who is alive.
//!
//! No clock of the table is used. A node raises the beat of its row. Who has seen the same beat for a whole lease may declare that node dead.

pub mod memory;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::node::{Epoch, Incarnation, NodeId, Speaks};
use crate::settings::NodeSettings;

/// A future that a table returns.
pub type TableFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, TableError>> + Send + 'a>>;

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// The start of the node.
    pub id: NodeId,
    /// Its name, which no other living node has.
    pub name: String,
    /// The version of bennu that it runs.
    pub version: String,
    /// The versions of the protocol that it understands.
    pub speaks: Speaks,
    /// The settings that all living nodes share.
    pub settings: NodeSettings,
    /// Raised by each renewal.
    pub beat: u64,
    /// Whether it was declared dead, or has left. It stays so for ever.
    pub is_dead: bool,
    /// Whether it takes no new clients.
    pub is_draining: bool,
}

/// A node that starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewNode {
    /// Its name.
    pub name: String,
    /// The version of bennu that it runs.
    pub version: String,
    /// Its random bits, by which a start whose answer was lost is known again.
    pub incarnation: Incarnation,
    /// The versions of the protocol that it understands.
    pub speaks: Speaks,
    /// The settings that it must share with all living nodes.
    pub settings: NodeSettings,
}

/// The answer to a node that starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// It has a row, with this epoch.
    Welcome(Epoch),
    /// A living row has that name.
    NameTaken(NodeRow),
    /// A living node understands none of the versions that this one understands.
    NoCommonVersion(NodeRow),
    /// A living node has other settings.
    OtherSettings(NodeRow),
}

/// The answer to a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The row is alive, and its beat was raised to this.
    Good(u64),
    /// The row is dead, missing, or of another incarnation. This start of the node is over.
    Fenced,
}

/// Why a table didn't answer.
#[derive(Debug)]
pub enum TableError {
    /// It can't be reached now.
    Down(String),
    /// It can't be used as it is. The text says what to do.
    Unfit(String),
}

/// The table of nodes. Each call is one statement of the database, so a node that is stopped in the middle holds nobody up.
pub trait NodeTable: Send + Sync + 'static {
    /// Adds a row for a node that starts.
    fn hello<'a>(&'a self, node: &'a NewNode) -> TableFuture<'a, Hello>;

    /// Raises the beat of a node's row.
    fn renew(&self, id: NodeId) -> TableFuture<'_, Renewal>;

    /// Returns the rows of all nodes that are alive, and of those that died lately. A row that no node has written is left out.
    fn list(&self) -> TableFuture<'_, Vec<NodeRow>>;

    /// Sets a node dead if it is alive and its beat is this one. Returns whether it is dead now. A commit of that node that is under way
    /// ends before.
    fn declare_dead(&self, epoch: Epoch, beat: u64) -> TableFuture<'_, bool>;

    /// Says that a node takes no new clients.
    fn drain(&self, id: NodeId) -> TableFuture<'_, ()>;

    /// Sets this node's own row dead, so that its name is free at once.
    fn leave(&self, id: NodeId) -> TableFuture<'_, ()>;

    /// The time of the table's clock, in milliseconds since 1970. Nothing is decided by it: it shows operators that a clock is wrong.
    fn time_ms(&self) -> TableFuture<'_, u64>;

    /// The id that the next transaction of the table's server gets. None if its transactions have no ids. Asking takes none.
    fn transaction_id(&self) -> TableFuture<'_, Option<u64>>;

    /// The rows that [`list`](Self::list) has left out since the start, because no node has written them. One counts at each call.
    fn rows_unreadable(&self) -> u64;
}

impl fmt::Display for TableError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down(why) => write!(formatter, "the table of nodes can't be reached: {why}"),
            Self::Unfit(why) => formatter.write_str(why),
        }
    }
}

impl std::error::Error for TableError {}
