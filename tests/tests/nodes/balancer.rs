//! A balancer that asks the nodes whether they are ready, as docs/cluster.md says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use bennu_tests::{Relay, TestHost, get};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// The pause between two checks.
const CHECK_EVERY: Duration = Duration::from_millis(50);

/// How long a node may take to answer a check. One that takes longer isn't ready.
const CHECK_MAX: Duration = Duration::from_secs(2);

/// A balancer. New connections go in turn to the nodes that answer `GET /readyz` with 200. A node that refuses a connection before the next
/// check is passed over. Connections that are there stay. Dropping the value ends them.
pub(crate) struct Balancer {
    relay: Arc<Relay>,
    nodes: Arc<Mutex<Vec<SocketAddr>>>,
    checks: JoinHandle<()>,
}

impl Balancer {
    /// Starts a balancer of these hosts.
    pub(crate) async fn start<'a>(hosts: impl IntoIterator<Item = &'a TestHost>) -> Result<Self> {
        let nodes = Arc::new(Mutex::new(addresses(hosts)));
        let relay = Arc::new(Relay::start(&[]).await?);
        let checks = tokio::spawn(check(Arc::clone(&relay), Arc::clone(&nodes)));
        Ok(Self { relay, nodes, checks })
    }

    /// The port on which it listens.
    pub(crate) fn port(&self) -> u16 {
        self.relay.port()
    }

    /// Tells it where the nodes are now: a host that was started again has another address.
    pub(crate) fn know<'a>(&self, hosts: impl IntoIterator<Item = &'a TestHost>) {
        *self.nodes.lock().unwrap_or_else(PoisonError::into_inner) = addresses(hosts);
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.checks.abort();
    }
}

fn addresses<'a>(hosts: impl IntoIterator<Item = &'a TestHost>) -> Vec<SocketAddr> {
    hosts.into_iter().map(TestHost::address).collect()
}

/// Asks all nodes, again and again.
async fn check(relay: Arc<Relay>, nodes: Arc<Mutex<Vec<SocketAddr>>>) {
    loop {
        let known = nodes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut ready = Vec::new();
        for node in known {
            let answer = timeout(CHECK_MAX, get(node, "/readyz")).await;
            if matches!(answer, Ok(Ok(answer)) if answer.status == 200) {
                ready.push(node.port());
            }
        }
        relay.redirect(&ready);
        sleep(CHECK_EVERY).await;
    }
}
