//! Nodes that die, that are stopped, and that lose their database.

use anyhow::{Context, Result, ensure};
use bennu_tests::{Cast, PostgresServer, Relay, TestHost, Way, eventually, get};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::database;
use crate::plan::{Plan, cluster, is_ready, knows, post, readiness, state};
use crate::together::{audit, broadcast_from_all, deposit_from_all, members};

async fn online(host: &TestHost) -> Result<Vec<String>> {
    let presences = get(host.address(), "/api/topics/room:1/presence").await?.json()?;
    Ok(presences.as_object().context("presences")?.keys().cloned().collect())
}

/// Its presences leave, the others go on, and a new process has its name.
#[tokio::test]
async fn a_killed_node_is_forgotten_and_starts_again() -> Result<()> {
    let (_, url) = database()?;
    let plan = Plan::on(&url).guests(&["chat", "echo", "ledger"]).lease().key("sticky = [\"room:*\"]");
    let [one, two, three] = plan.start_three().await?;
    let mut alice = Cast::new(&one);
    alice.play("alice > join room:1 {\"user\": \"alice\"}\nalice < ok …\nalice < presence_state {}\nalice < presence_diff …").await?;
    eventually("alice is seen at the other node", async || Ok((online(&two).await? == ["alice"]).then_some(())))
        .await?;
    let mut bob = Cast::new(&two);
    bob.play(
        "bob > join room:1 {\"user\": \"bob\"}\nbob < ok …\nbob < presence_state {\"alice\": …}\nbob < presence_diff …",
    )
    .await?;
    alice.play("alice < presence_diff {\"joins\": {\"bob\": …}, \"leaves\": {}}").await?;
    two.signal(Signal::KILL)?;
    alice.play("alice < presence_diff {\"joins\": {}, \"leaves\": {\"bob\": …}}").await?;
    for host in [&one, &three] {
        eventually("bob is offline", async || Ok((online(host).await? == ["alice"]).then_some(()))).await?;
        knows(host, "two", "dead").await?;
    }
    let closed = post(&one, "/api/disconnect", &json!({ "id": "nobody" })).await?;
    ensure!(closed == json!({ "sockets": 0, "asked": 2, "answered": 2 }), "{closed}");
    drop((alice, bob));
    let two = two.restart(Signal::KILL).await?;
    knows(&one, "two", "up").await?;
    let hosts = [one, two, three];
    broadcast_from_all(&mut members(&hosts, "echo:1").await?, "echo:1").await?;
    deposit_from_all(&hosts, 2).await?;
    ensure!(audit(&hosts[1]).await?["sum"] == 12);
    Ok(())
}

/// The next process in the data directory of a killed one ends that start itself. Here, nobody else would for ten minutes.
#[tokio::test]
async fn a_killed_node_starts_again_without_waiting_for_its_lease() -> Result<()> {
    let (_, url) = database()?;
    let plan = Plan::on(&url).key("lease_ms = 600000");
    let (one, two) = (plan.start("one").await?, plan.start("two").await?);
    let two = two.restart(Signal::KILL).await?;
    knows(&one, "two", "up").await?;
    broadcast_from_all(&mut members(&[one, two], "echo:1").await?, "echo:1").await
}

/// A node that stood still for longer than its lease counts as dead. When it goes on, it stores nothing, and ends.
#[tokio::test]
async fn a_node_that_was_stopped_past_its_lease_stores_nothing_and_ends() -> Result<()> {
    let (_, url) = database()?;
    let plan = Plan::on(&url).lease();
    let (one, mut two) = (plan.start("one").await?, plan.start("two").await?);
    let mut client = two.connect().await?;
    client.join("ledger:1", &json!({})).await?;
    client.call("ledger:1", "deposit", &json!({ "to": "a", "n": 1 })).await?;
    two.signal(Signal::STOP)?;
    // It is read when the host goes on.
    client.push("ledger:1", "deposit", &json!({ "to": "a", "n": 100 })).await?;
    knows(&one, "two", "dead").await?;
    ensure!(audit(&one).await?["sum"] == 1);
    two.signal(Signal::CONT)?;
    let status = two.ended().await?;
    ensure!(!status.success(), "a node that counts as dead must end with an error, and ended with {status}");
    let said = |text: &str| two.log().since(0).iter().any(|line| line.text.contains(text));
    ensure!(said("other nodes count this node as dead"), "{}", two.log().tail(20));
    ensure!(said("the place of this host in its cluster has ended"), "{}", two.log().tail(20));
    ensure!(audit(&one).await?["sum"] == 1, "the late deposit was stored");
    // The name is free.
    let two = plan.start("two").await?;
    ensure!(audit(&two).await?["sum"] == 1);
    Ok(())
}

