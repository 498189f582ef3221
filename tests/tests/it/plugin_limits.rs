//! The limits of single plugins, and what a host says that a plugin uses.

use anyhow::{Result, ensure};
use bennu_tests::{Setup, bennu_with};
use serde_json::{Value, json};

use crate::limit_counts::stop_after_hits;
use crate::limits::{NAUGHTY, joined};

#[tokio::test]
async fn a_plugin_has_a_limit_of_cpu_time_of_its_own() -> Result<()> {
    let config = "[plugins.naughty]\ncall_cpu_ms = 20";
    let host = Setup::new().guests(&["naughty"])?.config(config).limit("call_cpu_ms", 5000).start().await?;
    let mut alice = joined(&host).await?;
    alice.push(NAUGHTY, "slow", &json!({ "ms": 500 })).await?;
    ensure!(alice.json().await?[3] == "phx_error");
    let fault = host.log().find(0, "the fault", |line| line.field("kind") == "deadline").await?;
    let says = "ran for more than 20 ms of CPU time (`plugins.naughty.call_cpu_ms = 20`)";
    ensure!(fault.message().contains(says), "{}", fault.text);
    host.stop().await?;
    Ok(())
}

/// Address space is reserved for the largest plugin.
#[tokio::test]
async fn a_plugin_may_have_more_or_less_memory_than_others() -> Result<()> {
    for (own, others, is_well) in [(64 << 20, 3 << 20, true), (3 << 20, 64 << 20, false)] {
        let config = format!("[plugins.naughty]\nmemory_bytes = {own}");
        let host = Setup::new().guests(&["naughty"])?.config(&config).limit("memory_bytes", others).start().await?;
        let mut alice = joined(&host).await?;
        let reference = alice.push(NAUGHTY, "huge", &json!({ "bytes": 1_500_000 })).await?;
        if is_well {
            ensure!(alice.reply(NAUGHTY, &reference).await?.status == "ok");
        } else {
            ensure!(alice.json().await?[3] == "phx_error");
            let fault = host.log().find(0, "the fault", |line| line.field("kind") == "memory").await?;
            ensure!(fault.message().contains("(`plugins.naughty.memory_bytes = 3145728`)"), "{}", fault.text);
        }
        host.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_plugin_has_a_limit_of_instances_of_its_own() -> Result<()> {
    let setup = Setup::new().guests(&["naughty"])?.config("[plugins.naughty]\ninstances = 1");
    let host = setup.limit("call_cpu_ms", 10_000).start().await?;
    let (mut alice, mut bob) = (joined(&host).await?, joined(&host).await?);
    let slow = alice.push(NAUGHTY, "slow", &json!({ "ms": 300 })).await?;
    alice.quiet().await?;
    let while_slow = host.inspect().await?["plugins"]["naughty"]["usage"].clone();
    ensure!(while_slow["instances"] == 1 && while_slow["instances_idle"] == 0, "{while_slow}");
    let facts = bob.call(NAUGHTY, "facts", &json!({})).await?;
    ensure!(facts["now"].is_u64() && alice.reply(NAUGHTY, &slow).await?.status == "ok");
    let usage = host.inspect().await?["plugins"]["naughty"]["usage"].clone();
    ensure!(usage["instances"] == 1 && usage["instances_idle"] == 1, "{usage}");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_script_has_a_limit_of_evaluation_of_its_own() -> Result<()> {
    let source = "let a = 0;\nfor (let i = 0; i < 3e6; i++) a += i;\nexport default { 'a:*': {} };";
    let config = "[plugins.slow]\ninit_cpu_ms = 5\n[plugins.same]\ninit_cpu_ms = 60000";
    let setup = Setup::new().file("plugins/slow.js", source.into()).config(config).limit("call_wall_ms", 60_000);
    let host = setup.limit("init_cpu_ms", 5).file("plugins/same.js", source.replace("a:", "b:").into()).start().await?;
    let plugins = host.inspect().await?["plugins"].clone();
    let error = plugins["slow"]["last_error"].as_str().unwrap_or_default().to_owned();
    ensure!(error.contains("5 ms of CPU time (`plugins.slow.init_cpu_ms = 5`)"), "{error}");
    ensure!(plugins["same"]["generation"] == 1, "{plugins}");
    stop_after_hits(host, &["init_cpu_ms"]).await
}

/// CPU time is sampled, so it is compared within wide bounds.
#[tokio::test]
async fn the_host_says_what_each_plugin_uses() -> Result<()> {
    let host = Setup::new().guests(&["naughty", "echo"])?.limit("call_cpu_ms", 10_000).start().await?;
    let usage = async |plugin: &str| anyhow::Ok(host.inspect().await?["plugins"][plugin]["usage"].clone());
    let number = |usage: &Value, key: &str| usage[key].as_u64().unwrap_or_default();
    let unused = json!({ "instances": 0, "instances_idle": 0, "memory_bytes": 0, "calls": 0, "faults": 0 });
    let mut echo = usage("echo").await?;
    echo.as_object_mut().map(|fields| fields.remove("cpu_ms"));
    ensure!(echo == unused, "{echo}");
    let mut alice = joined(&host).await?;
    for _ in 0..10 {
        alice.call(NAUGHTY, "count", &json!({})).await?;
    }
    let before = usage("naughty").await?;
    ensure!(number(&before, "calls") == 11 && number(&before, "faults") == 0, "{before}");
    ensure!(number(&before, "instances") >= 1 && number(&before, "memory_bytes") >= 1 << 16, "{before}");
    alice.call(NAUGHTY, "slow", &json!({ "ms": 400 })).await?;
    let after = usage("naughty").await?;
    let spent = number(&after, "cpu_ms") - number(&before, "cpu_ms");
    // The call spins for 400 ms of the clock's time. On a busy machine, it has a part of a processor.
    ensure!((10..=800).contains(&spent), "{spent} ms: {after}");
    alice.push(NAUGHTY, "panic", &json!({})).await?;
    ensure!(alice.json().await?[3] == "phx_error");
    host.shows("the fault and `terminate`", |shown| {
        let usage = &shown["plugins"]["naughty"]["usage"];
        usage["faults"] == 1 && usage["calls"] == 14
    })
    .await?;
    let (address, key) = (format!("http://{}", host.address()), host.api_key()?);
    // A reload doesn't begin again.
    for arguments in [&["plugins", "reload", "naughty"][..], &["plugins"], &["inspect"]] {
        let variables = [("BENNU_HOST", &*address), ("BENNU_API_KEY", &key)];
        let shown = bennu_with(host.home(), arguments, &variables)?;
        ensure!(shown.output.contains(" calls, ") && shown.output.contains(" ms of CPU time, 1 faults; "), "{shown:?}");
    }
    ensure!(number(&usage("naughty").await?, "calls") >= 14);
    host.stop().await?;
    Ok(())
}
