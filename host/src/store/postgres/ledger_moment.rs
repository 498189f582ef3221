//! The rows of a ledger at one moment, for exports: a transaction that stays open, on a connection of its own.

use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::OnceCell;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

use super::connection::Session;
use super::errors::explain;
use super::place::PostgresPlace;
use super::readers::{asked, column, rows_of};
use super::statements::Reading;
use crate::store::engine::{Direction, EngineError, EngineFuture, Rows, ScanLimit, Snapshot, Span};

/// The moment of the first read. The connection is closed with the value, and ends the transaction.
pub(super) struct LedgerMoment {
    place: PostgresPlace,
    runtime: Handle,
    opened: OnceCell<Opened>,
}

struct Opened {
    session: Session,
    statements: Reading,
}

impl LedgerMoment {
    pub(super) fn new(place: &PostgresPlace, runtime: &Handle) -> Arc<Self> {
        Arc::new(Self { place: place.clone(), runtime: runtime.clone(), opened: OnceCell::new() })
    }

    async fn open(&self) -> Result<Opened, EngineError> {
        let session = Session::connect(&self.place, &self.runtime).await.map_err(EngineError::new)?;
        let statements = Reading::prepare(&session.client, self.place.schema()).await;
        let statements = statements.map_err(|error| EngineError::new(explain(&error)))?;
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        session.client.batch_execute(begin).await.map_err(|error| EngineError::new(explain(&error)))?;
        Ok(Opened { session, statements })
    }

    async fn query(
        &self,
        statement: fn(&Reading) -> &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, EngineError> {
        let Opened { session, statements } = self.opened.get_or_try_init(|| self.open()).await?;
        // Not made again if the connection is lost: another one would show another moment.
        let rows = session.client.query(statement(statements), parameters).await;
        rows.map_err(|error| EngineError::new(explain(&error)))
    }

    async fn value(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let rows = self.query(|statements| &statements.get, &[&key]).await?;
        rows.first().map(|row| column(row, 0)).transpose()
    }

    async fn scanned(&self, span: &Span, direction: Direction, limit: ScanLimit) -> Result<Rows, EngineError> {
        let (most, bytes) = asked(limit);
        let (from, until) = (&*span.from, &*span.until);
        let statement: fn(&Reading) -> &Statement = match direction {
            Direction::Forward => |statements| &statements.scan_forward,
            Direction::Backward => |statements| &statements.scan_backward,
        };
        rows_of(&self.query(statement, &[&from, &until, &most, &bytes]).await?, most)
    }
}

impl Snapshot for LedgerMoment {
    fn get<'a>(&'a self, key: &'a [u8]) -> EngineFuture<'a, Option<Bytes>> {
        Box::pin(self.value(key))
    }

    fn scan<'a>(&'a self, span: &'a Span, direction: Direction, limit: ScanLimit) -> EngineFuture<'a, Rows> {
        Box::pin(self.scanned(span, direction, limit))
    }
}
