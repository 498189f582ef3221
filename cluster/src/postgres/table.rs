//! The table of nodes in the database.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::connect::Connect;
use super::failure::of_table;
use super::node_row::{COLUMNS, ROWS_MAX, RawNodeRow};
use super::session::Session;
use crate::names::named;
use crate::node::{Epoch, Incarnation, NodeId};
use crate::table::{Hello, NewNode, NodeRow, NodeTable, Renewal, TableError, TableFuture};

/// How long the database may take for a call, with a new session if the last one is lost.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The same for a renewal. A lease of 10 s is good for 8 s, in which two attempts fit.
const RENEWAL_TIMEOUT: Duration = Duration::from_secs(4);

/// The table. A thread of its own serves its two sessions, so a renewal doesn't wait for what else the host does. Renewals have a session
/// of their own, so they don't wait for a call that declares a node dead, which may have to wait.
pub struct PostgresTable {
    shared: Arc<Shared>,
    /// None only while the value is dropped.
    runtime: Option<Runtime>,
    /// How often a row was left out, in all reads together.
    unreadable: AtomicU64,
    /// The epochs of the rows that the last read has left out.
    last_unreadable: Mutex<Vec<Epoch>>,
}

struct Shared {
    connect: Arc<dyn Connect>,
    renewing: Slot,
    other: Slot,
}

/// A place for a session. Empty before the first call, and after a call failed.
type Slot = Mutex<Option<Arc<Session>>>;

/// A parameter of a statement.
type Parameter = (Box<dyn ToSql + Sync + Send>, Type);

/// A statement that selects from a function of the schema.
struct Call {
    function: &'static str,
    /// What is selected of each row.
    columns: &'static str,
    parameters: Vec<Parameter>,
}

impl PostgresTable {
    /// A table in a schema that has [`SCHEMA_STEP`](super::SCHEMA_STEP). It connects at the first call.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn new(connect: Arc<dyn Connect>) -> io::Result<Self> {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("cluster-table").enable_all().build()?;
        let shared = Shared { connect, renewing: Slot::default(), other: Slot::default() };
        let (unreadable, last_unreadable) = (AtomicU64::new(0), Mutex::default());
        Ok(Self { shared: Arc::new(shared), runtime: Some(runtime), unreadable, last_unreadable })
    }

    /// Returns the identity of the cluster, 32 hexadecimal digits with dashes. It is made with the schema.
    ///
    /// # Errors
    /// If the database doesn't answer, or can't be used.
    pub fn cluster_id(&self) -> TableFuture<'_, String> {
        Box::pin(async move {
            let rows =
                self.select(false, |schema| format!("SELECT id::text FROM {schema}.cluster"), Vec::new()).await?;
            let id = rows.first().and_then(|row| row.try_get(0).ok());
            id.ok_or_else(|| {
                TableError::Unfit("the schema has no identity of the cluster: was it restored in part?".into())
            })
        })
    }

    /// Takes the next block of numbers for members. A block is given once, from 1 to 536,870,911, so that 2^24 numbers of each fit in
    /// 53 bits.
    ///
    /// # Errors
    /// If the database doesn't answer, can't be used, or has given all blocks.
    pub async fn member_block(&self) -> Result<u64, TableError> {
        let rows = self.select(false, |schema| format!("SELECT nextval('{schema}.member_block')"), Vec::new()).await?;
        let block = rows.first().and_then(|row| row.try_get(0).ok()).and_then(|block: i64| block.try_into().ok());
        block.ok_or_else(|| TableError::Unfit("the sequence of blocks gave no number".into()))
    }

    /// The rows that nodes have written. Others are left out, which is counted, and logged when they are other ones than before.
    fn readable(&self, rows: &[Row]) -> Result<Vec<NodeRow>, TableError> {
        if rows.len() > ROWS_MAX {
            // Without the rest, living nodes would count as gone, and this one may be among them.
            return Err(TableError::Unfit(format!(
                "the table of nodes has more than {ROWS_MAX} rows, which no cluster has: remove those of dead nodes"
            )));
        }
        let (mut nodes, mut unreadable) = (Vec::new(), Vec::new());
        for found in rows {
            match row(found)? {
                Ok(node) => nodes.push(node),
                Err(epoch) => unreadable.push(epoch),
            }
        }
        // It publishes no other data.
        self.unreadable.fetch_add(unreadable.len() as u64, Ordering::Relaxed);
        // No panic can leave the list half changed.
        let mut last = self.last_unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != unreadable && !unreadable.is_empty() {
            tracing::error!(
                "node_row_unread: the table of nodes has rows that no node has written, with the epochs {}; they are left out: remove them",
                named(&unreadable)
            );
        }
        *last = unreadable;
        Ok(nodes)
    }

    async fn call(&self, is_renewal: bool, call: Call) -> Result<Vec<Row>, TableError> {
        let Call { function, columns, parameters } = call;
        let places: Vec<String> = (1..=parameters.len()).map(|at| format!("${at}")).collect();
        let text = |schema: &str| format!("SELECT {columns} FROM {schema}.{function}({}) AS answer", places.join(", "));
        self.select(is_renewal, text, parameters).await
    }

    async fn select(
        &self,
        is_renewal: bool,
        text: impl FnOnce(&str) -> String,
        parameters: Vec<Parameter>,
    ) -> Result<Vec<Row>, TableError> {
        let text = text(self.shared.connect.schema());
        let shared = Arc::clone(&self.shared);
        let Some(runtime) = &self.runtime else { return Err(ended()) };
        let work = runtime.spawn(async move {
            let silent = |_| Err(TableError::Down("the database doesn't answer".into()));
            let patience = if is_renewal { RENEWAL_TIMEOUT } else { ANSWER_TIMEOUT };
            let answer = timeout(patience, shared.select(is_renewal, &text, &parameters)).await;
            let answer = answer.unwrap_or_else(silent);
            if answer.is_err() {
                shared.forget(is_renewal);
            }
            answer
        });
        work.await.unwrap_or_else(|_| Err(ended()))
    }
}

