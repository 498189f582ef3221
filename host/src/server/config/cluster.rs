//! The table `cluster`: the host as one of several nodes.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bennu_cluster::Secret;
use bennu_cluster::cluster::LEASE_MIN;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Unexpected, Visitor};

use super::{Config, NatsTable};
use crate::auth::SecretSource;
use crate::cluster::OnLoss;
use crate::protocol::{NAME_BYTES_MAX, Pattern};
use crate::routes::Placement;

/// The table `cluster`. It needs a store in a PostgreSQL database, which all nodes share.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterTable {
    /// The name of this node. No other node may have it. Default: the name of the machine.
    pub name: Option<String>,
    /// After this time without a sign of life, in milliseconds, the other nodes count this node as dead. All nodes must have the
    /// same value. Default 10,000.
    pub lease_ms: u64,
    /// What carries the messages between the nodes: `"postgres"`, or a table with the key `nats`. Default `"postgres"`.
    pub bus: ClusterBus,
    /// A secret that all nodes have: `{ env = "NAME" }` or `{ file = "PATH" }`. With it, only nodes can make messages for nodes.
    pub secret: Option<SecretSource>,
    /// Patterns of topics whose clients a balancer sends to the same node. Only such topics may have rooms or turns.
    pub sticky: Vec<String>,
    /// What happens to members of topics of which messages were lost: `"rejoin"` or `"ignore"`. Default `"rejoin"`.
    pub on_loss: OnLoss,
}

/// What carries the messages between nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClusterBus {
    /// The database of the store.
    #[default]
    Postgres,
    /// NATS.
    Nats(Box<NatsTable>),
}

/// The file in which Linux shows the name of the machine, or of the container.
const MACHINE_NAME: &str = "/proc/sys/kernel/hostname";

/// The longest `lease_ms`.
const LEASE_MS_MAX: u64 = 600_000;

impl Default for ClusterTable {
    fn default() -> Self {
        Self {
            name: None,
            lease_ms: 10_000,
            bus: ClusterBus::default(),
            secret: None,
            sticky: Vec::new(),
            on_loss: OnLoss::default(),
        }
    }
}

impl ClusterTable {
    /// Checks the table, and what a node of a cluster can't have.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check(&self, config: &Config) -> Result<()> {
        ensure!(
            config.store.url.is_some(),
            "`cluster` needs a store that all nodes share: give `url` in the table `store`; `bennu docs cluster` says more"
        );
        let least = u64::try_from(LEASE_MIN.as_millis()).unwrap_or(u64::MAX);
        ensure!(
            (least..=LEASE_MS_MAX).contains(&self.lease_ms),
            "`cluster.lease_ms` is {}; it must be from {least} to {LEASE_MS_MAX}",
            self.lease_ms
        );
        if let Some(name) = &self.name {
            check_name(name).context("`cluster.name`")?;
        }
        if let Some(secret) = &self.secret {
            secret.check().context("`cluster.secret`")?;
        }
        if let ClusterBus::Nats(nats) = &self.bus {
            nats.check()?;
        }
        self.placement()?;
        ensure!(
            config.webhooks.is_empty(),
            "a host with `cluster` can't have `webhooks`: their deliveries would be known only to the node that stored them"
        );
        if let Some((plugin, _)) = config.cron_lines()?.first() {
            bail!(
                "a host with `cluster` can't have cron lines, such as those of `plugins.{plugin}`: each node would run them"
            );
        }
        Ok(())
    }

    /// Which routes the node may serve.
    ///
    /// # Errors
    /// If one of the patterns isn't a pattern.
    pub fn placement(&self) -> Result<Placement> {
        Ok(Placement::InCluster { sticky: self.sticky()? })
    }

    /// The topics whose clients a balancer sends to the same node.
    ///
    /// # Errors
    /// If one of the patterns isn't a pattern.
    pub fn sticky(&self) -> Result<Arc<[Pattern]>> {
        let pattern = |text: &String| Pattern::parse(text).with_context(|| format!("`cluster.sticky`: `{text}`"));
        self.sticky.iter().map(pattern).collect()
    }

    /// The lease.
    #[must_use]
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    /// The name of this node: the one of the file, or the machine's.
    ///
    /// # Errors
    /// If the machine's name can't be the name of a node.
    pub fn node_name(&self) -> Result<String> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let name = std::fs::read_to_string(MACHINE_NAME).unwrap_or_default().trim().to_owned();
        check_name(&name).context("this machine has no name that a node can have; give `cluster.name`")?;
        Ok(name)
    }

    /// Reads the secret.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn secret(&self, beside: &Path) -> Result<Option<Secret>> {
        let read = |source: &SecretSource| -> Result<Secret> { Ok(Secret::new(source.read(beside)?.expose()?.trim())) };
        self.secret.as_ref().map(read).transpose().context("`cluster.secret` can't be used")
    }
}

impl<'de> Deserialize<'de> for ClusterBus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReadingBus)
    }
}

struct ReadingBus;

impl<'de> Visitor<'de> for ReadingBus {
    type Value = ClusterBus;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`\"postgres\"`, or a table with `nats`")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ClusterBus, E> {
        match text {
            "postgres" => Ok(ClusterBus::Postgres),
            other => Err(E::invalid_value(Unexpected::Str(other), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ClusterBus, A::Error> {
        NatsTable::deserialize(MapAccessDeserializer::new(map)).map(Box::new).map(ClusterBus::Nats)
    }
}

fn check_name(name: &str) -> Result<()> {
    ensure!(
        !name.is_empty() && name.len() <= NAME_BYTES_MAX,
        "it must have 1 to {NAME_BYTES_MAX} bytes, not {}",
        name.len()
    );
    ensure!(!name.chars().any(char::is_control), "it must have no control characters");
    Ok(())
}
