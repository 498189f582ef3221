//! Notices which files of a project are saved.
//!
//! Each folder is watched by itself, because folders such as `node_modules` and `target` have thousands of others.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bennu::project::Project;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// The time without changes after which the saved files are reported, and the maximum wait for it.
const QUIET: Duration = Duration::from_millis(30);
const QUIET_WAIT_MAX: Duration = Duration::from_millis(500);

/// The maximum number of changes that wait to be read. If there are more, everything counts as changed.
const CHANGES_MAX: usize = 4096;

/// The maximum number of watched folders.
const FOLDERS_MAX: usize = 10_000;

/// Watches the files of a project.
pub(super) struct Watch {
    project: Arc<Project>,
    /// The watched files and folders.
    roots: Arc<[PathBuf]>,
    watcher: RecommendedWatcher,
    changes: mpsc::Receiver<PathBuf>,
    /// The saved files that weren't reported yet.
    saved: BTreeSet<PathBuf>,
    folders: usize,
}

impl Watch {
    /// Watches the files of a project. `notice` gets each changed file at once, in another thread.
    pub(super) fn new(project: &Arc<Project>, notice: impl Fn(&Path) + Send + 'static) -> Result<Self> {
        let (changed, changes) = mpsc::channel(CHANGES_MAX);
        let roots: Arc<[PathBuf]> = project.watched().into();
        let (watched, sources) = (Arc::clone(&roots), Arc::clone(project));
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let Ok(event) = event else { return };
            if matches!(event.kind, EventKind::Access(_)) {
                return;
            }
            for path in event.paths {
                if watched.iter().any(|root| sources.is_source(&path, root)) {
                    notice(&path);
                    // If the queue is full, the waiting changes are enough to build everything that they affect.
                    let _ = changed.try_send(path);
                }
            }
        })
        .context("starting to watch the project's files")?;
        let saved = BTreeSet::new();
        let mut watch = Self { project: Arc::clone(project), roots, watcher, changes, saved, folders: 0 };
        for root in Arc::clone(&watch.roots).iter() {
            // Editors replace a file by a rename, which only its folder notices. A folder may also come later.
            match root.parent().filter(|_| !root.is_dir()) {
                Some(folder) if folder.is_dir() => watch.add(folder)?,
                Some(_) => {}
                None => watch.add_tree(root)?,
            }
        }
        Ok(watch)
    }

    /// Waits until files were saved and the project is quiet. Returns the saved files. The future may be dropped without losing
    /// one.
    pub(super) async fn saved(&mut self) -> BTreeSet<PathBuf> {
        if self.saved.is_empty() {
            let Some(first) = self.changes.recv().await else { return std::future::pending().await };
            self.saved.insert(first);
        }
        let latest = Instant::now() + QUIET_WAIT_MAX;
        while Instant::now() < latest {
            let quiet = (Instant::now() + QUIET).min(latest);
            let Ok(Some(path)) = timeout_at(quiet, self.changes.recv()).await else { break };
            self.saved.insert(path);
        }
        self.take()
    }

    /// Returns the files that were saved until now, without waiting until the project is quiet.
    pub(super) fn reported(&mut self) -> BTreeSet<PathBuf> {
        while let Ok(path) = self.changes.try_recv() {
            self.saved.insert(path);
        }
        self.take()
    }

    fn take(&mut self) -> BTreeSet<PathBuf> {
        let saved = std::mem::take(&mut self.saved);
        // A new folder may have got files before it is watched. It is itself among the saved paths.
        for folder in saved.iter().filter(|path| path.is_dir()) {
            if let Err(error) = self.add_tree(folder) {
                tracing::warn!("{error:#}");
            }
        }
        saved
    }

    /// Watches a folder and those below it.
    fn add_tree(&mut self, folder: &Path) -> Result<()> {
        let mut waiting = vec![folder.to_owned()];
        while let Some(folder) = waiting.pop() {
            self.add(&folder)?;
            let entries = folder.read_dir().into_iter().flatten().flatten();
            // A link isn't followed, so there is no circle.
            let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            let is_source = |path: &PathBuf| self.roots.iter().any(|root| self.project.is_source(path, root));
            waiting.extend(folders.map(|entry| entry.path()).filter(is_source));
        }
        Ok(())
    }

    fn add(&mut self, folder: &Path) -> Result<()> {
        self.folders += 1;
        ensure!(self.folders <= FOLDERS_MAX, "the project has more than {FOLDERS_MAX} folders to watch");
        let watching = self.watcher.watch(folder, RecursiveMode::NonRecursive);
        watching.with_context(|| format!("watching {}", folder.display()))
    }
}
