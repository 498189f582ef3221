//! How a host becomes a node of a cluster, and how it leaves.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bennu_cluster::{Bus, Cluster, ClusterEvents, ClusterLimits, ClusterOptions, NodeTable, Speaks};
use bytes::Bytes;

use super::Config;
use super::config::ClusterTable;
use super::vital::Vital;
use crate::api::{Api, inspected};
use crate::channel::{Node, NodeIdentity};
use crate::cluster::{
    Inspect, MemberBlocks, OnLoss, Peers, Receiver, Rejoining, Telling, VERSION, give_first_block, join_cluster,
    keep_giving_blocks, run,
};
use crate::health::{Draining, Health};
use crate::plugin::Loader;
use crate::routes::Placement;

/// How long a host waits at its start for nodes that don't hear it. They may be dead, and the table doesn't say so yet.
const CONNECTED_MAX: Duration = Duration::from_secs(5);

/// What a node needs outside of itself.
#[derive(Clone)]
pub struct ClusterSeams {
    /// Says who is alive.
    pub table: Arc<dyn NodeTable>,
    /// Carries messages.
    pub bus: Arc<dyn Bus>,
    /// Gives numbers for members.
    pub blocks: Arc<dyn MemberBlocks>,
}

/// The cluster that a host enters.
pub struct ClusterStart {
    /// Its place in the cluster.
    pub table: ClusterTable,
    /// What it needs outside of itself.
    pub seams: ClusterSeams,
}

/// A host before it serves: a node of a cluster, or alone.
pub(super) enum ClusterNode {
    Alone,
    In(Box<EnteringNode>),
}

/// A node that has entered its cluster, and has no clients yet.
pub(super) struct EnteringNode {
    cluster: Cluster,
    events: ClusterEvents,
    blocks: Arc<dyn MemberBlocks>,
    on_loss: OnLoss,
    placement: Placement,
}

/// The cluster of a host that serves, if it has one.
pub(super) struct EnteredCluster(Option<Cluster>);

impl ClusterNode {
    /// Enters the cluster, if there is one. Nobody hears of this node's clients yet, because it has none.
    ///
    /// # Errors
    /// If another node has the name, or the table or the bus can't be used.
    pub(super) async fn start(config: &Config, start: Option<ClusterStart>) -> Result<Self> {
        let Some(ClusterStart { table, seams }) = start else { return Ok(Self::Alone) };
        let name = table.node_name()?;
        let options = ClusterOptions {
            name: name.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            speaks: Speaks { from: VERSION.into(), to: VERSION.into() },
            lease: table.lease(),
            secret: table.secret(&config.beside)?,
            over: None,
            limits: ClusterLimits::default(),
        };
        let ClusterSeams { table: nodes, bus, blocks } = seams;
        let entered = Cluster::start(options, nodes, bus).await;
        let (cluster, events) = entered.map_err(|error| anyhow!(error)).context("this host can't enter its cluster")?;
        tracing::info!(node = name, epoch = cluster.me().epoch.0, "this host is a node of a cluster");
        if table.secret.is_none() {
            tracing::warn!(
                "the messages between nodes have no `cluster.secret`, so whoever reaches the bus can make some"
            );
        }
        let (on_loss, placement) = (table.on_loss, table.placement()?);
        Ok(Self::In(Box::new(EnteringNode { cluster, events, blocks, on_loss, placement })))
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
        let peers = Peers::new(Arc::new(entering.cluster.clone()), node.store.clone());
        join_cluster(&node, &peers);
        Ok((node, Some(peers)))
    }

    /// Lets a loader load only plugins that a node of a cluster may serve.
    pub(super) fn placed(&self, loader: Loader) -> Loader {
        match self {
            Self::Alone => loader,
            Self::In(node) => Loader { placement: node.placement.clone(), ..loader },
        }
    }

