//! Databases that a store can't be in: each is refused at the start with a sentence, and nothing is changed or lost.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use bennu_tests::{Cast, PostgresServer, Setup, TestHost, check, eventually};
use serde_json::json;

use crate::{config, database};

/// Starts a host that must refuse its store, and returns what it says.
async fn refusal(config: &str) -> Result<String> {
    let started = Setup::new().config(config).start().await;
    Ok(format!("{:#}", started.err().context("the host has started")?))
}

#[tokio::test]
async fn credentials_that_are_wrong_are_refused() -> Result<()> {
    let server = PostgresServer::start()?;
    server.database("app")?;
    server.sql("postgres", "CREATE ROLE locked LOGIN PASSWORD 'right'; GRANT CREATE ON DATABASE app TO locked")?;
    let rules = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
    std::fs::write(server.home().join("data/pg_hba.conf"), rules)?;
    server.sql("postgres", "SELECT pg_reload_conf()")?;
    let with =
        |variable: &str| format!("{}password = {{ env = {variable:?} }}\n", config(&server.url("locked", "app")));
    let wrong = Setup::new().config(&with("DB_PASSWORD")).variable("DB_PASSWORD", "hunter2").start().await;
    let wrong = format!("{:#}", wrong.err().context("the host has started")?);
    ensure!(wrong.contains("password authentication failed") && wrong.contains("pg_hba.conf"), "{wrong}");
    ensure!(!wrong.contains("hunter2"), "{wrong}");
    let right =
        Setup::new().guests(&["ledger"])?.config(&with("DB_PASSWORD")).variable("DB_PASSWORD", "right").start().await?;
    check(&right, "alice > join ledger:1\nalice < ok {}").await?;
    right.stop().await?;
    let missing = refusal(&config(&server.url("postgres", "nowhere"))).await?;
    ensure!(missing.contains("\"nowhere\" does not exist") && missing.contains("CREATE DATABASE"), "{missing}");
    let written = refusal("[store]\nurl = \"postgres://me:hunter2@127.0.0.1/app\"\n").await?;
    ensure!(written.contains("secrets come from") && !written.contains("hunter2"), "{written}");
    Ok(())
}

