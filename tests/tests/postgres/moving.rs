//! Moving a store into the database and out of it: import of a data directory, backups of the host, and `pg_dump`.

use anyhow::{Result, ensure};
use bennu_tests::{PostgresServer, Setup, bennu, check};
use rustix::process::Signal;

use crate::{config, database};

const ROUND: &str = r#"
    alice > join ledger:1
    alice < ok {}
    alice > deposit {"to": "a", "n": 5}
    alice < ok {"balance": 5}
    carol > join vault:1
    carol < ok …
    carol > mark
    carol < ok {"marks": 1}
"#;

const AUDIT: &str = r#"
    alice > join ledger:2
    alice < ok {}
    alice > audit
    alice < ok {"sum": 5, "accounts": 1, "entries": 0}
    carol > join vault:1
    carol < ok …
    carol > audit
    carol < ok {"marks": 1, "is_whole": true, "own": 1}
"#;

#[tokio::test]
async fn a_data_directory_is_imported_and_exported_unchanged() -> Result<()> {
    let (_, url) = database()?;
    // `[store]` without a URL: a store in the data directory, also if all tests use a server.
    let setup =
        Setup::new().guests(&["ledger", "shelf"])?.config("[store]\n").file("moved.toml", config(&url).into_bytes());
    let host = setup.start().await?;
    check(&host, ROUND).await?;
    let home = host.keep_home();
    host.stop().await?;
    let run = |arguments: &[&str]| -> Result<()> {
        let ended = bennu(home.path(), arguments)?;
        ensure!(ended.code == Some(0), "{arguments:?}: {ended:?}");
        Ok(())
    };
    run(&["store", "import", "--directory", "data", "--config", "moved.toml"])?;
    let again = bennu(home.path(), &["store", "import", "--directory", "data", "--config", "moved.toml"])?;
    ensure!(again.code == Some(1) && again.errors.contains("already"), "{again:?}");
    run(&["store", "export", "--output", "before.jsonl", "--config", "bennu.toml"])?;
    run(&["store", "export", "--output", "after.jsonl", "--config", "moved.toml", "--data", "elsewhere"])?;
    let lines = |name: &str| -> Result<Vec<String>> {
        let text = std::fs::read_to_string(home.path().join(name))?;
        // The first line has the time, and the last one the digest of it.
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        Ok(lines[1..lines.len() - 1].to_vec())
    };
    let moved = lines("after.jsonl")?;
    ensure!(!moved.is_empty() && lines("before.jsonl")? == moved);
    Ok(())
}

#[tokio::test]
async fn a_dump_of_the_database_is_a_backup() -> Result<()> {
    let (name, url) = database()?;
    let server = PostgresServer::shared()?;
    let host = Setup::new().guests(&["ledger", "shelf"])?.config(&config(&url)).start().await?;
    check(&host, ROUND).await?;
    let (other, _) = database()?;
    // While the host runs.
    let dump = host.home().join("dump.sql");
    std::fs::write(&dump, server.run("pg_dump", &name, &["--schema=bennu"])?)?;
    server.run("psql", &other, &["-q", "-v", "ON_ERROR_STOP=1", "-f", &dump.to_string_lossy()])?;
    let host = host
        .restart_after(Signal::TERM, |host| {
            let path = host.home().join("bennu.toml");
            let text = std::fs::read_to_string(&path)?.replace(&format!("/{name}\""), &format!("/{other}\""));
            Ok(std::fs::write(path, text)?)
        })
        .await?;
    check(&host, AUDIT).await?;
    let backup = bennu(
        host.home(),
        &["store", "backup", "backup.jsonl", "--config", "bennu.toml", "--host", &host.address().to_string()],
    )?;
    ensure!(backup.code == Some(0), "{backup:?}");
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_host_says_that_its_data_directory_has_a_store_that_is_not_used() -> Result<()> {
    let (_, url) = database()?;
    let host = Setup::new().guests(&["ledger"])?.config("[store]\n").start().await?;
    check(&host, "alice > join ledger:1\nalice < ok {}").await?;
    let host = host
        .restart_after(Signal::TERM, |host| {
            let path = host.home().join("bennu.toml");
            let text = std::fs::read_to_string(&path)?.replace("[store]\n", &config(&url));
            Ok(std::fs::write(path, text)?)
        })
        .await?;
    let said =
        host.log().find(0, "the warning", |line| line.message().contains("bennu store import --directory")).await?;
    ensure!(said.message().contains("has a store of its own, which isn't used"), "{}", said.text);
    host.stop().await?;
    Ok(())
}
