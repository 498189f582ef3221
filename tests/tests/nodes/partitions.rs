//! A node whose network is cut: its packets are lost, in a network namespace of its own. Where the machine allows none, `deaths` has the same
//! cases with a relay, which holds the bytes back.

use anyhow::{Result, ensure};
use bennu_tests::{Namespace, PostgresServer, TestHost, eventually, get};
use serde_json::json;

use crate::plan::{Plan, is_ready, knows, readiness};
use crate::together::{audit, deposit_from_all, members};

/// A node that a test can cut off from the database, and another one.
struct Pair {
    namespace: Namespace,
    near: TestHost,
    /// The node in the namespace.
    far: TestHost,
    /// The plan of the node in the namespace.
    plan: Plan,
    /// Dropped last.
    _server: PostgresServer,
}

/// Starts both, or says why that isn't possible here.
async fn pair(lease: impl Fn(Plan) -> Plan) -> Result<Option<Pair>> {
    let namespace = match Namespace::create() {
        Ok(namespace) => namespace,
        Err(error) => {
            bennu_test_tiers::note_skipped(&format!("there are no network namespaces: {error:#}"));
            return Ok(None);
        }
    };
    let mut server = PostgresServer::start()?;
    server.listen_on(&namespace.outside())?;
    server.stop()?;
    server.start_again()?;
    let url = server.database("partitions")?;
    let near = lease(Plan::on(&url)).start("near").await?;
    let outside = format!("{}:{}", namespace.outside(), server.port());
    let plan = lease(Plan::on(&format!("postgres://postgres@{outside}/partitions?sslmode=disable")));
    let far = plan.setup("far")?.namespace(&namespace).start().await?;
    Ok(Some(Pair { namespace, near, far, plan, _server: server }))
}

/// The node is suspended, its members reach each other, and the other one counts it as dead. When the network is back, it ends, and nobody has
/// heard what it sent.
#[tokio::test]
async fn a_node_whose_packets_are_lost_for_longer_than_its_lease_is_over() -> Result<()> {
    let Some(Pair { namespace, near, mut far, plan, _server }) = pair(Plan::lease).await? else { return Ok(()) };
    let mut clients = members(&[&near, &far, &far], "echo:1").await?;
    is_ready(&far).await?;
    namespace.cut(true)?;
    eventually("it is suspended", async || {
        let answer = readiness(&far).await?;
        Ok(answer.body.contains("this node is suspended, because it can't renew its lease").then_some(()))
    })
    .await?;
    let shout = json!([null, null, "echo:1", "shout", { "alone": true }]);
    clients[1].push("echo:1", "shout", &json!({ "alone": true })).await?;
    clients[1].expect(&shout).await?;
    clients[2].expect(&shout).await?;
    knows(&near, "far", "dead").await?;
    namespace.cut(false)?;
    let status = far.ended().await?;
    ensure!(!status.success(), "{status}");
    clients[0].quiet().await?;
    // Its name is free, and the way works.
    let far = plan.setup("far")?.namespace(&namespace).start().await?;
    deposit_from_all(&[near, far], 2).await
}

/// What is sent meanwhile comes late, in order, in both directions, and nothing that was acknowledged is lost.
#[tokio::test]
async fn packets_that_are_lost_for_less_than_the_lease_are_sent_again() -> Result<()> {
    let pair = pair(|plan| plan.key("lease_ms = 600000")).await?;
    let Some(Pair { namespace, near, far, plan: _, _server }) = pair else { return Ok(()) };
    let hosts = [near, far];
    let mut clients = members(&hosts, "echo:1").await?;
    deposit_from_all(&hosts, 2).await?;
    for round in 0..3 {
        namespace.cut(true)?;
        for (sender, client) in clients.iter_mut().enumerate() {
            for number in 0..10 {
                let sent = json!({ "sender": sender, "round": round, "number": number });
                client.push("echo:1", "shout", &sent).await?;
                client.expect(&json!([null, null, "echo:1", "shout", sent])).await?;
            }
        }
        namespace.cut(false)?;
        for (at, client) in clients.iter_mut().enumerate() {
            for number in 0..10 {
                let sent = json!({ "sender": 1 - at, "round": round, "number": number });
                client.expect(&json!([null, null, "echo:1", "shout", sent])).await?;
            }
        }
    }
    deposit_from_all(&hosts, 2).await?;
    for host in &hosts {
        ensure!(audit(host).await?["sum"] == 16);
        ensure!(get(host.address(), "/metrics").await?.body.contains("bennu_cluster_losses_total 0\n"));
    }
    Ok(())
}