#[tokio::test]
async fn a_schema_of_a_later_version_is_refused_and_stays_unchanged() -> Result<()> {
    let (name, url) = database()?;
    let server = PostgresServer::shared()?;
    Setup::new().config(&config(&url)).start().await?.stop().await?;
    let known: i32 = server.sql(&name, "SELECT version FROM bennu.version")?.parse()?;
    let later = known + 1;
    server.sql(&name, &format!("UPDATE bennu.version SET version = {later}"))?;
    let said = refusal(&config(&url)).await?;
    let expected = format!("has version {later}, and this version of bennu knows version {known}");
    ensure!(said.contains(&expected), "{said}");
    ensure!(server.sql(&name, "SELECT version FROM bennu.version")? == later.to_string());
    server.sql(&name, &format!("UPDATE bennu.version SET version = {known}"))?;
    Setup::new().config(&config(&url)).start().await?.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_database_with_another_encoding_is_refused() -> Result<()> {
    let server = PostgresServer::shared()?;
    server.sql("postgres", "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")?;
    let said = refusal(&config(&server.url("postgres", "latin"))).await?;
    ensure!(said.contains("the encoding LATIN1; the store needs UTF8"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_role_needs_rights_only_for_what_is_missing() -> Result<()> {
    let (name, _) = database()?;
    let server = PostgresServer::shared()?;
    server.sql(&name, "CREATE ROLE modest LOGIN")?;
    let url = server.url("modest", &name);
    let said = refusal(&config(&url)).await?;
    ensure!(said.contains("permission denied for database") && said.contains("GRANT CREATE ON DATABASE"), "{said}");
    // An administrator makes an empty schema for it.
    server.sql(&name, "CREATE SCHEMA bennu AUTHORIZATION modest")?;
    let host = Setup::new().guests(&["ledger"])?.config(&config(&url)).start().await?;
    check(&host, "alice > join ledger:1\nalice < ok {}\nalice > deposit {\"to\": \"a\", \"n\": 5}\nalice < ok …")
        .await?;
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn defaults_of_a_role_do_not_change_what_is_promised() -> Result<()> {
    let (name, _) = database()?;
    let server = PostgresServer::shared()?;
    server.sql(
        &name,
        &format!(
            "CREATE ROLE odd LOGIN; GRANT CREATE ON DATABASE {name} TO odd; \
             ALTER ROLE odd SET default_transaction_isolation = 'repeatable read'; ALTER ROLE odd SET synchronous_commit = off; \
             ALTER ROLE odd SET statement_timeout = '1ms'; ALTER ROLE odd SET default_transaction_read_only = on; \
             ALTER ROLE odd SET bytea_output = 'escape'; ALTER ROLE odd SET search_path = nowhere"
        ),
    )?;
    let host = Setup::new().guests(&["ledger"])?.config(&config(&server.url("odd", &name))).start().await?;
    check(
        &host,
        "alice > join ledger:1\nalice < ok {}\nalice > deposit {\"to\": \"a\", \"n\": 5}\nalice < ok {\"balance\": 5}",
    )
    .await?;
    // What the function checks itself, if another program calls it.
    let called = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT bennu.commit_batch(1, 99, '{}', '{}', '{}')";
    let said = format!("{:#}", server.sql(&name, called).err().context("it was accepted")?);
    ensure!(said.contains("needs the isolation level read committed"), "{said}");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn too_few_connections_are_refused() -> Result<()> {
    let (name, _) = database()?;
    let server = PostgresServer::shared()?;
    server.sql(&name, &format!("CREATE ROLE few LOGIN CONNECTION LIMIT 3; GRANT CREATE ON DATABASE {name} TO few"))?;
    let url = server.url("few", &name);
    let said = refusal(&config(&url)).await?;
    ensure!(said.contains("too many connections for role") && said.contains("store.connections"), "{said}");
    Setup::new().config(&format!("{}connections = 3\n", config(&url))).start().await?.stop().await?;
    Ok(())
}

/// A file system of a few MB, if this user may mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(megabytes: u32) -> Option<Self> {
        let place = tempfile::tempdir().ok()?;
        mount(&format!("size={megabytes}m,mode=777"), place.path()).then_some(Self(place))
    }

    fn grow(&self, megabytes: u32) -> bool {
        mount(&format!("remount,size={megabytes}m"), self.0.path())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The server may still have files on it.
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).output();
    }
}

fn mount(options: &str, place: &Path) -> bool {
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "bennu-test"]).arg(place).output();
    mounted.is_ok_and(|mounted| mounted.status.success())
}

/// Writes values until one fails. Returns how many were stored.
async fn fill(host: &TestHost, from: usize) -> Result<usize> {
    for n in from..from + 1000 {
        let mut client = host.connect().await?;
        client.join("naughty:1", &json!({})).await?;
        let value: String = (0..20_000).map(|_| "0123456789").collect();
        let reference =
            client.push("naughty:1", "store_put", &json!({ "key": format!("{n:04}"), "value": value })).await?;
        loop {
            let frame = client.json().await?;
            if frame[3] == "phx_error" {
                return Ok(n);
            }
            if frame[3] == "phx_reply" && frame[1] == reference {
                break;
            }
        }
    }
    bail!("the disk isn't full")
}

/// A disk that is really full. After it was made larger, the host goes on, and each value that was acknowledged is there.
#[tokio::test]
async fn a_database_without_space_keeps_all_that_was_acknowledged() -> Result<()> {
    let Some(disk) = SmallDisk::mount(16) else {
        bennu_test_tiers::note_skipped("this user can't mount a file system");
        return Ok(());
    };
    let server = PostgresServer::start()?;
    let place = disk.0.path().join("space");
    server.make_directory(&place)?;
    server.sql("postgres", &format!("CREATE TABLESPACE small LOCATION '{}'", place.display()))?;
    server.sql("postgres", "CREATE DATABASE filled TABLESPACE small")?;
    let host = Setup::new().guests(&["naughty"])?.config(&config(&server.url("postgres", "filled"))).start().await?;
    let stored = fill(&host, 0).await?;
    let shown = host.inspect().await?["store"]["trouble"]["reason"].to_string();
    ensure!(stored > 3 && shown.contains("No space left on device"), "{stored} stored: {shown}");
    ensure!(disk.grow(64), "the file system doesn't grow");
    eventually("the trouble has ended", async || Ok(host.inspect().await?["store"]["trouble"].is_null().then_some(())))
        .await?;
    let more = fill(&host, stored).await?;
    ensure!(more > stored, "nothing was stored on the larger disk");
    // The server itself needs room for a new session.
    ensure!(disk.grow(128), "the file system doesn't grow");
    let keys = server.sql("filled", "SELECT count(*) FROM bennu.content WHERE kind = 'key' AND plugin = 'naughty'")?;
    ensure!(keys.parse::<usize>()? == more, "{keys} of {more}");
    host.stop().await?;
    Ok(())
}

/// A write is a fault and the host isn't ready; what was stored before is read, and when there is room, the host goes on by itself.
#[tokio::test]
async fn a_full_disk_loses_nothing_and_is_said() -> Result<()> {
    let server = PostgresServer::start()?;
    let url = server.database("filled")?;
    let host = Setup::new().guests(&["naughty", "ledger"])?.config(&config(&url)).start().await?;
    check(&host, "alice > join ledger:1\nalice < ok {}\nalice > deposit {\"to\": \"a\", \"n\": 5}\nalice < ok …")
        .await?;
    // The error of a full disk, from the server itself. The test above needs the rights to mount one.
    server.sql(
        "filled",
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$; \
         CREATE TRIGGER full_disk BEFORE INSERT ON bennu.data EXECUTE FUNCTION full_disk()",
    )?;
    let mut cast = Cast::new(&host);
    cast.play(
        r#"
        alice > join ledger:1
        alice < ok {}
        alice > deposit {"to": "a", "n": 1}
        alice < phx_error
        bob   > join ledger:1
        bob   < ok {}
        bob   > balance {"of": "a"}
        bob   < ok {"balance": 5}
        "#,
    )
    .await?;
    let shown = eventually("the trouble", async || {
        Ok(host.inspect().await?["store"]["trouble"]["reason"].as_str().map(str::to_owned))
    });
    let shown = shown.await?;
    ensure!(shown.contains("No space left on device") && shown.contains("disk is full"), "{shown}");
    server.sql("filled", "DROP TRIGGER full_disk ON bennu.data")?;
    eventually("the trouble has ended", async || Ok(host.inspect().await?["store"]["trouble"].is_null().then_some(())))
        .await?;
    cast.play("bob > deposit {\"to\": \"a\", \"n\": 1}\nbob < ok {\"balance\": 6}").await?;
    drop(cast);
    host.stop().await?;
    Ok(())
}