/// A failover can lose the row of a node. The node ends, the others forget it with its presences, and its name is free.
#[tokio::test]
async fn a_node_whose_row_is_gone_ends() -> Result<()> {
    let (name, url) = database()?;
    let plan = Plan::on(&url).guests(&["chat", "echo", "ledger"]).lease().key("sticky = [\"room:*\"]");
    let (one, mut two) = (plan.start("one").await?, plan.start("two").await?);
    let (mut bob, mut client) = (two.connect().await?, two.connect().await?);
    bob.join("room:1", &json!({ "user": "bob" })).await?;
    client.join("ledger:1", &json!({})).await?;
    client.call("ledger:1", "deposit", &json!({ "to": "a", "n": 1 })).await?;
    eventually("bob is online", async || Ok((online(&one).await? == ["bob"]).then_some(()))).await?;
    let gone = PostgresServer::shared()?.sql(&name, "DELETE FROM bennu.node WHERE name = 'two' RETURNING name")?;
    ensure!(gone == "two", "{gone}");
    eventually("its row is forgotten", async || Ok(state(&one, "two").await?.is_empty().then_some(()))).await?;
    eventually("bob is offline", async || Ok(online(&one).await?.is_empty().then_some(()))).await?;
    drop((bob, client));
    let status = two.ended().await?;
    ensure!(!status.success(), "a node whose row is gone must end with an error, and ended with {status}");
    let said = |text: &str| two.log().since(0).iter().any(|line| line.text.contains(text));
    ensure!(said("the place of this host in its cluster has ended"), "{}", two.log().tail(20));
    let hosts = [one, plan.start("two").await?];
    broadcast_from_all(&mut members(&hosts, "echo:1").await?, "echo:1").await?;
    deposit_from_all(&hosts, 2).await?;
    ensure!(audit(&hosts[0]).await?["sum"] == 9);
    Ok(())
}

/// All nodes die at once, as in a power loss. What they had stored is there when they are back.
#[tokio::test]
async fn all_nodes_start_again_after_all_were_killed() -> Result<()> {
    let (_, url) = database()?;
    let hosts = Plan::on(&url).start_three().await?;
    deposit_from_all(&hosts, 3).await?;
    for host in &hosts {
        host.signal(Signal::KILL)?;
    }
    let [one, two, three] = hosts;
    let restarted = tokio::join!(one.restart(Signal::KILL), two.restart(Signal::KILL), three.restart(Signal::KILL));
    let hosts = [restarted.0?, restarted.1?, restarted.2?];
    for host in &hosts {
        ensure!(audit(host).await?["sum"] == 18);
    }
    broadcast_from_all(&mut members(&hosts, "echo:1").await?, "echo:1").await
}

/// One node loses its network to the database, and no connection ends. It is suspended, the others count it as dead, and when the network
/// is back, it ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_is_suspended_and_then_over() -> Result<()> {
    let (name, url) = database()?;
    let relay = Relay::start(&[PostgresServer::shared()?.port()]).await?;
    let one = Plan::on(&url).lease().start("one").await?;
    let cut_off = format!("postgres://postgres@127.0.0.1:{}/{name}", relay.port());
    let mut two = Plan::on(&cut_off).lease().start("two").await?;
    let mut near = members(&[&one, &two, &two], "echo:1").await?;
    is_ready(&two).await?;
    relay.set(Way::Silent);
    eventually("it is suspended", async || {
        let answer = readiness(&two).await?;
        Ok(answer.body.contains("this node is suspended, because it can't renew its lease").then_some(()))
    })
    .await?;
    // Its members still reach each other.
    let shout = json!([null, null, "echo:1", "shout", { "alone": true }]);
    near[1].push("echo:1", "shout", &json!({ "alone": true })).await?;
    near[1].expect(&shout).await?;
    near[2].expect(&shout).await?;
    knows(&one, "two", "dead").await?;
    relay.set(Way::Open);
    let status = two.ended().await?;
    ensure!(!status.success(), "{status}");
    // Nobody heard what it sent after its death.
    near[0].quiet().await?;
    Plan::on(&url).lease().start("two").await?.stop().await?;
    Ok(())
}

