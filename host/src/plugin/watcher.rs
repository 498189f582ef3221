//! Watches the sources of plugins, and reports that something may have changed.
//!
//! The operating system reports a change quickly, but it doesn't report every change. Examples are changes behind a
//! symlink, in a directory that was deleted and created again, or on a network file system. So the sources are also
//! scanned at a fixed interval.

use std::time::Duration;

use anyhow::{Context, Result};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Source;

/// The interval at which the sources are scanned without a reported change.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The time without changes after which the sources are scanned, and the maximum wait for it.
const QUIET: Duration = Duration::from_millis(30);
const QUIET_WAIT_MAX: Duration = Duration::from_secs(1);

/// Waits for changes in the sources.
pub(super) struct Watcher {
    changes: mpsc::Receiver<()>,
    /// `None` if the operating system refuses to watch.
    _watching: Option<RecommendedWatcher>,
}

impl Watcher {
    pub(super) fn new(sources: &[Source]) -> Self {
        // A capacity of 1 is enough: an entry means that something has changed, and then all sources are scanned.
        let (changed, changes) = mpsc::channel(1);
        let watching = watch(sources, changed).inspect_err(|error| {
            let seconds = LOOK_EVERY.as_secs();
            tracing::warn!("changes of plugins are noticed only every {seconds} s: {error:#}");
        });
        Self { changes, _watching: watching.ok() }
    }

    /// Waits until something may have changed and the sources are quiet.
    pub(super) async fn changed(&mut self) {
        match timeout(LOOK_EVERY, self.changes.recv()).await {
            Ok(Some(())) => self.quiet().await,
            // The sender is dropped, because the watch could not start.
            Ok(None) => sleep(LOOK_EVERY).await,
            Err(_) => {}
        }
    }

    async fn quiet(&mut self) {
        let latest = Instant::now() + QUIET_WAIT_MAX;
        while Instant::now() < latest {
            let quiet = (Instant::now() + QUIET).min(latest);
            if !matches!(timeout_at(quiet, self.changes.recv()).await, Ok(Some(()))) {
                return;
            }
        }
    }
}

fn watch(sources: &[Source], changed: mpsc::Sender<()>) -> Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            let _ = changed.try_send(());
        }
    })
    .context("starting to watch the file system")?;
    for source in sources {
        let directory = source.directory();
        watcher
            .watch(directory, RecursiveMode::NonRecursive)
            .with_context(|| format!("watching {}", directory.display()))?;
    }
    Ok(watcher)
}
