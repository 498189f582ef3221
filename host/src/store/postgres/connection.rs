//! One connection to the database, with the settings of its session.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_postgres::{AsyncMessage, Client, Error};

use super::errors::explain;
use super::place::PostgresPlace;
use crate::store::engine::EngineError;

/// A connection. Its statements can be sent without waiting for the answers of earlier ones.
pub(super) struct Session {
    pub(super) client: Client,
    /// Becomes true when the connection has ended.
    ended: watch::Receiver<bool>,
    /// The process of the server that serves it, and when that began, by which no other process can be taken for it.
    pub(super) process: (i32, String),
}

/// Why a connection can't be used.
pub(super) enum Unusable {
    /// The database answered with an error, or can't be reached.
    Failed(Error),
    /// The database isn't one that a store can be in.
    Unfit(String),
}

/// The oldest version that is supported.
const OLDEST: i32 = 150_000;

/// The longest time for making a connection and its first statements, which the server answers at once.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What every session sets. An operator may have set other defaults for the role or the database. The timeouts of TCP are the server's:
/// a session whose host is gone must not keep the lock of the store. All statements of a host read by the primary key, also before the
/// server has statistics of the table.
const SETTINGS: &str = "\
    SET default_transaction_isolation = 'read committed';\
    SET default_transaction_read_only = off;\
    SET default_transaction_deferrable = off;\
    SET statement_timeout = 0;\
    SET lock_timeout = 0;\
    SET idle_in_transaction_session_timeout = 0;\
    SET idle_session_timeout = 0;\
    SET standard_conforming_strings = on;\
    SET bytea_output = 'hex';\
    SET client_min_messages = 'warning';\
    SET enable_seqscan = off;\
    SET enable_bitmapscan = off;\
    SET jit = off;\
    SET tcp_keepalives_idle = 5;\
    SET tcp_keepalives_interval = 5;\
    SET tcp_keepalives_count = 3;\
    SET tcp_user_timeout = 15000";

/// What is asked of the server. A commit that isn't durable when it is answered would break the store's promise.
const QUESTIONS: &str = "\
    SELECT current_setting('server_version_num')::int, current_setting('server_version'), current_setting('server_encoding'), \
    pg_is_in_recovery(), current_setting('synchronous_commit'), pg_backend_pid(), \
    (SELECT backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid())";

impl Session {
    /// Connects, on the given runtime, which also serves the connection.
    pub(super) async fn connect(place: &PostgresPlace, runtime: &Handle) -> Result<Self, Unusable> {
        let place = place.clone();
        let connecting = async move {
            let (client, mut connection) = place.config().connect(place.tls().clone()).await?;
            let (end, ended) = watch::channel(false);
            tokio::spawn(async move {
                // The client gets the error, too.
                while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
                    if let AsyncMessage::Notice(notice) = message {
                        tracing::debug!("the database says: {notice}");
                    }
                }
                let _ = end.send(true);
            });
            let process = begin(&client).await?;
            Ok::<_, Unusable>(Self { client, ended, process })
        };
        let connecting = runtime.spawn(async move {
            let silent = |_| Err(Unusable::Unfit("the server accepts a connection, but doesn't answer".into()));
            tokio::time::timeout(ANSWER_TIMEOUT, connecting).await.unwrap_or_else(silent)
        });
        connecting.await.unwrap_or_else(|_| Err(Unusable::Unfit("the host is stopping".into())))
    }

    /// Whether the connection can't be used any more.
    pub(super) fn has_ended(&self) -> bool {
        self.client.is_closed() || *self.ended.borrow()
    }

    /// Waits until the connection has ended.
    pub(super) async fn ended(self: Arc<Self>) {
        let mut ended = self.ended.clone();
        drop(self);
        // An error means that the connection's task has ended.
        let _ = ended.wait_for(|ended| *ended).await;
    }
}

/// Sets what a session needs, and checks the server. Returns the process of the server.
pub(super) async fn begin(client: &Client) -> Result<(i32, String), Unusable> {
    client.batch_execute(SETTINGS).await?;
    let row = client.query_one(QUESTIONS, &[]).await?;
    let (version, shown, encoding): (i32, &str, &str) = (row.get(0), row.get(1), row.get(2));
    let (is_standby, durability): (bool, &str) = (row.get(3), row.get(4));
    let unfit = |why: String| Err(Unusable::Unfit(why));
    if version < OLDEST {
        return unfit(format!(
            "the server is PostgreSQL {shown}; the store needs version {} or later",
            OLDEST / 10_000
        ));
    }
    if encoding != "UTF8" {
        return unfit(format!(
            "the database has the encoding {encoding}; the store needs UTF8: create another database with CREATE DATABASE name \
             ENCODING 'UTF8' TEMPLATE template0"
        ));
    }
    if is_standby {
        return unfit("the server is a standby, which accepts no writes: give the address of the primary".into());
    }
    if matches!(durability, "off" | "local") {
        client.batch_execute("SET synchronous_commit = on").await?;
    }
    Ok((row.get(5), row.get(6)))
}

impl From<Error> for Unusable {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Unusable {
    pub(super) fn into_error(self) -> EngineError {
        EngineError::broken(self)
    }
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(error) => f.write_str(&explain(error)),
            Self::Unfit(why) => f.write_str(why),
        }
    }
}
