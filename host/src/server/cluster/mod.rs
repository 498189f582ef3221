//! How a host becomes a node of a cluster, and how it leaves.

mod clocks;
mod last_start;
#[cfg(test)]
mod rollout_tests;
mod seams;
#[cfg(test)]
mod tests;
mod transactions;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bennu_cluster::rollout::Registry;
use bennu_cluster::{Cluster, ClusterEvents, ClusterLimits, ClusterOptions, NodeId, NodeTable, Speaks};
use bytes::Bytes;

use super::Config;
use super::vital::Vital;
use crate::api::{Api, inspected};
use crate::channel::{Node, NodeIdentity};
use crate::cluster::{
    Announcer, Inspect, MemberBlocks, OnLoss, Peers, Receiver, Rejoining, VERSION, give_first_block, join_cluster,
    keep_giving_blocks, run,
};
use crate::health::{Draining, Health};
use crate::plugin::Library;
use crate::protocol::Pattern;
use crate::rollout::{Rollouts, RolloutsStarted};
use crate::store::{DirectoryLock, StorePlace, claim_directory};

use clocks::compare_clocks;
use last_start::LastStart;
pub use seams::ClusterSeams;
use transactions::count_transaction_ids;

/// How long a host waits at its start for nodes that don't hear it. They may be dead, and the table doesn't say so yet.
const CONNECTED_MAX: Duration = Duration::from_secs(5);

/// The versions of the protocol between nodes that this version of the host understands.
const SPEAKS: Speaks = Speaks { from: VERSION as u16, to: VERSION as u16 };

/// A host before it serves: a node of a cluster, or alone.
pub(super) enum ClusterNode {
    Alone,
    In(Box<EnteringNode>),
}

/// A node that has entered its cluster, and has no clients yet.
pub(super) struct EnteringNode {
    cluster: Cluster,
    events: ClusterEvents,
    table: Arc<dyn NodeTable>,
    blocks: Arc<dyn MemberBlocks>,
    registry: Arc<dyn Registry>,
    on_loss: OnLoss,
    /// The topics of which a balancer keeps all clients at one node.
    sticky: Arc<[Pattern]>,
    /// The lock of the data directory, until the store has it. None if the store itself is in the directory.
    lock: Option<DirectoryLock>,
}

/// The cluster of a host that serves, if it has one.
pub(super) struct EnteredCluster(Option<Cluster>);

impl ClusterNode {
    /// Enters the cluster that the configuration names, if it names one. Nobody hears of this node's clients yet, because it has none.
    /// Tests have other `seams` than the configuration.
    ///
    /// # Errors
    /// If another node has the name, or the table or the bus can't be used.
    pub(super) async fn start(config: &Config, seams: Option<ClusterSeams>) -> Result<Self> {
        let Some(table) = &config.cluster else { return Ok(Self::Alone) };
        let (name, sticky) = (table.node_name()?, table.sticky()?);
        let secret = table.secret(&config.beside)?;
        if secret.is_none() {
            tracing::warn!(
                "the messages between nodes have no `cluster.secret`, so whoever reaches the bus can make some"
            );
        }
        // Nobody else has the directory, so the start of which it knows is over.
        let lock = match config.store_place()? {
            StorePlace::Postgres(_) => Some(claim_directory(&config.data).context("`data` can't be used")?),
            StorePlace::Directory(_) => None,
        };
        let last = LastStart::of(&config.data);
        let options = ClusterOptions {
            name: name.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            speaks: SPEAKS,
            lease: table.lease(),
            secret,
            over: lock.as_ref().and_then(|_| last.read()),
            limits: ClusterLimits::default(),
        };
        let ClusterSeams { table: nodes, bus, blocks, registry } = match seams {
            Some(seams) => seams,
            None => ClusterSeams::connect(config, table).await?,
        };
        let entered = Cluster::start(options, Arc::clone(&nodes), bus).await;
        let (cluster, events) = entered.map_err(|error| anyhow!(error)).context("this host can't enter its cluster")?;
        tracing::info!(node = name, epoch = cluster.me().epoch.0, "this host is a node of a cluster");
        if lock.is_some() {
            last.write(cluster.me());
        }
        let on_loss = table.on_loss;
        Ok(Self::In(Box::new(EnteringNode { cluster, events, table: nodes, blocks, registry, on_loss, sticky, lock })))
    }

    /// The start of this node, and the lock of its data directory, if other nodes share its store.
    pub(super) fn take_shared(&mut self) -> Option<(NodeId, DirectoryLock)> {
        match self {
            Self::Alone => None,
            Self::In(node) => Some((node.cluster.me(), node.lock.take()?)),
        }
    }

    /// What tells the node from others.
    fn identity(&self) -> NodeIdentity {
        match self {
            Self::Alone => NodeIdentity::Alone,
            Self::In(node) => {
                let cluster = &node.cluster;
                NodeIdentity::InCluster { name: cluster.name().to_owned(), epoch: cluster.me().epoch.0 }
            }
        }
    }

