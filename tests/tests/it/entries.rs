//! Entries of durable rooms, through the binary.

use anyhow::{Context, Result, ensure};
use bennu_tests::{Line, Setup, TestClient, TestHost, bennu, check, within};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::limit_counts::stop_after_hits;

#[tokio::test]
async fn entries_of_a_durable_room_survive_a_restart() -> Result<()> {
    for signal in [Signal::TERM, Signal::KILL] {
        let host = TestHost::start(&["shelf"]).await?;
        check(
            &host,
            r#"
            alice > join vault:1
            alice < ok {}
            alice > fill {"from": 0, "entries": 100, "bytes": 88}
            alice < ok {}
            alice > mark
            alice < ok {"marks": 1}
            alice > mark
            alice < ok {"marks": 2}
            "#,
        )
        .await?;
        let host = host.restart(signal).await?;
        check(
            &host,
            r#"
            alice > join vault:1
            alice < ok {}
            alice > read {"key": 7}
            alice < ok {"bytes": 86}
            alice > count
            alice < ok {"entries": 100}
            alice > audit
            alice < ok {"marks": 2, "is_whole": true, "own": 2}
            bob   > join vault:2
            bob   < ok {}
            bob   > count
            bob   < ok {"entries": 0}
            "#,
        )
        .await?;
        ensure!(host.inspect().await?["faults"] == 0);
        host.stop().await?;
    }
    Ok(())
}

/// Topics of `shelf` with durable rooms, in a loop of kills. The last one has ticks.
const VAULTS: [&str; 3] = ["vault:1", "vault:2", "vault:ticks"];

/// The marks in the topics with durable rooms, as far as the host has acknowledged them.
#[derive(Default)]
pub(crate) struct Vaults {
    marks: [u64; VAULTS.len()],
    writers: JoinSet<(usize, u64)>,
}

impl Vaults {
    /// Adds marks in each topic, until the host ends.
    pub(crate) async fn start_marking(&mut self, host: &TestHost) -> Result<()> {
        for (at, topic) in VAULTS.into_iter().enumerate() {
            let mut client = joined(host, topic).await?;
            if at + 1 == VAULTS.len() {
                ask(&mut client, topic, "start", json!({ "ms": 10 })).await?;
            }
            self.writers.spawn(async move {
                let mut marks = 0;
                while let Ok(Ok(marked)) = within("a mark", ask(&mut client, topic, "mark", json!({}))).await {
                    marks = marked["marks"].as_u64().unwrap_or_default();
                }
                (at, marks)
            });
        }
        Ok(())
    }

    /// After the host was started again: each acknowledged mark is stored, and nothing is stored in part.
    pub(crate) async fn audit(&mut self, host: &TestHost) -> Result<()> {
        while let Some(written) = self.writers.join_next().await {
            let (at, marks) = written?;
            // A room with ticks is stored once a second, so its last marks may be lost.
            if at + 1 < VAULTS.len() {
                self.marks[at] = self.marks[at].max(marks);
            }
        }
        for (at, topic) in VAULTS.into_iter().enumerate() {
            let mut client = joined(host, topic).await?;
            let found = ask(&mut client, topic, "audit", json!({})).await?;
            let marks = found["marks"].as_u64().context("no number")?;
            // The plugin's own keys are stored at once, also those of a room with ticks.
            let has_own = at + 1 == VAULTS.len() || found["own"] == marks;
            ensure!(
                found["is_whole"] == true && has_own && marks >= self.marks[at],
                "{topic}: {found}, {:?}",
                self.marks
            );
            self.marks[at] = marks;
        }
        Ok(())
    }

    /// The stored sums of entries equal their number. A write reads them.
    pub(crate) async fn audit_sums(&self, host: &TestHost) -> Result<()> {
        let topic = VAULTS[0];
        let mut client = joined(host, topic).await?;
        let marks = ask(&mut client, topic, "mark", json!({})).await?["marks"].as_u64().context("no number")?;
        let shown = host.inspect().await?;
        let room = shown["largest_rooms"].as_array().into_iter().flatten().find(|room| room["topic"] == topic);
        ensure!(room.is_some_and(|room| room["entries"] == marks.min(50)), "{marks} marks: {shown}");
        Ok(())
    }
}

async fn joined(host: &TestHost, topic: &str) -> Result<TestClient> {
    let mut client = host.connect().await?;
    client.join(topic, &json!({})).await?;
    Ok(client)
}

/// Sends an event and returns the response in its reply.
async fn ask(client: &mut TestClient, topic: &str, event: &str, payload: Value) -> Result<Value> {
    let reference = client.push(topic, event, &payload).await?;
    let reply = client.reply(topic, &reference).await?;
    ensure!(reply.status == "ok", "{event}: {} {}", reply.status, reply.response);
    Ok(reply.response)
}

