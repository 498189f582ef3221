//! The implementations in memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, bail};
use bennu_cluster::{Epoch, Hello, Incarnation, MemoryBus, MemoryTable, NodeId, NodeTable, Speaks};

use crate::bus::{Bed, Node};
use crate::table::Tables;

/// A table and a bus of one process.
struct Memory {
    table: Arc<MemoryTable>,
    bus: MemoryBus,
    nodes: Mutex<Vec<Epoch>>,
}

impl Memory {
    #[allow(clippy::unused_async)]
    async fn new() -> Result<Option<Self>> {
        let table = Arc::new(MemoryTable::new());
        let bus = MemoryBus::fenced(Arc::clone(&table));
        Ok(Some(Self { table, bus, nodes: Mutex::default() }))
    }

    fn nodes(&self) -> Vec<Epoch> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Bed for Memory {
    async fn node(&self, name: &str) -> Result<Node> {
        let incarnation = self.incarnation();
        let hello = self.table.hello(name, "0.1.0", incarnation, Speaks { from: 1, to: 1 }).await?;
        let Hello::Welcome(epoch) = hello else { bail!("{hello:?}") };
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).push(epoch);
        Ok(Node { bus: Arc::new(self.bus.clone()), me: NodeId { epoch, incarnation } })
    }

    fn kill(&self) -> Result<()> {
        self.nodes().into_iter().for_each(|node| self.bus.cut(node));
        Ok(())
    }

    fn start_again(&self) -> Result<()> {
        self.nodes().into_iter().for_each(|node| self.bus.mend(node));
        Ok(())
    }
}

impl Tables for Memory {
    fn table(&self) -> Result<Arc<dyn NodeTable>> {
        Ok(Arc::clone(&self.table) as Arc<dyn NodeTable>)
    }

    fn incarnation(&self) -> Incarnation {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let mut bits = [0x5a; 16];
        bits[8..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        Incarnation(bits)
    }
}

crate::suite!(bus, Memory::new:
    all_hear_what_one_sends_in_its_order,
    flushes_of_several_senders_keep_the_order_of_each,
    the_lane_of_a_node_reaches_this_node_only,
    flushes_of_all_sizes_arrive_whole,
    waiting_may_be_given_up,
    a_stopped_receiver_holds_nobody_up,
    after_a_restart_of_the_engine_all_is_heard_again,
);
crate::suite!(table, Memory::new:
    a_node_that_starts_gets_a_greater_epoch,
    a_start_that_is_repeated_has_the_same_epoch,
    a_living_namesake_is_in_the_way_until_it_is_buried,
    a_node_without_a_common_version_is_in_the_way,
    a_renewal_raises_the_beat_of_the_living_node_only,
    a_burial_needs_the_beat_that_was_seen,
    a_node_leaves_and_its_name_is_free,
    a_node_that_drains_says_so,
    of_several_namesakes_one_starts,
    a_node_is_buried_or_renewed_and_never_both,
);
