//! Where a store is: in a data directory, or in a database.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bennu_cluster::NodeId;
use bennu_semantics::limits::StoreLimits;

use super::beside::Beside;
use super::counts::StoreCounts;
use super::directory::{self, DirectoryLock};
use super::handle::Store;
use super::postgres::{Postgres, PostgresLedger, PostgresPlace};

/// The place of a store.
#[derive(Clone, Debug, PartialEq)]
pub enum StorePlace {
    /// A file in this data directory.
    Directory(PathBuf),
    /// A schema of a PostgreSQL database.
    Postgres(PostgresPlace),
}

/// The most bytes of a key: the database's index takes 2,704 bytes for a row, with the plugin's name and the time at which a key expires.
const KEY_BYTES_MAX: usize = 2400;

impl Store {
    /// Opens the store at a place, and creates it if it is missing. No other process can open it until this one is closed.
    ///
    /// # Errors
    /// If it can't be opened, or is in use: then the error is an [`InUse`](super::InUse). The message says what to do about it.
    pub async fn open_at(place: &StorePlace, limits: StoreLimits) -> Result<Self> {
        match place {
            StorePlace::Directory(directory) => Self::open(directory, limits).await,
            StorePlace::Postgres(database) => {
                let engine = opened(database, limits).await?;
                Self::over(Box::new(engine), limits).await.with_context(|| format!("opening the store in {database}"))
            }
        }
    }

    /// Opens the store of a host. If the store isn't in the host's data directory, this also creates that directory and locks it, until
    /// the store is closed or released.
    ///
    /// # Errors
    /// See [`open_at`](Self::open_at).
    pub async fn open_beside(place: &StorePlace, data: &Path, limits: StoreLimits) -> Result<Self> {
        let StorePlace::Postgres(database) = place else { return Self::open_at(place, limits).await };
        let lock = directory::claim_directory(data)?;
        let engine = Beside::new(opened(database, limits).await?, data, lock);
        Self::over(Box::new(engine), limits).await.with_context(|| format!("opening the store in {database}"))
    }
}

impl Store {
    /// Opens the store of a host that is a node of a cluster: other nodes write to it, too. Keeps the lock of the host's data directory
    /// until the store is closed.
    ///
    /// # Errors
    /// If the database can't be used, or a host without a cluster writes to it: then the error is an [`InUse`](super::InUse). The message
    /// says what to do.
    pub async fn open_shared(
        database: &PostgresPlace,
        node: NodeId,
        lock: Option<DirectoryLock>,
        limits: StoreLimits,
    ) -> Result<Self> {
        check_keys(&limits)?;
        let ledger = PostgresLedger::open(database, node, limits.reads_per_call, lock).await?;
        let counts = StoreCounts::new(Some(Arc::clone(ledger.counts())));
        let store = Self::over_ledger(Arc::new(ledger), limits, counts).await;
        store.with_context(|| format!("opening the store in {database}"))
    }
}

async fn opened(database: &PostgresPlace, limits: StoreLimits) -> Result<Postgres> {
    check_keys(&limits)?;
    Postgres::open(database, limits.cache_bytes).await
}

fn check_keys(limits: &StoreLimits) -> Result<()> {
    ensure!(
        limits.key_bytes <= KEY_BYTES_MAX,
        "`limits.store_key_bytes` is {}; a store on PostgreSQL has keys of at most {KEY_BYTES_MAX} bytes",
        limits.key_bytes
    );
    Ok(())
}

impl fmt::Display for StorePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(directory) => write!(f, "{}", directory.display()),
            Self::Postgres(database) => database.fmt(f),
        }
    }
}
