//! Exceeds every limit of the store, of rooms and of ticks.

use anyhow::{Result, ensure};
use bennu_tests::{Cast, Setup, check};
use serde_json::json;

use crate::call_limits::divides;
use crate::limit_counts::stop_after_hits;
use crate::limits::{NAUGHTY, joined, limited};

#[tokio::test]
async fn store_key_bytes() -> Result<()> {
    divides("store_key_bytes", 10, 9, r#"store_put {"key": "0123456789", "value": 1}"#, "oversize").await
}

#[tokio::test]
async fn store_value_bytes() -> Result<()> {
    divides("store_value_bytes", (1 << 20) + 1, 1 << 20, "store_long_value", "oversize").await
}

#[tokio::test]
async fn store_writes_per_call() -> Result<()> {
    divides("store_writes_per_call", 1025, 1024, "store_many", "oversize").await
}

#[tokio::test]
async fn store_write_bytes_per_call() -> Result<()> {
    // Five values of a million bytes, and their keys.
    let bytes = 5 * (1_000_000 + "much:0".len() as u64);
    divides("store_write_bytes_per_call", bytes, bytes - 1, "store_much", "oversize").await
}

#[tokio::test]
async fn store_bytes_per_plugin() -> Result<()> {
    divides("store_bytes_per_plugin", 1000, 10, r#"store_put {"key": "k", "value": "0123456789"}"#, "store").await
}

/// Values that don't fit into the cache are read from the disk, with the same result.
#[tokio::test]
async fn store_cache_bytes() -> Result<()> {
    let host = limited("store_cache_bytes", 4096).await?;
    let mut alice = joined(&host).await?;
    let value = |n: usize| json!(n.to_string().repeat(20_000));
    for n in 0..20 {
        alice.call(NAUGHTY, "store_put", &json!({ "key": n.to_string(), "value": value(n) })).await?;
    }
    for n in 0..20 {
        let got = alice.call(NAUGHTY, "store_get", &json!({ "key": n.to_string() })).await?;
        ensure!(got == value(n), "{n}");
    }
    drop(alice);
    stop_after_hits(host, &["store_cache_bytes"]).await
}

/// A room that would exceed its limit stays unchanged, and its other members aren't affected.
#[tokio::test]
async fn room_bytes() -> Result<()> {
    for (bytes, is_well) in [(2 << 20, true), (1 << 20, false)] {
        let host = limited("room_bytes", bytes).await?;
        let mut cast = Cast::new(&host);
        cast.play("bob > join unruly:1\nbob < ok {}\nalice > join unruly:1\nalice < ok {}").await?;
        cast.play("bob > count\nbob < ok {\"count\": 1}\nalice > grow").await?;
        if is_well {
            cast.play("alice < ok {}\nbob > look\nbob < ok {\"count\": 1, \"ended\": []}").await?;
        } else {
            cast.play("alice < phx_error\nbob > look\nbob < ok {\"count\": 1, \"ended\": [\"fault\"]}").await?;
            host.log().find(0, "the fault", |line| line.field("kind") == "oversize").await?;
        }
        drop(cast);
        stop_after_hits(host, if is_well { &[] } else { &["room_bytes"] }).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_tick_has_a_minimum_interval() -> Result<()> {
    for (shortest, is_well) in [(9, true), (10, false)] {
        let host = limited("timer_shortest_ms", shortest).await?;
        let answer = if is_well { "ok {}" } else { "phx_error" };
        check(&host, &format!("alice > join unruly:1\nalice < ok {{}}\nalice > tick {{\"ms\": 9}}\nalice < {answer}"))
            .await?;
        host.stop().await?;
    }
    Ok(())
}

/// While a tick runs, one more tick waits. Further ticks are missed, and the next tick has their number.
#[tokio::test]
async fn ticks_do_not_queue_up() -> Result<()> {
    let setup = Setup::new().guests(&["naughty"])?.limit("call_cpu_ms", 10_000);
    let host = setup.start().await?;
    let mut alice = host.connect().await?;
    alice.join("unruly:1", &json!({})).await?;
    alice.call("unruly:1", "at_tick", &json!({ "mood": "slow" })).await?;
    alice.call("unruly:1", "tick", &json!({ "ms": 10 })).await?;
    let (mut number, mut missed) = (0, 0);
    for nth in 1..=3_u64 {
        let tick = alice.json().await?;
        ensure!(tick[3] == "beat", "{tick}");
        number = tick[4]["number"].as_u64().unwrap_or_default();
        missed += tick[4]["missed"].as_u64().unwrap_or_default();
        ensure!(number == nth + missed, "every tick is either handled or missed: {tick}");
    }
    ensure!(number > 40, "each tick takes half a second, and a second has a hundred: {number}");
    drop(alice);
    stop_after_hits(host, &["tick_queue"]).await
}

/// After three failed ticks in a row, with any kind of fault, the memberships of the topic end. A later join gets a new
/// room.
#[tokio::test]
async fn failed_ticks_end_the_topic() -> Result<()> {
    let host = Setup::new().guests(&["naughty"])?.start().await?;
    for (mood, kind) in [("fail", "failed"), ("trap", "trap"), ("loop", "deadline"), ("push", "failed")] {
        let (topic, mark) = (format!("unruly:{mood}"), host.log().len());
        let script = r#"
            alice > join TOPIC
            alice < ok {}
            alice > count
            alice < ok {"count": 1}
            alice > at_tick {"mood": "MOOD"}
            alice < ok {}
            alice > tick {"ms": 10}
            alice < ok {}
            alice < phx_error
            alice > join TOPIC
            alice < ok {}
            alice > count
            alice < ok {"count": 1}
            "#;
        check(&host, &script.replace("TOPIC", &topic).replace("MOOD", mood)).await?;
        host.log().find(mark, "the end", |line| line.message().starts_with("topic_closed")).await?;
        let lines = host.log().since(mark);
        let faults = lines.iter().filter(|line| line.field("callback") == "handle_tick" && line.field("kind") == kind);
        ensure!(faults.count() == 3, "{mood}: {}", host.log().tail(20));
    }
    stop_after_hits(host, &["tick_faults"]).await
}
