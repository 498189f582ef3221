//! Backups of a running host: what they contain, and restores.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bennu_test_tiers::{bound, note_figures, rounds};
use bennu_tests::{Ended, Setup, TestClient, TestHost, bennu, eventually, get};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, spawn_blocking};

/// The rows that a store has besides those of the test, so that a backup takes a while.
pub(crate) const PADDING: usize = 20_000;

/// What each account has at the beginning.
const EACH: u64 = 1_000_000;

/// An export with this padding, under the name of the plugin `ledger`.
pub(crate) fn padding() -> String {
    let value = "x".repeat(1000);
    let rows: String = (0..PADDING)
        .map(|row| format!("{{\"plugin\":\"ledger\",\"key\":\"padding:{row:06}\",\"value\":\"{value}\"}}\n"))
        .collect();
    format!("{{\"format\":\"bennu-store\",\"version\":1}}\n{rows}{{\"rows\":{PADDING}}}\n")
}

/// Returns the store of a data directory with this padding.
fn padded() -> Result<Vec<u8>> {
    let place = tempfile::tempdir()?;
    fs::write(place.path().join("padding.jsonl"), padding())?;
    let restored = bennu(place.path(), &["store", "restore", "padding.jsonl", "--data", "data"])?;
    ensure!(restored.code == Some(0) && restored.errors.contains("20000 rows restored, of 1 plugins"), "{restored:?}");
    Ok(fs::read(place.path().join("data/bennu.redb"))?)
}

pub(crate) async fn padded_host() -> Result<TestHost> {
    let store = spawn_blocking(padded).await??;
    // A client that waits for a command sends nothing meanwhile. On a busy machine, that may take minutes.
    with_store(store)?.limit("idle_ms", 600_000).start().await
}

/// A host with this store. Some calls read the entries of all transfers.
fn with_store(store: Vec<u8>) -> Result<Setup> {
    let setup = Setup::new().guests(&["ledger"])?.file("data/bennu.redb", store);
    Ok(setup.limit("call_cpu_ms", 20_000).limit("call_wall_ms", 60_000))
}

/// Runs `bennu store` against a running host.
async fn store(host: &TestHost, arguments: &[&str]) -> Result<Ended> {
    let (home, address) = (host.home().to_owned(), host.address().to_string());
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    spawn_blocking(move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        bennu(&home, &[&["store"], &arguments[..], &["--host", &address]].concat())
    })
    .await?
}

/// Waits until the host has noticed that the reader of an export is gone.
pub(crate) async fn no_export_runs(host: &TestHost) -> Result<()> {
    eventually("the export has ended", async || {
        Ok((get(host.address(), "/api/store/export?plugin=other").await?.status == 200).then_some(()))
    })
    .await
}

/// The clients that write, and the accounts of each. No two clients use the same account, so no transfer has to run again.
const CLIENTS: u64 = 6;
const OWN: u64 = 4;
const ACCOUNTS: u64 = CLIENTS * OWN;

/// The transfers of one message, which are one commit: the number of transfers in a second isn't that of the disk's syncs.
const TOGETHER: u64 = 16;

/// Transfers money between the accounts of a client until the end. Counts the transfers that were answered.
async fn transfer(mut client: TestClient, number: u64, ended: Arc<AtomicBool>, count: Arc<AtomicU64>) -> Result<()> {
    const IN_FLIGHT: usize = 4;
    // Not the topic of the client that asks: it would have to read what is broadcast.
    let topic = format!("ledger:of-{number}");
    client.join(&topic, &json!({})).await?;
    let account = |n: u64| format!("a{}", number * OWN + n % OWN);
    let (mut waiting, mut step) = (std::collections::VecDeque::new(), 0);
    while !ended.load(Ordering::Relaxed) {
        let one = |n: u64| json!({ "from": account(n), "to": account(3 * n + 1), "n": 1 });
        let transfers: Vec<Value> = (step..step + TOGETHER).map(one).collect();
        waiting.push_back(client.push(&topic, "transfers", &json!({ "transfers": transfers })).await?);
        step += TOGETHER;
        if waiting.len() >= IN_FLIGHT {
            let reference = waiting.pop_front().context("a push waits")?;
            ok(&mut client, &reference).await?;
            count.fetch_add(TOGETHER, Ordering::Relaxed);
        }
    }
    for reference in waiting {
        ok(&mut client, &reference).await?;
    }
    Ok(())
}

