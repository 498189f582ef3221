//! The connections that read. Each serves many reads at once, and is made again when it is lost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Statement};

use super::connection::{ANSWER_TIMEOUT, Session, Unusable};
use super::engine::Counts;
use super::errors::{Effect, explain};
use super::place::PostgresPlace;
use super::statements::{Reading, SharedReading};
use crate::store::engine::{Direction, EngineError, Row, Rows, ScanLimit, Span};
use crate::store::footprint::Footprint;
use crate::store::revision::Revision;

/// The connections. A handle, cheap to clone.
#[derive(Clone)]
pub(super) struct Readers {
    shared: Arc<Shared>,
    tasks: Arc<Tasks>,
}

/// The tasks that make the connections. They end with the last handle.
struct Tasks(Vec<AbortHandle>);

struct Shared {
    place: PostgresPlace,
    runtime: Handle,
    /// Whether the host is a node of a cluster.
    is_shared: bool,
    slots: Vec<Mutex<Option<Arc<Reader>>>>,
    next: AtomicUsize,
    /// Changes when a connection was made, or can't be made. It has the last reason why one couldn't be made.
    news: watch::Sender<String>,
    counts: Arc<Counts>,
    is_closed: AtomicBool,
    /// Whether a read has waited in vain, and no connection was made since. Then others don't wait.
    is_away: AtomicBool,
}

struct Reader {
    session: Arc<Session>,
    statements: Reading,
}

/// The first pause between two attempts to connect. It doubles up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The most rows that the database is asked for at once.
const ROWS_MAX: usize = 10_000;

impl Readers {
    /// Makes all connections. One session is there already.
    ///
    /// # Errors
    /// If one can't be made.
    pub(super) async fn connect(
        place: &PostgresPlace,
        runtime: &Handle,
        counts: &Arc<Counts>,
        first: Session,
    ) -> Result<Self, Unusable> {
        Self::make(place, runtime, counts, first, (place.connections() - 1, false)).await
    }

    /// Makes some connections of a node of a cluster, at least one. One session is there already.
    ///
    /// # Errors
    /// If one can't be made.
    pub(super) async fn connect_shared(
        place: &PostgresPlace,
        runtime: &Handle,
        counts: &Arc<Counts>,
        first: Session,
        count: usize,
    ) -> Result<Self, Unusable> {
        Self::make(place, runtime, counts, first, (count, true)).await
    }

    async fn make(
        place: &PostgresPlace,
        runtime: &Handle,
        counts: &Arc<Counts>,
        first: Session,
        (count, is_shared): (usize, bool),
    ) -> Result<Self, Unusable> {
        let mut slots = vec![Mutex::new(Some(Arc::new(prepare(place, first, is_shared).await?)))];
        for _ in 1..count {
            slots.push(Mutex::new(Some(Arc::new(connect(place, runtime, is_shared).await?))));
        }
        let shared = Arc::new(Shared {
            place: place.clone(),
            runtime: runtime.clone(),
            is_shared,
            slots,
            next: AtomicUsize::new(0),
            news: watch::Sender::new(String::new()),
            counts: Arc::clone(counts),
            is_closed: AtomicBool::new(false),
            is_away: AtomicBool::new(false),
        });
        let keep = |slot| runtime.spawn(keep_connected(Arc::clone(&shared), slot)).abort_handle();
        let tasks = Arc::new(Tasks((0..shared.slots.len()).map(keep).collect()));
        Ok(Self { shared, tasks })
    }

