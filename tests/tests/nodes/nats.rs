//! Nodes whose messages go through NATS.

use std::time::Duration;

use anyhow::{Result, ensure};
use bennu_tests::{Cast, NatsServer, TestClient, TestHost, eventually, get};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::database;
use crate::plan::{Plan, cluster, counted, is_ready, knows};
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

/// Starts nodes, one after the other.
async fn start(plan: &Plan, names: &[&str]) -> Result<Vec<TestHost>> {
    let mut hosts = Vec::new();
    for name in names {
        hosts.push(plan.setup(name)?.file("nats.txt", b"right".into()).start().await?);
    }
    Ok(hosts)
}

#[tokio::test]
async fn broadcasts_and_the_store_are_shared_and_the_server_may_restart() -> Result<()> {
    let Some(server) = server(USERS)? else { return Ok(()) };
    let (_, url) = database()?;
    let hosts = start(&on(&url, &server, "bennu"), &["one", "two", "three"]).await?;
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

/// So many renewals of a lease take three leases at least, because five fit into one.
const RENEWALS_OF_THREE_LEASES: u64 = 16;

async fn online(host: &TestHost) -> Result<Value> {
    get(host.address(), "/api/topics/room:1/presence").await?.json()
}

/// How often a node has renewed its lease.
async fn renewals(host: &TestHost) -> Result<u64> {
    cluster(host).await?["link"]["table"]["renewals"].as_u64().ok_or_else(|| anyhow::anyhow!("no renewals"))
}

/// The database says who is alive, so nobody counts as dead, and the presences of other nodes stay. What is sent afterwards arrives.
#[tokio::test]
async fn an_outage_of_nats_that_is_longer_than_a_lease_kills_nobody_and_ends_no_presence() -> Result<()> {
    let Some(server) = server(USERS)? else { return Ok(()) };
    let (_, url) = database()?;
    let names = ["one", "two", "three"];
    let plan = on(&url, &server, "bennu").guests(&["chat"]).lease().key("sticky = [\"room:*\"]");
    let hosts = start(&plan, &names).await?;
    let (mut alice, mut bob) = (Cast::new(&hosts[0]), Cast::new(&hosts[1]));
    alice
        .play(
            "alice > join room:1 {\"user\": \"alice\"}\nalice < ok …\nalice < presence_state {}\nalice < presence_diff …",
        )
        .await?;
    eventually("alice is known at the other node", async || {
        Ok(online(&hosts[1]).await?["alice"].is_object().then_some(()))
    })
    .await?;
    bob.play(
        "bob > join room:1 {\"user\": \"bob\"}\nbob < ok …\nbob < presence_state {\"alice\": …}\nbob < presence_diff …",
    )
    .await?;
    alice.play("alice < presence_diff {\"joins\": {\"bob\": …}, \"leaves\": {}}").await?;
    let (mut epochs, mut presences) = (Vec::new(), Vec::new());
    for host in &hosts {
        let shown = eventually("both are online", async || {
            let shown = online(host).await?;
            Ok((shown["alice"].is_object() && shown["bob"].is_object()).then_some(shown))
        });
        presences.push(shown.await?);
        epochs.push(cluster(host).await?["epoch"].clone());
    }
    server.kill()?;
    let mut before = Vec::new();
    for host in &hosts {
        before.push(renewals(host).await?);
    }
    for (host, before) in hosts.iter().zip(before) {
        eventually("three leases are over", async || {
            Ok((renewals(host).await? >= before + RENEWALS_OF_THREE_LEASES).then_some(()))
        })
        .await?;
    }
    for (host, before) in hosts.iter().zip(&presences) {
        let shown = cluster(host).await?;
        let is_alive = |node: &Value| node["state"] != "dead";
        ensure!(
            shown["nodes"].as_array().is_some_and(|nodes| nodes.len() == 3 && nodes.iter().all(is_alive)),
            "{shown}"
        );
        ensure!(shown["link"]["table"]["declared_dead"] == 0, "{shown}");
        ensure!(online(host).await? == *before, "the presences have changed");
    }
    server.start_again()?;
    // The next frame of both: nobody was told of a presence that left or came, or to join again.
    bob.play("bob > new_msg {\"body\": \"hi\"}\nbob < new_msg …\nbob < ok …").await?;
    alice.play("alice < new_msg {\"id\": …, \"user\": \"bob\", \"body\": \"hi\", \"at\": …}").await?;
    for ((host, own), (before, epoch)) in hosts.iter().zip(names).zip(presences.iter().zip(&epochs)) {
        for name in names {
            knows(host, name, if name == own { "own" } else { "up" }).await?;
        }
        ensure!(online(host).await? == *before && cluster(host).await?["epoch"] == *epoch);
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
    let hosts = start(plan, &["one", "two"]).await?;
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