/// Waits for the reply to a push. Skips the broadcasts of transfers.
async fn ok(client: &mut TestClient, reference: &str) -> Result<Value> {
    loop {
        let frame = client.json().await?;
        if frame[3] == "phx_reply" {
            ensure!(frame[1] == reference && frame[4]["status"] == "ok", "{frame}");
            return Ok(frame[4]["response"].clone());
        }
    }
}

/// Sends an event and returns the response.
async fn ask(client: &mut TestClient, event: &str, payload: Value) -> Result<Value> {
    let reference = client.push("ledger:0", event, &payload).await?;
    ok(client, &reference).await
}

/// Checks a restored host: each account has what it had at the beginning, and what the stored transfers say. So each transfer is there
/// with both of its accounts, or not at all. Returns the number of transfers.
async fn check_accounts(host: &TestHost) -> Result<u64> {
    let mut client = host.connect().await?;
    client.join("ledger:0", &json!({})).await?;
    let audit = ask(&mut client, "audit", json!({})).await?;
    ensure!(audit["sum"] == ACCOUNTS * EACH && audit["accounts"] == ACCOUNTS, "{audit}");
    let mut balances: BTreeMap<String, i64> = BTreeMap::new();
    let (mut before, mut transfers) = (Value::Null, 0);
    loop {
        let page = ask(&mut client, "entries", json!({ "limit": 500, "before": before })).await?;
        let entries = page["entries"].as_array().context("entries")?;
        let Some(last) = entries.last() else { break };
        before = last["entry"].clone();
        for entry in entries {
            let n = entry["n"].as_i64().context("n")?;
            for (account, change) in [(&entry["from"], -n), (&entry["to"], n)] {
                *balances.entry(account.as_str().context("an account")?.to_owned()).or_default() += change;
            }
            transfers += 1;
        }
    }
    for (account, change) in balances {
        let found = ask(&mut client, "balance", json!({ "of": account })).await?["balance"].as_i64();
        ensure!(found == Some(i64::try_from(EACH)? + change), "{account}: {found:?}, and the transfers say {change}");
    }
    ensure!(audit["entries"] == transfers, "{audit}");
    Ok(transfers)
}

