//! The watcher: says that something may have changed, and nothing else.
//!
//! The operating system's word is quick, but it doesn't come for everything: a symlink's target, a directory that was made
//! anew, a file system over the network. So the sources are looked at every now and then without it.

use std::time::Duration;

use anyhow::{Context, Result};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Source;

/// How often the sources are looked at in any case.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long a directory must be quiet before it is looked at, and for how long that is waited.
const QUIET: Duration = Duration::from_millis(30);
const QUIET_WAIT_MAX: Duration = Duration::from_secs(1);

/// Waits for changes of some sources.
pub(super) struct Watcher {
    changes: mpsc::Receiver<()>,
    /// None where the operating system won't watch.
    _watching: Option<RecommendedWatcher>,
}

impl Watcher {
    pub(super) fn new(sources: &[Source]) -> Self {
        // One entry is enough: it says that something changed, and everything is looked at then.
        let (changed, changes) = mpsc::channel(1);
        let watching = watch(sources, changed).inspect_err(|error| {
            let seconds = LOOK_EVERY.as_secs();
            tracing::warn!("changed plugins are noticed only every {seconds} s: {error:#}");
        });
        Self { changes, _watching: watching.ok() }
    }

    /// Waits until something may have changed, and the sources are quiet.
    pub(super) async fn changed(&mut self) {
        match timeout(LOOK_EVERY, self.changes.recv()).await {
            Ok(Some(())) => self.quiet().await,
            // Nobody watches.
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
    .context("starting to watch")?;
    for source in sources {
        let directory = source.directory();
        watcher
            .watch(directory, RecursiveMode::NonRecursive)
            .with_context(|| format!("watching {}", directory.display()))?;
    }
    Ok(watcher)
}
