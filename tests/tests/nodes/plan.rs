//! How the hosts of a test are configured as nodes, and what they say of one another.

use anyhow::{Context, Result, ensure};
use bennu_tests::{Answer, Setup, TestHost, eventually, get, request};
use serde_json::Value;

/// What the nodes of a cluster have in common.
#[derive(Clone)]
pub(crate) struct Plan {
    url: String,
    guests: &'static [&'static str],
    /// Keys before all tables.
    top: String,
    /// Keys of the table `cluster`.
    keys: String,
    /// Keys of the table `store`.
    store: String,
    /// Tables of the configuration.
    tables: String,
}

/// The environment variable with the length of the leases of tests that wait until a node is dead, in milliseconds.
const LEASE: &str = "BENNU_TEST_LEASE_MS";

/// The length of a lease that a test waits for, in milliseconds: the shortest that can be configured, unless the environment says otherwise.
/// `cargo xtask test full` runs such tests with the default of 10 s, too.
pub(crate) fn lease_ms() -> u64 {
    std::env::var(LEASE).ok().and_then(|text| text.parse().ok()).unwrap_or(1_000)
}

/// The secret of the clusters of these tests, which would warn without one.
pub(crate) const SECRET: (&str, &str) = ("BENNU_CLUSTER_SECRET", "known to all nodes of a test");

impl Plan {
    /// Nodes with their store in a database, with the usual lease of 10 s.
    pub(crate) fn on(url: &str) -> Self {
        let url = url.to_owned();
        let [top, keys, store, tables] = [const { String::new() }; 4];
        Self { url, guests: &["echo", "ledger"], top, keys, store, tables }
    }

    /// Sets the plugins.
    pub(crate) fn guests(self, guests: &'static [&'static str]) -> Self {
        Self { guests, ..self }
    }

    /// Adds a line before all tables.
    pub(crate) fn top(mut self, line: &str) -> Self {
        self.top += &format!("{line}\n");
        self
    }

    /// Adds a line to the table `cluster`.
    pub(crate) fn key(mut self, line: &str) -> Self {
        self.keys += &format!("{line}\n");
        self
    }

    /// Sets a lease that is short enough to wait for: [`lease_ms`].
    pub(crate) fn lease(self) -> Self {
        self.key(&format!("lease_ms = {}", lease_ms()))
    }

    /// Adds a line to the table `store`.
    pub(crate) fn store(mut self, line: &str) -> Self {
        self.store += &format!("{line}\n");
        self
    }

    /// Adds tables.
    pub(crate) fn tables(mut self, text: &str) -> Self {
        self.tables += &format!("{text}\n");
        self
    }

    /// The options of a host with this name.
    pub(crate) fn setup(&self, name: &str) -> Result<Setup> {
        let Self { url, guests, top, keys, store, tables } = self;
        let (variable, secret) = SECRET;
        // There is no balancer that has to notice a stop.
        let drain = if top.contains("drain_ms") { "" } else { "drain_ms = 0\n" };
        let config = format!(
            "{drain}{top}[store]\nurl = {url:?}\n{store}[cluster]\nname = {name:?}\nsecret = {{ env = {variable:?} }}\n{keys}{tables}"
        );
        Ok(Setup::new().guests(guests)?.config(&config).variable(variable, secret))
    }

    pub(crate) async fn start(&self, name: &str) -> Result<TestHost> {
        self.setup(name)?.start().await.with_context(|| format!("starting the node {name}"))
    }

    /// Starts three nodes, one after the other. Each serves when the others hear it.
    pub(crate) async fn start_three(&self) -> Result<[TestHost; 3]> {
        Ok([self.start("one").await?, self.start("two").await?, self.start("three").await?])
    }

    /// Starts a host that must refuse to start, and returns what it says.
    pub(crate) async fn refusal(&self, name: &str) -> Result<String> {
        let refused = self.setup(name)?.start().await.err().context("the host has started")?;
        Ok(format!("{refused:#}"))
    }
}

/// The answer to `GET /api/cluster`.
pub(crate) async fn cluster(host: &TestHost) -> Result<Value> {
    let answer = get(host.address(), "/api/cluster").await?;
    ensure!(answer.status == 200, "{answer:?}");
    answer.json()
}

/// The state of the last start of a node, as a host knows it. Empty if it doesn't know the node.
pub(crate) async fn state(host: &TestHost, name: &str) -> Result<String> {
    let cluster = cluster(host).await?;
    let nodes = cluster["nodes"].as_array().context("nodes")?;
    let last = nodes.iter().filter(|node| node["name"] == name).max_by_key(|node| node["epoch"].as_u64());
    Ok(last.and_then(|node| node["state"].as_str()).unwrap_or_default().to_owned())
}

/// Waits until a host knows a node in this state.
pub(crate) async fn knows(host: &TestHost, name: &str, wanted: &str) -> Result<()> {
    eventually(&format!("{name} is {wanted}"), async || Ok((state(host, name).await? == wanted).then_some(()))).await
}

/// The value of a counter without labels.
pub(crate) async fn counted(host: &TestHost, name: &str) -> Result<u64> {
    let metrics = get(host.address(), "/metrics").await?.body;
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.with_context(|| format!("there is no metric {name}"))
}

/// The answer to `GET /readyz` with the reasons.
pub(crate) async fn readiness(host: &TestHost) -> Result<Answer> {
    let key = format!("Bearer {}", host.api_key()?);
    request(host.address(), "GET", "/readyz", &[("authorization", &key)]).await
}

/// Waits until a host is ready.
pub(crate) async fn is_ready(host: &TestHost) -> Result<()> {
    eventually("the host is ready", async || Ok((readiness(host).await?.status == 200).then_some(()))).await
}

/// Makes a call of the API, and returns its answer.
pub(crate) async fn post(host: &TestHost, path: &str, body: &Value) -> Result<Value> {
    let answer = host.post(path, body).await?;
    ensure!(answer.status == 200, "{answer:?}");
    answer.json()
}
