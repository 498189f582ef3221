//! The instances of a script: where they are evaluated, that one is ready, and which builds they belong to.

use std::fs;

use anyhow::{Context, Result, ensure};
use bennu::plugin::Digest;
use bennu_tests::{Setup, TestClient, TestHost, bennu, places};
use rustix::process::Signal;
use serde_json::{Value, json};

const BUSY: &str = r#"import { channel, plugin } from "bennu";

export default plugin({ "busy:*": channel({ onFault: "keep", state: {}, on: {
  work: ({ rounds }: { rounds: number }) => {
    let sum = 0;
    for (let i = 0; i < rounds; i++) sum += i;
    return { sum };
  },
  fail: () => { throw new Error("a mistake"); },
} }) });
"#;

const CLIENTS: usize = 8;

fn usage(shown: &Value) -> &Value {
    &shown["plugins"]["busy"]["usage"]
}

/// Threads that serve connections have other things to do. Each log line of an evaluation has its thread.
#[tokio::test]
async fn no_thread_that_serves_connections_evaluates_a_script() -> Result<()> {
    let setup = Setup::new().file("plugins/busy.ts", BUSY.into()).arguments(&["--log", "info,bennu::plugin=debug"]);
    let host = setup.limit("call_cpu_ms", 5000).limit("call_wall_ms", 60_000).start().await?;
    let mut clients: Vec<TestClient> = Vec::new();
    for n in 0..CLIENTS {
        let mut client = host.connect().await?;
        client.join(&format!("busy:{n}"), &json!({})).await?;
        clients.push(client);
    }
    for _ in 0..3 {
        for (event, payload) in [("work", json!({ "rounds": 200_000 })), ("fail", json!({}))] {
            let mut sent = Vec::new();
            for (n, client) in clients.iter_mut().enumerate() {
                sent.push(client.push(&format!("busy:{n}"), event, &payload).await?);
            }
            for (n, client) in clients.iter_mut().enumerate() {
                let expected = if event == "work" { "ok" } else { "error" };
                ensure!(client.reply(&format!("busy:{n}"), &sent[n]).await?.status == expected);
            }
        }
    }
    let lines = host.log().since(0);
    let threads: Vec<&str> =
        lines.iter().filter(|line| line.message() == "script_evaluated").map(|line| line.field("thread")).collect();
    // Each fault has cost an instance.
    ensure!(threads.len() > 3 * CLIENTS, "{threads:?}");
    ensure!(threads.iter().all(|thread| !thread.is_empty() && !thread.starts_with("bennu-wire")), "{threads:?}");
    drop(clients);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn an_instance_is_ready_before_the_first_call_and_after_a_fault() -> Result<()> {
    let host = Setup::new().file("plugins/busy.ts", BUSY.into()).limit("call_cpu_ms", 5000).start().await?;
    let loaded = host.inspect().await?;
    ensure!(usage(&loaded)["instances"] == 1 && usage(&loaded)["instances_idle"] == 1, "{}", usage(&loaded));
    let mut client = host.connect().await?;
    client.join("busy:1", &json!({})).await?;
    for _ in 0..3 {
        ensure!(client.ask("busy:1", "fail", &json!({})).await?.status == "error");
        host.shows("an unused instance", |shown| usage(shown)["instances_idle"].as_u64() >= Some(1)).await?;
    }
    // One call after another needs an instance, and one more is ready.
    for _ in 0..20 {
        client.call("busy:1", "work", &json!({ "rounds": 1 })).await?;
    }
    let shown = host.shows("two instances", |shown| usage(shown)["instances"] == 2).await?;
    ensure!(usage(&shown)["memory_bytes"].as_u64() > Some(200_000), "{}", usage(&shown));
    drop(client);
    host.stop().await?;
    Ok(())
}

/// A spare instance counts for the limit.
#[tokio::test]
async fn a_plugin_with_one_instance_has_no_spare_one() -> Result<()> {
    let setup = Setup::new().file("plugins/busy.ts", BUSY.into()).config("[plugins.busy]\ninstances = 1");
    let host = setup.limit("call_cpu_ms", 5000).start().await?;
    let mut client = host.connect().await?;
    client.join("busy:1", &json!({})).await?;
    for event in ["work", "fail", "work"] {
        client.ask("busy:1", event, &json!({ "rounds": 1 })).await?;
        let shown = host.inspect().await?;
        ensure!(
            usage(&shown)["instances"].as_u64() <= Some(1),
            "{event}: {}\n{}",
            shown["plugins"],
            host.log().tail(30)
        );
    }
    drop(client);
    host.stop().await?;
    Ok(())
}

const OLD: &str = r#"import { channel, plugin } from "bennu";
export default plugin({ "room:*": channel({ state: {}, on: { go: () => ({ build: "old" }), same: () => ({}) } }) });
"#;

/// Replaces the build that has passed by one that differs in the engine, and in its source if `source` says so: as if an
/// earlier version of the host had run it.
fn as_of_another_host(host: &TestHost, source: impl FnOnce(&str) -> String) -> Result<()> {
    let builds = host.home().join("data/builds");
    let proved = fs::read_to_string(builds.join("proved.json"))?;
    let record: Value = serde_json::from_str(&proved)?;
    let digest = record["chat"]["proved"].as_str().context("the build has passed")?.to_owned();
    let build = fs::read_to_string(builds.join(&digest).with_extension("wasm"))?;
    let (head, text) = build.split_once("\n\n").context("the build has a head")?;
    let engine = head.lines().find(|line| line.starts_with("engine ")).context("the build names its engine")?;
    let other = format!("{}\n\n{}", head.replace(engine, &format!("engine {}", "0".repeat(64))), source(text));
    let other_digest = Digest::of(other.as_bytes()).to_string();
    fs::write(builds.join(&other_digest).with_extension("wasm"), other)?;
    Ok(fs::write(builds.join("proved.json"), proved.replace(&digest, &other_digest))?)
}

/// A new version of the host may have another engine. Then each script is a build that must pass its probation.
#[tokio::test]
async fn a_script_on_another_engine_is_another_build_on_probation() -> Result<()> {
    let host = Setup::new().file("plugins/chat.ts", OLD.into()).start().await?;
    let mut client = host.connect().await?;
    client.join("room:1", &json!({})).await?;
    client.call("room:1", "go", &json!({})).await?;
    host.shows("the build has passed", |shown| shown["plugins"]["chat"]["standing"] == "proved").await?;
    client.close().await?;

    // The file is the same, and only the engine differs.
    let host = host.restart_after(Signal::TERM, |host| as_of_another_host(host, str::to_owned)).await?;
    let chat = host.inspect().await?["plugins"]["chat"].clone();
    ensure!(chat["standing"] == "on-probation" && chat["generation"] == 2, "{chat}");
    ensure!(chat["probation"]["instead"] == 1, "{chat}");
    let mut client = host.connect().await?;
    client.join("room:1", &json!({})).await?;
    ensure!(client.call("room:1", "go", &json!({})).await? == json!({ "build": "old" }));
    client.close().await?;
    host.stop().await?;
    Ok(())
}

/// The earlier source answers a call on which the new source fails.
#[tokio::test]
async fn a_source_of_an_earlier_engine_answers_during_the_probation() -> Result<()> {
    let host = Setup::new().file("plugins/chat.ts", OLD.into()).start().await?;
    let mut client = host.connect().await?;
    client.join("room:1", &json!({})).await?;
    client.call("room:1", "go", &json!({})).await?;
    host.shows("the build has passed", |shown| shown["plugins"]["chat"]["standing"] == "proved").await?;
    client.close().await?;
    let host = host
        .restart_after(Signal::TERM, |host| {
            as_of_another_host(host, |text| text.replace("\"old\"", "\"older\""))?;
            let faulty = OLD.replace("({ build: \"old\" })", "{ throw new Error(\"a mistake\"); }");
            Ok(fs::write(host.home().join("plugins/chat.ts"), faulty)?)
        })
        .await?;
    let mut client = host.connect().await?;
    client.join("room:1", &json!({})).await?;
    client.call("room:1", "same", &json!({})).await?;
    ensure!(client.call("room:1", "go", &json!({})).await? == json!({ "build": "older" }));
    let shown = host.inspect().await?["plugins"]["chat"].clone();
    ensure!(shown["probation"]["faults"] == 1, "{shown}");
    client.close().await?;
    host.stop().await?;
    Ok(())
}

#[test]
fn a_script_of_a_test_reloads_to_another_source() -> Result<()> {
    let home = tempfile::tempdir()?;
    fs::create_dir(home.path().join("next"))?;
    fs::write(home.path().join("chat.ts"), OLD)?;
    fs::write(home.path().join("next/chat.js"), OLD.replace("\"old\"", "\"new\""))?;
    let script = "alice > join room:1\nalice < ok {}\nalice > go\nalice < ok {\"build\": \"old\"}\nhost ! reload chat next/chat.js\n\
                  alice > go\nalice < ok {\"build\": \"new\"}";
    fs::write(home.path().join("a.script"), script)?;
    let config = format!("cache = {:?}\n[limits]\ncall_cpu_ms = 2000", places::compiled()?.display().to_string());
    fs::write(home.path().join("bennu.toml"), config)?;
    let played = bennu(home.path(), &["test", "chat.ts", "a.script", "--config", "bennu.toml"])?;
    ensure!(played.code == Some(0), "{played:?}");
    Ok(())
}
