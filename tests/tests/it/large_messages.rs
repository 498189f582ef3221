//! The largest legal messages: by default, none of them takes a plugin too much CPU time.

use anyhow::{Context, Result, ensure};
use bennu::contract::CallLimits;
use bennu_test_tiers::{bound, rounds};
use bennu_tests::{Setup, TestHost};
use serde_json::{Map, Value, json};

const ECHO: &str = r#"import { channel, plugin } from "bennu";

export default plugin({ "bench:*": channel({ state: { count: 0 }, on: {
  parse: (payload: unknown) => payload,
  count: (_: unknown, socket) => ({ count: ++socket.state.count }),
} }) });
"#;

/// The maximum size of a message is 1 MiB, with its topic and its event.
const BYTES: usize = (1 << 20) - 100;

/// The number of keys of an object of about this size.
const KEYS: usize = 95_000;

/// Payloads of about the maximum size that cost a JSON parser differently much.
fn payloads() -> Vec<(&'static str, Value)> {
    let many = |item: &Value| {
        let count = BYTES / (item.to_string().len() + 1) - 1;
        json!({ "all": vec![item; count] })
    };
    vec![
        ("one text", json!({ "text": "x".repeat(BYTES - 20) })),
        ("numbers", many(&json!(7))),
        ("fractions", many(&json!(0.123_456_7))),
        ("empty objects", many(&json!({}))),
        ("nested arrays", many(&json!([[[[1]]]]))),
        ("keys", json!((0..KEYS).map(|key| (format!("k{key}"), json!(1))).collect::<Map<_, _>>())),
        ("objects", many(&json!({ "id": 1, "name": "ada", "at": [0.5, null, true] }))),
        ("escapes", many(&json!("\n\u{e9}\u{1f600}"))),
    ]
}

#[tokio::test]
async fn no_message_of_the_maximum_size_exceeds_the_default_cpu_time() -> Result<()> {
    let defaults = bound("large_messages::call_cpu").context("both tiers have a bound")?;
    let allowed = defaults * u64::try_from(CallLimits::default().cpu.as_millis())?;
    let typescript = Setup::new().file("plugins/echo.ts", ECHO.into());
    for (setup, language) in [(typescript, "TypeScript"), (Setup::new().guests(&["echo"])?, "Rust")] {
        let host = setup.limit("call_cpu_ms", allowed).limit("call_wall_ms", 60_000).start().await?;
        let mut client = host.connect().await?;
        client.join("bench:1", &json!({})).await?;
        for (what, payload) in payloads() {
            ensure!(client.call("bench:1", "parse", &payload).await? == payload, "{language}: {what}");
        }
        drop(client);
        host.stop().await?;
    }
    Ok(())
}

/// Calls that wait for their replies at the same time.
const WINDOW: usize = 32;

/// The instance of a script doesn't grow with its calls.
#[tokio::test]
async fn the_memory_of_an_instance_in_typescript_is_flat() -> Result<()> {
    memory_is_flat(Setup::new().file("plugins/echo.ts", ECHO.into())).await
}

/// The suite `languages` has the same test for Go and Python.
#[tokio::test]
async fn the_memory_of_an_instance_in_rust_is_flat() -> Result<()> {
    memory_is_flat(Setup::new().guests(&["echo"])?).await
}

/// Calls one instance of the plugin `echo` again and again. Its memory must not grow after the first quarter of the calls.
async fn memory_is_flat(setup: Setup) -> Result<()> {
    let setup = setup.config("[plugins.echo]\ninstances = 1");
    let host = setup.limit("calls_per_instance", 100_000_000).limit("call_wall_ms", 60_000).start().await?;
    let mut client = host.connect().await?;
    client.join("bench:1", &json!({})).await?;
    let calls = rounds("instances::calls");
    let first = calls / 4;
    let (mut sent, mut before) = (std::collections::VecDeque::new(), 0);
    let payload = json!({ "text": "some text", "list": [1, 2, { "three": 3 }] });
    for call in 0..calls + WINDOW {
        if call < calls {
            let event = if call % 2 == 0 { "parse" } else { "count" };
            sent.push_back(client.push("bench:1", event, &payload).await?);
        }
        if call >= WINDOW {
            let reference = sent.pop_front().unwrap_or_default();
            ensure!(client.reply("bench:1", &reference).await?.status == "ok");
        }
        if call == first {
            before = memory(&host).await?;
        }
    }
    let after = memory(&host).await?;
    ensure!(after <= before + (128 << 10), "{before} bytes after {first} calls, and {after} after {calls}");
    drop(client);
    host.stop().await?;
    Ok(())
}

async fn memory(host: &TestHost) -> Result<u64> {
    let usage = host.inspect().await?["plugins"]["echo"]["usage"].clone();
    ensure!(usage["instances"] == 1, "{usage}");
    Ok(usage["memory_bytes"].as_u64().unwrap_or_default())
}