impl Drop for PostgresTable {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn ended() -> TableError {
    TableError::Down("the host is stopping".into())
}

impl Shared {
    fn slot(&self, is_renewal: bool) -> &Slot {
        if is_renewal { &self.renewing } else { &self.other }
    }

    async fn select(&self, is_renewal: bool, text: &str, parameters: &[Parameter]) -> Result<Vec<Row>, TableError> {
        let session = self.session(is_renewal).await?;
        let parameters: Vec<_> =
            parameters.iter().map(|(value, kind)| (&**value as &(dyn ToSql + Sync), kind.clone())).collect();
        // Not prepared: one round trip, and nothing of the session to lose.
        let rows = session.client.query_typed(text, &parameters).await;
        rows.map_err(|error| of_table(&*self.connect, &error))
    }

    async fn session(&self, is_renewal: bool) -> Result<Arc<Session>, TableError> {
        let kept = self.slot(is_renewal).lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(session) = kept.filter(|session| !session.has_ended()) {
            return Ok(session);
        }
        let session = Arc::new(Session::connect(&*self.connect).await?);
        *self.slot(is_renewal).lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&session));
        Ok(session)
    }

    fn forget(&self, is_renewal: bool) {
        *self.slot(is_renewal).lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The node of a row, or the epoch in a row that no node has written.
fn row(row: &Row) -> Result<Result<NodeRow, Epoch>, TableError> {
    let raw = RawNodeRow::of(row);
    let raw = raw.map_err(|error| TableError::Unfit(format!("the table of nodes can't be read: {error}")))?;
    Ok(raw.node().ok_or(Epoch(raw.epoch.cast_unsigned())))
}

fn number(value: u64) -> Parameter {
    (Box::new(value.cast_signed()), Type::INT8)
}

fn bits(incarnation: Incarnation) -> Parameter {
    (Box::new(incarnation.0.to_vec()), Type::BYTEA)
}

fn text(value: &str) -> Parameter {
    (Box::new(value.to_owned()), Type::TEXT)
}

fn version(value: u16) -> Parameter {
    (Box::new(i32::from(value)), Type::INT4)
}

/// A call of a node about its own row.
fn own(function: &'static str, id: NodeId) -> Call {
    Call { function, columns: "answer", parameters: vec![number(id.epoch.0), bits(id.incarnation)] }
}

impl NodeTable for PostgresTable {
    fn hello<'a>(&'a self, node: &'a NewNode) -> TableFuture<'a, Hello> {
        let NewNode { name, incarnation, speaks, settings, .. } = node;
        let mark = settings.secret_mark.map(|mark| mark.to_vec());
        let parameters = vec![
            text(name),
            text(&node.version),
            bits(*incarnation),
            version(speaks.from),
            version(speaks.to),
            number(u64::try_from(settings.lease.as_millis()).unwrap_or(u64::MAX)),
            text(&settings.bus),
            (Box::new(mark), Type::BYTEA),
        ];
        let call = Call { function: "node_hello", columns: COLUMNS, parameters };
        Box::pin(async move {
            let rows = self.call(false, call).await?;
            let none = || TableError::Unfit("the table of nodes gave no row".to_owned());
            // It is in the way of this node, and says not which node it is. So this one can't begin beside it.
            let foreign = |epoch: Epoch| {
                TableError::Unfit(format!(
                    "the table of nodes has a row that no node has written, with the epoch {epoch}: remove it"
                ))
            };
            let found = row(rows.first().ok_or_else(none)?)?.map_err(foreign)?;
            let has_common_version = found.speaks.from <= speaks.to && found.speaks.to >= speaks.from;
            Ok(match (found.name == *name, found.id.incarnation == *incarnation) {
                (true, true) => Hello::Welcome(found.id.epoch),
                (true, false) => Hello::NameTaken(found),
                (false, _) if has_common_version => Hello::OtherSettings(found),
                (false, _) => Hello::NoCommonVersion(found),
            })
        })
    }

    fn renew(&self, id: NodeId) -> TableFuture<'_, Renewal> {
        Box::pin(async move {
            let rows = self.call(true, own("node_renew", id)).await?;
            let beat: Option<i64> = rows.first().and_then(|row| row.try_get(0).ok().flatten());
            Ok(beat.map_or(Renewal::Fenced, |beat| Renewal::Good(beat.cast_unsigned())))
        })
    }

    fn list(&self) -> TableFuture<'_, Vec<NodeRow>> {
        Box::pin(async move {
            let text = |schema: &str| format!("SELECT {COLUMNS} FROM {schema}.node_list() LIMIT {}", ROWS_MAX + 1);
            self.readable(&self.select(false, text, Vec::new()).await?)
        })
    }

    fn declare_dead(&self, epoch: Epoch, beat: u64) -> TableFuture<'_, bool> {
        let parameters = vec![number(epoch.0), number(beat)];
        let call = Call { function: "node_declare_dead", columns: "answer", parameters };
        Box::pin(async move {
            let rows = self.call(false, call).await?;
            Ok(rows.first().is_some_and(|row| row.try_get(0).unwrap_or(false)))
        })
    }

    fn drain(&self, id: NodeId) -> TableFuture<'_, ()> {
        Box::pin(async move { self.call(false, own("node_drain", id)).await.map(drop) })
    }

    fn leave(&self, id: NodeId) -> TableFuture<'_, ()> {
        Box::pin(async move { self.call(false, own("node_leave", id)).await.map(drop) })
    }

    fn time_ms(&self) -> TableFuture<'_, u64> {
        Box::pin(async move {
            let text = |_: &str| "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint".to_owned();
            let rows = self.select(false, text, Vec::new()).await?;
            let time: Option<i64> = rows.first().and_then(|row| row.try_get(0).ok());
            time.map(i64::cast_unsigned).ok_or_else(|| TableError::Unfit("the database gave no time".into()))
        })
    }

    fn transaction_id(&self) -> TableFuture<'_, Option<u64>> {
        Box::pin(async move {
            // Reading a snapshot assigns no id.
            let text = |_: &str| "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint".to_owned();
            let rows = self.select(false, text, Vec::new()).await?;
            let id: Option<i64> = rows.first().and_then(|row| row.try_get(0).ok());
            id.map(|id| Some(id.cast_unsigned()))
                .ok_or_else(|| TableError::Unfit("the database gave no id of a transaction".into()))
        })
    }

    fn rows_unreadable(&self) -> u64 {
        self.unreadable.load(Ordering::Relaxed)
    }
}
