//! A store whose files a disk has damaged: what a start says, and what `bennu store check` finds.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use bennu_tests::{Ended, TestHost, bennu, check};
use rustix::process::Signal;

/// Four commits, each of one account.
const DEPOSITS: &str = r#"
    alice > join ledger:1
    alice < ok {}
    alice > deposit {"to": "a", "n": 1}
    alice < ok {"balance": 1}
    alice > deposit {"to": "b", "n": 1}
    alice < ok {"balance": 1}
    alice > deposit {"to": "c", "n": 1}
    alice < ok {"balance": 1}
    alice > deposit {"to": "d", "n": 1}
    alice < ok {"balance": 1}
"#;

/// Flips a bit wherever a file has this text.
fn flip(file: &Path, text: &str) -> Result<()> {
    let mut bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let is_there = |at: &usize| bytes[*at..].starts_with(text.as_bytes());
    let places: Vec<usize> = (0..bytes.len()).filter(is_there).collect();
    ensure!(!places.is_empty(), "{} doesn't have {text}", file.display());
    for at in places {
        bytes[at] ^= 1;
    }
    Ok(fs::write(file, bytes)?)
}

fn store(home: &Path, arguments: &[&str]) -> Result<Ended> {
    bennu(home, &[&["store"], arguments, &["--data", "data"]].concat())
}

#[tokio::test]
async fn a_damaged_commit_stops_the_start_and_the_error_says_how_to_go_on() -> Result<()> {
    let host = TestHost::start(&["ledger"]).await?;
    let home = host.keep_home();
    check(&host, DEPOSITS).await?;
    let damage = |host: &TestHost| flip(&host.home().join("data/bennu.redb-log1"), "account:c");
    let started = host.restart_after(Signal::KILL, damage).await;
    let why = format!("{:#}", started.err().context("the host started")?);
    let says =
        "bennu.redb-log1, though later ones are there; restore a backup, or give up this commit and all later ones";
    ensure!(why.contains(says), "{why}");
    let checked = store(home.path(), &["check"])?;
    ensure!(checked.code == Some(1), "{checked:?}");
    ensure!(checked.errors.contains("bennu.redb is undamaged, but its log files are damaged: commit "), "{checked:?}");
    ensure!(checked.errors.contains(says), "{checked:?}");
    let command = checked.errors.split('`').nth(1).context("the error has no command")?;
    let data = home.path().join("data");
    ensure!(Command::new("sh").args(["-c", command]).current_dir(data).status()?.success(), "{command}");
    let checked = store(home.path(), &["check"])?;
    ensure!(checked.code == Some(0) && checked.output.contains("its log is undamaged, too: "), "{checked:?}");
    for (account, code) in [("a", 0), ("b", 0), ("c", 1), ("d", 1)] {
        let got = store(home.path(), &["get", "ledger", &format!("account:{account}")])?;
        ensure!(got.code == Some(code), "{account}: {got:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_damaged_page_is_found_by_the_check_of_a_stopped_host() -> Result<()> {
    let host = TestHost::start(&["ledger"]).await?;
    let home = host.keep_home();
    check(&host, DEPOSITS).await?;
    let used = store(home.path(), &["check"])?;
    ensure!(used.code == Some(1) && used.errors.contains("is in use by another bennu: stop that one"), "{used:?}");
    host.stop().await?;
    let file = home.path().join("data/bennu.redb");
    let before = fs::read(&file)?;
    let checked = store(home.path(), &["check"])?;
    ensure!(checked.code == Some(0) && checked.output.starts_with("data/bennu.redb is undamaged: "), "{checked:?}");
    ensure!(fs::read(&file)? == before, "the check has changed the file");
    flip(&file, "account:c")?;
    let damaged = fs::read(&file)?;
    let checked = store(home.path(), &["check"])?;
    ensure!(
        checked.code == Some(1) && checked.errors.contains("bennu.redb is damaged, or isn't a store"),
        "{checked:?}"
    );
    ensure!(fs::read(&file)? == damaged, "the check has changed the file");
    let none = bennu(home.path(), &["store", "check", "--data", "none"])?;
    ensure!(none.code == Some(1) && none.errors.contains("opening the data directory none"), "{none:?}");
    Ok(())
}
