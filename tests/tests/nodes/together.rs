//! What clients of several nodes see of one another, and what the nodes share.

use std::borrow::Borrow;

use anyhow::{Context, Result, ensure};
use bennu_tests::{Cast, Received, TestClient, TestHost, bennu, bennu_with, eventually, get};
use serde_json::{Value, json};

use crate::database;
use crate::plan::{Plan, SECRET, cluster, is_ready, knows, post};

/// How many broadcasts each sender makes.
const BROADCASTS: u64 = 60;

/// A client at each node, in the same topic.
pub(crate) async fn members(hosts: &[impl Borrow<TestHost>], topic: &str) -> Result<Vec<TestClient>> {
    let mut clients = Vec::new();
    for host in hosts {
        let mut client = host.borrow().connect().await?;
        client.join(topic, &json!({})).await?;
        clients.push(client);
    }
    Ok(clients)
}

/// Every member broadcasts, and every member gets the broadcasts of each sender completely and in their order.
pub(crate) async fn broadcast_from_all(clients: &mut [TestClient], topic: &str) -> Result<()> {
    for (sender, client) in clients.iter_mut().enumerate() {
        for number in 0..BROADCASTS {
            client.push(topic, "shout", &json!({ "sender": sender, "number": number })).await?;
        }
    }
    let senders = clients.len();
    for (at, client) in clients.iter_mut().enumerate() {
        let mut next = vec![0; senders];
        while next.iter().sum::<u64>() < BROADCASTS * senders as u64 {
            let frame = client.json().await?;
            ensure!(frame[3] == "shout", "the client at node {at} got {frame}");
            let sender = frame[4]["sender"].as_u64().and_then(|sender| usize::try_from(sender).ok());
            let expected = sender.and_then(|sender| next.get_mut(sender)).context("a sender")?;
            ensure!(
                frame[4]["number"] == *expected,
                "the client at node {at} expects {expected} next, and got {frame}"
            );
            *expected += 1;
        }
    }
    Ok(())
}

