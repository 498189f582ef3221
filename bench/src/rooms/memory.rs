//! The memory of many entries, against the bytes of their keys and values.

use anyhow::{Context, Result};

use super::Setup;
use super::row::Row;
use super::shelf::ENTRY_BYTES;
use crate::statistics::shown;

const TARGET: f64 = 2.0;

const ENTRIES: usize = 1_000_000;

const ENTRIES_QUICK: usize = 20_000;

/// Entries of another topic that are filled before the measurement. So the memory of the plugin's instance isn't counted.
const FIRST_ENTRIES: usize = 1_000;

pub(super) async fn rows(setup: &Setup) -> Result<Vec<Row>> {
    let entries = if setup.quick { ENTRIES_QUICK } else { ENTRIES };
    let rounds = setup.rounds();
    let mut ratios = Vec::new();
    for round in 1..=rounds {
        let ratio = ratio(setup, entries).await.context("memory of entries")?;
        eprintln!("round {round} of {rounds}, memory of {entries} entries: {} of their bytes", shown(ratio));
        ratios.push(ratio);
    }
    let name = format!("memory of {entries} entries of {ENTRY_BYTES} bytes / their bytes");
    Ok(vec![Row::new(name, ratios, TARGET)?])
}

/// The growth of the host's resident memory, divided by the bytes of keys and values. Each round has its own host, because a
/// host that freed entries before would use that memory again.
async fn ratio(setup: &Setup, entries: usize) -> Result<f64> {
    let mut shelf = setup.start().await?;
    for topic in ["shelf:first", "shelf:1"] {
        shelf.join(topic).await?;
    }
    shelf.fill("shelf:first", FIRST_ENTRIES).await?;
    let before = shelf.memory()?;
    shelf.fill("shelf:1", entries).await?;
    let grown = shelf.memory()?.saturating_sub(before);
    Ok(grown as f64 / (entries * ENTRY_BYTES) as f64)
}
