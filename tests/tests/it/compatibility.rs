//! Components that were built for the first release of contract 0.1 are loaded and served by this host.
//!
//! They are kept in `tests/compatibility`, because building today's sources again would not show what changed since.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use bennu_test_tiers::rounds;
use bennu_tests::{Setup, bennu, check, compile_once, places};

use crate::transcripts;

/// The kept components.
const KEPT: [&str; 10] = [
    "chat",
    "counter",
    "echo",
    "game",
    "ledger",
    "naughty",
    "notifications",
    "realtime",
    "reference",
    "reference-gate",
];

fn folder() -> Result<PathBuf> {
    Ok(places::workspace()?.join("tests/compatibility"))
}

fn kept(name: &str) -> Result<Vec<u8>> {
    let file = folder()?.join(name).with_extension("wasm");
    let component = std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
    compile_once(&component)?;
    Ok(component)
}

#[test]
fn every_component_of_the_first_release_would_be_served() -> Result<()> {
    let folder = folder()?;
    let mut found: Vec<(u64, String)> = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            let bytes = path.metadata()?.len();
            found.extend(path.file_stem().map(|name| (bytes, name.to_string_lossy().into_owned())));
        }
    }
    found.sort();
    let names: BTreeSet<&str> = found.iter().map(|(_, name)| name.as_str()).collect();
    ensure!(names == BTreeSet::from(KEPT), "{names:?}");
    for (_, name) in found.iter().take(rounds("compatibility::components")) {
        let file = folder.join(name).with_extension("wasm").display().to_string();
        let checked = bennu(&folder, &["check", &file])?;
        ensure!(checked.code == Some(0), "{name}: {checked:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_reference_channel_of_the_first_release_behaves_like_phoenix() -> Result<()> {
    transcripts::replay_all(kept("reference")?, kept("reference-gate")?).await
}

#[tokio::test]
async fn a_room_and_a_store_of_the_first_release_are_served() -> Result<()> {
    let host = Setup::new().plugin("counter", kept("counter")?).plugin("ledger", kept("ledger")?).start().await?;
    let script = r#"
        alice > join count:1
        alice < ok {}
        bob   > join count:1
        bob   < ok {}
        alice > add {"n": 2}
        alice < sum {"sum": 2}
        alice < ok {"sum": 2}
        bob   < sum {"sum": 2}
        carol > join ledger:1
        carol < ok …
        carol > deposit {"to": "a", "n": 5}
        carol < ok …
        carol > audit {}
        carol < ok {"sum": 5, "accounts": 1, "entries": 0}
    "#;
    check(&host, script).await?;
    host.stop().await?;
    Ok(())
}
