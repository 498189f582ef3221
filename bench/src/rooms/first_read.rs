//! The first read of an entry after a start: the pages that the store reads.

use anyhow::Result;
use bennu_test_tiers::Noise;
use serde_json::json;

use super::Setup;
use super::row::Row;
use super::shelf::ShelfHost;

/// The most pages.
const TARGET: f64 = 4.0;

/// Each read needs a start of its own, because the next one finds pages in memory.
const STARTS: usize = 10;

/// The largest number of pages of one read. A read of a page that the system has in memory counts, too.
pub(super) async fn row(setup: &Setup, mut shelf: ShelfHost, topic: &str, size: &str, entries: usize) -> Result<Row> {
    let starts = if setup.quick { 2 } else { STARTS };
    let (mut random, mut most) = (Noise::new(2), 0);
    for start in 1..=starts {
        shelf = shelf.restart().await?;
        shelf.join(topic).await?;
        let before = shelf.page_reads()?;
        shelf.call(topic, "read", &json!({ "key": random.below(entries) })).await?;
        let pages = shelf.page_reads()? - before;
        eprintln!("start {start} of {starts}, the first read of an entry, durable room of {size}: {pages} pages");
        most = most.max(pages);
    }
    Row::new(format!("page reads of the first read of an entry, durable room of {size}"), [most as f64], TARGET)
}