#[tokio::test]
async fn broadcasts_reach_the_members_of_all_nodes_in_order() -> Result<()> {
    let (_, url) = database()?;
    let hosts = Plan::on(&url).start_three().await?;
    let mut clients = members(&hosts, "echo:1").await?;
    broadcast_from_all(&mut clients, "echo:1").await?;
    // The API at any node.
    let body = json!({ "topic": "echo:1", "event": "news", "payload": { "a": 1 } });
    let answer = post(&hosts[2], "/api/broadcast", &body).await?;
    for client in &mut clients {
        client.expect(&json!([null, null, "echo:1", "news", { "a": 1 }])).await?;
    }
    ensure!(answer["receivers"].as_u64().is_some_and(|receivers| receivers >= 1), "{answer}");
    drop(clients);
    for host in hosts {
        host.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn presences_are_one_list_at_all_nodes() -> Result<()> {
    let (_, url) = database()?;
    let hosts = Plan::on(&url).guests(&["chat"]).key("sticky = [\"room:*\"]").start_three().await?;
    let mut alice = Cast::new(&hosts[0]);
    alice
        .play(
            r#"
        alice > join room:1 {"user": "alice"}
        alice < ok …
        alice < presence_state {}
        alice < presence_diff {"joins": {"alice": …}, "leaves": {}}
        "#,
        )
        .await?;
    let shows = async |host: &TestHost, users: &[&str]| {
        eventually("who is online", async || {
            let online = get(host.address(), "/api/topics/room:1/presence").await?.json()?;
            let online: Vec<&String> = online.as_object().context("presences")?.keys().collect();
            Ok((online == users).then_some(()))
        })
        .await
    };
    for host in &hosts {
        shows(host, &["alice"]).await?;
    }
    let mut bob = Cast::new(&hosts[1]);
    bob.play(
        r#"
        bob > join room:1 {"user": "bob"}
        bob < ok …
        bob < presence_state {"alice": …}
        bob < presence_diff {"joins": {"bob": …}, "leaves": {}}
        "#,
    )
    .await?;
    alice.play(r#"alice < presence_diff {"joins": {"bob": …}, "leaves": {}}"#).await?;
    shows(&hosts[2], &["alice", "bob"]).await?;
    bob.play("bob x drop").await?;
    alice.play(r#"alice < presence_diff {"joins": {}, "leaves": {"bob": …}}"#).await?;
    shows(&hosts[2], &["alice"]).await?;
    Ok(())
}

/// The messages that an operator sends at one node end sockets and members at the others.
#[tokio::test]
async fn sockets_and_members_of_all_nodes_are_ended_at_any() -> Result<()> {
    let (_, url) = database()?;
    let tables = "[mounts.\"/socket\"]\nauth = \"none\"\n[mounts.\"/user\"]\ntoken = { salt = \"user\" }";
    let plan = Plan::on(&url).top(&format!("secret_key_base = {{ env = {:?} }}", SECRET.0)).tables(tables);
    let hosts = plan.start_three().await?;
    let sign = ["token", "sign", "--salt", "user", "7"];
    let signed = bennu_with(hosts[0].home(), &sign, &[("BENNU_SECRET_KEY_BASE", SECRET.1)])?;
    let query = format!("vsn=2.0.0&token={}", signed.output.trim());
    let mut clients = Vec::new();
    for host in &hosts {
        let mut client = host.connect_request().at("/user").query(&query).connect().await?;
        client.join("echo:1", &json!({})).await?;
        clients.push(client);
    }
    let to_user = json!({ "topic": "echo:1", "user": "7", "event": "news" });
    let pushed = post(&hosts[0], "/api/push", &to_user).await?;
    ensure!(pushed == json!({ "members": 3, "asked": 3, "answered": 3 }), "{pushed}");
    for client in &mut clients {
        let frame = client.json().await?;
        ensure!(frame[3] == "news", "{frame}");
    }
    let kicked = post(&hosts[1], "/api/kick", &json!({ "topic": "echo:1", "socket_id": "user_socket:7" })).await?;
    ensure!(kicked["members"] == 3 && kicked["asked"] == 3 && kicked["answered"] == 3, "{kicked}");
    for client in &mut clients {
        let frame = client.json().await?;
        ensure!(frame[3] == "phx_close", "{frame}");
    }
    let closed = post(&hosts[2], "/api/disconnect", &json!({ "id": "user_socket:7" })).await?;
    ensure!(closed == json!({ "sockets": 3, "asked": 3, "answered": 3 }), "{closed}");
    for client in &mut clients {
        let (frames, _) = client.until_closed().await?;
        ensure!(frames.is_empty(), "{frames:?}");
    }
    Ok(())
}

/// Members of all nodes raise the same account. Each deposit reads and writes it, so they conflict all the time, and none is lost.
pub(crate) async fn deposit_from_all(hosts: &[TestHost], each: u64) -> Result<()> {
    let mut working = tokio::task::JoinSet::new();
    for (at, mut client) in members(hosts, "ledger:1").await?.into_iter().enumerate() {
        working.spawn(async move {
            for _ in 0..each {
                client.call("ledger:1", "deposit", &json!({ "to": "all", "n": 1 })).await?;
                client.call("ledger:1", "deposit", &json!({ "to": format!("own-{at}"), "n": 1 })).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = working.join_next().await {
        done??;
    }
    Ok(())
}

/// What a node says about the accounts.
pub(crate) async fn audit(host: &TestHost) -> Result<Value> {
    let mut client = host.connect().await?;
    client.join("ledger:2", &json!({})).await?;
    client.call("ledger:2", "audit", &json!({})).await
}

#[tokio::test]
async fn a_key_that_all_nodes_raise_has_the_right_sum() -> Result<()> {
    let (_, url) = database()?;
    let hosts = Plan::on(&url).start_three().await?;
    deposit_from_all(&hosts, 20).await?;
    for host in &hosts {
        let found = audit(host).await?;
        ensure!(found == json!({ "sum": 120, "accounts": 4, "entries": 0 }), "{found}");
        ensure!(host.inspect().await?["faults"] == 0);
    }
    for host in hosts {
        host.stop().await?;
    }
    Ok(())
}

/// What operators see at each node: the API, the command, the metrics and the health.
#[tokio::test]
async fn operators_see_the_nodes() -> Result<()> {
    let (_, url) = database()?;
    let hosts = Plan::on(&url).start_three().await?;
    let mut clients = members(&hosts, "echo:1").await?;
    let topic = get(hosts[1].address(), "/api/topics/echo%3A1").await?.json()?;
    ensure!(topic["members"] == 3 && topic["asked"] == 3 && topic["answered"] == 3, "{topic}");
    eventually("the members at the other nodes are counted", async || {
        let listed = get(hosts[2].address(), "/api/topics").await?.json()?;
        Ok((listed["topics"] == json!([{ "topic": "echo:1", "members": 3 }])).then_some(()))
    })
    .await?;
    broadcast_from_all(&mut clients, "echo:1").await?;
    for (host, own) in hosts.iter().zip(["one", "two", "three"]) {
        is_ready(host).await?;
        let shown = bennu(host.home(), &["cluster", "--host", &host.address().to_string()])?;
        ensure!(shown.code == Some(0) && shown.output.starts_with(&format!("node {own}: lease of 10.0 s renewed ")));
        for (name, state) in [("one", "up"), ("two", "up"), ("three", "up"), (own, "own")] {
            let is_line = |line: &str| line.starts_with(&format!("{name} ")) && line.contains(&format!("  {state}"));
            ensure!(name == own && state == "up" || shown.output.lines().any(is_line), "{own}: {}", shown.output);
        }
        let metrics = get(host.address(), "/metrics").await?.body;
        for line in [
            "bennu_cluster_nodes{state=\"own\"} 1",
            "bennu_cluster_nodes{state=\"up\"} 2",
            "bennu_cluster_lease_up 1",
            "bennu_cluster_losses_total 0",
            "bennu_cluster_messages_dropped_total 0",
        ] {
            ensure!(metrics.lines().any(|found| found == line), "{own} has no {line}");
        }
        let state = cluster(host).await?;
        ensure!(state["counts"]["broadcasts_sent"] == BROADCASTS, "{state}");
        ensure!(state["counts"]["broadcasts_heard"] == 2 * BROADCASTS, "{state}");
    }
    Ok(())
}

/// The others don't wait for a node that has stopped in order, and its clients are told to go.
#[tokio::test]
async fn a_node_that_leaves_is_known_to_have_left() -> Result<()> {
    let (_, url) = database()?;
    let [one, two, three] = Plan::on(&url).start_three().await?;
    let mut there = two.connect().await?;
    there.join("echo:1", &json!({})).await?;
    three.stop().await?;
    knows(&one, "three", "dead").await?;
    let closed = post(&one, "/api/disconnect", &json!({ "id": "nobody" })).await?;
    ensure!(closed == json!({ "sockets": 0, "asked": 2, "answered": 2 }), "{closed}");
    // A stop tells the clients, and the other node serves on.
    two.signal(rustix::process::Signal::TERM)?;
    loop {
        if let Received::Closed(code) = there.next().await? {
            ensure!(code == Some(1012), "{code:?}");
            break;
        }
    }
    knows(&one, "two", "dead").await?;
    let mut here = one.connect().await?;
    here.join("echo:1", &json!({})).await?;
    let answer = here.call("echo:1", "echo", &json!({ "a": 1 })).await?;
    ensure!(answer == json!({ "a": 1 }), "{answer}");
    Ok(())
}