/// The sessions in which nodes listen break. They are made again, and what was missed is sent again.
#[tokio::test]
async fn a_broken_connection_of_the_bus_loses_nothing() -> Result<()> {
    let (name, url) = database()?;
    let hosts = Plan::on(&url).start_three().await?;
    let mut clients = members(&hosts, "echo:1").await?;
    let server = PostgresServer::shared()?;
    for round in 0..5 {
        let ended =
            server.sql(&name, "SELECT count(pg_terminate_backend(listener_pid)) FROM bennu.node WHERE NOT is_dead")?;
        ensure!(ended == "3", "{ended}");
        for number in 0..10 {
            clients[0].push("echo:1", "shout", &json!({ "round": round, "number": number })).await?;
        }
        for client in &mut clients {
            for number in 0..10 {
                client.expect(&json!([null, null, "echo:1", "shout", { "round": round, "number": number }])).await?;
            }
        }
    }
    let metrics = get(hosts[1].address(), "/metrics").await?.body;
    ensure!(metrics.contains("bennu_cluster_losses_total 0\n"), "{metrics}");
    Ok(())
}

/// While the database is away for a moment, broadcasts to other nodes wait, and come in their order.
#[tokio::test]
async fn broadcasts_wait_for_a_database_that_is_away_for_a_moment() -> Result<()> {
    let server = PostgresServer::start()?;
    let url = server.database("moment")?;
    let hosts = Plan::on(&url).key("lease_ms = 600000").start_three().await?;
    let mut clients = members(&hosts, "echo:1").await?;
    server.stop()?;
    for number in 0..20 {
        clients[0].push("echo:1", "shout", &json!({ "number": number })).await?;
    }
    for number in 0..20 {
        clients[0].expect(&json!([null, null, "echo:1", "shout", { "number": number }])).await?;
    }
    server.start_again()?;
    for client in &mut clients[1..] {
        for number in 0..20 {
            client.expect(&json!([null, null, "echo:1", "shout", { "number": number }])).await?;
        }
    }
    Ok(())
}

/// A failover to a synchronous standby is an outage, and loses nothing that was acknowledged. The nodes find the new server by themselves.
#[tokio::test]
async fn a_failover_to_a_synchronous_standby_loses_nothing() -> Result<()> {
    let primary = PostgresServer::start()?;
    primary.database("failing")?;
    let standby = primary.start_standby()?;
    let url = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/failing?target_session_attrs=read-write",
        primary.port(),
        standby.port()
    );
    let hosts = Plan::on(&url).lease().start_three().await?;
    let mut clients = members(&hosts, "echo:1").await?;
    deposit_from_all(&hosts, 3).await?;
    primary.kill()?;
    standby.promote()?;
    for host in &hosts {
        is_ready(host).await?;
        ensure!(audit(host).await?["sum"] == 18);
    }
    broadcast_from_all(&mut clients, "echo:1").await?;
    deposit_from_all(&hosts, 3).await?;
    ensure!(audit(&hosts[0]).await?["sum"] == 36);
    Ok(())
}

