//! What a node needs outside of itself: the table of nodes, the bus, numbers for members, and the registry of plugins.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use bennu_cluster::nats::NatsBus;
use bennu_cluster::postgres::{Connect, PostgresBus, PostgresRegistry, PostgresTable};
use bennu_cluster::rollout::Registry;
use bennu_cluster::{Bus, NodeTable};

use super::SPEAKS;
use crate::cluster::MemberBlocks;
use crate::server::Config;
use crate::server::config::{ClusterBus, ClusterTable};
use crate::store::StorePlace;

/// What a node needs outside of itself.
#[derive(Clone)]
pub struct ClusterSeams {
    /// Says who is alive.
    pub table: Arc<dyn NodeTable>,
    /// Carries messages.
    pub bus: Arc<dyn Bus>,
    /// Gives numbers for members.
    pub blocks: Arc<dyn MemberBlocks>,
    /// Says which builds of plugins serve.
    pub registry: Arc<dyn Registry>,
}

impl ClusterSeams {
    /// Those that the configuration names. Makes the schema of the database if it is missing, because the table of nodes is in it. The bus
    /// connects later.
    ///
    /// # Errors
    /// If a secret can't be read, or the database can't be used. The message says what to do.
    pub(super) async fn connect(config: &Config, table: &ClusterTable) -> Result<Self> {
        let StorePlace::Postgres(place) = config.store_place()? else {
            bail!("`cluster` needs a store that all nodes share: give `url` in the table `store`");
        };
        // Before anything is connected: a secret may be missing.
        let nats = match &table.bus {
            ClusterBus::Postgres => None,
            ClusterBus::Nats(nats) => Some(nats.place(&config.beside)?),
        };
        let made = place.make_schema_for_node(SPEAKS).await;
        made.with_context(|| format!("`store` can't be used: {place}"))?;
        let connect: Arc<dyn Connect> = Arc::new(place);
        let registry = Arc::new(PostgresRegistry::new(Arc::clone(&connect)));
        let nodes = PostgresTable::new(Arc::clone(&connect)).context("starting the thread of the table of nodes")?;
        let bus: Arc<dyn Bus> = match nats {
            None => Arc::new(PostgresBus::new(connect)),
            Some(nats) => {
                let id = nodes.cluster_id().await.map_err(|error| anyhow!(error))?;
                Arc::new(NatsBus::new(nats, &id))
            }
        };
        let nodes = Arc::new(nodes);
        Ok(Self { table: Arc::clone(&nodes) as _, bus, blocks: nodes, registry })
    }
}
