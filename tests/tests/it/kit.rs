//! The test kit for compiled plugins, used from Rust.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bennu::contract::Identity;
use bennu::server::Config;
use bennu_kit::{Join, Stage, StageSetup};
use bennu_tests::places;
use serde_json::json;

/// A configuration whose compiled plugins are kept with those of the other tests.
fn config() -> Result<Config> {
    Ok(Config { cache: Some(places::compiled()?), ..Config::default() })
}

fn stage(plugin: &str) -> Result<Stage> {
    StageSetup::default().config(config()?).plugin(places::guest_file(plugin)?).load()
}

/// What a failed assertion says.
fn failure<T>(act: impl FnOnce() -> T) -> Result<String> {
    let panic = catch_unwind(AssertUnwindSafe(act)).err().context("the assertion should have failed")?;
    Ok(panic.downcast_ref::<String>().cloned().unwrap_or_default())
}

#[test]
fn members_are_played_in_process() -> Result<()> {
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
    ensure!(alice.received().len() == 2, "the shout and the news are alice's too");
    let leave = bob.leave();
    bob.assert_reply(&leave, "ok", json!({}));
    bob.assert_close();
    bob.close();
    ensure!(stage.faults() == 0, "nothing failed");
    Ok(())
}

#[test]
fn every_build_on_a_stage_is_a_generation_of_its_own() -> Result<()> {
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
    // One that can't be served is none.
    ensure!(stage.reload_as("echo", &places::workspace()?.join("README.md")).is_err(), "it is no plugin");
    ensure!(stage.generation("echo") == Some(4), "{:?}", stage.generation("echo"));
    Ok(())
}

#[test]
fn a_refused_join_gives_its_response_and_a_fault_ends_the_member() -> Result<()> {
    let stage = stage("naughty")?;
    let refused = stage.join("naughty:join_refuse", json!({})).err().context("it is refused")?;
    ensure!(refused == json!({ "reason": "nobody may join here" }), "{refused}");
    let mut alice = stage.join("naughty:1", json!({})).map_err(|refused| anyhow::anyhow!("{refused}"))?;
    alice.push("panic", json!({}));
    alice.assert_error();
    ensure!(stage.faults() == 1, "one callback failed");
    Ok(())
}

