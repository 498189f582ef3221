//! The connections on which a node commits. A batch has one for itself, because it waits for the lock of its plugin.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

use super::connection::{ANSWER_TIMEOUT, Session, Unusable};
use super::engine::Counts;
use super::errors::{Effect, explain};
use super::opening::{LockMode, PAUSE, has_locked, open};
use super::place::PostgresPlace;
use super::statements::Committing;
use crate::store::engine::EngineError;

/// The connections. They are made when they are needed, and again when they are lost.
pub(super) struct Writers {
    place: PostgresPlace,
    runtime: Handle,
    counts: Arc<Counts>,
    /// The epoch of the last host that wrote without a cluster. If there is another one later, this node can't write any more.
    opening: i64,
    idle: Idle,
    /// One permit for each connection that may be used at the same time.
    places: Arc<Semaphore>,
    count: usize,
}

type Idle = Arc<Mutex<Vec<Connection>>>;

struct Connection {
    session: Session,
    statements: Committing,
}

/// A connection for one statement.
pub(super) struct Taken {
    connection: Connection,
    idle: Idle,
    _place: OwnedSemaphorePermit,
}

/// Why a statement has no answer.
pub(super) enum Lost {
    /// It has no effect.
    Refused(EngineError),
    /// Nobody knows.
    Unknown(EngineError),
}

impl Writers {
    /// Makes the schema if it is missing, and takes a share of the lock of the store. Also returns another session, for a connection that
    /// reads.
    ///
    /// # Errors
    /// If the database can't be used, or a host without a cluster has the lock.
    pub(super) async fn open(
        place: &PostgresPlace,
        runtime: &Handle,
        counts: &Arc<Counts>,
    ) -> anyhow::Result<(Self, Session)> {
        let (session, second) = open(place, runtime, LockMode::Shared).await?;
        let of_database = |error: tokio_postgres::Error| anyhow!("{}", explain(&error));
        let opening = opening(&session, place).await.map_err(of_database)?;
        let statements = Committing::prepare(&session.client, place.schema()).await.map_err(of_database)?;
        let count = (place.connections() / 2).max(1);
        let writers = Self {
            place: place.clone(),
            runtime: runtime.clone(),
            counts: Arc::clone(counts),
            opening,
            idle: Arc::new(Mutex::new(vec![Connection { session, statements }])),
            places: Arc::new(Semaphore::new(count)),
            count,
        };
        Ok((writers, second))
    }

    /// How many there are at most.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn opening(&self) -> i64 {
        self.opening
    }

    /// Gives up all connections that aren't in use, and makes no new ones.
    pub(super) fn close(&self) {
        self.places.close();
        lock(&self.idle).clear();
    }

    /// Returns a connection for one statement. Waits for one, and makes it if it is missing.
    ///
    /// # Errors
    /// If there is none until the deadline, or a host without a cluster has written.
    pub(super) async fn take(&self, deadline: Instant) -> Result<Taken, EngineError> {
        let place = tokio::time::timeout_at(deadline, Arc::clone(&self.places).acquire_owned()).await;
        let place = place.map_err(|_| EngineError::new("the database doesn't answer"))?;
        let place = place.map_err(|_| EngineError::new("the store is closed"))?;
        let taken = |connection| Taken { connection, idle: Arc::clone(&self.idle), _place: place };
        while let Some(connection) = self.pop_idle() {
            if !connection.session.has_ended() {
                return Ok(taken(connection));
            }
        }
        loop {
            let connecting = tokio::time::timeout(ANSWER_TIMEOUT, self.connect()).await;
            let silent = |_| Err(Unusable::Unfit("the database doesn't answer".into()));
            match connecting.unwrap_or_else(silent) {
                Ok(connection) => {
                    self.counts.connects.add();
                    return Ok(taken(connection));
                }
                Err(error) if Instant::now() + PAUSE >= deadline => return Err(EngineError::new(error)),
                Err(error) => tracing::debug!("no connection that writes yet: {error}"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn pop_idle(&self) -> Option<Connection> {
        lock(&self.idle).pop()
    }

    async fn connect(&self) -> Result<Connection, Unusable> {
        let session = Session::connect(&self.place, &self.runtime).await?;
        if !has_locked(&session, &self.place, LockMode::Shared).await? {
            return Err(Unusable::Unfit("a host without `[cluster]` writes to the store: stop that one".into()));
        }
        if opening(&session, &self.place).await? != self.opening {
            return Err(Unusable::Unfit(
                "a host without `[cluster]` has written to the store meanwhile: start this host again".into(),
            ));
        }
        let statements = Committing::prepare(&session.client, self.place.schema()).await?;
        Ok(Connection { session, statements })
    }
}

impl Taken {
    /// Asks for the one row of a statement. It is never cancelled: a commit may happen after all. Only the host stops waiting.
    pub(super) async fn ask(
        self,
        wait: Duration,
        statement: fn(&Committing) -> &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, Lost> {
        let Connection { session, statements } = &self.connection;
        let answer = session.client.query_one(statement(statements), parameters);
        match tokio::time::timeout(wait, answer).await {
            Ok(Ok(row)) => {
                self.give_back();
                Ok(row)
            }
            Ok(Err(error)) => match Effect::of(&error) {
                Effect::Refused | Effect::Fenced => {
                    self.give_back();
                    Err(Lost::Refused(EngineError::new(explain(&error))))
                }
                Effect::Unknown => Err(Lost::Unknown(EngineError::broken(explain(&error)))),
            },
            Err(_) => Err(Lost::Unknown(EngineError::broken(format!("the database didn't answer for {wait:?}")))),
        }
    }

    fn give_back(self) {
        let Self { connection, idle, .. } = self;
        lock(&idle).push(connection);
    }
}

impl From<Lost> for EngineError {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Refused(error) | Lost::Unknown(error) => error,
        }
    }
}

/// No change can panic half-way, so a poisoned lock is still valid.
fn lock(idle: &Idle) -> std::sync::MutexGuard<'_, Vec<Connection>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the epoch of the last host that wrote without a cluster.
async fn opening(session: &Session, place: &PostgresPlace) -> Result<i64, tokio_postgres::Error> {
    let query = format!("SELECT epoch FROM {}.writer", place.schema());
    session.client.query_one(&query, &[]).await?.try_get(0)
}
