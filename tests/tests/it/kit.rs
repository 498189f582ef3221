//! The test kit for compiled plugins, used from Rust.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bennu::contract::Identity;
use bennu::kit::{Join, Stage, StageSetup};
use bennu::server::Config;
use bennu_tests::places;
use serde_json::json;

/// A configuration that uses the tests' shared cache of compiled plugins.
fn config() -> Result<Config> {
    Ok(Config { cache: Some(places::compiled()?), ..Config::default() })
}

fn stage(plugin: &str) -> Result<Stage> {
    StageSetup::default().config(config()?).plugin(places::guest_file(plugin)?).load()
}

/// The message of a failed assertion.
fn failure<T>(act: impl FnOnce() -> T) -> Result<String> {
    let panic = catch_unwind(AssertUnwindSafe(act)).err().context("the assertion should have failed")?;
    Ok(panic.downcast_ref::<String>().cloned().unwrap_or_default())
}

#[test]
fn the_kit_runs_a_plugin_and_its_members_in_the_process_of_the_test() -> Result<()> {
    let stage = stage("echo")?;
    let mut alice = stage.join("echo:1", json!({})).map_err(|refused| anyhow::anyhow!("{refused}"))?;
    let mut bob = stage.join("echo:1", json!({})).map_err(|refused| anyhow::anyhow!("{refused}"))?;
    let echo = alice.push("echo", json!({ "a": 1, "b": [2] }));
    alice.assert_reply(&echo, "ok", json!({ "b": [2] }));
    let shout = alice.push("shout", json!({ "a": 1 }));
    alice.refute_reply(&shout);
    bob.assert_broadcast("shout", json!({ "a": 1 }));
    bob.refute_broadcast("shout");
    stage.broadcast("echo:1", "news", json!({ "from": "elsewhere" }));
    bob.assert_broadcast("news", json!({}));
    ensure!(alice.received().len() == 2, "alice receives the shout and the news too");
    let leave = bob.leave();
    bob.assert_reply(&leave, "ok", json!({}));
    bob.assert_close();
    bob.close();
    ensure!(stage.faults() == 0, "no callback failed");
    Ok(())
}

#[test]
fn each_build_that_a_stage_loads_is_a_new_generation() -> Result<()> {
    let stage = stage("echo")?;
    ensure!(
        stage.generation("echo") == Some(1) && stage.generation("chat").is_none(),
        "{:?}",
        stage.generation("echo")
    );
    for (build, generation) in [("variants/echo-v2", 2), ("echo", 3), ("variants/echo-v2", 4)] {
        stage.reload_as("echo", &places::guest_file(build)?)?;
        ensure!(stage.generation("echo") == Some(generation), "{:?}", stage.generation("echo"));
    }
    // A refused file doesn't count as a generation.
    ensure!(stage.reload_as("echo", &places::workspace()?.join("README.md")).is_err(), "README.md isn't a plugin");
    ensure!(stage.generation("echo") == Some(4), "{:?}", stage.generation("echo"));
    Ok(())
}

#[test]
fn a_refused_join_gives_its_response_and_a_fault_ends_the_member() -> Result<()> {
    let stage = stage("naughty")?;
    let refused = stage.join("naughty:join_refuse", json!({})).err().context("the join is refused")?;
    ensure!(refused == json!({ "reason": "nobody may join here" }), "{refused}");
    let mut alice = stage.join("naughty:1", json!({})).map_err(|refused| anyhow::anyhow!("{refused}"))?;
    alice.push("panic", json!({}));
    alice.assert_error();
    ensure!(stage.faults() == 1, "one callback failed");
    Ok(())
}