    /// Makes the node of the host, and connects it to the other nodes, if there may be some.
    ///
    /// # Errors
    /// If there are no numbers for members.
    pub(super) async fn connect(
        &self,
        make: impl FnOnce(NodeIdentity) -> Arc<Node>,
    ) -> Result<(Arc<Node>, Option<Arc<Peers>>)> {
        let node = make(self.identity());
        let Self::In(entering) = self else { return Ok((node, None)) };
        node.store.set_epoch(entering.cluster.me().epoch.0);
        give_first_block(&node, &*entering.blocks).await.context("numbers for members can't be reserved")?;
        let peers = Peers::new(Arc::new(entering.cluster.clone()), node.store.clone(), Arc::clone(&entering.sticky));
        join_cluster(&node, &peers);
        Ok((node, Some(peers)))
    }

    /// Makes the library serve what the cluster serves, if there is one, and starts the task that does so. The returned tasks are separate
    /// from the other vital ones: at a stop, the results of probations are saved, and the cluster is followed, after those have ended.
    pub(super) fn roll_out(
        &self,
        library: &mut Library,
        node: &Node,
        peers: Option<&Arc<Peers>>,
    ) -> (Vital, Option<RolloutsStarted>) {
        let mut loading = Vital::default();
        let (Self::In(entering), Some(peers)) = (self, peers) else { return (loading, None) };
        let (cluster, registry) = (&entering.cluster, Arc::clone(&entering.registry));
        let me = (cluster.me(), cluster.name().to_owned());
        let (rollouts, started) =
            Rollouts::new(me, registry, library.enter_cluster(), Arc::clone(peers), node.store.clone());
        loading.spawn("the task that rolls out plugins", rollouts.run());
        (loading, Some(started))
    }

    /// The host doesn't start. Leaves the cluster, so that the others don't wait for the lease, and the name is free.
    pub(super) async fn abandon(self) {
        if let Self::In(node) = self {
            EnteredCluster(Some(node.cluster)).leave().await;
        }
    }

    /// Starts the tasks of the node, and waits until the other nodes hear it, before the first client connects. The first task ends
    /// when other nodes may count this node as dead, and the host with it.
    pub(super) async fn enter(
        &mut self,
        vital: &mut Vital,
        node: &Arc<Node>,
        peers: Option<&Arc<Peers>>,
        api: Option<&Arc<Api>>,
    ) -> EnteredCluster {
        let (Self::In(entering), Some(peers)) = (std::mem::replace(self, Self::Alone), peers) else {
            return EnteredCluster(None);
        };
        let EnteringNode { cluster, events, table, blocks, on_loss, .. } = *entering;
        let rejoining = Rejoining::new(on_loss);
        let inspect = api.map(inspect);
        let receiver = Receiver::new(Arc::clone(node), Arc::clone(peers), Arc::clone(&rejoining), inspect);
        let announcer = Announcer::new(Arc::clone(node), Arc::clone(peers));
        let pressure = Arc::clone(&node.pubsub.pressure);
        vital.spawn("the place of this host in its cluster", run(receiver, announcer, events, pressure));
        vital.spawn("the task that has members join again", rejoining.run(Arc::clone(node), Arc::clone(peers)));
        vital.spawn("the task that reserves numbers for members", keep_giving_blocks(Arc::clone(node), blocks));
        vital.spawn("the task that compares clocks", compare_clocks(Arc::clone(&table), Arc::clone(peers)));
        vital.spawn("the task that counts ids of transactions", count_transaction_ids(table, Arc::clone(peers)));
        let missing = peers.connected(CONNECTED_MAX).await;
        if !missing.is_empty() {
            tracing::warn!(
                "this node serves without a connection to {}; what they send now may be missed, and then clients join again",
                missing.join(", ")
            );
        }
        EnteredCluster(Some(cluster))
    }
}

impl EnteredCluster {
    /// Whether the host is a node of a cluster.
    pub(super) fn is_node(&self) -> bool {
        self.0.is_some()
    }

    /// Says that the host stops: at its own endpoints, and to the other nodes.
    pub(super) async fn stop(&self, health: &Health) {
        health.set_draining(Some(Draining::Stopping));
        if let Some(cluster) = &self.0
            && let Err(error) = cluster.drain().await
        {
            tracing::warn!("the table of nodes doesn't say that this node stops: {error}");
        }
    }

    /// Leaves the cluster, after the last member has ended.
    pub(super) async fn leave(self) {
        if let Some(cluster) = self.0
            && let Err(error) = cluster.leave().await
        {
            tracing::warn!("the other nodes count this node as dead only after its lease: {error}");
        }
    }
}

/// Loads the plugins: those of the files, or what the cluster serves.
pub(super) async fn start_plugins(library: &mut Library, rollouts: Option<RolloutsStarted>) {
    match rollouts {
        Some(rollouts) => library.start_in_cluster(rollouts.wait()).await,
        None => library.start().await,
    }
}

/// Answers what an operator asks at another node.
fn inspect(api: &Arc<Api>) -> Inspect {
    let api = Arc::clone(api);
    Arc::new(move || {
        let api = Arc::clone(&api);
        Box::pin(async move { Bytes::from(inspected(&api).await.to_string()) })
    })
}
