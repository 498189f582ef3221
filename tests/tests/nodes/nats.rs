//! Nodes whose messages go through NATS.

use std::time::Duration;

use anyhow::{Result, ensure};
use bennu_tests::{NatsServer, TestClient, TestHost, eventually, get};
use serde_json::json;
use tokio::time::timeout;

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

/// The bytes of the text of a long broadcast.
const LONG: usize = 400_000;

/// So many long broadcasts are more than a node keeps for a bus that is away.
const TOO_MANY: usize = 60;

/// The pause between two attempts, and their number.
const PAUSE: Duration = Duration::from_millis(100);
const ATTEMPTS: usize = 600;

/// Lets a node send more than it keeps while the bus is away. Returns the nodes, and a member at each.
async fn lose(plan: &Plan, server: &NatsServer) -> Result<(Vec<TestHost>, Vec<TestClient>)> {
    let mut hosts = Vec::new();
    for name in ["one", "two"] {
        hosts.push(plan.setup(name)?.file("nats.txt", b"right".into()).start().await?);
    }
    let mut clients = members(&hosts, "echo:1").await?;
    broadcast_from_all(&mut clients, "echo:1").await?;
    server.kill()?;
    let text = "7".repeat(LONG);
    for number in 0..TOO_MANY {
        let long = json!({ "number": number, "text": text });
        clients[0].push("echo:1", "shout", &long).await?;
        clients[0].expect(&json!([null, null, "echo:1", "shout", long])).await?;
    }
    server.start_again()?;
    Ok((hosts, clients))
}

/// The value of a counter without labels.
async fn counted(host: &TestHost, name: &str) -> Result<u64> {
    let metrics = get(host.address(), "/metrics").await?.body;
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.ok_or_else(|| anyhow::anyhow!("there is no metric {name}"))
}

/// Nobody is left with less than the others without being told: a member that may have missed something has to join again.
#[tokio::test]
async fn members_of_a_topic_of_which_messages_were_lost_join_again() -> Result<()> {
    let Some(server) = server(USERS)? else { return Ok(()) };
    let (_, url) = database()?;
    let (hosts, mut clients) = lose(&on(&url, &server, "bennu"), &server).await?;
    let mut next = 0;
    loop {
        let frame = clients[1].json().await?;
        if frame[3] == "phx_error" {
            break;
        }
        ensure!(
            frame[3] == "shout" && frame[4]["number"] == next,
            "{next} was expected, and {} came",
            frame[4]["number"]
        );
        next += 1;
    }
    ensure!(counted(&hosts[0], "bennu_cluster_messages_dropped_total").await? > 0);
    eventually("one member was told", async || {
        Ok((counted(&hosts[1], "bennu_cluster_members_rejoined_total").await? == 1).then_some(()))
    })
    .await?;
    clients[1].join("echo:1", &json!({})).await?;
    Ok(())
}

/// As with `Phoenix.PubSub`, if that is configured.
#[tokio::test]
async fn members_of_a_topic_of_which_messages_were_lost_stay_if_losses_are_ignored() -> Result<()> {
    let Some(server) = server(USERS)? else { return Ok(()) };
    let (_, url) = database()?;
    let plan = on(&url, &server, "bennu").key("on_loss = \"ignore\"");
    let (hosts, mut clients) = lose(&plan, &server).await?;
    // What is sent before the node has its connection again may be lost as well. So it is sent until one comes.
    let (mut next, mut sent) = (0, TOO_MANY);
    while next <= TOO_MANY {
        let Ok(frame) = timeout(PAUSE, clients[1].json()).await else {
            ensure!(sent < TOO_MANY + ATTEMPTS, "nothing comes any more");
            clients[0].push("echo:1", "shout", &json!({ "number": sent })).await?;
            sent += 1;
            continue;
        };
        let frame = frame?;
        let number = frame[4]["number"].as_u64().and_then(|number| usize::try_from(number).ok());
        ensure!(frame[3] == "shout" && number >= Some(next), "{next} or more was expected, and {} came", frame[3]);
        next = number.unwrap_or_default() + 1;
    }
    ensure!(counted(&hosts[0], "bennu_cluster_messages_dropped_total").await? > 0);
    ensure!(counted(&hosts[1], "bennu_cluster_members_rejoined_total").await? == 0);
    Ok(())
}
