//! The registry of a cluster's plugins in the database.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::connect::{Connect, ConnectError};
use super::failure::of_registry;
use super::registry_rows::{RecordsRead, ReportsRead, nodes, records, reports, statement};
use super::session::Session;
use crate::node::NodeId;
use crate::rollout::{
    BUILD_BYTES_MAX, BuildDigest, ChangeResult, RecordsChange, Registry, RegistryError, RegistryFuture,
    RegistrySnapshot, Report,
};

/// How long the database may take for a statement, with a new session if the last one is lost.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The bytes of each part of a build but the last one.
const PART_BYTES: usize = 1 << 20;

/// The registry in a schema that has [`SCHEMA_STEP`](super::SCHEMA_STEP) and [`REGISTRY_STEP`](super::REGISTRY_STEP). It has one session,
/// which it makes at the first call, in the runtime of the caller.
pub struct PostgresRegistry {
    connect: Arc<dyn Connect>,
    /// Empty before the first call, and after a call failed.
    session: Mutex<Option<Arc<Session>>>,
}

/// The parameters of a statement.
type Parameters<'a> = &'a [(&'a (dyn ToSql + Sync), Type)];

impl PostgresRegistry {
    /// A registry of the database to which `connect` leads.
    #[must_use]
    pub fn new(connect: Arc<dyn Connect>) -> Self {
        Self { connect, session: Mutex::default() }
    }

    /// Selects from a function or a table of the schema. `$SCHEMA` in the text stands for the schema.
    async fn select(&self, text: &str, parameters: Parameters<'_>) -> Result<Vec<Row>, RegistryError> {
        let text = text.replace("$SCHEMA", self.connect.schema());
        let asked = async {
            let session = self.session().await?;
            // Not prepared: one round trip, and nothing of the session to lose.
            let rows = session.client.query_typed(&text, parameters).await;
            rows.map_err(|error| of_registry(&*self.connect, &error))
        };
        let silent = |_| Err(RegistryError::Down("the database doesn't answer".to_owned()));
        let answer = timeout(ANSWER_TIMEOUT, asked).await.unwrap_or_else(silent);
        if matches!(answer, Err(RegistryError::Down(_))) {
            *self.slot() = None;
        }
        answer
    }

    async fn one(&self, text: &str, parameters: Parameters<'_>) -> Result<Row, RegistryError> {
        let rows = self.select(text, parameters).await?;
        rows.into_iter().next().ok_or_else(|| RegistryError::Refused("the database gave no row".to_owned()))
    }

    async fn session(&self) -> Result<Arc<Session>, RegistryError> {
        let kept = self.slot().clone();
        if let Some(session) = kept.filter(|session| !session.has_ended()) {
            return Ok(session);
        }
        let session = Arc::new(Session::connect(&*self.connect).await?);
        *self.slot() = Some(Arc::clone(&session));
        Ok(session)
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Arc<Session>>> {
        // No panic can leave it half changed.
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn snapshot(&self, known: Option<u64>) -> Result<RegistrySnapshot, RegistryError> {
        let known = known.map(u64::cast_signed);
        let row = self.one(&statement(), &[(&known, Type::INT8)]).await?;
        let revision: i64 = column(&row, 0)?;
        let read = column::<Option<&str>>(&row, 1)?.map(records).transpose()?;
        let (read, unread) = read.map(|RecordsRead { records, unread }| (records, unread)).unzip();
        let ReportsRead { reports, unread: unread_reports, unread_count } = reports(column(&row, 3)?)?;
        Ok(RegistrySnapshot {
            revision: revision.cast_unsigned(),
            records: read,
            unread: unread.unwrap_or_default(),
            nodes: nodes(column(&row, 2)?)?,
            reports,
            unread_reports,
            unread_report_count: unread_count,
        })
    }

    /// The builds that are there as a whole.
    async fn whole_builds(&self) -> Result<Vec<Vec<u8>>, RegistryError> {
        let text = "SELECT digest FROM $SCHEMA.build WHERE parts = \
                    (SELECT count(*) FROM $SCHEMA.build_part WHERE build_part.digest = build.digest)";
        self.select(text, &[]).await?.iter().map(|row| column(row, 0)).collect()
    }

    async fn write(&self, me: NodeId, change: RecordsChange) -> Result<ChangeResult, RegistryError> {
        let RecordsChange { former, changed, generations, builds, keeps_all_builds } = change;
        // If one of them is removed before the change is written, the revision is another one, and nothing is written.
        let kept_too = if keeps_all_builds { self.whole_builds().await? } else { Vec::new() };
        let names: Vec<&str> = changed.iter().map(|(name, _)| name.as_str()).collect();
        let contents: Vec<Option<String>> =
            changed.iter().map(|(_, record)| record.as_ref().map(text).transpose()).collect::<Result<_, _>>()?;
        let (stores, numbers): (Vec<&str>, Vec<Option<i64>>) =
            generations.iter().map(|(store, number)| (store.as_str(), number.map(i64::from))).unzip();
        let kept: Vec<&[u8]> =
            builds.iter().map(|digest| &digest.0[..]).chain(kept_too.iter().map(Vec::as_slice)).collect();
        let row = self
            .one(
                "SELECT $SCHEMA.registry_change($1, $2, $3, $4, $5, $6, $7, $8)",
                &[
                    (&me.epoch.0.cast_signed(), Type::INT8),
                    (&&me.incarnation.0[..], Type::BYTEA),
                    (&former.cast_signed(), Type::INT8),
                    (&names, Type::TEXT_ARRAY),
                    (&contents, Type::TEXT_ARRAY),
                    (&stores, Type::TEXT_ARRAY),
                    (&numbers, Type::INT8_ARRAY),
                    (&kept, Type::BYTEA_ARRAY),
                ],
            )
            .await?;
        match column::<i32>(&row, 0)? {
            0 => Ok(ChangeResult::Done),
            1 => Ok(ChangeResult::Outdated),
            2 => Ok(ChangeResult::BuildMissing),
            other => Err(RegistryError::Refused(format!(
                "the database gave the result {other}, which this version of bennu doesn't know"
            ))),
        }
    }

    async fn say(&self, me: NodeId, reports: Vec<(String, Report)>) -> Result<(), RegistryError> {
        let names: Vec<&str> = reports.iter().map(|(name, _)| name.as_str()).collect();
        let contents: Vec<String> = reports.iter().map(|(_, report)| text(report)).collect::<Result<_, _>>()?;
        let parameters: Parameters<'_> = &[
            (&me.epoch.0.cast_signed(), Type::INT8),
            (&&me.incarnation.0[..], Type::BYTEA),
            (&names, Type::TEXT_ARRAY),
            (&contents, Type::TEXT_ARRAY),
        ];
        self.one("SELECT $SCHEMA.registry_report($1, $2, $3, $4)", parameters).await.map(drop)
    }

    async fn bring(&self, me: NodeId, digest: BuildDigest, bytes: Bytes) -> Result<(), RegistryError> {
        if bytes.len() > BUILD_BYTES_MAX {
            let (most, bytes) = (BUILD_BYTES_MAX, bytes.len());
            return Err(RegistryError::Refused(format!("the build has {bytes} bytes; a build has at most {most}")));
        }
        let parts: Vec<&[u8]> = bytes.chunks(PART_BYTES).collect();
        let (epoch, bits, its) = (me.epoch.0.cast_signed(), &me.incarnation.0[..], &digest.0[..]);
        let count = number(parts.len());
        let begin: Parameters<'_> =
            &[(&epoch, Type::INT8), (&bits, Type::BYTEA), (&its, Type::BYTEA), (&count, Type::INT4)];
        let row = self.one("SELECT $SCHEMA.build_begin($1, $2, $3, $4)", begin).await?;
        let there: HashSet<i32> = column::<Vec<i32>>(&row, 0)?.into_iter().collect();
        for (at, part) in parts.iter().enumerate() {
            let at = number(at);
            if there.contains(&at) {
                continue;
            }
            let add: Parameters<'_> = &[
                (&epoch, Type::INT8),
                (&bits, Type::BYTEA),
                (&its, Type::BYTEA),
                (&at, Type::INT4),
                (part, Type::BYTEA),
            ];
            self.one("SELECT $SCHEMA.build_add($1, $2, $3, $4, $5)", add).await?;
        }
        Ok(())
    }

    async fn fetch(&self, digest: BuildDigest) -> Result<Option<Bytes>, RegistryError> {
        let its = &digest.0[..];
        let found = self.select("SELECT parts FROM $SCHEMA.build WHERE digest = $1", &[(&its, Type::BYTEA)]).await?;
        let Some(found) = found.first() else { return Ok(None) };
        let mut bytes = BytesMut::new();
        for at in 0..column::<i32>(found, 0)? {
            let text = "SELECT content FROM $SCHEMA.build_part WHERE digest = $1 AND part = $2";
            let rows = self.select(text, &[(&its, Type::BYTEA), (&at, Type::INT4)]).await?;
            let Some(row) = rows.first() else { return Ok(None) };
            bytes.extend_from_slice(column(row, 0)?);
            if bytes.len() > BUILD_BYTES_MAX {
                return Err(RegistryError::Refused("a build in the database is too large".to_owned()));
            }
        }
        Ok(Some(bytes.freeze()))
    }
}

impl Registry for PostgresRegistry {
    fn read(&self, known: Option<u64>) -> RegistryFuture<'_, RegistrySnapshot> {
        Box::pin(self.snapshot(known))
    }

    fn change(&self, me: NodeId, change: RecordsChange) -> RegistryFuture<'_, ChangeResult> {
        Box::pin(self.write(me, change))
    }

    fn report(&self, me: NodeId, reports: Vec<(String, Report)>) -> RegistryFuture<'_, ()> {
        Box::pin(self.say(me, reports))
    }

    fn keep_build(&self, me: NodeId, digest: BuildDigest, bytes: Bytes) -> RegistryFuture<'_, ()> {
        Box::pin(self.bring(me, digest, bytes))
    }

    fn build(&self, digest: BuildDigest) -> RegistryFuture<'_, Option<Bytes>> {
        Box::pin(self.fetch(digest))
    }
}

impl From<ConnectError> for RegistryError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Down(why) => Self::Down(why),
            ConnectError::Unfit(why) => Self::Refused(why),
        }
    }
}

fn column<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, at: usize) -> Result<T, RegistryError> {
    row.try_get(at).map_err(|error| RegistryError::Refused(format!("a row of the registry can't be read: {error}")))
}

fn text<T: serde::Serialize>(value: &T) -> Result<String, RegistryError> {
    serde_json::to_string(value).map_err(|error| RegistryError::Refused(error.to_string()))
}

/// A count of parts, of which a build has at most 128.
fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
