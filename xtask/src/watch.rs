//! Runs a function when a source file of the plugins or of their pages is saved.

use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use anyhow::{Context, Result};
use notify::{Event, RecursiveMode, Watcher};

use crate::places;
use crate::step::{failed, note};

/// How long no change may happen before `work` runs. Editors write a file in several steps, and may save several files at
/// once.
const QUIET: Duration = Duration::from_millis(80);

/// Runs `work` now and after every change. If `work` fails, the error is printed, and the next change runs it again.
pub(crate) fn run(work: impl Fn() -> Result<()>) -> Result<()> {
    let (sender, changes) = mpsc::channel();
    let mut watcher = notify::recommended_watcher(sender).context("cannot watch files")?;
    let folders = [places::guest_sources(), places::root().join("guest"), places::root().join("wit")];
    for folder in &folders {
        watcher
            .watch(folder, RecursiveMode::Recursive)
            .with_context(|| format!("cannot watch {}", folder.display()))?;
    }
    loop {
        if let Err(error) = work() {
            failed(&error);
        }
        note("Waiting for a change. Press Ctrl-C to stop.");
        wait(&changes)?;
    }
}

/// Waits for a change, and then until no further change happens for [`QUIET`].
fn wait(changes: &Receiver<notify::Result<Event>>) -> Result<()> {
    while !matters(&changes.recv()?) {}
    while changes.recv_timeout(QUIET).is_ok() {}
    Ok(())
}

fn matters(change: &notify::Result<Event>) -> bool {
    match change {
        Ok(event) => !event.kind.is_access() && event.paths.iter().any(|path| is_source(path)),
        // The watcher has missed events, so any file may have changed.
        Err(_) => true,
    }
}

/// Whether a person writes this file: npm, cargo and editors don't create it.
fn is_source(path: &Path) -> bool {
    let path = path.strip_prefix(places::root()).unwrap_or(path);
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let ours = path.components().any(|part| ["node_modules", "target"].iter().any(|other| part.as_os_str() == *other));
    !ours && !name.starts_with('.') && !name.ends_with('~') && name != "Cargo.lock"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_that_people_write_are_sources() {
        let is_source = |path| is_source(&places::root().join(path));
        assert!(is_source("guest-examples/chat/src/lib.rs"));
        assert!(is_source("guest-examples/chat/page/style.css"));
        assert!(!is_source("guest-examples/chat/page/node_modules/phoenix/package.json"));
        assert!(!is_source("guest-examples/chat/src/.lib.rs.swp"));
        assert!(!is_source("guest-examples/Cargo.lock"));
    }
}