    /// Gives up all connections. Reads fail from now on.
    pub(super) fn close(&self) {
        self.shared.is_closed.store(true, Ordering::SeqCst);
        self.tasks.end();
        for slot in &self.shared.slots {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        self.shared.news.send_replace(String::new());
    }

    /// Returns the value of a place, as it is now.
    pub(super) async fn get(&self, place: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let rows = self.query(|statements| Some(&statements.get), &[&place]).await?;
        rows.first().map(|row| column(row, 0)).transpose()
    }

    /// Returns the rows of these places that there are.
    pub(super) async fn get_many(&self, places: &[Bytes]) -> Result<BTreeMap<Bytes, Bytes>, EngineError> {
        let places: Vec<&[u8]> = places.iter().map(AsRef::as_ref).collect();
        let rows = self.query(|statements| Some(&statements.get_many), &[&places]).await?;
        rows.iter().map(row).collect()
    }

    /// Returns the rows of a span, as they are now.
    pub(super) async fn scan(&self, span: &Span, direction: Direction, limit: ScanLimit) -> Result<Rows, EngineError> {
        let (asked, bytes) = asked(limit);
        let (from, until) = (&*span.from, &*span.until);
        let statement: fn(&Reading) -> Option<&Statement> = match direction {
            Direction::Forward => |statements| Some(&statements.scan_forward),
            Direction::Backward => |statements| Some(&statements.scan_backward),
        };
        let found = self.query(statement, &[&from, &until, &asked, &bytes]).await?;
        rows_of(&found, asked)
    }

    /// Returns the revision of a plugin, and the value of one of its places at that revision.
    pub(super) async fn get_of(&self, plugin: &str, place: &[u8]) -> Result<(Revision, Option<Bytes>), EngineError> {
        let get: fn(&Reading) -> Option<&Statement> = |statements| statements.shared.as_ref().map(|shared| &shared.get);
        let rows = self.query(get, &[&plugin, &place]).await?;
        let row = rows.first().ok_or_else(no_row)?;
        let value: Option<&[u8]> = row.try_get(0).map_err(|error| unreadable(&error))?;
        Ok((revision(row, 1)?, value.map(Bytes::copy_from_slice)))
    }

    /// Returns the revision of a plugin, and the rows of one of its spans at that revision.
    pub(super) async fn scan_of(
        &self,
        plugin: &str,
        span: &Span,
        direction: Direction,
        limit: ScanLimit,
    ) -> Result<(Revision, Rows), EngineError> {
        let (asked, bytes) = asked(limit);
        let (from, until) = (&*span.from, &*span.until);
        let statement: fn(&Reading) -> Option<&Statement> = match direction {
            Direction::Forward => |statements| statements.shared.as_ref().map(|shared| &shared.scan_forward),
            Direction::Backward => |statements| statements.shared.as_ref().map(|shared| &shared.scan_backward),
        };
        let mut found = self.query(statement, &[&from, &until, &asked, &bytes, &plugin]).await?;
        let revision = revision(found.first().ok_or_else(no_row)?, 3)?;
        // Without rows there is one that has only the revision.
        found.retain(|row| matches!(row.try_get::<_, Option<&[u8]>>(0), Ok(Some(_)) | Err(_)));
        Ok((revision, rows_of(&found, asked)?))
    }

    /// Whether nothing of these spans of a plugin was written after a revision.
    pub(super) async fn look(&self, plugin: &str, since: Revision, spans: &Footprint) -> Result<bool, EngineError> {
        let look: fn(&Reading) -> Option<&Statement> =
            |statements| statements.shared.as_ref().map(|shared| &shared.look);
        let (froms, untils): (Vec<&[u8]>, Vec<&[u8]>) = spans.spans().map(|(from, until)| (&**from, &**until)).unzip();
        let since = i64::try_from(since.0).unwrap_or(i64::MAX);
        let rows = self.query(look, &[&plugin, &since, &froms, &untils]).await?;
        rows.first().ok_or_else(no_row)?.try_get(0).map_err(|error| unreadable(&error))
    }

    /// Reads on a connection. A read that got no answer is made again, until it has waited too long.
    async fn query(
        &self,
        statement: fn(&Reading) -> Option<&Statement>,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>, EngineError> {
        let shared = &*self.shared;
        let deadline = Instant::now() + shared.place.patience();
        loop {
            let reader = match shared.connected() {
                Some(reader) => reader,
                None => shared.wait(deadline).await?,
            };
            shared.counts.reads.add();
            let statement = statement(&reader.statements);
            let statement = statement.ok_or_else(|| EngineError::new("this host isn't a node of a cluster"))?;
            let answer = reader.session.client.query(statement, parameters);
            let why = match shared.until(deadline, answer).await {
                Some(Ok(rows)) => return Ok(rows),
                Some(Err(error)) if Effect::of(&error) != Effect::Unknown || is_ours(&error) => {
                    return Err(EngineError::new(explain(&error)));
                }
                Some(Err(error)) => explain(&error),
                None => "the database doesn't answer".into(),
            };
            shared.lose(&reader);
            if Instant::now() >= deadline {
                return Err(EngineError::broken(why));
            }
        }
    }
}

impl Shared {
    /// Returns a connection, each one in turn.
    fn connected(&self) -> Option<Arc<Reader>> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let slots = (0..self.slots.len()).map(|at| &self.slots[(first.wrapping_add(at)) % self.slots.len()]);
        let reader = |slot: &Mutex<Option<Arc<Reader>>>| slot.lock().unwrap_or_else(PoisonError::into_inner).clone();
        slots.filter_map(reader).find(|reader| !reader.session.has_ended())
    }

    /// Waits for a connection.
    async fn wait(&self, deadline: Instant) -> Result<Arc<Reader>, EngineError> {
        self.counts.waits.add();
        let mut news = self.news.subscribe();
        loop {
            news.mark_unchanged();
            if self.is_closed.load(Ordering::SeqCst) {
                return Err(EngineError::new("the store is closed"));
            }
            if let Some(reader) = self.connected() {
                return Ok(reader);
            }
            if self.is_away.load(Ordering::SeqCst) {
                return Err(self.away());
            }
            if !matches!(self.until(deadline, news.changed()).await, Some(Ok(()))) {
                self.is_away.store(true, Ordering::SeqCst);
                return Err(self.away());
            }
        }
    }

    /// Waits for something until a deadline. The timer is the runtime's: an export reads on a thread that has none.
    fn until<T>(&self, deadline: Instant, work: impl Future<Output = T>) -> impl Future<Output = Option<T>> {
        let _entered = self.runtime.enter();
        let timed = tokio::time::timeout_at(deadline, work);
        async move { timed.await.ok() }
    }

    fn away(&self) -> EngineError {
        let why = self.news.borrow().clone();
        EngineError::broken(if why.is_empty() { "the database doesn't answer".into() } else { why })
    }

    /// Gives up a connection whose answer didn't come.
    fn lose(&self, lost: &Arc<Reader>) {
        for slot in &self.slots {
            let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            if slot.as_ref().is_some_and(|reader| Arc::ptr_eq(reader, lost)) {
                *slot = None;
            }
        }
    }
}

impl Tasks {
    fn end(&self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.end();
    }
}

/// Makes the connection of a slot again whenever it is lost.
async fn keep_connected(shared: Arc<Shared>, slot: usize) {
    loop {
        let session = {
            let reader = shared.slots[slot].lock().unwrap_or_else(PoisonError::into_inner);
            reader.as_ref().map(|reader| Arc::clone(&reader.session))
        };
        if let Some(session) = session {
            session.ended().await;
        }
        let mut pause = PAUSE_FIRST;
        loop {
            match connect(&shared.place, &shared.runtime, shared.is_shared).await {
                Ok(reader) => {
                    shared.counts.connects.add();
                    shared.is_away.store(false, Ordering::SeqCst);
                    *shared.slots[slot].lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(reader));
                    shared.news.send_replace(String::new());
                    break;
                }
                Err(error) => {
                    shared.news.send_replace(error.to_string());
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }
}

async fn connect(place: &PostgresPlace, runtime: &Handle, is_shared: bool) -> Result<Reader, Unusable> {
    prepare(place, Session::connect(place, runtime).await?, is_shared).await
}

async fn prepare(place: &PostgresPlace, session: Session, is_shared: bool) -> Result<Reader, Unusable> {
    let preparing = async {
        let mut statements = Reading::prepare(&session.client, place.schema()).await?;
        if is_shared {
            statements.shared = Some(SharedReading::prepare(&session.client, place.schema()).await?);
        }
        Ok::<_, Error>(statements)
    };
    let prepared = tokio::time::timeout(ANSWER_TIMEOUT, preparing).await;
    let statements = prepared.map_err(|_| Unusable::Unfit("the database doesn't answer".into()))??;
    Ok(Reader { session: Arc::new(session), statements })
}

/// Whether the connection is good, and the host can't read or write what it was about to.
fn is_ours(error: &Error) -> bool {
    error.as_db_error().is_none()
        && !error.is_closed()
        && std::error::Error::source(error).is_none_or(|cause| !cause.is::<std::io::Error>())
}

/// The rows that are asked for, and their most bytes. One row more than the limit says whether these are all.
pub(super) fn asked(limit: ScanLimit) -> (i64, i64) {
    (limit.rows.clamp(1, ROWS_MAX) as i64 + 1, i64::try_from(limit.bytes).unwrap_or(i64::MAX))
}

/// Returns the rows that a scan has found.
pub(super) fn rows_of(found: &[tokio_postgres::Row], asked: i64) -> Result<Rows, EngineError> {
    let count: i64 = found.first().map_or(Ok(0), |first| first.try_get(2)).map_err(|error| unreadable(&error))?;
    let ended = count < asked && count == found.len() as i64;
    let most = usize::try_from(asked - 1).unwrap_or(ROWS_MAX);
    let rows = found.iter().take(most).map(row).collect::<Result<_, _>>()?;
    Ok(Rows { rows, ended })
}

fn revision(row: &tokio_postgres::Row, at: usize) -> Result<Revision, EngineError> {
    let revision: i64 = row.try_get(at).map_err(|error| unreadable(&error))?;
    Ok(Revision(revision.cast_unsigned()))
}

fn no_row() -> EngineError {
    EngineError::new("the database gave no row")
}

fn row(row: &tokio_postgres::Row) -> Result<Row, EngineError> {
    Ok((column(row, 0)?, column(row, 1)?))
}

pub(super) fn column(row: &tokio_postgres::Row, at: usize) -> Result<Bytes, EngineError> {
    row.try_get(at).map(Bytes::copy_from_slice).map_err(|error| unreadable(&error))
}

fn unreadable(error: &Error) -> EngineError {
    EngineError::new(explain(error))
}