/// The memory of a host has only a part of a topic's entries. All of them are there.
#[tokio::test]
async fn entries_cache_bytes() -> Result<()> {
    let host = Setup::new().guests(&["shelf"])?.limit("entries_cache_bytes", 20_000).start().await?;
    let mut client = joined(&host, "vault:1").await?;
    ask(&mut client, "vault:1", "fill", json!({ "from": 0, "entries": 1000, "bytes": 88 })).await?;
    let is_within = |shown: &Value| {
        let entries = &shown["entries"];
        entries["evicted"].as_u64() > Some(0) && entries["cached_bytes"].as_u64() <= Some(20_000)
    };
    host.shows("entries are evicted", is_within).await?;
    ensure!(ask(&mut client, "vault:1", "count", json!({})).await? == json!({ "entries": 1000 }));
    let shown = host.shows("entries are evicted again", is_within).await?;
    ensure!(shown["entries"]["loaded"].as_u64() >= Some(800), "{shown}");
    drop(client);
    stop_after_hits(host, &["entries_cache_bytes"]).await
}

/// The entries of a room with ticks are stored after a second, or as soon as they have too many bytes.
#[tokio::test]
async fn entries_dirty_bytes() -> Result<()> {
    for (limit, is_stored) in [(1, true), (8 << 20, false)] {
        let host = Setup::new().guests(&["shelf"])?.limit("entries_dirty_bytes", limit).start().await?;
        let mut client = joined(&host, "vault:1").await?;
        ask(&mut client, "vault:1", "start", json!({ "ms": 10 })).await?;
        // More than the entries of one tick: a mark that was added, and one that was removed.
        let has_several = |shown: &Value| shown["entries"]["dirty_bytes"].as_u64() > Some(300);
        if is_stored {
            for _ in 0..20 {
                let shown = host.inspect().await?;
                ensure!(!has_several(&shown), "{shown}");
            }
        } else {
            host.shows("the entries of several ticks", has_several).await?;
        }
        drop(client);
        stop_after_hits(host, if is_stored { &["entries_dirty_bytes"] } else { &[] }).await?;
    }
    Ok(())
}

#[tokio::test]
async fn limits_warn_at_80_percent() -> Result<()> {
    // An entry has 100 bytes, and 64 more in memory.
    for (topic, key, entries) in [("vault:1", "entries_bytes_per_topic", 99), ("shelf:1", "entries_memory_bytes", 60)] {
        let host = Setup::new().guests(&["shelf"])?.limit(key, 10_000).start().await?;
        let mut client = joined(&host, topic).await?;
        for from in (0..entries).step_by(3) {
            ask(&mut client, topic, "fill", json!({ "from": from, "entries": 3, "bytes": 88 })).await?;
        }
        let is_warning = |line: &Line| line.message().contains("entries_near_limit");
        host.log().find(0, "the warning", is_warning).await?;
        let warnings: Vec<_> = host.log().since(0).into_iter().filter(is_warning).collect();
        let fields = ["plugin", "topic", "limit"].map(|field| warnings[0].field(field).to_owned());
        ensure!(warnings.len() == 1 && fields == ["shelf", topic, key], "{}", warnings[0].text);
        drop(client);
        host.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn inspect_shows_the_largest_rooms() -> Result<()> {
    let host = TestHost::start(&["shelf"]).await?;
    let mut client = host.connect().await?;
    for (topic, entries) in [("shelf:small", 1), ("vault:large", 1000), ("shelf:middle", 100)] {
        client.join(topic, &json!({})).await?;
        ask(&mut client, topic, "fill", json!({ "from": 0, "entries": entries, "bytes": 88 })).await?;
    }
    client.join("vault:read", &json!({})).await?;
    ask(&mut client, "vault:read", "count", json!({})).await?;
    let shown = host.inspect().await?;
    let rooms = shown["largest_rooms"].as_array().context("a list")?;
    let topics: Vec<_> = rooms.iter().map(|room| room["topic"].as_str().unwrap_or_default()).collect();
    ensure!(topics == ["vault:large", "shelf:middle", "shelf:small", "vault:read"], "{shown}");
    let large = &rooms[0];
    ensure!(large["room"] == "durable" && large["plugin"] == "shelf" && large["room_bytes"] == 0, "{large}");
    ensure!(large["entries"] == 1000 && large["entries_bytes"] == 100_000 && large["dirty_bytes"] == 0, "{large}");
    ensure!(rooms[3]["entries"].is_null() && rooms[3]["entries_bytes"].is_null(), "{shown}");
    ensure!(shown["entries"]["memory_bytes"] == 101 * 164, "{shown}");
    let printed = bennu(host.home(), &["inspect", "--host", &host.address().to_string()])?.output;
    ensure!(printed.contains("durable room vault:large: 0 bytes, 1000 entries with 100000 bytes"), "{printed}");
    ensure!(printed.contains("durable room vault:read: 0 bytes, entries that aren't counted yet"), "{printed}");
    drop(client);
    host.stop().await?;
    Ok(())
}