/// Without the database, nodes are suspended: they aren't ready, and say why. Nobody is declared dead, members stay, and what was stored
/// is there.
#[tokio::test]
async fn nodes_outlive_a_database_that_is_away_for_longer_than_their_lease() -> Result<()> {
    let server = PostgresServer::start()?;
    let url = server.database("away")?;
    let hosts = Plan::on(&url).lease().start_three().await?;
    let epochs = async || -> Result<Vec<Value>> {
        let mut epochs = Vec::new();
        for host in &hosts {
            epochs.push(cluster(host).await?["epoch"].clone());
        }
        Ok(epochs)
    };
    let (before, mut clients) = (epochs().await?, members(&hosts, "echo:1").await?);
    deposit_from_all(&hosts, 2).await?;
    for host in &hosts {
        is_ready(host).await?;
    }
    server.stop()?;
    for host in &hosts {
        eventually("the node is suspended", async || {
            let answer = readiness(host).await?;
            Ok(answer.body.contains("this node is suspended, because it can't renew its lease").then_some(()))
        })
        .await?;
        ensure!(get(host.address(), "/livez").await?.status == 200, "a restart doesn't help");
        ensure!(cluster(host).await?["is_good"] == false);
    }
    // Members of one node reach each other.
    clients[0].push("echo:1", "shout", &json!({ "alone": true })).await?;
    clients[0].expect(&json!([null, null, "echo:1", "shout", { "alone": true }])).await?;
    server.start_again()?;
    for host in &hosts {
        is_ready(host).await?;
    }
    ensure!(epochs().await? == before, "a node has ended its start");
    // What was sent meanwhile comes late, or its members are told to join again.
    for client in &mut clients[1..] {
        let frame = client.json().await?;
        ensure!(frame[4]["alone"] == true || frame[3] == "phx_error", "{frame}");
    }
    for (host, name) in hosts.iter().zip(["one", "two", "three"]) {
        for other in ["one", "two", "three"] {
            knows(host, other, if name == other { "own" } else { "up" }).await?;
        }
    }
    let fresh = &mut members(&hosts, "echo:2").await?;
    broadcast_from_all(fresh, "echo:2").await?;
    deposit_from_all(&hosts, 2).await?;
    for host in &hosts {
        ensure!(audit(host).await?["sum"] == 24);
    }
    Ok(())
}

/// A crash of the database in the middle of commits loses nothing that was acknowledged, and stores nothing twice.
#[tokio::test]
async fn deposits_during_crashes_of_the_database_are_counted_once() -> Result<()> {
    let server = PostgresServer::start()?;
    let url = server.database("crashing")?;
    let plan = Plan::on(&url).store("wait_ms = 60000").tables("[limits]\ncall_wall_ms = 60000");
    let hosts = plan.start_three().await?;
    let (mut clients, mut acknowledged) = (members(&hosts, "ledger:1").await?, 0);
    for _ in 0..3 {
        let mut waiting = Vec::new();
        for client in &mut clients {
            waiting.push(client.push("ledger:1", "deposit", &json!({ "to": "a", "n": 1 })).await?);
        }
        server.kill()?;
        server.start_again()?;
        for (client, reference) in clients.iter_mut().zip(waiting) {
            let reply = client.reply("ledger:1", &reference).await?;
            ensure!(reply.status == "ok", "{reply:?}");
            acknowledged += 1;
        }
    }
    for host in &hosts {
        ensure!(audit(host).await?["sum"] == acknowledged);
    }
    Ok(())
}

/// A process that stands still for less than its lease loses nothing: it reads what was sent meanwhile.
#[tokio::test]
async fn a_node_that_was_stopped_for_a_moment_misses_nothing() -> Result<()> {
    let (_, url) = database()?;
    let hosts = Plan::on(&url).key("lease_ms = 600000").start_three().await?;
    let mut clients = members(&hosts, "echo:1").await?;
    hosts[1].signal(Signal::STOP)?;
    for number in 0..20 {
        clients[0].push("echo:1", "shout", &json!({ "number": number })).await?;
    }
    for number in 0..20 {
        clients[2].expect(&json!([null, null, "echo:1", "shout", { "number": number }])).await?;
    }
    ensure!(["up", "silent"].contains(&state(&hosts[0], "two").await?.as_str()));
    hosts[1].signal(Signal::CONT)?;
    for number in 0..20 {
        clients[1].expect(&json!([null, null, "echo:1", "shout", { "number": number }])).await?;
    }
    Ok(())
}
