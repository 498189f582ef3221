//! The connection that writes, and the right to write.
//!
//! One host writes. Its session holds an advisory lock, so another host that starts is refused. The lock ends with the session. So
//! the host also has an epoch: a number that grows with each host that begins to write, and that the database checks in each batch. If
//! a host has lost its connection, and another one began to write meanwhile, the first one can't write any more.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_postgres::types::ToSql;

use super::connection::{ANSWER_TIMEOUT, Session, Unusable};
use super::engine::Counts;
use super::errors::{Effect, explain};
use super::opening::{LockMode, PAUSE, has_locked, open};
use super::place::PostgresPlace;
use super::statements::Writing;
use crate::store::engine::{EngineError, Writes};

pub(super) struct Writer {
    place: PostgresPlace,
    runtime: Handle,
    /// None after the connection was lost.
    connection: Option<Connection>,
    epoch: i64,
    /// The process of the server that had the lock last.
    process: (i32, String),
    counts: Arc<Counts>,
}

struct Connection {
    session: Arc<Session>,
    statements: Writing,
}

/// What became of a batch.
pub(super) enum Outcome {
    Stored,
    /// It isn't stored.
    Refused(EngineError),
    /// There was no answer.
    Unknown(EngineError),
}

/// The time that an attempt to connect has at least.
pub(super) const ATTEMPT: Duration = Duration::from_secs(3);

impl Writer {
    /// Makes the schema if it is missing, and begins to write. Waits a moment for a server that is starting. Also returns another
    /// session, for a connection that reads.
    ///
    /// # Errors
    /// If the database can't be used, or another host writes to it: then the error is an [`InUse`](crate::store::InUse).
    pub(super) async fn open(
        place: &PostgresPlace,
        runtime: &Handle,
        counts: &Arc<Counts>,
    ) -> anyhow::Result<(Self, Session)> {
        let (session, second) = open(place, runtime, LockMode::Alone).await?;
        let of_database = |error: tokio_postgres::Error| anyhow::anyhow!("{}", explain(&error));
        let statements = Writing::prepare(&session.client, place.schema()).await.map_err(of_database)?;
        let query = format!("SELECT {}.begin_writing($1)", place.schema());
        let epoch = session.client.query_one(&query, &[&machine()]).await.map_err(of_database)?.get(0);
        let process = session.process.clone();
        let connection = Some(Connection { session: Arc::new(session), statements });
        let (place, runtime, counts) = (place.clone(), runtime.clone(), Arc::clone(counts));
        Ok((Self { place, runtime, connection, epoch, process, counts }, second))
    }

    /// Writes a batch. Its number is greater than those of all batches before.
    pub(super) async fn commit(&mut self, number: u64, writes: &Writes) -> Outcome {
        let Some(Connection { session, statements }) = &self.connection else {
            return Outcome::Unknown(EngineError::broken("the connection to the database is lost"));
        };
        let (mut places, mut contents, mut removed) = (Vec::new(), Vec::new(), Vec::new());
        for (place, value) in writes {
            match value {
                Some(value) => {
                    places.push(&**place);
                    contents.push(&**value);
                }
                None => removed.push(&**place),
            }
        }
        let number = number.cast_signed();
        // Never cancelled: the batch may be stored after all. So there is no statement timeout, and only the host stops waiting.
        let parameters: [&(dyn ToSql + Sync); 5] = [&self.epoch, &number, &places, &contents, &removed];
        let answer = session.client.query(&statements.commit, &parameters);
        match tokio::time::timeout(self.place.patience(), answer).await {
            Ok(Ok(_)) => Outcome::Stored,
            Ok(Err(error)) => match Effect::of(&error) {
                Effect::Refused => Outcome::Refused(EngineError::new(explain(&error))),
                Effect::Fenced => Outcome::Refused(EngineError::broken(explain(&error))),
                Effect::Unknown => self.lost(explain(&error)),
            },
            Err(_) => self.lost(format!("the database didn't answer for {:?}", self.place.patience())),
        }
    }

    fn lost(&mut self, why: String) -> Outcome {
        self.connection = None;
        Outcome::Unknown(EngineError::broken(why))
    }

