//! Nodes whose messages go through NATS.

use anyhow::{Result, ensure};
use bennu_tests::{NatsServer, eventually};
use serde_json::json;

use crate::database;
use crate::plan::{Plan, cluster, is_ready};
use crate::together::{audit, broadcast_from_all, deposit_from_all, members};

/// The users of the server: one that may send and hear, and one that only hears.
const USERS: &str = "authorization { users: [\n\
                     { user: \"bennu\", password: \"right\", permissions: { publish: \"bennu.>\", subscribe: \"bennu.>\" } }\n\
                     { user: \"deaf\", password: \"right\", permissions: { publish: \"bennu.>\", subscribe: \"other.>\" } }\n\
                     ] }";

/// Skips a test where there is no server.
fn server(configuration: &str) -> Result<Option<NatsServer>> {
    if !NatsServer::is_there() {
        bennu_test_tiers::note_skipped("there is no NATS server");
        return Ok(None);
    }
    NatsServer::start_with(configuration).map(Some)
}

fn on(url: &str, server: &NatsServer, user: &str) -> Plan {
    let login = format!("user = {user:?}, password = {{ file = \"nats.txt\" }}");
    Plan::on(url).key(&format!("bus = {{ nats = {:?}, {login} }}", server.url()))
}

async fn refusal(plan: &Plan, password: &str) -> Result<String> {
    let started = plan.setup("one")?.file("nats.txt", password.into()).start().await;
    Ok(format!("{:#}", started.err().ok_or_else(|| anyhow::anyhow!("the host has started"))?))
}

#[tokio::test]
async fn broadcasts_and_the_store_are_shared_and_the_server_may_restart() -> Result<()> {
    let Some(server) = server(USERS)? else { return Ok(()) };
    let (_, url) = database()?;
    let plan = on(&url, &server, "bennu");
    let mut hosts = Vec::new();
    for name in ["one", "two", "three"] {
        hosts.push(plan.setup(name)?.file("nats.txt", b"right".into()).start().await?);
    }
    let mut clients = members(&hosts, "echo:1").await?;
    broadcast_from_all(&mut clients, "echo:1").await?;
    deposit_from_all(&hosts, 3).await?;
    server.kill()?;
    // The store and the members of one node need no bus.
    ensure!(audit(&hosts[0]).await?["sum"] == 18);
    clients[0].push("echo:1", "shout", &json!({ "meanwhile": true })).await?;
    let shout = json!([null, null, "echo:1", "shout", { "meanwhile": true }]);
    clients[0].expect(&shout).await?;
    server.start_again()?;
    // What was sent meanwhile is sent again.
    for client in &mut clients[1..] {
        client.expect(&shout).await?;
    }
    broadcast_from_all(&mut clients, "echo:1").await?;
    for host in &hosts {
        is_ready(host).await?;
        eventually("the connection is there again", async || {
            Ok((cluster(host).await?["counts"]["losses"] == 0).then_some(()))
        })
        .await?;
        // The client library's own lines aren't logged.
        ensure!(
            host.log()
                .since(0)
                .iter()
                .all(|line| !line.field("target").starts_with("async_nats") || line.field("level") != "INFO")
        );
    }
    drop(clients);
    for host in hosts {
        host.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn servers_that_can_not_be_used_are_refused() -> Result<()> {
    let Some(server) = server(USERS)? else { return Ok(()) };
    let (_, url) = database()?;
    let plan = on(&url, &server, "bennu");
    let said = refusal(&plan, "wrong").await?;
    ensure!(said.contains("refuses the login") && !said.contains("wrong"), "{said}");
    let said = refusal(&on(&url, &server, "deaf"), "right").await?;
    ensure!(said.contains("let the user publish and subscribe to `bennu."), "{said}");
    server.kill()?;
    let said = refusal(&plan, "right").await?;
    ensure!(said.contains("can't be reached"), "{said}");
    Ok(())
}
