//! What plugins keep: whole transactions, also when many are at it at once, and for the next start of the host.

use std::fs;

use anyhow::{Context, Result, ensure};
use bennu_tests::{Cast, Setup, TestClient, TestHost, bennu, check, within};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;

const TOPIC: &str = "ledger:1";

async fn join(host: &TestHost) -> Result<TestClient> {
    let mut client = host.connect().await?;
    client.join(TOPIC, &json!({})).await?;
    Ok(client)
}

/// Sends an event and gives what its reply carries; what is broadcast meanwhile is left out.
async fn ask(client: &mut TestClient, event: &str, payload: Value) -> Result<Value> {
    let reference = client.push(TOPIC, event, &payload).await?;
    loop {
        let frame = client.json().await?;
        if frame[3] == "phx_reply" {
            ensure!(frame[1] == reference && frame[4]["status"] == "ok", "{event}: {frame}");
            return Ok(frame[4]["response"].clone());
        }
    }
}

#[tokio::test]
async fn what_is_stored_is_there_after_a_restart() -> Result<()> {
    let host = TestHost::start(&["ledger"]).await?;
    check(
        &host,
        r#"
        alice > join ledger:1
        alice < ok {}
        bob   > join ledger:1
        bob   < ok {}
        alice > deposit {"to": "a", "n": 5}
        alice < ok {"balance": 5}
        alice > transfer {"from": "a", "to": "b", "n": 2}
        alice < moved {"entry": …, "from": "a", "to": "b", "n": 2}
        alice < ok {"entry": …}
        bob   < moved …
        bob   > transfer {"from": "a", "to": "b", "n": 4}
        bob   < error {"reason": "there isn't so much"}
        "#,
    )
    .await?;
    let host = host.restart(Signal::TERM).await?;
    check(
        &host,
        r#"
        alice > join ledger:2
        alice < ok {}
        alice > balance {"of": "a"}
        alice < ok {"balance": 3}
        alice > entries {"limit": 5}
        alice < ok {"entries": [{"entry": …, "from": "a", "to": "b", "n": 2}]}
        "#,
    )
    .await?;
    host.stop().await?;
    Ok(())
}

/// Two members of a topic without turns add to one key, each a thousand times: no addition is lost, and none counts twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_count_up_one_key_at_once_lose_nothing() -> Result<()> {
    const EACH: u64 = 1000;
    const IN_FLIGHT: u64 = 8;
    let host = TestHost::start(&["ledger"]).await?;
    let mut members = JoinSet::new();
    for _ in 0..2 {
        let mut client = join(&host).await?;
        members.spawn(async move {
            let mut references = std::collections::VecDeque::new();
            for _ in 0..EACH {
                references.push_back(client.push(TOPIC, "deposit", &json!({ "to": "one", "n": 1 })).await?);
                if references.len() as u64 == IN_FLIGHT {
                    let reference = references.pop_front().context("there are some")?;
                    ensure!(client.reply(TOPIC, &reference).await?.status == "ok");
                }
            }
            for reference in references {
                ensure!(client.reply(TOPIC, &reference).await?.status == "ok");
            }
            Ok(())
        });
    }
    while let Some(done) = members.join_next().await {
        done??;
    }
    let mut client = join(&host).await?;
    ensure!(ask(&mut client, "balance", json!({ "of": "one" })).await? == json!({ "balance": 2 * EACH }));
    ensure!(host.inspect().await?["faults"] == 0);
    drop(client);
    host.stop().await?;
    Ok(())
}

