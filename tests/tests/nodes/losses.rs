//! Messages between nodes that are lost on the bus of PostgreSQL: whoever may lack one is told. `nats` has such tests of the other bus.

use anyhow::{Context, Result, bail, ensure};
use bennu_tests::{PostgresServer, Relay, TestClient, TestHost, Way, eventually};
use serde_json::json;

use crate::database;
use crate::plan::{Plan, cluster, counted};
use crate::together::{broadcast_from_all, members};

/// The bytes of the text of a long broadcast.
const LONG: usize = 400_000;

/// So many long broadcasts are more than the 16 MiB that a node keeps to send them again.
const TOO_MANY: u64 = 60;

/// The bytes of the messages of a node that the bus has taken.
async fn sent_bytes(host: &TestHost) -> Result<u64> {
    cluster(host).await?["link"]["sent"]["bytes"].as_u64().context("bytes")
}

/// A node can't hear the bus while another one sends more than it keeps. When it is back, its members have to join again, because what is
/// missing can't be sent any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_join_again_at_a_node_that_missed_more_than_the_others_keep() -> Result<()> {
    let (name, url) = database()?;
    let relay = Relay::start(&[PostgresServer::shared()?.port()]).await?;
    let cut_off = format!("postgres://postgres@127.0.0.1:{}/{name}", relay.port());
    // Nobody counts as dead meanwhile.
    let lease = "lease_ms = 600000";
    let near = Plan::on(&url).key(lease).start("near").await?;
    let far = Plan::on(&cut_off).key(lease).start("far").await?;
    let mut clients = members(&[&near, &far], "echo:1").await?;
    broadcast_from_all(&mut clients, "echo:1").await?;

    relay.set(Way::Cut);
    let (text, before) = ("7".repeat(LONG), sent_bytes(&near).await?);
    for number in 0..TOO_MANY {
        let long = json!({ "number": number, "text": text });
        clients[0].push("echo:1", "shout", &long).await?;
        clients[0].expect(&json!([null, null, "echo:1", "shout", long])).await?;
        // So nothing is dropped because too much waits.
        let least = before + (number + 1) * LONG as u64;
        eventually("the bus has taken it", async || Ok((sent_bytes(&near).await? >= least).then_some(()))).await?;
    }
    relay.set(Way::Open);

    let mut next = 0;
    loop {
        let frame = clients[1].json().await?;
        if frame[3] == "phx_error" {
            break;
        }
        let number = frame[4]["number"].as_u64().context("a number")?;
        ensure!(frame[3] == "shout" && number >= next, "{next} or more was expected, and {number} came");
        next = number + 1;
    }
    ensure!(counted(&far, "bennu_cluster_losses_total").await? > 0);
    ensure!(counted(&near, "bennu_cluster_messages_dropped_total").await? == 0);
    eventually("the member is counted", async || {
        Ok((counted(&far, "bennu_cluster_members_rejoined_total").await? > 0).then_some(()))
    })
    .await?;
    let [here, there] = &mut clients[..] else { bail!("there are two members") };
    hears_again(here, there).await
}

/// Joins at the other node, as often as the member is told to, until it hears what is sent then. Meanwhile it may get what is still kept of
/// what it has missed, and more of that may be lost.
async fn hears_again(here: &mut TestClient, there: &mut TestClient) -> Result<()> {
    let mut number = TOO_MANY;
    loop {
        there.join("echo:1", &json!({})).await?;
        let short = json!([null, null, "echo:1", "shout", { "number": number }]);
        here.push("echo:1", "shout", &short[4]).await?;
        here.expect(&short).await?;
        loop {
            let frame = there.json().await?;
            if frame == short {
                return Ok(());
            }
            if frame[3] == "phx_error" {
                break;
            }
        }
        number += 1;
    }
}