    /// Finds out whether a batch is stored whose answer was lost. If it isn't, the database will refuse it from now on.
    ///
    /// # Errors
    /// If the database doesn't answer until the deadline, or another host writes to the store.
    pub(super) async fn settle(&mut self, number: u64, deadline: Instant) -> Result<bool, EngineError> {
        loop {
            self.connected(deadline).await?;
            let Some(Connection { session, statements }) = &self.connection else { continue };
            let number = number.cast_signed();
            // It waits for a batch that is still being written: that one has the lock of the row.
            let parameters: [&(dyn ToSql + Sync); 2] = [&self.epoch, &number];
            let answer = session.client.query_one(&statements.settle, &parameters);
            match tokio::time::timeout_at(deadline, answer).await {
                Ok(Ok(row)) => {
                    self.counts.settled.add();
                    return Ok(row.get(0));
                }
                Ok(Err(error)) if Effect::of(&error) == Effect::Unknown => {
                    self.connection = None;
                    after_failure(deadline, || EngineError::broken(explain(&error))).await?;
                }
                Ok(Err(error)) => return Err(EngineError::broken(explain(&error))),
                Err(_) => {
                    self.connection = None;
                    return Err(EngineError::broken("the database doesn't answer"));
                }
            }
        }
    }

    /// Makes sure that there is a connection with the lock.
    ///
    /// # Errors
    /// If there is none until the deadline, or another host writes to the store.
    pub(super) async fn connected(&mut self, deadline: Instant) -> Result<(), EngineError> {
        loop {
            if self.connection.as_ref().is_some_and(|connection| !connection.session.has_ended()) {
                return Ok(());
            }
            self.connection = None;
            let until = deadline.max(Instant::now() + ATTEMPT).min(Instant::now() + ANSWER_TIMEOUT);
            let connecting = tokio::time::timeout_at(until, self.connect_again(deadline)).await;
            let silent = |_| Err(Unusable::Unfit("the database doesn't answer".into()));
            match connecting.unwrap_or_else(silent) {
                Ok(connection) => {
                    self.counts.connects.add();
                    self.process = connection.session.process.clone();
                    self.connection = Some(connection);
                }
                Err(error) => after_failure(deadline, || error.into_error()).await?,
            }
        }
    }

    async fn connect_again(&self, deadline: Instant) -> Result<Connection, Unusable> {
        let session = Session::connect(&self.place, &self.runtime).await?;
        let epoch = format!("SELECT epoch, host, since::text FROM {}.writer", self.place.schema());
        loop {
            let is_locked = has_locked(&session, &self.place, LockMode::Alone).await?;
            let writing = session.client.query_one(&epoch, &[]).await?;
            if writing.get::<_, i64>(0) != self.epoch {
                return Err(Unusable::Unfit(format!(
                    "the bennu on {} has taken over the store at {}: this host can't write any more; stop one of both",
                    writing.get::<_, &str>(1),
                    writing.get::<_, &str>(2)
                )));
            }
            if is_locked {
                break;
            }
            // The server hasn't noticed yet that this host's earlier session is gone.
            end_process(&session, &self.process).await?;
            if Instant::now() >= deadline {
                return Err(Unusable::Unfit(
                    "an earlier connection of this host still has the lock of the store".into(),
                ));
            }
            tokio::time::sleep(PAUSE).await;
        }
        let statements = Writing::prepare(&session.client, self.place.schema()).await?;
        Ok(Connection { session: Arc::new(session), statements })
    }

    /// Gives up the lock, so that another host can write at once.
    pub(super) async fn close(&mut self) -> Result<(), EngineError> {
        let Some(Connection { session, .. }) = self.connection.take() else { return Ok(()) };
        let unlocked = session.client.execute("SELECT pg_advisory_unlock_all()", &[]).await;
        unlocked.map(drop).map_err(|error| EngineError::new(explain(&error)))
    }
}

/// Waits a moment before the next attempt.
///
/// # Errors
/// The given error, if there is no time for another attempt.
async fn after_failure(deadline: Instant, error: impl FnOnce() -> EngineError) -> Result<(), EngineError> {
    if Instant::now() + PAUSE >= deadline {
        return Err(error());
    }
    tokio::time::sleep(PAUSE).await;
    Ok(())
}

/// Returns the name of this machine, for messages.
fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::env::var("HOSTNAME"));
    name.map_or_else(|_| "an unknown machine".into(), |name| name.trim().to_owned())
}

/// Ends a process of the server, if it still is the one of this host. One that waits for a standby isn't ended: its commit would be
/// visible before the standby has it.
async fn end_process(session: &Session, (pid, since): &(i32, String)) -> Result<(), tokio_postgres::Error> {
    let query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE pid = $1 AND backend_start::text = $2 AND wait_event IS DISTINCT FROM 'SyncRep'";
    session.client.query(query, &[pid, since]).await.map(drop)
}
