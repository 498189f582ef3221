//! PostgreSQL, for the tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use bennu_cluster::bus::BusFuture;
use bennu_cluster::postgres::{
    Connect, ConnectError, Connection, Messages, PostgresBus, PostgresRegistry, PostgresTable, REGISTRY_STEP,
    SCHEMA_STEP, drive,
};
use bennu_cluster::rollout::Registry;
use bennu_cluster::{Hello, Incarnation, NodeId, NodeTable, Speaks};
use bennu_test_engines::PostgresServer;
use tokio_postgres::{Client, Config, Error, NoTls};

use crate::bus::{Bed, Node};
use crate::is_there;
use crate::registry::Registries;
use crate::table::{Tables, new_node};

/// The schema of the tests.
pub(crate) const SCHEMA: &str = "engine";

/// What a host sets for its sessions.
const SETTINGS: &str = "SET default_transaction_isolation = 'read committed'; SET client_min_messages = 'warning'; \
                        SET tcp_keepalives_idle = 5; SET tcp_user_timeout = 15000";

/// What the registry needs of a host's store.
const STORE_STEP: &str = "CREATE TABLE {schema}.writes (store text PRIMARY KEY, generation bigint);
    CREATE FUNCTION {schema}.set_generation(its text, latter bigint) RETURNS void LANGUAGE sql AS $$
        INSERT INTO {schema}.writes VALUES (its, latter) ON CONFLICT (store) DO UPDATE SET generation = excluded.generation
    $$;
";

/// Connects without TLS.
struct Direct(Config);

impl Connect for Direct {
    fn connect(&self) -> BusFuture<'_, Result<Connection, ConnectError>> {
        Box::pin(async move {
            let down = |error: Error| ConnectError::Down(self.explain(&error));
            let (client, mut connection) = self.0.connect(NoTls).await.map_err(down)?;
            let mut messages: Messages = Box::pin(futures_util::stream::poll_fn(move |cx| connection.poll_message(cx)));
            drive(&mut messages, client.batch_execute(SETTINGS), drop).await.map_err(down)?;
            Ok(Connection { client, messages })
        })
    }

    fn schema(&self) -> &str {
        SCHEMA
    }

    fn explain(&self, error: &Error) -> String {
        error.as_db_error().map_or_else(|| error.to_string(), |answer| answer.to_string())
    }
}

/// A database with the schema, on a server that tests share, or on one of its own.
pub(crate) struct PostgresEngine {
    url: String,
    own: Option<PostgresServer>,
}

impl PostgresEngine {
    /// A database on the shared server.
    pub(crate) async fn shared() -> Result<Option<Self>> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        if !is_there("PostgreSQL", PostgresServer::is_there()) {
            return Ok(None);
        }
        let database = format!("engine{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let made = tokio::task::spawn_blocking(move || PostgresServer::shared()?.database(&database));
        let engine = Self { url: made.await??, own: None };
        engine.fill().await?;
        Ok(Some(engine))
    }

    /// A server of its own.
    pub(crate) async fn own() -> Result<Option<Self>> {
        if !is_there("PostgreSQL", PostgresServer::is_there()) {
            return Ok(None);
        }
        let server = tokio::task::spawn_blocking(PostgresServer::start).await??;
        let url = server.url("postgres", "postgres");
        let engine = Self { url, own: Some(server) };
        engine.fill().await?;
        Ok(Some(engine))
    }

    async fn fill(&self) -> Result<()> {
        let step = [SCHEMA_STEP, STORE_STEP, REGISTRY_STEP].concat().replace("{schema}", SCHEMA);
        Ok(self.client().await?.batch_execute(&format!("CREATE SCHEMA {SCHEMA}; {step}")).await?)
    }

    /// The server.
    pub(crate) fn server(&self) -> Result<&PostgresServer> {
        self.own.as_ref().context("the server is shared")
    }

