//! The encodings on the wire: version 1, binary frames, and messages between clients with different encodings.

use anyhow::{Result, ensure};
use bennu_tests::{Cast, Setup, TestHost};
use serde_json::{Value, json};

#[tokio::test]
async fn version_1_uses_objects_without_join_refs() -> Result<()> {
    let host = TestHost::start(&["naughty"]).await?;
    // Without `vsn`, a client uses version 1.
    let mut old = host.connect_request().query("").connect().await?;
    old.send(r#"{"topic":"naughty:1","event":"phx_join","payload":{},"ref":"1"}"#).await?;
    let joined = json!({"status": "ok", "response": {"member": 1}});
    old.expect(&json!({"topic": "naughty:1", "event": "phx_reply", "payload": joined, "ref": "1"})).await?;
    old.send(r#"{"topic":"naughty:1","event":"echo","payload":{"a":1},"ref":2}"#).await?;
    let echoed = json!({"status": "ok", "response": {"a": 1}});
    old.expect(&json!({"topic": "naughty:1", "event": "phx_reply", "payload": echoed, "ref": 2})).await?;

    // A client of version 2 gets the same broadcast in its own encoding.
    let mut cast = Cast::new(&host);
    cast.play(
        r#"
        alice > join naughty:1
        alice < ok {"member": 2}
        alice > shout {"hello": "old"}
        alice < [null,null,"naughty:1","shout",{"hello":"old"}]
        alice < ok {}
        "#,
    )
    .await?;
    old.expect(&json!({"topic": "naughty:1", "event": "shout", "payload": {"hello": "old"}, "ref": null})).await?;
    old.send(r#"{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"3"}"#).await?;
    let heartbeat = json!({"status": "ok", "response": {}});
    old.expect(&json!({"topic": "phoenix", "event": "phx_reply", "payload": heartbeat, "ref": "3"})).await?;
    old.send(r#"{"topic":"naughty:1","event":"panic","payload":{},"ref":"4"}"#).await?;
    let crash = json!({"reason": "channel_crash"});
    old.expect(&json!({"topic": "naughty:1", "event": "phx_error", "payload": crash, "ref": null})).await?;
    drop((old, cast));
    host.stop().await?;
    Ok(())
}

/// A binary frame: its kind, the lengths of its fields, the fields, and the data.
fn frame(kind: u8, fields: &[&str], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(fields.iter().map(|field| u8::try_from(field.len()).unwrap_or(u8::MAX)));
    bytes.extend(fields.iter().flat_map(|field| field.bytes()));
    bytes.extend(data);
    bytes
}

const PUSH: u8 = 0;
const REPLY: u8 = 1;
const BROADCAST: u8 = 2;

#[tokio::test]
async fn bytes_are_sent_in_binary_frames() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let (mut alice, mut bob) = (host.connect().await?, host.connect().await?);
    alice.join("echo:1", &json!({})).await?;
    bob.join("echo:1", &json!({})).await?;
    alice.send_binary(frame(PUSH, &["1", "2", "echo:1", "echo"], &[1, 2, 255])).await?;
    ensure!(alice.binary().await? == frame(REPLY, &["1", "2", "echo:1", "ok"], &[1, 2, 255]));
    alice.send_binary(frame(PUSH, &["1", "3", "echo:1", "shout"], &[7, 8])).await?;
    for member in [&mut alice, &mut bob] {
        ensure!(member.binary().await? == frame(BROADCAST, &["echo:1", "shout"], &[7, 8]));
    }
    // An empty payload is binary too.
    alice.send_binary(frame(PUSH, &["1", "4", "echo:1", "echo"], &[])).await?;
    ensure!(alice.binary().await? == frame(REPLY, &["1", "4", "echo:1", "ok"], &[]));
    // An empty ref is answered with an empty ref. An empty join ref isn't null, so it belongs to another join.
    alice.send_binary(frame(PUSH, &["1", "", "echo:1", "echo"], &[5])).await?;
    ensure!(alice.binary().await? == frame(REPLY, &["1", "", "echo:1", "ok"], &[5]));
    alice.send_binary(frame(PUSH, &["", "5", "echo:1", "echo"], &[5])).await?;
    alice.quiet().await?;
    drop((alice, bob));
    host.stop().await?;
    Ok(())
}

/// The encoding of an answer depends on its payload, and not on the encoding of the message.
#[tokio::test]
async fn an_answer_is_binary_if_its_payload_is() -> Result<()> {
    let host = TestHost::start(&["naughty", "echo"]).await?;
    let mut alice = host.connect().await?;
    alice.join("naughty:1", &json!({})).await?;
    alice.send(r#"["1","2","naughty:1","binary",{}]"#).await?;
    ensure!(alice.binary().await? == frame(PUSH, &["1", "naughty:1", "bytes"], &[0, 1, 254, 255]));
    ensure!(alice.binary().await? == frame(REPLY, &["1", "2", "naughty:1", "ok"], &[3, 2, 1]));
    alice.send_binary(frame(PUSH, &["1", "3", "naughty:1", "count"], &[5])).await?;
    alice.expect(&reply("1", "3", "naughty:1", "ok", &json!({"count": 1}))).await?;

    alice.send_binary(frame(PUSH, &["", "4", "phoenix", "heartbeat"], &[])).await?;
    alice.expect(&json!([null, "4", "phoenix", "phx_reply", {"status": "ok", "response": {}}])).await?;
    alice.send_binary(frame(PUSH, &["7", "7", "echo:1", "phx_join"], &[5])).await?;
    alice.expect(&reply("7", "7", "echo:1", "ok", &json!({}))).await?;
    alice.send_binary(frame(PUSH, &["1", "5", "echo:2", "echo"], &[5])).await?;
    let unmatched = json!({"reason": "unmatched topic"});
    alice.expect(&json!([null, "5", "echo:2", "phx_reply", {"status": "error", "response": unmatched}])).await?;
    alice.send_binary(frame(PUSH, &["1", "6", "naughty:1", "panic"], &[])).await?;
    alice.expect(&json!(["1", "1", "naughty:1", "phx_error", {"reason": "channel_crash"}])).await?;
    drop(alice);
    host.stop().await?;
    Ok(())
}

/// Version 1 has no encoding for bytes. Its clients don't get them, and other clients aren't affected.
#[tokio::test]
async fn bytes_are_not_sent_to_a_client_of_version_1() -> Result<()> {
    let host = TestHost::start(&["echo"]).await?;
    let mut old = host.connect_request().query("vsn=1.0.0").connect().await?;
    // In version 1, a binary frame is read as text.
    let join = r#"{"topic":"echo:1","event":"phx_join","payload":{},"ref":"1"}"#;
    old.send_binary(join.as_bytes()).await?;
    let ok = json!({"status": "ok", "response": {}});
    old.expect(&json!({"topic": "echo:1", "event": "phx_reply", "payload": ok, "ref": "1"})).await?;
    let mut alice = host.connect().await?;
    alice.join("echo:1", &json!({})).await?;
    alice.send_binary(frame(PUSH, &["1", "2", "echo:1", "shout"], &[7])).await?;
    ensure!(alice.binary().await? == frame(BROADCAST, &["echo:1", "shout"], &[7]));
    alice.push("echo:1", "shout", &json!({"text": "again"})).await?;
    old.expect(&json!({"topic": "echo:1", "event": "shout", "payload": {"text": "again"}, "ref": null})).await?;
    drop((old, alice));
    host.stop().await?;
    Ok(())
}

fn reply(join_ref: &str, reference: &str, topic: &str, status: &str, response: &Value) -> Value {
    json!([join_ref, reference, topic, "phx_reply", {"status": status, "response": response}])
}

/// A member that reads late gets all frames in order, although they are more than the connection's buffers hold. The frames
/// have various lengths.
#[tokio::test]
async fn frames_of_every_length_arrive_in_order_at_a_late_reader() -> Result<()> {
    const BYTES: usize = 8 << 20;
    let setup = Setup::new().guests(&["echo"])?.limit("outbox_bytes", 64 << 20).limit("outbox_frames", 100_000);
    let host = setup.start().await?;
    // The host copies short frames together, and writes long frames without a copy.
    for lengths in [vec![700], vec![10, 700, 3_000, 60_000, 1_000]] {
        let mut late = host.connect_request().receive_buffer(16 << 10).connect().await?;
        late.join("echo:1", &json!({})).await?;
        let mut bob = host.connect().await?;
        bob.join("echo:1", &json!({})).await?;
        let shouts = BYTES * lengths.len() / lengths.iter().sum::<usize>();
        let payload = |n: usize| json!({"n": n, "filler": "x".repeat(lengths[n % lengths.len()])});
        for n in 0..shouts {
            bob.push("echo:1", "shout", &payload(n)).await?;
            // When Bob has the frame, the host has also queued it for the other connection.
            bob.expect(&json!([null, null, "echo:1", "shout", payload(n)])).await?;
        }
        for n in 0..shouts {
            late.expect(&json!([null, null, "echo:1", "shout", payload(n)])).await?;
        }
        drop((late, bob));
    }
    host.stop().await?;
    Ok(())
}
