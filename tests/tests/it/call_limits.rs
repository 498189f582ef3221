//! Exceeds every limit of calls and instances.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use bennu_tests::{Cast, Setup, TestHost, check};
use serde_json::json;

use crate::limit_counts::stop_after_hits;
use crate::limits::{NAUGHTY, joined, limited};
use crate::metrics::scrape;

/// Asserts that an event succeeds with the limit `well`, and is a fault of this kind with the limit `fault`.
pub(crate) async fn divides(key: &str, well: u64, fault: u64, event: &str, kind: &str) -> Result<()> {
    for (value, is_well) in [(well, true), (fault, false)] {
        let host = limited(key, value).await?;
        let script = if is_well {
            "alice > EVENT\nalice < ok …"
        } else {
            "alice > EVENT\nalice < phx_error\nbob < gone {\"member\": 2, \"cause\": \"fault\", \"detail\": \"KIND\"}"
        };
        let mut cast = Cast::new(&host);
        cast.play("bob > join naughty:1\nbob < ok …\nalice > join naughty:1\nalice < ok …").await?;
        cast.play(&script.replace("EVENT", event).replace("KIND", kind)).await?;
        cast.play("bob > count\nbob < ok {\"count\": 1}\nbob ~").await?;
        drop(cast);
        stop_after_hits(host, &[key][usize::from(is_well)..]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn call_cpu_ms() -> Result<()> {
    divides("call_cpu_ms", 60_000, 20, r#"slow {"ms": 1000}"#, "deadline").await
}

#[tokio::test]
async fn call_wall_ms() -> Result<()> {
    let setup = Setup::new().guests(&["naughty"])?.limit("call_cpu_ms", 60_000).limit("call_wall_ms", 300);
    let host = setup.start().await?;
    check(
        &host,
        r#"
        bob   > join naughty:1
        bob   < ok …
        alice > join naughty:1
        alice < ok …
        alice > slow {"ms": 60000}
        alice < phx_error
        bob   < gone {"member": 2, "cause": "fault", "detail": "deadline"}
        "#,
    )
    .await?;
    let fault = host.log().find(0, "the fault", |line| line.field("kind") == "deadline").await?;
    ensure!(fault.message().contains("more than 300 ms"), "{}", fault.text);
    stop_after_hits(host, &["call_wall_ms"]).await
}

#[tokio::test]
async fn memory_bytes() -> Result<()> {
    // The plugin needs about three times the memory of its reply.
    divides("memory_bytes", 64 << 20, 3 << 20, r#"huge {"bytes": 1500000}"#, "memory").await
}

#[tokio::test]
async fn assigns_bytes() -> Result<()> {
    divides("assigns_bytes", 2 << 20, 1 << 20, "huge_assigns", "oversize").await
}

/// A late reply counts once, as an immediate reply does.
#[tokio::test]
async fn a_late_reply_counts_once_for_effect_bytes() -> Result<()> {
    // The ref and `{"late":true}` have 16 bytes together. The payload of the timer before it has nearly as many.
    let host = limited("effect_bytes", 24).await?;
    let mut cast = Cast::new(&host);
    cast.play("alice > join naughty:1\nalice < ok …\nalice > later {\"ms\": 10}\nalice < ok {\"late\": true}").await?;
    drop(cast);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn effects_per_call() -> Result<()> {
    let host = limited("effects_per_call", 10).await?;
    let mut alice = host.connect().await?;
    alice.join(NAUGHTY, &json!({})).await?;
    alice.push(NAUGHTY, "pushes", &json!({"count": 10, "bytes": 1})).await?;
    for n in 0..10 {
        ensure!(alice.json().await?[4]["n"] == n);
    }
    ensure!(alice.json().await?[4]["status"] == "ok");
    // With one more effect, none of them is carried out.
    alice.push(NAUGHTY, "pushes", &json!({"count": 11, "bytes": 1})).await?;
    ensure!(alice.json().await?[3] == "phx_error");
    drop(alice);
    stop_after_hits(host, &["effects_per_call"]).await
}

#[tokio::test]
async fn effect_bytes() -> Result<()> {
    // The quotation marks of the answer count, and so do the names of events.
    divides("effect_bytes", 10_002, 10_001, r#"huge {"bytes": 10000}"#, "oversize").await?;
    let host = limited("effect_bytes", 10_000).await?;
    let mut alice = host.connect().await?;
    alice.join(NAUGHTY, &json!({})).await?;
    alice.push(NAUGHTY, "pushes", &json!({"count": 11, "bytes": 1000})).await?;
    ensure!(alice.json().await?[3] == "phx_error");
    drop(alice);
    stop_after_hits(host, &["effect_bytes"]).await
}

#[tokio::test]
async fn timers_per_member() -> Result<()> {
    // The event sets 17 timers.
    divides("timers_per_member", 17, 16, "timers", "oversize").await
}

#[tokio::test]
async fn timer_shortest_ms() -> Result<()> {
    // The event sets a timer of 9 ms.
    divides("timer_shortest_ms", 9, 10, "short_timer", "oversize").await
}

#[tokio::test]
async fn log_lines_per_call() -> Result<()> {
    // The event writes 257 lines.
    divides("log_lines_per_call", 257, 256, "log_lines", "oversize").await
}

/// With one instance, a call waits until another call ends.
#[tokio::test]
async fn instances_per_plugin() -> Result<()> {
    let setup = Setup::new().guests(&["naughty"])?.limit("instances_per_plugin", 1);
    let host = setup.limit("call_cpu_ms", 10_000).limit("call_wall_ms", 4_000).start().await?;
    let (mut alice, mut bob) = (joined(&host).await?, joined(&host).await?);
    let began = now();
    let slow = alice.push(NAUGHTY, "slow", &json!({"ms": 500})).await?;
    // The answer to a heartbeat shows that the slow call has begun.
    alice.quiet().await?;
    let facts = bob.call(NAUGHTY, "facts", &json!({})).await?;
    let ran = facts["now"].as_u64().unwrap_or_default();
    ensure!(ran >= began + 500, "bob's call ran {} ms after alice's began", ran - began);
    ensure!(alice.reply(NAUGHTY, &slow).await?.status == "ok");
    let scrape = scrape(&host).await?;
    let of_naughty = |name| scrape.sum(name, &[("plugin", "naughty")]);
    let (waits, waited) =
        (of_naughty("bennu_plugin_instance_waits_total"), of_naughty("bennu_plugin_instance_wait_seconds_total"));
    ensure!(waits == 1.0 && waited > 0.1, "{waits} calls waited {waited} s");

    // The waiting time counts towards the maximum duration of a call.
    let slow = alice.push(NAUGHTY, "slow", &json!({"ms": 2500})).await?;
    alice.quiet().await?;
    bob.push(NAUGHTY, "slow", &json!({"ms": 2500})).await?;
    ensure!(alice.reply(NAUGHTY, &slow).await?.status == "ok");
    ensure!(bob.json().await?[3] == "phx_error");
    drop((alice, bob));
    stop_after_hits(host, &["instances_per_plugin"]).await
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// An instance is replaced after this many calls. Members aren't affected, because their state isn't in the instance.
#[tokio::test]
async fn calls_per_instance() -> Result<()> {
    let setup = Setup::new().guests(&["naughty"])?.limit("calls_per_instance", 4).limit("instances_per_plugin", 1);
    let host = setup.start().await?;
    check(
        &host,
        r#"
        alice > join naughty:1
        alice < ok …
        alice > instance
        alice < ok {"asked": 1}
        alice > count
        alice < ok {"count": 1}
        alice > instance
        alice < ok {"asked": 2}
        -- That was the fourth call.
        alice > instance
        alice < ok {"asked": 1}
        alice > count
        alice < ok {"count": 2}
        "#,
    )
    .await?;
    stop_after_hits(host, &["calls_per_instance"]).await
}

/// The limit of 255 bytes for a plugin's event names and status words. `bad_input` tests the names that clients send.
#[tokio::test]
async fn name_bytes() -> Result<()> {
    let host = TestHost::start(&["naughty"]).await?;
    let mut cast = Cast::new(&host);
    for event in ["long_event", "long_status"] {
        let script = "alice > join naughty:1\nalice < ok …\nalice > EVENT\nalice < phx_error";
        cast.play(&script.replace("EVENT", event)).await?;
    }
    let status = "s".repeat(255);
    cast.play("alice > join naughty:1\nalice < ok …").await?;
    let reply = cast.client("alice")?.ask(NAUGHTY, "status", &json!({ "status": status })).await?;
    ensure!(reply.status == status, "{reply:?}");
    drop(cast);
    host.stop().await?;
    Ok(())
}

/// A log line of a plugin is cut at 8 KiB.
#[tokio::test]
async fn log_line_bytes() -> Result<()> {
    let host = TestHost::start(&["naughty"]).await?;
    check(&host, "alice > join naughty:1\nalice < ok …\nalice > long_line\nalice < ok {}").await?;
    let line = host.log().find(0, "the long line", |line| line.message().starts_with("xxx")).await?;
    ensure!(line.message().len() == 8 << 10, "{} bytes", line.message().len());
    host.stop().await?;
    Ok(())
}
