//! An engine elsewhere, with the lock of a host's data directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::directory::{DirectoryLock, claim_directory};
use super::engine::{Engine, EngineError, EngineFuture, Snapshot, Writes};
use super::postgres::{Postgres, PostgresCounts};

/// The engine, and the lock: whoever has the engine has the directory.
pub(super) struct Beside {
    engine: Postgres,
    directory: PathBuf,
    // Fields are dropped in their order, so the lock is released after the engine is closed.
    /// None while another process may have the directory.
    lock: Option<DirectoryLock>,
}

impl Beside {
    pub(super) fn new(engine: Postgres, directory: &Path, lock: DirectoryLock) -> Self {
        Self { engine, directory: directory.to_owned(), lock: Some(lock) }
    }
}

impl Engine for Beside {
    fn snapshot(&mut self) -> EngineFuture<'_, Arc<dyn Snapshot>> {
        self.engine.snapshot()
    }

    fn apply<'a>(&'a mut self, writes: &'a Writes) -> EngineFuture<'a, ()> {
        self.engine.apply(writes)
    }

    fn reopen(&mut self) -> EngineFuture<'_, ()> {
        self.engine.reopen()
    }

    fn close(&mut self) -> EngineFuture<'_, ()> {
        self.engine.close()
    }

    fn release(&mut self) -> EngineFuture<'_, ()> {
        Box::pin(async {
            self.engine.release().await?;
            self.lock = None;
            Ok(())
        })
    }

    fn reclaim(&mut self) -> EngineFuture<'_, ()> {
        Box::pin(async {
            if self.lock.is_none() {
                self.lock =
                    Some(claim_directory(&self.directory).map_err(|error| EngineError::new(format!("{error:#}")))?);
            }
            self.engine.reclaim().await
        })
    }

    fn postgres_counts(&self) -> Option<Arc<PostgresCounts>> {
        self.engine.postgres_counts()
    }
}
