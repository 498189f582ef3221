//! The store, and the entries of rooms.

use std::fmt;

use super::Page;
use crate::api::Api;
use crate::store::BATCH_BOUNDS;

pub(super) fn write(api: &Api, page: &mut Page<'_>) -> fmt::Result {
    let (store, counts) = (&api.node.store, api.node.store.counts());
    let is_up = u64::from(store.trouble().is_none());
    page.gauge("bennu_store_up", "1 while the store works; 0 while it refuses writes.", is_up)?;
    let mut commits = page.counters("bennu_store_commits", "Commits of calls by their result.")?;
    for (result, count) in [
        ("stored", counts.commits()),
        ("conflict", counts.conflicts()),
        ("over_quota", counts.over_quota()),
        ("failed", counts.failures()),
    ] {
        commits.counter(&[("result", result)], count)?;
    }
    let help = "How long the batches took, each with one sync.";
    page.histogram("bennu_store_batch_duration_seconds", help, &BATCH_BOUNDS, &counts.batches())?;
    page.counter("bennu_store_written_bytes", "Bytes of the keys and values that were written.", counts.bytes())?;
    page.counter("bennu_store_page_reads", "Pages that were read from the store's file.", store.page_reads())?;
    let log = store.log_counts();
    page.gauge("bennu_store_log_bytes", "Bytes of commits that only the log has.", log.bytes())?;
    page.counter("bennu_store_checkpoints", "Log files that were written to the store's file.", log.checkpoints())?;
    page.counter("bennu_store_checkpoint_waits", "Commits that waited for a checkpoint.", log.waits())?;
    if let Some(database) = store.postgres_counts() {
        let help = "Statements that read from the store's database.";
        page.counter("bennu_store_database_reads", help, database.reads())?;
        let help = "Reads that waited for a connection to the store's database.";
        page.counter("bennu_store_database_waits", help, database.waits())?;
        let help = "Connections to the store's database that were made again.";
        page.counter("bennu_store_database_reconnects", help, database.connects())?;
        let help = "Batches without an answer, whose outcome the store's database was asked for.";
        page.counter("bennu_store_database_settled", help, database.settled())?;
    }
    entries(api, page)
}

fn entries(api: &Api, page: &mut Page<'_>) -> fmt::Result {
    let usage = api.node.entry_usage();
    let mut bytes = page.gauges("bennu_entries_bytes", "Memory of the entries of rooms.")?;
    for (kind, value) in [
        ("memory", usage.memory_bytes),
        ("cached", usage.cached_bytes),
        ("dirty", usage.dirty_bytes),
        ("journal", usage.journal_bytes),
    ] {
        bytes.gauge(&[("kind", kind)], value)?;
    }
    page.counter("bennu_entries_loaded", "Entries that were read from the store.", usage.loaded)?;
    page.counter("bennu_entries_evicted", "Entries that were evicted from the memory.", usage.evicted)
}
