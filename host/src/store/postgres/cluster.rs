//! Sessions for the cluster: they have the settings of the store's sessions, and the database is checked in the same way.

use bennu_cluster::bus::BusFuture;
use bennu_cluster::postgres::{Connect, ConnectError, Connection, Messages, drive};
use futures_util::stream;
use tokio_postgres::Error;

use super::connection::{ANSWER_TIMEOUT, Unusable, begin};
use super::errors::{explain, is_passing};
use super::place::PostgresPlace;

impl PostgresPlace {
    /// Makes a session whose data is moved by whoever has it.
    async fn connect_unserved(&self) -> Result<Connection, Unusable> {
        let (client, mut connection) = self.config().connect(self.tls().clone()).await?;
        let mut messages: Messages = Box::pin(stream::poll_fn(move |cx| connection.poll_message(cx)));
        // What the server says meanwhile is about the settings.
        drive(&mut messages, begin(&client), drop).await?;
        Ok(Connection { client, messages })
    }
}

impl Connect for PostgresPlace {
    fn connect(&self) -> BusFuture<'_, Result<Connection, ConnectError>> {
        Box::pin(async move {
            let silent = "the server accepts a connection, but doesn't answer";
            match tokio::time::timeout(ANSWER_TIMEOUT, self.connect_unserved()).await {
                Ok(Ok(connection)) => Ok(connection),
                Ok(Err(Unusable::Failed(error))) if is_passing(&error) => Err(ConnectError::Down(explain(&error))),
                Ok(Err(unusable)) => Err(ConnectError::Unfit(unusable.to_string())),
                Err(_) => Err(ConnectError::Down(silent.to_owned())),
            }
        })
    }

    fn schema(&self) -> &str {
        Self::schema(self)
    }

    fn explain(&self, error: &Error) -> String {
        explain(error)
    }
}