    /// Another client of the database.
    pub(crate) async fn client(&self) -> Result<Client> {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    pub(crate) fn connect(&self) -> Result<Arc<dyn Connect>> {
        Ok(Arc::new(Direct(self.url.parse()?)))
    }

    /// A table with sessions of its own.
    pub(crate) fn table(&self) -> Result<PostgresTable> {
        Ok(PostgresTable::new(self.connect()?)?)
    }

    pub(crate) fn bus(&self) -> Result<PostgresBus> {
        Ok(PostgresBus::new(self.connect()?))
    }

    /// A row for a node.
    pub(crate) async fn row(&self, name: &str) -> Result<NodeId> {
        let incarnation = incarnation();
        match self.table()?.hello(&new_node(name, incarnation, Speaks { from: 1, to: 1 })).await? {
            Hello::Welcome(epoch) => Ok(NodeId { epoch, incarnation }),
            refused => bail!("{refused:?}"),
        }
    }
}

/// Bits that no other start of a node has.
pub(crate) fn incarnation() -> Incarnation {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut bits = [0xa5; 16];
    bits[8..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    Incarnation(bits)
}

impl Bed for PostgresEngine {
    async fn node(&self, name: &str) -> Result<Node> {
        Ok(Node { bus: Arc::new(self.bus()?), me: self.row(name).await? })
    }

    fn kill(&self) -> Result<()> {
        self.server()?.kill()
    }

    fn start_again(&self) -> Result<()> {
        tokio::task::block_in_place(|| self.server()?.start_again())
    }
}

impl Tables for PostgresEngine {
    fn table(&self) -> Result<Arc<dyn NodeTable>> {
        Ok(Arc::new(Self::table(self)?))
    }

    fn incarnation(&self) -> Incarnation {
        incarnation()
    }
}

impl Registries for PostgresEngine {
    fn registry(&self) -> Result<Arc<dyn Registry>> {
        Ok(Arc::new(PostgresRegistry::new(self.connect()?)))
    }

    async fn start(&self, name: &str) -> Result<NodeId> {
        self.row(name).await
    }

    async fn end(&self, node: NodeId) -> Result<()> {
        Ok(self.table()?.leave(node).await?)
    }

    async fn writes(&self, store: &str) -> Result<Option<u32>> {
        let query = format!("SELECT generation FROM {SCHEMA}.writes WHERE store = $1");
        let row = self.client().await?.query_opt(&query, &[&store]).await?;
        let generation: Option<i64> = row.and_then(|row| row.get(0));
        Ok(generation.map(u32::try_from).transpose()?)
    }
}

mod shared {
    use super::PostgresEngine;

    crate::suite!(registry, PostgresEngine::shared:
        records_are_read_as_they_were_written,
        of_changes_of_the_same_records_one_is_written,
        the_generation_that_serves_may_write_and_no_other_one,
        reports_replace_each_other_and_outlive_their_node,
        a_dead_node_changes_nothing,
        builds_of_all_sizes_are_kept_as_long_as_they_are_needed,
    );

    crate::suite!(bus, PostgresEngine::shared:
        all_hear_what_one_sends_in_its_order,
        flushes_of_several_senders_keep_the_order_of_each,
        the_lane_of_a_node_reaches_this_node_only,
        flushes_of_all_sizes_arrive_whole,
        waiting_may_be_given_up,
        a_stopped_receiver_holds_nobody_up,
    );
    crate::suite!(table, PostgresEngine::shared:
        a_node_that_starts_gets_a_greater_epoch,
        a_start_that_is_repeated_has_the_same_epoch,
        a_living_namesake_is_in_the_way_until_it_is_declared_dead,
        a_node_without_a_common_version_is_in_the_way,
        a_node_with_other_settings_is_in_the_way,
        a_renewal_raises_the_beat_of_the_living_node_only,
        declaring_a_node_dead_needs_the_beat_that_was_seen,
        a_node_leaves_and_its_name_is_free,
        a_node_that_drains_says_so,
        of_several_namesakes_one_starts,
        a_node_is_declared_dead_or_renewed_and_never_both,
    );
}

mod own {
    use super::PostgresEngine;

    crate::suite!(bus, PostgresEngine::own: after_a_restart_of_the_engine_all_is_heard_again);
}