#[test]
fn time_passes_only_when_it_is_told_to() -> Result<()> {
    let stage = stage("naughty")?;
    let mut alice = stage.join("naughty:1", json!({})).map_err(|refused| anyhow::anyhow!("{refused}"))?;
    let began = Instant::now();
    alice.push("timer", json!({ "ms": 3_600_000 }));
    stage.pass(Duration::from_secs(3_590));
    alice.refute_push("rang");
    stage.pass(Duration::from_secs(11));
    alice.assert_push("rang", json!({}));
    ensure!(began.elapsed() < Duration::from_secs(60), "an hour took an hour's part");
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
fn who_connects_is_said_by_the_test_and_can_be_disconnected() -> Result<()> {
    let stage = stage("naughty")?;
    let identity = Identity { socket_id: Some("user:1".into()), user: Some("1".into()), ..Identity::default() };
    let who = Join { identity, params: json!({ "lang": "en" }) };
    let mut alice = stage.join_as(&who, "naughty:1", &json!({})).map_err(|refused| anyhow::anyhow!("{refused}"))?;
    let facts = alice.push("facts", json!({}));
    alice.assert_reply(&facts, "ok", json!({ "socket_id": "user:1", "connect_params": { "lang": "en" } }));
    ensure!(stage.disconnect("user:1") == 1 && stage.disconnect("user:2") == 0, "one socket has the id");
    alice.assert_disconnected(1001);
    Ok(())
}

#[test]
fn an_assertion_that_fails_says_what_came() -> Result<()> {
    let stage = stage("echo")?;
    let mut alice = stage.join("echo:1", json!({})).map_err(|refused| anyhow::anyhow!("{refused}"))?;
    let echo = alice.push("echo", json!({ "a": 1 }));
    let said = failure(|| alice.assert_reply(&echo, "ok", json!({ "a": 2 })))?;
    ensure!(said.contains(r#"a reply `ok` with {"a":2}"#) && said.contains(r#""response":{"a":1}"#), "{said}");
    let said = failure(|| alice.refute_reply(&echo))?;
    ensure!(said.contains("but expected none"), "{said}");
    let said = failure(|| alice.assert_push("nothing", json!({})))?;
    ensure!(said.contains("a push of `nothing`"), "{said}");
    Ok(())
}

#[test]
fn what_came_is_given_to_the_test_and_bytes_are_numbers() -> Result<()> {
    let stage = stage("naughty")?;
    let join = || stage.join("naughty:1", json!({})).map_err(|refused| anyhow::anyhow!("{refused}"));
    let (mut alice, mut bob) = (join()?, join()?);
    let echo = alice.push("echo", json!({ "a": { "b": 7 } }));
    ensure!(alice.assert_reply(&echo, "ok", json!({}))["a"]["b"] == 7, "the response");
    alice.push("push", json!({ "event": "told", "payload": { "id": "x" } }));
    ensure!(alice.assert_push("told", json!({}))["id"] == "x", "what was pushed");
    alice.push("broadcast", json!({ "event": "news", "payload": { "id": "y" } }));
    ensure!(bob.assert_broadcast("news", json!({}))["id"] == "y", "what was broadcast");
    let bytes = alice.push("binary", json!({}));
    alice.assert_push("bytes", json!([0, 1, 254, 255]));
    alice.assert_reply(&bytes, "ok", json!([3, 2, 1]));
    let echo = alice.push_binary("echo", &[1, 2]);
    alice.assert_reply(&echo, "ok", json!([1, 2]));
    bob.flush();
    ensure!(bob.received().is_empty(), "it was forgotten");
    Ok(())
}

#[test]
fn a_member_stays_in_until_it_ends_whether_anybody_looks_or_not() -> Result<()> {
    let stage = stage("naughty")?;
    let join = |who: &Join| stage.join_as(who, "naughty:1", &json!({})).map_err(|refused| anyhow::anyhow!("{refused}"));
    let identity = Identity { socket_id: Some("user:1".into()), ..Identity::default() };
    let (mut alice, bob) = (join(&Join::default())?, join(&Join { identity, ..Join::default() })?);
    drop(join(&Join::default())?);
    let people = alice.push("people", json!({ "topic": "naughty:1" }));
    ensure!(alice.assert_reply(&people, "ok", json!([null, null, null])).is_array(), "three are in");
    // More than an outbox holds, to one whose test doesn't look.
    for _ in 0..3 {
        (0..500).for_each(|_| stage.broadcast("naughty:1", "news", json!({})));
        alice.flush();
    }
    ensure!(stage.disconnect("user:1") == 1, "one socket has the id");
    alice.assert_broadcast("gone", json!({ "member": 2, "cause": "closed" }));
    ensure!(!bob.is_in() && alice.is_in(), "it was disconnected, and hadn't been before");
    alice.leave();
    alice.assert_close();
    ensure!(!alice.is_in(), "it has left");
    Ok(())
}

#[test]
fn a_member_joins_again_and_follows_what_its_topic_publishes() -> Result<()> {
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
    ensure!(!alice.is_in() && again.is_in(), "one membership took the place of the other");
    let look = again.push("look", json!({}));
    again.assert_reply(&look, "ok", json!({ "ended": ["replaced"] }));
    Ok(())
}

#[test]
fn a_test_says_what_is_stored_and_what_time_it_is() -> Result<()> {
    let plugin = places::guest_file("naughty")?;
    let stage = StageSetup::default().config(config()?).plugin(plugin).now(1_000).load()?;
    // MessagePack has small numbers as they are.
    stage.store("naughty", b"n", &[41])?;
    let mut alice = stage.join("naughty:1", json!({})).map_err(|refused| anyhow::anyhow!("{refused}"))?;
    let count = alice.push("store_count", json!({ "key": "n" }));
    alice.assert_reply(&count, "ok", json!({ "count": 42 }));
    ensure!(
        stage.stored("naughty", b"n")? == Some(vec![42]) && stage.stored("naughty", b"m")?.is_none(),
        "it is there"
    );
    ensure!(stage.stored("nobody", b"n").is_err(), "there is no such plugin");
    let facts = alice.push("facts", json!({}));
    let now = alice.assert_reply(&facts, "ok", json!({}))["now"].clone();
    ensure!((1_000..2_000).contains(&now.as_u64().unwrap_or_default()), "{now}");
    Ok(())
}
