//! The store of plugins: transactions, concurrent writes, restarts, export and import.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use bennu_tests::{Cast, Setup, TestClient, TestHost, bennu, check, eventually, within};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::entries::Vaults;

const TOPIC: &str = "ledger:1";

async fn join(host: &TestHost) -> Result<TestClient> {
    let mut client = host.connect().await?;
    client.join(TOPIC, &json!({})).await?;
    Ok(client)
}

/// Sends an event and returns the response in its reply. Skips broadcasts that arrive before the reply.
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
async fn stored_data_is_there_after_a_restart() -> Result<()> {
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
        bob   < error {"reason": "the balance is too low"}
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

/// Two members of a topic add to one key, each a thousand times. Their callbacks run at the same time, because the topic
/// has no shared turn queue. No addition is lost, and none counts twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_additions_to_one_key_are_not_lost() -> Result<()> {
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
                    let reference = references.pop_front().context("no reference waits")?;
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

/// A write above the plugin's quota is a fault, and nothing of it is stored. The plugin can still overwrite values.
#[tokio::test]
async fn a_plugin_cannot_exceed_its_quota() -> Result<()> {
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
async fn a_store_is_exported_and_imported_as_json_lines() -> Result<()> {
    let host = TestHost::start(&["ledger"]).await?;
    let mut client = join(&host).await?;
    ask(&mut client, "deposit", json!({ "to": "a", "n": 5 })).await?;
    ask(&mut client, "transfer", json!({ "from": "a", "to": "b", "n": 2 })).await?;
    drop(client);
    let home = host.home().to_owned();
    let refused = bennu(&home, &["store", "import", "none.jsonl", "--data", "data"])?;
    ensure!(refused.code == Some(1) && refused.errors.contains("in use by another bennu"), "{refused:?}");
    let address = host.address().to_string();
    let running = bennu(&home, &["store", "export", "--data", "data", "--host", &address])?;
    ensure!(running.code == Some(0) && running.errors.contains("3 rows exported"), "{running:?}");
    let kept = host.keep_home();
    host.stop().await?;

    let exported = bennu(&home, &["store", "export", "--data", "data", "--output", "all.jsonl"])?;
    ensure!(exported.code == Some(0) && exported.errors.contains("3 rows exported"), "{exported:?}");
    let lines = fs::read_to_string(home.join("all.jsonl"))?;
    let rows = |lines: &str| lines.lines().skip(1).take(3).map(str::to_owned).collect::<Vec<_>>();
    ensure!(rows(&lines) == rows(&running.output), "{}", running.output);
    ensure!(lines.lines().count() == 5 && lines.contains(r#""key":"account:a""#), "{lines}");
    let usage = bennu(&home, &["store", "usage", "--data", "data"])?;
    ensure!(usage.output.starts_with("ledger: "), "{usage:?}");

    // An import doesn't overwrite existing data by default.
    let again = bennu(&home, &["store", "import", "all.jsonl", "--data", "data"])?;
    ensure!(again.code == Some(1), "{again:?}");
    let imported = bennu(&home, &["store", "import", "all.jsonl", "--data", "other"])?;
    ensure!(imported.code == Some(0) && imported.errors.contains("3 rows imported"), "{imported:?}");
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

/// An import accepts the values that a host with the same configuration accepts.
#[tokio::test]
async fn an_import_uses_the_limits_of_the_host() -> Result<()> {
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

/// The host is repeatedly killed during writes. All acknowledged transactions are stored, and none is stored in part: a
/// transfer never changes the sum of all accounts, and each transfer has its entry. The durable room of a topic, its entries
/// and the plugin's own keys always belong to the same commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_transactions_survive_a_kill_and_none_is_partial() -> Result<()> {
    let kills = bennu_test_tiers::rounds("storage::kill") as u64;
    const WRITERS: u64 = 4;
    let mut host = TestHost::start(&["ledger", "shelf"]).await?;
    let mut vaults = Vaults::default();
    let mut client = join(&host).await?;
    for n in 0..WRITERS {
        ask(&mut client, "deposit", json!({ "to": format!("a{n}"), "n": 1_000_000 })).await?;
    }
    drop(client);
    let mut acknowledged = 0;
    for kill in 0.. {
        // On a slow machine, a host may be killed before its first answer. So there are more rounds then.
        if kill >= kills && acknowledged > kills {
            break;
        }
        let mut writers = JoinSet::new();
        for n in 0..WRITERS {
            let mut client = join(&host).await?;
            writers.spawn(async move { write_until_the_end(&mut client, n).await });
        }
        vaults.start_marking(&host).await?;
        // The moment of the kill differs in each round, and also depends on the scheduling of the processes.
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
        // Entries that were stored but not acknowledged count from now on.
        acknowledged = entries;
        drop(client);
        vaults.audit(&host).await.with_context(|| format!("after kill {kill}"))?;
    }
    vaults.audit_sums(&host).await?;
    host.stop().await?;
    Ok(())
}

/// Repeats a transfer until the connection ends. Returns the number of acknowledged transfers.
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

fn mode(path: &Path) -> Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o777)
}

#[tokio::test]
async fn an_export_is_readable_only_by_its_owner() -> Result<()> {
    let home = tempfile::tempdir()?;
    fs::create_dir(home.path().join("data"))?;
    fs::write(home.path().join("old.jsonl"), "of an earlier version")?;
    fs::set_permissions(home.path().join("old.jsonl"), fs::Permissions::from_mode(0o644))?;
    for name in ["new.jsonl", "old.jsonl"] {
        let exported = bennu(home.path(), &["store", "export", "--data", "data", "--output", name])?;
        ensure!(exported.code == Some(0), "{exported:?}");
        ensure!(mode(&home.path().join(name))? == 0o600, "{name}");
    }
    // The mode of a device isn't changed.
    let exported = bennu(home.path(), &["store", "export", "--data", "data", "--output", "/dev/null"])?;
    ensure!(exported.code == Some(0), "{exported:?}");
    Ok(())
}

#[tokio::test]
async fn the_warning_about_a_readable_data_directory_has_the_command_that_closes_it() -> Result<()> {
    let host = TestHost::start(&["ledger"]).await?;
    let is_warning = |line: &bennu_tests::Line| line.message().contains("chmod");
    let place =
        host.log().find(0, "the data directory", |line| line.message().starts_with("the data directory is /")).await?;
    ensure!(place.message().contains("/data; no plugin has stored anything in it yet"), "{}", place.text);
    ensure!(!host.log().since(0).iter().any(is_warning) && mode(&host.home().join("data"))? == 0o700);
    let host = host
        .restart_after(Signal::TERM, |host| {
            Ok(fs::set_permissions(host.home().join("data"), fs::Permissions::from_mode(0o755))?)
        })
        .await?;
    let warning = host.log().find(0, "the warning", is_warning).await?;
    let (_, command) = warning.message().split_once("run: ").context("the warning has no command")?;
    ensure!(std::process::Command::new("sh").args(["-c", command]).status()?.success(), "{command}");
    ensure!(mode(&host.home().join("data"))? == 0o700);
    let host = host.restart(Signal::TERM).await?;
    ensure!(!host.log().since(0).iter().any(is_warning));
    host.stop().await?;
    Ok(())
}

async fn has_balance(host: &TestHost, balance: u64) -> Result<()> {
    let mut client = join(host).await?;
    let found = ask(&mut client, "balance", json!({ "of": "a" })).await?;
    ensure!(found == json!({ "balance": balance }), "{found}");
    Ok(())
}

/// The file of a plugin is renamed. The warning names the data of the old name, and there are two ways to use the data
/// again.
#[tokio::test]
async fn data_without_a_plugin_is_reported_and_can_be_claimed_or_renamed() -> Result<()> {
    let host = TestHost::start(&["ledger"]).await?;
    let mut client = join(&host).await?;
    ask(&mut client, "deposit", json!({ "to": "a", "n": 5 })).await?;
    drop(client);
    ensure!(host.inspect().await?["store"]["unclaimed"] == json!([]));
    let move_file = |home: &Path, from: &str, to: &str| -> Result<()> {
        Ok(fs::rename(home.join(format!("plugins/{from}.wasm")), home.join(format!("plugins/{to}.wasm")))?)
    };
    let host = host.restart_after(Signal::TERM, |host| move_file(host.home(), "ledger", "ledger-1.2")).await?;
    let is_warning = |line: &bennu_tests::Line| line.message().contains("stored data belongs to no plugin: `ledger`");
    host.log().find(0, "the warning", is_warning).await?;
    let shown = host.inspect().await?["store"]["unclaimed"].clone();
    ensure!(shown[0]["store"] == "ledger" && shown[0]["bytes"].as_u64() > Some(0), "{shown}");
    let printed = bennu(host.home(), &["inspect", "--host", &host.address().to_string()])?;
    ensure!(printed.output.contains("stored data belongs to no plugin: `ledger`"), "{printed:?}");
    has_balance(&host, 0).await?;

    // The configuration gives the plugin the name of the data.
    let config = |home: &Path, text: &str| -> Result<()> {
        let path = home.join("bennu.toml");
        Ok(fs::write(&path, format!("{}\n{text}\n", fs::read_to_string(&path)?))?)
    };
    let claimed = "[plugins.\"ledger-1.2\"]\nstore = \"ledger\"";
    let host = host.restart_after(Signal::TERM, |host| config(host.home(), claimed)).await?;
    has_balance(&host, 5).await?;
    ensure!(!host.log().since(0).iter().any(is_warning));
    // A plugin file with the old name can't use the data.
    let refused = host.refusal("ledger", &bennu_tests::places::guest("ledger")?).await?;
    ensure!(refused.contains("which the configuration gives to the plugin `ledger-1.2`"), "{refused}");

    // The other way: the data is renamed to the name of the plugin.
    let host = host
        .restart_after(Signal::TERM, |host| {
            let home = host.home();
            fs::remove_file(home.join("plugins/ledger.wasm"))?;
            let path = home.join("bennu.toml");
            fs::write(&path, fs::read_to_string(&path)?.replace(claimed, ""))?;
            let taken = bennu(home, &["store", "rename", "ledger", "ledger"])?;
            ensure!(taken.code == Some(1) && taken.errors.contains("already"), "{taken:?}");
            let renamed = bennu(home, &["store", "rename", "ledger", "ledger-1.2", "--config", "bennu.toml"])?;
            ensure!(renamed.code == Some(0) && renamed.errors.contains("1 row moved"), "{renamed:?}");
            Ok(())
        })
        .await?;
    has_balance(&host, 5).await?;
    ensure!(host.inspect().await?["store"]["unclaimed"] == json!([]));
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn two_plugins_with_one_store_are_refused() -> Result<()> {
    let home = tempfile::tempdir()?;
    fs::create_dir(home.path().join("plugins"))?;
    fs::write(home.path().join("bennu.toml"), "[plugins.a]\nstore = \"x\"\n[plugins.b]\nstore = \"x\"")?;
    let refused = bennu(home.path(), &["serve", "plugins", "--config", "bennu.toml", "--listen", "127.0.0.1:0"])?;
    ensure!(refused.code == Some(1) && refused.errors.contains("are both `x`"), "{refused:?}");
    Ok(())
}

/// New ids sort after all stored ids: after those of a host whose clock was a year ahead, and after those of a killed host.
#[tokio::test]
async fn new_ids_sort_after_stored_ids_whatever_the_clock_says() -> Result<()> {
    let year_ahead = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() + 365 * 86_400_000;
    let lines = format!("{{\"format\":\"bennu-store\",\"version\":1,\"ids_ms\":{year_ahead}}}\n{{\"rows\":0}}\n");
    let host = Setup::new().guests(&["ledger"])?.file("ahead.jsonl", lines.into_bytes()).start().await?;
    let mut client = join(&host).await?;
    ask(&mut client, "deposit", json!({ "to": "a", "n": 1000 })).await?;
    drop(client);
    let transfer = async |host: &TestHost| -> Result<String> {
        let mut client = join(host).await?;
        let moved = ask(&mut client, "transfer", json!({ "from": "a", "to": "b", "n": 1 })).await?;
        Ok(moved["entry"].as_str().context("the entry has no id")?.to_owned())
    };
    let mut ids = vec![transfer(&host).await?];
    let host = host
        .restart_after(Signal::TERM, |host| {
            let imported = bennu(host.home(), &["store", "import", "ahead.jsonl", "--config", "bennu.toml"])?;
            ensure!(imported.code == Some(0), "{imported:?}");
            Ok(())
        })
        .await?;
    host.log().find(0, "the warning", |line| line.message().contains("behind the ids")).await?;
    ids.push(transfer(&host).await?);
    ensure!(first_digits(year_ahead) <= ids[1], "{ids:?}");
    let host = host.restart(Signal::KILL).await?;
    ids.push(transfer(&host).await?);
    let host = host.restart(Signal::TERM).await?;
    ids.push(transfer(&host).await?);
    ensure!(ids.is_sorted_by(|one, next| one < next), "{ids:?}");
    host.stop().await?;
    Ok(())
}

/// The first nine digits of an id of this time. Each digit has five bits; the last three bits of the time are in the tenth
/// digit.
fn first_digits(ms: u128) -> String {
    let digit = |at: u32| b"0123456789abcdefghijklmnopqrstuv"[((ms >> (5 * at + 3)) & 31) as usize] as char;
    (0..9).rev().map(digit).collect()
}

/// While the store's file can't grow, a write is a fault, and `bennu inspect` shows the trouble. When it can grow again,
/// the store works without a restart.
#[tokio::test]
async fn a_store_works_again_when_its_disk_has_room() -> Result<()> {
    let host = TestHost::start(&["naughty"]).await?;
    let put = async |n: usize| -> Result<bool> {
        let mut client = host.connect().await?;
        client.join("naughty:1", &json!({})).await?;
        let payload = json!({ "key": format!("{n:04}"), "value": "x".repeat(200_000) });
        let reference = client.push("naughty:1", "store_put", &payload).await?;
        loop {
            let frame = client.json().await?;
            if frame[3] == "phx_error" {
                return Ok(false);
            }
            if frame[3] == "phx_reply" && frame[1] == reference {
                return Ok(frame[4]["status"] == "ok");
            }
        }
    };
    ensure!(put(0).await?);
    ensure!(host.inspect().await?["store"]["trouble"].is_null());
    host.limit_files(Some(fs::metadata(host.home().join("data/bennu.redb"))?.len()))?;
    let mut stored = 1;
    while put(stored).await? {
        stored += 1;
        ensure!(stored < 1000, "the file size limit has no effect");
    }
    host.log().find(0, "the fault", |line| line.field("kind") == "store").await?;
    let shown = host.shows("the store has failed", |shown| !shown["store"]["trouble"].is_null()).await?;
    ensure!(shown["store"]["trouble"]["since_ms"].as_u64() > Some(0), "{shown}");
    // A write that fits into the present file may succeed, so the store may work for a moment.
    eventually("`bennu inspect` shows the failure", async || {
        ensure!(!put(stored).await?, "the file can still not grow");
        let printed = bennu(host.home(), &["inspect", "--host", &host.address().to_string()])?;
        Ok(printed.output.contains("the store has failed").then_some(()))
    })
    .await?;

    host.limit_files(None)?;
    host.shows("the store works again", |shown| shown["store"]["trouble"].is_null()).await?;
    ensure!(put(stored).await?);
    let home = host.keep_home();
    host.stop().await?;
    let exported = bennu(home.path(), &["store", "export", "--data", "data"])?;
    for n in 0..=stored {
        ensure!(exported.output.contains(&format!("{n:04}")), "{n} of {stored} is lost");
    }
    Ok(())
}