/// Several clients write without a pause: in the full tier, a thousand transfers a second. Each backup is a state that existed, later
/// than the one before, and the writes go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_during_writes_is_a_state_that_existed() -> Result<()> {
    let host = padded_host().await?;
    let mut client = host.connect().await?;
    client.join("ledger:0", &json!({})).await?;
    for account in 0..ACCOUNTS {
        ask(&mut client, "deposit", json!({ "to": format!("a{account}"), "n": EACH })).await?;
    }
    let (ended, count, mut clients) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default(), JoinSet::new());
    for number in 0..CLIENTS {
        let client = host.connect().await?;
        clients.spawn(transfer(client, number, Arc::clone(&ended), Arc::clone(&count)));
    }
    let answered = || count.load(Ordering::Relaxed);
    eventually("the clients write", async || Ok((answered() > 100).then_some(()))).await?;
    let (mut bounds, mut meanwhile, mut took) = (Vec::new(), 0, Duration::ZERO);
    let wanted = u64::try_from(rounds("backup::transfers"))?;
    while bounds.len() < 2 || meanwhile < wanted {
        let name = ["first.jsonl", "second.jsonl"].get(bounds.len()).unwrap_or(&"later.jsonl");
        let (before, began) = (answered(), Instant::now());
        let made = store(&host, &["backup", name]).await?;
        let after = answered();
        took += began.elapsed();
        ensure!(made.code == Some(0) && made.errors.contains(" rows, "), "{made:?}");
        ensure!(after > before, "no write was answered while the backup was made");
        bounds.push(before);
        meanwhile += after - before;
    }
    let rate = meanwhile as f64 / took.as_secs_f64();
    let said = format!(
        "{} backups in {took:.1?}; meanwhile {meanwhile} transfers were stored: {rate:.0} a second",
        bounds.len()
    );
    note_figures(&said);
    let least = bound("backup::transfers_a_second");
    ensure!(least.is_none_or(|least| rate >= least as f64), "{said}; at least {least:?}");
    ended.store(true, Ordering::Relaxed);
    while let Some(done) = clients.join_next().await {
        done??;
    }
    let all = ask(&mut client, "audit", json!({})).await?["entries"].as_u64().context("entries")?;
    let mut transfers = Vec::new();
    for (name, before) in ["first", "second"].into_iter().zip(bounds) {
        let file = host.home().join(name).with_extension("jsonl");
        ensure!(fs::metadata(&file)?.permissions().mode() & 0o777 == 0o600, "only the user can read {name}");
        let place = tempfile::tempdir()?;
        let from = file.display().to_string();
        let restored = bennu(place.path(), &["store", "restore", &from, "--data", "data"])?;
        ensure!(restored.code == Some(0), "{restored:?}");
        let data = fs::read(place.path().join("data/bennu.redb"))?;
        let other = with_store(data)?.start().await?;
        let found = check_accounts(&other).await?;
        ensure!(found >= before && found < all, "{name}: {found} transfers; {before} were answered before it");
        transfers.push(found);
        other.stop().await?;
    }
    ensure!(transfers[0] < transfers[1], "{transfers:?}");
    drop(client);
    host.stop().await?;
    Ok(())
}

/// The first reader takes nothing more after its first bytes, so its export is still running.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_makes_one_export_at_a_time() -> Result<()> {
    let host = padded_host().await?;
    let mut slow = TcpStream::connect(host.address()).await?;
    let request = format!(
        "GET /api/store/export HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\r\n",
        host.api_key()?
    );
    slow.write_all(request.as_bytes()).await?;
    let mut first = [0; 1000];
    let read = slow.read(&mut first).await?;
    ensure!(first[..read].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&first[..read]));
    let second = get(host.address(), "/api/store/export").await?;
    ensure!(second.status == 409 && second.json()?["error"]["code"] == "exporting", "{second:?}");
    let refused = store(&host, &["export"]).await?;
    ensure!(refused.code == Some(1) && refused.errors.contains("an export of the store is running"), "{refused:?}");
    drop(slow);
    no_export_runs(&host).await?;
    let bad = get(host.address(), "/api/store/export?plugins=other").await?;
    ensure!(bad.status == 400, "{bad:?}");
    let nobody = get(host.address(), "/api/store/export?plugin=").await?;
    ensure!(nobody.status == 400, "{nobody:?}");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_damaged_backup_is_not_restored() -> Result<()> {
    let home = tempfile::tempdir()?;
    let lines = "{\"format\":\"bennu-store\",\"version\":2}\n{\"plugin\":\"a\",\"key\":\"k\",\"value\":\"v\"}\n";
    fs::write(home.path().join("bad.jsonl"), format!("{lines}{{\"rows\":1,\"sha256\":\"00\"}}\n"))?;
    let verified = bennu(home.path(), &["store", "verify", "bad.jsonl"])?;
    let why = "bad.jsonl can't be restored: line 3: its `sha256` isn't that of the lines before";
    ensure!(verified.code == Some(1) && verified.errors.contains(why), "{verified:?}");
    let restored = bennu(home.path(), &["store", "restore", "bad.jsonl", "--data", "data"])?;
    ensure!(restored.code == Some(1) && restored.errors.contains("the backup is invalid: line 3"), "{restored:?}");
    ensure!(fs::read_dir(home.path().join("data"))?.count() == 0, "nothing is left");
    Ok(())
}

