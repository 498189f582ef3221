//! Schedules and webhooks over replacements of the host.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use bennu_tests::{ConnectRequest, Delivered, Receiver, eventually};
use serde_json::{Value, json};

use super::{ask, join, reply, setup, start, until_closed, upgraded};

/// The schedules, and the time between two of them. They are due before, during and after the replacements.
const SCHEDULES: u64 = 60;
const BETWEEN: Duration = Duration::from_millis(50);

/// Each schedule's callback writes and broadcasts once, in the order of their times: the turn that an old process has begun ends
/// there, and all others run in the new one.
#[tokio::test]
async fn each_schedule_fires_once_in_the_old_or_in_the_new_process() -> Result<()> {
    let mut host = start().await?;
    let address = host.address();
    let mut alice = ConnectRequest::to(address).connect().await?;
    let reference = alice.push("clock:1", "phx_join", &json!({ "since": { "client": "alice" } })).await?;
    reply(&mut alice, &reference).await?;
    let position = super::carried::position(&mut alice).await?;
    let every = u64::try_from(BETWEEN.as_millis())?;
    ask(&mut alice, "clock:1", "plan", &json!({ "count": SCHEDULES, "every": every })).await?;
    let closed = until_closed(alice);
    upgraded(&mut host).await?;
    closed.await??;
    upgraded(&mut host).await?;
    let expected: Vec<u64> = (0..SCHEDULES).collect();
    let rings = eventually("all schedules have fired", async || {
        let mut client = join(address, "asks:1", &json!({})).await?;
        let rings = ask(&mut client, "asks:1", "rings", &json!({})).await?;
        Ok((rings["rings"].as_array().map(Vec::len) >= Some(expected.len())).then_some(rings))
    });
    let rings = rings.await?;
    ensure!(rings["rings"] == json!(expected), "{rings}");
    ensure!(host.inspect().await?["jobs"]["all"] == 0, "none is left");
    // What they broadcast is in the history, whichever process has broadcast it.
    let mut alice = ConnectRequest::to(address).connect().await?;
    let since = json!({ "client": "alice", "epoch": position["epoch"], "n": position["n"] });
    let reference = alice.push("clock:1", "phx_join", &json!({ "since": since })).await?;
    reply(&mut alice, &reference).await?;
    let mut heard: Vec<Value> = Vec::new();
    while heard.len() < expected.len() {
        let frame = alice.json().await?;
        ensure!(frame[3] != "history", "some were missed: {frame} after {heard:?}");
        if frame[3] == "rang" {
            heard.push(frame[4]["n"].clone());
        }
    }
    ensure!(json!(heard) == json!(expected), "{heard:?}");
    drop(alice);
    host.stop().await?;
    Ok(())
}

/// The events of the old process are stored before the new one opens the store. Each process begins with `start`.
#[tokio::test]
async fn a_webhook_gets_the_events_of_both_processes() -> Result<()> {
    let receiver = Receiver::open().await?;
    let webhook = format!("[[webhooks]]\nurl = \"{}\"\ntopics = [\"news:*\"]\n", receiver.url("/hook"));
    let secret = "secrets = [{ env = \"TEST_SECRET\" }]\n";
    let setup = setup().config(&format!("{webhook}{secret}"));
    let mut host = setup.variable("TEST_SECRET", "whsec_AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=").start().await?;
    let address = host.address();
    let mut sent = 0;
    for _ in 0..2 {
        let mut alice = join(address, "news:1", &json!({})).await?;
        for _ in 0..20 {
            ask(&mut alice, "news:1", "say", &json!({ "n": sent })).await?;
            sent += 1;
        }
        let closed = until_closed(alice);
        upgraded(&mut host).await?;
        closed.await??;
    }
    let said = eventually("all broadcasts are delivered", async || {
        let said: Vec<u64> = receiver.received().iter().filter_map(said).collect();
        // A delivery that the old process has begun to send may be sent again.
        let all: BTreeSet<u64> = said.iter().copied().collect();
        Ok((u64::try_from(all.len())? == sent).then_some(said))
    });
    let mut said = said.await?;
    said.dedup();
    ensure!(said.is_sorted(), "those of a topic come in their order: {said:?}");
    host.stop().await?;
    Ok(())
}

/// The number in a delivered broadcast.
fn said(delivered: &Delivered) -> Option<u64> {
    let content: Value = serde_json::from_slice(&delivered.body).ok()?;
    (content["type"] == "broadcast").then(|| content["data"]["payload"]["n"].as_u64())?
}
