//! Hosts with their store on a server: what plugins store outlives the host and the server, and one host writes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bennu_tests::{Cast, PostgresServer, Setup, TestClient, TestHost, bennu, check, eventually, get};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{config, database};

const ROUND: &str = r#"
    alice > join ledger:1
    alice < ok {}
    alice > deposit {"to": "a", "n": 5}
    alice < ok {"balance": 5}
    alice > transfer {"from": "a", "to": "b", "n": 2}
    alice < moved {"entry": …, "from": "a", "to": "b", "n": 2}
    alice < ok {"entry": …}
    carol > join vault:1
    carol < ok …
    carol > mark
    carol < ok {"marks": 1}
"#;

const AUDIT: &str = r#"
    alice > join ledger:2
    alice < ok {}
    alice > audit
    alice < ok {"sum": 5, "accounts": 2, "entries": 1}
    carol > join vault:1
    carol < ok …
    carol > audit
    carol < ok {"marks": 1, "is_whole": true, "own": 1}
"#;

#[tokio::test]
async fn keys_rooms_and_entries_outlive_a_stop_and_a_kill_of_the_host() -> Result<()> {
    let (name, url) = database()?;
    let host = Setup::new().guests(&["ledger", "shelf"])?.config(&config(&url)).start().await?;
    check(&host, ROUND).await?;
    let host = host.restart(Signal::TERM).await?;
    check(&host, AUDIT).await?;
    let host = host.restart(Signal::KILL).await?;
    check(&host, AUDIT).await?;
    ensure!(!host.home().join("data/bennu.redb").exists(), "nothing is stored in the data directory");
    let kinds = PostgresServer::shared()?.sql(
        &name,
        "SELECT string_agg(DISTINCT kind, ',' ORDER BY kind) FROM bennu.content WHERE plugin IN ('ledger', 'shelf')",
    )?;
    ensure!(kinds == "entry,key,room,sums", "people can read the rows: {kinds}");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn commands_read_a_running_host_and_a_stopped_one() -> Result<()> {
    let (_, url) = database()?;
    let host = Setup::new().guests(&["ledger", "shelf"])?.config(&config(&url)).start().await?;
    check(&host, ROUND).await?;
    let home = host.keep_home();
    let address = host.address().to_string();
    let usage = |more: &[&str]| -> Result<String> {
        let ended = bennu(home.path(), &[&["store", "usage", "--config", "bennu.toml"][..], more].concat())?;
        ensure!(ended.code == Some(0), "{ended:?}");
        Ok(ended.output)
    };
    let running = usage(&["--host", &address])?;
    ensure!(running.contains("ledger") && running.contains("shelf"), "{running}");
    host.stop().await?;
    ensure!(usage(&[])? == running);
    for (arguments, expected) in [
        (&["store", "get", "ledger", "account:a", "--raw", "--config", "bennu.toml"][..], "\u{3}"),
        (&["store", "rename", "ledger", "books", "--config", "bennu.toml"], ""),
        (&["store", "get", "books", "account:b", "--raw", "--config", "bennu.toml"], "\u{2}"),
    ] {
        let ended = bennu(home.path(), arguments)?;
        ensure!(ended.code == Some(0) && ended.output == expected, "{arguments:?}: {ended:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_second_host_is_refused_and_one_that_lost_its_place_writes_nothing() -> Result<()> {
    let (name, url) = database()?;
    let server = PostgresServer::shared()?;
    let config = format!("{}wait_ms = 2000\n", config(&url));
    let first = Setup::new().guests(&["ledger"])?.config(&config).start().await?;
    let refused = Setup::new().config(&config).start().await.err().context("two hosts write")?;
    let refused = format!("{refused:#}");
    ensure!(
        refused.contains("is in use by another bennu (")
            && refused.contains(" began to write at ")
            && refused.contains(", and nobody has since): stop that one, ")
            && refused.contains("store.schema"),
        "{refused}"
    );
    // As while a first host has the lock, and hasn't begun to write.
    server.sql(&name, "UPDATE bennu.writer SET host = ''")?;
    let refused = Setup::new().config(&config).start().await.err().context("two hosts write")?;
    let refused = format!("{refused:#}");
    ensure!(refused.contains("is in use by another bennu: stop that one"), "{refused}");
    // The server ends the session with the lock, as after a cut of the network. Another host begins to write before the first one is
    // back: here, by the statement with which a host begins.
    server.sql(
        &name,
        "SELECT bennu.begin_writing('elsewhere'); \
         SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )?;
    let mut client = first.connect().await?;
    client.join("ledger:1", &json!({})).await?;
    client.push("ledger:1", "deposit", &json!({ "to": "a", "n": 5 })).await?;
    loop {
        let frame = client.json().await?;
        if frame[3] == "phx_error" {
            break;
        }
        ensure!(frame[3] != "phx_reply" || frame[4]["status"] != "ok", "{frame}");
    }
    let shown = eventually("the host isn't ready", async || {
        let shown = first.inspect().await?;
        Ok(shown["store"]["trouble"]["reason"].as_str().map(str::to_owned))
    });
    let shown = shown.await?;
    ensure!(shown.contains("the bennu on elsewhere has taken over the store at"), "{shown}");
    ensure!(server.sql(&name, "SELECT count(*) FROM bennu.content WHERE kind = 'key'")? == "0");
    Ok(())
}

#[tokio::test]
async fn hosts_with_different_schemas_share_a_database() -> Result<()> {
    let (_, url) = database()?;
    let mut hosts = Vec::new();
    for schema in ["one", "two"] {
        let config = format!("{}schema = {schema:?}\nconnections = 2\n", config(&url));
        let host = Setup::new().guests(&["ledger", "shelf"])?.config(&config).start().await?;
        check(&host, ROUND).await?;
        hosts.push(host);
    }
    for host in hosts {
        check(&host, AUDIT).await?;
        host.stop().await?;
    }
    Ok(())
}

async fn deposit(client: &mut TestClient) -> Result<Value> {
    let reference = client.push("ledger:1", "deposit", &json!({ "to": "a", "n": 1 })).await?;
    Ok(serde_json::to_value(client.reply("ledger:1", &reference).await?.response)?)
}

/// While the server is away for less than `wait_ms`, callbacks wait and clients notice nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_server_is_only_a_pause_for_clients() -> Result<()> {
    let server = PostgresServer::start()?;
    let url = server.database("paused")?;
    let config = format!("{}wait_ms = 60000\n", config(&url));
    let host = Setup::new().guests(&["ledger"])?.config(&config).limit("call_wall_ms", 60_000).start().await?;
    let mut client = host.connect().await?;
    client.join("ledger:1", &json!({})).await?;
    for round in 1..=3 {
        server.kill()?;
        let reference = client.push("ledger:1", "deposit", &json!({ "to": "a", "n": 1 })).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.start_again()?;
        let reply = client.reply("ledger:1", &reference).await?;
        ensure!(reply.status == "ok" && reply.response == json!({ "balance": 2 * round - 1 }), "{reply:?}");
        ensure!(deposit(&mut client).await? == json!({ "balance": 2 * round }));
    }
    ensure!(host.inspect().await?["faults"] == 0);
    host.stop().await?;
    Ok(())
}

/// A server that is away for longer makes calls fail and the host unready, until it is there again.
#[tokio::test]
async fn a_host_whose_server_is_away_says_so_and_goes_on_by_itself() -> Result<()> {
    let server = PostgresServer::start()?;
    let url = server.database("away")?;
    let config = format!("{}wait_ms = 200\n", config(&url));
    let host = Setup::new().guests(&["ledger"])?.config(&config).start().await?;
    let ready = async |is_ready: bool| {
        eventually("readiness", async || {
            Ok(((get(host.address(), "/readyz").await?.status == 200) == is_ready).then_some(()))
        })
        .await
    };
    ready(true).await?;
    server.stop()?;
    ready(false).await?;
    ensure!(get(host.address(), "/livez").await?.status == 200, "a restart of the host doesn't help");
    let mut cast = Cast::new(&host);
    cast.play("alice > join ledger:1\nalice < ok {}\nalice > deposit {\"to\": \"a\", \"n\": 5}\nalice < phx_error")
        .await?;
    server.start_again()?;
    ready(true).await?;
    cast.play("bob > join ledger:1\nbob < ok {}\nbob > deposit {\"to\": \"a\", \"n\": 5}\nbob < ok {\"balance\": 5}")
        .await?;
    drop(cast);
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_host_waits_for_a_server_that_starts_after_it() -> Result<()> {
    let server = PostgresServer::start()?;
    let url = server.database("later")?;
    server.stop()?;
    let config = format!("{}wait_ms = 60000\n", config(&url));
    let (host, started) = tokio::join!(Setup::new().guests(&["ledger"])?.config(&config).start(), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.start_again()
    });
    started?;
    let host: TestHost = host?;
    check(&host, "alice > join ledger:1\nalice < ok {}").await?;
    host.stop().await?;
    Ok(())
}