#[test]
fn time_passes_only_when_the_test_says_so() -> Result<()> {
    let stage = stage("naughty")?;
    let mut alice = stage.join("naughty:1", json!({})).map_err(|refused| anyhow::anyhow!("{refused}"))?;
    let began = Instant::now();
    alice.push("timer", json!({ "ms": 3_600_000 }));
    stage.pass(Duration::from_secs(3_590));
    alice.refute_push("rang");
    stage.pass(Duration::from_secs(11));
    alice.assert_push("rang", json!({}));
    ensure!(began.elapsed() < Duration::from_secs(60), "the test doesn't wait in real time");
    Ok(())
}

#[test]
fn a_reload_keeps_the_members_and_their_state() -> Result<()> {
    let stage = stage("echo")?;
    let mut alice = stage.join("echo:1", json!({})).map_err(|refused| anyhow::anyhow!("{refused}"))?;
    let count = alice.push("count", json!({}));
    alice.assert_reply(&count, "ok", json!({ "count": 1, "build": "1" }));
    stage.reload_as("echo", &places::guest_file("variants/echo-v2")?)?;
    let count = alice.push("count", json!({}));
    alice.assert_reply(&count, "ok", json!({ "count": 2, "build": "2" }));
    let missing = stage.reload_as("echo", &places::guest_file("absent")?).err().context("there is no such file")?;
    ensure!(format!("{missing:#}").contains("absent.wasm"), "{missing:#}");
    Ok(())
}

#[test]
fn a_test_sets_the_identity_of_a_client_and_can_disconnect_the_client() -> Result<()> {
    let stage = stage("naughty")?;
    let identity = Identity { socket_id: Some("user:1".into()), user: Some("1".into()), ..Identity::default() };
    let join = Join { identity, params: json!({ "lang": "en" }) };
    let mut alice = stage.join_as(&join, "naughty:1", &json!({})).map_err(|refused| anyhow::anyhow!("{refused}"))?;
    let facts = alice.push("facts", json!({}));
    alice.assert_reply(&facts, "ok", json!({ "socket_id": "user:1", "connect_params": { "lang": "en" } }));
    ensure!(stage.disconnect("user:1") == 1 && stage.disconnect("user:2") == 0, "one socket has the id");
    alice.assert_disconnected(1001);
    Ok(())
}