/// Past its quota a plugin's write is a fault and nothing of it is stored; others aren't concerned, and it may delete and
/// overwrite.
#[tokio::test]
async fn a_plugin_has_no_more_than_its_quota() -> Result<()> {
    let host = Setup::new().guests(&["ledger"])?.config("[plugins.ledger]\nstore_bytes = 120").start().await?;
    let mut cast = Cast::new(&host);
    cast.play(
        r#"
        alice > join ledger:1
        alice < ok {}
        alice > deposit {"to": "a", "n": 5}
        alice < ok {"balance": 5}
        alice > transfer {"from": "a", "to": "b", "n": 1}
        alice < moved …
        alice < ok …
        alice > transfer {"from": "a", "to": "b", "n": 1}
        alice < phx_error
        "#,
    )
    .await?;
    let fault = host.log().find(0, "the fault", |line| line.field("kind") == "store").await?;
    ensure!(fault.message().contains("120"), "{}", fault.text);
    cast.play(
        r#"
        alice > join ledger:1
        alice < ok {}
        alice > audit
        alice < ok {"sum": 5, "accounts": 2, "entries": 1}
        alice > deposit {"to": "a", "n": 5}
        alice < ok {"balance": 9}
        "#,
    )
    .await?;
    drop(cast);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_store_moves_as_json_lines() -> Result<()> {
    let host = TestHost::start(&["ledger"]).await?;
    let mut client = join(&host).await?;
    ask(&mut client, "deposit", json!({ "to": "a", "n": 5 })).await?;
    ask(&mut client, "transfer", json!({ "from": "a", "to": "b", "n": 2 })).await?;
    drop(client);
    let home = host.home().to_owned();
    let refused = bennu(&home, &["store", "export", "--data", "data"])?;
    ensure!(refused.code == Some(1) && refused.errors.contains("in use by another bennu"), "{refused:?}");
    let kept = host.keep_home();
    host.stop().await?;

    let exported = bennu(&home, &["store", "export", "--data", "data", "--output", "all.jsonl"])?;
    ensure!(exported.code == Some(0) && exported.errors.contains("3 keys and rooms exported"), "{exported:?}");
    let lines = fs::read_to_string(home.join("all.jsonl"))?;
    ensure!(lines.lines().count() == 5 && lines.contains(r#""key":"account:a""#), "{lines}");
    let usage = bennu(&home, &["store", "usage", "--data", "data"])?;
    ensure!(usage.output.starts_with("ledger: "), "{usage:?}");

    // What is there already isn't overwritten by accident.
    let again = bennu(&home, &["store", "import", "all.jsonl", "--data", "data"])?;
    ensure!(again.code == Some(1), "{again:?}");
    let imported = bennu(&home, &["store", "import", "all.jsonl", "--data", "other"])?;
    ensure!(imported.code == Some(0) && imported.errors.contains("3 keys and rooms imported"), "{imported:?}");
    let same = bennu(&home, &["store", "export", "--data", "other"])?;
    ensure!(same.output == lines, "{}", same.output);

    fs::write(home.join("bad.jsonl"), lines.replace("\"key\":\"account:b\"", "\"kee\":\"account:b\""))?;
    let bad = bennu(&home, &["store", "import", "bad.jsonl", "--data", "other", "--merge"])?;
    ensure!(bad.code == Some(1) && bad.errors.contains("line 3"), "{bad:?}");
    let nowhere = bennu(&home, &["store", "export", "--data", "nowhere"])?;
    ensure!(nowhere.code == Some(1) && nowhere.errors.contains("--data"), "{nowhere:?}");
    drop(kept);
    Ok(())
}

/// What a host takes by its configuration, an import takes by the same one.
#[tokio::test]
async fn an_import_goes_by_the_host_s_limits() -> Result<()> {
    let home = tempfile::tempdir()?;
    let value = "x".repeat(2 << 20);
    let lines = format!(
        "{}\n{{\"plugin\":\"ledger\",\"key\":\"a\",\"value\":\"{value}\"}}\n{{\"rows\":1}}\n",
        r#"{"format":"bennu-store","version":1}"#
    );
    fs::write(home.path().join("all.jsonl"), lines)?;
    fs::write(home.path().join("bennu.toml"), "[limits]\nstore_value_bytes = 4_194_304")?;
    let import = ["store", "import", "all.jsonl"];
    let refused = bennu(home.path(), &import)?;
    ensure!(refused.code == Some(1) && refused.errors.contains("2097152 bytes; at most 1048576"), "{refused:?}");
    let taken = bennu(home.path(), &[&import[..], &["--config", "bennu.toml"]].concat())?;
    ensure!(taken.code == Some(0), "{taken:?}");
    Ok(())
}

/// The host is killed in the midst of writing, again and again. Whatever was acknowledged is there, and nothing is half there: the
/// sum of all accounts never changes by a transfer, and each transfer has its entry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_acknowledged_survives_a_kill_and_nothing_is_half_done() -> Result<()> {
    let kills = bennu_test_tiers::rounds("storage::kill") as u64;
    const WRITERS: u64 = 4;
    let mut host = TestHost::start(&["ledger"]).await?;
    let mut client = join(&host).await?;
    for n in 0..WRITERS {
        ask(&mut client, "deposit", json!({ "to": format!("a{n}"), "n": 1_000_000 })).await?;
    }
    drop(client);
    let mut acknowledged = 0;
    for kill in 0..kills {
        let mut writers = JoinSet::new();
        for n in 0..WRITERS {
            let mut client = join(&host).await?;
            writers.spawn(async move { write_until_the_end(&mut client, n).await });
        }
        // A moment that is another one each time, as random as the scheduling of five processes on two cores.
        let pause = std::time::Duration::from_micros(500 + 7919 * kill % 40_000);
        tokio::time::sleep(pause).await;
        host = host.restart(Signal::KILL).await?;
        while let Some(written) = writers.join_next().await {
            acknowledged += written?;
        }
        let mut client = join(&host).await?;
        let audit = ask(&mut client, "audit", json!({})).await?;
        let entries = audit["entries"].as_u64().unwrap_or(0);
        ensure!(audit["sum"] == WRITERS * 1_000_000, "after kill {kill}: {audit}");
        ensure!(entries >= acknowledged, "after kill {kill}: {acknowledged} acknowledged, {entries} found");
        // What was done and not acknowledged counts from now on.
        acknowledged = entries;
    }
    ensure!(acknowledged > kills, "only {acknowledged} transfers in {kills} rounds");
    host.stop().await?;
    Ok(())
}

/// Moves one from an account to another, again and again, and gives how often that was acknowledged.
async fn write_until_the_end(client: &mut TestClient, n: u64) -> u64 {
    let mut acknowledged = 0;
    loop {
        let moved = json!({ "from": format!("a{n}"), "to": format!("b{n}"), "n": 1 });
        let asked = within("a transfer", ask(client, "transfer", moved)).await;
        match asked {
            Ok(Ok(_)) => acknowledged += 1,
            _ => return acknowledged,
        }
    }
}
