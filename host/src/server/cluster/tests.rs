//! Hosts as nodes of a cluster in memory, and what the table `cluster` needs.

pub(super) use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) use bennu_cluster::MemoryTable;
use bennu_cluster::rollout::MemoryRegistry;
use bennu_cluster::{MemoryBus, TableError};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
pub(super) use serde_json::Value;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
pub(super) use tokio::time::timeout;

use super::*;
use crate::server::config::ClusterTable;
use crate::server::limits::Limits;
use crate::server::{Ended, Host, Start, api_key_file};

/// How long a condition may take. A busy machine is slow, and no test fails because of that.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct MemoryBlocks(AtomicU64);

impl MemberBlocks for MemoryBlocks {
    fn next(&self) -> BoxFuture<'_, Result<u64, TableError>> {
        std::future::ready(Ok(self.0.fetch_add(1, Ordering::Relaxed) + 1)).boxed()
    }
}

pub(super) struct Running {
    address: std::net::SocketAddr,
    key: String,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), Ended>>,
}

pub(super) async fn start(home: &Path, name: &str, seams: &ClusterSeams) -> Result<Running> {
    start_with(home, name, "plugins", seams).await
}

/// Each instance takes two mappings of its host's process, and Linux allows a process 65,530: too few for eight hosts with the default.
pub(super) fn few_instances() -> Limits {
    Limits { instances: 64, ..Limits::default() }
}

/// Starts a host with the plugins of a directory.
pub(super) async fn start_with(home: &Path, name: &str, plugins: &str, seams: &ClusterSeams) -> Result<Running> {
    let plugins = home.join(plugins);
    std::fs::create_dir_all(&plugins)?;
    let table = ClusterTable { name: Some(name.into()), lease_ms: 30_000, ..ClusterTable::default() };
    let config = Config {
        listen: "127.0.0.1:0".into(),
        load: vec![plugins],
        data: home.join(name),
        cache: Some(home.join("cache")),
        cluster: Some(table),
        drain_ms: Some(0),
        limits: few_instances(),
        ..Config::default()
    };
    let host = Host::start_with(&config, Start { seams: Some(seams.clone()), ..Start::default() }).await?;
    let (address, key) = (host.address()?, std::fs::read_to_string(api_key_file(&config.data))?);
    let (stop, stopped) = oneshot::channel();
    let ended = tokio::spawn(host.serve(async move { drop(stopped.await) }));
    Ok(Running { address, key: key.trim().to_owned(), stop, ended })
}

pub(super) async fn ask(host: &Running, call: &str, body: &str) -> Result<Value> {
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

/// The status with which the mount of a host answers a client that connects.
pub(super) async fn connect(host: &Running) -> Result<String> {
    let mut connection = TcpStream::connect(host.address).await?;
    let head = "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    connection.write_all(head.as_bytes()).await?;
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        line.push(connection.read_u8().await?);
    }
    Ok(String::from_utf8(line)?.split(' ').nth(1).context("a status")?.to_owned())
}

pub(super) fn seams(table: &Arc<MemoryTable>) -> ClusterSeams {
    let bus = Arc::new(MemoryBus::new());
    let registry = Arc::new(MemoryRegistry::new(Arc::clone(table)));
    ClusterSeams { table: Arc::clone(table) as _, bus, blocks: Arc::<MemoryBlocks>::default(), registry }
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
    let refused = |table: &ClusterTable, text: &str| format!("{:#}", table.check(&config(text)).expect_err("refused"));
    assert!(table.check(&config(with_store)).is_ok());
    assert!(refused(&table, "").contains("needs a store that all nodes share"));
    assert!(refused(&ClusterTable { lease_ms: 999, ..table.clone() }, with_store).contains("from 1000 to 600000"));
    assert!(
        refused(&ClusterTable { name: Some(String::new()), ..table.clone() }, with_store).contains("`cluster.name`")
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
