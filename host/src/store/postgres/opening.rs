//! The first connections of a host: they check the database, and make the schema.

use std::time::Duration;

use anyhow::Context;
use bennu_cluster::Speaks;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::connection::{Session, Unusable};
use super::errors::{explain, is_passing};
use super::place::PostgresPlace;
use super::schema::{LOCKS, lock_key, migrate, writer_lock};
use super::self_test;
use crate::store::directory::InUse;

/// The pause between two attempts to connect, or to get the lock.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// How long a host that starts waits for the lock. The server needs a moment to notice that a host was killed.
const LOCK_GRACE: Duration = Duration::from_secs(3);

/// How a session has the lock of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LockMode {
    /// Alone: a host without a cluster.
    Alone,
    /// With the other nodes of a cluster.
    Shared,
}

impl PostgresPlace {
    /// Makes the schema if it is missing, or brings it up to date, for a node of a cluster that understands these versions of the protocol
    /// between nodes. The table of nodes is in the schema, and the node needs its row there before it can open the store. Waits a moment
    /// for a server that is starting.
    ///
    /// # Errors
    /// If the database can't be used, a host without a cluster uses the store, or the schema is of an earlier version and a living node
    /// has no version of the protocol in common with this one. The message says what to do. The schema is as it was then.
    pub async fn make_schema_for_node(&self, speaks: Speaks) -> anyhow::Result<()> {
        let runtime = Handle::try_current().context("a runtime is needed")?;
        let (mut session, _second) = checked(self, &runtime).await?;
        // It has the lock until it ends, here.
        take_lock(&session, self, LockMode::Shared).await?;
        migrated(&mut session, self, Some(speaks)).await
    }
}

/// Brings the schema up to date.
async fn migrated(session: &mut Session, place: &PostgresPlace, speaks: Option<Speaks>) -> anyhow::Result<()> {
    migrate(&mut session.client, place.schema(), speaks).await.map_err(|error| anyhow::anyhow!("{error}"))
}

/// Takes the lock of the store in the first of the returned sessions, and then makes the schema if it is missing: a host that is refused
/// because others use the store has changed nothing. Waits a moment for a server that is starting.
///
/// # Errors
/// If the database can't be used, or others have the lock: then the error is an [`InUse`].
pub(super) async fn open(
    place: &PostgresPlace,
    runtime: &Handle,
    mode: LockMode,
) -> anyhow::Result<(Session, Session)> {
    let (mut session, second) = checked(place, runtime).await?;
    let of_database = |error: tokio_postgres::Error| anyhow::anyhow!("{}", explain(&error));
    let syncs = session.client.query_one("SELECT current_setting('fsync')::bool", &[]).await.map_err(of_database)?;
    if !syncs.get::<_, bool>(0) {
        tracing::warn!(
            "the database server has `fsync = off`: a crash of its machine can lose or damage what is stored"
        );
    }
    take_lock(&session, place, mode).await?;
    migrated(&mut session, place, None).await?;
    Ok((session, second))
}

/// Takes the lock of the store in a session.
async fn take_lock(session: &Session, place: &PostgresPlace, mode: LockMode) -> anyhow::Result<()> {
    let of_database = |error: tokio_postgres::Error| anyhow::anyhow!("{}", explain(&error));
    let deadline = Instant::now() + LOCK_GRACE;
    while !has_locked(session, place, mode).await.map_err(of_database)? {
        if Instant::now() >= deadline {
            return Err(InUse(in_use(session, place, mode).await.map_err(of_database)?).into());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Returns two sessions of a database that can be used.
async fn checked(place: &PostgresPlace, runtime: &Handle) -> anyhow::Result<(Session, Session)> {
    let session = first_session(place, runtime).await?;
    let readable = |error: Unusable| anyhow::anyhow!("{error}");
    let second = Session::connect(place, runtime).await.map_err(readable)?;
    self_test::check(&session.client, &second.client).await.map_err(readable)?;
    Ok((session, second))
}

async fn first_session(place: &PostgresPlace, runtime: &Handle) -> anyhow::Result<Session> {
    let deadline = Instant::now() + place.patience();
    loop {
        match Session::connect(place, runtime).await {
            Ok(session) => return Ok(session),
            Err(Unusable::Failed(error)) if is_passing(&error) && Instant::now() < deadline => {
                tracing::debug!("the database can't be reached yet: {}", explain(&error));
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => anyhow::bail!("{error}"),
        }
    }
}

/// Tries to take the lock of the store, until the session ends. Returns whether the session has it.
pub(super) async fn has_locked(
    session: &Session,
    place: &PostgresPlace,
    mode: LockMode,
) -> Result<bool, tokio_postgres::Error> {
    let key = lock_key(&writer_lock(place.schema()));
    let take = match mode {
        LockMode::Alone => "SELECT pg_try_advisory_lock($1, $2)",
        LockMode::Shared => "SELECT pg_try_advisory_lock_shared($1, $2)",
    };
    session.client.query_one(take, &[&LOCKS, &key]).await?.try_get(0)
}

/// Returns who has the lock, and what to do.
async fn in_use(session: &Session, place: &PostgresPlace, mode: LockMode) -> Result<String, tokio_postgres::Error> {
    let query = format!("SELECT host, since::text FROM {}.writer WHERE host <> ''", place.schema());
    // The table says which host without a cluster began to write last, and when. One that has just taken the lock isn't there yet. If none
    // has begun, if there is no table, or if the session is lost, the answer names nobody.
    let row = session.client.query_opt(&query, &[]).await.ok().flatten();
    let last = match &row {
        Some(row) => {
            let (host, since): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
            format!(" ({host} began to write at {since}, and nobody has since)")
        }
        None => String::new(),
    };
    Ok(match mode {
        LockMode::Alone if is_shared(session, place).await? => format!(
            "{place} is in use by the hosts of a cluster: stop them, or give this host a database or a schema (`store.schema`) of its own"
        ),
        LockMode::Alone => format!(
            "{place} is in use by another bennu{last}: stop that one, or give this one a database or a schema (`store.schema`) of its own"
        ),
        LockMode::Shared => {
            format!("{place} is in use by a bennu without `[cluster]`{last}: stop that one first")
        }
    })
}

/// Whether others share the lock. The view has the locks of all databases of the server.
async fn is_shared(session: &Session, place: &PostgresPlace) -> Result<bool, tokio_postgres::Error> {
    let key = lock_key(&writer_lock(place.schema()));
    let query = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted \
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
                 AND classid = $1::int::oid AND objid::int8 = $2::int8 & 4294967295 AND objsubid = 2)";
    session.client.query_one(query, &[&LOCKS, &i64::from(key)]).await?.try_get(0)
}
