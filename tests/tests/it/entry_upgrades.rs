//! Entries that another build wrote, on a real host: upgrades, their limits, probation, and rollbacks.

use anyhow::{Result, ensure};
use bennu_tests::{Cast, Setup, TestClient, TestHost, bennu, eventually, within};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::limit_counts::stop_after_hits;

const SECOND: &str = "variants/naughty-entries";

async fn host(config: &str) -> Result<TestHost> {
    Setup::new().guests(&["naughty"])?.config(config).start().await
}

const TOPIC: &str = "unruly:1";

const WITHOUT_PROBATION: &str = "[reload]\nprobation_ms = 0";

/// 16 topics upgrade entries at once, with two instances. Each needs an instance for its callback, and one for upgrades.
#[tokio::test]
async fn many_calls_that_upgrade_at_once_do_not_deadlock() -> Result<()> {
    let host = host(&format!("{WITHOUT_PROBATION}\n[limits]\ninstances_per_plugin = 2")).await?;
    let topic = |n: usize| format!("unruly:{n}");
    let mut clients = Vec::new();
    for n in 0..16 {
        let mut client = host.connect().await?;
        client.join(&topic(n), &json!({})).await?;
        let entries: Vec<_> = (0..50).map(|n| json!([format!("k/{n:02}"), n])).collect();
        client.call(&topic(n), "entries_put", &json!({ "entries": entries })).await?;
        clients.push(client);
    }
    host.reload("naughty", SECOND).await?;
    for (n, client) in clients.iter_mut().enumerate() {
        client.push(&topic(n), "entries", &json!({ "prefix": "k/" })).await?;
    }
    for client in &mut clients {
        let reply = client.json().await?;
        let entries = reply[4]["response"].as_array().map(Vec::len);
        ensure!(entries == Some(50) && reply[4]["response"][0] == json!(["k/00", { "from": 0, "was": 0 }]), "{reply}");
    }
    ensure!(host.inspect().await?["faults"] == 0);
    drop(clients);
    host.stop().await?;
    Ok(())
}

