//! An export of a running host, for a reader at its own pace.
//!
//! A thread with low priority makes it. So the reads of the disk and the encoding delay neither a turn nor a commit. The reader has
//! a bounded time for each part, and for the whole: while an export runs, the store keeps all that its snapshot shows.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::timeout;

use super::export::Exporter;
use super::export_line::ExportLine;
use super::handle::Store;
use super::reading;
use super::space::Owner;
use crate::timing::give_way;

/// The most parts that wait for the reader.
const PARTS: usize = 2;

/// How long an export waits for its reader. A part has at most about 256 KiB, so this is a very slow reader, or a dead one.
const READER_WAITS_MAX: Duration = Duration::from_secs(60);

/// How long a whole export may take.
const EXPORT_TIME_MAX: Duration = Duration::from_secs(12 * 60 * 60);

/// Another export is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exporting;

impl Store {
    /// Exports all keys, rooms, entries and jobs, or those of one plugin, as they are now. The receiver gets the lines in parts. If it takes
    /// no part for 60 s, or not all of them within 12 hours, the export ends early. If the store fails, the last line says why.
    ///
    /// # Errors
    /// If another export is running. Each one keeps memory and disk space in use, so there is at most one.
    pub fn export_stream(&self, plugin: Option<&Owner>) -> Result<Result<Receiver<Vec<u8>>, Exporting>> {
        let Ok(place) = Arc::clone(self.exporting()).try_acquire_owned() else { return Ok(Err(Exporting)) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.context("creating a runtime for an export")?;
        let (exporter, (parts, reader)) = (self.exporter(plugin), mpsc::channel(PARTS));
        let work = move || {
            give_way();
            reading::wait_here();
            let whole = async { timeout(EXPORT_TIME_MAX, send_all(exporter, parts)).await };
            let why = match runtime.block_on(whole) {
                Ok(Some(why)) => why,
                Ok(None) => return drop(place),
                Err(_) => "it took longer than 12 hours",
            };
            tracing::warn!("an export of the store was ended: {why}");
            drop(place);
        };
        std::thread::Builder::new().name("bennu-export".into()).spawn(work).context("starting a thread to export")?;
        Ok(Ok(reader))
    }
}

/// Sends all parts. Returns why it has ended early.
async fn send_all(mut exporter: Exporter, parts: mpsc::Sender<Vec<u8>>) -> Option<&'static str> {
    loop {
        let (part, is_last) = match exporter.next().await {
            Ok(Some(part)) => (part, false),
            Ok(None) => return None,
            Err(error) => (ExportLine::Failed { error: format!("{error:#}") }.write().unwrap_or_default(), true),
        };
        match timeout(READER_WAITS_MAX, parts.send(part)).await {
            Ok(Ok(())) if is_last => return Some("the store failed"),
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Some("its reader is gone"),
            Err(_) => return Some("its reader took nothing for 60 s"),
        }
    }
}