    /// Starts the tasks of the node, and waits until the other nodes hear it, before the first client connects. The first task ends
    /// when other nodes may count this node as dead, and the host with it.
    pub(super) async fn enter(
        self,
        vital: &mut Vital,
        node: &Arc<Node>,
        peers: Option<&Arc<Peers>>,
        api: Option<&Arc<Api>>,
    ) -> EnteredCluster {
        let (Self::In(entering), Some(peers)) = (self, peers) else { return EnteredCluster(None) };
        let EnteringNode { cluster, events, blocks, on_loss, .. } = *entering;
        let rejoining = Rejoining::new(on_loss);
        let inspect = api.map(inspect);
        let receiver = Receiver::new(Arc::clone(node), Arc::clone(peers), Arc::clone(&rejoining), inspect);
        let telling = Telling::new(Arc::clone(node), Arc::clone(peers));
        let pressure = Arc::clone(&node.pubsub.pressure);
        vital.spawn("the place of this host in its cluster", run(receiver, telling, events, pressure));
        vital.spawn("the task that has members join again", rejoining.run(Arc::clone(node), Arc::clone(peers)));
        vital.spawn("the task that reserves numbers for members", keep_giving_blocks(Arc::clone(node), blocks));
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

/// Answers what an operator asks at another node.
fn inspect(api: &Arc<Api>) -> Inspect {
    let api = Arc::clone(api);
    Arc::new(move || {
        let api = Arc::clone(&api);
        Box::pin(async move { Bytes::from(inspected(&api).await.to_string()) })
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicU64, Ordering};

    use bennu_cluster::{MemoryBus, MemoryTable, TableError};
    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;
    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    use super::*;
    use crate::server::{Ended, Host, Start, api_key_file};

    /// How long a condition may take. A busy machine is slow, and no test fails because of that.
    const PATIENCE: Duration = Duration::from_secs(60);

    #[derive(Default)]
    struct MemoryBlocks(AtomicU64);

    impl MemberBlocks for MemoryBlocks {
        fn next(&self) -> BoxFuture<'_, Result<u64, TableError>> {
            std::future::ready(Ok(self.0.fetch_add(1, Ordering::Relaxed) + 1)).boxed()
        }
    }

    struct Running {
        address: std::net::SocketAddr,
        key: String,
        stop: oneshot::Sender<()>,
        ended: JoinHandle<Result<(), Ended>>,
    }

    async fn start(home: &Path, name: &str, seams: &ClusterSeams) -> Result<Running> {
        let plugins = home.join("plugins");
        std::fs::create_dir_all(&plugins)?;
        let config = Config {
            listen: "127.0.0.1:0".into(),
            load: vec![plugins],
            data: home.join(name),
            cache: Some(home.join("cache")),
            ..Config::default()
        };
        let table = ClusterTable { name: Some(name.into()), lease_ms: 30_000, ..ClusterTable::default() };
        let cluster = Some(ClusterStart { table, seams: seams.clone() });
        let host = Host::start_with(&config, Start { cluster, ..Start::default() }).await?;
        let (address, key) = (host.address()?, std::fs::read_to_string(api_key_file(&config.data))?);
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(host.serve(async move { drop(stopped.await) }));
        Ok(Running { address, key: key.trim().to_owned(), stop, ended })
    }

    async fn ask(host: &Running, call: &str, body: &str) -> Result<Value> {
        let mut connection = TcpStream::connect(host.address).await?;
        let head = format!(
            "{call} HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            host.key,
            body.len()
        );
        connection.write_all(head.as_bytes()).await?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await?;
        let (_, body) = answer.split_once("\r\n\r\n").context("a body")?;
        serde_json::from_str(body).with_context(|| answer.clone())
    }

    fn seams(table: &Arc<MemoryTable>) -> ClusterSeams {
        let bus = Arc::new(MemoryBus::new());
        ClusterSeams { table: Arc::clone(table) as _, bus, blocks: Arc::<MemoryBlocks>::default() }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn two_hosts_answer_for_each_other_and_one_leaves() -> Result<()> {
        let (home, table) = (tempfile::tempdir()?, Arc::new(MemoryTable::new()));
        let seams = seams(&table);
        let one = start(home.path(), "one", &seams).await?;
        let two = start(home.path(), "two", &seams).await?;
        // A host serves when the others hear it, so nothing has to be waited for.
        let cluster = ask(&one, "GET /api/cluster", "").await?;
        let states = |cluster: &Value| -> Vec<(String, String)> {
            let nodes = cluster["nodes"].as_array().cloned().unwrap_or_default();
            let text = |node: &Value, field: &str| node[field].as_str().unwrap_or_default().to_owned();
            nodes.iter().map(|node| (text(node, "name"), text(node, "state"))).collect()
        };
        assert_eq!(states(&cluster), [("one".to_owned(), "own".to_owned()), ("two".to_owned(), "up".to_owned())]);
        assert_eq!((&cluster["node"], &cluster["is_good"]), (&json!("one"), &json!(true)));
        let closed = ask(&two, "POST /api/disconnect", r#"{"id":"user:1"}"#).await?;
        assert_eq!(closed, json!({ "sockets": 0, "asked": 2, "answered": 2 }));
        let topic = ask(&one, "GET /api/topics/room%3Aa", "").await?;
        assert_eq!(topic, json!({ "topic": "room:a", "members": 0, "people": [], "asked": 2, "answered": 2 }));
        let inspected = ask(&one, "GET /api/inspect?cluster=true", "").await?;
        assert_eq!(inspected["answered"], json!(2));
        assert!(inspected["nodes"]["one"]["sockets"].is_u64() && inspected["nodes"]["two"]["sockets"].is_u64());
        let Running { stop, ended, .. } = two;
        drop(stop);
        timeout(PATIENCE, ended).await???;
        let gone = async {
            while states(&ask(&one, "GET /api/cluster", "").await?).contains(&("two".to_owned(), "up".to_owned())) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok::<_, anyhow::Error>(())
        };
        timeout(PATIENCE, gone).await??;
        let closed = ask(&one, "POST /api/disconnect", r#"{"id":"user:1"}"#).await?;
        assert_eq!(closed, json!({ "sockets": 0, "asked": 1, "answered": 1 }));
        // Its name is free.
        let again = start(home.path(), "two", &seams).await?;
        drop(again.stop);
        timeout(PATIENCE, again.ended).await???;
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_host_whose_row_is_gone_ends_and_says_so() -> Result<()> {
        let (home, table) = (tempfile::tempdir()?, Arc::new(MemoryTable::new()));
        let one = start(home.path(), "one", &seams(&table)).await?;
        let epoch = ask(&one, "GET /api/cluster", "").await?["epoch"].as_u64().context("an epoch")?;
        table.lose(bennu_cluster::Epoch(epoch));
        let ended = timeout(PATIENCE, one.ended).await??;
        let text = ended.err().context("it ended without an error")?.to_string();
        assert!(text.contains("the place of this host in its cluster has ended"), "{text}");
        Ok(())
    }

    #[test]
    fn what_a_cluster_needs_is_checked() {
        let config = |text: &str| Config::parse(text).expect("a configuration");
        let table = ClusterTable::default();
        let with_store = "[store]\nurl = \"postgres://me@127.0.0.1/app\"\n";
        let refused =
            |table: &ClusterTable, text: &str| format!("{:#}", table.check(&config(text)).expect_err("refused"));
        assert!(table.check(&config(with_store)).is_ok());
        assert!(refused(&table, "").contains("needs a store that all nodes share"));
        assert!(refused(&ClusterTable { lease_ms: 999, ..table.clone() }, with_store).contains("from 1000 to 600000"));
        assert!(
            refused(&ClusterTable { name: Some(String::new()), ..table.clone() }, with_store)
                .contains("`cluster.name`")
        );
        let sticky = ClusterTable { sticky: vec!["a*b".into()], ..table.clone() };
        assert!(refused(&sticky, with_store).contains("`cluster.sticky`: `a*b`"));
        let hook = format!("{with_store}[[webhooks]]\nurl = \"https://example.com\"\ntopics = [\"a\"]\n");
        assert!(refused(&table, &hook).contains("can't have `webhooks`"));
        let read: ClusterTable =
            toml::from_str("bus = \"postgres\"\non_loss = \"ignore\"\nsticky = [\"game:*\"]").expect("a table");
        assert_eq!((read.on_loss, read.lease_ms), (OnLoss::Ignore, 10_000));
        assert!(toml::from_str::<ClusterTable>("on_loss = \"maybe\"").is_err());
    }
}