/// A scan of many pages of old entries, of which the callback needs all.
#[tokio::test]
async fn a_long_scan_upgrades_entries_ahead() -> Result<()> {
    let host = host(&format!("{WITHOUT_PROBATION}\n[limits]\ncall_cpu_ms = 5000\ncall_wall_ms = 60000")).await?;
    let mut client = host.connect().await?;
    client.join(TOPIC, &json!({})).await?;
    for thousand in 0..5 {
        let entries: Vec<_> = (0..1000).map(|n| json!([format!("{thousand}{n:03}"), "x".repeat(20)])).collect();
        client.call(TOPIC, "entries_put", &json!({ "entries": entries })).await?;
    }
    host.reload("naughty", SECOND).await?;
    for _ in 0..2 {
        let reply = client.call(TOPIC, "entries", &json!({ "prefix": "", "backward": true })).await?;
        let entries = reply.as_array().map(Vec::as_slice).unwrap_or_default();
        let is_upgraded = |entry: &Value| entry[1]["was"].as_str().is_some_and(|was| was.len() == 20);
        ensure!(entries.len() == 5000 && entries.iter().all(is_upgraded), "{} entries", entries.len());
    }
    drop(client);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn an_upgrade_that_breaks_a_rule_is_a_fault_of_the_callback_only_if_the_entry_is_needed() -> Result<()> {
    let host = host(WITHOUT_PROBATION).await?;
    let mut cast = Cast::new(&host);
    cast.play(
        r#"
        alice > join unruly:1
        alice < ok {}
        alice > entries_put {"entries": [["a", 1], ["put", 2], ["trap", 3], ["z", 4]]}
        alice < ok {}
        "#,
    )
    .await?;
    host.reload("naughty", SECOND).await?;
    let mark = host.log().len();
    // The entries after it are upgraded too: this finds the ones that break a rule.
    cast.play("alice > entry_get {\"key\": \"a\"}\nalice < ok {\"from\": 0, \"was\": 1}").await?;
    ensure!(host.inspect().await?["faults"] == 0);
    for (key, detail) in [("trap", "asked to panic in upgrade_entry"), ("put", "this call has no entries")] {
        cast.play(&format!("alice > entry_get {{\"key\": \"{key}\"}}\nalice < phx_error")).await?;
        let fault = host.log().find(mark, "the fault", |line| line.message().contains(detail)).await?;
        ensure!(fault.field("callback") == "handle_in", "{fault:?}");
        cast.play("alice > join unruly:1\nalice < ok {}").await?;
    }
    cast.play("alice > entry_get {\"key\": \"z\"}\nalice < ok {\"from\": 0, \"was\": 4}").await?;
    drop(cast);
    host.stop().await?;
    Ok(())
}

/// All runs of a call, with the upgrades between them, have the wall time of one call.
#[tokio::test]
async fn upgrades_count_in_the_wall_time_of_their_call() -> Result<()> {
    let host = host(&format!("{WITHOUT_PROBATION}\n[limits]\ncall_wall_ms = 400\ncall_cpu_ms = 300")).await?;
    let mut client = host.connect().await?;
    client.join(TOPIC, &json!({})).await?;
    let keys: Vec<_> = (0..200).map(|n| format!("slow/{n:03}")).collect();
    let entries: Vec<_> = keys.iter().map(|key| json!([key, 1])).collect();
    client.call(TOPIC, "entries_put", &json!({ "entries": entries })).await?;
    host.reload("naughty", SECOND).await?;
    client.push(TOPIC, "entries_get", &json!({ "keys": keys })).await?;
    ensure!(client.json().await?[3] == "phx_error");
    host.log().find(0, "the fault", |line| line.field("kind") == "deadline").await?;
    drop(client);
    host.stop().await?;
    Ok(())
}

const FOUR_ENTRIES: &str = r#"
    alice > join unruly:1
    alice < ok {}
    alice > entries_put {"entries": [["a", 1], ["b", 2], ["refused", 3]]}
    alice < ok {}
    alice > count
    alice < ok {"count": 1}
"#;

/// On probation, the build before is called after a refusal.
#[tokio::test]
async fn on_probation_a_refusal_is_answered_by_the_build_before() -> Result<()> {
    let host = host("").await?;
    let mut cast = Cast::new(&host);
    cast.play(FOUR_ENTRIES).await?;
    host.reload("naughty", SECOND).await?;
    cast.play("alice > entry_get {\"key\": \"refused\"}\nalice < ok 3").await?;
    ensure!(host.inspect().await?["plugins"]["naughty"]["probation"]["faults"] == 1);
    drop(cast);
    host.stop().await?;
    Ok(())
}

/// The operator rolls a build back that has upgraded and written entries, and has written the room.
#[tokio::test]
async fn a_rollback_restores_room_and_entries() -> Result<()> {
    let host = host("").await?;
    let mut cast = Cast::new(&host);
    cast.play(FOUR_ENTRIES).await?;
    host.reload("naughty", SECOND).await?;
    cast.play(
        r#"
        alice > entry_get {"key": "a"}
        alice < ok {"from": 0, "was": 1}
        alice > entry_put {"key": "new", "value": 4}
        alice < ok {}
        alice > entry_delete {"key": "b"}
        alice < ok {}
        alice > count
        alice < ok {"count": 2}
        "#,
    )
    .await?;
    let shown = host.inspect().await?;
    ensure!(shown["largest_rooms"][0]["rollback"] == "possible", "{shown}");
    ensure!(shown["entries"]["journal_bytes"].as_u64() > Some(3 * 64), "{shown}");
    let address = host.address().to_string();
    let back = bennu(host.home(), &["plugins", "rollback", "naughty", "--host", &address])?;
    ensure!(back.code == Some(0), "{back:?}");
    let is_done =
        |shown: &Value| shown["entries"]["journal_bytes"] == 0 && shown["largest_rooms"][0]["rollback"].is_null();
    host.shows("the entries are rolled back", is_done).await?;
    cast.play(
        r#"
        alice < phx_error
        alice > join unruly:1
        alice < ok {}
        alice > entries {"prefix": ""}
        alice < ok [["a", 1], ["b", 2], ["refused", 3]]
        "#,
    )
    .await?;
    drop(cast);
    host.stop().await?;
    Ok(())
}

/// Past the limit, room and entries stay as they are.
#[tokio::test]
async fn entries_rollback_bytes() -> Result<()> {
    let host = host("[limits]\nentries_rollback_bytes = 200").await?;
    let mut cast = Cast::new(&host);
    cast.play(FOUR_ENTRIES).await?;
    host.reload("naughty", SECOND).await?;
    cast.play("alice > entries_put {\"entries\": [[\"a\", 5], [\"b\", 6], [\"c\", 7], [\"d\", 8]]}\nalice < ok {}")
        .await?;
    let given_up = |line: &bennu_tests::Line| line.message().starts_with("entries_rollback_given_up");
    let line = host.log().find(0, "the rollback is given up", given_up).await?;
    ensure!(line.field("topic") == "unruly:1" && line.field("plugin") == "naughty", "{line:?}");
    ensure!(host.inspect().await?["largest_rooms"][0]["rollback"] == "given up");
    let address = host.address().to_string();
    ensure!(bennu(host.home(), &["plugins", "rollback", "naughty", "--host", &address])?.code == Some(0));
    // The first build takes the newer values as they are.
    cast.play("alice > entries_get {\"keys\": [\"a\", \"d\"]}\nalice < ok [5, 8]").await?;
    drop(cast);
    stop_after_hits(host, &["entries_rollback_bytes"]).await
}

const DURABLE: &str = "durable:1";

async fn durable(host: &TestHost) -> Result<TestClient> {
    let mut client = host.connect().await?;
    client.join(DURABLE, &json!({})).await?;
    Ok(client)
}

/// Writes entries of a durable room, each with a commit of the room, until the connection ends. Returns the number of the last
/// acknowledged commit.
async fn count_until_the_end(mut client: TestClient) -> u64 {
    let mut last = 0;
    loop {
        let counted = json!({ "key": format!("k/{}", last % 7) });
        match within("a commit", client.call(DURABLE, "count_entry", &counted)).await {
            Ok(Ok(reply)) => last = reply["count"].as_u64().unwrap_or(last),
            _ => return last,
        }
    }
}

/// The host is repeatedly killed while a build on probation writes. The room and the entries are always of the same commit, and
/// a rollback at the end restores both as they were before the build.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_after_kills_restores_room_and_entries() -> Result<()> {
    let kills = bennu_test_tiers::rounds("storage::kill") as u64 / 2;
    let mut host = host("").await?;
    let mut client = durable(&host).await?;
    for key in ["k/0", "k/1", "other"] {
        client.call(DURABLE, "count_entry", &json!({ "key": key })).await?;
    }
    drop(client);
    // Before its record is on the disk, no other build would be on probation.
    host.shows("the first build is proved", |shown| shown["plugins"]["naughty"]["standing"] == "proved").await?;
    host = host.restart_onto(Signal::KILL, "naughty", SECOND).await?;
    let mut last = 3;
    for kill in 0..kills {
        let mut client = durable(&host).await?;
        client.call(DURABLE, "entry_get", &json!({ "key": "other" })).await?;
        let writer = tokio::spawn(count_until_the_end(client));
        tokio::time::sleep(std::time::Duration::from_micros(500 + 7919 * kill % 40_000)).await;
        host = host.restart(Signal::KILL).await?;
        let acknowledged = writer.await?.max(last);
        let mut client = durable(&host).await?;
        let room = client.call(DURABLE, "look", &json!({})).await?;
        let entries = client.call(DURABLE, "entries", &json!({ "prefix": "k/" })).await?;
        let numbers = entries.as_array().into_iter().flatten().filter_map(|entry| entry[1].as_u64());
        last = room["count"].as_u64().unwrap_or(0);
        ensure!(last >= acknowledged, "after kill {kill}: {acknowledged} acknowledged, but {room}");
        // The last entry is of the last commit of the room, unless no commit of this build was acknowledged yet.
        ensure!(last == 3 || numbers.max() == Some(last), "after kill {kill}: {room} {entries}");
        drop(client);
    }
    // The build that passed last is in the file again: this is a rollback.
    host = host.restart_onto(Signal::KILL, "naughty", "naughty").await?;
    let mut client = durable(&host).await?;
    let room = client.call(DURABLE, "look", &json!({})).await?;
    let entries = client.call(DURABLE, "entries", &json!({ "prefix": "" })).await?;
    ensure!(room["count"] == 3 && entries == json!([["k/0", 1], ["k/1", 2], ["other", 3]]), "{room} {entries}");
    drop(client);
    // The stop may end the sweep that removes the rows from before. Then the next start goes on with it.
    let host = host.restart(Signal::TERM).await?;
    let address = host.address().to_string();
    let export = ["store", "export", "--config", "bennu.toml", "--host", &address];
    eventually("the rows from before are removed", async || {
        let exported = bennu(host.home(), &export)?;
        ensure!(exported.code == Some(0) && exported.output.contains("other"), "{exported:?}");
        Ok((!exported.output.contains("before")).then_some(()))
    })
    .await?;
    host.stop().await?;
    Ok(())
}
