//! The bus on a channel of `NOTIFY`.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::{Client, Error};

use super::connect::Connect;
use super::failure::of_opening;
use super::receiver::{ListenTask, Listening};
use super::sender::{Sender, Sending};
use super::version;
use crate::bus::{Bus, BusCounters, BusCounts, BusEnds, BusError, BusFuture};
use crate::node::NodeId;

/// How long the server may take for both sessions and their first statements.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);

const POOLED: &str = "the address of the database leads through a pooler in transaction mode, where LISTEN hears nothing; give it the \
                      address of the server itself, or of a pooler in session mode, or use the bus of NATS";

/// A bus on PostgreSQL. It has two sessions for each node that opened it.
pub struct PostgresBus {
    connect: Arc<dyn Connect>,
    counters: Arc<BusCounters>,
}

impl PostgresBus {
    /// A bus on the database of the cluster's table. Its schema has [`SCHEMA_STEP`](super::SCHEMA_STEP).
    #[must_use]
    pub fn new(connect: Arc<dyn Connect>) -> Self {
        Self { connect, counters: Arc::default() }
    }

    async fn begin(&self, me: NodeId) -> Result<BusEnds, BusError> {
        let connect = &*self.connect;
        let failed = |error: Error| of_opening(connect, &error);
        let sending = Sending::connect(connect).await?;
        check_version(sending.client()).await.map_err(failed)?.map_or(Ok(()), |why| Err(BusError::Unfit(why)))?;
        let mut listening = Listening::connect(connect).await?;
        let (channel, text) = (test_channel(me), "is it heard");
        let send = async { sending.client().execute("SELECT pg_notify($1, $2)", &[&channel, &text]).await.map(drop) };
        if !listening.hears(&channel, text, send).await.map_err(failed)? {
            return Err(BusError::Unfit(POOLED.into()));
        }
        let channel = format!("SELECT quote_ident({}.bus_channel())", connect.schema());
        let channel = sending.client().query_one(&channel, &[]).await.map_err(failed)?.get(0);
        let listener = ListenTask::new(Arc::clone(&self.connect), me, channel, Arc::clone(&self.counters));
        listener.begin(&mut listening).await?;
        let sender = Sender::new(Arc::clone(&self.connect), me, Arc::clone(&self.counters), sending);
        Ok((Box::new(sender), Box::new(listener.run(listening))))
    }
}

impl Bus for PostgresBus {
    fn open(&self, me: NodeId) -> BusFuture<'_, Result<BusEnds, BusError>> {
        Box::pin(async move {
            let silent = |_| Err(BusError::Down("the database doesn't answer".into()));
            timeout(OPEN_TIMEOUT, self.begin(me)).await.unwrap_or_else(silent)
        })
    }

    fn counts(&self) -> BusCounts {
        self.counters.read()
    }

    fn name(&self) -> &'static str {
        "postgres"
    }
}

/// Why the server can't carry the bus.
async fn check_version(client: &Client) -> Result<Option<String>, Error> {
    let query = "SELECT current_setting('server_version_num')::int, current_setting('server_version')";
    let row = client.query_one(query, &[]).await?;
    Ok(version::refusal(row.get(0), row.get(1)))
}

/// A channel that nobody else uses.
fn test_channel(me: NodeId) -> String {
    let mut channel = "bennu_test_".to_owned();
    for byte in me.incarnation.0 {
        // Writing to a string doesn't fail.
        let _ = write!(channel, "{byte:02x}");
    }
    channel
}
