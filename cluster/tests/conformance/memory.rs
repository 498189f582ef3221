//! The implementations in memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, bail};
use bennu_cluster::rollout::{MemoryRegistry, Registry};
use bennu_cluster::{Epoch, Hello, Incarnation, MemoryBus, MemoryTable, NodeId, NodeTable, Speaks};

use crate::bus::{Bed, Node};
use crate::registry::Registries;
use crate::table::{Tables, new_node};

/// A table, a bus and a registry of one process.
struct Memory {
    table: Arc<MemoryTable>,
    bus: MemoryBus,
    registry: Arc<MemoryRegistry>,
    nodes: Mutex<Vec<Epoch>>,
}

impl Memory {
    #[allow(clippy::unused_async)]
    async fn new() -> Result<Option<Self>> {
        let table = Arc::new(MemoryTable::new());
        let bus = MemoryBus::fenced(Arc::clone(&table));
        let registry = Arc::new(MemoryRegistry::new(Arc::clone(&table)));
        Ok(Some(Self { table, bus, registry, nodes: Mutex::default() }))
    }

    fn nodes(&self) -> Vec<Epoch> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Bed for Memory {
    async fn node(&self, name: &str) -> Result<Node> {
        let incarnation = self.incarnation();
        let hello = self.table.hello(&new_node(name, incarnation, Speaks { from: 1, to: 1 })).await?;
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

impl Registries for Memory {
    fn registry(&self) -> Result<Arc<dyn Registry>> {
        Ok(Arc::clone(&self.registry) as Arc<dyn Registry>)
    }

    async fn start(&self, name: &str) -> Result<NodeId> {
        Ok(self.node(name).await?.me)
    }

    async fn end(&self, node: NodeId) -> Result<()> {
        Ok(self.table.leave(node).await?)
    }

    async fn writes(&self, store: &str) -> Result<Option<u32>> {
        Ok(self.registry.writes(store))
    }
}

crate::suite!(registry, Memory::new:
    records_are_read_as_they_were_written,
    of_changes_of_the_same_records_one_is_written,
    the_generation_that_serves_may_write_and_no_other_one,
    reports_replace_each_other_and_outlive_their_node,
    a_dead_node_changes_nothing,
    builds_of_all_sizes_are_kept_as_long_as_they_are_needed,
);
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
    a_living_namesake_is_in_the_way_until_it_is_declared_dead,
    a_node_without_a_common_version_is_in_the_way,
    a_node_with_other_settings_is_in_the_way,
    a_renewal_raises_the_beat_of_the_living_node_only,
    declaring_a_node_dead_needs_the_beat_that_was_seen,
    a_node_leaves_and_its_name_is_free,
    a_node_that_drains_says_so,
    of_several_namesakes_one_starts,
    a_node_is_declared_dead_or_renewed_and_never_both,
);
