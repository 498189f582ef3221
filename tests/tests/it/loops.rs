//! Plugins that send messages for ever. Endless messages don't block other channels, and growing numbers of messages reach
//! a limit.

use anyhow::{Result, ensure};
use bennu_tests::{Setup, TestClient, TestHost};
use serde_json::{Value, json};

use crate::limits::NAUGHTY;

/// A host that lets calls wait for a processor: on a busy machine many of them do, and they must not fail for that.
async fn host() -> Result<(TestHost, TestClient)> {
    let host = Setup::new().guests(&["naughty", "echo"])?.limit("call_wall_ms", 20_000).start().await?;
    let mut neighbour = host.connect().await?;
    neighbour.join("echo:1", &json!({})).await?;
    Ok((host, neighbour))
}

async fn post(host: &TestHost, call: &str, body: &Value) -> Result<()> {
    let answer = host.post(call, body).await?;
    ensure!(answer.status == 200, "{call} {body}: {answer:?}");
    Ok(())
}

/// How many messages to ever more topics are sent until one must be refused.
const REFUSED_WITHIN: usize = 20;

/// Asserts that another plugin's channel still answers.
async fn is_answered(neighbour: &mut TestClient) -> Result<()> {
    for n in 0..100 {
        ensure!(neighbour.call("echo:1", "echo", &json!({ "n": n })).await? == json!({ "n": n }));
    }
    Ok(())
}

/// More members than the host has threads send endless messages to themselves. Their clients' messages are still handled.
#[tokio::test]
async fn endless_messages_of_members_to_themselves_block_no_channel() -> Result<()> {
    let (host, mut neighbour) = host().await?;
    let mut spinners = Vec::new();
    for n in 0..8 {
        let (topic, mut client) = (format!("naughty:{n}"), host.connect().await?);
        client.join(&topic, &json!({})).await?;
        client.call(&topic, "spin", &json!({})).await?;
        spinners.push((topic, client));
    }
    is_answered(&mut neighbour).await?;
    for (topic, client) in &mut spinners {
        client.quiet().await?;
        ensure!(client.call(topic, "count", &json!({})).await? == json!({ "count": 1 }));
        client.call(topic, "phx_leave", &json!({})).await?;
    }
    host.shows("they have ended", |shown| shown["channels"] == 1).await?;
    drop((spinners, neighbour));
    host.stop().await?;
    Ok(())
}

/// A topic that sends to itself, and two topics that send to each other, continue until their plugin is unloaded.
#[tokio::test]
async fn endless_messages_between_topics_block_no_channel() -> Result<()> {
    let (host, mut neighbour) = host().await?;
    for (topic, to) in [("naughty:a", "naughty:b"), ("naughty:c", "naughty:c")] {
        post(&host, "/api/send", &json!({"topic": topic, "event": "bounce", "payload": {"to": to}})).await?;
    }
    is_answered(&mut neighbour).await?;
    ensure!(host.inspect().await?["faults"] == 0);
    post(&host, "/api/plugins/naughty/unload", &json!({})).await?;
    is_answered(&mut neighbour).await?;
    drop(neighbour);
    host.stop().await?;
    Ok(())
}

/// Members of two topics subscribe to each other's topic and repeat each event. So one event becomes ten, and then a
/// hundred. This ends when a queue is full. Then the topics can be joined again.
#[tokio::test]
async fn members_that_repeat_each_others_events_reach_a_limit() -> Result<()> {
    let (host, mut neighbour) = host().await?;
    let mut members = Vec::new();
    for n in 0..20 {
        let (own, other) = if n % 2 == 0 { ("naughty:a", "naughty:b") } else { ("naughty:b", "naughty:a") };
        let mut client = host.connect().await?;
        client.join(own, &json!({})).await?;
        client.call(own, "subscribe", &json!({ "topic": other })).await?;
        members.push(client);
    }
    post(&host, "/api/broadcast", &json!({"topic": "naughty:a", "event": "resound"})).await?;
    host.log().find(0, "a queue was full", |line| line.field("kind") == "overflow").await?;
    is_answered(&mut neighbour).await?;
    drop(members);
    host.holds(1, 1).await?;
    let mut alice = host.connect().await?;
    alice.join(NAUGHTY, &json!({})).await?;
    drop((alice, neighbour));
    host.stop().await?;
    Ok(())
}

/// Each message causes messages to many new topics. No topic's queue ever has more than one message, but the limit for all
/// topics of a plugin is reached.
#[tokio::test]
async fn messages_to_ever_more_topics_reach_a_limit() -> Result<()> {
    let (host, mut neighbour) = host().await?;
    post(&host, "/api/send", &json!({"topic": "naughty:a", "event": "spread", "payload": {"width": 1024}})).await?;
    host.log().find(0, "there were too many", |line| line.field("kind") == "overflow").await?;
    is_answered(&mut neighbour).await?;
    let body = json!({"topic": "naughty:z", "event": "spread", "payload": {"width": 1024}});
    // The first messages may have ended meanwhile. Then there is room for one of these, which leaves none for the next.
    let mut is_refused = false;
    for _ in 0..REFUSED_WITHIN {
        let answer = host.post("/api/send", &body).await?;
        ensure!([200, 502, 503].contains(&answer.status), "{answer:?}");
        if answer.status != 200 {
            is_refused = true;
            break;
        }
    }
    ensure!(is_refused, "{REFUSED_WITHIN} times there was room for more");
    // The topics of another plugin still have room.
    post(&host, "/api/send", &json!({"topic": "echo:z", "event": "echo", "payload": {}})).await?;
    post(&host, "/api/plugins/naughty/unload", &json!({})).await?;
    drop(neighbour);
    host.stop().await?;
    Ok(())
}
