//! The nodes of a cluster, each as a separate process.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bennu_test_engines::{NatsServer, PostgresServer};
use tempfile::TempDir;

use crate::client::Client;
use crate::host::{Host, guest};

/// The names of the nodes.
const NAMES: [&str; 3] = ["one", "two", "three"];

/// The plugin in Rust whose callback reads and writes a key. Its topics begin with its name.
pub(super) const LEDGER: &str = "ledger";

/// Plugins that do the same, each with topics and a store of its own: copies of a script, because the topics of a built file can't be changed.
pub(super) const COPIES: [&str; 3] = ["first", "second", "third"];

/// Three nodes with a database of their own. Dropping the value ends them.
pub(super) struct Nodes {
    hosts: Vec<Host>,
    /// The secret of the cluster, and the plugins.
    _home: TempDir,
}

impl Nodes {
    /// Starts three nodes, whose messages go through PostgreSQL if no other bus is given.
    pub(super) fn start(
        binary: &Path,
        database: &str,
        postgres: &PostgresServer,
        nats: Option<&NatsServer>,
    ) -> Result<Self> {
        let (url, home) = (postgres.database(database)?, tempfile::tempdir()?);
        let secret = home.path().join("secret");
        fs::write(&secret, "known to all nodes of a measurement")?;
        let plugins = plugins(home.path())?;
        let bus = nats.map_or_else(String::new, |server| format!("bus = {{ nats = {:?} }}\n", server.url()));
        let start = |name| {
            let config = format!(
                "drain_ms = 0\n[store]\nurl = {url:?}\n\
                 [cluster]\nname = {name:?}\nsecret = {{ file = {secret:?} }}\n{bus}[limits]\nstop_ms = 1\n"
            );
            Host::serve(binary, &plugins, &config).with_context(|| format!("starting the node {name}"))
        };
        Ok(Self { hosts: NAMES.into_iter().map(start).collect::<Result<_>>()?, _home: home })
    }

    pub(super) fn count(&self) -> usize {
        self.hosts.len()
    }

    /// Connects a client to a node. Nodes are counted from 0, and after the last one comes the first.
    pub(super) async fn connect(&self, node: usize) -> Result<Client> {
        Client::connect(self.hosts[node % self.hosts.len()].address).await
    }
}

/// Joins a topic, as the only member of a socket with this topic.
pub(super) async fn join(client: &mut Client, topic: &str) -> Result<()> {
    client.send(format!(r#"["1","1","{topic}","phx_join",{{}}]"#)).await?;
    let answer = client.next().await?;
    ensure!(answer.contains(r#""status":"ok""#), "{answer}");
    Ok(())
}

/// Adds one to an account, and waits for the answer.
pub(super) async fn deposit(client: &mut Client, topic: &str, account: &str) -> Result<()> {
    client.send(format!(r#"["1","2","{topic}","deposit",{{"to":"{account}","n":1}}]"#)).await?;
    let answer = client.next().await?;
    ensure!(answer.contains(r#""status":"ok""#), "{answer}");
    Ok(())
}

/// The plugins `echo` and `ledger`, and the copies of the script.
fn plugins(home: &Path) -> Result<Vec<PathBuf>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join("accounts.ts");
    let script = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(script.contains(TOPICS), "{} has no topics {TOPICS}", path.display());
    let mut plugins = vec![guest("echo"), guest(LEDGER)];
    for name in COPIES {
        let path = home.join(name).with_extension("ts");
        fs::write(&path, script.replace(TOPICS, &format!("{name}:*")))
            .with_context(|| format!("cannot write {}", path.display()))?;
        plugins.push(path);
    }
    Ok(plugins)
}

/// The topics of the script.
const TOPICS: &str = "accounts:*";