/// The same commands, against a running host and against the directory of a stopped one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stored_rows_and_the_largest_topics_are_shown() -> Result<()> {
    let rows = [
        r#"{"plugin":"a","key":"k/1","value":"one"}"#,
        r#"{"plugin":"a","key_base64":"/wA=","value_base64":"gIE="}"#,
        r#"{"plugin":"a","room":"room:1","value":"0123456789"}"#,
        r#"{"plugin":"a","room":"room:2","value":"0123"}"#,
        r#"{"version":3,"plugin":"a","topic":"room:2","entry":"stroke/1","value":"[0,1]"}"#,
        r#"{"version":3,"plugin":"a","topic":"room:2","entry":"stroke/2","value":"[2,3]"}"#,
    ];
    let lines = format!("{{\"format\":\"bennu-store\",\"version\":1}}\n{}\n{{\"rows\":6}}\n", rows.join("\n"));
    let place = tempfile::tempdir()?;
    fs::write(place.path().join("all.jsonl"), lines)?;
    let restored = bennu(place.path(), &["store", "restore", "all.jsonl", "--data", "data"])?;
    ensure!(restored.code == Some(0), "{restored:?}");
    let file = fs::read(place.path().join("data/bennu.redb"))?;
    let host = Setup::new().guests(&["echo"])?.file("data/bennu.redb", file).start().await?;
    for (arguments, expected) in [
        (&["get", "a", "k/1"][..], format!("{}\n", rows[0])),
        (&["get", "a", "k/1", "--raw"], "one".into()),
        (&["get", "a", "/wA=", "--base64"], format!("{}\n", rows[1])),
        (&["get", "a", "--rooms", "room:1"], format!("{}\n", rows[2])),
        (&["get", "a", "--topic", "room:2", "stroke/2"], format!("{}\n", rows[5])),
        (&["scan", "a"], format!("{}\n{}\n", rows[0], rows[1])),
        (&["scan", "a", "k/"], format!("{}\n", rows[0])),
        (&["scan", "a", "--limit", "1"], format!("{}\n", rows[0])),
        (&["scan", "a", "--rooms"], format!("{}\n{}\n", rows[2], rows[3])),
        (&["scan", "a", "--topic", "room:2", "stroke/"], format!("{}\n{}\n", rows[4], rows[5])),
        (&["scan", "b"], String::new()),
        (
            &["usage", "--topics", "5"],
            "a: 62 bytes\n  room:2: 30 bytes, of which 26 in 2 entries\n  room:1: 10 bytes, of which 0 in 0 entries\n"
                .into(),
        ),
        (&["usage", "a", "--topics", "1"], "a: 62 bytes\n  room:2: 30 bytes, of which 26 in 2 entries\n".into()),
    ] {
        let running = store(&host, arguments).await?;
        ensure!(running.code == Some(0) && running.output == expected, "{arguments:?}: {running:?}");
        let stopped = bennu(place.path(), &[&["store"], arguments, &["--data", "data"]].concat())?;
        ensure!(stopped.code == Some(0) && stopped.output == expected, "{arguments:?}, stopped: {stopped:?}");
    }
    for (arguments, error) in [
        (&["get", "a", "none"][..], "the store has no such row"),
        (&["get", "a", "?", "--base64"], "`?` isn't base64"),
        (&["usage", "b"], "`b` has nothing in the store"),
    ] {
        let refused = store(&host, arguments).await?;
        ensure!(refused.code == Some(1) && refused.errors.contains(error), "{arguments:?}: {refused:?}");
    }
    let cut = store(&host, &["scan", "a", "--limit", "1"]).await?;
    ensure!(cut.errors.contains("there are more rows; --limit shows more than 1"), "{cut:?}");
    host.stop().await?;
    Ok(())
}