#[test]
fn a_failed_assertion_shows_the_received_frames() -> Result<()> {
    let stage = stage("echo")?;
    let mut alice = stage.join("echo:1", json!({})).map_err(|refused| anyhow::anyhow!("{refused}"))?;
    let echo = alice.push("echo", json!({ "a": 1 }));
    let message = failure(|| alice.assert_reply(&echo, "ok", json!({ "a": 2 })))?;
    ensure!(message.contains(r#"a reply `ok` with {"a":2}"#) && message.contains(r#""response":{"a":1}"#), "{message}");
    let message = failure(|| alice.refute_reply(&echo))?;
    ensure!(message.contains("but expected none"), "{message}");
    let message = failure(|| alice.assert_push("nothing", json!({})))?;
    ensure!(message.contains("a push of `nothing`"), "{message}");
    Ok(())
}

#[test]
fn assertions_return_the_received_payload_and_give_bytes_as_numbers() -> Result<()> {
    let stage = stage("naughty")?;
    let join = || stage.join("naughty:1", json!({})).map_err(|refused| anyhow::anyhow!("{refused}"));
    let (mut alice, mut bob) = (join()?, join()?);
    let echo = alice.push("echo", json!({ "a": { "b": 7 } }));
    ensure!(alice.assert_reply(&echo, "ok", json!({}))["a"]["b"] == 7, "the response");
    alice.push("push", json!({ "event": "told", "payload": { "id": "x" } }));
    ensure!(alice.assert_push("told", json!({}))["id"] == "x", "the payload of the push");
    alice.push("broadcast", json!({ "event": "news", "payload": { "id": "y" } }));
    ensure!(bob.assert_broadcast("news", json!({}))["id"] == "y", "the payload of the broadcast");
    let bytes = alice.push("binary", json!({}));
    alice.assert_push("bytes", json!([0, 1, 254, 255]));
    alice.assert_reply(&bytes, "ok", json!([3, 2, 1]));
    let echo = alice.push_binary("echo", &[1, 2]);
    alice.assert_reply(&echo, "ok", json!([1, 2]));
    bob.flush();
    ensure!(bob.received().is_empty(), "`flush` drops the received frames");
    Ok(())
}

#[test]
fn a_member_stays_joined_even_if_the_test_does_not_read_its_frames() -> Result<()> {
    let stage = stage("naughty")?;
    let join =
        |join: &Join| stage.join_as(join, "naughty:1", &json!({})).map_err(|refused| anyhow::anyhow!("{refused}"));
    let identity = Identity { socket_id: Some("user:1".into()), ..Identity::default() };
    let (mut alice, bob) = (join(&Join::default())?, join(&Join { identity, ..Join::default() })?);
    drop(join(&Join::default())?);
    let people = alice.push("people", json!({ "topic": "naughty:1" }));
    ensure!(alice.assert_reply(&people, "ok", json!([null, null, null])).is_array(), "three members are joined");
    // These are more frames than an outbox can hold. The test doesn't read those to bob.
    for _ in 0..3 {
        (0..500).for_each(|_| stage.broadcast("naughty:1", "news", json!({})));
        alice.flush();
    }
    ensure!(stage.disconnect("user:1") == 1, "one socket has the id");
    alice.assert_broadcast("gone", json!({ "member": 2, "cause": "closed" }));
    ensure!(!bob.is_in() && alice.is_in(), "only bob was disconnected");
    alice.leave();
    alice.assert_close();
    ensure!(!alice.is_in(), "alice has left");
    Ok(())
}

#[test]
fn a_member_can_join_again_and_has_the_published_state_of_its_topic() -> Result<()> {
    let stage = stage("naughty")?;
    let join = || stage.join("unruly:1", json!({})).map_err(|refused| anyhow::anyhow!("{refused}"));
    let mut alice = join()?;
    ensure!(alice.room_state().is_none(), "nothing was published");
    alice.push("publish", json!({ "state": { "a": 1, "long": "unchanged", "none": null } }));
    alice.push("publish", json!({ "state": { "a": 2, "long": "unchanged" } }));
    alice.assert_broadcast("room_diff", json!({ "patch": { "a": 2 } }));
    ensure!(alice.room_state() == Some(json!({ "a": 2, "long": "unchanged" })), "{:?}", alice.room_state());
    let mut again = alice.rejoin(json!({})).map_err(|refused| anyhow::anyhow!("{refused}"))?;
    alice.assert_close();
    ensure!(!alice.is_in() && again.is_in(), "the new membership replaces the old one");
    let look = again.push("look", json!({}));
    again.assert_reply(&look, "ok", json!({ "ended": ["replaced"] }));
    Ok(())
}

#[test]
fn a_test_sets_the_stored_values_and_the_time() -> Result<()> {
    let plugin = places::guest_file("naughty")?;
    let stage = StageSetup::default().config(config()?).plugin(plugin).now(1_000).load()?;
    // MessagePack encodes a small number as one byte with this value.
    stage.store("naughty", b"n", &[41])?;
    let mut alice = stage.join("naughty:1", json!({})).map_err(|refused| anyhow::anyhow!("{refused}"))?;
    let count = alice.push("store_count", json!({ "key": "n" }));
    alice.assert_reply(&count, "ok", json!({ "count": 42 }));
    ensure!(
        stage.stored("naughty", b"n")? == Some(vec![42]) && stage.stored("naughty", b"m")?.is_none(),
        "the plugin has stored 42"
    );
    ensure!(stage.stored("nobody", b"n").is_err(), "there is no such plugin");
    let facts = alice.push("facts", json!({}));
    let now = alice.assert_reply(&facts, "ok", json!({}))["now"].clone();
    ensure!((1_000..2_000).contains(&now.as_u64().unwrap_or_default()), "{now}");
    Ok(())
}
